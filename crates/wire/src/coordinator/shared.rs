//! The hub behind its lock, and the ways from its outputs to the tasks that carry them out. The lock is never held across an await.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use stead_model::{MachinePath, PathKind};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::EVENTS_PER_INPUT_MAX;
use crate::{
    Counters, Hello, Hub, HubConfig, HubEvent, Join, Now, PathLog, PathSeen, Paths, PeerKey, Refusal, SessionId, UnixClock,
    Verdict,
    clock::{DriverClock, timestamp},
    hub::Effect,
};

/// A question for the coordinator's owner.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) peer: PeerKey,
    pub(super) hello: Hello,
    pub(super) join: Option<Join>,
}

/// How the hub's effects reach a session's task.
pub(super) struct Signals {
    pub(super) wake: Notify,
    pub(super) closing: watch::Sender<Option<String>>,
    /// Boxed, like verdicts: a channel sets room for 32 aside.
    pub(super) questions: mpsc::Sender<Box<Question>>,
    /// A verdict from outside waits for its turn on the event channel.
    pub(super) verdicts: mpsc::Sender<Box<Verdict>>,
    /// The connection's ways.
    pub(super) paths: Arc<dyn Paths>,
    /// Something was said that the peer has to take.
    pub(super) said: Notify,
    /// What is remembered of the ways.
    pub(super) ways: Mutex<PathLog>,
}

struct Guarded {
    hub: Hub,
    signals: HashMap<SessionId, Arc<Signals>>,
    plans: HashMap<u64, (SessionId, oneshot::Sender<Bytes>)>,
    next_plan: u64,
    path_changes: u64,
}

pub(super) struct Shared {
    guarded: Mutex<Guarded>,
    clock: DriverClock,
    events: mpsc::Sender<HubEvent>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Shared")
    }
}

impl Shared {
    pub(super) fn new(config: HubConfig, unix_clock: UnixClock, events: mpsc::Sender<HubEvent>) -> Self {
        Self {
            guarded: Mutex::new(Guarded {
                hub: Hub::new(config),
                signals: HashMap::new(),
                plans: HashMap::new(),
                next_plan: 1,
                path_changes: 0,
            }),
            clock: DriverClock::new(unix_clock),
            events,
        }
    }

    /// An input that causes no events.
    pub(super) fn input<T>(&self, act: impl FnOnce(&mut Hub, Now) -> T) -> T {
        self.locked(|guarded, now| {
            let result = act(&mut guarded.hub, now);
            guarded.carry_out();
            result
        })
    }

    /// An input that may cause events. Their places in the channel are taken first and filled under the lock, so that the order of
    /// events is the order of inputs. False when nobody reads events any more.
    pub(super) async fn input_with_events(&self, act: impl FnOnce(&mut Hub, Now)) -> bool {
        let Ok(mut places) = self.events.reserve_many(EVENTS_PER_INPUT_MAX).await else {
            return false;
        };
        self.locked(|guarded, now| {
            act(&mut guarded.hub, now);
            guarded.carry_out();
            while let Some(event) = guarded.hub.take_event() {
                match places.next() {
                    Some(place) => place.send(event),
                    None => tracing::error!(?event, "more events than one input may cause"),
                }
            }
        });
        true
    }

    pub(super) fn tick(&self) {
        self.input(|hub, now| hub.tick(now));
    }

    pub(super) fn count_refusal(&self, refusal: Refusal) {
        self.input(|hub, _| hub.count_refusal(refusal));
    }

    pub(super) fn connected(&self, peer: PeerKey, member: bool, address: String) -> Result<SessionId, Refusal> {
        self.input(|hub, now| hub.connected_from(peer, member, address, now))
    }

    pub(super) fn register(&self, id: SessionId, signals: Arc<Signals>) {
        self.locked(|guarded, _| guarded.signals.insert(id, signals));
    }

