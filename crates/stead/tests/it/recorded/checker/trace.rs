//! From the record back to the writes that made it, step by step.

use std::collections::{BTreeMap, BTreeSet};

use super::super::history::{Write, after};
use super::{
    Call, Event, Fields, Happened, History, Key, Kind, Micros, Operation, Outcome, Property, Record, Shown, Start, Step, Told,
    Version, Violation, wrong,
};

/// The calls that wrote, by what they can be known by.
#[derive(Default)]
struct Writers<'h> {
    by_token: BTreeMap<&'h str, &'h Operation>,
    /// Acknowledged deletions.
    by_uid: BTreeMap<&'h str, &'h Operation>,
    /// Deletions of which nothing is known, by the name that they were about, earliest first.
    unknown: BTreeMap<Key, Vec<&'h Operation>>,
}

impl<'h> Writers<'h> {
    fn of(history: &'h History, found: &mut Vec<Violation>) -> Self {
        let mut writers = Self::default();
        let mut operations: Vec<&Operation> = history.operations.iter().collect();
        operations.sort_by_key(|operation| operation.begun);
        for operation in operations {
            let Call::Write { kind, name, write, token } = &operation.call else { continue };
            writers.by_token.insert(token, operation);
            match (write, &operation.outcome) {
                (Write::Delete { .. }, Outcome::Deleted { uid }) => {
                    let other = writers.by_uid.insert(uid, operation);
                    let twice = |other| format!("{kind:?}/{name} {uid} was deleted for two: {other:?} and {operation:?}");
                    found.extend(other.map(|other| Violation { property: Property::NothingIsThereTwice, what: twice(other) }));
                }
                (Write::Delete { .. }, Outcome::Unknown { .. }) => {
                    writers.unknown.entry((*kind, name.clone())).or_default().push(operation);
                }
                _ => {}
            }
        }
        writers
    }

    /// Who deleted this object; the earliest that nothing else is known of.
    fn of_deletion(&mut self, key: &Key, before: &Version) -> Option<&'h Operation> {
        if let Some(acknowledged) = self.by_uid.get(before.uid.as_str()) {
            return Some(acknowledged);
        }
        let candidates = self.unknown.get_mut(key)?;
        let fits = |operation: &&Operation| base(operation).is_none_or(|revision| revision == before.revision);
        let index = candidates.iter().position(fits)?;
        Some(candidates.remove(index))
    }
}

/// The revision that a write names.
fn base(operation: &Operation) -> Option<u64> {
    match &operation.call {
        Call::Write { write: Write::Put { on } | Write::Delete { on }, .. } => *on,
        _ => None,
    }
}

impl<'h> Record<'h> {
    /// Goes through the record, and finds who made each step of it.
    pub(super) fn trace(history: &'h History, found: &mut Vec<Violation>) -> Self {
        let mut events: Vec<(Kind, &Event)> = Vec::new();
        for (kind, told) in &history.record {
            if !told.is_sorted_by(|one, next| one.object.revision <= next.object.revision) {
                wrong(found, Property::WatchesAreInOrder, format!("the record of {kind:?} is told out of order"));
            }
            events.extend(told.iter().map(|event| (*kind, event)));
        }
        events.sort_by_key(|(_, event)| event.object.revision);
        let mut trace = Trace { writers: Writers::of(history, found), ..Trace::default() };
        let mut objects: BTreeMap<Key, Vec<Step<'h>>> = BTreeMap::new();
        for (kind, event) in events {
            let key = (kind, event.object.name.clone());
            let steps = objects.entry(key.clone()).or_default();
            let before = steps.last().and_then(Step::state).cloned();
            let writer = trace.step(&key, before.as_ref(), event, found);
            trace.check_revision(&key, event, writer, found);
            steps.push(Step { event, writer });
        }
        let mut record = Self { objects, seen: Shown::default(), shown: BTreeMap::new() };
        record.note_shown(history);
        record
    }

    /// Notes what was shown to anybody, by whom, and when.
    fn note_shown(&mut self, history: &History) {
        let mut shown: Vec<(usize, Micros, u64)> = Vec::new();
        for operation in &history.operations {
            let revision = match &operation.outcome {
                Outcome::Written(object) | Outcome::Found(object) => object.revision,
                Outcome::Admitted { revision } => *revision,
                Outcome::Listed { pages, .. } => pages.first().copied().unwrap_or(0),
                Outcome::Deleted { uid } => self.deletion_of(uid).unwrap_or(0),
                _ => continue,
            };
            shown.push((operation.coordinator, operation.ended, revision));
        }
        for watch in &history.watches {
            let start = match &watch.start {
                Start::After(revision) => *revision,
                Start::Initial { at, revision, .. } => {
                    shown.push((watch.coordinator, *at, *revision));
                    *revision
                }
            };
            shown.extend(watch.told.iter().filter_map(|told| match told {
                Told::Event(event) => Some((watch.coordinator, event.at, event.object.revision)),
                // A bookmark at the very start says only what the client has said itself.
                Told::Bookmark { at, revision } if *revision > start => Some((watch.coordinator, *at, *revision)),
                _ => None,
            }));
        }
        self.seen = Shown::of(shown.iter().map(|(_, at, revision)| (*at, *revision)).collect());
        // Whoever starts has read all that was there.
        shown.extend(history.started.iter().map(|started| {
            let there = self.seen.before(started.begun);
            (started.coordinator, started.ended, there)
        }));
        let mut by_coordinator: BTreeMap<usize, Vec<(Micros, u64)>> = BTreeMap::new();
        for (coordinator, at, revision) in shown {
            by_coordinator.entry(coordinator).or_default().push((at, revision));
        }
        self.shown = by_coordinator.into_iter().map(|(coordinator, moments)| (coordinator, Shown::of(moments))).collect();
    }

