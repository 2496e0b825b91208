//! The coordinator at work: it keeps the fleet's picture coherent, asks the plans, and does what they say.

mod freshness;
mod gate;
mod giveback;
mod intruders;
mod lead;
mod news;
mod occurrences;
mod presence;
mod pulse;
mod sessions;
mod states;
mod statuses;
mod upkeep;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;
use stead_admission::Admission;
use stead_model::{Enrollment, GroupKind, Machine, MachinePaths, MachinePlan, NextKey, Object, ObjectKey, Profile, Revision};
use stead_store::{EventKind, Op, Snapshot, Stored, Transaction, WatchError, WatchGroup, WatchScope};
use stead_trust::MachineKey;
use stead_wire::{CoordinatorHandle, HubEvent, PeerAddress, PeerKey, Refusal, Verdict, relay_token, relay_token_mark};
use tokio::sync::{Notify, Semaphore, mpsc, watch};

pub use gate::{ENROLLMENTS_PENDING_MAX, Gate};
pub use giveback::{GIVE_BACK_LINES_MAX, GIVE_BACKS_AT_ONCE_MAX, NOT_GIVEN_BACK_MAX};

use crate::delivery::{machine_kind, profile_kind};
use crate::fleet::{Fleet, KeyStanding};
use crate::metrics::{ControlMetrics, GiveBackMetrics};
use crate::presence::{Presence, Seen, Voice, is_known_mark};
use giveback::{Awaited, LET_IN_AT_ONCE_MAX, Queue, Statements};
use intruders::Intruders;
use news::News;
use sessions::Sessions;
use states::BundleCache;
use statuses::Statuses;

/// How long a machine may take to answer with a plan, in seconds: it looks at every unit, and runs every check.
pub const PLAN_SECONDS_MAX: u64 = 20;

/// What all of the coordinator's tasks share.
pub(crate) struct Shared {
    pub(crate) admission: Admission,
    pub(crate) fleet: RwLock<Fleet>,
    pub(crate) sessions: Mutex<Sessions>,
    pub(crate) news: Mutex<News>,
    pub(crate) news_there: Notify,
    pub(crate) profiles_touched: Mutex<BTreeSet<String>>,
    pub(crate) bundles: Mutex<BundleCache>,
    pub(crate) statuses: Mutex<Statuses>,
    /// Machines that could not be told because the record could not be read.
    pub(crate) untold: Mutex<BTreeSet<PeerKey>>,
    /// Held while a machine enrols, so that one key cannot enrol twice at once.
    pub(crate) enrolling: tokio::sync::Mutex<()>,
    /// Held while a machine is let in by its own papers.
    pub(crate) letting_in: Semaphore,
    /// What the relay token of this coordinator's tickets is known by.
    pub(crate) token_mark: String,
    /// This coordinator's key, as leases and machines' statuses name it.
    pub(crate) me: String,
    /// The term under which this coordinator leads; none while another one may.
    pub(crate) leads: watch::Sender<Option<u64>>,
    /// The coordinators, as they last said.
    pub(crate) coordinators: RwLock<Vec<Seen>>,
    pub(crate) metrics: Arc<ControlMetrics>,
    /// Machines that are to be asked for what they hold.
    pub(crate) give_backs: Mutex<Queue>,
    /// Machines that have not given back yet what they hold.
    pub(crate) awaited: Mutex<Awaited>,
    /// Those who present keys that are refused.
    pub(crate) intruders: Mutex<Intruders>,
    pub(crate) give_backs_there: Notify,
    pub(crate) statements: Mutex<Statements>,
    pub(crate) give_back_metrics: Arc<GiveBackMetrics>,
}

