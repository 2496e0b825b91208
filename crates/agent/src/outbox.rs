//! The durable outbox: what the coordinator has to get at least once, in order, and within bounds.
//!
//! Events are what people are told; vitals are samples of how the machine was while nobody could hear it. Where room runs out, the oldest
//! vitals go, and never an event. Where only events are left, a new one finds no room: it is counted by its reason in one row that does not
//! grow, and told of in one event when there is room again. So nothing that is in the outbox is lost, and the disk is not filled.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Row as _};
use stead_wire::{Outbox, OutboxError, OutboxItem};

use crate::memory::{self, MemoryStore, MemoryStoreError};

/// Items that wait for the coordinator at most: weeks of a quiet machine, and few enough that one look at all of them is nothing.
pub const OUTBOX_ITEMS_MAX: u64 = 10_000;
/// Bytes of all of them at most: state directories can be small, and this is what a machine gives for being heard later.
pub const OUTBOX_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Reasons that are counted apart while the outbox is full; the others count together.
const REASONS_MAX: usize = 16;
/// Under which the others count.
const OTHER_REASONS: &str = "others";
/// The setting that holds what found no room.
const HELD_BACK_SETTING: &str = "outbox_held_back";

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// Something happened. It stays until the coordinator has taken it.
    Event,
    /// How the machine was. The oldest go where room runs out.
    Vitals,
}

impl ItemKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Vitals => "vitals",
        }
    }
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is on disk.
    Kept,
    /// There is no room for it; of an event it was written down that there was one.
    Full,
}

/// Events that found no room: counted, not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// How many there were.
    pub events: u64,
    /// When the first was, by the machine's clock.
    pub first: Timestamp,
    /// When the last was.
    pub last: Timestamp,
    /// How many of each reason.
    pub reasons: BTreeMap<String, u64>,
}

impl HeldBack {
    /// Counts one more.
    pub(crate) fn count(held: Option<Self>, reason: &str, time: Timestamp) -> Self {
        let mut held = held.unwrap_or_else(|| Self { events: 0, first: time, last: time, reasons: BTreeMap::new() });
        held.events = held.events.saturating_add(1);
        held.last = time;
        let known = held.reasons.contains_key(reason) || held.reasons.len() < REASONS_MAX;
        let count = held.reasons.entry(if known { reason } else { OTHER_REASONS }.to_owned()).or_default();
        *count = count.saturating_add(1);
        held
    }

    /// In a sentence.
    pub fn sentence(&self) -> String {
        let reasons: Vec<String> = self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        format!(
            "{} events found no room in the outbox between {:.0} and {:.0}: {}",
            self.events,
            self.first,
            self.last,
            reasons.join(", ")
        )
    }
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    pub(crate) vitals: u64,
}

impl Fill {
    /// Whether as many more bytes fit in one more item.
    pub(crate) const fn takes(&self, bytes: u64) -> bool {
        self.items < OUTBOX_ITEMS_MAX && self.bytes.saturating_add(bytes) <= OUTBOX_BYTES_MAX
    }
}

impl MemoryStore {
    /// Puts an event into the outbox, durably; `reason` is what it counts as where there is no room.
    ///
    /// # Errors
    ///
    /// [`MemoryStoreError`] where it cannot be written.
    pub async fn push_event(&self, body: &[u8], reason: &str, time: Timestamp) -> Result<Pushed, MemoryStoreError> {
        let pushed = self.push(ItemKind::Event, body).await?;
        if pushed == Pushed::Full {
            let held = self.held_back().await?;
            memory::set_setting(self, HELD_BACK_SETTING, &HeldBack::count(held, reason, time)).await?;
            self.metrics().outbox_held_back.inc();
        }
        Ok(pushed)
    }

    /// Puts a sample of vitals into the outbox, durably, where there is room.
    ///
    /// # Errors
    ///
    /// [`MemoryStoreError`] where it cannot be written.
    pub async fn push_vitals(&self, body: &[u8]) -> Result<Pushed, MemoryStoreError> {
        self.push(ItemKind::Vitals, body).await
    }

    /// The events that found no room, until they have been told of.
    ///
    /// # Errors
    ///
    /// [`MemoryStoreError`] where it cannot be read.
    pub async fn held_back(&self) -> Result<Option<HeldBack>, MemoryStoreError> {
        memory::setting(self, HELD_BACK_SETTING).await
    }

    /// Puts in the one event that tells of those that found no room, where there is room now. Says whether it did.
    ///
    /// # Errors
    ///
    /// [`MemoryStoreError`] where it cannot be written; nothing was then.
    pub async fn tell_held_back(&self, body: &[u8]) -> Result<bool, MemoryStoreError> {
        let mut connection = self.pool().acquire().await.map_err(self.failed("writing an event"))?;
        let told = tell_on(&mut connection, body).await;
        self.metrics().written(told.is_ok());
        let told = match told {
            Ok(told) => told,
            Err(error) => {
                // As with the memory itself: after a disk was full, what the connection thinks of its transactions is wrong.
                let _gone_either_way = connection.close().await;
                return Err(self.failed("writing an event")(error));
            }
        };
        drop(connection);
        self.count_outbox().await?;
        Ok(told)
    }

