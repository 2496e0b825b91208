//! A Change as an object that clients read.

use stead_model::{ChangeEntry, ChangeSpec, ChangeStatus, Digest, Object, ObjectKey, ObjectMeta, Revision};
use stead_store::{Change, Entry, Operation};
use stead_trust::{Authorship, ChangeStatement};

use crate::encoding::decode_signatures;
use crate::error::WriteError;

/// The object of a Change on record, with its entries.
///
/// # Errors
///
/// [`WriteError::Invalid`] where the record's statement cannot be read.
pub fn change_object(change: &Change, entries: &[Entry]) -> Result<Object, WriteError> {
    let name = change.id.to_ascii_lowercase();
    let key = ObjectKey::new(stead_model::GroupKind::new(stead_model::GROUP, "Change"), "", &name);
    let statement = ChangeStatement::from_document(&change.statement)
        .map_err(|error| WriteError::Invalid { key, reason: error.to_string() })?;
    let (author, requested_by) = match &statement.authorship {
        Authorship::Person { author } => (author.to_string(), String::new()),
        Authorship::Online { signer, requested_by } => (signer.to_string(), requested_by.clone()),
    };
    let signers = decode_signatures(&change.id, &change.signatures)?;
    let missing = statement.count.checked_sub(entries.len() as u64).filter(|missing| *missing > 0);
    let typed = stead_model::Change {
        metadata: ObjectMeta {
            name,
            resource_version: change.revision.to_string(),
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
            statement: Digest::of(&change.statement),
            entries: entries.iter().map(entry).collect(),
        },
        status: Some(ChangeStatus { revision: revision_number(change.revision), admitted: change.time, missing }),
    };
    Ok(Object::from_typed(&typed)?)
}

const fn revision_number(revision: Revision) -> u64 {
    revision.0
}

fn entry(entry: &Entry) -> ChangeEntry {
    let operation = match entry.operation {
        Operation::Put => "put",
        Operation::Delete => "delete",
    };
    ChangeEntry { object: entry.key.to_string(), operation: operation.to_owned(), sequence: entry.sequence }
}
