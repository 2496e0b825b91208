//! What machines said, gathered until it is written: the latest status of each, and its events once each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use stead_model::{
    ConditionStatus, DuplicateKey, GivenBack, Machine, MachineEvent, MachineSpec, MachineStatus, Object, ObjectKey, OutboxBody,
    Presented, set_condition,
};
use stead_store::{CommitError, Expect, Op, Snapshot, Transaction};
use stead_trust::MachineKey;
use stead_wire::{CoordinatorHandle, PATHS_REMEMBERED_MAX, PeerKey};

use super::{Shared, enrollment_kind, giveback, occurrences, states};
use crate::delivery::machine_kind;
use crate::events::Occurrence;
use crate::liveness::Mark;
use crate::{acknowledgement, identity, profile_status, vitals_history};

/// Machines whose news go into one transaction: bounds what one failing row holds up, and what memory it takes.
const MACHINES_PER_BATCH_MAX: usize = 256;
/// `lastSeen` is written along with other news, and by itself no more often than this, in seconds: it costs a disk write a machine.
const LAST_SEEN_PERIOD_SECONDS: i64 = 60;
/// How long, in seconds, the writer waits after the record's database failed.
const RETRY_SECONDS: u64 = 1;
/// What the coordinator saw by itself and could not write yet, at most; past it the oldest goes.
const OCCURRENCES_MAX: usize = 1_000;
/// How long, in seconds, the condition `DuplicateKey` stays after the last sign of it.
pub(crate) const DUPLICATE_KEEP_SECONDS: i64 = 600;

/// The reason of `Ready` where a machine speaks later than it should.
pub(crate) const SLOW: &str = "Slow";

/// Events of one machine that wait to be written, at most.
const EVENTS_WAITING_MAX: usize = 1_024;
/// The longest reason of a machine's event, in characters: one word.
const REASON_CHARACTERS_MAX: usize = 64;
/// By how much, in seconds, a machine's event may be older than its arrival to keep its own time: half of what events are kept for.
const EVENT_AGE_SECONDS_MAX: i64 = crate::events::EVENT_KEEP_SECONDS / 2;

/// The most units, conditions, and disks or interfaces of one status: what an honest agent says at most.
const UNITS_MAX: usize = 500;
const CONDITIONS_MAX: usize = 16;
const FACTS_LISTED_MAX: usize = 64;

/// What is to be written of one machine.
#[derive(Clone, Debug, Default)]
struct MachineNews {
    status: Option<MachineStatus>,
    mark: Option<Mark>,
    duplicate: Option<DuplicateKey>,
    presented: Option<Presented>,
    duplicate_over: bool,
    given_back: Option<GivenBack>,
    heard: bool,
    /// Its memory was made anew, and with it its outbox: what was taken before was another one's.
    begins_anew: bool,
    peer: Option<PeerKey>,
    events: BTreeMap<u64, Option<OutboxBody>>,
}

impl MachineNews {
    fn followed_by(mut self, newer: Self) -> Self {
        self.events.extend(newer.events);
        Self {
            status: newer.status.or(self.status),
            mark: newer.mark.or(self.mark),
            duplicate: newer.duplicate.or(self.duplicate),
            presented: newer.presented.or(self.presented),
            duplicate_over: newer.duplicate_over || self.duplicate_over,
            given_back: match newer.given_back {
                Some(newer) => Some(giveback::followed_by(self.given_back, newer)),
                None => self.given_back,
            },
            heard: newer.heard || self.heard,
            begins_anew: newer.begins_anew || self.begins_anew,
            peer: newer.peer.or(self.peer),
            events: self.events,
        }
    }
}

/// Everything that is to be written.
#[derive(Debug, Default)]
pub(crate) struct News {
    machines: BTreeMap<String, MachineNews>,
    occurrences: Vec<Occurrence>,
}