    async fn push(&self, kind: ItemKind, body: &[u8]) -> Result<Pushed, MemoryStoreError> {
        let failed = self.failed("writing an item of the outbox");
        let mut connection = self.pool().acquire().await.map_err(self.failed("writing an item of the outbox"))?;
        let pushed = push_on(&mut connection, kind, body).await;
        self.metrics().written(pushed.is_ok());
        let (pushed, gone) = match pushed {
            Ok(pushed) => pushed,
            Err(error) => {
                // As with the memory itself: after a disk was full, what the connection thinks of its transactions is wrong.
                let _gone_either_way = connection.close().await;
                return Err(failed(error));
            }
        };
        drop(connection);
        if gone > 0 {
            self.metrics().outbox_vitals_gone.inc_by(gone);
            tracing::info!(gone, "the outbox is full; its oldest vitals are gone");
        }
        self.count_outbox().await?;
        Ok(pushed)
    }

    /// How much waits, counted anew.
    pub(crate) async fn count_outbox(&self) -> Result<Fill, MemoryStoreError> {
        let failed = self.failed("counting the outbox");
        let mut connection = self.pool().acquire().await.map_err(self.failed("counting the outbox"))?;
        let fill = fill(&mut connection).await.map_err(failed)?;
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics().outbox_items.set(number(fill.items));
        self.metrics().outbox_bytes.set(number(fill.bytes));
        Ok(fill)
    }
}

async fn fill(connection: &mut SqliteConnection) -> Result<Fill, sqlx::Error> {
    let query = sqlx::query("SELECT count(*), coalesce(sum(length(body)), 0), coalesce(sum(kind = 'vitals'), 0) FROM outbox");
    let row = query.fetch_one(connection).await?;
    let number = |column: usize| u64::try_from(row.get::<i64, _>(column)).unwrap_or_default();
    Ok(Fill { items: number(0), bytes: number(1), vitals: number(2) })
}

async fn insert(connection: &mut SqliteConnection, kind: ItemKind, body: &[u8]) -> Result<(), sqlx::Error> {
    let query = sqlx::query("INSERT INTO outbox (body, kind) VALUES (?, ?)").bind(body).bind(kind.word());
    query.execute(connection).await.map(drop)
}

/// Puts in the event that tells of those that found no room, where there is room now, and forgets them with it.
async fn tell_on(connection: &mut SqliteConnection, body: &[u8]) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    if !fill(&mut transaction).await?.takes(body.len() as u64) {
        return Ok(false);
    }
    insert(&mut transaction, ItemKind::Event, body).await?;
    sqlx::query("DELETE FROM settings WHERE name = ?").bind(HELD_BACK_SETTING).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Says what became of the item, and how many of the oldest vitals went for it.
async fn push_on(connection: &mut SqliteConnection, kind: ItemKind, body: &[u8]) -> Result<(Pushed, u64), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let filled = fill(&mut transaction).await?;
    let bytes = body.len() as u64;
    let mut gone = 0;
    if !filled.takes(bytes) {
        let query = sqlx::query("SELECT sequence, length(body) FROM outbox WHERE kind = 'vitals' ORDER BY sequence");
        let oldest: Vec<SqliteRow> = query.fetch_all(&mut *transaction).await?;
        let Some((sequence, count)) = making_room(filled, bytes, &oldest) else { return Ok((Pushed::Full, 0)) };
        let query = sqlx::query("DELETE FROM outbox WHERE kind = 'vitals' AND sequence <= ?").bind(sequence);
        query.execute(&mut *transaction).await?;
        gone = count;
    }
    insert(&mut transaction, kind, body).await?;
    transaction.commit().await?;
    Ok((Pushed::Kept, gone))
}

/// Up to which of the oldest vitals have to go for so many bytes, and how many that are; none where all of them are not enough.
fn making_room(mut filled: Fill, bytes: u64, oldest: &[SqliteRow]) -> Option<(i64, u64)> {
    for (row, count) in oldest.iter().zip(1..) {
        filled.items = filled.items.saturating_sub(1);
        filled.bytes = filled.bytes.saturating_sub(u64::try_from(row.get::<i64, _>(1)).unwrap_or_default());
        if filled.takes(bytes) {
            return Some((row.get(0), count));
        }
    }
    None
}

impl Outbox for MemoryStore {
    async fn pending(&self, after: u64, limit: usize) -> Result<Vec<OutboxItem>, OutboxError> {
        let query = sqlx::query("SELECT sequence, body FROM outbox WHERE sequence > ? ORDER BY sequence LIMIT ?");
        let query = query.bind(i64::try_from(after).unwrap_or(i64::MAX)).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(self.pool()).await.map_err(|error| OutboxError(Box::new(error)))?;
        let item = |row: &SqliteRow| OutboxItem {
            sequence: u64::try_from(row.get::<i64, _>(0)).unwrap_or_default(),
            body: Bytes::from(row.get::<Vec<u8>, _>(1)),
        };
        Ok(rows.iter().map(item).collect())
    }

