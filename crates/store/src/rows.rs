//! What an engine keeps: the rows of the record, and a batch of them that is committed as one.

use std::sync::Arc;

use jiff::Timestamp;
use stead_model::{GroupKind, ObjectKey, Revision};

use crate::engine::EngineError;
use crate::stored::Stored;

/// What the engine knows of the record as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// A number of this record, new whenever a record is made; tells a restored or replaced record from the one before.
    pub incarnation: String,
    /// The newest revision.
    pub last: Revision,
    /// Events up to and including this revision are no longer kept.
    pub compacted: Revision,
    /// How often a coordinator has taken the lead.
    pub leader_term: u64,
    /// The token of the newest batch; empty where there was none yet.
    pub batch: String,
    /// How it came to begin anew, if it ever did.
    pub restored: Option<Restored>,
}

/// How far the revisions move on when a record begins anew: a million a second for twelve days. No revision that was ever handed out
/// comes again, so that whoever watched from one is told to list again, and there is room for 8,000 such steps below 2^53, the
/// largest number that JSON can be trusted with.
pub(crate) const ANEW_REVISIONS: u64 = 1 << 40;
/// How far the leader's term moves on with them: more than the terms that can have begun in what the record has lost. Lease counts
/// them in 32 bits.
pub(crate) const ANEW_TERMS: u64 = 1_000;

/// What a record remembers of having been put back from a backup, or of having lost its newest batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// When it began anew.
    pub at: Timestamp,
    /// The newest revision it then had.
    pub revision: Revision,
}

impl Meta {
    /// The newest batch.
    pub fn mark(&self) -> Mark {
        Mark { last: self.last, token: self.batch.clone() }
    }
}

/// One batch, told from any other that might have led to the same revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The revision after it.
    pub last: Revision,
    /// What the coordinator that made it drew for it.
    pub token: String,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It was written.
    Put,
    /// It was removed.
    Delete,
}

impl Operation {
    /// As it stands in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }

    /// From the record.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "put" => Some(Self::Put),
            "delete" => Some(Self::Delete),
            _ => None,
        }
    }
}

/// One step of an object's history, as the undo of it: the state after it is the state before the next one, or the current one.
#[derive(Clone, Debug)]
pub struct HistoryRow {
    /// The revision of the step.
    pub revision: Revision,
    /// Its place within the revision.
    pub position: u32,
    /// The object.
    pub key: ObjectKey,
    /// What happened.
    pub operation: Operation,
    /// The object before it; `None` where it was created.
    pub before: Option<Arc<Stored>>,
}

/// A place in the history: after a step, or after all of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The revision.
    pub revision: Revision,
    /// The place of the step within it; `None` where all of it is meant.
    pub position: Option<u32>,
}

impl Place {
    /// After all of a revision.
    pub const fn after(revision: Revision) -> Self {
        Self { revision, position: None }
    }

    /// The newest revision of which nothing is left.
    pub const fn whole(self) -> Revision {
        match self.position {
            None => self.revision,
            Some(_) => Revision(self.revision.0.saturating_sub(1)),
        }
    }

    /// As the steps of a database are compared with it.
    pub(crate) fn columns(self) -> (u64, i64) {
        (self.revision.0, self.position.map_or(i64::MAX, i64::from))
    }
}

/// Which steps are asked for.
#[derive(Clone, Debug)]
pub struct StepsWanted {
    /// The record that is meant.
    pub incarnation: String,
    /// A batch that the record must have gone by.
    pub mark: Mark,
    /// Those after this place.
    pub after: Place,
    /// And up to this revision.
    pub through: Revision,
    /// At most so many.
    pub steps_max: usize,
    /// No further ones after so many bytes of objects.
    pub bytes_max: usize,
}

/// A step with the object after it.
#[derive(Clone, Debug)]
pub struct Step {
    /// The step.
    pub step: HistoryRow,
    /// The object after it; `None` where it was removed.
    pub after: Option<Arc<Stored>>,
}

/// A page of steps.
#[derive(Debug)]
pub struct Steps {
    /// The record as a whole, when it was read.
    pub meta: Meta,
    /// Whether it is the record that was meant, and went by the batch that was named.
    pub continuous: bool,
    /// The steps, oldest first. None where it is another record, or what was asked for is no longer kept.
    pub steps: Vec<Step>,
    bytes: usize,
}

impl Steps {
    pub(crate) const fn new(meta: Meta, continuous: bool) -> Self {
        Self { meta, continuous, steps: Vec::new(), bytes: 0 }
    }

    /// Whether what is asked for is there.
    pub(crate) fn reaches(&self, wanted: &StepsWanted) -> bool {
        self.continuous && wanted.after.whole() >= self.meta.compacted
    }

    pub(crate) fn push(&mut self, step: Step) {
        let bytes = |stored: &Option<Arc<Stored>>| stored.as_ref().map_or(0, |stored| stored.json().len());
        self.bytes = self.bytes.saturating_add(bytes(&step.step.before)).saturating_add(bytes(&step.after));
        self.steps.push(step);
    }

    /// Whether further steps may have been left for the next page.
    pub(crate) fn is_full(&self, wanted: &StepsWanted) -> bool {
        self.steps.len() >= wanted.steps_max || self.bytes >= wanted.bytes_max
    }

