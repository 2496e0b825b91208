//! The durable outbox as this crate sees it; the agent keeps it on disk.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

use crate::OutboxItem;

/// The outbox could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the outbox failed; events wait until it works again")]
pub struct OutboxError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Items that the coordinator has to get at least once, in order.
pub trait Outbox: Send + Sync + 'static {
    /// At most `limit` items with a sequence above `after`, ascending.
    fn pending(&self, after: u64, limit: usize) -> impl Future<Output = Result<Vec<OutboxItem>, OutboxError>> + Send;

    /// The coordinator has every item up to `sequence` on its disk: they may go.
    fn taken(&self, sequence: u64) -> impl Future<Output = Result<(), OutboxError>> + Send;
}

/// An outbox in memory, for tests and simulation.
#[derive(Debug, Default)]
pub struct MemoryOutbox {
    items: Mutex<(u64, BTreeMap<u64, Bytes>)>,
}

impl MemoryOutbox {
    /// Adds an item and gives its sequence. Call [`crate::AgentHandle::outbox_changed`] after it.
    pub fn push(&self, body: Bytes) -> u64 {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        items.0 += 1;
        let sequence = items.0;
        items.1.insert(sequence, body);
        sequence
    }

    /// Items not yet taken.
    pub fn len(&self) -> usize {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).1.len()
    }

    /// Whether everything was taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Outbox for std::sync::Arc<MemoryOutbox> {
    async fn pending(&self, after: u64, limit: usize) -> Result<Vec<OutboxItem>, OutboxError> {
        let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(items
            .1
            .range(after.saturating_add(1)..)
            .take(limit)
            .map(|(sequence, body)| OutboxItem { sequence: *sequence, body: body.clone() })
            .collect())
    }

    async fn taken(&self, sequence: u64) -> Result<(), OutboxError> {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        items.1 = items.1.split_off(&sequence.saturating_add(1));
        Ok(())
    }
}