impl News {
    pub(crate) fn status(&mut self, name: &str, status: MachineStatus) {
        self.machines.entry(name.to_owned()).or_default().status = Some(status);
    }

    pub(crate) fn heard(&mut self, name: &str) {
        self.machines.entry(name.to_owned()).or_default().heard = true;
    }

    pub(crate) fn begins_anew(&mut self, name: &str) {
        self.machines.entry(name.to_owned()).or_default().begins_anew = true;
    }

    pub(crate) fn mark(&mut self, name: &str, mark: Mark) {
        self.machines.entry(name.to_owned()).or_default().mark = Some(mark);
    }

    pub(crate) fn duplicate(&mut self, name: &str, duplicate: DuplicateKey) {
        self.machines.entry(name.to_owned()).or_default().duplicate = Some(duplicate);
    }

    pub(crate) fn presented(&mut self, name: &str, presented: Presented) {
        self.machines.entry(name.to_owned()).or_default().presented = Some(presented);
    }

    /// What owners signed of a machine has changed: its status may have to say so.
    pub(crate) fn touched(&mut self, name: &str) {
        self.machines.entry(name.to_owned()).or_default();
    }

    pub(crate) fn given_back(&mut self, name: &str, given: GivenBack) {
        let news = self.machines.entry(name.to_owned()).or_default();
        news.given_back = Some(giveback::followed_by(news.given_back.take(), given));
    }

    pub(crate) fn duplicate_over(&mut self, name: &str) {
        self.machines.entry(name.to_owned()).or_default().duplicate_over = true;
    }

    pub(crate) fn events(&mut self, name: &str, peer: PeerKey, items: Vec<(u64, Option<OutboxBody>)>) {
        let news = self.machines.entry(name.to_owned()).or_default();
        news.peer = Some(peer);
        // What finds no room is not taken, so the machine keeps it and sends it again.
        let room = EVENTS_WAITING_MAX.saturating_sub(news.events.len());
        news.events.extend(items.into_iter().take(room));
    }

    pub(crate) fn occurrence(&mut self, occurrence: Occurrence) {
        self.occurrences.push(occurrence);
    }

    fn take(&mut self) -> (Vec<(String, MachineNews)>, Vec<Occurrence>) {
        let rest = self.machines.iter().nth(MACHINES_PER_BATCH_MAX).map(|(name, _)| name.clone());
        let rest = rest.map_or_else(BTreeMap::new, |name| self.machines.split_off(&name));
        let batch = std::mem::replace(&mut self.machines, rest);
        (batch.into_iter().collect(), std::mem::take(&mut self.occurrences))
    }

    /// What is to be written of machines that this coordinator does not hear itself.
    pub(crate) fn of_marks(marks: impl IntoIterator<Item = (String, Mark)>) -> Self {
        let mut news = Self::default();
        marks.into_iter().for_each(|(name, mark)| news.mark(&name, mark));
        news
    }

    /// Takes back what could not be written. What came since is newer.
    fn put_back(&mut self, machines: Vec<(String, MachineNews)>, mut occurrences: Vec<Occurrence>) {
        for (name, older) in machines {
            let newer = self.machines.remove(&name).unwrap_or_default();
            self.machines.insert(name, older.followed_by(newer));
        }
        occurrences.append(&mut self.occurrences);
        let surplus = occurrences.len().saturating_sub(OCCURRENCES_MAX);
        self.occurrences = occurrences.split_off(surplus);
    }

    pub(crate) fn len(&self) -> usize {
        self.machines.len()
    }

    fn is_empty(&self) -> bool {
        self.machines.is_empty() && self.occurrences.is_empty()
    }
}

