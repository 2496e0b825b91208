//! Moments in bodies: any RFC 3339 offset is taken, and kept in the spelling with `Z` that clients of Kubernetes read.

use jiff::Timestamp;
use serde_json::Value;

/// Fields of Kubernetes' own kinds that hold a moment to the microsecond.
const MICRO_TIME_FIELDS: &[&str] = &["acquireTime", "renewTime", "eventTime", "lastObservedTime"];
/// Fields that hold one to the second.
const TIME_FIELDS: &[&str] = &[
    "firstTimestamp",
    "lastTimestamp",
    "deprecatedFirstTimestamp",
    "deprecatedLastTimestamp",
    "creationTimestamp",
    "deletionTimestamp",
];
/// How deep in a body the fields are looked for.
const DEPTH_MAX: usize = 4;

/// A moment in the spelling of `Time` or of `MicroTime`.
pub(crate) fn spell(moment: Timestamp, micro: bool) -> String {
    if micro { format!("{moment:.6}") } else { format!("{moment:.0}") }
}

/// Rewrites the moments in a body of one of Kubernetes' own kinds. What is no moment stays as it is.
pub(crate) fn normalise(value: &mut Value) {
    normalise_below(value, 0);
}

fn normalise_below(value: &mut Value, depth: usize) {
    let Some(members) = value.as_object_mut() else { return };
    for (name, member) in members.iter_mut() {
        let micro = MICRO_TIME_FIELDS.contains(&name.as_str());
        if micro || TIME_FIELDS.contains(&name.as_str()) {
            let moment = member.as_str().and_then(|text| text.parse::<Timestamp>().ok());
            if let Some(moment) = moment {
                *member = spell(moment, micro).into();
            }
        } else if depth < DEPTH_MAX {
            normalise_below(member, depth.saturating_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn offsets_become_z() {
        let mut lease = json!({
            "metadata": {"creationTimestamp": "2026-11-20T11:13:23+00:00"},
            "spec": {"renewTime": "2026-11-20T12:13:23.344275+01:00", "acquireTime": "never"},
        });
        normalise(&mut lease);
        assert_eq!(lease["metadata"]["creationTimestamp"], "2026-11-20T11:13:23Z");
        assert_eq!(lease["spec"]["renewTime"], "2026-11-20T11:13:23.344275Z");
        assert_eq!(lease["spec"]["acquireTime"], "never");
    }
}
