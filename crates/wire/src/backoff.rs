//! How long an agent waits before it tries again.

/// The widest first pause. Ten thousand agents whose coordinator was killed spread over it; it is also what a lone machine loses at most.
pub const BACKOFF_FIRST_MILLISECONDS: u64 = 2_000;

/// The widest pause ever: a coordinator that returns after days has everyone back within it.
pub const BACKOFF_MILLISECONDS_MAX: u64 = 30_000;

/// The shortest pause: a coordinator that closes every session at once is not hammered.
pub const BACKOFF_MILLISECONDS_MIN: u64 = 100;

/// The widest pause after a refusal: a person has to act first, so trying often only makes noise.
pub const REFUSED_MILLISECONDS_MAX: u64 = 60_000;

/// A small generator (SplitMix64). Its seed is given, so a run can be repeated; it decides when to knock, nothing secret.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Anywhere in `low..=high`.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        let width = high.saturating_sub(low).saturating_add(1);
        low + self.next() % width
    }
}

/// The pause after `failures` rounds in a row that led nowhere: anywhere up to a width that doubles.
pub(crate) fn after_failures(failures: u32, jitter: &mut Jitter) -> u64 {
    let width = BACKOFF_FIRST_MILLISECONDS.saturating_mul(1 << failures.min(16)).min(BACKOFF_MILLISECONDS_MAX);
    jitter.between(BACKOFF_MILLISECONDS_MIN, width)
}

/// The pause after a refusal.
pub(crate) fn after_refusal(jitter: &mut Jitter) -> u64 {
    jitter.between(REFUSED_MILLISECONDS_MAX / 2, REFUSED_MILLISECONDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_stay_bounded_and_spread() {
        let mut jitter = Jitter::new(1);
        for failures in 0..100 {
            let width = (BACKOFF_FIRST_MILLISECONDS << failures.min(10)).min(BACKOFF_MILLISECONDS_MAX);
            let pauses: Vec<u64> = (0..200).map(|_| after_failures(failures, &mut jitter)).collect();
            assert!(pauses.iter().all(|pause| (BACKOFF_MILLISECONDS_MIN..=width).contains(pause)));
            assert!(pauses.iter().any(|pause| *pause > width / 2), "{failures}");
            assert!(pauses.iter().any(|pause| *pause < width / 2), "{failures}");
        }
    }
}
