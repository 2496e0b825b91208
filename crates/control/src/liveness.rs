//! Liveness: which machines have fallen silent, and which are back.

use jiff::Timestamp;
use stead_model::ConditionStatus;

/// How often the plan is made, in seconds: well within the 15 s in which a silent machine must be marked.
pub const LIVENESS_PERIOD_SECONDS: u64 = 3;

/// By how many seconds a sign of life may be late before the machine counts as slow: more than the network, a busy moment and whole seconds
/// explain, and less than it takes until a connection on which nothing comes is given up.
pub const LATE_SECONDS: i64 = 3;
/// How many signs of life in time end slowness: one good moment in between does not.
const IN_TIME_BEATS: u32 = 3;

/// How a connected machine keeps the time that it was given between two signs of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    last: Timestamp,
    late: Option<Lateness>,
    in_time: u32,
}

/// Since when a machine has been late, and by how much last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lateness {
    /// Since when.
    pub since: Timestamp,
    /// By how many seconds the latest sign of life was late.
    pub seconds: i64,
}

impl Pace {
    /// Of a machine that has just connected.
    pub const fn new(now: Timestamp) -> Self {
        Self { last: now, late: None, in_time: 0 }
    }

    /// It has connected anew: what it was late with before counts still.
    pub const fn connected(&mut self, now: Timestamp) {
        self.last = now;
        self.in_time = 0;
    }

    /// A sign of life has come.
    pub fn beat(&mut self, beat_seconds: u32, now: Timestamp) {
        let late = self.late_by(beat_seconds, now);
        self.last = now;
        if late > LATE_SECONDS {
            let since = self.late.map_or(now, |lateness| lateness.since);
            self.late = Some(Lateness { since, seconds: late });
            self.in_time = 0;
        } else {
            self.in_time = self.in_time.saturating_add(1);
            if self.in_time >= IN_TIME_BEATS {
                self.late = None;
            }
        }
    }

    /// Whether it is slow now: late again and again, or late with the next one.
    pub fn lateness(&self, beat_seconds: u32, now: Timestamp) -> Option<Lateness> {
        let late = self.late_by(beat_seconds, now);
        match self.late {
            Some(lateness) => Some(Lateness { seconds: lateness.seconds.max(late), ..lateness }),
            None if late > LATE_SECONDS => Some(Lateness { since: now, seconds: late }),
            None => None,
        }
    }

    fn late_by(&self, beat_seconds: u32, now: Timestamp) -> i64 {
        now.as_second().saturating_sub(self.last.as_second()).saturating_sub(i64::from(beat_seconds))
    }
}

/// What is known of a machine when the plan is made.
#[derive(Clone, Debug)]
pub struct Sign<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it was last heard, in this coordinator's life or by its status; none if never.
    pub heard: Option<Timestamp>,
    /// Its limit.
    pub silent_after_seconds: u32,
    /// Its `Ready` condition as it stands.
    pub ready: Option<ConditionStatus>,
    /// Whether it is marked as slow.
    pub marked_slow: bool,
    /// Whether it speaks later than it should.
    pub late: Option<Lateness>,
    /// Whether its connection is open.
    pub connected: bool,
    /// What is known of its connection, in words.
    pub connection: &'a str,
}

/// A mark to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It has been silent for longer than its limit: for how many seconds.
    Silent {
        /// The machine.
        name: String,
        /// Seconds since it was heard, or none if it never was.
        seconds: Option<i64>,
        /// What is known of its connection.
        connection: String,
    },
    /// It speaks, and later than it should.
    Slow {
        /// The machine.
        name: String,
        /// Since when, and by how much.
        late: Lateness,
    },
    /// It speaks again, or in time again.
    Ready {
        /// The machine.
        name: String,
    },
}

impl Mark {
    /// The machine.
    pub fn name(&self) -> &str {
        let (Self::Silent { name, .. } | Self::Slow { name, .. } | Self::Ready { name }) = self;
        name
    }

    /// As metrics count it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Silent { .. } => "Silent",
            Self::Slow { .. } => "Slow",
            Self::Ready { .. } => "Ready",
        }
    }
}

