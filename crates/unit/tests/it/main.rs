//! The converger as a caller sees it, on tokio's paused clock.

#[cfg(test)]
mod driver;
