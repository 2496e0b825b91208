//! What machines give back to a record that was restored and knows less than they do: judged as if nobody had ever seen it, and taken in
//! under its original receipt, at the record's next revision.

use std::collections::BTreeMap;

use stead_model::{ObjectKey, Revision};
use stead_store::{
    Change, ChangeReference, CommitError, Entering, Entry, Expect, Op, Operation, SealedChange, SignedChange, SignedEntry,
    Snapshot, Transaction,
};
use stead_trust::{Bundle, Check, Current, Leaf, Recovered, RecoveredEntry, RecoveredStanding, Refusal, RootError, SignedRoot};

use crate::admission::{Admission, author_of, current};
use crate::encoding::{encode_proof, encode_signatures};
use crate::error::WriteError;

/// How often a part is tried again where somebody else wrote the same in between: another machine gave it back, or owners signed anew.
const ATTEMPTS_MAX: usize = 16;

/// What became of a part of a Change that a machine gave back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The Change's id.
    pub change: String,
    /// The objects that the record has taken in.
    pub taken: Vec<ObjectKey>,
    /// What the owners signed anew meanwhile for a sequence that the machine holds: it was not taken in, and the machine will not take the
    /// record's.
    pub conflicts: Vec<Clash>,
    /// What the owners signed anew meanwhile, and what was taken in has gone past.
    pub overtaken: Vec<Clash>,
}

/// Two signed changes of one object's name, of which one has to be signed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The object.
    pub key: ObjectKey,
    /// The sequence that the machine holds.
    pub sequence: u64,
    /// The sequence that the record had.
    pub record_sequence: u64,
    /// The id of the Change that the record had.
    pub record_change: String,
}

/// Why nothing of a part was taken in.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// It does not hold.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The trust root does not follow from the record's.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Another Change of the record has its id.
    #[error("the record has another change {id}; one of the two has to be signed again")]
    OtherChange {
        /// The id.
        id: String,
    },
    /// The record cannot have it as it is.
    #[error(transparent)]
    Write(WriteError),
    /// The record could not be read or written; it is tried again.
    #[error("the record could not be read or written: {0}")]
    Record(WriteError),
}

impl RecoveryError {
    /// Every word of [`RecoveryError::reason`].
    pub const REASONS: [&'static str; 13] = [
        "Digest",
        "Fleet",
        "Format",
        "NotPossible",
        "OtherChange",
        "Proof",
        "Receipt",
        "RecordFails",
        "Role",
        "RootChain",
        "Sequence",
        "Signature",
        "Threshold",
    ];

    /// Why, in a word of few.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => match refusal.check {
                Check::Signature => "Signature",
                Check::Format => "Format",
                Check::Fleet => "Fleet",
                Check::RootChain => "RootChain",
                Check::Role => "Role",
                Check::Threshold => "Threshold",
                Check::Proof => "Proof",
                Check::Digest => "Digest",
                Check::Sequence => "Sequence",
                Check::Receipt => "Receipt",
            },
            Self::Root(_) => "RootChain",
            Self::OtherChange { .. } => "OtherChange",
            Self::Write(_) => "NotPossible",
            Self::Record(_) => "RecordFails",
        }
    }

    /// The object that it is about, where it is about one.
    pub const fn object(&self) -> Option<&ObjectKey> {
        match self {
            Self::Refused(refusal) => refusal.object.as_ref(),
            Self::Write(WriteError::NamespaceMissing { key, .. } | WriteError::Invalid { key, .. }) => Some(key),
            _ => None,
        }
    }
}

impl From<WriteError> for RecoveryError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::RootRefused(error) => Self::Root(error),
            error if error.is_temporary() => Self::Record(error),
            error => Self::Write(error),
        }
    }
}

/// What the record has of the names of a part: the newest entry of each, with its Change.
type Present = BTreeMap<ObjectKey, (Change, Entry)>;

impl Admission {
    /// Takes in again a part of a Change that a machine gave back. Only what is above the record's own sequences is taken; the same
    /// part again changes nothing.
    ///
    /// # Errors
    ///
    /// [`RecoveryError`]; nothing has happened then.
    pub async fn recover(&self, bundle: &Bundle) -> Result<Recovery, RecoveryError> {
        for _ in 0..ATTEMPTS_MAX {
            let (chain, snapshot) = (self.chain(), self.store().snapshot());
            let present = self.present(bundle).await?;
            let known = |key: &ObjectKey| current_with_statement(&snapshot, &present, key);
            let recovered = stead_trust::recover(&chain, bundle, &known)?;
            self.metrics().signatures_verified.inc_by(bundle.signatures.len() as u64);
            let mut recovery = compare(&recovered, &snapshot, &present);
            if recovery.taken.is_empty() {
                return Ok(recovery);
            }
            let root_version = Some(chain.newest().version);
            let (change, ops) = self.change_of(&snapshot, bundle, &recovered).await?;
            // What it makes was made when it was admitted.
            let transaction =
                Transaction { change: Some(change), root_version, ..Transaction::unsigned(recovered.receipt.time, ops) };
            match self.store().commit(transaction).await {
                Ok(committed) => {
                    let (change, revision) = (&recovery.change, committed.revision.0);
                    tracing::info!(%change, revision, objects = recovery.taken.len(), "taken in again");
                    return Ok(recovery);
                }
                Err(
                    CommitError::RootMoved { .. }
                    | CommitError::SequenceTaken { .. }
                    | CommitError::ChangeExists { .. }
                    | CommitError::NoSuchChange { .. }
                    | CommitError::NotFound { .. }
                    | CommitError::AlreadyExists { .. },
                ) => recovery.taken.clear(),
                Err(error) => return Err(WriteError::from(error).into()),
            }
        }
        Err(WriteError::Contended { attempts: ATTEMPTS_MAX }.into())
    }

