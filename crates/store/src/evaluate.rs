//! What a transaction does to the record: a pure function of the record, the transaction, its revision and new uids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use stead_model::{ManagedFields, Object, ObjectKey, Revision};

use crate::ring::Event;
use crate::rows::{Operation, Sequence};
use crate::stored::{SEPARATOR, Stored};
use crate::transaction::{
    Anew, CommitError, Entering, Expect, OBJECT_BYTES_MAX, OPERATIONS_PER_TRANSACTION_MAX, Op, Outcome, SignedChange,
    TRANSACTION_BYTES_MAX, Transaction,
};
use crate::view::View;

/// Where new uids come from.
pub(crate) type NewUid<'a> = &'a (dyn Fn() -> String + Send + Sync);

/// What a transaction did to the view it was evaluated on.
#[derive(Debug)]
pub(crate) struct Evaluation {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) events: Vec<Event>,
    pub(crate) sequences: Vec<(ObjectKey, Sequence)>,
    /// Whether there is anything to commit, and so a revision to give.
    pub(crate) changed: bool,
}

/// Applies a transaction to a view, which is spoilt where it fails: hand in a copy.
pub(crate) fn evaluate(
    view: &mut View,
    transaction: &mut Transaction,
    revision: Revision,
    new_uid: NewUid<'_>,
) -> Result<Evaluation, CommitError> {
    within("a transaction (in operations)", transaction.ops.len(), OPERATIONS_PER_TRANSACTION_MAX)?;
    check_standing(view, transaction)?;
    let time = whole_seconds(transaction.time);
    let ops = std::mem::take(&mut transaction.ops);
    let signed = transaction.change.iter().flat_map(|change| &change.entries).map(|entry| &entry.key).collect();
    let mut step = Step { view, revision, time, new_uid, signed, before: BTreeMap::new(), order: Vec::new(), bytes: 0 };
    let outcomes = ops.into_iter().filter_map(|op| step.apply(op).transpose()).collect::<Result<Vec<_>, _>>()?;
    let events = step.events();
    let sequences = match &transaction.change {
        Some(change) => take_sequences(view, change, revision)?,
        None => Vec::new(),
    };
    if let Some(root) = &transaction.root {
        let current = view.newest_root().map_or(0, |root| root.version);
        if root.version != current.saturating_add(1) {
            return Err(CommitError::RootVersion { given: root.version, current });
        }
        view.add_root(root.clone());
    }
    view.leader_term = transaction.lead.unwrap_or(view.leader_term);
    let changed = !events.is_empty() || transaction.change.is_some() || transaction.root.is_some() || transaction.lead.is_some();
    if changed {
        view.revision = revision;
    }
    Ok(Evaluation { outcomes, events, sequences, changed })
}

/// What a transaction takes for granted of the record as a whole.
fn check_standing(view: &View, transaction: &Transaction) -> Result<(), CommitError> {
    let current = view.leader_term;
    if let Some(term) = transaction.fence.filter(|term| *term != current) {
        return Err(CommitError::Deposed { term, current });
    }
    if let Some(term) = transaction.lead.filter(|term| *term != current.saturating_add(1)) {
        return Err(CommitError::Deposed { term, current });
    }
    let current = view.newest_root().map_or(0, |root| root.version);
    if let Some(checked) = transaction.root_version.filter(|checked| *checked != current) {
        return Err(CommitError::RootMoved { checked, current });
    }
    let Some(change) = &transaction.change else { return Ok(()) };
    let texts = [("id", &change.id), ("author", &change.author), ("message", &change.message)];
    match texts.into_iter().find(|(_, text)| text.contains('\0')) {
        Some((what, _)) => Err(CommitError::NulCharacter { what, id: change.id.clone() }),
        None => Ok(()),
    }
}

fn take_sequences(view: &mut View, change: &SignedChange, revision: Revision) -> Result<Vec<(ObjectKey, Sequence)>, CommitError> {
    let mut taken = Vec::with_capacity(change.entries.len());
    for entry in &change.entries {
        check_key(&entry.key)?;
        let current = view.sequence(&entry.key).map_or(0, |sequence| sequence.sequence);
        let follows = match change.entering {
            Entering::Anew => entry.sequence == current.saturating_add(1),
            Entering::Back | Entering::Joining(_) => entry.sequence > current,
        };
        if !follows {
            return Err(CommitError::SequenceTaken { key: entry.key.clone(), signed: entry.sequence, current });
        }
        let deleted = entry.operation == Operation::Delete;
        let sequence = Sequence { sequence: entry.sequence, revision, deleted };
        view.set_sequence(&entry.key, sequence);
        taken.push((entry.key.clone(), sequence));
    }
    Ok(taken)
}