impl Shared {
    /// The present moment in whole seconds, as objects have it.
    pub(crate) fn now(&self) -> Timestamp {
        let now = self.admission.environment().now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    /// The term under which this coordinator leads. What is decided for the whole fleet is decided under it.
    pub(crate) fn term(&self) -> Option<u64> {
        *self.leads.borrow()
    }

    /// Whether a coordinator has lately said that it is there.
    pub(crate) fn is_present(&self, coordinator: &str, now: Timestamp) -> bool {
        let coordinators = self.coordinators.read().unwrap_or_else(PoisonError::into_inner);
        coordinators.iter().any(|seen| seen.presence.address.key.to_string() == coordinator && seen.is_present(now))
    }

    /// Whether a relay token goes with a pass of this coordinator's, or of another one's that is there or was lately. Tokens are
    /// compared by their marks, so that the time it takes tells nothing of them.
    pub(crate) fn knows_token(&self, token: &str) -> bool {
        let mark = relay_token_mark(token);
        let coordinators = self.coordinators.read().unwrap_or_else(PoisonError::into_inner);
        mark == self.token_mark || is_known_mark(&mark, &coordinators, self.now())
    }

    /// The incarnation of the record as the wire carries it. It may become another at any time: a promoted standby may have lost the
    /// newest batches.
    pub(crate) fn incarnation(&self) -> u64 {
        incarnation_number(self.admission.store().snapshot().incarnation())
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn intruders(&self) -> MutexGuard<'_, Intruders> {
        self.intruders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a machine has signed that it has the newest that owners signed of itself.
    pub(crate) fn has_heard(&self, name: &str) -> bool {
        let snapshot = self.admission.store().snapshot();
        let key = ObjectKey::new(machine_kind(), "", name);
        let Some(newest) = snapshot.sequence(&key).map(|sequence| sequence.sequence) else { return false };
        self.statuses().of(&snapshot, name).is_some_and(|status| crate::pulse::has(&status, &key.to_string(), newest))
    }

    /// Whether a machine has come with the key that it has now.
    pub(crate) fn has_come(&self, name: &str) -> bool {
        let key = self.with_fleet(|fleet| fleet.machine(name).map(|machine| machine.key.clone()));
        let snapshot = self.admission.store().snapshot();
        let presented = self.statuses().of(&snapshot, name).and_then(|status| status.presented.clone());
        presented.is_some_and(|presented| Some(presented.key) == key)
    }

    pub(crate) fn statuses(&self) -> MutexGuard<'_, Statuses> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn awaited(&self) -> MutexGuard<'_, Awaited> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn with_fleet<T>(&self, look: impl FnOnce(&Fleet) -> T) -> T {
        look(&self.fleet.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change_fleet(&self, change: impl FnOnce(&mut Fleet)) {
        change(&mut self.fleet.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn touch_profiles(&self, names: impl IntoIterator<Item = String>) {
        self.profiles_touched.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }
}

/// Revisions of which machines are told together at most, so that a machine never waits long for the first of them.
const ROUND_GROUPS_MAX: usize = 256;

/// What revisions that are told of together changed.
#[derive(Debug, Default)]
struct Round {
    /// Machines that have to hear of it.
    concerned: BTreeSet<String>,
    /// Statuses that answer enrollments.
    answered: Vec<Op>,
    /// Machines whose own object is another.
    machines: BTreeSet<String>,
    /// Machines of which only the status is another.
    moved: BTreeSet<String>,
}

/// The coordinator's decisions, at work. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
    /// The revision of the record that was taken in at the start.
    loaded: Revision,
}

impl Control {
    /// Takes in the record as it is. `pass` is what tickets carry.
    pub fn new(admission: Admission, pass: &[u8]) -> Self {
        // A key that is no machine's can be no coordinator's either; it is told apart by its fingerprint all the same.
        let me = MachineKey::try_from(admission.online_key())
            .map_or_else(|_| admission.online_key().fingerprint(), |key| key.to_string());
        let shared = Arc::new(Shared {
            admission,
            fleet: RwLock::default(),
            sessions: Mutex::default(),
            news: Mutex::default(),
            news_there: Notify::new(),
            profiles_touched: Mutex::default(),
            bundles: Mutex::default(),
            statuses: Mutex::default(),
            untold: Mutex::default(),
            enrolling: tokio::sync::Mutex::default(),
            letting_in: Semaphore::new(LET_IN_AT_ONCE_MAX),
            token_mark: relay_token_mark(&relay_token(pass)),
            me,
            leads: watch::Sender::new(None),
            coordinators: RwLock::default(),
            metrics: Arc::new(ControlMetrics::new()),
            intruders: Mutex::default(),
            give_backs: Mutex::default(),
            awaited: Mutex::default(),
            give_backs_there: Notify::new(),
            statements: Mutex::default(),
            give_back_metrics: Arc::new(GiveBackMetrics::new()),
        });
        let mut control = Self { shared, loaded: Revision::default() };
        control.loaded = control.load();
        control
    }

    /// What the controllers have counted, up to now.
    pub fn metrics(&self) -> Arc<ControlMetrics> {
        let waiting = self.shared.news().len();
        self.shared.metrics.news_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        Arc::clone(&self.shared.metrics)
    }

    /// What machines gave back to a record that knew less than they do.
    pub fn give_back_metrics(&self) -> Arc<GiveBackMetrics> {
        Arc::clone(&self.shared.give_back_metrics)
    }

    /// Who is let in: what `wire` asks.
    pub fn gate(&self) -> Gate {
        Gate::new(Arc::clone(&self.shared))
    }

    /// Who may use the relay: members by their key, and whoever has a ticket by the token that goes with its pass.
    pub fn may_use_relay(&self, peer: &PeerKey, token: Option<&str>) -> bool {
        let key = peer.to_string();
        let (name, former) = match self.shared.with_fleet(|fleet| fleet.standing(&key).map_name(str::to_owned)) {
            KeyStanding::Member(_) => return true,
            KeyStanding::Stranger => return token.is_some_and(|token| self.shared.knows_token(token)),
            KeyStanding::Former(name) => (name, true),
            KeyStanding::Decommissioned(name) => (name, false),
        };
        // A machine that was away has to hear what became of its key, and may have no other way to here.
        if former { !self.shared.has_come(&name) } else { !self.shared.has_heard(&name) }
    }

    /// The machines because of which keys are refused for good.
    pub fn refusing(&self) -> Vec<String> {
        self.shared.with_fleet(|fleet| fleet.refusing().map(str::to_owned).collect())
    }

    /// Whom a relay may admit: the members' keys, and what the tokens of good tickets are known by.
    pub fn roll(&self) -> (Vec<PeerKey>, Vec<String>) {
        let keys = |fleet: &Fleet| fleet.machines().filter_map(|(_, machine)| machine.key.parse().ok()).collect();
        let seen = presence::seen(&self.shared.admission.store().snapshot());
        let marks = crate::presence::marks(&self.shared.token_mark, &seen, self.shared.now());
        (self.shared.with_fleet(keys), marks)
    }

    /// Takes in the whole record, and says as of which revision. What follows has to be watched from there.
    fn load(&self) -> Revision {
        // What was kept of the record may be of batches that it has lost: others may have taken their sequences and revisions.
        *self.shared.bundles.lock().unwrap_or_else(PoisonError::into_inner) = BundleCache::default();
        *self.shared.statuses() = Statuses::default();
        self.shared.sessions().forget_told();
        let snapshot = self.shared.admission.store().snapshot();
        let mut fleet = Fleet::default();
        for kind in [machine_kind(), profile_kind()] {
            for stored in all(&snapshot, kind) {
                put(&mut fleet, &stored);
            }
        }
        let names: Vec<String> = fleet.machines().map(|(name, _)| name.to_owned()).collect();
        let awaited = Awaited::of(&snapshot, &mut self.shared.statuses(), names.iter().map(String::as_str));
        *self.shared.awaited() = awaited;
        // A fresh picture: what was deleted while nobody looked must not stay in it.
        self.shared.change_fleet(|present| *present = fleet);
        let profiles: Vec<String> = snapshot.sequences(&profile_kind()).into_iter().map(|(key, _)| key.name).collect();
        self.shared.touch_profiles(profiles);
        snapshot.revision()
    }

    /// Runs until the record or the hub is closed. `presence` is what this coordinator says of itself, the latest; `alone` says that nobody else
    /// can write to the record.
    pub async fn run(
        self,
        wire: CoordinatorHandle,
        events: mpsc::Receiver<HubEvent>,
        presence: watch::Receiver<Presence>,
        alone: bool,
    ) {
        let shared = &self.shared;
        let started = shared.now();
        tokio::select! {
            biased;
            () = sessions::listen(shared, &wire, events) => tracing::info!("the hub has closed"),
            () = self.follow(&wire) => tracing::info!("the record has closed"),
            () = news::write(shared, &wire) => {}
            () = upkeep::watch_liveness(shared, &wire, started) => {}
            () = upkeep::count_profiles(shared) => {}
            () = upkeep::follow_roots(shared, &wire) => {}
            () = upkeep::review_proposals(shared) => {}
            () = upkeep::tidy_up(shared) => {}
            () = giveback::run(shared, &wire) => {}
            () = freshness::run(shared, &wire) => {}
            () = lead::run(shared, alone) => {}
            () = presence::run(shared, &wire, presence, alone) => {}
        }
    }

    /// Lets another coordinator lead, where this one did.
    pub async fn resign(&self) {
        lead::resign(&self.shared).await;
    }

    /// The term under which this coordinator leads; none where another one does.
    pub fn leads(&self) -> Option<u64> {
        self.shared.term()
    }

    /// The coordinators as they last said, and whether each is there now.
    pub fn coordinators(&self) -> Vec<(Presence, bool)> {
        self.voices().into_iter().map(|(seen, voice)| (seen.presence, voice != Voice::Silent)).collect()
    }

    /// The same, each with how it keeps saying that it is there.
    pub fn voices(&self) -> Vec<(Seen, Voice)> {
        let now = self.shared.now();
        let coordinators = self.shared.coordinators.read().unwrap_or_else(PoisonError::into_inner);
        coordinators.iter().map(|seen| (seen.clone(), seen.voice(now))).collect()
    }

    /// Where machines find the coordinators, `own` among them.
    pub fn addresses(&self, own: &PeerAddress) -> Vec<PeerAddress> {
        let coordinators = self.shared.coordinators.read().unwrap_or_else(PoisonError::into_inner);
        crate::presence::addresses(own, &coordinators, self.shared.now())
    }

    /// Where else a machine is connected, as its status has it: the other coordinator's API.
    pub fn elsewhere(&self, machine: &str) -> Vec<String> {
        let snapshot = self.shared.admission.store().snapshot();
        let status = self.shared.statuses().of(&snapshot, machine);
        let Some(key) = status.and_then(|status| status.coordinator.clone()).filter(|key| *key != self.shared.me) else {
            return Vec::new();
        };
        let found = self.coordinators().into_iter().find(|(presence, there)| *there && presence.address.key.to_string() == key);
        found.map(|(presence, _)| presence.api).unwrap_or_default()
    }

    /// Follows the record: machines and profiles as they change, and who has to be told.
    async fn follow(&self, wire: &CoordinatorHandle) {
        let store = self.shared.admission.store();
        let mut after = self.loaded;
        let mut leads = self.shared.leads.subscribe();
        self.answer_all(wire).await;
        loop {
            let mut watcher = store.watch(after, WatchScope::default());
            loop {
                let next = tokio::select! {
                    biased;
                    _ = leads.changed() => {
                        self.take_over(wire).await;
                        continue;
                    }
                    next = watcher.next_at_hand() => next,
                };
                let group = match next {
                    Ok(Some(group)) => group,
                    Err(WatchError::Closed) => return,
                    Ok(None) | Err(_) => {
                        // Nothing is lost: the picture is made anew from the whole record, which is there in memory.
                        tracing::warn!(after = %watcher.revision(), "the coordinator fell behind its own record and reads it again");
                        after = self.load();
                        self.answer_all(wire).await;
                        states::send_to_all(&self.shared, wire).await;
                        break;
                    }
                };
                let mut round = Round::default();
                self.take_in(&group, wire, &mut round);
                // What is there already goes along: a machine is told once of many Changes that come one after the other, such as those
                // that machines give back, and not once of each.
                for _ in 1..ROUND_GROUPS_MAX {
                    let Ok(Some(group)) = watcher.try_next() else { break };
                    self.take_in(&group, wire, &mut round);
                }
                self.note(round.answered).await;
                // Before a session may be ended: a machine has to be handed the word that ends it.
                states::send_to(&self.shared, wire, round.concerned).await;
                for name in &round.moved {
                    self.status_moved(name, wire).await;
                }
                round.machines.difference(&round.moved).for_each(|name| self.check_session(name, wire));
            }
        }
    }

    /// What one revision changed of the picture, and who has to hear of it.
    fn take_in(&self, group: &WatchGroup, wire: &CoordinatorHandle, round: &mut Round) {
        for event in &group.events {
            let kind = event.object.kind();
            if *kind == machine_kind() || *kind == profile_kind() {
                let told = self.concerned(&event.object.key(), wire);
                if *kind == machine_kind() {
                    self.look(event.object.name(), event.kind);
                    if told.is_empty() {
                        round.moved.insert(event.object.name().to_owned());
                    } else {
                        round.machines.insert(event.object.name().to_owned());
                    }
                }
                round.concerned.extend(told);
            } else if *kind == enrollment_kind() && event.kind != EventKind::Deleted {
                round.answered.extend(event.object.to_object().ok().and_then(|object| self.answer(&object, wire)));
            }
        }
    }

    /// Whether the record waits for a machine may be otherwise by now.
    fn look(&self, name: &str, kind: EventKind) {
        let snapshot = self.shared.admission.store().snapshot();
        self.shared.awaited().look(&snapshot, &mut self.shared.statuses(), name, kind);
    }

    /// A machine's status moved. What was written here has been counted already; what another coordinator wrote, the leader counts.
    async fn status_moved(&self, name: &str, wire: &CoordinatorHandle) {
        sessions::look_elsewhere(&self.shared, wire, name).await;
        self.check_session(name, wire);
        if self.shared.term().is_some() && self.shared.sessions().peer_of(name).is_none() {
            self.shared.touch_profiles(self.shared.with_fleet(|fleet| names(fleet.profiles_of(name))));
        }
    }

    /// This coordinator leads, or leads no more: what was left undone under another is looked at once.
    async fn take_over(&self, wire: &CoordinatorHandle) {
        if self.shared.term().is_none() {
            return;
        }
        let snapshot = self.shared.admission.store().snapshot();
        let profiles: Vec<String> = snapshot.sequences(&profile_kind()).into_iter().map(|(key, _)| key.name).collect();
        self.shared.touch_profiles(profiles);
        self.answer_all(wire).await;
    }

    /// The machines that have to hear of a change of an object, by name; none where only its status moved. What the object is, is
    /// looked up in the same snapshot as its sequence: an event that is older than the newest sequence must not count as having told it.
    fn concerned(&self, key: &ObjectKey, wire: &CoordinatorHandle) -> Vec<String> {
        let snapshot = self.shared.admission.store().snapshot();
        let stored = snapshot.get(key);
        let sequence = snapshot.sequence(key).map_or(0, |sequence| sequence.sequence);
        let is_new = self.shared.sessions().is_new_sequence(key, sequence);
        if !is_new && sequence > 0 && stored.is_some() {
            // All that the picture is made of is signed, and moves with the sequence.
            return Vec::new();
        }
        let name = &key.name;
        let is_machine = key.kind == machine_kind();
        let meant = |fleet: &Fleet| if is_machine { names(fleet.profiles_of(name)) } else { names(fleet.machines_for(name)) };
        let before = self.shared.with_fleet(meant);
        self.shared.change_fleet(|fleet| match &stored {
            Some(stored) => put(fleet, stored),
            None => remove(fleet, key),
        });
        if !is_new {
            return Vec::new();
        }
        let after = self.shared.with_fleet(meant);
        if is_machine {
            // A machine that comes or goes changes the numbers of its profiles.
            self.shared.touch_profiles(before.into_iter().chain(after));
            self.welcome(name, wire);
            sessions::tell(&self.shared, |news| news.touched(name));
            return vec![name.clone()];
        }
        self.shared.touch_profiles([name.clone()]);
        let holding = self.shared.sessions().holding(key);
        before.into_iter().chain(after).chain(holding).collect()
    }

    /// Ends a session whose key is no longer that of the machine it is served as; the machine comes back as what it is now.
    fn check_session(&self, name: &str, wire: &CoordinatorHandle) {
        let Some(peer) = self.shared.sessions().peer_of(name) else { return };
        let (now, out) = self.shared.with_fleet(|fleet| {
            let now = fleet.name_of_key(&peer.to_string()).map(str::to_owned);
            (now, fleet.machine(name).is_some_and(|machine| machine.decommissioned))
        });
        if now.as_deref() != Some(name) {
            wire.disconnect(peer, "the fleet's owners have given this key another place, or none");
        } else if out && self.shared.has_heard(name) {
            wire.disconnect(peer, "owners have decommissioned this machine");
        }
    }

    /// A machine that waits outside has become a member.
    fn welcome(&self, name: &str, wire: &CoordinatorHandle) {
        let key = self.shared.with_fleet(|fleet| fleet.machine(name).map(|machine| machine.key.clone()));
        if let Some(peer) = key.and_then(|key| key.parse().ok()) {
            wire.decide(peer, &Verdict::Welcome { incarnation: self.shared.incarnation() });
        }
    }

    /// Acts on an owner's answer to an enrollment, and gives back the status that says so.
    fn answer(&self, object: &Object, wire: &CoordinatorHandle) -> Option<Op> {
        let enrollment: Enrollment = object.to_typed().ok()?;
        if enrollment.spec.approved == Some(false)
            && let Ok(peer) = enrollment.spec.key.parse()
        {
            let (refusal, reason) = (Refusal::Denied, "an owner has denied the enrollment".to_owned());
            wire.decide(peer, &Verdict::TurnedAway { refusal, reason });
        }
        let status = crate::enrollment::plan(&enrollment, self.shared.now())?;
        Some(Op::put_status(object.key(), serde_json::to_value(status).ok()?))
    }

    /// Answers that were given while nobody looked, such as just before an earlier coordinator was killed.
    async fn answer_all(&self, wire: &CoordinatorHandle) {
        let enrollments = objects(&self.shared.admission.store().snapshot(), enrollment_kind());
        self.note(enrollments.iter().filter_map(|object| self.answer(object, wire)).collect()).await;
    }

    async fn note(&self, ops: Vec<Op>) {
        let (false, Some(term)) = (ops.is_empty(), self.shared.term()) else { return };
        let transaction = Transaction { fence: Some(term), ..Transaction::unsigned(self.shared.now(), ops) };
        let written = self.shared.admission.store().commit(transaction).await;
        if let Err(error) = written {
            tracing::warn!(%error, "the status of an enrollment could not be written");
        }
    }

    /// Asks a machine what it would do. `None` where it is not connected.
    pub async fn plan(&self, wire: &CoordinatorHandle, machine: &str, body: Vec<u8>) -> Option<MachinePlan> {
        let peer: PeerKey =
            self.shared.with_fleet(|fleet| fleet.machine(machine).and_then(|machine| machine.key.parse().ok()))?;
        let limit = std::time::Duration::from_secs(PLAN_SECONDS_MAX);
        let failed = |error: String| MachinePlan { error: Some(error), units: Vec::new() };
        let planned = match wire.request_plan(peer, body.into(), limit).await {
            Ok(answer) => Some(
                serde_json::from_slice(&answer).unwrap_or_else(|error| failed(format!("its answer cannot be read: {error}"))),
            ),
            Err(stead_wire::PlanError::Unavailable { .. }) => None,
            Err(error) => Some(failed(error.to_string())),
        };
        let outcome = |plan: &MachinePlan| if plan.error.is_some() { "failed" } else { "answered" };
        self.shared.metrics.planned(planned.as_ref().map_or("unavailable", outcome));
        planned
    }

    /// What is known of the ways to a machine; none where there is no such machine.
    pub fn paths(&self, wire: &CoordinatorHandle, machine: &str) -> Option<MachinePaths> {
        let snapshot = self.shared.admission.store().snapshot();
        let peer: Option<PeerKey> =
            self.shared.with_fleet(|fleet| fleet.machine(machine).map(|machine| machine.key.parse().ok()))?;
        let status = self.shared.statuses().of(&snapshot, machine);
        let told = status.as_deref().cloned().unwrap_or_default();
        let coordinator_side = peer.and_then(|peer| wire.path(peer));
        let last_heard = self.shared.sessions().last_heard(machine);
        Some(MachinePaths {
            machine: machine.to_owned(),
            connected: peer.is_some_and(|peer| self.shared.sessions().get(&peer).is_some()),
            coordinator_side,
            machine_side: told.path,
            last_seen: last_heard.max(told.last_seen),
            coordinator: told.coordinator,
            elsewhere: self.elsewhere(machine),
        })
    }

    /// Asks a machine for the key that it is to have next. `None` where it is not connected.
    pub async fn next_key(&self, wire: &CoordinatorHandle, machine: &str) -> Option<NextKey> {
        let peer: PeerKey =
            self.shared.with_fleet(|fleet| fleet.machine(machine).and_then(|machine| machine.key.parse().ok()))?;
        let limit = std::time::Duration::from_secs(PLAN_SECONDS_MAX);
        let failed = |error: String| NextKey { rotation: None, error: Some(error) };
        match wire.request_plan(peer, stead_trust::NEXT_KEY_ASK.into(), limit).await {
            Ok(answer) => Some(
                serde_json::from_slice(&answer).unwrap_or_else(|error| failed(format!("its answer cannot be read: {error}"))),
            ),
            Err(stead_wire::PlanError::Unavailable { .. }) => None,
            Err(error) => Some(failed(error.to_string())),
        }
    }

    /// The fleet in a few numbers, as the record has it.
    pub fn tally(&self) -> crate::Tally {
        let snapshot = self.shared.admission.store().snapshot();
        let names: Vec<String> = self.shared.with_fleet(|fleet| fleet.machines().map(|(name, _)| name.to_owned()).collect());
        let mut read = self.shared.statuses();
        let statuses: Vec<_> = names.iter().map(|name| read.of(&snapshot, name)).collect();
        drop(read);
        crate::tally(statuses.iter().map(std::option::Option::as_deref))
    }

    /// How each machine is doing that a selector fits, by name. `wanted` is the binary that machines are meant to run.
    pub fn pulse(&self, selector: &stead_model::Selector, wanted: &crate::pulse::Binary) -> Vec<crate::pulse::MachinePulse> {
        pulse::read(&self.shared, selector, wanted)
    }

    /// Machines that have not given back to the record, as it is now, what they hold.
    pub fn machines_not_yet(&self) -> u64 {
        self.shared.awaited().len()
    }

    /// What to tell whoever writes these names while the record waits for what machines hold; nothing where they cannot hold any of them.
    pub fn warning(&self, names: &[ObjectKey]) -> Option<String> {
        self.shared.awaited().warning(names)
    }

    /// Enrollments that wait for an owner's answer.
    pub fn enrollments_pending(&self) -> u64 {
        let enrollments = objects(&self.shared.admission.store().snapshot(), enrollment_kind());
        let waits = |object: &&Object| object.status().get("phase").and_then(serde_json::Value::as_str) == Some("Pending");
        enrollments.iter().filter(waits).count() as u64
    }

    /// The machines that a selector may mean, or that hold an object of that name.
    pub fn machines_concerned(&self, put: &[(String, stead_model::Selector)], delete: &[String]) -> BTreeSet<String> {
        let mut concerned = BTreeSet::new();
        for name in put.iter().map(|(name, _)| name).chain(delete) {
            concerned.extend(self.shared.with_fleet(|fleet| names(fleet.machines_for(name))));
        }
        for (_, selector) in put {
            concerned.extend(self.shared.with_fleet(|fleet| names(fleet.machines_matching(selector))));
        }
        concerned
    }
}

/// Everything of a kind, as it is stored.
fn all(snapshot: &Snapshot, kind: GroupKind) -> Vec<Arc<Stored>> {
    let everything = stead_model::Selector::default();
    let list = stead_store::List { kind, namespace: None, selector: &everything, fields: None, after: None, limit: 0 };
    snapshot.list(&list).objects
}

/// Every object of a kind.
fn objects(snapshot: &Snapshot, kind: GroupKind) -> Vec<Object> {
    all(snapshot, kind).iter().filter_map(|stored| stored.to_object().ok()).collect()
}

/// Takes in the newest state of a machine or a profile. One that cannot be read is as good as gone.
fn put(fleet: &mut Fleet, stored: &Stored) {
    if *stored.kind() == machine_kind() {
        match serde_json::from_slice::<Machine>(stored.json()) {
            Ok(machine) => fleet.put_machine(&machine),
            Err(_) => remove(fleet, &stored.key()),
        }
    } else {
        match serde_json::from_slice::<Profile>(stored.json()) {
            Ok(profile) => fleet.put_profile(&profile),
            Err(_) => remove(fleet, &stored.key()),
        }
    }
}

fn remove(fleet: &mut Fleet, key: &ObjectKey) {
    if key.kind == machine_kind() {
        fleet.remove_machine(&key.name);
    } else {
        fleet.remove_profile(&key.name);
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_owned).collect()
}

/// The incarnation as the wire carries it.
pub(crate) fn incarnation_number(text: &str) -> u64 {
    let digest = stead_model::Digest::of(text.as_bytes());
    digest.as_bytes().first_chunk::<8>().map_or(1, |bytes| u64::from_be_bytes(*bytes).max(1))
}

/// The kind of enrollments.
pub(crate) fn enrollment_kind() -> GroupKind {
    GroupKind::new(stead_model::GROUP, "Enrollment")
}
