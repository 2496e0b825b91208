//! Writing to the record in memory: a batch onto the state that the turn found, and another record's rows into an empty one.

use std::sync::atomic::Ordering;

use futures::FutureExt;
use futures::future::BoxFuture;
use stead_model::Revision;
use tokio::sync::OwnedMutexGuard;

use super::reading::MemoryReading;
use super::tables::Tables;
use super::{Kept, PLACE, ready};
use crate::engine::{CommitFailure, EngineError, Import, Reading, Turn};
use crate::rows::{Batch, Meta};

pub(super) struct MemoryTurn<'e> {
    kept: &'e Kept,
    _alone: OwnedMutexGuard<()>,
    crashes: u64,
    found: Tables,
    reading: MemoryReading,
}

impl<'e> MemoryTurn<'e> {
    pub(super) fn new(kept: &'e Kept, alone: OwnedMutexGuard<()>) -> Self {
        let (found, crashes) = (kept.tables(), kept.crashes.load(Ordering::Relaxed));
        Self { kept, _alone: alone, crashes, reading: MemoryReading::new(found.clone()), found }
    }

    async fn commit(self, batch: &Batch) -> Result<(), CommitFailure> {
        if self.kept.crashes.load(Ordering::Relaxed) != self.crashes {
            let (place, reason) = (PLACE.to_owned(), "it crashed while the batch was made".to_owned());
            return Err(CommitFailure::Refused(EngineError::Away { place, doing: "writing", reason }));
        }
        let meta = &self.found.meta;
        if (meta.last, meta.leader_term) != (batch.base, batch.base_term) {
            return Err(CommitFailure::Refused(batch.not_at(meta)));
        }
        let mut next = self.found;
        next.add(batch);
        next.move_on(batch);
        self.kept.write(next).await
    }
}

impl Turn for MemoryTurn<'_> {
    fn meta(&self) -> &Meta {
        &self.found.meta
    }

    fn reading(&mut self) -> BoxFuture<'_, Result<&mut dyn Reading, EngineError>> {
        ready(Ok(&mut self.reading as &mut dyn Reading))
    }

    fn known_changes(&mut self, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<(String, Revision)>, EngineError>> {
        ready(Ok(ids.into_iter().filter_map(|id| self.found.revision_of(&id).map(|revision| (id, revision))).collect()))
    }

    fn settled(&mut self, _ids: Vec<String>) -> BoxFuture<'_, Result<Vec<String>, EngineError>> {
        ready(Ok(Vec::new()))
    }

    fn commit<'a>(self: Box<Self>, batch: &'a Batch) -> BoxFuture<'a, Result<(), CommitFailure>>
    where
        Self: 'a,
    {
        Self::commit(*self, batch).boxed()
    }

    fn end<'a>(self: Box<Self>) -> BoxFuture<'a, ()>
    where
        Self: 'a,
    {
        ready(())
    }
}

pub(super) struct MemoryImport<'e> {
    kept: &'e Kept,
    _alone: OwnedMutexGuard<()>,
    filled: Tables,
}

impl<'e> MemoryImport<'e> {
    pub(super) fn new(kept: &'e Kept, alone: OwnedMutexGuard<()>) -> Self {
        Self { kept, _alone: alone, filled: kept.tables() }
    }

    async fn finish(mut self, meta: &Meta) -> Result<(), EngineError> {
        self.filled.meta = meta.clone();
        match self.kept.write(self.filled).await {
            Ok(()) => Ok(()),
            Err(CommitFailure::Refused(error) | CommitFailure::Unsure(error)) => Err(error),
        }
    }
}

impl Import for MemoryImport<'_> {
    fn add<'a>(&'a mut self, rows: &'a Batch) -> BoxFuture<'a, Result<(), EngineError>> {
        self.filled.add(rows);
        ready(Ok(()))
    }

    fn finish<'a>(self: Box<Self>, meta: &'a Meta) -> BoxFuture<'a, Result<(), EngineError>>
    where
        Self: 'a,
    {
        Self::finish(*self, meta).boxed()
    }
}