struct Step<'a> {
    view: &'a mut View,
    revision: Revision,
    time: Timestamp,
    new_uid: NewUid<'a>,
    /// The objects that are signed: each has a new sequence, of which whoever follows it has to hear, though nothing else may be new.
    signed: BTreeSet<&'a ObjectKey>,
    /// The objects touched, as they were before the transaction.
    before: BTreeMap<ObjectKey, Option<Arc<Stored>>>,
    /// In the order in which they were first touched.
    order: Vec<ObjectKey>,
    bytes: usize,
}

impl Step<'_> {
    fn apply(&mut self, op: Op) -> Result<Option<Outcome>, CommitError> {
        match op {
            Op::Put { object, expect } => self.put(*object, &expect).map(Some),
            Op::PutOver { object, seen, anew } => {
                let object = self.over(*object, seen, &anew)?;
                self.put(object, &Expect::Any).map(Some)
            }
            Op::PutStatus { key, status, managed_fields, expect } => {
                self.put_status(&key, status, managed_fields, &expect).map(Some)
            }
            Op::Delete { key, expect } => self.delete(&key, &expect).map(Some),
            Op::Check { key, expect } => self.check(&key, self.view.get(&key), &expect).map(|()| None),
        }
    }

    fn check(&self, key: &ObjectKey, current: Option<&Arc<Stored>>, expect: &Expect) -> Result<(), CommitError> {
        let Expect::Sequence(expected) = *expect else { return check(key, current, expect) };
        let current = self.view.sequence(key).map_or(0, |sequence| sequence.sequence);
        if current == expected { Ok(()) } else { Err(CommitError::OtherSequence { key: key.clone(), expected, current }) }
    }

    /// The object over what is there now.
    fn over(&self, object: Object, seen: Option<Revision>, anew: &Anew) -> Result<Object, CommitError> {
        let current = self.view.get(&object.key());
        if current.map(|current| current.revision()) == seen {
            return Ok(object);
        }
        let present = current.map(|current| current.to_object()).transpose()?;
        Ok(anew.make(present.as_ref()))
    }

    fn put(&mut self, mut object: Object, expect: &Expect) -> Result<Outcome, CommitError> {
        let key = object.key();
        check_key(&key)?;
        let current = self.view.get(&key).cloned();
        self.check(&key, current.as_ref(), expect)?;
        let Some(current) = current else {
            self.fill_in_new(&mut object);
            return self.write(&key, object);
        };
        let old = current.to_object()?;
        keep_what_is_not_the_writers(&old, &mut object);
        if object == old && !self.signed.contains(&key) {
            return Ok(Outcome::Unchanged(current));
        }
        if old.metadata.deletion_timestamp.is_some() {
            let added = object.metadata.finalizers.iter().find(|finalizer| !old.metadata.finalizers.contains(finalizer));
            if let Some(finalizer) = added {
                return Err(CommitError::FinalizerWhileDeleting { key, finalizer: finalizer.clone() });
            }
            if object.metadata.finalizers.is_empty() {
                return self.remove(&key);
            }
        }
        if old.api_version != object.api_version || !same_but_status(&old.fields, &object.fields) {
            object.metadata.generation = old.metadata.generation.saturating_add(1);
        }
        self.write(&key, object)
    }

    fn put_status(
        &mut self,
        key: &ObjectKey,
        status: Value,
        managed_fields: Option<Vec<ManagedFields>>,
        expect: &Expect,
    ) -> Result<Outcome, CommitError> {
        let current = self.existing(key, expect)?;
        let mut object = current.to_object()?;
        let same_managers = managed_fields.as_ref().is_none_or(|fields| *fields == object.metadata.managed_fields);
        if *object.status() == status && same_managers {
            return Ok(Outcome::Unchanged(current));
        }
        if let Some(managed_fields) = managed_fields {
            object.metadata.managed_fields = managed_fields;
        }
        if status.is_null() {
            object.fields.remove("status");
        } else {
            object.fields.insert("status".to_owned(), status);
        }
        self.write(key, object)
    }

    fn delete(&mut self, key: &ObjectKey, expect: &Expect) -> Result<Outcome, CommitError> {
        let current = self.existing(key, expect)?;
        // What cannot be read has no finalizers: no object may be impossible to delete.
        let Ok(mut object) = current.to_object() else { return self.remove(key) };
        if object.metadata.finalizers.is_empty() {
            return self.remove(key);
        }
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Unchanged(current));
        }
        object.metadata.deletion_timestamp = Some(self.time);
        object.metadata.deletion_grace_period_seconds = Some(0);
        self.write(key, object)
    }

    fn existing(&self, key: &ObjectKey, expect: &Expect) -> Result<Arc<Stored>, CommitError> {
        let current = self.view.get(key);
        self.check(key, current, expect)?;
        current.cloned().ok_or_else(|| CommitError::NotFound { key: key.clone() })
    }

    fn fill_in_new(&self, object: &mut Object) {
        object.fields.remove("status");
        let metadata = &mut object.metadata;
        metadata.uid = (self.new_uid)();
        metadata.generation = 1;
        metadata.creation_timestamp = Some(self.time);
        metadata.deletion_timestamp = None;
        metadata.deletion_grace_period_seconds = None;
        metadata.self_link.clear();
    }

    fn write(&mut self, key: &ObjectKey, mut object: Object) -> Result<Outcome, CommitError> {
        object.metadata.resource_version = self.revision.to_string();
        let stored = Stored::from_object(&object, self.revision)?;
        within(&format!("{key} (in bytes)"), stored.json().len(), OBJECT_BYTES_MAX)?;
        self.bytes = self.bytes.saturating_add(stored.json().len());
        within("a transaction (in bytes of objects)", self.bytes, TRANSACTION_BYTES_MAX)?;
        self.touch(key);
        Ok(Outcome::Written(self.view.insert(stored)))
    }

    fn remove(&mut self, key: &ObjectKey) -> Result<Outcome, CommitError> {
        self.touch(key);
        let removed = self.view.remove(key).ok_or_else(|| CommitError::NotFound { key: key.clone() })?;
        Ok(Outcome::Deleted(Arc::new(removed.at_revision(self.revision))))
    }

    fn touch(&mut self, key: &ObjectKey) {
        if !self.before.contains_key(key) {
            self.before.insert(key.clone(), self.view.get(key).cloned());
            self.order.push(key.clone());
        }
    }

    /// One event an object, however often it was written; two where it was removed and made anew.
    fn events(mut self) -> Vec<Event> {
        let mut events = Vec::with_capacity(self.order.len());
        for key in &self.order {
            let before = self.before.remove(key).flatten();
            let after = self.view.get(key).cloned();
            match (&before, &after) {
                (Some(old), Some(new)) if old.uid() != new.uid() => {
                    events.extend(Event::between(before, None, self.revision));
                    events.extend(Event::between(None, after, self.revision));
                }
                _ => events.extend(Event::between(before, after, self.revision)),
            }
        }
        events
    }
}

