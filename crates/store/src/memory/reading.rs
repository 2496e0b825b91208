//! One moment of the record in memory: the maps as they were.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use stead_model::{ObjectKey, Revision};

use super::ready;
use super::tables::Tables;
use crate::engine::{EngineError, Reading};
use crate::rows::{Change, Entry, HistoryRow, Mark, Meta, RootDocument, Sequence};
use crate::stored::Stored;

pub(super) struct MemoryReading {
    tables: Tables,
}

impl MemoryReading {
    pub(super) fn new(tables: Tables) -> Self {
        Self { tables }
    }
}

/// A row of its own: the view shares what it takes in with what it has, and changes it to do so.
fn row(stored: &Arc<Stored>) -> Result<Stored, EngineError> {
    Ok(Stored::from_json(&stored.key(), stored.uid(), stored.revision(), stored.json().clone())?)
}

fn rows<'a, T: Send + 'a>(
    rows: impl Iterator<Item = Result<T, EngineError>> + Send + 'a,
) -> BoxStream<'a, Result<T, EngineError>> {
    stream::iter(rows).boxed()
}

impl Reading for MemoryReading {
    fn meta(&mut self) -> BoxFuture<'_, Result<Meta, EngineError>> {
        ready(Ok(self.tables.meta.clone()))
    }

    fn holds<'a>(&'a mut self, mark: &'a Mark) -> BoxFuture<'a, Result<Option<bool>, EngineError>> {
        ready(Ok(self.tables.holds(mark)))
    }

    fn objects(&mut self) -> BoxStream<'_, Result<Stored, EngineError>> {
        rows(self.tables.objects.values().map(row))
    }

    fn objects_named(&mut self, keys: Vec<ObjectKey>) -> BoxStream<'_, Result<Stored, EngineError>> {
        let found: Vec<_> = keys.iter().filter_map(|key| self.tables.object(key)).map(row).collect();
        rows(found.into_iter())
    }

    fn sequences_after(&mut self, revision: Revision) -> BoxStream<'_, Result<(ObjectKey, Sequence), EngineError>> {
        rows(self.tables.sequences.values().filter(move |(_, sequence)| sequence.revision > revision).cloned().map(Ok))
    }

    fn roots_after(&mut self, version: u64) -> BoxFuture<'_, Result<Vec<RootDocument>, EngineError>> {
        ready(Ok(self.tables.roots.range(version.saturating_add(1)..).map(|(_, root)| root.clone()).collect()))
    }

    fn history_after(&mut self, revision: Revision) -> BoxStream<'_, Result<HistoryRow, EngineError>> {
        let newest_first = self.tables.history.range((revision.next(), 0)..).rev();
        rows(newest_first.map(|(_, row)| Ok((**row).clone())))
    }

    fn changes(&mut self) -> BoxStream<'_, Result<Change, EngineError>> {
        rows(self.tables.changes.values().map(|change| Ok((**change).clone())))
    }

    fn entries(&mut self) -> BoxStream<'_, Result<Entry, EngineError>> {
        rows(self.tables.entries.values().map(|entry| Ok((**entry).clone())))
    }

    fn end<'a>(self: Box<Self>) -> BoxFuture<'a, ()>
    where
        Self: 'a,
    {
        ready(())
    }
}
