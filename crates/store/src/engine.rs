//! What a database must do to hold the record. SQLite and PostgreSQL do it, and one in memory for simulations; all pass the same tests.

use std::borrow::Cow;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use stead_model::{ObjectKey, Revision};

use crate::backup_note::BackupNotes;
use crate::postgres::{Archive, Replication};
use crate::rows::{
    Asked, Batch, Change, ChangeReference, Entry, HistoryRow, Mark, Meta, RootDocument, Sequence, Settled, Steps, StepsWanted,
};
use crate::stored::{MalformedObject, Stored};

/// A database that holds the record. Who writes takes a turn, and has the record to itself until the turn ends; reads run beside it.
///
/// What [`Turn::commit`] has acknowledged survives the loss of power.
pub trait Engine: Send + Sync + 'static {
    /// The record as it is at this moment, whatever is written meanwhile.
    fn reading(&self) -> BoxFuture<'_, Result<Box<dyn Reading + '_>, EngineError>>;

    /// Waits, for a bounded time, until nobody else writes.
    fn turn(&self) -> BoxFuture<'_, Result<Box<dyn Turn + '_>, EngineError>>;

    /// Waits until others may have written to the record; for ever where there can be no others. May be dropped while it waits.
    fn moved(&self) -> BoxFuture<'_, Moved>;

    /// The record as a whole.
    fn meta(&self) -> BoxFuture<'_, Result<Meta, EngineError>>;

    /// One Change.
    fn change(&self, reference: ChangeReference) -> BoxFuture<'_, Result<Option<Change>, EngineError>>;

    /// Changes before a revision, newest first.
    fn changes_before(&self, revision: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, EngineError>>;

    /// The entries of one Change, by index.
    fn entries(&self, revision: Revision) -> BoxFuture<'_, Result<Vec<Entry>, EngineError>>;

    /// For each name its newest entry and that entry's Change, by revision; a name that was never in a Change is left out.
    fn newest_entries(&self, keys: Vec<ObjectKey>) -> BoxFuture<'_, Result<Vec<(Change, Entry)>, EngineError>>;

    /// The entries of some names at these sequences, each with its Change; one that there never was is left out, and the order is the
    /// engine's.
    fn entries_at(&self, wanted: Vec<(ObjectKey, u64)>) -> BoxFuture<'_, Result<Vec<(Change, Entry)>, EngineError>>;

    /// Changes whose id starts like this, by id, at most so many.
    fn changes_named(&self, prefix: String, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, EngineError>>;

    /// A page of the steps after a place, oldest first, each with the object after it. All of it is of one moment.
    fn steps<'a>(&'a self, wanted: &'a StepsWanted) -> BoxFuture<'a, Result<Steps, EngineError>>;

    /// The newest revision whose steps, with those of all before it, must go to leave at most so many bytes of history.
    fn history_bytes_floor(&self, bytes_max: u64) -> BoxFuture<'_, Result<Revision, EngineError>>;

    /// Forgets the steps up to and including a revision.
    fn compact(&self, through: Revision) -> BoxFuture<'_, Result<(), EngineError>>;

    /// Waits until somebody may have asked for something through the database, and takes what it is; for ever where nobody can.
    /// What is taken is this coordinator's for a minute.
    fn asked(&self) -> BoxFuture<'_, Result<Vec<Asked>, EngineError>>;

    /// Notes what became of a request, unless that is noted already.
    fn settle<'a>(&'a self, settled: &'a Settled) -> BoxFuture<'a, Result<(), EngineError>>;

    /// Sessions of coordinators that are connected beside this one, as far as can be seen.
    fn others(&self) -> BoxFuture<'_, Result<u64, EngineError>>;

    /// How the record is copied to standbys, as far as is known; none where the engine has no such thing.
    fn replication(&self) -> Option<Replication> {
        None
    }

    /// How the server's log gets into its archive, as far as is known; none where the engine has no such thing.
    fn archive(&self) -> Option<Archive> {
        None
    }

    /// What is remembered of backups.
    fn backups(&self) -> BackupNotes {
        BackupNotes::new()
    }

    /// Begins to fill an empty record with another's rows.
    fn import(&self) -> BoxFuture<'_, Result<Box<dyn Import + '_>, EngineError>>;

    /// Makes it another record than the one that it was restored from, or that lost its newest batches: with a new incarnation, so that
    /// machines take all of it; with revisions that nobody has seen, and no history, so that whoever watched lists again; under a
    /// term that nobody has led. What was in it stays. Does nothing where the incarnation is another already, so that it is
    /// done once, whoever tries. Gives back the record as it then is.
    fn begin_anew<'a>(&'a self, incarnation: &'a str, at: Timestamp) -> BoxFuture<'a, Result<Meta, EngineError>>;

    /// Lets go of the database, and of the lock that keeps other coordinators off where there is one.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The record at one moment.
pub trait Reading: Send {
    /// The record as a whole.
    fn meta(&mut self) -> BoxFuture<'_, Result<Meta, EngineError>>;

    /// Whether the record came by this batch; `None` where that is no longer known, for it is before what history there is.
    fn holds<'a>(&'a mut self, mark: &'a Mark) -> BoxFuture<'a, Result<Option<bool>, EngineError>>;

    /// Every current object, by kind, namespace and name.
    fn objects(&mut self) -> BoxStream<'_, Result<Stored, EngineError>>;

    /// Those of the named objects that are there.
    fn objects_named(&mut self, keys: Vec<ObjectKey>) -> BoxStream<'_, Result<Stored, EngineError>>;

    /// Every sequence that was taken after a revision, by kind, namespace and name.
    fn sequences_after(&mut self, revision: Revision) -> BoxStream<'_, Result<(ObjectKey, Sequence), EngineError>>;

    /// The versions of the trust root after one, oldest first.
    fn roots_after(&mut self, version: u64) -> BoxFuture<'_, Result<Vec<RootDocument>, EngineError>>;

    /// The steps after a revision, **newest first**.
    fn history_after(&mut self, revision: Revision) -> BoxStream<'_, Result<HistoryRow, EngineError>>;

    /// Every Change, oldest first.
    fn changes(&mut self) -> BoxStream<'_, Result<Change, EngineError>>;

    /// Every entry, by its Change's revision and its index.
    fn entries(&mut self) -> BoxStream<'_, Result<Entry, EngineError>>;

    /// Ends it. One that is only dropped ends, too, and may cost the engine a connection.
    fn end<'a>(self: Box<Self>) -> BoxFuture<'a, ()>
    where
        Self: 'a;
}

/// The record, with nobody else writing to it. A turn that is dropped has written nothing.
pub trait Turn: Send {
    /// The record as a whole, as the turn found it.
    fn meta(&self) -> &Meta;

    /// What the turn found.
    fn reading(&mut self) -> BoxFuture<'_, Result<&mut dyn Reading, EngineError>>;

    /// Those of the ids that are taken, with their revision.
    fn known_changes(&mut self, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<(String, Revision)>, EngineError>>;

    /// Those of the requests that do not wait any more.
    fn settled(&mut self, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<String>, EngineError>>;

    /// Commits a batch, durably and whole, or not at all, and ends the turn.
    fn commit<'a>(self: Box<Self>, batch: &'a Batch) -> BoxFuture<'a, Result<(), CommitFailure>>
    where
        Self: 'a;

    /// Ends the turn with nothing written.
    fn end<'a>(self: Box<Self>) -> BoxFuture<'a, ()>
    where
        Self: 'a;
}

/// An empty record that is filled, all at once for whoever looks at it. One that is dropped has filled in nothing.
pub trait Import: Send {
    /// Adds rows, which must not be there yet; what a batch says of revisions and terms is not looked at.
    fn add<'a>(&'a mut self, rows: &'a Batch) -> BoxFuture<'a, Result<(), EngineError>>;

    /// Makes it the record that `meta` describes, durably.
    fn finish<'a>(self: Box<Self>, meta: &'a Meta) -> BoxFuture<'a, Result<(), EngineError>>
    where
        Self: 'a;
}

/// What an engine knows of what others have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The record is at this revision, or beyond.
    To(Revision),
    /// It may be anywhere: somebody has to look.
    Perhaps,
}

/// A batch that was not acknowledged.
#[derive(Debug)]
pub enum CommitFailure {
    /// Nothing of it is in the record, and nothing will be.
    Refused(EngineError),
    /// It may be in the record, or come to be in it: the next turn can tell.
    Unsure(EngineError),
}

/// Why the database did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The database refused.
    #[error("the record's database failed while {doing}: {source}")]
    Database {
        /// What was being done.
        doing: Cow<'static, str>,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The database is not there.
    #[error(
        "the record's database is away: {place} did not answer while {doing} ({reason}); nothing is written until it is back"
    )]
    Away {
        /// Where it should be; no password is in it.
        place: String,
        /// What was being done.
        doing: &'static str,
        /// How it failed.
        reason: String,
    },
    /// Somebody else has written to the record, and not as a coordinator does.
    #[error(
        "the record is at revision {found}, and this coordinator had left it at {expected}: \
         something else has written to it; restart the coordinator to load it anew"
    )]
    Moved {
        /// Where the coordinator left it.
        expected: Revision,
        /// Where it is.
        found: Revision,
    },
    /// Another coordinator has taken the lead since the batch was begun.
    #[error("the batch was begun under leader term {expected}, and the record is at term {found}")]
    Deposed {
        /// The term under which it was begun.
        expected: u64,
        /// The record's term.
        found: u64,
    },
    /// A newer Stead has brought the record up to date meanwhile.
    #[error(
        "the record has schema version {found} now, and this version of Stead knows {supported}; run the newer version here, too"
    )]
    Newer {
        /// Its version.
        found: i64,
        /// The newest one known.
        supported: i64,
    },
    /// Others write so much that this coordinator does not get up to date.
    #[error("the record was loaded {times} times, and others were ahead again each time; try again")]
    Overtaken {
        /// How often.
        times: usize,
    },
    /// An object cannot be read.
    #[error(transparent)]
    Object(#[from] MalformedObject),
    /// A row cannot be read.
    #[error("the record's table {table} holds {value} where {expected} belongs; restore the record from a backup")]
    Malformed {
        /// The table.
        table: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The record has been closed.
    #[error("the record has been closed")]
    Closed,
}

impl EngineError {
    /// Whether the database is not there, so that the same may succeed when it is back.
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}
