//! The record in memory, on a disk that whoever opens it models: the engine of simulations.
//!
//! It keeps what SQLite and PostgreSQL keep and passes the same tests. What it adds is the disk: a write takes as long, and ends as
//! badly, as a [`Disk`] says, and [`MemoryRecord::crash`] leaves what that disk would have left.

mod disk;
mod reading;
mod tables;
mod turn;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard as StdMutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use stead_model::{ObjectKey, Revision};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

pub use self::disk::{Disk, DiskLog, LogFailure, SoundDisk, WriteEnd, Written};
use self::reading::MemoryReading;
use self::tables::Tables;
use self::turn::{MemoryImport, MemoryTurn};
use crate::engine::{CommitFailure, Engine, EngineError, Import, Moved, Reading, Turn};
use crate::rows::{Asked, Change, ChangeReference, Entry, Meta, Settled, Steps, StepsWanted};
use crate::writer::UidSource;

const PLACE: &str = "the record in memory";

/// A record in memory, and the disk under it. It outlives the engines that are opened on it, as a file or a server does. Cheap to clone.
#[derive(Clone)]
pub struct MemoryRecord {
    kept: Arc<Kept>,
}

struct Kept {
    log: DiskLog<Tables>,
    /// What readers see: what the log has acknowledged.
    live: StdMutex<Tables>,
    /// Held by whoever writes. A crash makes a new one: who held the old one is dead.
    turn: StdMutex<Arc<Mutex<()>>>,
    /// How often it has crashed: a turn does not outlive that.
    crashes: AtomicU64,
    moved: watch::Sender<Revision>,
    new_uid: UidSource,
}

impl Kept {
    fn live(&self) -> StdMutexGuard<'_, Tables> {
        // It is replaced whole, so that a thread which panicked has left nothing half done.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tables(&self) -> Tables {
        self.live().clone()
    }

    fn show(&self, tables: Tables) {
        let last = tables.meta.last;
        *self.live() = tables;
        self.moved.send_replace(last);
    }

    async fn alone(&self) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(&self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        let alone = turn.lock_owned().await;
        self.settle();
        alone
    }

    /// Writes the next state of the record, in a turn.
    async fn write(&self, next: Tables) -> Result<(), CommitFailure> {
        let failed = |reason: &str| EngineError::Away { place: PLACE.to_owned(), doing: "writing", reason: reason.to_owned() };
        match self.log.write(next.clone()).await {
            Ok(()) => {
                self.show(next);
                Ok(())
            }
            Err(LogFailure::Full) => Err(CommitFailure::Refused(failed("its disk is full"))),
            Err(LogFailure::Unsure) => Err(CommitFailure::Unsure(failed("its disk did not say whether it has it"))),
        }
    }

    /// What nobody waited for to its end, or the disk did not answer for, is in the record by now, or never will be.
    fn settle(&self) {
        if let Some(tables) = self.log.settle() {
            self.show(tables);
        }
    }
}

impl MemoryRecord {
    /// An empty record on a disk that keeps its word. `new_uid` names it.
    pub fn new(new_uid: UidSource) -> Self {
        Self::on(Arc::new(SoundDisk), new_uid)
    }

    /// An empty record on a disk.
    pub fn on(disk: Arc<dyn Disk>, new_uid: UidSource) -> Self {
        let tables = Tables::new(name(&new_uid));
        let (turn, crashes, moved) = (StdMutex::default(), AtomicU64::new(0), watch::Sender::new(Revision(0)));
        let log = DiskLog::new(disk, tables.clone());
        Self { kept: Arc::new(Kept { log, live: StdMutex::new(tables), turn, crashes, moved, new_uid }) }
    }

    /// An engine on it. Several may be open at once, as several coordinators share a server.
    pub fn engine(&self) -> MemoryEngine {
        MemoryEngine { kept: Arc::clone(&self.kept), closed: AtomicBool::new(false), told: AtomicU64::new(0) }
    }

    /// The power is lost: what is left is what the disk says. Says how many acknowledged batches are gone, which only a disk that
    /// lied can bring about. Turns that were under way write nothing any more.
    pub fn crash(&self) -> usize {
        self.kept.crashes.fetch_add(1, Ordering::Relaxed);
        let (tables, lost) = self.kept.log.crash();
        *self.kept.turn.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        self.kept.show(tables);
        lost
    }
}

fn name(new_uid: &UidSource) -> String {
    new_uid().replace('-', "")
}

/// The record in memory, for one coordinator.
pub struct MemoryEngine {
    kept: Arc<Kept>,
    closed: AtomicBool,
    /// The revision that was last told of.
    told: AtomicU64,
}

impl MemoryEngine {
    fn open(&self) -> Result<&Kept, EngineError> {
        if self.closed.load(Ordering::Relaxed) { Err(EngineError::Closed) } else { Ok(&self.kept) }
    }