    /// Forgets the session's ways and the plans that it owes.
    pub(super) fn unregister(&self, id: SessionId) {
        self.locked(|guarded, _| {
            guarded.signals.remove(&id);
            guarded.plans.retain(|_, (session, _)| *session != id);
        });
    }

    /// A session's ways as they are now.
    pub(super) fn see_paths(&self, id: SessionId, seen: &[PathSeen]) {
        self.locked(|guarded, now| {
            let Some(signals) = guarded.signals.get(&id) else { return };
            let mut ways = signals.ways();
            let first = ways.kind().is_none();
            if ways.see(seen, timestamp(now.unix_milliseconds)) && !first {
                drop(ways);
                guarded.path_changes = guarded.path_changes.saturating_add(1);
            }
        });
    }

    /// By which way a machine that is served is reached.
    pub(super) fn path(&self, peer: PeerKey) -> Option<MachinePath> {
        let signals = self.locked(|guarded, _| guarded.signals.get(&guarded.hub.served_session(peer)?).cloned())?;
        let seen = signals.paths.seen();
        signals.ways().told(&seen)
    }

    pub(super) fn counters(&self) -> Counters {
        self.locked(|guarded, _| {
            let mut counters = guarded.hub.counters();
            counters.path_changes = guarded.path_changes;
            for kind in guarded.signals.values().filter_map(|signals| signals.ways().kind()) {
                match kind {
                    PathKind::Direct => counters.direct += 1,
                    PathKind::Relayed => counters.relayed += 1,
                }
            }
            counters
        })
    }

    pub(super) fn request_plan(&self, peer: PeerKey, body: Bytes, answer: oneshot::Sender<Bytes>) -> Option<u64> {
        self.locked(|guarded, _| {
            let id = guarded.next_plan;
            guarded.next_plan += 1;
            let session = guarded.hub.request_plan(peer, id, body);
            guarded.carry_out();
            guarded.plans.insert(id, (session?, answer));
            Some(id)
        })
    }

    pub(super) fn forget_plan(&self, id: u64) {
        self.locked(|guarded, _| guarded.plans.remove(&id));
    }

    /// Hands the verdict to the sessions' own tasks, which may wait for room among the events.
    pub(super) fn decide_peer(&self, peer: PeerKey, verdict: Verdict) -> usize {
        self.locked(|guarded, _| {
            let waiting = guarded.hub.outside(peer);
            let told = waiting.iter().filter_map(|id| guarded.signals.get(id));
            told.filter(|signals| signals.verdicts.try_send(Box::new(verdict.clone())).is_ok()).count()
        })
    }

    fn locked<T>(&self, act: impl FnOnce(&mut Guarded, Now) -> T) -> T {
        // A panic elsewhere leaves the hub between two inputs at worst; sessions are worth more than a second panic.
        let mut guarded = self.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut guarded, self.clock.now())
    }
}

impl Signals {
    fn ways(&self) -> MutexGuard<'_, PathLog> {
        // Nothing in it is left half done by a panic.
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guarded {
    fn carry_out(&mut self) {
        while let Some(effect) = self.hub.take_effect() {
            match effect {
                Effect::Wake(id) => {
                    if let Some(signals) = self.signals.get(&id) {
                        signals.wake.notify_one();
                    }
                }
                Effect::Close { session, reason } => {
                    if let Some(signals) = self.signals.get(&session) {
                        signals.closing.send_replace(Some(reason));
                        signals.wake.notify_one();
                    }
                }
                Effect::Admit { session, peer, hello, join } => {
                    if let Some(signals) = self.signals.get(&session)
                        && signals.questions.try_send(Box::new(Question { peer, hello: *hello, join })).is_err()
                    {
                        tracing::error!(%peer, "a session asked before it was answered");
                    }
                }
                Effect::PlanAnswered { session, id, body } => {
                    if let Some((asked, answer)) = self.plans.remove(&id)
                        && asked == session
                    {
                        // Whoever asked may have given up.
                        let _ = answer.send(body);
                    }
                }
            }
        }
    }
}
