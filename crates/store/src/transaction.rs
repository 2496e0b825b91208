//! What a writer asks for, what it gets, and why it may be refused.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use stead_model::{ManagedFields, Object, ObjectKey, Revision};

use crate::engine::EngineError;
use crate::rows::{Operation, RootDocument};
use crate::stored::{MalformedObject, Stored};

/// Operations in one transaction: a whole site's manifests fit, and the writer is not held up for longer than about a second.
pub const OPERATIONS_PER_TRANSACTION_MAX: usize = 10_000;
/// Bytes of one object as JSON: etcd's limit, which Kubernetes' clients know.
pub const OBJECT_BYTES_MAX: usize = 1_572_864;
/// Bytes of all objects of one transaction, so that a few of them at once fit into memory.
pub const TRANSACTION_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What must hold for an operation to go ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    #[default]
    Any,
    /// There is no such object.
    Absent,
    /// There is one.
    Exists,
    /// There is one, and this is the revision of its last write.
    Revision(Revision),
    /// There is one, and it has this uid.
    Uid(String),
    /// The last signed change of its name has this sequence; 0 where there never was one.
    Sequence(u64),
}

/// One operation on one object.
#[derive(Clone, Debug)]
pub enum Op {
    /// Writes everything but `status` and what the server fills in, which stay as they are.
    Put {
        /// The object.
        object: Box<Object>,
        /// What must hold.
        expect: Expect,
    },
    /// A put of whatever is there now, made of what was there when it was looked at: where that has moved on since, it is made anew.
    PutOver {
        /// The object.
        object: Box<Object>,
        /// The revision of the last write that it knows of; `None` where there was no such object.
        seen: Option<Revision>,
        /// Makes the object over what is there instead.
        anew: Anew,
    },
    /// Writes `status`, and who manages what of it.
    PutStatus {
        /// The object, which must exist.
        key: ObjectKey,
        /// The whole status; null removes it.
        status: Value,
        /// Who manages which field of the object from now on; `None` leaves that as it is.
        managed_fields: Option<Vec<ManagedFields>>,
        /// What must hold.
        expect: Expect,
    },
    /// Writes nothing: the transaction goes ahead only where this holds. It has no [`Outcome`].
    Check {
        /// The object, whether the transaction writes it or not.
        key: ObjectKey,
        /// What must hold.
        expect: Expect,
    },
    /// Removes an object, or marks it where finalizers hold it.
    Delete {
        /// The object, which must exist.
        key: ObjectKey,
        /// What must hold.
        expect: Expect,
    },
}

/// Makes an object over the one that is there, which has the same name; the writer waits for it, so it must not wait for anything but a
/// processor.
#[derive(Clone)]
pub struct Anew(Arc<Make>);

type Make = dyn Fn(Option<&Object>) -> Object + Send + Sync;

impl Anew {
    /// From what makes it.
    pub fn new(make: impl Fn(Option<&Object>) -> Object + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(crate) fn make(&self, present: Option<&Object>) -> Object {
        (self.0)(present)
    }
}

impl fmt::Debug for Anew {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Anew")
    }
}

impl Op {
    /// A put of whatever is there now.
    pub fn put(object: Object) -> Self {
        Self::Put { object: Box::new(object), expect: Expect::Any }
    }

    /// A put that creates.
    pub fn create(object: Object) -> Self {
        Self::Put { object: Box::new(object), expect: Expect::Absent }
    }

    /// A deletion of whatever is there now.
    pub fn delete(key: ObjectKey) -> Self {
        Self::Delete { key, expect: Expect::Any }
    }

    /// A status for whatever is there now.
    pub fn put_status(key: ObjectKey, status: Value) -> Self {
        Self::PutStatus { key, status, managed_fields: None, expect: Expect::Any }
    }
}

/// The receipt that admission gives a Change once its revision is known.
#[derive(Clone, Debug)]
pub struct SealedChange {
    /// The receipt, as signed.
    pub receipt: Vec<u8>,
    /// Its signature, as the caller encodes it.
    pub receipt_signature: Vec<u8>,
}

/// Makes the receipt; the writer waits for it, so it must not wait for anything but a processor.
pub type Seal = Box<dyn FnOnce(Revision) -> Result<SealedChange, Box<dyn Error + Send + Sync>> + Send>;

