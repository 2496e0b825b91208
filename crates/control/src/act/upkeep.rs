//! What is done by the clock: liveness, the numbers of profiles, new trust roots, old history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use stead_model::{ConditionStatus, Digest, GroupKind, Object, ObjectKey, Profile, Revision, Selector};
use stead_store::{EngineError, List, Op, Retention, Transaction};
use stead_wire::CoordinatorHandle;
use tokio::time::Instant;

use super::news::SLOW;
use super::{Shared, news, states};
use crate::delivery::profile_kind;
use crate::liveness::{self, LIVENESS_PERIOD_SECONDS, Lateness, Sign};
use crate::metrics::MarkLabels;
use crate::{events, profile_status};

/// How often the numbers of touched profiles are counted again, in milliseconds: often enough to watch, rarely enough for ten thousand machines.
const PROFILES_PERIOD_MILLISECONDS: u64 = 500;
/// How often it is looked whether there is a new trust root, in milliseconds.
const ROOTS_PERIOD_MILLISECONDS: u64 = 500;
/// How often proposals are looked at, in milliseconds: a person who looks sees what became of one.
const PROPOSALS_PERIOD_MILLISECONDS: u64 = 1_000;
/// When proposals are looked at again though nothing has been written: they expire by themselves.
const REVIEW_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How often old events and history are forgotten, in seconds.
const TIDY_PERIOD_SECONDS: u64 = 600;
/// Deletions of events in one transaction.
const EVENTS_PER_BATCH_MAX: usize = 1_000;

pub(super) fn period(duration: Duration) -> tokio::time::Interval {
    let mut period = tokio::time::interval(duration);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    period
}

/// Who says whether a machine is silent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WatchedBy {
    /// This coordinator, which heard it last.
    Us,
    /// Another one, which is there.
    Another,
    /// The one that heard it last has gone, or none did: the leader.
    Leader,
}

struct Seen {
    watched_by: WatchedBy,
    name: String,
    heard: Option<Timestamp>,
    ready: Option<ConditionStatus>,
    marked_slow: bool,
    late: Option<Lateness>,
    connected: bool,
    connection: String,
    silent_after_seconds: u32,
    duplicate_since: Option<Timestamp>,
}

fn sign(seen: &Seen) -> Sign<'_> {
    Sign {
        name: &seen.name,
        heard: seen.heard,
        silent_after_seconds: seen.silent_after_seconds,
        ready: seen.ready,
        marked_slow: seen.marked_slow,
        late: seen.late,
        connected: seen.connected,
        connection: &seen.connection,
    }
}

/// Marks machines that fall silent, and those that are back: each coordinator those that it heard last, and the leader those whose
/// coordinator has gone.
pub(crate) async fn watch_liveness(shared: &Arc<Shared>, wire: &CoordinatorHandle, started: Timestamp) {
    let mut ticks = period(Duration::from_secs(LIVENESS_PERIOD_SECONDS));
    let mut leading: Option<(u64, Timestamp)> = None;
    loop {
        ticks.tick().await;
        let now = shared.now();
        leading = shared.term().map(|term| leading.filter(|(since, _)| *since == term).unwrap_or((term, now)));
        let others = seen(shared, now).into_iter().filter(|seen| seen.watched_by != WatchedBy::Another);
        let (seen, orphans): (Vec<Seen>, Vec<Seen>) = others.partition(|seen| seen.watched_by == WatchedBy::Us);
        if let Some((term, since)) = leading {
            let marks = liveness::plan(orphans.iter().map(sign), since, now);
            let marks = marks.into_iter().map(|mark| (mark.name().to_owned(), mark));
            news::write_as_leader(shared, wire, term, super::News::of_marks(marks)).await;
        }
        let marks = liveness::plan(seen.iter().map(sign), started, now);
        let over = |since: Timestamp| now.as_second().saturating_sub(since.as_second()) > news::DUPLICATE_KEEP_SECONDS;
        let mut pending = shared.news();
        for mark in marks {
            let name = mark.name().to_owned();
            tracing::info!(machine = name, ?mark, "liveness");
            shared.metrics.liveness_marks.get_or_create(&MarkLabels { mark: mark.word() }).inc();
            pending.mark(&name, mark);
        }
        for seen in seen.iter().filter(|seen| seen.duplicate_since.is_some_and(over)) {
            pending.duplicate_over(&seen.name);
        }
        drop(pending);
        shared.news_there.notify_one();
    }
}