    async fn taken(&self, sequence: u64) -> Result<(), OutboxError> {
        let query = sqlx::query("DELETE FROM outbox WHERE sequence <= ?").bind(i64::try_from(sequence).unwrap_or(i64::MAX));
        let removed = query.execute(self.pool()).await;
        if let Err(error) = removed {
            // They stay, and are sent once more after a restart: no reason to end a session that works.
            tracing::warn!(%error, sequence, "events that the coordinator has could not be removed from the outbox");
        }
        if let Err(error) = self.count_outbox().await {
            tracing::warn!(%error, "the outbox could not be counted");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    async fn open(folder: &tempfile::TempDir) -> MemoryStore {
        MemoryStore::open(&folder.path().join("memory.db")).await.unwrap()
    }

    async fn bodies(store: &MemoryStore) -> Vec<Bytes> {
        store.pending(0, usize::MAX).await.unwrap().into_iter().map(|item| item.body).collect()
    }

    #[tokio::test]
    async fn the_outbox_keeps_order_and_sequences_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        for body in [b"a", b"b", b"c"] {
            store.push_event(body, "A", at(1)).await.unwrap();
        }
        let last = store.pending(0, 10).await.unwrap()[2].sequence;
        store.taken(last).await.unwrap();
        store.close().await;
        let store = open(&folder).await;
        store.push_event(b"d", "A", at(1)).await.unwrap();
        let items = store.pending(0, 10).await.unwrap();
        assert_eq!(items, [OutboxItem { sequence: last + 1, body: Bytes::from_static(b"d") }], "a number is never used twice");
    }

    /// By bytes, which is soonest: a few large items fill it.
    #[tokio::test]
    async fn the_oldest_vitals_go_first_and_never_an_event() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        let quarter = |letter: u8| vec![letter; usize::try_from(OUTBOX_BYTES_MAX / 4).unwrap()];
        store.push_event(&quarter(b'a'), "A", at(1)).await.unwrap();
        store.push_vitals(&quarter(b'b')).await.unwrap();
        store.push_vitals(&quarter(b'c')).await.unwrap();
        store.push_event(&quarter(b'd'), "A", at(2)).await.unwrap();
        let letters = |bodies: Vec<Bytes>| bodies.iter().map(|body| char::from(body[0])).collect::<String>();
        assert_eq!(letters(bodies(&store).await), "abcd");
        assert_eq!(store.push_event(&quarter(b'e'), "A", at(3)).await.unwrap(), Pushed::Kept);
        assert_eq!(letters(bodies(&store).await), "acde", "the oldest vitals went");
        assert_eq!(store.push_vitals(&quarter(b'f')).await.unwrap(), Pushed::Kept);
        assert_eq!(letters(bodies(&store).await), "adef");
        assert_eq!(store.push_event(&quarter(b'g'), "A", at(4)).await.unwrap(), Pushed::Kept);
        assert_eq!(letters(bodies(&store).await), "adeg", "only events are left");
        assert_eq!(store.push_vitals(b"h").await.unwrap(), Pushed::Full);
        for (reason, second) in [("UnitFailed", 5), ("UnitFailed", 6), ("Refused", 7)] {
            assert_eq!(store.push_event(b"h", reason, at(second)).await.unwrap(), Pushed::Full);
        }
        assert!(!store.tell_held_back(b"told").await.unwrap());
        // What was counted outlives the process; with room it is told of once.
        store.close().await;
        let store = open(&folder).await;
        assert_eq!(letters(bodies(&store).await), "adeg", "no event is lost");
        let held = store.held_back().await.unwrap().unwrap();
        assert_eq!((held.events, held.first, held.last), (3, at(5), at(7)));
        assert!(held.sentence().ends_with("1 Refused, 2 UnitFailed"), "{}", held.sentence());
        let first = store.pending(0, 1).await.unwrap()[0].sequence;
        store.taken(first).await.unwrap();
        assert!(store.tell_held_back(b"told").await.unwrap());
        assert_eq!((letters(bodies(&store).await).as_str(), store.held_back().await.unwrap()), ("degt", None));
    }

    #[tokio::test]
    async fn items_are_bounded_by_their_number_too() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        let script = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {OUTBOX_ITEMS_MAX})
             INSERT INTO outbox (body, kind) SELECT x'00', CASE WHEN i % 2 THEN 'vitals' ELSE 'event' END FROM n"
        );
        sqlx::query(sqlx::AssertSqlSafe(script)).execute(store.pool()).await.unwrap();
        store.push_event(b"more", "A", at(1)).await.unwrap();
        let fill = store.count_outbox().await.unwrap();
        assert_eq!((fill.items, fill.vitals), (OUTBOX_ITEMS_MAX, OUTBOX_ITEMS_MAX / 2 - 1));
    }

    #[test]
    fn what_found_no_room_does_not_grow_without_end() {
        let held = (0..1_000).fold(None, |held, number| Some(HeldBack::count(held, &format!("R{number}"), at(number)))).unwrap();
        assert_eq!((held.events, held.reasons.len(), held.reasons[OTHER_REASONS]), (1_000, REASONS_MAX + 1, 984));
    }
}
