//! The store: what the floors above hold in their hands.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use stead_model::{ObjectKey, Revision};
use tokio::sync::{mpsc, oneshot, watch};

use crate::backup_note::BackupNotes;
use crate::engine::{Engine, EngineError};
use crate::evaluate::evaluate;
use crate::history::{HISTORY_PAGE_BYTES_MAX, HISTORY_PAGE_STEPS_MAX, History, PageLimits};
use crate::load::{RingLimits, load};
use crate::postgres::{Archive, Replication};
use crate::retained::{Retained, SnapshotExpired};
use crate::rows::{Asked, Change, ChangeReference, Entry, Settled};
use crate::transaction::{CommitError, Committed, Transaction};
use crate::view::Snapshot;
use crate::watch::{Published, WatchError, WatchScope, Watcher};
use crate::writer::{QUEUE_TRANSACTIONS_MAX, Request, TimeSource, UidSource, Writer};

/// Events that watchers can still be told of: what a busy fleet does in some minutes.
pub const RING_EVENTS_MAX: usize = 65_536;
/// Bytes of objects before and after those events.
pub const RING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Revisions that one step of a compaction forgets, so that writers wait for milliseconds and not for all of it.
const COMPACTION_STEP_REVISIONS: u64 = 1_000;

/// How a store behaves.
#[derive(Clone)]
pub struct Options {
    /// Events kept for watchers.
    pub ring_events_max: usize,
    /// Bytes of objects before and after those events.
    pub ring_bytes_max: usize,
    /// Steps of one page of history that a watch reads from the database.
    pub history_page_steps_max: usize,
    /// Bytes of objects at which such a page ends.
    pub history_page_bytes_max: usize,
    /// Where uids come from.
    pub new_uid: UidSource,
    /// Where the time comes from. The store asks for it only when the record begins anew; transactions bring their own.
    pub now: TimeSource,
}

impl Options {
    /// The usual limits and the system's clock, with a source of uids.
    pub fn new(new_uid: UidSource) -> Self {
        Self {
            ring_events_max: RING_EVENTS_MAX,
            ring_bytes_max: RING_BYTES_MAX,
            history_page_steps_max: HISTORY_PAGE_STEPS_MAX,
            history_page_bytes_max: HISTORY_PAGE_BYTES_MAX,
            new_uid,
            now: crate::clock::system_time(),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new(crate::uid::random_source())
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Options");
        shown.field("ring_events_max", &self.ring_events_max).field("ring_bytes_max", &self.ring_bytes_max);
        shown.field("history_page_steps_max", &self.history_page_steps_max);
        shown.field("history_page_bytes_max", &self.history_page_bytes_max);
        shown.finish_non_exhaustive()
    }
}

/// How much history to keep. Changes, entries, sequences and roots are kept for ever, whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At most so many revisions.
    pub revisions_max: u64,
    /// At most so many bytes of objects.
    pub bytes_max: u64,
}

impl Default for Retention {
    /// Days of a small fleet, minutes of a very busy one, and a quarter of a gigabyte on disk.
    fn default() -> Self {
        Self { revisions_max: 100_000, bytes_max: 256 * 1024 * 1024 }
    }
}

/// The record. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<dyn Engine>,
    history: Arc<History>,
    requests: mpsc::Sender<Request>,
    published: watch::Receiver<Arc<Published>>,
    retained: Mutex<Retained>,
    new_uid: UidSource,
}

impl Store {
    /// Loads the record and starts its writer.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the record cannot be read.
    pub async fn open(engine: impl Engine, options: Options) -> Result<Self, EngineError> {
        Self::open_on(Arc::new(engine), options).await
    }