/// One entry of a signed Change.
#[derive(Clone, Debug)]
pub struct SignedEntry {
    /// The object.
    pub key: ObjectKey,
    /// Its index in the tree.
    pub index: u64,
    /// The sequence it was signed for: the object's last one plus one, or the Change is refused.
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

/// How a Change comes into the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entering {
    /// For the first time: each entry takes the next sequence of its name.
    #[default]
    Anew,
    /// Back into a record that was restored and knows less: with some of its entries perhaps, each with a sequence above that of its name.
    Back,
    /// More entries of one that came back before, at this revision: they are added to it there. What they do happens now.
    Joining(Revision),
}

/// The signed record of a transaction. The store looks into none of its bytes.
pub struct SignedChange {
    /// Its id, unique in the record.
    pub id: String,
    /// The statement, as signed.
    pub statement: Vec<u8>,
    /// The signatures, as the caller encodes them.
    pub signatures: Vec<u8>,
    /// Who changed it, for people to read.
    pub author: String,
    /// Why, for people to read.
    pub message: String,
    /// Its entries.
    pub entries: Vec<SignedEntry>,
    /// How it comes into the record.
    pub entering: Entering,
    /// Called once, by the writer, when everything else of the transaction is in order.
    pub seal: Seal,
}

impl fmt::Debug for SignedChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("SignedChange");
        shown.field("id", &self.id).field("author", &self.author).field("entries", &self.entries.len());
        shown.finish_non_exhaustive()
    }
}

/// Operations that happen together, at one revision, or not at all.
#[derive(Debug)]
pub struct Transaction {
    /// The writer's now: `creationTimestamp` and `deletionTimestamp` come from it.
    pub time: Timestamp,
    /// The operations, in order; each sees what those before it did.
    pub ops: Vec<Op>,
    /// The signed record of it, for what moves as a Change.
    pub change: Option<SignedChange>,
    /// A new version of the trust root.
    pub root: Option<RootDocument>,
    /// The newest version of the trust root that the transaction was checked under; refused where the record has another.
    pub root_version: Option<u64>,
    /// The leader term under which it is written; refused where the record has another. What a controller decides carries it.
    pub fence: Option<u64>,
    /// The request of the database's inbox that is done with it; refused where that does not wait any more.
    pub asked: Option<String>,
    /// The leader term that begins with it, which is the record's plus one, or it is refused. Belongs to the write of the Lease.
    pub lead: Option<u64>,
}

impl Transaction {
    /// Operations that are no signed Change: status, Lease, Event.
    pub fn unsigned(time: Timestamp, ops: Vec<Op>) -> Self {
        Self { time, ops, change: None, root: None, root_version: None, fence: None, asked: None, lead: None }
    }
}

/// What became of one operation's object.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was written (or marked for deletion); this is its new state.
    Written(Arc<Stored>),
    /// It was so already.
    Unchanged(Arc<Stored>),
    /// It is gone; this is its last state.
    Deleted(Arc<Stored>),
}

impl Outcome {
    /// The object, in its newest or last state.
    pub fn stored(&self) -> &Arc<Stored> {
        match self {
            Self::Written(stored) | Self::Unchanged(stored) | Self::Deleted(stored) => stored,
        }
    }
}

/// A transaction that is on disk.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its revision; for a transaction that changed nothing, the revision it saw.
    pub revision: Revision,
    /// What became of each operation that writes, in their order.
    pub objects: Vec<Outcome>,
}

