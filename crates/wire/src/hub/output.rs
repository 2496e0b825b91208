//! What the hub tells its driver and the coordinator.

use std::fmt;

use bytes::Bytes;

use crate::{Hello, Join, OutboxItem, PeerKey, Refusal};

/// One session; a later session has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// What is to become of a machine that said `Hello` or `Join`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is a member.
    Welcome {
        /// The incarnation of the record.
        incarnation: u64,
    },
    /// Nobody knows this key; it may ask to join.
    Unknown,
    /// It asked to join, and waits for somebody's approval.
    Pending {
        /// In words.
        reason: String,
    },
    /// It may not.
    Refused {
        /// In words.
        reason: String,
    },
    /// It may not, and is counted under a reason of its own.
    TurnedAway {
        /// What it is counted as.
        refusal: Refusal,
        /// In words.
        reason: String,
    },
}

/// What happened, for the coordinator.
#[derive(Debug, Clone, PartialEq)]
pub enum HubEvent {
    /// A member's session is open. Answer with a state since `hello.revision`.
    Joined {
        /// Who.
        peer: PeerKey,
        /// Its session; an earlier one of the same key is over, without a `Left`.
        session: SessionId,
        /// What it said.
        hello: Hello,
        /// Where it came from, for a person; empty where nobody can tell.
        address: String,
        /// How long ago its connection was made: admission may have taken a while.
        waited_milliseconds: u64,
    },
    /// The latest status.
    Status {
        /// Whose.
        peer: PeerKey,
        /// The status.
        body: Bytes,
    },
    /// Items of the machine's outbox; call `taken` when they are on disk. They may come again.
    Events {
        /// Whose.
        peer: PeerKey,
        /// Ascending by sequence.
        items: Vec<OutboxItem>,
    },
    /// Acknowledgements. They may come again.
    Acks {
        /// Whose.
        peer: PeerKey,
        /// Each one acknowledgement.
        items: Vec<Bytes>,
    },
    /// The machine lives.
    Beat {
        /// Who.
        peer: PeerKey,
        /// The machine's clock.
        sent_at_milliseconds: u64,
    },
    /// A state could not follow what was sent before; send one since this revision, or a full one.
    NeedsState {
        /// Who.
        peer: PeerKey,
        /// The incarnation it was last sent.
        incarnation: u64,
        /// The revision it was last sent completely.
        revision: u64,
    },
    /// Two machines present one key. The newer one is served.
    DuplicateKey {
        /// The key.
        peer: PeerKey,
        /// What the older session said.
        older: Box<Hello>,
        /// What the newer session said.
        newer: Box<Hello>,
        /// Where the older and the newer one came from.
        addresses: [String; 2],
    },
    /// A session lives whose key another coordinator serves meanwhile: two machines present it.
    LivesBeside {
        /// The key.
        peer: PeerKey,
        /// What the session here said.
        hello: Box<Hello>,
        /// Where it came from.
        address: String,
    },
    /// The session served for this key is over.
    Left {
        /// Who.
        peer: PeerKey,
        /// Its session.
        session: SessionId,
        /// In words.
        reason: String,
    },
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// `next_to_send` may have something for this session.
    Wake(SessionId),
    /// Send what is on its way, then close the connection and call `disconnected`.
    Close {
        /// Which.
        session: SessionId,
        /// In words.
        reason: String,
    },
    /// Ask for a verdict on a `Hello` and call `decide`.
    Admit {
        /// Which.
        session: SessionId,
        /// Who.
        peer: PeerKey,
        /// What it said, without the list of what it holds.
        hello: Box<Hello>,
        /// Set when it asked to join.
        join: Option<Join>,
    },
    /// A plan request was answered.
    PlanAnswered {
        /// By which session.
        session: SessionId,
        /// The request's number.
        id: u64,
        /// The plan.
        body: Bytes,
    },
}
