//! Events out of undo steps: going back from the current objects gives the state after each step.

use std::collections::HashMap;
use std::sync::Arc;

use stead_model::{ObjectKey, Revision};

use crate::ring::{Event, EventGroup};
use crate::rows::HistoryRow;
use crate::stored::Stored;
use crate::view::View;

/// Takes steps newest first, and makes events of them.
#[derive(Default)]
pub(crate) struct Rewind {
    /// Objects as they were before the steps taken so far.
    after: HashMap<ObjectKey, Option<Arc<Stored>>>,
    newest_first: Vec<EventGroup>,
    events: usize,
    bytes: usize,
}

impl Rewind {
    /// Whether so many events are made that the step, which begins an older revision, need not be taken.
    pub(crate) fn is_full(&self, row: &HistoryRow, events_max: usize, bytes_max: usize) -> bool {
        self.begins(row.revision) && (self.events >= events_max || self.bytes >= bytes_max)
    }

    /// Takes the next older step. `view` is the record after the newest one.
    pub(crate) fn take(&mut self, row: HistoryRow, view: &View) {
        let state_after = match self.after.remove(&row.key) {
            Some(state) => state,
            None => view.get(&row.key).cloned(),
        };
        self.after.insert(row.key, row.before.clone());
        if self.begins(row.revision) {
            self.newest_first.push(EventGroup { revision: row.revision, events: Vec::new() });
        }
        let event = Event::between(row.before, state_after, row.revision);
        if let (Some(group), Some(event)) = (self.newest_first.last_mut(), event) {
            self.events = self.events.saturating_add(1);
            self.bytes = self.bytes.saturating_add(event.bytes());
            group.events.push(event);
        }
    }

    fn begins(&self, revision: Revision) -> bool {
        self.newest_first.last().is_none_or(|group| group.revision != revision)
    }

    /// What happened, oldest first.
    pub(crate) fn groups(self) -> impl Iterator<Item = Arc<EventGroup>> {
        self.newest_first.into_iter().rev().map(|mut group| {
            group.events.reverse();
            Arc::new(group)
        })
    }
}
