//! An engine that fails when it is told to, before or after the batch is really on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use stead_model::{ObjectKey, Revision};
use stead_store::{
    Batch, Change, ChangeReference, Engine, EngineError, Entry, HistoryRow, Meta, RootDocument, Sequence, SqliteEngine, Stored,
};

pub(crate) const SOUND: u8 = 0;
pub(crate) const FAILS_BEFORE_COMMIT: u8 = 1;
pub(crate) const FAILS_AFTER_COMMIT: u8 = 2;
pub(crate) const LOST_AFTER_COMMIT: u8 = 3;
pub(crate) const AWAY: u8 = 4;

pub(crate) struct Flaky {
    pub(crate) inner: SqliteEngine,
    pub(crate) mode: Arc<AtomicU8>,
}

impl Flaky {
    fn mode(&self) -> u8 {
        self.mode.load(Ordering::SeqCst)
    }
}

fn failure() -> EngineError {
    EngineError::Database { doing: "being flaky", source: sqlx::Error::WorkerCrashed }
}

impl Engine for Flaky {
    fn meta(&self) -> BoxFuture<'_, Result<Meta, EngineError>> {
        if self.mode() >= LOST_AFTER_COMMIT {
            return async { Err(failure()) }.boxed();
        }
        self.inner.meta()
    }

    fn commit<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<(), EngineError>> {
        async move {
            match self.mode() {
                SOUND => self.inner.commit(batch).await,
                FAILS_AFTER_COMMIT | LOST_AFTER_COMMIT => {
                    self.inner.commit(batch).await?;
                    Err(failure())
                }
                _ => Err(failure()),
            }
        }
        .boxed()
    }

    fn objects(&self) -> BoxStream<'_, Result<Stored, EngineError>> {
        self.inner.objects()
    }

    fn sequences(&self) -> BoxStream<'_, Result<(ObjectKey, Sequence), EngineError>> {
        self.inner.sequences()
    }

    fn roots(&self) -> BoxFuture<'_, Result<Vec<RootDocument>, EngineError>> {
        self.inner.roots()
    }

    fn history_after(&self, revision: Revision) -> BoxStream<'_, Result<HistoryRow, EngineError>> {
        self.inner.history_after(revision)
    }

    fn known_changes(&self, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<(String, Revision)>, EngineError>> {
        self.inner.known_changes(ids)
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

    fn history_bytes_floor(&self, bytes_max: u64) -> BoxFuture<'_, Result<Revision, EngineError>> {
        self.inner.history_bytes_floor(bytes_max)
    }

    fn compact(&self, through: Revision) -> BoxFuture<'_, Result<(), EngineError>> {
        self.inner.compact(through)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}
