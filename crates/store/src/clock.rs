//! The time: from the operating system unless a simulation brings its own.

use std::sync::Arc;

use jiff::Timestamp;

use crate::writer::TimeSource;

/// The operating system's clock.
pub fn system_time() -> TimeSource {
    Arc::new(Timestamp::now)
}
