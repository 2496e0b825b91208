//! What a relay counts.

use std::{collections::BTreeMap, fmt};

/// Why a connection was turned away or cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelayRefusal {
    /// There is no room for more connections.
    Full,
    /// Too many connections are proving who they are.
    Busy,
    /// Too many of them are from one address.
    BusyAddress,
    /// It did not prove who it is in time.
    TooSlow,
    /// Bytes that are no HTTP, or have too long a head.
    Malformed,
    /// HTTP, but nothing that a relay is asked for.
    NotForRelay,
    /// Its key is no member's, and it showed no ticket's token.
    NotMember,
    /// Its key has too many connections open.
    TooManyOfOneKey,
    /// It was let in, and is no member any more.
    StruckOff,
}

impl RelayRefusal {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Full,
        Self::Busy,
        Self::BusyAddress,
        Self::TooSlow,
        Self::Malformed,
        Self::NotForRelay,
        Self::NotMember,
        Self::TooManyOfOneKey,
        Self::StruckOff,
    ];
}

impl fmt::Display for RelayRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Full => "this relay has no room for more connections",
            Self::Busy => "too many machines connect to this relay at once; try again later",
            Self::BusyAddress => "too many machines connect from one address at once; try again later",
            Self::TooSlow => "it did not prove its key in time",
            Self::Malformed => "its bytes are no HTTP, or its head is too long",
            Self::NotForRelay => "it asked for something that is no relay's",
            Self::NotMember => "this relay serves its fleet only",
            Self::TooManyOfOneKey => "this key has too many connections to this relay",
            Self::StruckOff => "it is no member of this fleet any more",
        })
    }
}

/// A snapshot of the counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayCounters {
    /// Connections open now.
    pub open: usize,
    /// Of these, those that proved who they are and were let in.
    pub established: usize,
    /// Connections that were taken.
    pub connections: u64,
    /// Connections turned away or cut off, by reason.
    pub refused: BTreeMap<RelayRefusal, u64>,
    /// Bytes sent to clients.
    pub bytes_sent: u64,
    /// Bytes received from clients.
    pub bytes_received: u64,
    /// Packets for clients that were not there.
    pub packets_dropped: u64,
}

impl RelayCounters {
    /// How many were turned away for one reason.
    pub fn refused(&self, refusal: RelayRefusal) -> u64 {
        self.refused.get(&refusal).copied().unwrap_or(0)
    }
}
