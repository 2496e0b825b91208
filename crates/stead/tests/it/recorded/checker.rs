//! What must be true of a history, whatever was killed while it came to be. Pure: the same history, the same verdict.
//!
//! The record, as a coordinator tells it in the end, is first traced back to the writes that made it; then everything that anybody was
//! told on the way is held against it.

mod reads;
#[cfg(test)]
mod tests;
mod trace;
mod watches;
mod writes;

use std::collections::BTreeMap;
use std::fmt;

use super::history::{
    Call, Event, Fields, Happened, History, Key, Kind, Micros, Operation, Outcome, Start, Told, Version, Watch,
};

/// What a history breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Property {
    /// What was acknowledged is in the record, as it was acknowledged.
    NothingAcknowledgedIsLost,
    /// What was refused is not in the record.
    NothingRefusedIsThere,
    /// What nothing is known of is in the record once at most, as is everything else.
    NothingIsThereTwice,
    /// Whatever is in the record was asked for by somebody.
    NothingIsInvented,
    /// A revision is that of one write.
    RevisionsAreUnique,
    /// A write that began after another was seen has a greater revision.
    RevisionsFollowTime,
    /// A write is made on what the one before it left, and on the revision that it names.
    WritesFormAChain,
    /// A uid that is gone stays gone.
    WhatIsDeletedStaysDeleted,
    /// Who is refused is refused with reason.
    RefusalsAreFounded,
    /// What is read was so at the revision that is said.
    ReadsAreTrue,
    /// A coordinator shows nothing older than what it has shown, or than what is asked for.
    ReadsAreFresh,
    /// A list is the record at one revision.
    ListsAreWhole,
    /// A watch tells each event.
    WatchesHaveNoGaps,
    /// A watch tells each event once, in order.
    WatchesAreInOrder,
    /// A watch tells what was written.
    WatchesAreTrue,
    /// A bookmark comes after all that it stands for.
    BookmarksAreNotAhead,
    /// A watch can go on from where it was.
    WatchesGoOn,
}

/// Where a history breaks a property.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) property: Property,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.property, self.what)
    }
}

/// All that is wrong with a history.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let record = Record::trace(history, &mut found);
    record.check_writes(history, &mut found);
    record.check_reads(history, &mut found);
    record.check_watches(history, &mut found);
    found
}

fn wrong(found: &mut Vec<Violation>, property: Property, what: String) {
    found.push(Violation { property, what });
}

/// An event with the call that made it.
struct Step<'h> {
    event: &'h Event,
    /// Not known for a deletion of which several calls may be the cause.
    writer: Option<&'h Operation>,
}

impl Step<'_> {
    fn revision(&self) -> u64 {
        self.event.object.revision
    }

    fn is_by(&self, operation: &Operation) -> bool {
        self.writer.is_some_and(|writer| std::ptr::eq(writer, operation))
    }

    /// Whether it may have happened by a moment.
    fn possible_by(&self, moment: Micros) -> bool {
        self.writer.is_none_or(|writer| writer.begun < moment)
    }

    /// What there was after it.
    fn state(&self) -> Option<&Version> {
        (self.event.happened != Happened::Deleted).then_some(&self.event.object)
    }
}

/// The greatest revision that was shown by each moment.
#[derive(Default)]
struct Shown(Vec<(Micros, u64)>);

impl Shown {
    fn of(mut moments: Vec<(Micros, u64)>) -> Self {
        moments.sort_unstable();
        let mut greatest = 0;
        for (_, revision) in &mut moments {
            greatest = greatest.max(*revision);
            *revision = greatest;
        }
        Self(moments)
    }

    fn before(&self, moment: Micros) -> u64 {
        let count = self.0.partition_point(|(at, _)| *at < moment);
        count.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}

/// The record with who made it, and when what of it was seen.
struct Record<'h> {
    objects: BTreeMap<Key, Vec<Step<'h>>>,
    /// What anybody was shown.
    seen: Shown,
    /// What each coordinator has shown.
    shown: BTreeMap<usize, Shown>,
}

impl<'h> Record<'h> {
    fn steps(&self, key: &Key) -> &[Step<'h>] {
        self.objects.get(key).map_or(&[], Vec::as_slice)
    }

    /// How many steps of an object there were by a revision.
    fn count(&self, key: &Key, revision: u64) -> usize {
        self.steps(key).partition_point(|step| step.revision() <= revision)
    }

    /// An object at a revision.
    fn at(&self, key: &Key, revision: u64) -> Option<&Version> {
        self.count(key, revision).checked_sub(1).and_then(|last| self.steps(key)[last].state())
    }

    /// All objects of a kind at a revision, by name.
    fn all_at(&self, kind: Kind, revision: u64) -> Vec<&Version> {
        let keys = self.objects.keys().filter(|(of, _)| *of == kind);
        keys.filter_map(|key| self.at(key, revision)).collect()
    }

    /// The revision that a coordinator had shown before a moment.
    fn floor(&self, coordinator: usize, moment: Micros) -> u64 {
        self.shown.get(&coordinator).map_or(0, |shown| shown.before(moment))
    }

    /// Whether an object may have been there, or not, at some moment while a call went on: it was so at the revision that is known to have
    /// been reached before, or may have come to be so since.
    fn possible(&self, key: &Key, there: bool, floor: u64, ended: Micros) -> bool {
        let later = &self.steps(key)[self.count(key, floor)..];
        self.at(key, floor).is_some() == there
            || later.iter().any(|step| step.state().is_some() == there && step.possible_by(ended))
    }
}
