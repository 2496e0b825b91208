//! Spans of time on the command line: `90s`, `15m`, `24h`, `7d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

/// A span of time as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    seconds: u64,
}

/// The longest span: ten years, so that no sum with a moment overflows.
const SPAN_SECONDS_MAX: u64 = 10 * 366 * 86_400;

impl Span {
    pub(crate) const fn from_seconds(seconds: u64) -> Self {
        Self { seconds }
    }

    pub(crate) const fn to_duration(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The moment that much later, in whole seconds as documents have them.
    pub(crate) fn after(self, moment: Timestamp) -> Timestamp {
        whole_seconds(moment.checked_add(self.to_duration()).unwrap_or(Timestamp::MAX))
    }
}

/// A moment as people write it: so long ago, a day, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    Ago(Span),
    At(Timestamp),
}

impl Since {
    /// The moment, seen from now.
    pub(crate) fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(span) => now.checked_sub(span.to_duration()).unwrap_or(Timestamp::MIN),
            Self::At(moment) => moment,
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(span) = text.parse() {
            return Ok(Self::Ago(span));
        }
        let at = text.parse().or_else(|error| format!("{text}T00:00:00Z").parse().map_err(|_| error));
        at.map(Self::At).map_err(|_: jiff::Error| {
            format!("{text:?} is no time; write a span such as 2h or 7d, a day such as 2026-01-31, or a time such as 2026-01-31T12:00:00Z")
        })
    }
}

/// A moment without its fraction of a second, as people read it.
pub(crate) fn whole_seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("{text:?} is no span of time; write a whole number and s, m, h or d, such as 90s or 24h");
        let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(error)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(error()),
        };
        let number: u64 = digits.parse().map_err(|_| error())?;
        let seconds = number.checked_mul(seconds).filter(|seconds| *seconds <= SPAN_SECONDS_MAX).ok_or_else(error)?;
        Ok(Self { seconds })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.seconds {
            seconds if seconds > 0 && seconds.is_multiple_of(86_400) => (seconds / 86_400, 'd'),
            seconds if seconds > 0 && seconds.is_multiple_of(3_600) => (seconds / 3_600, 'h'),
            seconds if seconds > 0 && seconds.is_multiple_of(60) => (seconds / 60, 'm'),
            seconds => (seconds, 's'),
        };
        write!(formatter, "{number}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_spans_days_or_times() {
        let now: Timestamp = "2026-02-01T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2h", "2026-02-01T10:00:00Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31T12:00:00+01:00", "2026-01-31T11:00:00Z"),
        ] {
            assert_eq!(text.parse::<Since>().unwrap().moment(now).to_string(), expected, "{text}");
        }
        for bad in ["", "yesterday", "2026-13-01", "12:00"] {
            assert!(bad.parse::<Since>().unwrap_err().contains("is no time"), "{bad}");
        }
    }

    #[test]
    fn text_and_back() {
        for text in ["0s", "90s", "15m", "25h", "7d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for bad in ["", "5", "m", "-1s", "1.5h", "1w", "99999999999d", "é"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