    /// Takes in again versions of the trust root that follow from the record's newest; says how many.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::Root`] where one does not follow; [`RootError::TwoDocuments`] is an alarm.
    pub async fn recover_roots(&self, versions: &[SignedRoot]) -> Result<u64, RecoveryError> {
        let mut taken = 0_u64;
        for signed in versions {
            let chain = self.chain();
            if chain.extend(signed)?.newest().version == chain.newest().version {
                continue;
            }
            match self.submit_root(signed.document.clone(), signed.signatures.clone()).await {
                Ok(_) => taken = taken.saturating_add(1),
                // Another machine came first, with the same one or with another: the next look tells.
                Err(WriteError::Commit(CommitError::RootVersion { .. })) => {
                    self.chain().extend(signed)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(taken)
    }

    async fn present(&self, bundle: &Bundle) -> Result<Present, WriteError> {
        let leaves = bundle.entries.iter().take(stead_trust::BUNDLE_ENTRIES_MAX);
        let keys = leaves.filter_map(|entry| Leaf::from_bytes(&entry.leaf).ok()).map(|leaf| leaf.key()).collect();
        let rows = self.store().newest_entries(keys).await?;
        Ok(rows.into_iter().map(|(change, entry)| (entry.key.clone(), (change, entry))).collect())
    }

    async fn change_of(
        &self,
        snapshot: &Snapshot,
        bundle: &Bundle,
        recovered: &Recovered,
    ) -> Result<(SignedChange, Vec<Op>), RecoveryError> {
        let statement = &recovered.statement.statement;
        let id = statement.id.clone();
        let there = self.store().change(ChangeReference::Id(id.clone())).await.map_err(WriteError::from)?;
        let entering = match there {
            None => Entering::Back,
            Some(change) if change.statement == bundle.statement => Entering::Joining(change.revision),
            Some(_) => return Err(RecoveryError::OtherChange { id }),
        };
        let above = || recovered.entries.iter().filter(|entry| entry.standing == RecoveredStanding::Above);
        let op = |entry: &RecoveredEntry| match (&entry.object, snapshot.get(&entry.key)) {
            (Some(object), _) => self.put_signed(snapshot, &entry.key, object),
            (None, Some(_)) => Ok(Op::delete(entry.key.clone())),
            // It was made and deleted since the backup: all that comes back is the tombstone.
            (None, None) => Ok(Op::Check { key: entry.key.clone(), expect: Expect::Absent }),
        };
        let ops = above().map(op).collect::<Result<Vec<_>, WriteError>>()?;
        let sealed = SealedChange {
            receipt: bundle.receipt.clone(),
            receipt_signature: encode_signatures(std::slice::from_ref(&bundle.receipt_signature)),
        };
        let change = SignedChange {
            id,
            statement: bundle.statement.clone(),
            signatures: encode_signatures(&bundle.signatures),
            author: author_of(&statement.authorship),
            message: statement.message.clone(),
            entries: above().map(signed_entry).collect(),
            entering,
            seal: Box::new(move |_| Ok(sealed)),
        };
        Ok((change, ops))
    }
}

fn signed_entry(recovered: &RecoveredEntry) -> SignedEntry {
    let entry = &recovered.entry;
    SignedEntry {
        key: recovered.key.clone(),
        index: entry.index,
        sequence: recovered.leaf.sequence,
        operation: if recovered.object.is_some() { Operation::Put } else { Operation::Delete },
        leaf: entry.leaf.clone(),
        proof: encode_proof(&entry.proof_digests()),
        object: entry.object.clone(),
    }
}

fn current_with_statement(snapshot: &Snapshot, present: &Present, key: &ObjectKey) -> Current {
    let current = current(snapshot, key);
    // What is on record may have moved between the two looks; then nothing is said of the statement, and the commit tells.
    let row = present.get(key).filter(|(_, entry)| entry.sequence == current.sequence);
    Current { statement: row.map(|(change, _)| stead_model::Digest::of(&change.statement)), ..current }
}

fn compare(recovered: &Recovered, snapshot: &Snapshot, present: &Present) -> Recovery {
    let mut recovery = Recovery { change: recovered.statement.statement.id.clone(), ..Recovery::default() };
    let restored = snapshot.restored().map(|restored| restored.revision);
    for entry in &recovered.entries {
        let row = present.get(&entry.key);
        let clash = |(change, row): &(Change, Entry)| Clash {
            key: entry.key.clone(),
            sequence: entry.leaf.sequence,
            record_sequence: row.sequence,
            record_change: change.id.clone(),
        };
        match entry.standing {
            RecoveredStanding::Above => {
                recovery.taken.push(entry.key.clone());
                let signed_since = row.filter(|(change, _)| restored.is_some_and(|restored| is_signed_since(change, restored)));
                recovery.overtaken.extend(signed_since.map(clash));
            }
            RecoveredStanding::Conflict => recovery.conflicts.extend(row.map(clash)),
            RecoveredStanding::Known | RecoveredStanding::Below => {}
        }
    }
    recovery
}

/// Whether a Change was signed for the restored record, and did not come back into it: then its receipt names its revision.
fn is_signed_since(change: &Change, restored: Revision) -> bool {
    let receipt: Option<serde_json::Value> = serde_json::from_slice(&change.receipt).ok();
    let revision = receipt.and_then(|receipt| receipt.get("revision")?.as_u64());
    change.revision > restored && revision == Some(change.revision.0)
}
