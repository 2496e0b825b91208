//! The coordinator's side of all sessions as one state machine: no clock, no network, no decisions about machines.

mod displaced;
mod outgoing;
mod output;
mod session;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

pub use self::outgoing::{PLANS_WAITING_MAX, STATE_PART_BYTES, SendStateError};
pub use self::output::{Effect, HubEvent, SessionId, Verdict};
use self::session::{Phase, Session};
use crate::{
    Counters, Hello, Join, Now, PeerAddress, PeerKey, Refusal, State, ToAgent, ToCoordinator,
    message::{HELD_MAX, ProcessNonce},
};

/// How long a new connection may take to say `Hello`.
pub const HELLO_MILLISECONDS_MAX: u64 = 10_000;

/// How long deciding on a `Hello` or a `Join` may take: an admission may wait for one store transaction among thousands.
pub const DECISION_MILLISECONDS_MAX: u64 = 30_000;

/// How long a machine that nobody has approved keeps its connection; it knocks again after that.
pub const UNKNOWN_MILLISECONDS_MAX: u64 = 300_000;

/// How long an older session of a key has to answer the ping that a newer one causes.
pub const PROBE_MILLISECONDS_MAX: u64 = 10_000;

/// A machine that said nothing for this many beats is cut off; one more than the agent's own limit, so that it notices first.
pub const HUB_SILENT_BEATS_MAX: u64 = 4;

/// Sessions of keys that are no members: anybody can make a key, so they share this little room.
pub const UNKNOWN_SESSIONS_MAX: usize = 1_024;

/// Sessions altogether: three times what one coordinator is meant for.
pub const SESSIONS_MAX: usize = 65_536;

/// Sessions of one key: the one served, one displaced, and two on their way.
pub const SESSIONS_PER_KEY_MAX: usize = 4;

/// How often machines say that they live: well within the 15 s in which silence has to show, and ten thousand of them are a thousand
/// beats a second. A broken path is noticed sooner, by QUIC.
pub const BEAT_SECONDS_DEFAULT: u32 = 10;

/// What the hub is told once.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// The fleet id.
    pub fleet: [u8; 32],
    /// How often machines should beat.
    pub beat_seconds: u32,
    /// Where machines find the coordinators: told at the start of every session, and when it changes.
    pub coordinators: Vec<PeerAddress>,
}

#[derive(Debug, Default)]
struct Peer {
    sessions: usize,
    served: Option<SessionId>,
    /// The process that the served session took over from, if it was another one.
    displaced: Option<ProcessNonce>,
}

/// All sessions of one coordinator.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    sessions: BTreeMap<SessionId, Session>,
    peers: BTreeMap<PeerKey, Peer>,
    unknown: usize,
    next_session: u64,
    next_nonce: u64,
    counters: Counters,
    events: VecDeque<HubEvent>,
    effects: VecDeque<Effect>,
}

impl Hub {
    /// A hub without sessions.
    pub fn new(config: HubConfig) -> Self {
        Self {
            config,
            sessions: BTreeMap::new(),
            peers: BTreeMap::new(),
            unknown: 0,
            next_session: 1,
            next_nonce: 1,
            counters: Counters::default(),
            events: VecDeque::new(),
            effects: VecDeque::new(),
        }
    }

    /// The next event. One input causes at most [`crate::coordinator::EVENTS_PER_INPUT_MAX`].
    pub fn take_event(&mut self) -> Option<HubEvent> {
        self.events.pop_front()
    }

