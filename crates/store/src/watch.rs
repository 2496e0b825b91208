//! A watch: a place in the shared run of events, and what of them is wanted.

use std::sync::Arc;

use stead_model::{GroupKind, Revision, Selector};
use tokio::sync::watch;

use crate::ring::{Event, EventGroup, EventKind, Ring};
use crate::stored::Stored;
use crate::view::{Filter, View};

/// What readers share: the view, and the events that led to it.
pub(crate) struct Published {
    pub(crate) view: Arc<View>,
    pub(crate) ring: Ring,
}

/// Why a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// What the watch should tell next is no longer kept. It has missed nothing so far.
    #[error(
        "events after revision {revision} are no longer kept (the oldest are those after {oldest}); list again and watch from there"
    )]
    Gone {
        /// Where the watch is.
        revision: Revision,
        /// Where a watch could start.
        oldest: Revision,
    },
    /// The store has been closed.
    #[error("the store has been closed")]
    Closed,
}

/// A condition on an object's fields that a watcher keeps for as long as it lives.
pub type WatchFields = Arc<dyn Fn(&Stored) -> bool + Send + Sync>;

/// What a watch is about.
#[derive(Clone, Default)]
pub struct WatchScope {
    /// Only this kind; `None` for all.
    pub kind: Option<GroupKind>,
    /// Only this namespace; `None` for all.
    pub namespace: Option<String>,
    /// Only objects whose labels fit.
    pub selector: Selector,
    /// Only objects whose fields fit.
    pub fields: Option<WatchFields>,
}

impl WatchScope {
    /// All objects of a kind.
    pub fn kind(kind: GroupKind) -> Self {
        Self { kind: Some(kind), ..Self::default() }
    }
}

impl std::fmt::Debug for WatchScope {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("WatchScope");
        shown.field("kind", &self.kind).field("namespace", &self.namespace).field("selector", &self.selector.to_string());
        shown.finish_non_exhaustive()
    }
}

/// One event as a watcher is told it.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// What happened, from the point of view of the watch's scope.
    pub kind: EventKind,
    /// The object; for a deletion its last state that was in the scope, with the revision of the event.
    pub object: Arc<Stored>,
    /// The object before the event; `None` where it was created.
    pub previous: Option<Arc<Stored>>,
}

/// What happened at one revision, as far as it is in the scope.
#[derive(Clone, Debug)]
pub struct WatchGroup {
    /// The revision.
    pub revision: Revision,
    /// Its events, in order; never empty.
    pub events: Vec<WatchEvent>,
}

/// Tells every event in its scope after a revision, in order, without gaps; or says [`WatchError::Gone`].
pub struct Watcher {
    published: watch::Receiver<Arc<Published>>,
    cursor: Revision,
    /// The epoch of the view in which the cursor means something.
    epoch: u64,
    scope: WatchScope,
    filter: Filter,
    /// What happened at the cursor is told again, where it is several events.
    again: bool,
}

impl Watcher {
    pub(crate) fn new(published: watch::Receiver<Arc<Published>>, after: Revision, scope: WatchScope) -> Self {
        let filter = Filter::new(&scope.selector);
        let epoch = published.borrow().view.epoch;
        Self { published, cursor: after, epoch, scope, filter, again: false }
    }

    /// For a listener that takes events one by one, and has perhaps taken only the first of those of the revision that it comes back
    /// from: where there are several, they are told again.
    #[must_use]
    pub fn telling_again(self) -> Self {
        Self { again: true, ..self }
    }

    /// Everything in the scope up to this revision has been told: what a bookmark says.
    pub fn revision(&self) -> Revision {
        self.cursor
    }

    /// Waits for the next revision at which something in the scope happened. May be dropped while it waits; nothing is lost.
    ///
    /// # Errors
    ///
    /// [`WatchError::Gone`] when the watcher was too slow, or asked for a revision too old; [`WatchError::Closed`].
    pub async fn next(&mut self) -> Result<WatchGroup, WatchError> {
        loop {
            if let Some(group) = self.try_next()? {
                return Ok(group);
            }
            self.published.changed().await.map_err(|_| WatchError::Closed)?;
        }
    }

    /// The next revision at which something happened, where there is one already.
    ///
    /// # Errors
    ///
    /// [`WatchError::Gone`].
    pub fn try_next(&mut self) -> Result<Option<WatchGroup>, WatchError> {
        let published = Arc::clone(&self.published.borrow_and_update());
        if self.cursor < published.ring.floor || self.epoch != published.view.epoch {
            return Err(WatchError::Gone { revision: self.cursor, oldest: published.ring.floor });
        }
        // Another coordinator may have told of a revision that has yet to come here.
        if self.again && published.view.revision >= self.cursor {
            self.again = false;
            let group = published.ring.at(self.cursor).and_then(|group| self.wanted(group));
            if let Some(group) = group.filter(|group| group.events.len() > 1) {
                return Ok(Some(group));
            }
        }
        for group in published.ring.after(self.cursor) {
            self.cursor = group.revision;
            if let Some(group) = self.wanted(group) {
                return Ok(Some(group));
            }
        }
        self.cursor = self.cursor.max(published.view.revision);
        Ok(None)
    }

    /// What of a group is in the scope, if anything.
    fn wanted(&self, group: &EventGroup) -> Option<WatchGroup> {
        let events: Vec<WatchEvent> = group.events.iter().filter_map(|event| self.told(event)).collect();
        (!events.is_empty()).then_some(WatchGroup { revision: group.revision, events })
    }

    fn told(&self, event: &Event) -> Option<WatchEvent> {
        let object = &event.object;
        let here = self.scope.kind.as_ref().is_none_or(|kind| kind == object.kind())
            && self.scope.namespace.as_ref().is_none_or(|namespace| namespace == object.namespace());
        if !here {
            return None;
        }
        let now = event.kind != EventKind::Deleted && self.wants(object);
        let before = event.previous.as_ref().is_some_and(|previous| self.wants(previous));
        let (kind, object) = match (before, now) {
            (false, false) => return None,
            (false, true) => (EventKind::Added, Arc::clone(object)),
            (true, true) => (EventKind::Modified, Arc::clone(object)),
            (true, false) if event.kind == EventKind::Deleted => (EventKind::Deleted, Arc::clone(object)),
            (true, false) => (EventKind::Deleted, event.left()),
        };
        Some(WatchEvent { kind, object, previous: event.previous.clone() })
    }

    fn wants(&self, object: &Stored) -> bool {
        self.filter.matches(object) && self.scope.fields.as_ref().is_none_or(|fields| fields(object))
    }
}