    /// As [`Store::open`], for an engine that was chosen while running.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the record cannot be read.
    pub async fn open_on(engine: Arc<dyn Engine>, options: Options) -> Result<Self, EngineError> {
        let limits = RingLimits { events_max: options.ring_events_max, bytes_max: options.ring_bytes_max };
        let mut reading = engine.reading().await?;
        let loaded = load(reading.as_mut(), 0, limits).await?;
        reading.end().await;
        let (sender, published) = watch::channel(Arc::new(loaded));
        let (requests, queue) = mpsc::channel(QUEUE_TRANSACTIONS_MAX);
        let new_uid = Arc::clone(&options.new_uid);
        let writer = Writer {
            engine: Arc::clone(&engine),
            published: sender,
            new_uid: options.new_uid,
            now: options.now,
            limits,
            in_doubt: None,
            blind: false,
        };
        tokio::spawn(writer.run(queue));
        let retained = Mutex::new(Retained::default());
        let page = PageLimits::new(options.history_page_steps_max, options.history_page_bytes_max);
        let history = Arc::new(History::new(Arc::clone(&engine), page));
        let inner = Inner { engine, history, requests, published, retained, new_uid };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A number of this record, new whenever a record is made.
    pub fn incarnation(&self) -> Arc<str> {
        Arc::clone(&self.inner.published.borrow().view.incarnation)
    }

    /// Commits a transaction. When this returns, it is on disk, and every snapshot taken from now on shows it.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; nothing of the transaction has happened then, but for [`CommitError::Unknown`].
    pub async fn commit(&self, transaction: Transaction) -> Result<Committed, CommitError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Commit(Box::new(transaction), reply);
        self.inner.requests.send(request).await.map_err(|_| CommitError::Closed)?;
        answer.await.map_err(|_| CommitError::Closed)?
    }

    /// What a transaction would do now, without doing it. The Change is not sealed, and its id not looked up.
    ///
    /// # Errors
    ///
    /// [`CommitError`], as [`Store::commit`] would give it.
    pub fn preview(&self, mut transaction: Transaction) -> Result<Committed, CommitError> {
        let mut view = (*self.snapshot().0).clone();
        let revision = view.revision.next();
        let evaluation = evaluate(&mut view, &mut transaction, revision, self.inner.new_uid.as_ref())?;
        Ok(Committed { revision: view.revision, objects: evaluation.outcomes })
    }

