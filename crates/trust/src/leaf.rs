//! The leaves of a Change: what happens to one object, and the salted digest of the object as sent.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use stead_model::canonical;
use stead_model::{Digest, GroupKind, Object, ObjectKey};

use crate::document::DocumentError;

/// The longest leaf in bytes: names and digests, nothing that grows.
pub const LEAF_BYTES_MAX: usize = 4 * 1024;
/// The longest object in bytes, as sent: what a Kubernetes client may send.
pub const OBJECT_BYTES_MAX: usize = 1536 * 1024;

/// Whether an object is put or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// The object becomes what was sent.
    Put,
    /// The object goes; its sequence stays.
    Delete,
}

impl fmt::Display for Op {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Put => "put",
            Self::Delete => "delete",
        })
    }
}

/// 32 random bytes that keep a digest from telling what it is of; in text lower-case hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// A salt of 32 random bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of salt and bytes; those of a deleted object are none.
    pub fn digest(&self, object: &[u8]) -> Digest {
        Digest::of_parts(&[&self.0, object])
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match hex::decode_to_slice(&text, &mut bytes) {
            Ok(()) if lower => Ok(Self(bytes)),
            _ => Err(serde::de::Error::custom("a salt is 64 lower-case hexadecimal digits")),
        }
    }
}

/// One entry of a Change, as its Merkle tree holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Leaf {
    /// Group and version, such as `stead.dev/v1`.
    pub api_version: String,
    /// The kind, such as `Machine`.
    pub kind: String,
    /// The namespace; empty for kinds of cluster scope.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Counts the signed changes of this name, from 1.
    pub sequence: u64,
    /// What happens.
    pub op: Op,
    /// Random bytes before the object.
    pub salt: Salt,
    /// The digest of salt and object.
    pub digest: Digest,
}

impl Leaf {
    /// The name of the object.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(GroupKind::from_api_version(&self.api_version, &self.kind), &self.namespace, &self.name)
    }

    /// The canonical bytes, which the tree is over.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] for a sequence that has no canonical form, or a leaf that is too long.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        self.check()?;
        let bytes = canonical::of(self)?;
        if bytes.len() > LEAF_BYTES_MAX { Err(DocumentError::Length { bytes: bytes.len() }) } else { Ok(bytes) }
    }

    /// Reads the bytes of a leaf.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] says what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > LEAF_BYTES_MAX {
            return Err(DocumentError::Length { bytes: bytes.len() });
        }
        let shape = |source| DocumentError::Shape { document_type: "leaf", source };
        let leaf: Self = serde_json::from_value(canonical::parse(bytes)?).map_err(shape)?;
        leaf.check()?;
        Ok(leaf)
    }

    fn check(&self) -> Result<(), DocumentError> {
        let value = |field, message: &str| Err(DocumentError::Value { field, message: message.to_owned() });
        if self.sequence == 0 {
            return value("sequence", "counts from 1");
        }
        if self.name.is_empty() || self.kind.is_empty() || self.api_version.is_empty() {
            return value("name", "apiVersion, kind and name are needed");
        }
        Ok(())
    }

    /// Whether these are the bytes that the leaf commits to: those of the object, or none for a deletion.
    pub fn commits_to(&self, object: Option<&[u8]>) -> bool {
        object.is_some() == (self.op == Op::Put) && self.salt.digest(object.unwrap_or_default()) == self.digest
    }

    /// Reads the object that the leaf commits to. Its bytes must be just what an author signs, and of the leaf's name.
    ///
    /// # Errors
    ///
    /// [`ObjectMismatch`] says what differs.
    pub fn read_object(&self, bytes: &[u8]) -> Result<Object, ObjectMismatch> {
        if bytes.len() > OBJECT_BYTES_MAX {
            return Err(ObjectMismatch::Length { bytes: bytes.len() });
        }
        let object: Object = serde_json::from_slice(bytes)?;
        // One comparison for canonical form, duplicate keys, trailing bytes, and members that are not signed.
        if object.to_signed_bytes().ok().as_deref() != Some(bytes) {
            return Err(ObjectMismatch::NotAsSent);
        }
        let same = object.api_version == self.api_version
            && object.kind == self.kind
            && object.metadata.namespace == self.namespace
            && object.metadata.name == self.name;
        if same { Ok(object) } else { Err(ObjectMismatch::Name { expected: self.key(), found: object.key() }) }
    }
}

