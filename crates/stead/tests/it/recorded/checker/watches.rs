//! Watches, held against the record: each event once, in order, from where the watch began.

use super::{Event, History, Kind, Property, Record, Start, Told, Violation, Watch, wrong};

impl Record<'_> {
    pub(super) fn check_watches(&self, history: &History, found: &mut Vec<Violation>) {
        for kind in Kind::ALL {
            let events = history.record.get(&kind).map_or(&[][..], Vec::as_slice);
            for watch in history.watches.iter().filter(|watch| watch.kind == kind) {
                self.check_watch(events, watch, found);
            }
        }
    }

    fn check_watch(&self, events: &[Event], watch: &Watch, found: &mut Vec<Violation>) {
        let who = format!(
            "watch of {:?} by {} at coordinator {}, begun at {} µs from {:?}",
            watch.kind, watch.client, watch.coordinator, watch.begun, watch.start
        );
        let mut last = match &watch.start {
            Start::After(revision) => *revision,
            Start::Initial { revision, objects, .. } => {
                self.check_whole(watch.kind, *revision, objects, &who, found);
                if *revision < self.floor(watch.coordinator, watch.begun) {
                    wrong(found, Property::ReadsAreFresh, format!("{who}: older than what was shown before"));
                }
                *revision
            }
        };
        let mut next = events.partition_point(|event| event.object.revision <= last);
        // Whoever comes back may have been told a part of what happened at the revision that they name: all of it is told again.
        let start = last;
        if matches!(watch.start, Start::After(_))
            && events[..next].iter().filter(|event| event.object.revision == last).count() > 1
        {
            next = events.partition_point(|event| event.object.revision < last);
        }
        for told in &watch.told {
            let expected = events.get(next);
            match told {
                Told::Event(event) => {
                    if let Some(property) = broken(expected, event) {
                        return wrong(found, property, format!("{who}: {event:?} instead of {expected:?}"));
                    }
                    next += 1;
                    last = event.object.revision;
                }
                Told::Bookmark { at, revision } => {
                    let missed = |event: &Event| event.object.revision <= *revision && event.object.revision > start;
                    if expected.is_some_and(missed) {
                        let what = format!("{who}: {revision} at {at} µs, before {expected:?} was told");
                        return wrong(found, Property::BookmarksAreNotAhead, what);
                    }
                    if *revision < last {
                        return wrong(found, Property::WatchesAreInOrder, format!("{who}: back to {revision} from {last}"));
                    }
                    last = *revision;
                }
                Told::Gone { message, .. } => wrong(found, Property::WatchesGoOn, format!("{who}: {message}")),
            }
        }
        if let Some(missed) = events.get(next).filter(|_| watch.to_the_end) {
            wrong(found, Property::WatchesHaveNoGaps, format!("{who} ended before {:?}", missed));
        }
    }
}

/// What is wrong with an event, where another was expected.
fn broken(expected: Option<&Event>, told: &Event) -> Option<Property> {
    let Some(expected) = expected else { return Some(Property::WatchesAreInOrder) };
    if expected.object.revision < told.object.revision {
        return Some(Property::WatchesHaveNoGaps);
    }
    if expected.object.revision > told.object.revision {
        return Some(Property::WatchesAreInOrder);
    }
    let same = expected.object == told.object && expected.happened == told.happened;
    (!same).then_some(Property::WatchesAreTrue)
}