    async fn take_turn(&self) -> Result<MemoryTurn<'_>, EngineError> {
        let kept = self.open()?;
        let alone = kept.alone().await;
        Ok(MemoryTurn::new(kept, alone))
    }

    /// Makes the record another one with a function of it, durably.
    async fn change(&self, change: impl FnOnce(&mut Tables) + Send) -> Result<Meta, EngineError> {
        let kept = self.open()?;
        let _alone = kept.alone().await;
        let mut next = kept.tables();
        change(&mut next);
        let meta = next.meta.clone();
        match kept.write(next).await {
            Ok(()) => Ok(meta),
            Err(CommitFailure::Refused(error) | CommitFailure::Unsure(error)) => Err(error),
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> Result<T, EngineError> {
        Ok(read(&self.open()?.tables()))
    }
}

/// An answer that is there at once.
fn ready<'a, T: Send + 'a>(answer: T) -> BoxFuture<'a, T> {
    std::future::ready(answer).boxed()
}

impl Engine for MemoryEngine {
    fn reading(&self) -> BoxFuture<'_, Result<Box<dyn Reading + '_>, EngineError>> {
        ready(self.read(|tables| Box::new(MemoryReading::new(tables.clone())) as Box<dyn Reading>))
    }

    fn turn(&self) -> BoxFuture<'_, Result<Box<dyn Turn + '_>, EngineError>> {
        async { Ok(Box::new(self.take_turn().await?) as Box<dyn Turn>) }.boxed()
    }

    fn moved(&self) -> BoxFuture<'_, Moved> {
        let mut moved = self.kept.moved.subscribe();
        async move {
            let news = |revision: &Revision| revision.0 != self.told.load(Ordering::Relaxed);
            let Ok(revision) = moved.wait_for(news).await.map(|revision| *revision) else { return std::future::pending().await };
            self.told.store(revision.0, Ordering::Relaxed);
            Moved::To(revision)
        }
        .boxed()
    }

    fn meta(&self) -> BoxFuture<'_, Result<Meta, EngineError>> {
        ready(self.read(|tables| tables.meta.clone()))
    }

    fn change(&self, reference: ChangeReference) -> BoxFuture<'_, Result<Option<Change>, EngineError>> {
        ready(self.read(|tables| tables.change(&reference)))
    }

    fn changes_before(&self, revision: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, EngineError>> {
        ready(self.read(|tables| tables.changes_before(revision, limit)))
    }

    fn entries(&self, revision: Revision) -> BoxFuture<'_, Result<Vec<Entry>, EngineError>> {
        ready(self.read(|tables| tables.entries_of(revision)))
    }

    fn newest_entries(&self, keys: Vec<ObjectKey>) -> BoxFuture<'_, Result<Vec<(Change, Entry)>, EngineError>> {
        ready(self.read(|tables| tables.newest_entries(&keys)))
    }

    fn entries_at(&self, wanted: Vec<(ObjectKey, u64)>) -> BoxFuture<'_, Result<Vec<(Change, Entry)>, EngineError>> {
        ready(self.read(|tables| tables.entries_at(&wanted)))
    }

    fn changes_named(&self, prefix: String, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, EngineError>> {
        ready(self.read(|tables| tables.changes_named(&prefix, limit)))
    }

    fn steps<'a>(&'a self, wanted: &'a StepsWanted) -> BoxFuture<'a, Result<Steps, EngineError>> {
        ready(self.read(|tables| tables.steps(wanted)))
    }

    fn history_bytes_floor(&self, bytes_max: u64) -> BoxFuture<'_, Result<Revision, EngineError>> {
        ready(self.read(|tables| tables.history_bytes_floor(bytes_max)))
    }

    fn compact(&self, through: Revision) -> BoxFuture<'_, Result<(), EngineError>> {
        async move { self.change(|tables| tables.compact(through)).await.map(|_| ()) }.boxed()
    }

    /// It takes no requests.
    fn asked(&self) -> BoxFuture<'_, Result<Vec<Asked>, EngineError>> {
        std::future::pending().boxed()
    }

    fn settle<'a>(&'a self, _settled: &'a Settled) -> BoxFuture<'a, Result<(), EngineError>> {
        ready(Ok(()))
    }

    fn others(&self) -> BoxFuture<'_, Result<u64, EngineError>> {
        // Each open engine holds the record once, and so may those who model its disk.
        ready(Ok(0))
    }

    fn import(&self) -> BoxFuture<'_, Result<Box<dyn Import + '_>, EngineError>> {
        async {
            let kept = self.open()?;
            let alone = kept.alone().await;
            Ok(Box::new(MemoryImport::new(kept, alone)) as Box<dyn Import>)
        }
        .boxed()
    }

    fn begin_anew<'a>(&'a self, incarnation: &'a str, at: Timestamp) -> BoxFuture<'a, Result<Meta, EngineError>> {
        async move {
            let names = (name(&self.kept.new_uid), name(&self.kept.new_uid));
            self.change(|tables| tables.begin_anew(incarnation, at, names)).await
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.closed.store(true, Ordering::Relaxed);
        ready(())
    }
}

#[cfg(test)]
mod tests;
