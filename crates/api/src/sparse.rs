//! Reads a few members of a JSON document and skips the rest: a page of a table looks at a tenth of what its objects hold.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Which members are read; one without members of its own is read whole.
#[derive(Debug, Default)]
pub(crate) struct Wanted(BTreeMap<String, Self>);

impl Wanted {
    /// What some JSON pointers point at. They must not lead through arrays.
    pub(crate) fn at<'a>(pointers: impl IntoIterator<Item = &'a str>) -> Self {
        let mut wanted = Self::default();
        for pointer in pointers {
            let mut place = &mut wanted;
            for part in pointer.split('/').skip(1) {
                place = place.0.entry(part.to_owned()).or_default();
            }
        }
        wanted
    }

    /// Reads them out of a document.
    pub(crate) fn read(&self, json: &[u8]) -> Result<Value, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let value = self.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(value)
    }
}

impl<'de> DeserializeSeed<'de> for &Wanted {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.0.is_empty() { Value::deserialize(deserializer) } else { deserializer.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for &Wanted {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<Name<'de>>()? {
            match self.0.get(name.0.as_ref()) {
                Some(wanted) => {
                    members.insert(name.0.into_owned(), access.next_value_seed(wanted)?);
                }
                None => {
                    access.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    // Where members were expected, anything else has none.
    fn visit_bool<E>(self, _value: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _value: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _value: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _value: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _value: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// A member's name, borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_wanted_is_there() {
        let wanted = Wanted::at(["/metadata/name", "/status/conditions", "/spec/a/b"]);
        let cases = [
            (
                json!({"kind": "X", "metadata": {"name": "n", "labels": {"a": "b"}}, "status": {"conditions": [{"type": "A"}], "x": 1}}),
                json!({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "A"}]}}),
            ),
            (json!({"spec": {"a": "b", "c": 1}}), json!({"spec": {"a": null}})),
            (json!({"spec": [1, {"a": 2}], "metadata": null}), json!({"spec": null, "metadata": null})),
            (json!({"spec": true, "status": 1.5}), json!({"spec": null, "status": null})),
        ];
        for (document, expected) in cases {
            assert_eq!(wanted.read(document.to_string().as_bytes()).unwrap(), expected, "{document}");
        }
        assert!(wanted.read(b"{").is_err());
        assert_eq!(Wanted::at(["/a\"b"]).read(br#"{"a\"b":1}"#).unwrap(), json!({"a\"b": 1}));
    }
}