/// Why an object is not what its leaf says.
#[derive(Debug, thiserror::Error)]
pub enum ObjectMismatch {
    /// Too long.
    #[error("the object has {bytes} bytes; at most {OBJECT_BYTES_MAX} are read")]
    Length {
        /// How long it is.
        bytes: usize,
    },
    /// Not JSON, or not an object.
    #[error("the object cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Not canonical, or with members that nobody signs.
    #[error(
        "the object is not in the form that is signed: canonical JSON of apiVersion, kind, name, namespace, labels, annotations under stead.dev/, and the fields but status"
    )]
    NotAsSent,
    /// Of another name.
    #[error("the leaf is of {expected}, the object is {found}")]
    Name {
        /// The leaf's.
        expected: ObjectKey,
        /// The object's.
        found: ObjectKey,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn leaf_of(object: &Object) -> (Leaf, Vec<u8>) {
        let bytes = object.to_signed_bytes().unwrap();
        let salt = Salt::from_bytes([7; 32]);
        let leaf = Leaf {
            api_version: object.api_version.clone(),
            kind: object.kind.clone(),
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone(),
            sequence: 1,
            op: Op::Put,
            salt,
            digest: salt.digest(&bytes),
        };
        (leaf, bytes)
    }

    fn profile() -> Object {
        serde_json::from_value(
            json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": "web"}, "spec": {"n": 1}}),
        )
        .unwrap()
    }

    #[test]
    fn a_leaf_commits_to_its_object_only() {
        let (leaf, bytes) = leaf_of(&profile());
        assert!(leaf.commits_to(Some(&bytes)));
        assert!(!leaf.commits_to(Some(&bytes[1..])));
        assert!(!leaf.commits_to(None));
        assert_eq!(leaf.read_object(&bytes).unwrap(), profile());
        let gone = Leaf { op: Op::Delete, digest: leaf.salt.digest(b""), ..leaf };
        assert!(gone.commits_to(None));
        assert!(!gone.commits_to(Some(b"")));
    }

    #[test]
    fn objects_in_another_form_are_refused() {
        let (leaf, bytes) = leaf_of(&profile());
        let text = String::from_utf8(bytes).unwrap();
        for bad in [
            format!("{text} "),
            text.replace(r#""spec""#, r#""spec":{"n":1},"spec""#),
            text.replace("}}", r#"},"status":{}}"#),
            text.replace(r#""name":"web""#, r#""finalizers":["a"],"name":"web""#),
            text.replace("web", "db"),
            text.replace("stead.dev/v1", "stead.dev/v2"),
            text.replace(":1", ":1.0"),
            String::new(),
        ] {
            assert!(leaf.read_object(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn leaves_are_read_strictly() {
        let (leaf, _) = leaf_of(&profile());
        let bytes = leaf.to_bytes().unwrap();
        assert_eq!(Leaf::from_bytes(&bytes).unwrap(), leaf);
        let text = String::from_utf8(bytes).unwrap();
        for bad in [
            text.replace(r#""sequence":1"#, r#""sequence":0"#),
            text.replace(r#""put""#, r#""patch""#),
            text.replace(r#""kind""#, r#""kinds""#),
            text.replace("0707", "07"),
            text.replace('}', r#","zone":1}"#),
            format!("{text}\n"),
        ] {
            assert!(Leaf::from_bytes(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Leaf { sequence: 1 << 53, ..leaf }.to_bytes().is_err());
    }
}
