//! Ages as `kubectl` prints them.

use std::fmt;

use jiff::Timestamp;

/// A span of time, printed as `kubectl` does: `45s`, `12m`, `3h`, `18d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    seconds: i64,
}

/// The age of something at a moment; a clock that ran backwards gives `0s`.
pub fn age(since: Timestamp, now: Timestamp) -> Age {
    Age { seconds: now.as_second().saturating_sub(since.as_second()).max(0) }
}

impl fmt::Display for Age {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds;
        match seconds {
            0..120 => write!(formatter, "{seconds}s"),
            120..7_200 => write!(formatter, "{}m", seconds / 60),
            7_200..172_800 => write!(formatter, "{}h", seconds / 3_600),
            _ => write!(formatter, "{}d", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_like_kubectl() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, expected) in [(-5, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"), (200_000, "2d")] {
            assert_eq!(age(at(0), at(seconds)).to_string(), expected);
        }
    }
}
