//! The record out of its database into memory, when the store is opened, or cannot follow any more.

use std::sync::Arc;

use futures::TryStreamExt;
use stead_model::Revision;

use crate::engine::{EngineError, Reading};
use crate::rewind::Rewind;
use crate::ring::Ring;
use crate::view::View;
use crate::watch::Published;

/// How much of the history is kept in memory.
#[derive(Clone, Copy)]
pub(crate) struct RingLimits {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
}

pub(crate) async fn load(reading: &mut dyn Reading, epoch: u64, limits: RingLimits) -> Result<Published, EngineError> {
    let meta = reading.meta().await?;
    let mut view = View::of(&meta, epoch);
    let mut objects = reading.objects();
    while let Some(stored) = objects.try_next().await? {
        view.insert(stored);
    }
    drop(objects);
    let mut sequences = reading.sequences_after(Revision(0));
    while let Some((key, sequence)) = sequences.try_next().await? {
        view.set_sequence(&key, sequence);
    }
    drop(sequences);
    for root in reading.roots_after(0).await? {
        view.add_root(root);
    }
    let ring = ring(reading, &view, meta.compacted, limits).await?;
    Ok(Published { view: Arc::new(view), ring })
}

async fn ring(reading: &mut dyn Reading, view: &View, compacted: Revision, limits: RingLimits) -> Result<Ring, EngineError> {
    let mut rewind = Rewind::default();
    let mut floor = compacted;
    let mut rows = reading.history_after(compacted);
    while let Some(row) = rows.try_next().await? {
        if rewind.is_full(&row, limits.events_max, limits.bytes_max) {
            floor = row.revision;
            break;
        }
        rewind.take(row, view);
    }
    let mut ring = Ring::new(floor, limits.events_max, limits.bytes_max);
    rewind.groups().for_each(|group| ring.push(group));
    Ok(ring)
}
