//! What the two sides say to each other. Bodies are opaque bytes: this crate knows no object kind.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::PeerAddress;

/// The protocol and its version, as negotiated when the connection is made.
pub const SESSION_ALPN: &[u8] = b"stead/session/1";

/// Names and sequences one `Hello` may list: more would not fit a frame with long names. A machine that holds more says its revision only.
pub const HELD_MAX: usize = 1_024;

/// A random number that one process of an agent chose when it started: tells a restart from a second machine with the same key.
pub type ProcessNonce = [u8; 16];

/// One object that a machine holds, with the sequence it has reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Kind and group, as text.
    pub kind: String,
    /// Namespace; empty for cluster scope.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The highest sequence the machine has accepted for this name.
    pub sequence: u64,
}

/// Starts and sessions that a [`Presenter`] lists at most: those that a coordinator may have heard of last are among the newest.
pub const LINEAGE_MAX: usize = 8;

/// A number that grows, and a mark: the same number with another mark is another machine's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Higher than every one before.
    pub number: u64,
    /// What two steps of one number are told apart by.
    pub mark: u64,
}

/// Who presents a key: what tells two machines with one key apart. Nothing of it is proved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presenter {
    /// The host name.
    pub hostname: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// The hardware's serial number, where the firmware says.
    pub serial: String,
    /// The last starts of the agent, oldest first, at most [`LINEAGE_MAX`]; each is on the machine's disk before it is said.
    pub starts: Vec<Step>,
    /// The last sessions of this start, oldest first, at most [`LINEAGE_MAX`]. The mark is the moment of the connection.
    pub sessions: Vec<Step>,
}

impl Presenter {
    /// The next session of this process begins, at a moment in Unix milliseconds.
    pub(crate) fn next_session(&mut self, unix_milliseconds: u64) {
        let number = self.sessions.last().map_or(1, |last| last.number.saturating_add(1));
        self.sessions.push(Step { number, mark: unix_milliseconds });
        let surplus = self.sessions.len().saturating_sub(LINEAGE_MAX);
        self.sessions.drain(..surplus);
    }
}

/// The first message on every session: who is there, and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The fleet id.
    pub fleet: [u8; 32],
    /// The newest version of the trust root that the machine holds.
    pub root_version: u64,
    /// The incarnation of the record that `revision` belongs to.
    pub incarnation: u64,
    /// The last revision the machine has taken completely; 0 for none.
    pub revision: u64,
    /// What it holds, at most [`HELD_MAX`]; empty where the revision says enough.
    pub held: Vec<Held>,
    /// Chosen at random when the process started.
    pub process: ProcessNonce,
    /// The operating system's machine id, for a person to tell two machines apart.
    pub machine_id: String,
    /// The agent's version.
    pub agent_version: String,
    /// Who presents the key, told more closely.
    pub presenter: Presenter,
}

impl Hello {
    /// What a machine says that holds nothing yet.
    pub fn new(fleet: [u8; 32], process: ProcessNonce) -> Self {
        Self {
            fleet,
            root_version: 0,
            incarnation: 0,
            revision: 0,
            held: Vec::new(),
            process,
            machine_id: String::new(),
            agent_version: String::new(),
            presenter: Presenter::default(),
        }
    }
}

/// Asks to be taken into the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The ticket's pass.
    pub pass: Bytes,
    /// The machine's host name.
    pub hostname: String,
    /// The ticket's delegation, countersigned by the machine.
    pub delegated: Option<Bytes>,
    /// Facts of the machine, for whoever approves it.
    pub facts: Bytes,
}

/// One entry of the durable outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxItem {
    /// Grows by at least one from item to item of one machine, and is never used twice.
    pub sequence: u64,
    /// The event.
    pub body: Bytes,
}

/// What is new for one machine since a revision, or all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The incarnation of the record.
    pub incarnation: u64,
    /// The revision this builds on: everything up to it must have been sent before. Without meaning where `full`.
    pub since: u64,
    /// The revision this leads to.
    pub revision: u64,
    /// Everything there is for this machine, tombstones too.
    pub full: bool,
    /// The last part: only then has the machine reached `revision`. Whoever sends a state says true; it is cut into parts on the way.
    pub complete: bool,
    /// Trust root documents, oldest first.
    pub roots: Vec<Bytes>,
    /// Bundles, in the order of their changes.
    pub bundles: Vec<Bytes>,
}

/// From a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToCoordinator {
    /// Opens the session.
    Hello(Hello),
    /// Asks to be taken in; only after `Unknown`.
    Join(Join),
    /// The machine's status; the latest wins.
    Status {
        /// The status.
        body: Bytes,
    },
    /// From the durable outbox, in order, until `Taken`.
    Events {
        /// Ascending by sequence.
        items: Vec<OutboxItem>,
    },
    /// Signed acknowledgements. Not repeated by this crate: see [`crate::AgentHandle::push_acks`].
    Acks {
        /// Each one acknowledgement.
        items: Vec<Bytes>,
    },
    /// Answers `Plan`.
    PlanAnswer {
        /// The request's number.
        id: u64,
        /// The plan.
        body: Bytes,
    },
    /// "I am here."
    Beat {
        /// The machine's clock, Unix time.
        sent_at_milliseconds: u64,
    },
    /// Answers `Ping`.
    Pong {
        /// The ping's number.
        nonce: u64,
    },
}

/// To a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToAgent {
    /// The session is open.
    Welcome {
        /// The incarnation of the record.
        incarnation: u64,
        /// How often to send `Beat`.
        beat_seconds: u32,
        /// The coordinator's clock, Unix time.
        time_milliseconds: u64,
        /// Where the fleet's coordinators are now; empty where this one does not know better than the ticket.
        coordinators: Vec<PeerAddress>,
    },
    /// The coordinator does not know this key: `Join`, or go.
    Unknown,
    /// Asked to join; somebody has to approve it.
    Pending {
        /// In words.
        reason: String,
    },
    /// Not here, and why.
    Refused {
        /// In words.
        reason: String,
    },
    /// What the machine should hold.
    State(State),
    /// Events up to this one are on the coordinator's disk.
    Taken {
        /// The highest sequence taken.
        event_sequence: u64,
    },
    /// Asks for a plan.
    Plan {
        /// The request's number.
        id: u64,
        /// The wish.
        body: Bytes,
    },
    /// Answers `Beat`.
    BeatAnswer {
        /// As in the `Beat`.
        sent_at_milliseconds: u64,
        /// The coordinator's clock, Unix time.
        time_milliseconds: u64,
    },
    /// Answer with `Pong`: asks an older session of this key whether it still lives.
    Ping {
        /// To be repeated.
        nonce: u64,
    },
    /// Where the fleet's coordinators are from now on.
    Coordinators {
        /// As in `Welcome`.
        coordinators: Vec<PeerAddress>,
    },
}
