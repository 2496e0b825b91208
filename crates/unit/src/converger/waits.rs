//! Who waits for whom, and the indexes that answer it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Converger, Entry};
use crate::report::UnitState;
use crate::wish::circles;
use crate::{Goal, UnitId};

impl Converger {
    /// The units that this one can't start before.
    pub(super) fn waits_for(&self, id: &UnitId) -> Vec<UnitId> {
        let Some(entry) = self.entries.get(id) else { return Vec::new() };
        let mut on = self.same_subject(id, entry);
        if entry.wanted.goal == Goal::Absent {
            on.extend(self.leaving_first(id));
        } else {
            let first = |first: &&UnitId| self.entries.get(first).is_some_and(|it| !it.converged && !it.is_over());
            on.extend(entry.wanted.after.iter().filter(first).cloned());
        }
        on.into_iter().collect()
    }

    /// Other units of the same subject: none may be at work, and what is going away goes first.
    fn same_subject(&self, id: &UnitId, entry: &Entry) -> BTreeSet<UnitId> {
        let leaving = entry.wanted.goal == Goal::Absent;
        let others = self.by_subject.get(id.subject()).into_iter().flatten().filter(|other| *other != id);
        let in_the_way = |other: &&UnitId| {
            self.entries
                .get(other)
                .is_some_and(|it| it.run.is_some() || (!leaving && it.wanted.goal == Goal::Absent && !it.is_over()))
        };
        others.filter(in_the_way).cloned().collect()
    }

    /// The units that came after this one and are themselves going away: they go first, but not in a circle.
    fn leaving_first(&self, id: &UnitId) -> Vec<UnitId> {
        let circled = self.circled.contains(id);
        let leaving = |later: &&UnitId| self.entries.get(later).is_some_and(Entry::is_leaving);
        let later = self.wanted_by.get(id).into_iter().flatten().filter(leaving);
        later.filter(|later| !(circled && self.circled.contains(*later))).cloned().collect()
    }

    /// Two sets of wishes, each without circles, can leave one behind between what leaves of the one and of the other.
    pub(super) fn find_circles(&mut self) {
        let leaving = self.entries.iter().filter(|(_, entry)| entry.is_leaving());
        let found = circles(leaving.map(|(id, entry)| (id, entry.wanted.after.as_slice())));
        self.circled = found.into_iter().cloned().collect();
    }

    /// This unit has come to an end of some kind: those that may have waited for it look again.
    pub(super) fn wake_around(&mut self, id: &UnitId, now: Duration) {
        let later = self.wanted_by.get(id).into_iter().flatten();
        let first = self.entries.get(id).into_iter().flat_map(|entry| &entry.wanted.after);
        let same = self.by_subject.get(id.subject()).into_iter().flatten();
        let around: Vec<UnitId> = later.chain(first).chain(same).cloned().collect();
        for other in around {
            self.wake(&other, now);
        }
    }

    /// Everything that waits for others looks again.
    pub(super) fn wake_all(&mut self, now: Duration) {
        let waiting: Vec<UnitId> =
            self.entries.iter().filter(|(_, entry)| entry.is_waiting()).map(|(id, _)| id.clone()).collect();
        for id in waiting {
            self.wake(&id, now);
        }
    }

    fn wake(&mut self, id: &UnitId, now: Duration) {
        if self.entries.get(id).is_some_and(Entry::is_waiting) {
            self.make_due(id, Some(now));
        }
    }

    /// Keeps the index of who comes after whom, once `after` of this unit has changed from `old`.
    pub(super) fn index_after(&mut self, id: &UnitId, old: &[UnitId]) {
        for first in old {
            if let Some(later) = self.wanted_by.get_mut(first) {
                later.remove(id);
                if later.is_empty() {
                    self.wanted_by.remove(first);
                }
            }
        }
        let after = self.entries.get(id).map(|entry| entry.wanted.after.clone()).unwrap_or_default();
        for first in after {
            self.wanted_by.entry(first).or_default().insert(id.clone());
        }
    }

    /// The unit is gone: nothing of it is kept here.
    pub(super) fn forget(&mut self, id: &UnitId) {
        self.make_due(id, None);
        if let Some(entry) = self.entries.remove(id) {
            self.index_after(id, &entry.wanted.after);
        }
        if let Some(same) = self.by_subject.get_mut(id.subject()) {
            same.remove(id);
            if same.is_empty() {
                self.by_subject.remove(id.subject());
            }
        }
        self.report.remove(id);
    }
}

impl Entry {
    /// Whether nothing more is done about it, unless somebody wishes for it again.
    fn is_over(&self) -> bool {
        self.wanted.goal == Goal::Absent && matches!(self.state, UnitState::Kept { .. })
    }

    /// Whether it waits for others, and is looked at again only when one of them has come to an end.
    fn is_waiting(&self) -> bool {
        self.run.is_none() && self.due.is_none() && matches!(self.state, UnitState::Blocked { .. })
    }

    fn is_leaving(&self) -> bool {
        self.wanted.goal == Goal::Absent && !self.is_over()
    }
}