    fn deletion_of(&self, uid: &str) -> Option<u64> {
        let mut steps = self.objects.values().flatten();
        steps.find(|step| step.event.happened == Happened::Deleted && step.event.object.uid == uid).map(Step::revision)
    }
}

/// On the way through the record.
#[derive(Default)]
struct Trace<'h> {
    writers: Writers<'h>,
    /// Of the writes that were met.
    tokens: BTreeSet<&'h str>,
    /// Of the objects that were met.
    uids: BTreeSet<&'h str>,
    /// The last write that was met, with its revision.
    last: Option<(u64, &'h Operation)>,
}

impl<'h> Trace<'h> {
    fn step(
        &mut self,
        key: &Key,
        before: Option<&Version>,
        event: &'h Event,
        found: &mut Vec<Violation>,
    ) -> Option<&'h Operation> {
        let uid = event.object.uid.as_str();
        match (event.happened, before) {
            (Happened::Added, None) if self.uids.insert(uid) => {}
            (Happened::Modified | Happened::Deleted, Some(before)) if before.uid == uid => {}
            (_, None) => wrong(found, Property::WhatIsDeletedStaysDeleted, format!("{key:?}: {event:?}, where there was none")),
            (_, Some(before)) => wrong(found, Property::WritesFormAChain, format!("{key:?}: {event:?} on top of {before:?}")),
        }
        let writer = if event.happened == Happened::Deleted {
            Self::check_last_state(key, before, event, found);
            let writer = before.and_then(|before| self.writers.of_deletion(key, before));
            if writer.is_none() {
                wrong(found, Property::NothingIsInvented, format!("nobody deleted {key:?}: {event:?}"));
            }
            writer?
        } else {
            self.writer(key, before, event, found)?
        };
        check_base(key, before, writer, found);
        Some(writer)
    }

    /// A revision is that of one write, or of one Change of several objects.
    fn check_revision(&mut self, key: &Key, event: &Event, writer: Option<&'h Operation>, found: &mut Vec<Violation>) {
        let Some(writer) = writer else { return };
        let revision = event.object.revision;
        if let Some((_, other)) = self.last.filter(|(last, other)| *last == revision && !is_one_change(other, writer)) {
            wrong(found, Property::RevisionsAreUnique, format!("{key:?}: {event:?} has the revision of {other:?}"));
        }
        self.last = Some((revision, writer));
    }

    fn check_last_state(key: &Key, before: Option<&Version>, event: &Event, found: &mut Vec<Violation>) {
        if before.is_some_and(|before| before.fields != event.object.fields) {
            wrong(found, Property::WritesFormAChain, format!("{key:?}: {event:?} is not the last state {before:?}"));
        }
    }

    /// Who put this, by the one value in it that is new.
    fn writer(
        &mut self,
        key: &Key,
        before: Option<&Version>,
        event: &'h Event,
        found: &mut Vec<Violation>,
    ) -> Option<&'h Operation> {
        let none = Fields::new();
        let old: BTreeSet<&String> = before.map_or(&none, |before| &before.fields).values().collect();
        let new: BTreeSet<&'h String> = event.object.fields.values().filter(|value| !old.contains(*value)).collect();
        if key.0 == Kind::Profile && before.is_some_and(|before| before.fields == event.object.fields) {
            // The controllers have written its status.
            return None;
        }
        let mut writers = new.iter().filter_map(|token| Some((token.as_str(), *self.writers.by_token.get(token.as_str())?)));
        let (Some((token, writer)), true) = (writers.next(), new.len() == 1) else {
            wrong(found, Property::NothingIsInvented, format!("{key:?}: {event:?} on top of {before:?} is no write of anybody"));
            return None;
        };
        if !self.tokens.insert(token) {
            wrong(found, Property::NothingIsThereTwice, format!("{key:?}: {event:?} by {writer:?} once more"));
        }
        if matches!(writer.outcome, Outcome::Refused { .. }) {
            wrong(found, Property::NothingRefusedIsThere, format!("{key:?}: {event:?} by {writer:?}"));
        }
        let Call::Write { kind, name, write, token } = &writer.call else { return None };
        let fields = after(*kind, write, writer.client, token, before.map(|before| &before.fields));
        if (*kind, name) != (key.0, &key.1) || fields.as_ref() != Some(&event.object.fields) {
            wrong(found, Property::WritesFormAChain, format!("{key:?}: {event:?} on top of {before:?} by {writer:?}"));
        }
        Some(writer)
    }
}

/// Two entries of one Change were sent together.
fn is_one_change(one: &Operation, other: &Operation) -> bool {
    let is_signed = |operation: &Operation| matches!(operation.call, Call::Write { write: Write::Signed, .. });
    is_signed(one) && is_signed(other) && (one.client, one.begun) == (other.client, other.begun)
}

/// A write that names what it is made on was made on that.
fn check_base(key: &Key, before: Option<&Version>, writer: &Operation, found: &mut Vec<Violation>) {
    let Call::Write { write, .. } = &writer.call else { return };
    let holds = match write {
        Write::Create => before.is_none(),
        Write::Put { on: Some(on) } | Write::Delete { on: Some(on) } => before.is_some_and(|before| before.revision == *on),
        Write::Put { on: None } | Write::Patch | Write::Delete { on: None } => before.is_some(),
        Write::Apply | Write::Signed => true,
    };
    if !holds {
        wrong(found, Property::WritesFormAChain, format!("{key:?}: {writer:?} on top of {before:?}"));
    }
}
