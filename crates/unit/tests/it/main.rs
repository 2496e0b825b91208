//! The converger as a caller sees it, on tokio's paused clock.

mod driver;
