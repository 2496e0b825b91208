//! FieldsV1, the JSON form of a set of fields. It comes from clients as well, so that it is read strictly and within bounds.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use stead_model::FieldsV1;

use crate::path::{Step, quoted};
use crate::set::FieldSet;

/// Bytes of one set: no more than the object that it speaks of may have.
pub(crate) const FIELDS_BYTES_MAX: usize = 1_572_864;
/// Steps within steps: our deepest kind has 6; what has no schema may have more.
pub(crate) const FIELDS_DEPTH_MAX: usize = 64;

/// The member that stands for the node itself.
const SELF: &str = ".";

/// Why a set of fields cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FieldsError {
    #[error("it has {0} bytes; {FIELDS_BYTES_MAX} is the limit")]
    TooLarge(usize),
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
}

/// Reads a set.
pub(crate) fn decode(text: &str) -> Result<FieldSet, FieldsError> {
    if text.len() > FIELDS_BYTES_MAX {
        return Err(FieldsError::TooLarge(text.len()));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let node = Members { depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(node.below)
}

/// What a JSON object of FieldsV1 says: whether its node is a member, and what is below.
struct Read {
    member: bool,
    below: FieldSet,
    empty: bool,
}

struct Members {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Read;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Read, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Read;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Read, A::Error> {
        if self.depth > FIELDS_DEPTH_MAX {
            return Err(A::Error::custom(format!("fields stand within fields more than {FIELDS_DEPTH_MAX} deep")));
        }
        let mut read = Read { member: false, below: FieldSet::default(), empty: true };
        while let Some(name) = access.next_key::<String>()? {
            read.empty = false;
            let inner = access.next_value_seed(Self { depth: self.depth.saturating_add(1) })?;
            if name == SELF {
                if self.depth == 0 || read.member || !inner.empty {
                    return Err(A::Error::custom("\".\" stands once in a field, and empty"));
                }
                read.member = true;
                continue;
            }
            let step: Step = name.parse().map_err(A::Error::custom)?;
            // What says nothing of itself or of what is below is a leaf.
            if !read.below.put(step, inner.member || inner.empty, inner.below) {
                return Err(A::Error::custom(format!("{name:?} stands there twice")));
            }
        }
        Ok(read)
    }
}

/// Writes a set, its members in order.
pub(crate) fn encode(set: &FieldSet) -> String {
    let mut out = String::new();
    write(set, false, &mut out);
    out
}

/// A set as an entry of `managedFields` holds it.
pub(crate) fn to_fields(set: &FieldSet) -> Option<FieldsV1> {
    FieldsV1::from_json(encode(set)).ok()
}

fn write(set: &FieldSet, member: bool, out: &mut String) {
    out.push('{');
    let mut first = true;
    if member && !set.is_empty() {
        out.push_str("\".\":{}");
        first = false;
    }
    for (step, member, below) in set.iter() {
        if !first {
            out.push(',');
        }
        first = false;
        out.push_str(&quoted(&step.name()));
        out.push(':');
        write(below, member, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_kubernetes_writes_reads_and_writes_the_same() {
        let text = r#"{"f:metadata":{"f:finalizers":{"v:\"stead.dev/f\"":{}},"f:labels":{"f:l":{}}},"f:spec":{"f:args":{},"f:env":{"f:A":{}},"f:free":{"f:n":{".":{},"f:m":{}}},"f:ports":{"k:{\"name\":\"x\"}":{".":{},"f:name":{},"f:port":{}}},"f:tags":{"v:\"t1\"":{}}}}"#;
        let set = decode(text).unwrap();
        assert_eq!(encode(&set), text);
        assert_eq!(set.len(), 10);
        assert_eq!(decode("{}").unwrap(), FieldSet::default());
    }

    #[test]
    fn what_is_not_fields_is_refused() {
        for text in [
            "",
            "[]",
            "null",
            "{",
            "{} {}",
            r#"{".":{}}"#,
            r#"{"f:a":1}"#,
            r#"{"f:a":null}"#,
            r#"{"a":{}}"#,
            r#"{"f:a":{".":{"f:b":{}}}}"#,
            r#"{"f:a":{".":{},".":{}}}"#,
            r#"{"f:a":{},"f:a":{}}"#,
            r#"{"k:{\"b\":1,\"a\":2}":{},"k:{\"a\":2,\"b\":1}":{}}"#,
        ] {
            assert!(decode(text).is_err(), "{text}");
        }
        let deep = |depth: usize| format!("{}{}{}", r#"{"f:a":"#.repeat(depth), "{}", "}".repeat(depth));
        assert!(decode(&deep(FIELDS_DEPTH_MAX)).is_ok());
        assert!(decode(&deep(FIELDS_DEPTH_MAX + 1)).is_err());
        let large = format!(r#"{{"f:{}":{{}}}}"#, "a".repeat(FIELDS_BYTES_MAX));
        assert!(matches!(decode(&large), Err(FieldsError::TooLarge(_))));
    }

    #[test]
    fn fuzz_fields() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            if let Ok(set) = decode(&text) {
                assert_eq!(decode(&encode(&set)).ok(), Some(set));
            }
        });
    }

    proptest! {
        #[test]
        fn every_set_survives(set in crate::set::tests::any_set()) {
            prop_assert_eq!(decode(&encode(&set)).unwrap(), set);
        }
    }
}