/// Why a transaction was refused. Nothing of it has happened, but for [`CommitError::Unknown`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The object is not there.
    #[error("{key} does not exist")]
    NotFound {
        /// The object.
        key: ObjectKey,
    },
    /// The object is there already.
    #[error("{key} already exists")]
    AlreadyExists {
        /// The object.
        key: ObjectKey,
    },
    /// The object has been written since it was read.
    #[error(
        "{key} is at revision {current}, not at {expected}: it was changed since it was read; read it again and repeat the change"
    )]
    Conflict {
        /// The object.
        key: ObjectKey,
        /// The revision that was expected.
        expected: Revision,
        /// The revision it has.
        current: Revision,
    },
    /// The name's last signed change is another one.
    #[error("the last signed change of {key} is its sequence {current}, and sequence {expected} was expected")]
    OtherSequence {
        /// The object.
        key: ObjectKey,
        /// The sequence that was expected.
        expected: u64,
        /// The sequence it has.
        current: u64,
    },
    /// The object has been replaced by another of its name.
    #[error("{key} has uid {current}, not {expected}: it was deleted and made anew")]
    OtherUid {
        /// The object.
        key: ObjectKey,
        /// The uid that was expected.
        expected: Box<str>,
        /// The uid it has.
        current: Box<str>,
    },
    /// An object that is being deleted takes no new finalizers.
    #[error("{key} is being deleted, so the finalizer {finalizer} cannot be added")]
    FinalizerWhileDeleting {
        /// The object.
        key: ObjectKey,
        /// The new finalizer.
        finalizer: String,
    },
    /// Another Change has taken the sequence.
    #[error(
        "{key} was signed for sequence {signed}, and its last one is {current}: another change came between; it needs signing again"
    )]
    SequenceTaken {
        /// The object.
        key: ObjectKey,
        /// The sequence in the statement.
        signed: u64,
        /// The object's last sequence.
        current: u64,
    },
    /// The Change was committed before.
    #[error("change {id} is in the record already, at revision {revision}")]
    ChangeExists {
        /// Its id.
        id: String,
        /// Its revision.
        revision: Revision,
    },
    /// There is no such Change to join.
    #[error("change {id} is not in the record at revision {at}, so that nothing can be added to it")]
    NoSuchChange {
        /// Its id.
        id: String,
        /// Where it should be.
        at: Revision,
    },
    /// The version of the trust root does not follow the last one.
    #[error("the trust root is at version {current}, so the next one is {next}, not {given}", next = .current.saturating_add(1))]
    RootVersion {
        /// The version that was given.
        given: u64,
        /// The last version.
        current: u64,
    },
    /// The trust root has moved on since the transaction was checked.
    #[error("the change was checked under version {checked} of the trust root, and the record is at {current}; submit it again")]
    RootMoved {
        /// The version it was checked under; 0 for none.
        checked: u64,
        /// The record's newest version.
        current: u64,
    },
    /// The writer is not the leader, or no longer.
    #[error("this was written under leader term {term}, and the record is at term {current}: another coordinator leads")]
    Deposed {
        /// The term under which it was written, or which it wanted to begin.
        term: u64,
        /// The record's term.
        current: u64,
    },
    /// The request has been settled, by another coordinator.
    #[error("the request {id} was settled before")]
    Settled {
        /// Its id.
        id: String,
    },
    /// A text cannot be kept.
    #[error("the {what} of change {id:?} holds a NUL character, which the record cannot keep")]
    NulCharacter {
        /// Which text.
        what: &'static str,
        /// The change's id.
        id: String,
    },
    /// The name cannot be kept.
    #[error(
        "{key:?} is not a name: kind and name must not be empty, and no part may hold a NUL character or, in the kind, a dot"
    )]
    InvalidKey {
        /// The name.
        key: ObjectKey,
    },
    /// Something is larger than it may be.
    #[error("{what} has {size}, and {limit} is the limit; split it up")]
    TooLarge {
        /// What is too large.
        what: String,
        /// How large it is.
        size: usize,
        /// How large it may be.
        limit: usize,
    },
    /// The receipt could not be made.
    #[error("the receipt of change {id} could not be signed: {source}")]
    Seal {
        /// The Change.
        id: String,
        /// Why not.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The object in the record cannot be read, or the new one cannot be written down.
    #[error(transparent)]
    Object(Arc<MalformedObject>),
    /// The database refused the batch; the record is as it was.
    #[error("nothing was written: {0}")]
    Engine(#[source] Arc<EngineError>),
    /// The database failed so that nobody can say whether the batch is in the record.
    #[error("whether it was written is not known yet: {0}; look at the object before you repeat the change")]
    Unknown(#[source] Arc<EngineError>),
    /// The store has been closed.
    #[error("the store has been closed; nothing was written")]
    Closed,
}

impl From<MalformedObject> for CommitError {
    fn from(error: MalformedObject) -> Self {
        Self::Object(Arc::new(error))
    }
}