    /// The record as it is now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(Arc::clone(&self.inner.published.borrow().view))
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.inner.published.borrow().view.revision
    }

    /// Waits until snapshots show all that was committed before this was called, whoever committed it: for a verdict that must not
    /// rest on what another coordinator has changed meanwhile.
    ///
    /// # Errors
    ///
    /// [`CommitError::Engine`] where the database cannot be asked; [`CommitError::Closed`].
    pub async fn catch_up(&self) -> Result<(), CommitError> {
        let (reply, answer) = oneshot::channel();
        self.inner.requests.send(Request::CatchUp(reply)).await.map_err(|_| CommitError::Closed)?;
        answer.await.map_err(|_| CommitError::Closed)?.map_err(CommitError::Engine)
    }

    /// Waits until the record is past a revision, whatever happened at it; gives back the newest. May be dropped while it waits.
    ///
    /// # Errors
    ///
    /// [`WatchError::Closed`] when the store is closed.
    pub async fn past(&self, revision: Revision) -> Result<Revision, WatchError> {
        let mut published = self.inner.published.clone();
        let past = published.wait_for(|published| published.view.revision > revision).await;
        past.map(|published| published.view.revision).map_err(|_| WatchError::Closed)
    }

    /// Keeps a snapshot for a while, so that [`Store::snapshot_at`] finds it.
    pub fn retain(&self, snapshot: &Snapshot, now: Timestamp) {
        let current = self.snapshot();
        self.retained().retain(snapshot, &current.0, now);
    }

    /// The record as it was at a revision that was retained, or is now.
    ///
    /// # Errors
    ///
    /// [`SnapshotExpired`] where it is no longer kept.
    pub fn snapshot_at(&self, revision: Revision, now: Timestamp) -> Result<Snapshot, SnapshotExpired> {
        let current = self.snapshot();
        if current.revision() == revision {
            return Ok(current);
        }
        self.retained().get(revision, &current.0, now)
    }

    /// The record as it was at an older revision, as far as memory has what happened since; with all that, it takes tenths of a second.
    /// Its objects are those of then; sequences, roots and the leader's term are those of now.
    ///
    /// # Errors
    ///
    /// [`SnapshotExpired`] where memory does not reach back so far.
    pub fn rewound(&self, revision: Revision) -> Result<Snapshot, SnapshotExpired> {
        let published = Arc::clone(&self.inner.published.borrow());
        let expired = SnapshotExpired { revision, current: published.view.revision };
        published.view.rewound(&published.ring, revision).map(|view| Snapshot(Arc::new(view))).ok_or(expired)
    }

    fn retained(&self) -> std::sync::MutexGuard<'_, Retained> {
        // Every change of it is a single step, so that a thread which panicked has left nothing half done.
        self.inner.retained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every event in a scope after a revision that is still kept; for a revision to come, from there on.
    pub fn watch(&self, after: Revision, scope: WatchScope) -> Watcher {
        Watcher::new(self.inner.published.clone(), Arc::clone(&self.inner.history), after, scope)
    }

    /// One signed Change.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the database cannot be read.
    pub async fn change(&self, reference: ChangeReference) -> Result<Option<Change>, EngineError> {
        self.inner.engine.change(reference).await
    }

    /// Signed Changes before a revision (or the newest), newest first.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the database cannot be read.
    pub async fn changes(&self, before: Option<Revision>, limit: usize) -> Result<Vec<Change>, EngineError> {
        self.inner.engine.changes_before(before.unwrap_or(Revision(u64::MAX)), limit).await
    }

    /// The entries of the Change at a revision, by index.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the database cannot be read.
    pub async fn entries(&self, revision: Revision) -> Result<Vec<Entry>, EngineError> {
        self.inner.engine.entries(revision).await
    }

    /// For each name its newest entry, deletions included, with the Change it belongs to, by revision: what a machine is sent.
    /// Names that were never in a Change are left out.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the database cannot be read.
    pub async fn newest_entries(&self, keys: Vec<ObjectKey>) -> Result<Vec<(Change, Entry)>, EngineError> {
        self.inner.engine.newest_entries(keys).await
    }

    /// The entries of some names at these sequences, each with its Change; one that there never was is left out.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the database cannot be read.
    pub async fn entries_at(&self, wanted: Vec<(ObjectKey, u64)>) -> Result<Vec<(Change, Entry)>, EngineError> {
        self.inner.engine.entries_at(wanted).await
    }

    /// Signed Changes whose id starts like this, at most so many.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the database cannot be read.
    pub async fn changes_named(&self, prefix: &str, limit: usize) -> Result<Vec<Change>, EngineError> {
        self.inner.engine.changes_named(prefix.to_owned(), limit).await
    }

    /// Forgets history beyond what is to be kept, step by step beside the writers; gives back the revision up to which it is gone.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; what was forgotten until then stays so, and the next compaction goes on.
    pub async fn compact(&self, retention: Retention) -> Result<Revision, EngineError> {
        let meta = self.inner.engine.meta().await?;
        let by_count = meta.last.0.saturating_sub(retention.revisions_max);
        let by_bytes = self.inner.engine.history_bytes_floor(retention.bytes_max).await?.0;
        let target = by_count.max(by_bytes).min(meta.last.0);
        let mut compacted = meta.compacted.0;
        while compacted < target {
            compacted = compacted.saturating_add(COMPACTION_STEP_REVISIONS).min(target);
            self.inner.engine.compact(Revision(compacted)).await?;
        }
        Ok(Revision(compacted))
    }

    /// Waits until somebody asks for something through the database itself, and takes it; for ever where the engine takes no
    /// requests. A transaction that does it names it in [`Transaction::asked`].
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the database cannot be read; the request is found again later.
    pub async fn asked(&self) -> Result<Vec<Asked>, EngineError> {
        self.inner.engine.asked().await
    }

    /// How the record is copied to standbys, as was last seen; none where the engine has no such thing.
    pub fn replication(&self) -> Option<Replication> {
        self.inner.engine.replication()
    }

    /// How the server's log gets into its archive, as was last seen; none where the engine has no such thing.
    pub fn archive(&self) -> Option<Archive> {
        self.inner.engine.archive()
    }

    /// What is remembered of the record's backups.
    pub fn backups(&self) -> BackupNotes {
        self.inner.engine.backups()
    }

    /// Notes what became of a request, unless that is noted already.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the database cannot be written; the request is found again later.
    pub async fn settle(&self, settled: &Settled) -> Result<(), EngineError> {
        self.inner.engine.settle(settled).await
    }

    /// Finishes the batch at hand, ends every watch, and lets go of the database. Later writes are refused; snapshots stay.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.inner.requests.send(Request::Close(reply)).await.is_ok() {
            // The writer drops the sender only when it is gone itself, which is just what is waited for.
            let _ = closed.await;
        }
        self.inner.engine.close().await;
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Store").field("revision", &self.revision()).finish_non_exhaustive()
    }
}
