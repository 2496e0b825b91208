//! Liveness: which machines have fallen silent, and which are back.

use jiff::Timestamp;
use stead_model::ConditionStatus;

/// How often the plan is made, in seconds: well within the 15 s in which a silent machine must be marked.
pub const LIVENESS_PERIOD_SECONDS: u64 = 3;

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
    },
    /// It speaks again.
    Ready {
        /// The machine.
        name: String,
    },
}

/// Which machines must be marked. A coordinator that has just started waits for each machine's limit before it says anything of it.
pub fn plan<'a>(signs: impl IntoIterator<Item = Sign<'a>>, started: Timestamp, now: Timestamp) -> Vec<Mark> {
    let since = |moment: Timestamp| now.as_second().saturating_sub(moment.as_second());
    let mut marks = Vec::new();
    for sign in signs {
        let limit = i64::from(sign.silent_after_seconds);
        let silent_seconds = sign.heard.map(since);
        let speaks = silent_seconds.is_some_and(|seconds| seconds <= limit);
        match sign.ready {
            Some(ConditionStatus::True) | None if !speaks && since(started) > limit => {
                marks.push(Mark::Silent { name: sign.name.to_owned(), seconds: silent_seconds });
            }
            Some(ConditionStatus::True) => {}
            _ if speaks => marks.push(Mark::Ready { name: sign.name.to_owned() }),
            _ => {}
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConditionStatus::{True, Unknown};

    #[test]
    fn marks_follow_the_limit() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let silent = |seconds| Some(Mark::Silent { name: "m".to_owned(), seconds });
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
            let sign = Sign { name: "m", heard: heard.map(at), silent_after_seconds: 30, ready: status };
            assert_eq!(plan([sign], at(0), at(1000)).first(), expected.as_ref(), "{case}");
        }
        let sign = Sign { name: "m", heard: Some(at(0)), silent_after_seconds: 30, ready: Some(True) };
        assert_eq!(plan([sign], at(990), at(1000)), [], "a coordinator that has just started waits");
    }
}