/// Writes news as they come, one transaction at a time: while it is on its way, the next ones gather.
pub(crate) async fn write(shared: &Arc<Shared>, wire: &CoordinatorHandle) {
    loop {
        if shared.news().is_empty() {
            shared.news_there.notified().await;
        }
        let (machines, occurrences) = shared.news().take();
        if machines.is_empty() && occurrences.is_empty() {
            continue;
        }
        let Err(error) = commit(shared, wire, &machines, &occurrences, None).await else { continue };
        if !matches!(error, CommitError::Conflict { .. }) {
            shared.metrics.write_failures.inc();
            tracing::error!(%error, machines = machines.len(), "what machines said could not be written");
        }
        if matches!(error, CommitError::Engine(_) | CommitError::Unknown(_)) {
            // Such as a full disk: nothing is wrong with the news, and nobody says them again.
            shared.news().put_back(machines, occurrences);
            tokio::time::sleep(Duration::from_secs(RETRY_SECONDS)).await;
            continue;
        }
        // One bad row (a machine removed meanwhile) must not hold up the others.
        let alone = machines.iter().map(|machine| (std::slice::from_ref(machine), &[][..]));
        for (machine, occurrences) in alone.chain(std::iter::once((&[][..], &occurrences[..]))) {
            let name = machine.first().map(|(name, _)| name.as_str());
            match commit(shared, wire, machine, occurrences, None).await {
                Ok(()) => {}
                // Somebody wrote it between our look and our turn: looked at anew, with what has come since.
                Err(CommitError::Conflict { .. }) => shared.news().put_back(machine.to_vec(), occurrences.to_vec()),
                Err(error) => tracing::error!(%error, machine = name, "left out"),
            }
        }
    }
}

/// Writes, as the leader, what is decided of machines that other coordinators heard last. Whatever such a machine has said meanwhile
/// stands: then nothing is written of it, and the next look decides anew.
pub(crate) async fn write_as_leader(shared: &Arc<Shared>, wire: &CoordinatorHandle, term: u64, mut news: News) {
    while !news.is_empty() {
        let (machines, _) = news.take();
        for machine in &machines {
            if let Err(error) = commit(shared, wire, std::slice::from_ref(machine), &[], Some(term)).await {
                tracing::info!(%error, machine = machine.0, "not marked");
            }
        }
    }
}

/// `fence` is the term of a leader that decides about machines that it does not hear itself.
async fn commit(
    shared: &Arc<Shared>,
    wire: &CoordinatorHandle,
    machines: &[(String, MachineNews)],
    occurrences: &[Occurrence],
    fence: Option<u64>,
) -> Result<(), CommitError> {
    let now = shared.now();
    let snapshot = shared.admission.store().snapshot();
    let (mut ops, mut taken, mut told, mut touched) = (Vec::new(), Vec::new(), occurrences.to_vec(), BTreeSet::new());
    let mut settled = Vec::new();
    for (name, news) in machines {
        let Some(update) = update(shared, &snapshot, name, news, now) else { continue };
        touched.extend(profile_status::touched(update.before.as_ref(), Some(&update.after)));
        if let (Some(peer), Some(sequence)) = (news.peer, news.events.keys().next_back()) {
            taken.push((peer, *sequence));
        }
        told.extend(update.occurrences);
        let before = update.before.as_ref().map_or(&[][..], |status| &status.acknowledgements);
        let new = update.after.acknowledgements.iter().filter(|word| !before.contains(word));
        settled.extend(new.map(|word| (name.clone(), word.clone())));
        if update.before.as_ref() != Some(&update.after)
            && let Ok(status) = serde_json::to_value(&update.after)
        {
            let key = ObjectKey::new(machine_kind(), "", name);
            // What is decided by what was there (which events are new, whether it is silent) holds only where nobody, such as another
            // coordinator that the machine turned to, wrote it meanwhile. Else it is looked at anew.
            let depends = fence.is_some() || !news.events.is_empty() || news.begins_anew;
            let expect = match snapshot.get(&key).filter(|_| depends) {
                Some(present) => Expect::Revision(present.revision()),
                None => Expect::Any,
            };
            ops.push(Op::PutStatus { key, status, managed_fields: None, expect });
        }
    }
    let statuses = ops.len() as u64;
    ops.extend(occurrences::ops(&snapshot, &told));
    if !ops.is_empty() {
        shared.admission.store().commit(Transaction { fence, ..Transaction::unsigned(now, ops) }).await?;
        shared.metrics.batch_machines.observe(f64::from(u32::try_from(machines.len()).unwrap_or(u32::MAX)));
    }
    shared.metrics.statuses_written.inc_by(statuses);
    for (machine, word) in settled {
        shared.metrics.acknowledged(&word.outcome);
        states::note_taken(shared, &machine, &word);
    }
    // Now, and not before: whoever counts must find what was written.
    shared.touch_profiles(touched);
    for (peer, sequence) in taken {
        wire.taken(peer, sequence);
    }
    Ok(())
}