/// Which machines must be marked. A coordinator that has just started waits for each machine's limit before it says anything of it.
pub fn plan<'a>(signs: impl IntoIterator<Item = Sign<'a>>, started: Timestamp, now: Timestamp) -> Vec<Mark> {
    let since = |moment: Timestamp| now.as_second().saturating_sub(moment.as_second());
    let mut marks = Vec::new();
    for sign in signs {
        let limit = i64::from(sign.silent_after_seconds);
        let silent_seconds = sign.heard.map(since);
        let speaks = silent_seconds.is_some_and(|seconds| seconds <= limit);
        let name = || sign.name.to_owned();
        match (sign.ready, sign.late) {
            (Some(ConditionStatus::True) | None, _) if !speaks && since(started) > limit => {
                marks.push(Mark::Silent { name: name(), seconds: silent_seconds, connection: sign.connection.to_owned() });
            }
            (_, Some(late)) if speaks && sign.connected && !sign.marked_slow => marks.push(Mark::Slow { name: name(), late }),
            (Some(ConditionStatus::True), None) if speaks && sign.connected && sign.marked_slow => {
                marks.push(Mark::Ready { name: name() })
            }
            (Some(ConditionStatus::True), _) => {}
            _ if speaks && (sign.late.is_none() || !sign.connected) => marks.push(Mark::Ready { name: name() }),
            _ => {}
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConditionStatus::{True, Unknown};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sign(heard: Option<i64>, ready: Option<ConditionStatus>) -> Sign<'static> {
        let heard = heard.map(at);
        Sign {
            name: "m",
            heard,
            silent_after_seconds: 30,
            ready,
            marked_slow: false,
            late: None,
            connected: true,
            connection: "it is open",
        }
    }

    #[test]
    fn marks_follow_the_limit() {
        let silent = |seconds| Some(Mark::Silent { name: "m".to_owned(), seconds, connection: "it is open".to_owned() });
        let ready = Some(Mark::Ready { name: "m".to_owned() });
        let cases = [
            ("speaks", Some(990), Some(True), None),
            ("at the limit", Some(970), Some(True), None),
            ("past the limit", Some(969), Some(True), silent(Some(31))),
            ("marked already", Some(900), Some(Unknown), None),
            ("back", Some(999), Some(Unknown), ready.clone()),
            ("new and heard", Some(999), None, ready),
            ("never heard", None, None, silent(None)),
        ];
        for (case, heard, status, expected) in cases {
            assert_eq!(plan([sign(heard, status)], at(0), at(1000)).first(), expected.as_ref(), "{case}");
        }
        assert_eq!(plan([sign(Some(0), Some(True))], at(990), at(1000)), [], "a coordinator that has just started waits");
    }

    #[test]
    fn slow_is_told_from_silent() {
        let late = Lateness { since: at(990), seconds: 9 };
        let slow = Sign { late: Some(late), ..sign(Some(985), Some(True)) };
        let marked = Sign { marked_slow: true, ..slow.clone() };
        let mark = |sign: &Sign<'static>| plan([sign.clone()], at(0), at(1000)).first().map(Mark::word);
        assert_eq!(mark(&slow), Some("Slow"));
        assert_eq!(mark(&marked), None, "said once");
        assert_eq!(mark(&Sign { late: None, ..marked.clone() }), Some("Ready"), "in time again");
        assert_eq!(mark(&Sign { late: None, connected: false, ..marked.clone() }), None, "gone is not in time");
        assert_eq!(mark(&Sign { connected: false, ..slow.clone() }), None, "gone is not slow");
        assert_eq!(mark(&Sign { heard: Some(at(900)), ..marked }), Some("Silent"), "slow, and then nothing");
        assert_eq!(mark(&Sign { ready: Some(Unknown), ..slow.clone() }), Some("Slow"), "back, and slow");
    }

    #[test]
    fn a_machine_is_slow_from_a_late_word_until_some_came_in_time() {
        let mut pace = Pace::new(at(0));
        for (second, slow) in [(10, false), (20, false), (31, false), (50, true), (60, true), (70, true), (80, false)] {
            pace.beat(10, at(second));
            assert_eq!(pace.lateness(10, at(second)).is_some(), slow, "at {second}");
        }
        assert_eq!(pace.lateness(10, at(93)), None);
        assert_eq!(pace.lateness(10, at(94)), Some(Lateness { since: at(94), seconds: 4 }), "the next one is late already");
    }
}