    /// The next thing for the driver to do.
    pub fn take_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What was counted until now.
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        counters.sessions = self.sessions.len();
        counters.served = self.peers.values().filter(|peer| peer.served.is_some()).count();
        counters
    }

    /// Counts somebody who was turned away before it became a session.
    pub fn count_refusal(&mut self, refusal: Refusal) {
        self.counters.refuse(refusal);
    }

    /// A peer proved its key. `member` says whether the fleet knows it, as far as can be told at once.
    pub fn connected(&mut self, key: PeerKey, member: bool, now: Now) -> Result<SessionId, Refusal> {
        let of_one_key = self.peers.get(&key).map_or(0, |peer| peer.sessions);
        let refusal = if of_one_key >= SESSIONS_PER_KEY_MAX {
            Some(Refusal::TooManyOfOneKey)
        } else if self.sessions.len() >= SESSIONS_MAX {
            Some(Refusal::TooManySessions)
        } else if !member && self.unknown >= UNKNOWN_SESSIONS_MAX {
            Some(Refusal::TooManyUnknown)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.counters.refuse(refusal);
            return Err(refusal);
        }
        let session = SessionId(self.next_session);
        self.next_session += 1;
        self.unknown += usize::from(!member);
        self.counters.connections += 1;
        self.peers.entry(key).or_default().sessions += 1;
        self.sessions.insert(session, Session::new(key, member, now));
        Ok(session)
    }

    /// The connection is gone.
    pub fn disconnected(&mut self, id: SessionId, reason: &str) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        self.unknown -= usize::from(!session.member);
        let Some(peer) = self.peers.get_mut(&session.peer) else {
            return;
        };
        peer.sessions -= 1;
        if peer.served == Some(id) {
            peer.served = None;
            self.events.push_back(HubEvent::Left {
                peer: session.peer,
                session: id,
                reason: session.closing.unwrap_or_else(|| reason.to_owned()),
            });
        }
        if peer.sessions == 0 {
            self.peers.remove(&session.peer);
        }
    }

    /// Bytes arrived, though perhaps no whole message yet.
    pub fn heard(&mut self, id: SessionId, now: Now) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.heard_at = now.monotonic_milliseconds;
        }
    }

    /// A message arrived.
    pub fn received(&mut self, id: SessionId, message: ToCoordinator, now: Now) {
        self.counters.messages += 1;
        self.heard(id, now);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        match (&mut session.phase, message) {
            (Phase::Closing, _) => {}
            (Phase::Greeting { .. }, ToCoordinator::Hello(hello)) => self.hello(id, hello, now),
            (Phase::Outside { joined, .. }, ToCoordinator::Join(join)) if !*joined => {
                *joined = true;
                self.ask(id, Some(join), now);
            }
            (Phase::Displaced { nonce, .. }, ToCoordinator::Pong { nonce: answer }) if *nonce == answer => self.duplicate(id),
            // What a displaced session still says is not the state of the machine that is served.
            (Phase::Displaced { .. }, _) => {}
            (Phase::Served, message) => self.received_served(id, message),
            _ => self.refuse(id, Refusal::OutOfTurn),
        }
    }

    fn received_served(&mut self, id: SessionId, message: ToCoordinator) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let peer = session.peer;
        match message {
            ToCoordinator::Status { body } => self.events.push_back(HubEvent::Status { peer, body }),
            ToCoordinator::Events { items } => self.events.push_back(HubEvent::Events { peer, items }),
            ToCoordinator::Acks { items } => self.events.push_back(HubEvent::Acks { peer, items }),
            ToCoordinator::Beat { sent_at_milliseconds } => {
                session.out.beat_answer(sent_at_milliseconds);
                self.effects.push_back(Effect::Wake(id));
                self.events.push_back(HubEvent::Beat { peer, sent_at_milliseconds });
            }
            ToCoordinator::PlanAnswer { id: plan, body } => {
                self.effects.push_back(Effect::PlanAnswered { session: id, id: plan, body })
            }
            ToCoordinator::Pong { .. } => {}
            ToCoordinator::Hello(_) | ToCoordinator::Join(_) => self.refuse(id, Refusal::OutOfTurn),
        }
    }

    fn hello(&mut self, id: SessionId, hello: Hello, now: Now) {
        if hello.fleet != self.config.fleet {
            return self.refuse(id, Refusal::OtherFleet);
        }
        if hello.held.len() > HELD_MAX {
            return self.refuse(id, Refusal::HelloTooLong);
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.hello = Some(Box::new(hello));
            self.ask(id, None, now);
        }
    }

    fn ask(&mut self, id: SessionId, join: Option<Join>, now: Now) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.phase = Phase::Deciding { until: now.monotonic_milliseconds + DECISION_MILLISECONDS_MAX, joined: join.is_some() };
        if let Some(hello) = session.hello_without_held() {
            self.effects.push_back(Effect::Admit { session: id, peer: session.peer, hello, join });
        }
    }

    /// The verdict on a `Hello` or a `Join`.
    pub fn decide(&mut self, id: SessionId, verdict: Verdict, now: Now) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let joined = match session.phase {
            Phase::Deciding { joined, .. } | Phase::Outside { joined, .. } => joined,
            _ => return,
        };
        match verdict {
            Verdict::Welcome { incarnation } => self.welcome(id, incarnation, now),
            Verdict::Refused { reason } => {
                self.counters.refuse(Refusal::Refused);
                self.close(id, Some(reason));
            }
            Verdict::Unknown | Verdict::Pending { .. } => {
                session.phase = Phase::Outside { until: now.monotonic_milliseconds + UNKNOWN_MILLISECONDS_MAX, joined };
                session.out.answer(match verdict {
                    Verdict::Pending { reason } => ToAgent::Pending { reason },
                    _ => ToAgent::Unknown,
                });
                self.effects.push_back(Effect::Wake(id));
            }
        }
    }

    /// Sessions of this key that wait outside: `decide` on them when an owner has approved or refused the machine.
    pub fn outside(&self, key: PeerKey) -> Vec<SessionId> {
        let waits = |session: &Session| session.peer == key && matches!(session.phase, Phase::Outside { .. });
        self.sessions.iter().filter(|(_, session)| waits(session)).map(|(id, _)| *id).collect()
    }

    fn welcome(&mut self, id: SessionId, incarnation: u64, now: Now) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let peer = session.peer;
        self.unknown -= usize::from(!session.member);
        session.member = true;
        session.phase = Phase::Served;
        session.heard_at = now.monotonic_milliseconds;
        session.out.answer(ToAgent::Welcome {
            incarnation,
            beat_seconds: self.config.beat_seconds,
            time_milliseconds: now.unix_milliseconds,
            coordinators: self.config.coordinators.clone(),
        });
        let Some(hello) = session.hello.as_deref().cloned() else {
            return;
        };
        session.out.builds_on(hello.incarnation, hello.revision);
        if let Some(kept) = session.hello.as_deref_mut() {
            kept.held = Vec::new();
        }
        self.effects.push_back(Effect::Wake(id));
        self.displace(peer, id, &hello, now);
        self.events.push_back(HubEvent::Joined { peer, session: id, hello });
    }

    /// Turns a session away: counted, told, closed.
    pub fn refuse(&mut self, id: SessionId, refusal: Refusal) {
        self.counters.refuse(refusal);
        self.close(id, Some(refusal.to_string()));
    }

    /// Ends the session served for a key; says whether there was one.
    pub fn disconnect(&mut self, key: PeerKey, reason: &str) -> bool {
        let served = self.peers.get(&key).and_then(|peer| peer.served);
        if let Some(id) = served {
            self.close(id, Some(reason.to_owned()));
        }
        served.is_some()
    }

    fn close(&mut self, id: SessionId, told: Option<String>) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.out.clear();
        let reason = told.clone().unwrap_or_else(|| "a newer session took its place".to_owned());
        session.closing = Some(reason.clone());
        session.phase = Phase::Closing;
        if let Some(reason) = told {
            session.out.answer(ToAgent::Refused { reason });
        }
        self.effects.push_back(Effect::Close { session: id, reason });
    }

    /// Time has passed: sessions that took too long are cut off.
    pub fn tick(&mut self, now: Now) {
        let at = now.monotonic_milliseconds;
        let silent_milliseconds = HUB_SILENT_BEATS_MAX * u64::from(self.config.beat_seconds) * 1_000;
        let late = |session: &Session| match session.phase {
            Phase::Greeting { until } if at >= until => Some(Refusal::Silent),
            Phase::Deciding { until, .. } | Phase::Outside { until, .. } if at >= until => Some(Refusal::NotAdmitted),
            Phase::Served if at >= session.heard_at + silent_milliseconds => Some(Refusal::Silent),
            _ => None,
        };
        let refused: Vec<(SessionId, Refusal)> =
            self.sessions.iter().filter_map(|(id, session)| Some((*id, late(session)?))).collect();
        for (id, refusal) in refused {
            self.refuse(id, refusal);
        }
        let gone = |session: &Session| matches!(session.phase, Phase::Displaced { until, .. } if at >= until);
        let displaced: Vec<SessionId> = self.sessions.iter().filter(|(_, session)| gone(session)).map(|(id, _)| *id).collect();
        for id in displaced {
            self.close(id, None);
        }
    }

    /// Sends a state to the machine's served session, or says why it cannot follow what was sent before.
    pub fn send_state(&mut self, key: PeerKey, state: State) -> Result<(), SendStateError> {
        let (id, session) = self.served(key).ok_or(SendStateError::NotConnected { peer: key })?;
        let result = session.out.state(state);
        if matches!(result, Err(SendStateError::Behind { .. })) {
            self.counters.states_dropped += 1;
        }
        self.effects.push_back(Effect::Wake(id));
        result
    }

    /// Where machines find the coordinators from now on; those that are served are told, where it is news.
    pub fn set_coordinators(&mut self, coordinators: Vec<PeerAddress>) {
        if self.config.coordinators == coordinators {
            return;
        }
        let shared: Arc<[PeerAddress]> = coordinators.as_slice().into();
        self.config.coordinators = coordinators;
        for (id, session) in self.sessions.iter_mut().filter(|(_, session)| matches!(session.phase, Phase::Served)) {
            session.out.coordinators(Arc::clone(&shared));
            self.effects.push_back(Effect::Wake(*id));
        }
    }

    /// Tells the machine that its events up to `sequence` are on disk.
    pub fn taken(&mut self, key: PeerKey, sequence: u64) {
        if let Some((id, session)) = self.served(key) {
            session.out.taken(sequence);
            self.effects.push_back(Effect::Wake(id));
        }
    }

    /// Asks the machine for a plan; `None` when it is not connected or has too many requests waiting.
    pub fn request_plan(&mut self, key: PeerKey, plan: u64, body: Bytes) -> Option<SessionId> {
        let (id, session) = self.served(key)?;
        let fits = session.out.plan(plan, body);
        self.effects.push_back(Effect::Wake(id));
        fits.then_some(id)
    }

    fn served(&mut self, key: PeerKey) -> Option<(SessionId, &mut Session)> {
        let id = self.peers.get(&key)?.served?;
        let session = self.sessions.get_mut(&id).filter(|session| matches!(session.phase, Phase::Served))?;
        Some((id, session))
    }

    /// The next message for a session's connection; ask again when it is out, and when woken.
    pub fn next_to_send(&mut self, id: SessionId, now: Now) -> Option<ToAgent> {
        let message = self.sessions.get_mut(&id)?.out.next_to_send(now);
        self.counters.state_parts += u64::from(matches!(message, Some(ToAgent::State(_))));
        message
    }

    /// Whether `take_needs_state` has something.
    pub fn needs_state(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.out.needs_state())
    }

    /// Asks for a fresh state, once nothing else waits for a machine that was too slow for the last ones.
    pub fn take_needs_state(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id)
            && let Some((incarnation, revision)) = session.out.take_needs_state()
        {
            self.events.push_back(HubEvent::NeedsState { peer: session.peer, incarnation, revision });
        }
    }
}

#[cfg(test)]
mod tests;
