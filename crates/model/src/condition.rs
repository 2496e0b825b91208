//! Conditions: what holds of an object just now, in the form `kubectl wait` reads.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can tell at the moment.
    Unknown,
}

/// One observation about an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is observed, such as `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One word in CamelCase for programs.
    #[serde(default)]
    pub reason: String,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
    /// When `status` last changed.
    #[schemars(with = "String")]
    pub last_transition_time: Timestamp,
}

/// Sets a condition; the time of transition moves only where the status changes. Says whether anything changed.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    kind: &str,
    status: ConditionStatus,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> bool {
    let wanted = Condition {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: now,
    };
    let Some(present) = conditions.iter_mut().find(|condition| condition.kind == kind) else {
        conditions.push(wanted);
        return true;
    };
    let last_transition_time = if present.status == status { present.last_transition_time } else { now };
    let wanted = Condition { last_transition_time, ..wanted };
    if *present == wanted {
        return false;
    }
    *present = wanted;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_moves_with_the_status_only() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut conditions = Vec::new();
        assert!(set_condition(&mut conditions, "Ready", ConditionStatus::True, "Seen", "", at(1)));
        assert!(!set_condition(&mut conditions, "Ready", ConditionStatus::True, "Seen", "", at(2)));
        assert!(set_condition(&mut conditions, "Ready", ConditionStatus::True, "Seen", "again", at(3)));
        assert_eq!(conditions[0].last_transition_time, at(1));
        assert!(set_condition(&mut conditions, "Ready", ConditionStatus::False, "Silent", "", at(4)));
        assert_eq!(conditions[0].last_transition_time, at(4));
    }
}