struct Update {
    before: Option<MachineStatus>,
    after: MachineStatus,
    occurrences: Vec<Occurrence>,
}

/// The machine's next status: its own words, and what the coordinator saw of it.
fn update(shared: &Shared, snapshot: &Snapshot, name: &str, news: &MachineNews, now: Timestamp) -> Option<Update> {
    let key = ObjectKey::new(machine_kind(), "", name);
    let object: Object = snapshot.get(&key)?.to_object().ok()?;
    let uid = object.metadata.uid.clone();
    let mut machine: Machine = object.to_typed().ok()?;
    let before = machine.status.take();
    let old = as_of_key(before.clone().unwrap_or_default(), &machine.spec);
    let mut after = news.status.clone().unwrap_or_else(|| old.clone());
    if news.status.is_some() {
        bound(&mut after);
        keep_own(&mut after, &old);
        let fleet = shared.admission.fleet();
        let words = std::mem::take(&mut after.acknowledgements);
        let keys: Vec<MachineKey> =
            std::iter::once(&machine.spec.key).chain(rotated_from(&machine.spec)).filter_map(|key| key.parse().ok()).collect();
        let said = words.len();
        after.acknowledgements = acknowledgement::verified(words, &old.acknowledgements, &fleet, &keys);
        let forged = said.saturating_sub(after.acknowledgements.len());
        shared.metrics.acknowledgements_forged.inc_by(forged as u64);
    }
    let occurrence = |warning, reason: &str, message: String, time| Occurrence {
        about: key.clone(),
        uid: uid.clone(),
        warning,
        reason: reason.to_owned(),
        message,
        component: "coordinator".to_owned(),
        time,
    };
    let mut occurrences = Vec::new();
    let (seen, here) = {
        let sessions = shared.sessions();
        (sessions.last_heard(name), sessions.peer_of(name).is_some())
    };
    if here {
        after.coordinator = Some(shared.me.clone());
    }
    let stale = |at: Timestamp| old.last_seen.is_none_or(|last| at.as_second() - last.as_second() >= LAST_SEEN_PERIOD_SECONDS);
    if let Some(seen) = seen.filter(|at| news.status.is_some() || news.mark.is_some() || stale(*at)) {
        after.last_seen = Timestamp::from_second(seen.as_second()).ok();
    }
    occurrences.extend(seen_by_coordinator(name, &mut after, news, &old, &occurrence, now));
    if machine.spec.decommissioned.is_some() {
        let message = "owners have decommissioned it; it does nothing any more";
        set_condition(&mut after.conditions, "Ready", ConditionStatus::False, "Decommissioned", message, now);
    }
    let taken = if news.begins_anew { 0 } else { old.events_taken.unwrap_or(0) };
    let mut vitals = Vec::new();
    for (_, item) in news.events.range(taken.saturating_add(1)..) {
        match item {
            Some(OutboxBody::Event(event)) => {
                occurrences.push(Occurrence { component: "agent".to_owned(), ..told(event, now, &occurrence) });
            }
            Some(OutboxBody::Vitals { vitals: sample }) => vitals.push(sample.clone()),
            None => {}
        }
    }
    if !vitals.is_empty() {
        after.vitals_history = vitals_history::plan(&after.vitals_history, vitals);
    }
    match news.events.keys().next_back() {
        Some(last) => after.events_taken = Some(taken.max(*last)),
        // Its events come later, and count from there.
        None if news.begins_anew => after.events_taken = None,
        None => {}
    }
    Some(Update { before, after, occurrences })
}

