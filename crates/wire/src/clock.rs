//! Time as it is given to the state machines, which own no clock.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

/// One moment, by the two clocks that matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Never goes back; its zero means nothing. Every limit is measured with it.
    pub monotonic_milliseconds: u64,
    /// Unix time. It may jump; only clocks are compared with it.
    pub unix_milliseconds: u64,
}

/// Gives Unix time in milliseconds.
pub type UnixClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Unix time as a moment; the epoch for what is none.
pub(crate) fn timestamp(unix_milliseconds: u64) -> Timestamp {
    i64::try_from(unix_milliseconds).ok().and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The drivers' clock: tokio's for limits (so that paused tests own it), the caller's for Unix time.
#[derive(Clone)]
pub(crate) struct DriverClock {
    start: Instant,
    unix: UnixClock,
}

impl DriverClock {
    pub(crate) fn new(unix: UnixClock) -> Self {
        Self { start: Instant::now(), unix }
    }

    pub(crate) fn now(&self) -> Now {
        let elapsed = self.start.elapsed().as_millis();
        Now { monotonic_milliseconds: u64::try_from(elapsed).unwrap_or(u64::MAX), unix_milliseconds: (self.unix)() }
    }

    /// When `monotonic_milliseconds` will be, in tokio's time.
    pub(crate) fn at(&self, monotonic_milliseconds: u64) -> Instant {
        self.start + Duration::from_millis(monotonic_milliseconds)
    }
}