    /// Where the next page begins, and the steps up to there. A revision of which steps may be missing is left for the next page, unless
    /// it alone fills one.
    pub(crate) fn divide(mut self, wanted: &StepsWanted) -> (Place, Vec<Step>) {
        let last = self.steps.last().map(|last| (last.step.revision, last.step.position));
        let Some((revision, position)) = last.filter(|_| self.is_full(wanted)) else {
            return (Place::after(wanted.through), self.steps);
        };
        let whole = self.steps.partition_point(|step| step.step.revision < revision);
        let before = whole.checked_sub(1).and_then(|place| self.steps.get(place)).map(|step| step.step.revision);
        let Some(before) = before else { return (Place { revision, position: Some(position) }, self.steps) };
        self.steps.truncate(whole);
        (Place::after(before), self.steps)
    }
}

/// A signed Change as it was admitted: bytes that the store does not look into. Kept for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision it was given.
    pub revision: Revision,
    /// Its id, unique in the record.
    pub id: String,
    /// The statement, as signed.
    pub statement: Vec<u8>,
    /// The signatures, as the caller encodes them.
    pub signatures: Vec<u8>,
    /// The receipt, as signed.
    pub receipt: Vec<u8>,
    /// The receipt's signature, as the caller encodes it.
    pub receipt_signature: Vec<u8>,
    /// Who changed it, for people to read.
    pub author: String,
    /// Why, for people to read.
    pub message: String,
    /// When it was admitted.
    pub time: Timestamp,
}

/// One leaf of a Change's Merkle tree, with what it takes to prove it. Kept for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The revision of its Change.
    pub revision: Revision,
    /// Its index in the tree.
    pub index: u64,
    /// The object.
    pub key: ObjectKey,
    /// The object's sequence with this entry.
    pub sequence: u64,
    /// Whether it puts or deletes.
    pub operation: Operation,
    /// The leaf, as hashed into the tree.
    pub leaf: Vec<u8>,
    /// The inclusion proof, as the caller encodes it.
    pub proof: Vec<u8>,
    /// The object as it was sent; `None` for a deletion.
    pub object: Option<Vec<u8>>,
}

/// How far the signed changes of one object name have come. A deletion keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The last sequence.
    pub sequence: u64,
    /// The revision of the Change that took it.
    pub revision: Revision,
    /// Whether that was a deletion.
    pub deleted: bool,
}

/// One version of the trust root. Kept for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootDocument {
    /// Its version; they are counted from 1 without gaps.
    pub version: u64,
    /// The document, as signed.
    pub document: Vec<u8>,
    /// The signatures, as the caller encodes them.
    pub signatures: Vec<u8>,
}

/// What is committed with one fsync: everything of it, or nothing.
#[derive(Debug, Default)]
pub struct Batch {
    /// The revision before the batch; an engine refuses the batch where the record is elsewhere.
    pub base: Revision,
    /// The revision after the batch.
    pub last: Revision,
    /// Drawn for this batch, so that its fate can be found out after a connection was lost.
    pub token: String,
    /// The leader term before the batch; an engine refuses the batch where the record has another.
    pub base_term: u64,
    /// The leader term after the batch.
    pub term: u64,
    /// Objects as they are after the batch; `None` for those that are gone.
    pub objects: Vec<(ObjectKey, Option<Arc<Stored>>)>,
    /// Steps, in order.
    pub history: Vec<HistoryRow>,
    /// Signed Changes.
    pub changes: Vec<Change>,
    /// Their entries.
    pub entries: Vec<Entry>,
    /// Sequences as they are after the batch, each name once.
    pub sequences: Vec<(ObjectKey, Sequence)>,
    /// New versions of the trust root.
    pub roots: Vec<RootDocument>,
    /// Requests that are done with it.
    pub settled: Vec<Settled>,
}

impl Batch {
    /// The batch, as the record remembers it.
    pub fn mark(&self) -> Mark {
        Mark { last: self.last, token: self.token.clone() }
    }

    /// Why the batch does not go onto a record that is elsewhere.
    pub(crate) fn not_at(&self, found: &Meta) -> EngineError {
        if found.last == self.base {
            EngineError::Deposed { expected: self.base_term, found: found.leader_term }
        } else {
            EngineError::Moved { expected: self.base, found: found.last }
        }
    }
}

/// What somebody asked for through the database itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// What it asks for.
    pub kind: AskedKind,
    /// The JSON that was handed in.
    pub body: String,
    /// The database's role that asked.
    pub by: String,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedKind {
    /// A Change that owners signed to be admitted.
    Submit,
    /// An object to be put.
    Put,
    /// An object to be deleted.
    Delete,
}

impl AskedKind {
    /// From the record.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "submit" => Some(Self::Submit),
            "put" => Some(Self::Put),
            "delete" => Some(Self::Delete),
            _ => None,
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its id.
    pub id: String,
    /// The revision at which it was done; `None` where it was refused.
    pub revision: Option<Revision>,
    /// The Change's id, or the reason.
    pub message: String,
}

impl Settled {
    /// As it stands in the record.
    pub const fn state(&self) -> &'static str {
        if self.revision.is_some() { "done" } else { "refused" }
    }
}

/// Which Change is asked for.
#[derive(Clone, Debug)]
pub enum ChangeReference {
    /// By its id.
    Id(String),
    /// By its revision.
    Revision(Revision),
}

/// A kind as one column: `Machine.stead.dev`, `Namespace`.
pub(crate) fn kind_from_column(column: &str) -> GroupKind {
    let (kind, group) = column.split_once('.').unwrap_or((column, ""));
    GroupKind::new(group, kind)
}