/// The key that a machine had before it changed it by itself.
fn rotated_from(spec: &MachineSpec) -> Option<&String> {
    spec.rotation.as_ref().and_then(|_| spec.former_keys.last())
}

/// What stays of a status when owners have given the machine's name to another key. A machine that changed its key by itself is the same
/// one; another disk begins afresh, and its sequences with it.
fn as_of_key(status: MachineStatus, spec: &MachineSpec) -> MachineStatus {
    let presented = status.presented.as_ref().map(|presented| &presented.key);
    if presented.is_none_or(|key| *key == spec.key || rotated_from(spec) == Some(key)) {
        return status;
    }
    MachineStatus {
        events_taken: None,
        acknowledgements: Vec::new(),
        units: Vec::new(),
        revision: None,
        presented: None,
        ..status
    }
}

/// What the coordinator itself saw of a machine, as conditions, and what of it is worth telling.
fn seen_by_coordinator(
    machine: &str,
    after: &mut MachineStatus,
    news: &MachineNews,
    old: &MachineStatus,
    occurrence: &impl Fn(bool, &str, String, Timestamp) -> Occurrence,
    now: Timestamp,
) -> Vec<Occurrence> {
    let mut occurrences = Vec::new();
    match &news.mark {
        Some(Mark::Silent { seconds, connection, .. }) => {
            let silent = seconds.map_or("it was never heard".to_owned(), |seconds| format!("nothing was heard for {seconds} s"));
            let message = format!("{silent}; {connection}");
            set_condition(&mut after.conditions, "Ready", ConditionStatus::Unknown, "Silent", &message, now);
            occurrences.push(occurrence(true, "Silent", "the machine has fallen silent".to_owned(), now));
        }
        Some(Mark::Slow { late, .. }) => {
            let message =
                format!("it speaks, and its latest sign of life was {} s late; so since {:.0}", late.seconds, late.since);
            set_condition(&mut after.conditions, "Ready", ConditionStatus::True, SLOW, &message, now);
            occurrences.push(occurrence(true, "Slow", "the machine speaks later than it should".to_owned(), now));
        }
        mark if mark.is_some() || news.heard || news.status.is_some() => {
            let was = old.conditions.iter().find(|condition| condition.kind == "Ready");
            let slow = was.is_some_and(|was| was.reason == SLOW);
            // Only a look at several of its words says that it is in time again.
            if mark.is_some() || !slow {
                set_condition(&mut after.conditions, "Ready", ConditionStatus::True, "Heard", "", now);
            }
            if was.is_some_and(|was| was.status == ConditionStatus::Unknown) {
                occurrences.push(occurrence(false, "Back", "the machine speaks again".to_owned(), now));
            } else if slow && mark.is_some() {
                occurrences.push(occurrence(false, "InTime", "the machine speaks in time again".to_owned(), now));
            }
        }
        _ => {}
    }
    if let Some(presented) = &news.presented {
        after.presented = Some(presented.clone());
    }
    if let Some(duplicate) = &news.duplicate {
        let message = identity::told(machine, duplicate);
        set_condition(&mut after.conditions, "DuplicateKey", ConditionStatus::True, "TwoMachines", &message, now);
        after.duplicate = Some(duplicate.clone());
    } else if news.duplicate_over {
        set_condition(&mut after.conditions, "DuplicateKey", ConditionStatus::False, "OneMachine", "", now);
    }
    if let Some(given) = &news.given_back {
        let told = giveback::told(given, Some(old));
        occurrences.extend(told.into_iter().map(|(reason, message)| occurrence(true, &reason, message, now)));
        after.given_back = Some(giveback::followed_by(old.given_back.clone(), given.clone()));
    }
    occurrences
}