/// A put leaves `status` and what the server filled in as they are.
fn keep_what_is_not_the_writers(old: &Object, new: &mut Object) {
    match old.fields.get("status") {
        Some(status) => new.fields.insert("status".to_owned(), status.clone()),
        None => new.fields.remove("status"),
    };
    let (kept, metadata) = (&old.metadata, &mut new.metadata);
    metadata.uid.clone_from(&kept.uid);
    metadata.resource_version.clone_from(&kept.resource_version);
    metadata.generation = kept.generation;
    metadata.creation_timestamp = kept.creation_timestamp;
    metadata.deletion_timestamp = kept.deletion_timestamp;
    metadata.deletion_grace_period_seconds = kept.deletion_grace_period_seconds;
    metadata.generate_name.clone_from(&kept.generate_name);
    metadata.self_link.clear();
}

fn same_but_status(old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    let meant = |fields: &Map<String, Value>| fields.iter().filter(|(name, _)| *name != "status").count();
    meant(old) == meant(new) && old.iter().all(|(name, value)| name == "status" || new.get(name) == Some(value))
}

fn check(key: &ObjectKey, current: Option<&Arc<Stored>>, expect: &Expect) -> Result<(), CommitError> {
    match (expect, current) {
        // Sequences are looked at where the view is at hand.
        (Expect::Any | Expect::Sequence(_), _) | (Expect::Absent, None) | (Expect::Exists, Some(_)) => Ok(()),
        (Expect::Absent, Some(_)) => Err(CommitError::AlreadyExists { key: key.clone() }),
        (Expect::Exists | Expect::Revision(_) | Expect::Uid(_), None) => Err(CommitError::NotFound { key: key.clone() }),
        (Expect::Revision(expected), Some(current)) if current.revision() != *expected => {
            Err(CommitError::Conflict { key: key.clone(), expected: *expected, current: current.revision() })
        }
        (Expect::Uid(expected), Some(current)) if current.uid() != expected => {
            Err(CommitError::OtherUid { key: key.clone(), expected: expected.as_str().into(), current: current.uid().into() })
        }
        (Expect::Revision(_) | Expect::Uid(_), Some(_)) => Ok(()),
    }
}

/// Names are checked by the API; the store refuses only what its own columns and indexes could not hold.
fn check_key(key: &ObjectKey) -> Result<(), CommitError> {
    let parts = [key.kind.group(), key.kind.kind(), &key.namespace, &key.name];
    let sound = !key.name.is_empty()
        && !key.kind.kind().is_empty()
        && !key.kind.kind().contains('.')
        && !parts.iter().any(|part| part.contains(SEPARATOR));
    if sound { Ok(()) } else { Err(CommitError::InvalidKey { key: key.clone() }) }
}

fn within(what: &str, size: usize, limit: usize) -> Result<(), CommitError> {
    if size <= limit { Ok(()) } else { Err(CommitError::TooLarge { what: what.to_owned(), size, limit }) }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
