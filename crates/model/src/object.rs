//! The shape that every kind shares: `apiVersion`, `kind`, `metadata`, and the kind's own fields.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::canonical::{self, CanonicalError};
use crate::info::Kind;
use crate::{GroupKind, ObjectKey, ObjectMeta, SIGNED_ANNOTATION_PREFIX};

/// An object of any kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Group and version, such as `stead.dev/v1`; the core group is `v1`.
    #[serde(rename = "apiVersion", default)]
    pub api_version: String,
    /// The kind, such as `Machine`.
    #[serde(default)]
    pub kind: String,
    /// Name, labels and the rest of what every object has.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The kind's own fields: `spec` and `status`, or what older kinds have at the top level.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
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
        let mut sent = Self { api_version: self.api_version.clone(), kind: self.kind.clone(), ..Self::default() };
        sent.metadata.name.clone_from(&self.metadata.name);
        sent.metadata.namespace.clone_from(&self.metadata.namespace);
        sent.metadata.labels.clone_from(&self.metadata.labels);
        sent.metadata.annotations = self
            .metadata
            .annotations
            .iter()
            .filter(|(name, _)| name.starts_with(SIGNED_ANNOTATION_PREFIX))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        sent.fields =
            self.fields.iter().filter(|(name, _)| *name != "status").map(|(name, value)| (name.clone(), value.clone())).collect();
        sent
    }

    /// The canonical bytes of [`Object::as_sent`].
    ///
    /// # Errors
    ///
    /// [`ObjectError::Canonical`], for example for a number that is not an integer up to 2^53-1.
    pub fn to_signed_bytes(&self) -> Result<Vec<u8>, ObjectError> {
        canonical::of(&self.as_sent()).map_err(|source| ObjectError::Canonical { key: self.key(), source })
    }
}
