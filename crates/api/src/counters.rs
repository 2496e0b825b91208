//! What the port has seen and refused.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter,)* }

        /// The counters at one moment, since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct CountersSnapshot { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            pub(crate) fn snapshot(&self) -> CountersSnapshot {
                CountersSnapshot { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Connections that were taken.
    connections,
    /// Connections over the limit, closed at once.
    connections_refused,
    /// TLS handshakes that failed.
    handshakes_failed,
    /// TLS handshakes that took too long.
    handshakes_too_slow,
    /// Requests that reached the API.
    requests,
    /// Bytes on the port that are no HTTP, or have too long a head.
    malformed,
    /// Heads and bodies that took too long.
    too_slow,
    /// Bodies and URLs over their limit.
    too_large,
    /// Requests over the client's limit at once.
    too_many,
    /// Requests without a good token, and logins that were refused.
    unauthorized,
    /// Connections closed because the client took nothing of what it was sent.
    stalled,
    /// Parts of large lists that were made.
    list_parts,
    /// Pages of history that watches were told from the database.
    history_pages,
    /// Large lists that took too long: refused before their first part, or cut off after it.
    lists_too_slow,
    /// Watches closed with 410, because the client had fallen too far behind.
    watches_behind,
}

/// One number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