fn seen(shared: &Shared, now: Timestamp) -> Vec<Seen> {
    let snapshot = shared.admission.store().snapshot();
    let limits: Vec<(String, u32)> = shared
        .with_fleet(|fleet| fleet.machines().map(|(name, machine)| (name.to_owned(), machine.silent_after_seconds)).collect());
    let (sessions, mut statuses) = (shared.sessions(), shared.statuses());
    let look = |(name, silent_after_seconds): (String, u32)| {
        let status = statuses.of(&snapshot, &name).unwrap_or_default();
        let condition = |kind: &str| status.conditions.iter().find(|condition| condition.kind == kind);
        let duplicate = condition("DuplicateKey").filter(|condition| condition.status == ConditionStatus::True);
        let coordinator = status.coordinator.as_deref();
        let watched_by = if sessions.peer_of(&name).is_some() || coordinator == Some(shared.me.as_str()) {
            WatchedBy::Us
        } else if coordinator.is_some_and(|coordinator| shared.is_present(coordinator, now)) {
            WatchedBy::Another
        } else {
            WatchedBy::Leader
        };
        Seen {
            watched_by,
            heard: sessions.last_heard(&name).max(status.last_seen),
            ready: condition("Ready").map(|condition| condition.status),
            marked_slow: condition("Ready").is_some_and(|condition| condition.reason == SLOW),
            late: sessions.lateness(&name, now),
            connected: sessions.peer_of(&name).is_some(),
            connection: sessions.connection(&name),
            duplicate_since: duplicate.map(|condition| sessions.last_duplicate(&name).unwrap_or(condition.last_transition_time)),
            name,
            silent_after_seconds,
        }
    };
    limits.into_iter().map(look).collect()
}

/// Counts what became of the profiles that something was said of.
pub(crate) async fn count_profiles(shared: &Arc<Shared>) {
    let mut ticks = period(Duration::from_millis(PROFILES_PERIOD_MILLISECONDS));
    loop {
        ticks.tick().await;
        // What is touched meanwhile is counted when this coordinator leads.
        let Some(term) = shared.term() else { continue };
        let touched = std::mem::take(&mut *shared.profiles_touched.lock().unwrap_or_else(PoisonError::into_inner));
        let statements = match statements(shared, &touched).await {
            Ok(statements) => statements,
            Err(error) => {
                tracing::warn!(%error, "what profiles were signed with could not be read; they are counted again");
                shared.touch_profiles(touched);
                continue;
            }
        };
        let ops: Vec<Op> = touched.iter().filter_map(|name| count(shared, name, statements.get(name))).collect();
        if ops.is_empty() {
            continue;
        }
        let transaction = Transaction { fence: Some(term), ..Transaction::unsigned(shared.now(), ops) };
        if let Err(error) = shared.admission.store().commit(transaction).await {
            tracing::warn!(%error, "the numbers of profiles could not be written; they are counted again");
            shared.touch_profiles(touched);
        }
    }
}

/// The newest statements of profiles, by name: of a record that began anew, since machines may hold others with the same sequences.
async fn statements(shared: &Shared, names: &BTreeSet<String>) -> Result<BTreeMap<String, Digest>, EngineError> {
    let store = shared.admission.store();
    if names.is_empty() || store.snapshot().restored().is_none() {
        return Ok(BTreeMap::new());
    }
    let keys = names.iter().map(|name| ObjectKey::new(profile_kind(), "", name)).collect();
    let rows = store.newest_entries(keys).await?;
    Ok(rows.into_iter().map(|(change, entry)| (entry.key.name, Digest::of(&change.statement))).collect())
}