/// What a machine's event tells.
fn told(event: &MachineEvent, now: Timestamp, occurrence: &impl Fn(bool, &str, String, Timestamp) -> Occurrence) -> Occurrence {
    let about = event.object.as_ref().map(ToString::to_string).filter(|name| !event.message.starts_with(name));
    let message = about.map_or_else(|| event.message.clone(), |name| format!("{name}: {}", event.message));
    // A board without a clock says 1970: then the time of arrival is nearer to the truth.
    let age = now.as_second().saturating_sub(event.time.as_second());
    let time = if (0..=EVENT_AGE_SECONDS_MAX).contains(&age) { event.time } else { now };
    let reason: String = event.reason.chars().take(REASON_CHARACTERS_MAX).collect();
    occurrence(event.warning, &reason, message, time)
}

/// A machine may say what it likes of itself, and not without end.
fn bound(status: &mut MachineStatus) {
    status.units.truncate(UNITS_MAX);
    status.conditions.truncate(CONDITIONS_MAX);
    if let Some(facts) = &mut status.facts {
        facts.disks.truncate(FACTS_LISTED_MAX);
        facts.interfaces.truncate(FACTS_LISTED_MAX);
    }
    if let Some(path) = &mut status.path {
        path.tried.truncate(PATHS_REMEMBERED_MAX);
    }
}

/// What the machine does not write itself is carried over.
fn keep_own(after: &mut MachineStatus, old: &MachineStatus) {
    for kind in ["Ready", "DuplicateKey"] {
        after.conditions.retain(|condition| condition.kind != kind);
        after.conditions.extend(old.conditions.iter().find(|condition| condition.kind == kind).cloned());
    }
    after.last_seen = old.last_seen;
    after.coordinator.clone_from(&old.coordinator);
    after.events_taken = old.events_taken;
    after.vitals_history.clone_from(&old.vitals_history);
    after.given_back.clone_from(&old.given_back);
    after.presented.clone_from(&old.presented);
    after.duplicate.clone_from(&old.duplicate);
}

/// Something the coordinator tells about an enrollment.
pub(crate) fn enrollment_occurrence(name: &str, uid: &str, reason: &str, message: String, time: Timestamp) -> Occurrence {
    Occurrence {
        about: ObjectKey::new(enrollment_kind(), "", name),
        uid: uid.to_owned(),
        warning: false,
        reason: reason.to_owned(),
        message,
        component: "coordinator".to_owned(),
        time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_written_is_kept_and_the_newer_word_wins() {
        let status = |revision| MachineStatus { revision: Some(revision), ..MachineStatus::default() };
        let peer: PeerKey = "ab".repeat(32).parse().unwrap();
        let mut news = News::default();
        news.status("a", status(1));
        let duplicate = DuplicateKey { how: "TakingTurns".to_owned(), ..DuplicateKey::default() };
        news.duplicate("a", duplicate.clone());
        news.status("b", status(1));
        news.events("b", peer, vec![(1, None)]);
        let (machines, occurrences) = news.take();
        news.status("a", status(2));
        news.events("b", peer, vec![(2, None)]);
        news.put_back(machines, occurrences);
        let (machines, _) = news.take();
        let machines: BTreeMap<String, MachineNews> = machines.into_iter().collect();
        assert_eq!(machines["a"].status, Some(status(2)));
        assert_eq!(machines["a"].duplicate, Some(duplicate));
        assert_eq!(machines["b"].status, Some(status(1)));
        assert_eq!(machines["b"].events.keys().collect::<Vec<_>>(), [&1, &2]);
    }
}
