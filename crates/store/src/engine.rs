//! What a database must do to hold the record; SQLite does it now, and every engine passes the same tests.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::BoxStream;
use stead_model::{ObjectKey, Revision};

use crate::rows::{Batch, Change, ChangeReference, Entry, HistoryRow, Meta, RootDocument, Sequence};
use crate::stored::{MalformedObject, Stored};

/// A database that holds the record. One [`crate::Store`] writes to it, one batch at a time; reads run beside it.
///
/// What [`Engine::commit`] has acknowledged survives the loss of power.
pub trait Engine: Send + Sync + 'static {
    /// The record as a whole.
    fn meta(&self) -> BoxFuture<'_, Result<Meta, EngineError>>;

    /// Every current object, by kind, namespace and name.
    fn objects(&self) -> BoxStream<'_, Result<Stored, EngineError>>;

    /// Every sequence, by kind, namespace and name.
    fn sequences(&self) -> BoxStream<'_, Result<(ObjectKey, Sequence), EngineError>>;

    /// Every version of the trust root, oldest first.
    fn roots(&self) -> BoxFuture<'_, Result<Vec<RootDocument>, EngineError>>;

    /// The steps after a revision, **newest first**.
    fn history_after(&self, revision: Revision) -> BoxStream<'_, Result<HistoryRow, EngineError>>;

    /// Commits a batch, durably and whole, or not at all.
    fn commit<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<(), EngineError>>;

    /// Those of the ids that are taken, with their revision.
    fn known_changes(&self, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<(String, Revision)>, EngineError>>;

    /// One Change.
    fn change(&self, reference: ChangeReference) -> BoxFuture<'_, Result<Option<Change>, EngineError>>;

    /// Changes before a revision, newest first.
    fn changes_before(&self, revision: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, EngineError>>;

    /// The entries of one Change, by index.
    fn entries(&self, revision: Revision) -> BoxFuture<'_, Result<Vec<Entry>, EngineError>>;

    /// For each name its newest entry and that entry's Change, by revision; a name that was never in a Change is left out.
    fn newest_entries(&self, keys: Vec<ObjectKey>) -> BoxFuture<'_, Result<Vec<(Change, Entry)>, EngineError>>;

    /// The entries of some names at these sequences, each with its Change; one that there never was is left out, and the order is the
    /// engine's. An engine with an index answers by it; this walks back through the Changes.
    fn entries_at(&self, wanted: Vec<(ObjectKey, u64)>) -> BoxFuture<'_, Result<Vec<(Change, Entry)>, EngineError>> {
        walk_for_entries(self, wanted).boxed()
    }

    /// Changes whose id starts like this, at most so many. An engine with an index answers by it; this walks back through the Changes.
    fn changes_named(&self, prefix: String, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, EngineError>> {
        walk_for_names(self, prefix, limit).boxed()
    }

    /// The newest revision whose steps, with those of all before it, must go to leave at most so many bytes of history.
    fn history_bytes_floor(&self, bytes_max: u64) -> BoxFuture<'_, Result<Revision, EngineError>>;

    /// Forgets the steps up to and including a revision.
    fn compact(&self, through: Revision) -> BoxFuture<'_, Result<(), EngineError>>;

    /// Lets go of the database, and of the lock that keeps other coordinators off.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Changes of one step of a walk.
const WALK_CHANGES: usize = 256;

async fn walk_for_entries<E: Engine + ?Sized>(
    engine: &E,
    wanted: Vec<(ObjectKey, u64)>,
) -> Result<Vec<(Change, Entry)>, EngineError> {
    let mut wanted: BTreeMap<ObjectKey, Vec<u64>> = wanted.into_iter().fold(BTreeMap::new(), |mut names, (key, sequence)| {
        names.entry(key).or_default().push(sequence);
        names
    });
    let (mut found, mut before) = (Vec::new(), Revision(u64::MAX));
    while !wanted.is_empty() {
        let changes = engine.changes_before(before, WALK_CHANGES).await?;
        let Some(last) = changes.last() else { break };
        before = last.revision;
        for change in changes {
            for entry in engine.entries(change.revision).await? {
                let Some(sequences) = wanted.get_mut(&entry.key) else { continue };
                let open = sequences.len();
                sequences.retain(|sequence| *sequence != entry.sequence);
                if sequences.is_empty() {
                    wanted.remove(&entry.key);
                } else if sequences.len() == open {
                    continue;
                }
                found.push((change.clone(), entry));
            }
        }
    }
    Ok(found)
}

async fn walk_for_names<E: Engine + ?Sized>(engine: &E, prefix: String, limit: usize) -> Result<Vec<Change>, EngineError> {
    let (mut found, mut before) = (Vec::new(), Revision(u64::MAX));
    while found.len() < limit {
        let changes = engine.changes_before(before, WALK_CHANGES).await?;
        let Some(last) = changes.last() else { break };
        before = last.revision;
        found.extend(changes.into_iter().filter(|change| change.id.starts_with(&prefix)));
    }
    found.truncate(limit);
    Ok(found)
}

/// Why the database did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The database refused, or was not there.
    #[error("the record's database failed while {doing}: {source}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// Somebody else has written to the record.
    #[error(
        "the record is at revision {found}, and this coordinator had left it at {expected}: \
         something else has written to it; restart the coordinator to load it anew"
    )]
    Moved {
        /// Where the coordinator left it.
        expected: Revision,
        /// Where it is.
        found: Revision,
    },
    /// An object cannot be read.
    #[error(transparent)]
    Object(#[from] MalformedObject),
    /// A row cannot be read.
    #[error("the record's table {table} holds {value} where {expected} belongs; restore the record from a backup")]
    Malformed {
        /// The table.
        table: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The record has been closed.
    #[error("the record has been closed")]
    Closed,
}