fn count(shared: &Shared, name: &str, statement: Option<&Digest>) -> Option<Op> {
    let snapshot = shared.admission.store().snapshot();
    let key = ObjectKey::new(profile_kind(), "", name);
    let profile: Profile = serde_json::from_slice(snapshot.get(&key)?.json()).ok()?;
    let sequence = snapshot.sequence(&key).map_or(0, |sequence| sequence.sequence);
    let machines: Vec<String> = shared.with_fleet(|fleet| fleet.machines_for(name).map(str::to_owned).collect());
    let mut read = shared.statuses();
    let statuses: Vec<_> = machines.into_iter().map(|machine| (read.of(&snapshot, &machine), machine)).collect();
    drop(read);
    let present = profile.status.clone().unwrap_or_default();
    let said = statuses.iter().map(|(status, name)| (name.as_str(), status.as_deref()));
    let next = profile_status::plan(name, (sequence, statement), profile.metadata.generation, said, &present, shared.now());
    if profile.status.as_ref() == Some(&next) {
        return None;
    }
    Some(Op::put_status(key, serde_json::to_value(next).ok()?))
}

/// Tells every machine of a new version of the trust root, and those machines again that the record could not be read for.
pub(crate) async fn follow_roots(shared: &Arc<Shared>, wire: &CoordinatorHandle) {
    let version = || shared.admission.store().snapshot().newest_root().map_or(0, |root| root.version);
    let mut told = version();
    let mut ticks = period(Duration::from_millis(ROOTS_PERIOD_MILLISECONDS));
    loop {
        ticks.tick().await;
        let again = std::mem::take(&mut *shared.untold.lock().unwrap_or_else(PoisonError::into_inner));
        for peer in again {
            states::send(shared, wire, peer).await;
        }
        let newest = version();
        if newest != told {
            told = newest;
            states::send_to_all(shared, wire).await;
        }
    }
}

/// Tells proposals that have expired or were overtaken, and admits those that a new trust root made ready.
pub(crate) async fn review_proposals(shared: &Arc<Shared>) {
    let mut ticks = period(Duration::from_millis(PROPOSALS_PERIOD_MILLISECONDS));
    let mut reviewed: Option<(Revision, Instant)> = None;
    loop {
        ticks.tick().await;
        let (revision, now) = (shared.admission.store().revision(), Instant::now());
        let unmoved = reviewed.is_some_and(|(seen, at)| seen == revision && now < at + REVIEW_AGAIN_AFTER);
        if unmoved || shared.term().is_none() {
            continue;
        }
        match shared.admission.review_proposals().await {
            Ok(()) => reviewed = Some((revision, now)),
            Err(error) => tracing::warn!(%error, "proposals could not be reviewed; it is tried again"),
        }
    }
}

/// Forgets events and history that have been kept long enough.
pub(crate) async fn tidy_up(shared: &Arc<Shared>) {
    let mut ticks = period(Duration::from_secs(TIDY_PERIOD_SECONDS));
    loop {
        ticks.tick().await;
        let Some(term) = shared.term() else { continue };
        let store = shared.admission.store();
        let everything = Selector::default();
        let kind = GroupKind::new("", "Event");
        let list = List { kind, namespace: None, selector: &everything, fields: None, after: None, limit: 0 };
        let all: Vec<Object> = store.snapshot().list(&list).objects.iter().filter_map(|stored| stored.to_object().ok()).collect();
        for batch in events::expired(&all, shared.now()).chunks(EVENTS_PER_BATCH_MAX) {
            let ops = batch.iter().cloned().map(Op::delete).collect();
            let transaction = Transaction { fence: Some(term), ..Transaction::unsigned(shared.now(), ops) };
            if let Err(error) = store.commit(transaction).await {
                tracing::warn!(%error, "old events could not be forgotten; it is tried again later");
                break;
            }
        }
        if let Err(error) = store.compact(Retention::default()).await {
            tracing::warn!(%error, "old history could not be forgotten; it is tried again later");
        }
    }
}
