//! How long to wait before a unit is tried or looked at again.

use std::time::Duration;

/// The pause after a first failure: short, because most failures are a neighbour that isn't there yet.
pub const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// The longest pause between two tries: what a person who has just repaired something is ready to wait.
pub const PAUSE_MAX: Duration = Duration::from_secs(300);

/// A source of jitter (splitmix64). Its seed is an argument, so that a run can be repeated.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number in 0..1024.
    fn next_1024th(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) & 1023) as u32
    }

    /// The pause after the `attempts`-th failure in a row: doubled each time, at most [`PAUSE_MAX`], and between half of that and all of it.
    pub(crate) fn after_failure(&mut self, attempts: u32) -> Duration {
        let doubled = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        self.shorten(PAUSE_FIRST.saturating_mul(doubled).min(PAUSE_MAX))
    }

    /// A time between half of `whole` and `whole`.
    pub(crate) fn shorten(&mut self, whole: Duration) -> Duration {
        let half = whole / 2;
        half + half / 1024 * self.next_1024th()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pauses_grow_to_the_longest_and_stay_there() {
        let mut jitter = Jitter::new(1);
        for (attempts, whole_seconds) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (33, 300), (u32::MAX, 300)] {
            let whole = Duration::from_secs(whole_seconds);
            let pause = jitter.after_failure(attempts);
            assert!(pause >= whole / 2 && pause <= whole, "{attempts}: {pause:?}");
        }
    }

    proptest! {
        #[test]
        fn two_seeds_do_not_pause_in_step(a: u64, b: u64) {
            prop_assume!(a != b);
            let pauses = |seed| { let mut jitter = Jitter::new(seed); (0..8).map(|_| jitter.shorten(PAUSE_MAX)).collect::<Vec<_>>() };
            prop_assert_ne!(pauses(a), pauses(b));
        }
    }
}
