//! One object as the view keeps it: its JSON as compact bytes, beside what selection needs, shared where it repeats.

use std::any::Any;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Deserialize;
use stead_model::{GroupKind, Object, ObjectKey, Revision};

/// Sorts below every character that a name or a label may hold, so that one string compares like the pair.
pub(crate) const SEPARATOR: char = '\0';
/// The least string above every string that starts with a prefix and [`SEPARATOR`].
pub(crate) const AFTER_SEPARATOR: char = '\u{1}';

/// Namespace and name in one shared allocation, ordered by namespace, then name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Name(Arc<str>);

impl Name {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self(join(namespace, name).into())
    }

    pub(crate) fn namespace(&self) -> &str {
        self.0.split_once(SEPARATOR).map_or("", |(namespace, _)| namespace)
    }

    pub(crate) fn name(&self) -> &str {
        self.0.split_once(SEPARATOR).map_or(&self.0, |(_, name)| name)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A label's key and value in one allocation, which every object that has the label shares.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Label(Arc<str>);

impl Label {
    pub(crate) fn new(key: &str, value: &str) -> Self {
        Self(join(key, value).into())
    }

    pub(crate) fn pair(&self) -> (&str, &str) {
        self.0.split_once(SEPARATOR).unwrap_or((&self.0, ""))
    }
}

impl Label {
    /// Whether it is the pair that [`join`] made one string of.
    pub(crate) fn is(&self, joined: &str) -> bool {
        *self.0 == *joined
    }
}

impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Two parts as the one string that stands for them in the indexes.
pub(crate) fn join(first: &str, second: &str) -> String {
    let mut joined = String::with_capacity(first.len().saturating_add(second.len()).saturating_add(1));
    joined.push_str(first);
    joined.push(SEPARATOR);
    joined.push_str(second);
    joined
}

/// An object of the record, at one revision. It never changes; a write makes another one.
#[derive(Debug)]
pub struct Stored {
    kind: GroupKind,
    name: Name,
    uid: Box<str>,
    revision: Revision,
    labels: Box<[Label]>,
    json: Bytes,
    /// What those who show the object made of it.
    kept: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// The JSON of a stored object does not have the shape of an object.
#[derive(Debug, thiserror::Error)]
#[error("the record holds {key} in a form that cannot be read ({source}); restore it from a backup or delete its row")]
pub struct MalformedObject {
    /// The object.
    pub key: ObjectKey,
    /// What is wrong with it.
    pub source: serde_json::Error,
}

/// The part of an object that is read when it is loaded.
#[derive(Deserialize)]
struct Glance {
    #[serde(default)]
    metadata: GlanceMeta,
}

#[derive(Default, Deserialize)]
struct GlanceMeta {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl Stored {
    /// From a row of the record.
    pub(crate) fn from_json(key: &ObjectKey, uid: &str, revision: Revision, json: Bytes) -> Result<Self, MalformedObject> {
        let glance: Glance = serde_json::from_slice(&json).map_err(|source| MalformedObject { key: key.clone(), source })?;
        let labels = glance.metadata.labels.unwrap_or_default();
        Ok(Self {
            kind: key.kind.clone(),
            name: Name::new(&key.namespace, &key.name),
            uid: uid.into(),
            revision,
            labels: labels.iter().map(|(key, value)| Label::new(key, value)).collect(),
            json,
            kept: OnceLock::new(),
        })
    }

    /// From an object that was just written; its metadata is complete.
    pub(crate) fn from_object(object: &Object, revision: Revision) -> Result<Self, MalformedObject> {
        let json = serde_json::to_vec(object).map_err(|source| MalformedObject { key: object.key(), source })?;
        Ok(Self {
            kind: object.group_kind(),
            name: Name::new(&object.metadata.namespace, &object.metadata.name),
            uid: object.metadata.uid.as_str().into(),
            revision,
            labels: object.metadata.labels.iter().map(|(key, value)| Label::new(key, value)).collect(),
            json: Bytes::from(json.into_boxed_slice()),
            kept: OnceLock::new(),
        })
    }

    /// The same object with another `resourceVersion`: how a watcher is told of a deletion.
    pub(crate) fn at_revision(&self, revision: Revision) -> Self {
        let moved = self.to_object().and_then(|mut object| {
            object.metadata.resource_version = revision.to_string();
            Self::from_object(&object, revision)
        });
        // An object that somebody broke behind the coordinator's back can still be deleted: it is told of as it is.
        moved.unwrap_or_else(|_| Self {
            kind: self.kind.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            revision,
            labels: self.labels.clone(),
            json: self.json.clone(),
            kept: OnceLock::new(),
        })
    }

    /// Shares the allocations of kind, name and labels with what the view has already.
    pub(crate) fn share(&mut self, kind: &GroupKind, name: &Name, share_label: impl FnMut(&mut Label)) {
        self.kind = kind.clone();
        self.name = name.clone();
        self.labels.iter_mut().for_each(share_label);
    }

    /// The kind.
    pub fn kind(&self) -> &GroupKind {
        &self.kind
    }

    /// The namespace; empty for kinds of cluster scope.
    pub fn namespace(&self) -> &str {
        self.name.namespace()
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.name.name()
    }

    /// Kind, namespace and name.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.kind.clone(), self.namespace(), self.name())
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The revision of the object's last write, which is its `metadata.resourceVersion`.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The labels, ordered by key.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(Label::pair)
    }

    /// The value of one label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels().find(|(have, _)| *have == key).map(|(_, value)| value)
    }

    /// The whole object as compact JSON, metadata and status included.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The whole object.
    ///
    /// # Errors
    ///
    /// [`MalformedObject`] where somebody wrote something else into the record behind the coordinator's back.
    pub fn to_object(&self) -> Result<Object, MalformedObject> {
        serde_json::from_slice(&self.json).map_err(|source| MalformedObject { key: self.key(), source })
    }

    /// What was made of the object and [kept](Self::keep), where it is of this type.
    pub fn kept<T: Any>(&self) -> Option<&T> {
        self.kept.get()?.downcast_ref()
    }

    /// Keeps something that was made of the object for as long as the object, so that it is made once. The first that is kept stays;
    /// `None` where that is of another type.
    pub fn keep<T: Any + Send + Sync>(&self, made: T) -> Option<&T> {
        self.kept.get_or_init(|| Box::new(made)).downcast_ref()
    }

    pub(crate) fn shared_name(&self) -> &Name {
        &self.name
    }

    pub(crate) fn shared_labels(&self) -> &[Label] {
        &self.labels
    }
}
