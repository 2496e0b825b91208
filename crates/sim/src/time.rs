//! Time in a simulation: tokio's paused clock, and what each party's own clock makes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use stead_trust::Clock;
use tokio::time::Instant;

/// When a simulation begins, in seconds of Unix time: 2026-01-01.
const EPOCH_SECONDS: i64 = 1_767_225_600;

/// One party's clock. It may be set wrong.
#[derive(Clone)]
pub struct PartyClock {
    start: Instant,
    offset_seconds: Arc<AtomicI64>,
}

impl PartyClock {
    /// A clock that is right, of a simulation that begins now.
    pub fn new() -> Self {
        Self { start: Instant::now(), offset_seconds: Arc::default() }
    }

    /// Another party's clock in the same simulation.
    pub fn another(&self) -> Self {
        Self { start: self.start, offset_seconds: Arc::default() }
    }

    /// Sets it wrong by so many seconds; 0 sets it right.
    pub fn step(&self, seconds: i64) {
        self.offset_seconds.store(seconds, Ordering::Relaxed);
    }

    /// Milliseconds of Unix time.
    pub fn unix_milliseconds(&self) -> u64 {
        u64::try_from(self.now().as_millisecond()).unwrap_or_default()
    }
}

impl Default for PartyClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for PartyClock {
    fn now(&self) -> Timestamp {
        let epoch = Timestamp::from_second(EPOCH_SECONDS).unwrap_or(Timestamp::UNIX_EPOCH);
        let offset = SignedDuration::from_secs(self.offset_seconds.load(Ordering::Relaxed));
        let elapsed = SignedDuration::try_from(self.start.elapsed()).unwrap_or_default();
        epoch.checked_add(elapsed).and_then(|now| now.checked_add(offset)).unwrap_or(epoch)
    }
}
