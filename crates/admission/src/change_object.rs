//! A Change as an object that clients read.

use jiff::Timestamp;
use stead_model::{ChangeEntry, ChangeSpec, ChangeStatus, Digest, Object, ObjectKey, ObjectMeta, Revision};
use stead_store::{Change, Entry, Operation};
use stead_trust::{Admitted, AdmittedEntry, Authorship, ChangeStatement, Submission, VerifiedStatement};

use crate::encoding::decode_signatures;
use crate::error::WriteError;

/// The object of a Change on record, with its entries.
///
/// # Errors
///
/// [`WriteError::Invalid`] where the record's statement cannot be read.
pub fn change_object(change: &Change, entries: &[Entry]) -> Result<Object, WriteError> {
    let statement = ChangeStatement::from_document(&change.statement)
        .map_err(|error| WriteError::Invalid { key: key(&change.id), reason: error.to_string() })?;
    let signers = decode_signatures(&change.id, &change.signatures)?;
    let said = Said {
        statement,
        digest: Digest::of(&change.statement),
        signers: signers.iter().map(|signature| signature.claimed_key().fingerprint()).collect(),
        admitted: change.time,
        entries: entries.iter().map(|entry| described(&entry.key, entry.operation, entry.sequence)).collect(),
    };
    said.at(change.revision)
}

/// What a Change that is about to be committed will be shown as. Nothing is read for it afterwards, so that a database which goes away
/// right then makes no refusal of what was committed.
pub(crate) struct Committing(Said);

impl Committing {
    /// Of a Change that was admitted at a moment, as it was sent.
    pub(crate) fn of(admitted: Admitted, submission: &Submission, time: Timestamp) -> Self {
        let VerifiedStatement { statement, digest, .. } = admitted.statement;
        let signatures = &submission.statement.signatures;
        let described = |entry: &AdmittedEntry| {
            let operation = if entry.is_put() { Operation::Put } else { Operation::Delete };
            described(&entry.key, operation, entry.leaf.sequence)
        };
        Self(Said {
            statement,
            digest,
            signers: signatures.iter().map(|signature| signature.claimed_key().fingerprint()).collect(),
            admitted: time,
            entries: admitted.entries.iter().map(described).collect(),
        })
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.0.statement.id
    }

    /// The object, now that it has a revision.
    pub(crate) fn committed(self, revision: Revision) -> Result<Object, WriteError> {
        self.0.at(revision)
    }
}

/// What is known of a Change before it has a revision.
struct Said {
    statement: ChangeStatement,
    digest: Digest,
    /// The fingerprints of the keys that signed.
    signers: Vec<String>,
    admitted: Timestamp,
    entries: Vec<ChangeEntry>,
}

impl Said {
    fn at(self, revision: Revision) -> Result<Object, WriteError> {
        let Self { statement, digest, signers, admitted, entries } = self;
        let (author, requested_by) = match statement.authorship {
            Authorship::Person { author } => (author.to_string(), String::new()),
            Authorship::Online { signer, requested_by } => (signer.to_string(), requested_by),
        };
        let missing = statement.count.checked_sub(entries.len() as u64).filter(|missing| *missing > 0);
        let typed = stead_model::Change {
            metadata: ObjectMeta {
                name: statement.id.to_ascii_lowercase(),
                resource_version: revision.to_string(),
                generation: 1,
                creation_timestamp: Some(admitted),
                ..ObjectMeta::default()
            },
            spec: ChangeSpec {
                message: statement.message,
                author,
                requested_by,
                signers,
                time: statement.time,
                statement: digest,
                entries,
            },
            status: Some(ChangeStatus { revision: revision_number(revision), admitted, missing }),
        };
        Ok(Object::from_typed(&typed)?)
    }
}

fn key(id: &str) -> ObjectKey {
    ObjectKey::new(stead_model::GroupKind::new(stead_model::GROUP, "Change"), "", &id.to_ascii_lowercase())
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
