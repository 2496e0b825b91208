//! The coordinator's verdict: may this Change be admitted, now, to this record?

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use stead_model::{Digest, GroupKind, Object, ObjectKey};

use crate::document::DocumentError;
use crate::leaf::{Leaf, ObjectMismatch, Op};
use crate::merkle::Tree;
use crate::receipt::AUTHOR_AHEAD_SECONDS_MAX;
use crate::root::authority::{Author, Authority, Labels, Reach, Unauthorised, Write, authorise};
use crate::root::chain::RootChain;
use crate::statement::{Submission, SubmittedEntry, VerifiedStatement, VerifyError};

/// What the record holds of an object's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Current {
    /// The sequence of its last signed change; 0 where there was none.
    pub sequence: u64,
    /// The statement that made it; none where there was none.
    pub statement: Option<Digest>,
    /// Whether the name is a tombstone.
    pub deleted: bool,
    /// The object's signed labels.
    pub labels: Labels,
}

/// A Change that may be committed.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The statement, verified.
    pub statement: VerifiedStatement,
    /// What it changes, in its order.
    pub entries: Vec<AdmittedEntry>,
    /// The tree, for the proofs of bundles.
    pub tree: Tree,
}

/// One entry that may be committed.
#[derive(Clone, Debug)]
pub struct AdmittedEntry {
    /// The object's name.
    pub key: ObjectKey,
    /// Its leaf.
    pub leaf: Leaf,
    /// The object as sent; none for a deletion.
    pub object: Option<Object>,
    /// What gave the write its right.
    pub authority: Authority,
}

/// A sequence that was taken while the author was writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The object.
    pub key: ObjectKey,
    /// The sequence that the statement asks for.
    pub sequence: u64,
    /// What is there.
    pub current: Current,
}

/// Why a Change is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// A signature does not fit, or the statement is not well-formed.
    #[error("the Change: {0}; nothing was applied, sign the original again")]
    Verify(#[from] VerifyError),
    /// For another fleet.
    #[error("the Change is for the fleet {found}, and this is {expected}; sign it for this fleet")]
    Fleet {
        /// This fleet.
        expected: Digest,
        /// The statement's.
        found: Digest,
    },
    /// The author's clock is ahead.
    #[error(
        "the Change is of {time}, and it is {now} here: more than {AUTHOR_AHEAD_SECONDS_MAX} s ahead; set the clock and sign again"
    )]
    AuthorAhead {
        /// The statement's time.
        time: Timestamp,
        /// The coordinator's.
        now: Timestamp,
    },
    /// Its deadline has passed.
    #[error("the Change had to be admitted before {admit_before}, and it is {now}; look at it again and sign it again")]
    Expired {
        /// The deadline.
        admit_before: Timestamp,
        /// The coordinator's time.
        now: Timestamp,
    },
    /// Its deadline is further away than the root allows.
    #[error(
        "the Change's deadline {admit_before} is more than {allowed_seconds} s after its time, which the trust root does not allow; sign it with an earlier one"
    )]
    DeadlineTooFar {
        /// The deadline.
        admit_before: Timestamp,
        /// What the root allows.
        allowed_seconds: u64,
    },
    /// The entries are not those that were signed.
    #[error("the entries are not those that were signed: {what}; nothing was applied, sign the original again")]
    Entries {
        /// What differs.
        what: String,
    },
    /// A leaf is not well-formed.
    #[error("entry {index}: {source}")]
    Leaf {
        /// Its index.
        index: usize,
        /// What is wrong.
        source: DocumentError,
    },
    /// An object is not what its leaf says.
    #[error("{key}: {source}")]
    Object {
        /// The object.
        key: ObjectKey,
        /// What is wrong.
        source: ObjectMismatch,
    },
    /// An object is there twice.
    #[error("{key} is in the Change twice; each object once")]
    Twice {
        /// The object.
        key: ObjectKey,
    },
    /// The statement is not signed by whom it names as its author.
    #[error("{source}")]
    Author {
        /// Why it is not.
        source: Unauthorised,
    },
    /// The signers may not write an object.
    #[error("{key}: {source}")]
    Unauthorised {
        /// The object.
        key: ObjectKey,
        /// Why not.
        source: Unauthorised,
    },
    /// A sequence is ahead of the record.
    #[error(
        "{key}: the Change is sequence {found}, and the next one is {expected}; the record knows less than its author, see `stead restore`"
    )]
    SequenceAhead {
        /// The object.
        key: ObjectKey,
        /// The next sequence.
        expected: u64,
        /// The statement's.
        found: u64,
    },
    /// Sequences have been taken meanwhile: the Change is not lost, its author has to look at it again.
    #[error("{} changed meanwhile; look at the difference and sign the Change again", names(.taken))]
    NeedsSigning {
        /// What was taken, and what is there.
        taken: Vec<Taken>,
    },
}

