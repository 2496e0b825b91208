//! The shape that every kind shares: `apiVersion`, `kind`, `metadata`, and the kind's own fields.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::canonical::{self, CanonicalError};
use crate::info::Kind;
use crate::{GroupKind, ObjectKey, ObjectMeta, SIGNED_ANNOTATION_PREFIX};

/// An object of any kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Object {
    /// Group and version, such as `stead.dev/v1`; the core group is `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// The kind, such as `Machine`.
    pub kind: String,
    /// Name, labels and the rest of what every object has.
    pub metadata: ObjectMeta,
    /// The kind's own fields: `spec` and `status`, or what older kinds have at the top level.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// Reads member by member: `serde`'s own way with a flattened map keeps all of an object aside first, and takes three times as long.
impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with apiVersion, kind and metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object, A::Error> {
        let (mut api_version, mut kind, mut metadata, mut fields) = (None, None, None, Map::new());
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "apiVersion" => once(&mut api_version, "apiVersion", &mut members)?,
                "kind" => once(&mut kind, "kind", &mut members)?,
                "metadata" => once(&mut metadata, "metadata", &mut members)?,
                _ => {
                    let value = members.next_value()?;
                    fields.insert(name, value);
                }
            }
        }
        Ok(Object {
            api_version: api_version.unwrap_or_default(),
            kind: kind.unwrap_or_default(),
            metadata: metadata.unwrap_or_default(),
            fields,
        })
    }
}

fn once<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    place: &mut Option<T>,
    name: &'static str,
    members: &mut A,
) -> Result<(), A::Error> {
    if place.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    *place = Some(members.next_value()?);
    Ok(())
}

/// Why an object could not be turned into another form.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The fields do not fit the kind.
    #[error("{key}: {source}")]
    Shape {
        /// The object.
        key: ObjectKey,
        /// What did not fit.
        source: serde_json::Error,
    },
    /// It has no canonical form.
    #[error("{key}: {source}")]
    Canonical {
        /// The object.
        key: ObjectKey,
        /// Why not.
        source: CanonicalError,
    },
}

impl Object {
    /// The object's name in the record.
    pub fn key(&self) -> ObjectKey {
        ObjectKey { kind: self.group_kind(), namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }

    /// The kind with its group.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::from_api_version(&self.api_version, &self.kind)
    }

    /// `spec`, or null where there is none.
    pub fn spec(&self) -> &Value {
        self.fields.get("spec").unwrap_or(&Value::Null)
    }

    /// `status`, or null where there is none.
    pub fn status(&self) -> &Value {
        self.fields.get("status").unwrap_or(&Value::Null)
    }

    /// Reads the object as its typed kind.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Shape`] where the fields do not fit; an object that came through [`crate::KindInfo::parse`] fits.
    pub fn to_typed<K: Kind + DeserializeOwned>(&self) -> Result<K, ObjectError> {
        let shape = |source| ObjectError::Shape { key: self.key(), source };
        serde_json::from_value(serde_json::to_value(self).map_err(shape)?).map_err(shape)
    }

    /// Makes an object of a typed kind; `apiVersion` and `kind` are filled in.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Shape`] where the kind does not serialise as an object.
    pub fn from_typed<K: Kind + Serialize>(typed: &K) -> Result<Self, ObjectError> {
        let key = ObjectKey::new(GroupKind::new(K::GROUP, K::KIND), "", "");
        let shape = |source| ObjectError::Shape { key: key.clone(), source };
        let mut object: Self = serde_json::from_value(serde_json::to_value(typed).map_err(shape)?).map_err(shape)?;
        object.api_version = crate::info::api_version(K::GROUP, K::VERSION);
        object.kind = K::KIND.to_owned();
        Ok(object)
    }

    /// The part of the object that its author means and signs: `apiVersion`, `kind`, name, namespace, labels, annotations under
    /// `stead.dev/`, and the fields but `status`. Nothing is defaulted or rewritten.
    #[must_use]
    pub fn as_sent(&self) -> Self {
        let sent = self.sent();
        let fields = sent.fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).clone())).collect();
        Self { api_version: self.api_version.clone(), kind: self.kind.clone(), metadata: sent.metadata, fields }
    }

    fn sent(&self) -> Sent<'_> {
        let annotations = self.metadata.annotations.iter().filter(|(name, _)| name.starts_with(SIGNED_ANNOTATION_PREFIX));
        let metadata = ObjectMeta {
            name: self.metadata.name.clone(),
            namespace: self.metadata.namespace.clone(),
            labels: self.metadata.labels.clone(),
            annotations: annotations.map(|(name, value)| (name.clone(), value.clone())).collect(),
            ..ObjectMeta::default()
        };
        let fields =
            self.fields.iter().filter(|(name, _)| *name != "status").map(|(name, value)| (name.as_str(), value)).collect();
        Sent { api_version: &self.api_version, kind: &self.kind, metadata, fields }
    }

    /// The canonical bytes of [`Object::as_sent`].
    ///
    /// # Errors
    ///
    /// [`ObjectError::Canonical`], for example for a number that is not an integer up to 2^53-1.
    pub fn to_signed_bytes(&self) -> Result<Vec<u8>, ObjectError> {
        canonical::of(&self.sent()).map_err(|source| ObjectError::Canonical { key: self.key(), source })
    }
}

/// What of an object is signed, with its fields where they are.
#[derive(Serialize)]
struct Sent<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'a str,
    kind: &'a str,
    metadata: ObjectMeta,
    #[serde(flatten)]
    fields: BTreeMap<&'a str, &'a Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_in_any_order_and_each_once() {
        let text = r#"{"spec": {"a": [1, null]}, "kind": "K", "metadata": {"name": "n"}, "apiVersion": "v1", "data": null}"#;
        let object: Object = serde_json::from_str(text).unwrap();
        assert_eq!((object.api_version.as_str(), object.kind.as_str(), object.metadata.name.as_str()), ("v1", "K", "n"));
        assert_eq!(Value::Object(object.fields.clone()), serde_json::json!({"spec": {"a": [1, null]}, "data": null}));
        assert_eq!(serde_json::from_value::<Object>(serde_json::to_value(&object).unwrap()).unwrap(), object);
        assert_eq!(serde_json::from_str::<Object>("{}").unwrap(), Object::default());
        for wrong in [r#"{"kind": "K", "kind": "K"}"#, r#"{"metadata": null}"#, r#"{"kind": 1}"#, "[]", "null"] {
            assert!(serde_json::from_str::<Object>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_signed_leaves_out_what_the_author_does_not_say() {
        let object: Object = serde_json::from_value(serde_json::json!({
            "apiVersion": "v1", "kind": "K", "spec": {"b": 1, "a": 2}, "status": {"c": 3},
            "metadata": {
                "name": "n", "namespace": "s", "uid": "u", "labels": {"l": "v"}, "finalizers": ["f"],
                "annotations": {"stead.dev/note": "x", "other": "y"},
            },
        }))
        .unwrap();
        let expected = r#"{"apiVersion":"v1","kind":"K","metadata":{"annotations":{"stead.dev/note":"x"},"labels":{"l":"v"},"name":"n","namespace":"s"},"spec":{"a":2,"b":1}}"#;
        assert_eq!(String::from_utf8(object.to_signed_bytes().unwrap()).unwrap(), expected);
        assert_eq!(serde_json::to_value(object.as_sent()).unwrap(), serde_json::from_str::<Value>(expected).unwrap());
    }
}
