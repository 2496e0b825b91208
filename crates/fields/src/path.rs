//! Where in an object: the steps of a path, as they are written in FieldsV1 and as people read them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

/// Fields that tell the items of one list apart: Kubernetes' own kinds have three at most.
const KEY_FIELDS_MAX: usize = 16;

/// What an item of a list is told by: a value without members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scalar {
    Null,
    Boolean(bool),
    /// In the one spelling that JSON has here for it.
    Number(String),
    Text(String),
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    /// A field of a struct or a member of a map.
    Field(String),
    /// The item of a list whose fields have these values.
    Key(BTreeMap<String, Scalar>),
    /// The item of a set.
    Value(Scalar),
    /// The item at a place of a list. Nothing here makes one; other servers' sets may hold them.
    Index(u64),
}

/// Why a step cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no step of a path: expected {expected}")]
pub(crate) struct StepError {
    text: String,
    expected: &'static str,
}

impl Scalar {
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(value) => Some(Self::Boolean(*value)),
            Value::Number(number) => Some(Self::Number(number.to_string())),
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// As JSON.
    pub(crate) fn to_json(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(value) => value.to_string(),
            Self::Number(number) => number.clone(),
            Self::Text(text) => quoted(text),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::of(&value).ok_or_else(|| D::Error::custom("expected a value without members"))
    }
}

/// The fields of a key: strictly, no field twice.
struct KeyFields(BTreeMap<String, Scalar>);

impl<'de> Deserialize<'de> for KeyFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = KeyFields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the fields of a key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<KeyFields, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = access.next_entry::<String, Scalar>()? {
                    if fields.len() >= KEY_FIELDS_MAX || fields.insert(name, value).is_some() {
                        return Err(A::Error::custom("a field stands there twice, or there are too many"));
                    }
                }
                if fields.is_empty() { Err(A::Error::custom("a key has fields")) } else { Ok(KeyFields(fields)) }
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// The names of FieldsV1: `f:spec`, `k:{"name":"x"}`, `v:"x"`, `i:3`.
impl FromStr for Step {
    type Err = StepError;

    fn from_str(text: &str) -> Result<Self, StepError> {
        let wrong = |expected| StepError { text: text.chars().take(80).collect(), expected };
        match text.split_once(':') {
            Some(("f", name)) => Ok(Self::Field(name.to_owned())),
            Some(("k", key)) => {
                let fields: KeyFields = serde_json::from_str(key).map_err(|_| wrong("`k:` and an object of plain values"))?;
                Ok(Self::Key(fields.0))
            }
            Some(("v", value)) => serde_json::from_str(value).map(Self::Value).map_err(|_| wrong("`v:` and a plain value")),
            Some(("i", index)) => index.parse().map(Self::Index).map_err(|_| wrong("`i:` and a number")),
            _ => Err(wrong("`f:`, `k:`, `v:` or `i:`")),
        }
    }
}

impl Step {
    /// The name in FieldsV1.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let members: Vec<String> =
                    fields.iter().map(|(name, value)| format!("{}:{}", quoted(name), value.to_json())).collect();
                format!("k:{{{}}}", members.join(","))
            }
            Self::Value(value) => format!("v:{}", value.to_json()),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

/// As people read it after the steps before: `.spec`, `[name="x"]`, `["x"]`, `[3]`.
impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(formatter, ".{name}"),
            Self::Key(fields) => {
                let members: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", value.to_json())).collect();
                write!(formatter, "[{}]", members.join(","))
            }
            Self::Value(value) => write!(formatter, "[={}]", value.to_json()),
            Self::Index(index) => write!(formatter, "[{index}]"),
        }
    }
}

/// A path in words, such as `.spec.files[path="/etc/motd"].content`.
pub(crate) fn path_text(path: &[Step]) -> String {
    path.iter().map(Step::to_string).collect()
}

pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_read_as_they_are_written() {
        for (name, shown) in [
            ("f:spec", ".spec"),
            ("f:", "."),
            ("f:a:b", ".a:b"),
            (r#"k:{"name":"x"}"#, r#"[name="x"]"#),
            (r#"k:{"name":"x","port":1}"#, r#"[name="x",port=1]"#),
            (r#"v:"stead.dev/f""#, r#"[="stead.dev/f"]"#),
            ("v:true", "[=true]"),
            ("v:null", "[=null]"),
            ("i:3", "[3]"),
        ] {
            let step: Step = name.parse().unwrap();
            assert_eq!((step.name().as_str(), step.to_string().as_str()), (name, shown));
        }
        assert_eq!(r#"k:{"b":1,"a":2}"#.parse::<Step>().unwrap().name(), r#"k:{"a":2,"b":1}"#);
    }

    #[test]
    fn what_is_no_step_is_refused() {
        for text in [
            "",
            "spec",
            "x:1",
            "k:",
            "k:{}",
            "k:[]",
            r#"k:{"a":{}}"#,
            r#"k:{"a":1,"a":2}"#,
            "v:",
            "v:[]",
            "v:{}",
            "i:-1",
            "i:x",
            "v:1 2",
        ] {
            assert!(text.parse::<Step>().is_err(), "{text}");
        }
    }
}
