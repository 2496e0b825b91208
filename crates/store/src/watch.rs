//! A watch: a place in the shared run of events, and what of them is wanted. What memory no longer has of them is read from the
//! database, as far as that keeps it.

use std::collections::VecDeque;
use std::sync::Arc;

use stead_model::{GroupKind, Revision, Selector};
use tokio::sync::watch;

use crate::engine::EngineError;
use crate::history::History;
use crate::ring::{Event, EventGroup, EventKind, Ring};
use crate::rows::{Place, Steps, StepsWanted};
use crate::stored::Stored;
use crate::view::{Filter, View};

/// What readers share: the view, and the events that led to it.
pub(crate) struct Published {
    pub(crate) view: Arc<View>,
    pub(crate) ring: Ring,
}

/// Why a watch ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// What the watch should tell next is in the database alone, which did not give it. The watch has missed nothing, and may try again.
    #[error("what happened after revision {revision} could not be read: {reason}")]
    Unread {
        /// Where the watch is.
        revision: Revision,
        /// Why not.
        reason: Arc<str>,
        /// Whether the database is not there, so that it may go well later.
        away: bool,
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

/// What happened at one revision, as far as it is in the scope. Where it is read from the database, a revision at which very much
/// happened comes in several groups.
#[derive(Clone, Debug)]
pub struct WatchGroup {
    /// The revision.
    pub revision: Revision,
    /// Its events, in order; never empty.
    pub events: Vec<WatchEvent>,
    /// Whether all watchers are told it out of the same memory; what one reads from the database is its own.
    pub shared: bool,
}

/// What a watch has read from the database and has yet to tell.
struct ReadAhead {
    groups: VecDeque<WatchGroup>,
    /// Where to go on when it is told.
    place: Place,
}

/// Tells every event in its scope after a revision, in order, without gaps; or says [`WatchError::Gone`].
pub struct Watcher {
    published: watch::Receiver<Arc<Published>>,
    history: Arc<History>,
    cursor: Revision,
    /// Never empty, unless the rest of a revision is yet to be read.
    ahead: Option<ReadAhead>,
    /// The epoch of the view in which the cursor means something.
    epoch: u64,
    scope: WatchScope,
    filter: Filter,
    /// What happened at the cursor is told again, where it is several events.
    again: bool,
}

impl Watcher {
    pub(crate) fn new(
        published: watch::Receiver<Arc<Published>>,
        history: Arc<History>,
        after: Revision,
        scope: WatchScope,
    ) -> Self {
        let filter = Filter::new(&scope.selector);
        let epoch = published.borrow().view.epoch;
        Self { published, history, cursor: after, ahead: None, epoch, scope, filter, again: false }
    }

    /// For a listener that takes events one by one, and has perhaps taken only the first of those of the revision that it comes back
    /// from: where there are several, they are told again.
    #[must_use]
    pub fn telling_again(self) -> Self {
        Self { again: self.cursor > Revision(0), ..self }
    }

    /// Everything in the scope up to this revision has been told: what a bookmark says.
    pub fn revision(&self) -> Revision {
        self.cursor
    }

    /// Waits for the next revision at which something in the scope happened. May be dropped while it waits; nothing is lost.
    ///
    /// # Errors
    ///
    /// [`WatchError::Gone`] when the watcher was too slow, or asked for a revision too old; [`WatchError::Unread`];
    /// [`WatchError::Closed`].
    pub async fn next(&mut self) -> Result<WatchGroup, WatchError> {
        loop {
            if let Some(group) = self.next_at_hand().await? {
                return Ok(group);
            }
            self.read_on().await?;
        }
    }

    /// The same as far as it is at hand; `None` where what is to be told next has to be [read](Self::read_on) from the database first.
    ///
    /// # Errors
    ///
    /// [`WatchError::Gone`] where the record is no longer the one that was watched; [`WatchError::Closed`].
    pub async fn next_at_hand(&mut self) -> Result<Option<WatchGroup>, WatchError> {
        loop {
            if let Some(group) = self.try_next()? {
                return Ok(Some(group));
            }
            if self.is_behind() {
                return Ok(None);
            }
            self.published.changed().await.map_err(|_| WatchError::Closed)?;
        }
    }

    /// Whether what is to be told next has to be [read](Self::read_on) from the database first.
    pub fn is_behind(&self) -> bool {
        let published = self.published.borrow();
        self.epoch == published.view.epoch
            && match &self.ahead {
                Some(ahead) => ahead.groups.is_empty(),
                None => self.is_before(&published.ring),
            }
    }

    /// Whether memory does not have what is to be told next.
    fn is_before(&self, ring: &Ring) -> bool {
        self.cursor < ring.floor || self.again && self.cursor == ring.floor
    }

    /// Reads a page of what memory no longer has, for [`Self::try_next`] to tell, when it is this watch's turn. Does nothing where the
    /// watch [is not behind](Self::is_behind). May be dropped while it waits; nothing is lost.
    ///
    /// # Errors
    ///
    /// [`WatchError::Gone`] where it is no longer kept; [`WatchError::Unread`]; [`WatchError::Closed`].
    pub async fn read_on(&mut self) -> Result<(), WatchError> {
        if !self.is_behind() {
            return Ok(());
        }
        let again = self.again.then_some(self.cursor);
        let start = again.map_or(self.cursor, |again| Revision(again.0.saturating_sub(1)));
        let wanted = {
            let published = Arc::clone(&self.published.borrow());
            let (view, ring) = (&published.view, &published.ring);
            StepsWanted {
                incarnation: view.incarnation.to_string(),
                mark: view.mark(),
                after: self.ahead.as_ref().map_or(Place::after(start), |ahead| ahead.place),
                // From there on memory has them.
                through: ring.floor,
                steps_max: self.history.limits.steps_max,
                bytes_max: self.history.limits.bytes_max,
            }
        };
        let steps = self.history.page(&wanted).await.map_err(|error| match error {
            EngineError::Closed => WatchError::Closed,
            error => WatchError::Unread { revision: self.cursor, reason: error.to_string().into(), away: error.is_away() },
        })?;
        self.again = false;
        match (steps.reaches(&wanted), again) {
            (true, _) => self.take(steps, &wanted, again),
            (false, None) => return Err(self.gone(steps.meta.compacted.max(wanted.through))),
            // What happened at this very revision is forgotten; what came after it need not be.
            (false, Some(_)) => {}
        }
        Ok(())
    }

    fn gone(&self, oldest: Revision) -> WatchError {
        WatchError::Gone { revision: self.cursor, oldest }
    }

    /// Makes events of steps. Of the revision that is told again, they are left out where there is one only.
    fn take(&mut self, page: Steps, wanted: &StepsWanted, again: Option<Revision>) {
        let (place, steps) = page.divide(wanted);
        let mut groups: VecDeque<WatchGroup> = VecDeque::new();
        for step in steps {
            let revision = step.step.revision;
            let told = Event::between(step.step.before, step.after, revision).and_then(|event| self.told(&event));
            match groups.back_mut().filter(|group| group.revision == revision) {
                Some(group) => group.events.extend(told),
                None => groups.extend(told.map(|told| WatchGroup { revision, events: vec![told], shared: false })),
            }
        }
        let told_whole =
            |group: &WatchGroup| Some(group.revision) == again && group.events.len() == 1 && place.whole() >= group.revision;
        groups.pop_front_if(|group| told_whole(group));
        self.ahead = Some(ReadAhead { groups, place });
        self.settle_ahead();
    }

    /// Where everything that was read is told, and with it all of the last revision, the watch stands after that.
    fn settle_ahead(&mut self) {
        let told = self.ahead.as_ref().filter(|ahead| ahead.groups.is_empty());
        if let Some(place) = told.map(|ahead| ahead.place) {
            self.cursor = self.cursor.max(place.whole());
            self.ahead = self.ahead.take().filter(|_| place.position.is_some());
        }
    }

    /// What has been read and not been told yet.
    fn told_ahead(&mut self) -> Option<WatchGroup> {
        let ahead = self.ahead.as_mut()?;
        let group = ahead.groups.pop_front()?;
        self.cursor = self.cursor.max(group.revision.min(ahead.place.whole()));
        self.settle_ahead();
        Some(group)
    }

    /// The next revision at which something happened, where that is at hand.
    ///
    /// # Errors
    ///
    /// [`WatchError::Gone`] where the record is no longer the one that was watched.
    pub fn try_next(&mut self) -> Result<Option<WatchGroup>, WatchError> {
        let published = Arc::clone(&self.published.borrow_and_update());
        if self.epoch != published.view.epoch {
            return Err(self.gone(published.ring.floor));
        }
        if let Some(group) = self.told_ahead() {
            return Ok(Some(group));
        }
        if self.ahead.is_some() || self.is_before(&published.ring) {
            return Ok(None);
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
        (!events.is_empty()).then_some(WatchGroup { revision: group.revision, events, shared: true })
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
