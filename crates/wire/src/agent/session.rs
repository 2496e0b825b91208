//! The agent's side of a session as a state machine: no clock, no network, no disk; time and messages in, outputs out.

mod events;
mod outgoing;

use std::collections::VecDeque;

use bytes::Bytes;

use self::{events::EventStream, outgoing::Outgoing};
use crate::{
    AgentEvent, Held, Hello, Join, Now, OutboxItem, PeerAddress, State, ToAgent, ToCoordinator,
    backoff::{self, Jitter},
    message::HELD_MAX,
    ticket::{TICKET_ADDRESSES_MAX, TICKET_COORDINATORS_MAX},
};

pub use self::events::{EVENT_BYTES_MAX, EVENTS_IN_FLIGHT_MAX};
pub use self::outgoing::{STATUS_PAUSE_MILLISECONDS, STATUS_PAUSE_URGENT_MILLISECONDS};

/// How long finding a path to a coordinator may take, relay and hole punching included.
pub const CONNECT_MILLISECONDS_MAX: u64 = 15_000;

/// How long a coordinator may take to answer `Hello` or `Join`: its admission is paced when thousands come back at once.
pub const GREETING_MILLISECONDS_MAX: u64 = 30_000;

/// How long an agent waits on one connection for somebody's approval before it knocks again.
pub const PENDING_MILLISECONDS_MAX: u64 = 600_000;

/// A coordinator that said nothing for this many beats is given up.
pub const SILENT_BEATS_MAX: u64 = 3;

/// A session that lasted this long was a good one: the next pause starts small again.
const STABLE_MILLISECONDS: u64 = 30_000;

/// How long a machine waits at most before it dials again because its path died: enough to spread those of one coordinator whose port
/// was closed, little enough that a request still goes through the relay within 3 s.
pub const REDIAL_MILLISECONDS_MAX: u64 = 250;

/// How long after such a dial the next one has to wait its turn: what dies over and over is left to the pauses that grow.
pub const REDIAL_PAUSE_MILLISECONDS: u64 = 5_000;

/// The longest pause between beats that an agent accepts; longer, and silence would not be noticed for an hour.
const BEAT_SECONDS_MAX: u32 = 600;

/// What the agent holds; said in every `Hello`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// The newest root version held.
    pub root_version: u64,
    /// The incarnation that `revision` belongs to.
    pub incarnation: u64,
    /// The last revision taken completely.
    pub revision: u64,
    /// What is held; above [`HELD_MAX`] entries it is left out.
    pub held: Vec<Held>,
}

/// What the driver has to do.
#[derive(Debug, PartialEq)]
pub enum AgentOutput {
    /// Connect to this coordinator of the list, then call `connected` or `broke`.
    Connect {
        /// Index into the list.
        coordinator: usize,
    },
    /// Close the connection.
    Close {
        /// Why, for the log.
        reason: String,
    },
    /// Read at most `limit` items above `after` from the outbox, then call `outbox_items`.
    ReadOutbox {
        /// The sequence before the first wanted.
        after: u64,
        /// How many.
        limit: usize,
    },
    /// The coordinator has everything up to this sequence.
    Taken {
        /// The sequence.
        sequence: u64,
    },
    /// For the agent.
    Event(AgentEvent),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Idle { until: u64 },
    Connecting { until: u64 },
    Greeting { until: u64 },
    Pending { until: u64 },
    Steady { since: u64, heard_at: u64, beat_at: u64, beat_milliseconds: u64 },
}

/// The agent's session: connects, says hello, joins, keeps in touch, and starts over for ever.
#[derive(Debug)]
pub struct AgentSession {
    hello: Hello,
    join: Option<Join>,
    coordinators: usize,
    coordinator: usize,
    failures: u32,
    jitter: Jitter,
    phase: Phase,
    beat_sent_at: Option<Now>,
    redialled_at: Option<u64>,
    out: Outgoing,
    events: EventStream,
    outputs: VecDeque<AgentOutput>,
}

impl AgentSession {
    /// A session that will try `coordinators` addresses in turn. `seed` spreads its retries, and where it begins: machines that all
    /// know the same coordinators do not all go to the first.
    pub fn new(hello: Hello, join: Option<Join>, coordinators: usize, seed: u64, now: Now) -> Self {
        let mut session = Self {
            hello,
            join,
            coordinators: coordinators.max(1),
            coordinator: usize::try_from(seed % coordinators.max(1) as u64).unwrap_or_default(),
            failures: 0,
            jitter: Jitter::new(seed),
            phase: Phase::Idle { until: now.monotonic_milliseconds },
            beat_sent_at: None,
            redialled_at: None,
            out: Outgoing::default(),
            events: EventStream::default(),
            outputs: VecDeque::new(),
        };
        session.tick(now);
        session
    }