fn names(taken: &[Taken]) -> String {
    taken
        .iter()
        .map(|taken| format!("{} (sequence {} is there)", taken.key, taken.current.sequence))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Says whether a Change may be admitted now. `current` says what the record holds of a name.
///
/// # Errors
///
/// [`AdmissionError`] says which check failed and what to do; [`AdmissionError::NeedsSigning`] is the one that loses nothing.
pub fn admit(
    roots: &RootChain,
    submission: &Submission,
    current: &dyn Fn(&ObjectKey) -> Current,
    now: Timestamp,
) -> Result<Admitted, AdmissionError> {
    let root = roots.newest();
    let statement = submission.statement.verify(root.user_presence())?;
    check_statement(roots, &statement, now)?;
    let tree = check_tree(submission, &statement)?;

    let author = Author { authorship: &statement.statement.authorship, signers: &statement.signers };
    let mut entries = Vec::with_capacity(submission.entries.len());
    let taken = check_entries(
        submission,
        current,
        now,
        |write| authorise(root, &author, write),
        |key, leaf, object, authority| {
            entries.push(AdmittedEntry { key, leaf, object, authority });
        },
    )?;
    if taken.is_empty() { Ok(Admitted { statement, entries, tree }) } else { Err(AdmissionError::NeedsSigning { taken }) }
}

/// Reads every entry and holds it against the record: each object once, by whoever may write it as `judge` has it, and no sequence ahead.
/// Those that pass are handed on; what is given back are the sequences that were taken meanwhile.
pub(crate) fn check_entries<T>(
    submission: &Submission,
    current: &dyn Fn(&ObjectKey) -> Current,
    now: Timestamp,
    judge: impl Fn(&Write<'_>) -> Result<T, Unauthorised>,
    mut passed: impl FnMut(ObjectKey, Leaf, Option<Object>, T),
) -> Result<Vec<Taken>, AdmissionError> {
    let (mut keys, mut taken) = (BTreeSet::new(), Vec::new());
    for (index, entry) in submission.entries.iter().enumerate() {
        let (leaf, object) = read_entry(index, entry)?;
        let key = leaf.key();
        if !keys.insert(key.clone()) {
            return Err(AdmissionError::Twice { key });
        }
        let held = current(&key);
        let write = Write {
            key: &key,
            op: leaf.op,
            sequence: leaf.sequence,
            object: object.as_ref(),
            reach: reach(&key, &held, object.as_ref()),
            facts: &Labels::new(),
            admitted: Some(now),
        };
        let verdict = judge(&write).map_err(|source| AdmissionError::Unauthorised { key: key.clone(), source })?;
        if leaf.sequence > held.sequence.saturating_add(1) {
            return Err(AdmissionError::SequenceAhead { key, expected: held.sequence.saturating_add(1), found: leaf.sequence });
        }
        if leaf.sequence <= held.sequence {
            taken.push(Taken { key: key.clone(), sequence: leaf.sequence, current: held });
        }
        passed(key, leaf, object, verdict);
    }
    Ok(taken)
}

pub(crate) fn check_statement(roots: &RootChain, verified: &VerifiedStatement, now: Timestamp) -> Result<(), AdmissionError> {
    let statement = &verified.statement;
    if statement.fleet != *roots.fleet() {
        return Err(AdmissionError::Fleet { expected: *roots.fleet(), found: statement.fleet });
    }
    if is_ahead(statement.time, now) {
        return Err(AdmissionError::AuthorAhead { time: statement.time, now });
    }
    let admit_before = statement.admit_before;
    if now > admit_before {
        return Err(AdmissionError::Expired { admit_before, now });
    }
    let allowed_seconds = roots.newest().expiry.admit_within_seconds;
    let asked = admit_before.duration_since(statement.time).as_secs();
    if u64::try_from(asked).is_ok_and(|seconds| seconds > allowed_seconds) {
        return Err(AdmissionError::DeadlineTooFar { admit_before, allowed_seconds });
    }
    Ok(())
}

/// Whether a time is further ahead of another than clocks may be.
pub(crate) fn is_ahead(time: Timestamp, of: Timestamp) -> bool {
    time.duration_since(of) > SignedDuration::from_secs(AUTHOR_AHEAD_SECONDS_MAX)
}

pub(crate) fn check_tree(submission: &Submission, verified: &VerifiedStatement) -> Result<Tree, AdmissionError> {
    let statement = &verified.statement;
    let found = submission.entries.len();
    if found as u64 != statement.count {
        let what = format!("{found} came, and {} were signed", statement.count);
        return Err(AdmissionError::Entries { what });
    }
    let tree = submission.tree();
    if tree.root() != statement.entries_root {
        let what = format!("their tree has the root {}, and {} was signed", tree.root(), statement.entries_root);
        return Err(AdmissionError::Entries { what });
    }
    Ok(tree)
}

fn read_entry(index: usize, entry: &SubmittedEntry) -> Result<(Leaf, Option<Object>), AdmissionError> {
    let leaf = Leaf::from_bytes(&entry.leaf).map_err(|source| AdmissionError::Leaf { index, source })?;
    if !leaf.commits_to(entry.object.as_deref()) {
        let what = format!("{} is not the object that was signed", leaf.key());
        return Err(AdmissionError::Entries { what });
    }
    let object = entry.object.as_deref().map(|bytes| leaf.read_object(bytes)).transpose();
    let object = object.map_err(|source| AdmissionError::Object { key: leaf.key(), source })?;
    Ok((leaf, object))
}

/// A role with a selector reaches a Machine by its labels as they are and as they would be; of other kinds each machine judges.
pub(crate) fn reach<'a>(key: &ObjectKey, held: &'a Current, object: Option<&'a Object>) -> Reach<'a> {
    if key.kind != GroupKind::new("stead.dev", "Machine") {
        return Reach::Elsewhere;
    }
    let held = (held.sequence > 0 && !held.deleted).then_some(&held.labels);
    Reach::All(held.into_iter().chain(object.map(|object| &object.metadata.labels)).collect())
}

impl AdmittedEntry {
    /// Whether the object is put, rather than deleted.
    pub fn is_put(&self) -> bool {
        self.leaf.op == Op::Put
    }
}
