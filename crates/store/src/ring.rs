//! The newest events, shared by every watcher: each has a place in them, none a copy of them.

use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use imbl::OrdMap;
use stead_model::Revision;

use crate::stored::Stored;

/// What happened to an object, as a watcher sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is new, or now fits the watcher's selector.
    Added,
    /// It was written.
    Modified,
    /// It is gone, or no longer fits the watcher's selector.
    Deleted,
}

/// One step of one object.
#[derive(Debug)]
pub(crate) struct Event {
    /// What happened.
    pub(crate) kind: EventKind,
    /// The object after it; for a deletion its last state, with the revision of the deletion.
    pub(crate) object: Arc<Stored>,
    /// The object before it; `None` where it was created.
    pub(crate) previous: Option<Arc<Stored>>,
    /// The object before it, with the revision of this event: for watchers whose selector it left. Made when first asked for.
    left: OnceLock<Arc<Stored>>,
}

impl Event {
    /// From the object before and after a step; `None` where there was and is none.
    pub(crate) fn between(before: Option<Arc<Stored>>, after: Option<Arc<Stored>>, revision: Revision) -> Option<Self> {
        let (kind, object) = match (&before, after) {
            (None, None) => return None,
            (None, Some(after)) => (EventKind::Added, after),
            (Some(_), Some(after)) => (EventKind::Modified, after),
            (Some(before), None) => (EventKind::Deleted, Arc::new(before.at_revision(revision))),
        };
        Some(Self { kind, object, previous: before, left: OnceLock::new() })
    }

    /// What a watcher is told whose selector the object left with this event.
    pub(crate) fn left(&self) -> Arc<Stored> {
        let before = self.previous.as_ref().unwrap_or(&self.object);
        Arc::clone(self.left.get_or_init(|| Arc::new(before.at_revision(self.object.revision()))))
    }

    pub(crate) fn bytes(&self) -> usize {
        let previous = self.previous.as_ref().map_or(0, |previous| previous.json().len());
        previous.saturating_add(self.object.json().len())
    }
}

/// The events of one revision, in order.
#[derive(Debug)]
pub(crate) struct EventGroup {
    /// The revision.
    pub(crate) revision: Revision,
    /// What happened at it.
    pub(crate) events: Vec<Event>,
}

/// A bounded run of groups, without gaps.
#[derive(Clone)]
pub(crate) struct Ring {
    groups: OrdMap<Revision, Arc<EventGroup>>,
    /// Every event after this revision is here.
    pub(crate) floor: Revision,
    events: usize,
    bytes: usize,
    events_max: usize,
    bytes_max: usize,
}

impl Ring {
    pub(crate) fn new(floor: Revision, events_max: usize, bytes_max: usize) -> Self {
        Self { groups: OrdMap::new(), floor, events: 0, bytes: 0, events_max, bytes_max }
    }

    pub(crate) fn push(&mut self, group: Arc<EventGroup>) {
        if group.events.is_empty() {
            return;
        }
        self.events = self.events.saturating_add(group.events.len());
        self.bytes = self.bytes.saturating_add(group.bytes());
        self.groups.insert(group.revision, group);
        while self.groups.len() > 1 && (self.events > self.events_max || self.bytes > self.bytes_max) {
            let (oldest, rest) = self.groups.without_min();
            let Some(oldest) = oldest else { break };
            self.groups = rest;
            self.events = self.events.saturating_sub(oldest.events.len());
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            self.floor = oldest.revision;
        }
    }

    /// The group of a revision.
    pub(crate) fn at(&self, revision: Revision) -> Option<&Arc<EventGroup>> {
        self.groups.get(&revision)
    }

    /// The groups after a revision, oldest first.
    pub(crate) fn after(&self, revision: Revision) -> impl Iterator<Item = &Arc<EventGroup>> {
        self.groups.range((Bound::Excluded(revision), Bound::Unbounded)).map(|(_, group)| group)
    }
}

impl EventGroup {
    fn bytes(&self) -> usize {
        self.events.iter().map(Event::bytes).sum()
    }
}