    /// The list of coordinators has so many entries from now on.
    pub fn set_coordinators(&mut self, coordinators: usize) {
        self.coordinators = coordinators.max(1);
        self.coordinator %= self.coordinators;
    }

    /// The next thing for the driver to do.
    pub fn take_output(&mut self) -> Option<AgentOutput> {
        self.outputs.pop_front()
    }

    /// When `tick` has something to do without any input, or, where the connection `can_send`, `next_to_send` has.
    pub fn deadline_milliseconds(&self, can_send: bool) -> u64 {
        match self.phase {
            Phase::Idle { until } | Phase::Connecting { until } | Phase::Greeting { until } | Phase::Pending { until } => until,
            Phase::Steady { heard_at, beat_at, beat_milliseconds, .. } => {
                let silent_at = heard_at + SILENT_BEATS_MAX * beat_milliseconds;
                let status_at = self.out.status_due_at().unwrap_or(u64::MAX);
                if can_send { silent_at.min(beat_at).min(status_at) } else { silent_at }
            }
        }
    }

    /// Whether the session is open.
    pub fn is_steady(&self) -> bool {
        matches!(self.phase, Phase::Steady { .. })
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        let at = now.monotonic_milliseconds;
        match self.phase {
            Phase::Idle { until } if at >= until => {
                self.phase = Phase::Connecting { until: at + CONNECT_MILLISECONDS_MAX };
                self.outputs.push_back(AgentOutput::Connect { coordinator: self.coordinator });
            }
            Phase::Connecting { until } if at >= until => self.broke("no path was found in time", now),
            Phase::Greeting { until } if at >= until => self.broke("the coordinator did not answer in time", now),
            Phase::Pending { until } if at >= until => self.broke("still not approved; knocking again", now),
            Phase::Steady { heard_at, beat_milliseconds, .. } if at >= heard_at + SILENT_BEATS_MAX * beat_milliseconds => {
                self.broke("the coordinator fell silent", now);
            }
            _ => {}
        }
    }

    /// The connection is made.
    pub fn connected(&mut self, now: Now) {
        if matches!(self.phase, Phase::Connecting { .. }) {
            self.phase = Phase::Greeting { until: now.monotonic_milliseconds + GREETING_MILLISECONDS_MAX };
            self.hello.presenter.next_session(now.unix_milliseconds);
            self.out.open();
        }
    }

    /// The connection could not be made, or is gone, or has to go.
    pub fn broke(&mut self, reason: impl Into<String>, now: Now) {
        let reason = reason.into();
        if let Phase::Steady { since, .. } = self.phase
            && now.monotonic_milliseconds.saturating_sub(since) >= STABLE_MILLISECONDS
        {
            self.failures = 0;
        }
        let rounds = self.failures / u32::try_from(self.coordinators).unwrap_or(u32::MAX);
        let pause = backoff::after_failures(rounds, &mut self.jitter);
        self.failures = self.failures.saturating_add(1);
        self.pause(reason, pause, now);
    }

    /// The path died and another one lives: a new connection finds it at once, so there is nothing to wait for.
    pub fn redial(&mut self, reason: impl Into<String>, now: Now) {
        let at = now.monotonic_milliseconds;
        let lately = self.redialled_at.is_some_and(|before| at.saturating_sub(before) < REDIAL_PAUSE_MILLISECONDS);
        if !self.is_steady() || lately {
            return self.broke(reason, now);
        }
        self.redialled_at = Some(at);
        let coordinator = self.coordinator;
        let pause = self.jitter.next() % REDIAL_MILLISECONDS_MAX;
        self.pause(reason.into(), pause, now);
        self.coordinator = coordinator;
    }

    fn refused(&mut self, reason: String, now: Now) {
        self.outputs.push_back(AgentOutput::Event(AgentEvent::Refused { reason: reason.clone() }));
        let pause = backoff::after_refusal(&mut self.jitter);
        self.pause(format!("refused: {reason}"), pause, now);
    }

