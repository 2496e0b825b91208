//! A Change as an object that clients read.

use jiff::Timestamp;
use stead_model::{ChangeEntry, ChangeSpec, ChangeStatus, Digest, Object, ObjectKey, ObjectMeta, Revision};
use stead_store::{Change, Entry, Operation, SignedChange};
use stead_trust::{Authorship, ChangeStatement};

use crate::encoding::decode_signatures;
use crate::error::WriteError;

/// The object of a Change on record, with its entries.
///
/// # Errors
///
/// [`WriteError::Invalid`] where the record's statement cannot be read.
pub fn change_object(change: &Change, entries: &[Entry]) -> Result<Object, WriteError> {
    let Change { revision, id, statement, signatures, time, .. } = change;
    let said = Said { id, statement, signatures, time: *time };
    object(&said, *revision, entries.iter().map(|entry| described(&entry.key, entry.operation, entry.sequence)).collect())
}

/// What a Change that is about to be committed will be shown as. Nothing is read for it afterwards, so that a database which goes away
/// right then makes no refusal of what was committed.
pub(crate) struct Committing {
    change: (String, Vec<u8>, Vec<u8>, Timestamp),
    entries: Vec<ChangeEntry>,
}

impl Committing {
    pub(crate) fn of(change: &SignedChange, time: Timestamp) -> Self {
        let SignedChange { id, statement, signatures, entries, .. } = change;
        let entries = entries.iter().map(|entry| described(&entry.key, entry.operation, entry.sequence)).collect();
        Self { change: (id.clone(), statement.clone(), signatures.clone(), time), entries }
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.change.0
    }

    /// The object, now that it has a revision.
    pub(crate) fn committed(self, revision: Revision) -> Result<Object, WriteError> {
        let (id, statement, signatures, time) = &self.change;
        object(&Said { id, statement, signatures, time: *time }, revision, self.entries)
    }
}

/// What is known of a Change before it has a revision.
struct Said<'a> {
    id: &'a str,
    statement: &'a [u8],
    signatures: &'a [u8],
    time: Timestamp,
}

fn object(change: &Said<'_>, revision: Revision, entries: Vec<ChangeEntry>) -> Result<Object, WriteError> {
    let name = change.id.to_ascii_lowercase();
    let key = ObjectKey::new(stead_model::GroupKind::new(stead_model::GROUP, "Change"), "", &name);
    let statement = ChangeStatement::from_document(change.statement)
        .map_err(|error| WriteError::Invalid { key, reason: error.to_string() })?;
    let (author, requested_by) = match &statement.authorship {
        Authorship::Person { author } => (author.to_string(), String::new()),
        Authorship::Online { signer, requested_by } => (signer.to_string(), requested_by.clone()),
    };
    let signers = decode_signatures(change.id, change.signatures)?;
    let typed = stead_model::Change {
        metadata: ObjectMeta {
            name,
            resource_version: revision.to_string(),
            generation: 1,
            creation_timestamp: Some(change.time),
            ..ObjectMeta::default()
        },
        spec: ChangeSpec {
            message: statement.message,
            author,
            requested_by,
            signers: signers.iter().map(|signature| signature.claimed_key().fingerprint()).collect(),
            time: statement.time,
            statement: Digest::of(change.statement),
            entries,
        },
        status: Some(ChangeStatus { revision: revision_number(revision), admitted: change.time }),
    };
    Ok(Object::from_typed(&typed)?)
}

const fn revision_number(revision: Revision) -> u64 {
    revision.0
}

fn described(key: &ObjectKey, operation: Operation, sequence: u64) -> ChangeEntry {
    let operation = match operation {
        Operation::Put => "put",
        Operation::Delete => "delete",
    };
    ChangeEntry { object: key.to_string(), operation: operation.to_owned(), sequence }
}
