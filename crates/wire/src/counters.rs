//! What a coordinator counts about its sessions.

use std::{collections::BTreeMap, fmt};

/// Why a peer was turned away or cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Its handshake failed, or was not finished in time.
    Handshake,
    /// Too many handshakes at once.
    HandshakesBusy,
    /// Too many sessions of keys that are no members.
    TooManyUnknown,
    /// Too many sessions altogether.
    TooManySessions,
    /// Too many sessions of one key.
    TooManyOfOneKey,
    /// It said nothing, or not enough, in time.
    Silent,
    /// A frame was over the limit.
    Oversized,
    /// Bytes that are no message.
    Garbage,
    /// A message out of turn.
    OutOfTurn,
    /// It is a machine of another fleet.
    OtherFleet,
    /// It lists more than a `Hello` may.
    HelloTooLong,
    /// It was neither admitted nor refused in time.
    NotAdmitted,
    /// The fleet refused it.
    Refused,
    /// Its key is in use by another machine.
    Duplicate,
    /// Its key was a machine's once, which has another one now.
    FormerKey,
    /// Its machine is out of service for ever.
    Decommissioned,
    /// Owners have denied it.
    Denied,
    /// It asks to join with a pass that no coordinator gave out.
    BadPass,
    /// Too many machines wait for owners already.
    WaitingRoomFull,
    /// It speaks no version of the protocol that is spoken here.
    Protocol,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 20] = [
        Self::Handshake,
        Self::HandshakesBusy,
        Self::TooManyUnknown,
        Self::TooManySessions,
        Self::TooManyOfOneKey,
        Self::Silent,
        Self::Oversized,
        Self::Garbage,
        Self::OutOfTurn,
        Self::OtherFleet,
        Self::HelloTooLong,
        Self::NotAdmitted,
        Self::Refused,
        Self::Duplicate,
        Self::FormerKey,
        Self::Decommissioned,
        Self::Denied,
        Self::BadPass,
        Self::WaitingRoomFull,
        Self::Protocol,
    ];
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Handshake => "the handshake failed",
            Self::HandshakesBusy => "too many machines connect at once; try again later",
            Self::TooManyUnknown => "too many machines ask to join; try again later",
            Self::TooManySessions => "this coordinator has no room for more machines",
            Self::TooManyOfOneKey => "this key has too many sessions open",
            Self::Silent => "nothing was heard for too long",
            Self::Oversized => "a frame was over the limit",
            Self::Garbage => "a frame could not be read",
            Self::OutOfTurn => "a message came out of turn",
            Self::OtherFleet => "this coordinator serves another fleet",
            Self::HelloTooLong => "the hello lists too much",
            Self::NotAdmitted => "not approved in time; ask again",
            Self::Refused => "the fleet refused it",
            Self::Duplicate => "another machine presents the same key",
            Self::FormerKey => "the key was replaced by another one",
            Self::Decommissioned => "the machine was decommissioned",
            Self::Denied => "owners have denied it",
            Self::BadPass => "the ticket's pass is no coordinator's of this fleet",
            Self::WaitingRoomFull => "too many machines wait for approval",
            Self::Protocol => "it speaks no version of the protocol that is spoken here",
        })
    }
}

/// A snapshot of the counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sessions open now.
    pub sessions: usize,
    /// Of these, served.
    pub served: usize,
    /// Sessions whose packets go directly.
    pub direct: usize,
    /// Sessions whose packets go through a relay.
    pub relayed: usize,
    /// How often a session went over to another path.
    pub path_changes: u64,
    /// Connections that became sessions.
    pub connections: u64,
    /// Messages received.
    pub messages: u64,
    /// States handed to connections, in parts.
    pub state_parts: u64,
    /// States that were dropped because the machine was slow or had missed one; a fresh one was asked for.
    pub states_dropped: u64,
    /// Keys found on two machines.
    pub duplicates: u64,
    /// Peers turned away, by reason.
    pub refused: BTreeMap<Refusal, u64>,
}

impl Counters {
    /// How many were turned away for one reason.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused.get(&refusal).copied().unwrap_or(0)
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        *self.refused.entry(refusal).or_default() += 1;
    }
}