    fn pause(&mut self, reason: String, pause_milliseconds: u64, now: Now) {
        if matches!(self.phase, Phase::Idle { .. }) {
            return;
        }
        self.outputs.push_back(AgentOutput::Close { reason: reason.clone() });
        self.outputs
            .push_back(AgentOutput::Event(AgentEvent::Disconnected { reason, next_try_milliseconds: pause_milliseconds }));
        self.phase = Phase::Idle { until: now.monotonic_milliseconds + pause_milliseconds };
        self.coordinator = (self.coordinator + 1) % self.coordinators;
        self.beat_sent_at = None;
        self.out.close();
        self.events.close();
    }

    /// Bytes arrived, though perhaps no whole message yet: the coordinator lives.
    pub fn heard(&mut self, now: Now) {
        if let Phase::Steady { heard_at, .. } = &mut self.phase {
            *heard_at = now.monotonic_milliseconds;
        }
    }

    /// A message arrived.
    pub fn received(&mut self, message: ToAgent, now: Now) {
        self.heard(now);
        match (self.phase, message) {
            (
                Phase::Greeting { .. } | Phase::Pending { .. },
                ToAgent::Welcome { incarnation, beat_seconds, time_milliseconds: _, coordinators },
            ) => {
                self.welcome(incarnation, beat_seconds, now);
                self.told_of(coordinators);
            }
            (Phase::Greeting { .. }, ToAgent::Unknown) => self.unknown(now),
            (Phase::Greeting { .. } | Phase::Pending { .. }, ToAgent::Pending { reason }) => {
                self.phase = Phase::Pending { until: now.monotonic_milliseconds + PENDING_MILLISECONDS_MAX };
                self.outputs.push_back(AgentOutput::Event(AgentEvent::Pending { reason }));
            }
            (Phase::Greeting { .. } | Phase::Pending { .. } | Phase::Steady { .. }, ToAgent::Refused { reason }) => {
                self.refused(reason, now);
            }
            (Phase::Steady { .. }, message) => self.received_steady(message, now),
            (Phase::Idle { .. } | Phase::Connecting { .. }, _) => {}
            (_, message) => self.broke(format!("the coordinator sent {} before it let us in", name_of(&message)), now),
        }
    }

    fn unknown(&mut self, now: Now) {
        match self.join.clone() {
            Some(join) if !self.out.has_joined() => {
                self.out.join(join);
                self.phase = Phase::Greeting { until: now.monotonic_milliseconds + GREETING_MILLISECONDS_MAX };
            }
            _ => self.refused("this fleet does not know our key, and we have no ticket to join it".to_owned(), now),
        }
    }

    fn welcome(&mut self, incarnation: u64, beat_seconds: u32, now: Now) {
        let beat_milliseconds = u64::from(beat_seconds.clamp(1, BEAT_SECONDS_MAX)) * 1_000;
        let at = now.monotonic_milliseconds;
        self.phase = Phase::Steady { since: at, heard_at: at, beat_at: at, beat_milliseconds };
        self.out.welcome();
        self.events.open();
        self.outputs.push_back(AgentOutput::Event(AgentEvent::Connected { coordinator: self.coordinator, incarnation }));
        self.read_outbox();
    }

    /// More than a ticket may name is no list of coordinators.
    fn told_of(&mut self, coordinators: Vec<PeerAddress>) {
        let sound = coordinators.iter().all(|coordinator| coordinator.addresses.len() <= TICKET_ADDRESSES_MAX);
        if sound && (1..=TICKET_COORDINATORS_MAX).contains(&coordinators.len()) {
            self.outputs.push_back(AgentOutput::Event(AgentEvent::Coordinators { coordinators }));
        }
    }

    fn received_steady(&mut self, message: ToAgent, now: Now) {
        match message {
            ToAgent::State(state) => self.outputs.push_back(AgentOutput::Event(AgentEvent::State(state))),
            ToAgent::Plan { id, body } => self.outputs.push_back(AgentOutput::Event(AgentEvent::Plan { id, body })),
            ToAgent::Ping { nonce } => self.out.pong(nonce),
            ToAgent::Coordinators { coordinators } => self.told_of(coordinators),
            ToAgent::Taken { event_sequence } => {
                if let Some(sequence) = self.events.taken(event_sequence) {
                    self.outputs.push_back(AgentOutput::Taken { sequence });
                }
                self.read_outbox();
            }
            ToAgent::BeatAnswer { sent_at_milliseconds, time_milliseconds } => {
                self.beat_answered(sent_at_milliseconds, time_milliseconds, now);
            }
            message @ (ToAgent::Welcome { .. } | ToAgent::Unknown | ToAgent::Pending { .. } | ToAgent::Refused { .. }) => {
                self.broke(format!("the coordinator sent {} in an open session", name_of(&message)), now);
            }
        }
    }

