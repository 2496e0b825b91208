//! What others wrote: from a view of the record to the next one, and the events in between, out of the record's history.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt;
use stead_model::{ObjectKey, Revision};

use crate::engine::{EngineError, Reading};
use crate::load::RingLimits;
use crate::rewind::Rewind;
use crate::ring::EventGroup;
use crate::rows::{HistoryRow, Meta};
use crate::view::View;

/// Revisions that are followed one by one; beyond them, loading everything anew takes no longer.
const FOLLOWED_REVISIONS_MAX: u64 = 20_000;

/// Where a view can go.
pub(crate) enum Followed {
    /// To the record as it is, by these events.
    To(Box<View>, Vec<Arc<EventGroup>>),
    /// Nowhere: the record has to be loaded anew.
    Lost {
        /// Whether it still went by where the view is, so that what was told of it stays true.
        continuous: bool,
    },
    /// Nowhere: the record has lost what the view shows, as a standby has that was promoted without the newest batches.
    WentBack,
}

/// Reads what happened after a view, up to `meta`. The view does not move; nothing is told here.
pub(crate) async fn follow(
    reading: &mut dyn Reading,
    meta: &Meta,
    view: &View,
    limits: RingLimits,
) -> Result<Followed, EngineError> {
    if *meta.incarnation != *view.incarnation || meta.compacted > view.revision {
        return Ok(Followed::Lost { continuous: false });
    }
    if meta.last < view.revision || reading.holds(&view.mark()).await? != Some(true) {
        return Ok(Followed::WentBack);
    }
    if reading.holds(&meta.mark()).await? != Some(true) {
        return Err(EngineError::Moved { expected: view.revision, found: meta.last });
    }
    if meta.last.0.saturating_sub(view.revision.0) > FOLLOWED_REVISIONS_MAX {
        return Ok(Followed::Lost { continuous: true });
    }
    let Some(steps) = steps_after(reading, view.revision, limits).await? else {
        return Ok(Followed::Lost { continuous: true });
    };
    let mut next = view.clone();
    next.move_to(meta);
    take_objects(reading, &mut next, steps.iter().map(|step| step.key.clone()).collect()).await?;
    let mut sequences = reading.sequences_after(view.revision);
    while let Some((key, sequence)) = sequences.try_next().await? {
        next.set_sequence(&key, sequence);
    }
    drop(sequences);
    for root in reading.roots_after(view.newest_root().map_or(0, |root| root.version)).await? {
        next.add_root(root);
    }
    let mut rewind = Rewind::default();
    steps.into_iter().for_each(|step| rewind.take(step, &next));
    Ok(Followed::To(Box::new(next), rewind.groups().collect()))
}

/// The steps, newest first; `None` where they are more than watchers could be told.
async fn steps_after(
    reading: &mut dyn Reading,
    revision: Revision,
    limits: RingLimits,
) -> Result<Option<Vec<HistoryRow>>, EngineError> {
    let (mut steps, mut bytes) = (Vec::new(), 0_usize);
    let mut rows = reading.history_after(revision);
    while let Some(row) = rows.try_next().await? {
        bytes = bytes.saturating_add(row.before.as_ref().map_or(0, |before| before.json().len()));
        steps.push(row);
        if steps.len() > limits.events_max || bytes > limits.bytes_max {
            return Ok(None);
        }
    }
    Ok(Some(steps))
}

/// Brings the touched objects into the view as they are now.
async fn take_objects(reading: &mut dyn Reading, view: &mut View, mut touched: BTreeSet<ObjectKey>) -> Result<(), EngineError> {
    let mut objects = reading.objects_named(touched.iter().cloned().collect());
    while let Some(stored) = objects.try_next().await? {
        touched.remove(&stored.key());
        view.insert(stored);
    }
    for key in &touched {
        view.remove(key);
    }
    Ok(())
}
