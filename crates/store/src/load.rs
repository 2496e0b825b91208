//! The record out of its database into memory, when the store is opened.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use stead_model::{ObjectKey, Revision};

use crate::engine::{Engine, EngineError};
use crate::ring::{Event, EventGroup, Ring};
use crate::rows::Meta;
use crate::stored::Stored;
use crate::view::View;
use crate::watch::Published;

pub(crate) async fn load(
    engine: &dyn Engine,
    meta: &Meta,
    events_max: usize,
    bytes_max: usize,
) -> Result<Published, EngineError> {
    let mut view = View::at(meta.last);
    let mut objects = engine.objects();
    while let Some(stored) = objects.try_next().await? {
        view.insert(stored);
    }
    drop(objects);
    let mut sequences = engine.sequences();
    while let Some((key, sequence)) = sequences.try_next().await? {
        view.set_sequence(&key, sequence);
    }
    drop(sequences);
    for root in engine.roots().await? {
        view.add_root(root);
    }
    let ring = rewind(engine, &view, meta.compacted, events_max, bytes_max).await?;
    Ok(Published { view: Arc::new(view), ring })
}

/// The history holds undo steps: going back from the current objects gives the state after each step.
async fn rewind(
    engine: &dyn Engine,
    view: &View,
    compacted: Revision,
    events_max: usize,
    bytes_max: usize,
) -> Result<Ring, EngineError> {
    let mut after: HashMap<ObjectKey, Option<Arc<Stored>>> = HashMap::new();
    let mut newest_first: Vec<EventGroup> = Vec::new();
    let mut floor = compacted;
    let (mut events, mut bytes) = (0_usize, 0_usize);
    let mut rows = engine.history_after(compacted);
    while let Some(row) = rows.try_next().await? {
        let new_revision = newest_first.last().is_none_or(|group| group.revision != row.revision);
        if new_revision && (events >= events_max || bytes >= bytes_max) {
            floor = row.revision;
            break;
        }
        let state_after = match after.remove(&row.key) {
            Some(state) => state,
            None => view.get(&row.key).cloned(),
        };
        after.insert(row.key, row.before.clone());
        if new_revision {
            newest_first.push(EventGroup { revision: row.revision, events: Vec::new() });
        }
        let event = Event::between(row.before, state_after, row.revision);
        if let (Some(group), Some(event)) = (newest_first.last_mut(), event) {
            events = events.saturating_add(1);
            bytes = bytes.saturating_add(event.bytes());
            group.events.push(event);
        }
    }
    let mut ring = Ring::new(floor, events_max, bytes_max);
    for mut group in newest_first.into_iter().rev() {
        group.events.reverse();
        ring.push(Arc::new(group));
    }
    Ok(ring)
}