    fn beat_answered(&mut self, sent_at_milliseconds: u64, time_milliseconds: u64, now: Now) {
        let Some(sent) = self.beat_sent_at.take_if(|sent| sent.unix_milliseconds == sent_at_milliseconds) else {
            return;
        };
        let round_trip_milliseconds = now.monotonic_milliseconds.saturating_sub(sent.monotonic_milliseconds);
        let here = sent.unix_milliseconds.saturating_add(round_trip_milliseconds / 2);
        let offset_milliseconds = i64::try_from(i128::from(time_milliseconds) - i128::from(here)).unwrap_or(i64::MAX);
        self.outputs.push_back(AgentOutput::Event(AgentEvent::ClockOffset { offset_milliseconds, round_trip_milliseconds }));
    }

    /// The next message to put on the connection; ask again when it is out, and after every input.
    pub fn next_to_send(&mut self, now: Now) -> Option<ToCoordinator> {
        match &mut self.phase {
            Phase::Idle { .. } | Phase::Connecting { .. } => None,
            Phase::Greeting { .. } | Phase::Pending { .. } => self.out.next_greeting(&self.hello),
            Phase::Steady { beat_at, beat_milliseconds, .. } => {
                if now.monotonic_milliseconds >= *beat_at {
                    *beat_at = now.monotonic_milliseconds + *beat_milliseconds;
                    self.beat_sent_at = Some(now);
                    return Some(ToCoordinator::Beat { sent_at_milliseconds: now.unix_milliseconds });
                }
                self.out.next_steady(now.monotonic_milliseconds).or_else(|| self.events.next_to_send())
            }
        }
    }

    /// The latest status; what was not sent before it never will be.
    ///
    /// An urgent one, which somebody waits for, takes the shorter pause; so does what replaces it before it was sent.
    pub fn set_status(&mut self, body: Bytes, urgent: bool) {
        self.out.set_status(body, urgent);
    }

    /// An acknowledgement; false when too many wait.
    pub fn push_ack(&mut self, ack: Bytes) -> bool {
        self.out.push_ack(ack)
    }

    /// The answer to a plan request; dropped when the session that asked is gone.
    pub fn answer_plan(&mut self, id: u64, body: Bytes) {
        if self.is_steady() {
            self.out.answer_plan(id, body);
        }
    }

    /// The outbox has grown.
    pub fn outbox_changed(&mut self) {
        self.events.changed();
        self.read_outbox();
    }

    /// Answers `ReadOutbox`.
    pub fn outbox_items(&mut self, items: Vec<OutboxItem>, limit: usize) {
        for (sequence, bytes) in self.events.items(items, limit) {
            self.outputs.push_back(AgentOutput::Event(AgentEvent::OutboxItemOversized { sequence, bytes }));
        }
        self.read_outbox();
    }

    fn read_outbox(&mut self) {
        if self.is_steady()
            && let Some((after, limit)) = self.events.wants()
        {
            self.outputs.push_back(AgentOutput::ReadOutbox { after, limit });
        }
    }

    /// What to say from now on if the fleet does not know us.
    pub fn set_join(&mut self, join: Join) {
        self.join = Some(join);
    }

    /// What the agent holds now; said in the next `Hello`.
    pub fn set_position(&mut self, mut position: Position) {
        if position.held.len() > HELD_MAX {
            position.held.clear();
        }
        self.hello.root_version = position.root_version;
        self.hello.incarnation = position.incarnation;
        self.hello.revision = position.revision;
        self.hello.held = position.held;
    }
}

fn name_of(message: &ToAgent) -> &'static str {
    match message {
        ToAgent::Welcome { .. } => "Welcome",
        ToAgent::Unknown => "Unknown",
        ToAgent::Pending { .. } => "Pending",
        ToAgent::Refused { .. } => "Refused",
        ToAgent::State(State { .. }) => "State",
        ToAgent::Taken { .. } => "Taken",
        ToAgent::Plan { .. } => "Plan",
        ToAgent::BeatAnswer { .. } => "BeatAnswer",
        ToAgent::Ping { .. } => "Ping",
        ToAgent::Coordinators { .. } => "Coordinators",
    }
}

#[cfg(test)]
mod tests;
