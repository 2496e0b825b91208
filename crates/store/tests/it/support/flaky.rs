//! An engine that fails when it is told to, before or after the batch is really on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use stead_model::{ObjectKey, Revision};
use stead_store::{
    Asked, Batch, Change, ChangeReference, CommitFailure, Engine, EngineError, Entry, Import, Meta, Moved, Reading, Settled,
    Steps, StepsWanted, Turn,
};

pub(crate) const SOUND: u8 = 0;
pub(crate) const FAILS_BEFORE_COMMIT: u8 = 1;
pub(crate) const FAILS_AFTER_COMMIT: u8 = 2;
pub(crate) const LOST_AFTER_COMMIT: u8 = 3;
pub(crate) const AWAY: u8 = 4;

pub(crate) struct Flaky {
    pub(crate) inner: Arc<dyn Engine>,
    pub(crate) mode: Arc<AtomicU8>,
}

struct FlakyTurn<'e> {
    inner: Box<dyn Turn + 'e>,
    mode: &'e AtomicU8,
}

fn failure() -> EngineError {
    EngineError::Database { doing: "being flaky".into(), source: sqlx::Error::WorkerCrashed }
}

impl Turn for FlakyTurn<'_> {
    fn meta(&self) -> &Meta {
        self.inner.meta()
    }

    fn reading(&mut self) -> BoxFuture<'_, Result<&mut dyn Reading, EngineError>> {
        self.inner.reading()
    }

    fn known_changes(&mut self, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<(String, Revision)>, EngineError>> {
        self.inner.known_changes(ids)
    }

    fn settled(&mut self, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<String>, EngineError>> {
        self.inner.settled(ids)
    }

    fn commit<'a>(self: Box<Self>, batch: &'a Batch) -> BoxFuture<'a, Result<(), CommitFailure>>
    where
        Self: 'a,
    {
        async move {
            match self.mode.load(Ordering::SeqCst) {
                SOUND => self.inner.commit(batch).await,
                FAILS_BEFORE_COMMIT => {
                    self.inner.end().await;
                    Err(CommitFailure::Refused(failure()))
                }
                FAILS_AFTER_COMMIT => {
                    self.inner.commit(batch).await?;
                    Err(CommitFailure::Unsure(failure()))
                }
                _ => {
                    self.inner.commit(batch).await?;
                    self.mode.store(AWAY, Ordering::SeqCst);
                    Err(CommitFailure::Unsure(failure()))
                }
            }
        }
        .boxed()
    }

    fn end<'a>(self: Box<Self>) -> BoxFuture<'a, ()>
    where
        Self: 'a,
    {
        self.inner.end()
    }
}

impl Engine for Flaky {
    fn reading(&self) -> BoxFuture<'_, Result<Box<dyn Reading + '_>, EngineError>> {
        self.inner.reading()
    }

    fn turn(&self) -> BoxFuture<'_, Result<Box<dyn Turn + '_>, EngineError>> {
        async move {
            if self.mode.load(Ordering::SeqCst) == AWAY {
                return Err(failure());
            }
            Ok(Box::new(FlakyTurn { inner: self.inner.turn().await?, mode: &self.mode }) as Box<dyn Turn>)
        }
        .boxed()
    }

    fn moved(&self) -> BoxFuture<'_, Moved> {
        self.inner.moved()
    }

    fn meta(&self) -> BoxFuture<'_, Result<Meta, EngineError>> {
        self.inner.meta()
    }

    fn change(&self, reference: ChangeReference) -> BoxFuture<'_, Result<Option<Change>, EngineError>> {
        self.inner.change(reference)
    }

    fn changes_before(&self, revision: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, EngineError>> {
        self.inner.changes_before(revision, limit)
    }

    fn entries(&self, revision: Revision) -> BoxFuture<'_, Result<Vec<Entry>, EngineError>> {
        self.inner.entries(revision)
    }

    fn newest_entries(&self, keys: Vec<ObjectKey>) -> BoxFuture<'_, Result<Vec<(Change, Entry)>, EngineError>> {
        self.inner.newest_entries(keys)
    }

    fn entries_at(&self, wanted: Vec<(ObjectKey, u64)>) -> BoxFuture<'_, Result<Vec<(Change, Entry)>, EngineError>> {
        self.inner.entries_at(wanted)
    }

    fn changes_named(&self, prefix: String, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, EngineError>> {
        self.inner.changes_named(prefix, limit)
    }

    fn steps<'a>(&'a self, wanted: &'a StepsWanted) -> BoxFuture<'a, Result<Steps, EngineError>> {
        self.inner.steps(wanted)
    }

    fn history_bytes_floor(&self, bytes_max: u64) -> BoxFuture<'_, Result<Revision, EngineError>> {
        self.inner.history_bytes_floor(bytes_max)
    }

    fn compact(&self, through: Revision) -> BoxFuture<'_, Result<(), EngineError>> {
        self.inner.compact(through)
    }

    fn asked(&self) -> BoxFuture<'_, Result<Vec<Asked>, EngineError>> {
        self.inner.asked()
    }

    fn settle<'a>(&'a self, settled: &'a Settled) -> BoxFuture<'a, Result<(), EngineError>> {
        self.inner.settle(settled)
    }

    fn others(&self) -> BoxFuture<'_, Result<u64, EngineError>> {
        self.inner.others()
    }

    fn import(&self) -> BoxFuture<'_, Result<Box<dyn Import + '_>, EngineError>> {
        self.inner.import()
    }

    fn begin_anew<'a>(&'a self, incarnation: &'a str, at: Timestamp) -> BoxFuture<'a, Result<Meta, EngineError>> {
        self.inner.begin_anew(incarnation, at)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}
