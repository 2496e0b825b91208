//! What manifests mean to do to the record: what they put, what they leave as it is, and what left their set.

use std::collections::{BTreeMap, BTreeSet};

use stead_admission::Precondition;
use stead_model::{Object, ObjectKey, registry, validate_label_value};

use crate::change::{self, Deletion, Draft};
use crate::cli::Files;
use crate::client::Client;
use crate::config::Settings;
use crate::difference::{text_of, unified};
use crate::failure::{Failure, FailureKind};
use crate::keyring::Keyring;
use crate::terminal::Terminal;
use crate::{history, manifest};

/// The label that names the set which an object belongs to. Labels are signed, so nobody but its owners moves an object into a set.
pub(crate) const SET_LABEL: &str = "stead.dev/set";

/// What a manifest does to the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Created,
    Configured,
    Unchanged,
}

impl Effect {
    fn of(present: Option<&Object>, wanted: &Object) -> Self {
        match present {
            None => Self::Created,
            Some(present) if present.as_sent() == wanted.as_sent() => Self::Unchanged,
            Some(_) => Self::Configured,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// What manifests mean to do to the record.
pub(crate) struct Intent {
    /// Every object of the manifests, in their order.
    pub(crate) wanted: Vec<Object>,
    /// What is on record of them.
    pub(crate) present: BTreeMap<ObjectKey, Object>,
    /// What is on record of the set and no longer in the manifests.
    pub(crate) pruned: Vec<Object>,
    /// The sequences as they were before the objects were read.
    sequences: BTreeMap<ObjectKey, u64>,
}

impl Intent {
    /// Reads manifests; nothing is asked of the coordinator.
    pub(crate) fn read(files: &Files) -> Result<Vec<Object>, Failure> {
        if let Some(set) = &files.set {
            validate_label_value(set).map_err(|error| Failure::user(format!("--set: {error}")))?;
        }
        let reading = manifest::Reading { namespace: &files.namespace, recursive: files.recursive, may_be_empty: files.prune };
        let mut wanted: Vec<Object> = reading.read(&files.files)?.into_iter().map(|manifest| manifest.object).collect();
        change::check_size(wanted.len(), 0)?;
        for object in &mut wanted {
            join(object, files.set.as_deref())?;
        }
        Ok(wanted)
    }

    /// Holds manifests against the record.
    pub(crate) async fn of(client: &Client, settings: &Settings, wanted: Vec<Object>, files: &Files) -> Result<Self, Failure> {
        let keys: Vec<ObjectKey> = wanted.iter().map(Object::key).collect();
        // Before the objects: a change that comes in between is noticed, and not signed over.
        let mut sequences = history::sequences(client, &keys).await?;
        let present = change::on_record(client, &keys).await?;
        let mut pruned = Vec::new();
        if let (Some(set), true) = (&files.set, files.prune) {
            let keep: BTreeSet<ObjectKey> = keys.into_iter().collect();
            let (left, their) = left(client, settings, set, &keep).await?;
            pruned = left;
            sequences.extend(their);
        }
        if wanted.is_empty() && !pruned.is_empty() && !files.prune_all {
            let set = files.set.as_deref().unwrap_or_default();
            let message = format!("there is no manifest left, so that all {} objects of the set {set:?} would go", pruned.len());
            return Err(Failure::user(message).hint("Is that the right folder? If so, say --prune-all."));
        }
        Ok(Self { wanted, present, pruned, sequences })
    }

    /// What each manifest does, in their order.
    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.wanted.iter().map(|object| Effect::of(self.present.get(&object.key()), object)).collect()
    }

    /// The manifests that do something.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &Object> {
        self.wanted.iter().filter(|object| Effect::of(self.present.get(&object.key()), object) != Effect::Unchanged)
    }

    /// The change that does it. A manifest with a `resourceVersion` is meant for that state of its object only.
    pub(crate) fn draft(&self) -> Draft {
        let deletion = |object: &Object| Deletion { api_version: object.api_version.clone(), key: object.key() };
        let preconditions = self.changed().filter_map(read_at);
        Draft {
            puts: self.changed().cloned().collect(),
            deletes: self.pruned.iter().map(deletion).collect(),
            preconditions: preconditions.collect(),
            sequences: self.sequences.clone(),
        }
    }

    /// The differences that it makes; empty where it makes none.
    pub(crate) fn difference(&self, terminal: Terminal) -> Result<String, Failure> {
        let mut text = String::new();
        for object in &self.wanted {
            let key = object.key();
            let (old, new) = (text_of(self.present.get(&key))?, text_of(Some(object))?);
            text.push_str(&unified(&format!("{key} (on record)"), &format!("{key} (manifest)"), &old, &new, terminal));
        }
        for object in &self.pruned {
            let key = object.key();
            text.push_str(&unified(&format!("{key} (on record)"), "/dev/null (pruned)", &text_of(Some(object))?, "", terminal));
        }
        Ok(text)
    }
}

/// What a manifest with a `resourceVersion` depends on.
pub(crate) fn read_at(object: &Object) -> Option<Precondition> {
    let version = &object.metadata.resource_version;
    (!version.is_empty())
        .then(|| Precondition { resource_version: Some(version.clone()), ..Precondition::of(&object.api_version, &object.key()) })
}

/// Puts an object into a set.
fn join(object: &mut Object, set: Option<&str>) -> Result<(), Failure> {
    let Some(set) = set else { return Ok(()) };
    match object.metadata.labels.insert(SET_LABEL.to_owned(), set.to_owned()) {
        Some(other) if other != set => {
            Err(Failure::user(format!("{} says that it belongs to the set {other:?}, not to {set:?}", object.key()))
                .hint(format!("Take the label {SET_LABEL} out of the manifest, or name that set with --set.")))
        }
        _ => Ok(()),
    }
}

/// What is on record of a set and not to be kept, with its sequences. That it is of the set is believed only where it was signed so: the
/// deletion of what a coordinator names is not signed for its word.
async fn left(
    client: &Client,
    settings: &Settings,
    set: &str,
    keep: &BTreeSet<ObjectKey>,
) -> Result<(Vec<Object>, BTreeMap<ObjectKey, u64>), Failure> {
    let selector = format!("{SET_LABEL}={set}");
    let mut named: Vec<ObjectKey> = Vec::new();
    for info in registry().iter().filter(|info| !info.read_only && stead_admission::is_signed(&info.group_kind())) {
        for item in client.list(info, "", &selector, "").await?.items {
            let object: Object = serde_json::from_value(item).map_err(|error| Failure::internal(error.to_string()))?;
            named.push(ObjectKey::new(info.group_kind(), &object.metadata.namespace, &object.metadata.name));
        }
    }
    named.retain(|key| !keep.contains(key));
    if named.is_empty() {
        return Ok((Vec::new(), BTreeMap::new()));
    }
    let keyring = Keyring::fetch(client, settings).await?;
    let sequences = history::sequences(client, &named).await?;
    let signed = history::signed(client, &keyring, &sequences.clone().into_iter().collect()).await?;
    let mut objects = Vec::new();
    for key in named {
        let sequence = sequences.get(&key).copied().unwrap_or_default();
        let object = match signed.get(&(key.clone(), sequence)) {
            // Deleted already, and waiting for its finalizers.
            Some(history::Signed { object: None, .. }) => continue,
            Some(signed) => signed.object.clone(),
            None => None,
        };
        let of_the_set = |object: &Object| object.metadata.labels.get(SET_LABEL).is_some_and(|label| label == set);
        let Some(object) = object.filter(of_the_set) else {
            let message = format!("{key} is shown as one of the set {set:?}, and nobody signed that");
            return Err(Failure::new(FailureKind::Refused, message)
                .hint("Nothing was done: the record was altered, or it changed just now."));
        };
        objects.push(object);
    }
    Ok((objects, sequences))
}
