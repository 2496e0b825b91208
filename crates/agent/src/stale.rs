//! Whether the machine has not heard of its owners for longer than they said. Pure.
//!
//! The age of a word needs a clock, and a machine's may be wrong. One that is behind must not hide silence, so that time is never before
//! what was verified (the newest receipt, root version or word), and goes on from there by the time that this process has run. One that
//! is ahead makes the machine stale too early, and it says what the coordinator's clock says beside it: the coordinator's alone counts
//! for nothing, as whoever keeps things back would also say that it is still yesterday.

use std::time::Duration;

use jiff::Timestamp;

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;
/// By how many milliseconds the two clocks may be apart without a word about it: more than the network explains, less than a day.
const APART_MILLISECONDS: i64 = 3_600_000;

/// What is known when it is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Every how many days owners say that they are there; none where they don't.
    pub(crate) freshness_days: Option<u32>,
    /// When they last did: their newest statement, or the newest version of the trust root where there is none newer.
    pub(crate) fresh_at: Timestamp,
    /// The newest trust root version that an owner's word speaks of.
    pub(crate) root_version_told: u64,
    /// The one that is here.
    pub(crate) root_version: u64,
    /// The machine's clock.
    pub(crate) clock: Timestamp,
    /// What time it is at least, by what was verified.
    pub(crate) floor: Timestamp,
    /// How long ago that was learnt in this process.
    pub(crate) since_floor: Duration,
    /// By how many milliseconds the clock is ahead of the coordinator's.
    pub(crate) clock_offset_milliseconds: Option<i64>,
}

/// What the machine says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The owners ask for nothing of the kind.
    NotAsked,
    /// It has heard of them in time.
    Fresh {
        /// When they were last heard of.
        at: Timestamp,
    },
    /// It has not.
    Stale {
        /// Why, in words, with the age in days: what says it changes once a day.
        message: String,
    },
    /// They speak of a trust root that did not come.
    RootKeptBack {
        /// In words.
        message: String,
    },
}

/// Judges.
pub(crate) fn judge(known: &Known) -> Freshness {
    if known.root_version_told > known.root_version {
        let Known { root_version_told, root_version, .. } = known;
        let message = format!(
            "an owner speaks of version {root_version_told} of the trust root, and version {root_version} is the newest that came"
        );
        return Freshness::RootKeptBack { message };
    }
    let Some(days) = known.freshness_days else { return Freshness::NotAsked };
    let floor = known.floor.checked_add(known.since_floor).unwrap_or(known.floor);
    let now = known.clock.max(floor);
    let age_seconds = now.as_second().saturating_sub(known.fresh_at.as_second());
    if age_seconds <= i64::from(days).saturating_mul(DAY_SECONDS) {
        return Freshness::Fresh { at: known.fresh_at };
    }
    let age_days = age_seconds / DAY_SECONDS;
    let mut message = format!(
        "its owners were last heard of {age_days} days ago ({:.0}), and say that they are there every {days} days",
        known.fresh_at
    );
    if let Some(apart) = known.clock_offset_milliseconds.filter(|apart| apart.saturating_abs() > APART_MILLISECONDS) {
        let (hours, way) = (apart.saturating_abs() / APART_MILLISECONDS, if apart > 0 { "ahead of" } else { "behind" });
        message.push_str(&format!("; this machine's clock is {hours} hours {way} the coordinator's: one of the two is wrong"));
    }
    Freshness::Stale { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(fresh_day: i64, clock_day: i64, floor_day: i64) -> Known {
        let day = |day: i64| Timestamp::from_second(1_700_000_000 + day * DAY_SECONDS).unwrap();
        Known {
            freshness_days: Some(7),
            fresh_at: day(fresh_day),
            root_version_told: 1,
            root_version: 1,
            clock: day(clock_day),
            floor: day(floor_day),
            since_floor: Duration::ZERO,
            clock_offset_milliseconds: Some(0),
        }
    }

    #[test]
    fn silence_of_the_owners_is_noticed_whatever_the_clock_says() {
        let stale = |known: Known| matches!(judge(&known), Freshness::Stale { .. });
        for (case, known, expected) in [
            ("in time", known(0, 7, 0), false),
            ("overdue", known(0, 8, 0), true),
            ("not asked", Known { freshness_days: None, ..known(0, 99, 0) }, false),
            ("a clock that is behind, and a receipt that is not", known(0, -9_999, 8), true),
            (
                "a clock that is behind, and a process that runs",
                Known { since_floor: Duration::from_secs(8 * 86_400), ..known(0, -9_999, 0) },
                true,
            ),
            ("a clock that is behind, and nothing else to tell by", known(0, -9_999, 0), false),
            ("a clock that is ahead", known(0, 999, 0), true),
            (
                "a coordinator that says it is yesterday",
                Known { clock_offset_milliseconds: Some(8 * 86_400_000), ..known(0, 8, 0) },
                true,
            ),
        ] {
            assert_eq!(stale(known), expected, "{case}");
        }
    }

    #[test]
    fn what_is_said_names_the_age_and_a_clock_in_doubt() {
        let Freshness::Stale { message } = judge(&Known { clock_offset_milliseconds: Some(240 * 3_600_000), ..known(0, 10, 0) })
        else {
            panic!("not stale")
        };
        assert!(message.contains("10 days ago") && message.contains("240 hours ahead of the coordinator's"), "{message}");
        let kept_back = judge(&Known { root_version_told: 3, ..known(0, 1, 0) });
        assert!(matches!(kept_back, Freshness::RootKeptBack { message } if message.contains("version 3")));
    }
}
