//! The decisions of the converger: what to start, what to cancel, when to look again. No clock, no task, no unit kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;

use crate::pause::Jitter;
use crate::report::{Change, Report, UnitReport, UnitState};
use crate::run::{Ending, Finished};
use crate::unit::Direction;
use crate::{Goal, UnitId, WishSet};

#[cfg(test)]
mod tests;
mod waits;

/// The most units that are worked on side by side: enough to keep a disk busy, few enough for the smallest board.
/// A run that is older than [`RUN_SLOW`] no longer counts, so that units that hang never hold up the others.
pub const RUNS_MAX: usize = 8;

/// How long a run counts against [`RUNS_MAX`]. Writing a file takes milliseconds; what takes longer mostly waits.
pub const RUN_SLOW: Duration = Duration::from_secs(5);

/// What is asked of a unit, as far as the decisions need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What is to become of it.
    pub goal: Goal,
    /// Who wishes it.
    pub by: Vec<String>,
    /// Which units come first.
    pub after: Vec<UnitId>,
    /// Tells one wish for this unit from another.
    pub fingerprint: u64,
}

/// Something the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Start a run of this unit, and say when it has finished.
    Start {
        /// The unit.
        id: UnitId,
        /// Names the run.
        run: u64,
        /// Which way.
        direction: Direction,
    },
    /// Stop this run at once. It is still waited for: it says when it has finished.
    Cancel {
        /// The unit.
        id: UnitId,
        /// The run.
        run: u64,
    },
}

#[derive(Debug)]
struct Run {
    number: u64,
    since: Duration,
    cancelled: bool,
}

#[derive(Debug)]
struct Entry {
    wanted: Wanted,
    run: Option<Run>,
    /// When it may start next. None while it runs, is held, or has come to its end.
    due: Option<Duration>,
    attempts: u32,
    /// As desired when last looked at, and nobody has wished otherwise since.
    converged: bool,
    state: UnitState,
    last_change: Option<Change>,
}

/// The state machine. Inputs: [`set`](Self::set), [`finished`](Self::finished), and the time; outputs: [`Order`]s and the report.
///
/// What it promises: a unit has one run at a time, and so has a subject; a wish that is withdrawn or superseded is
/// cancelled in the same call; a unit starts when everything it comes after has converged, and goes when everything
/// that came after it has gone; what fails is tried again for ever.
#[derive(Debug)]
pub struct Converger {
    observe_every: Duration,
    jitter: Jitter,
    entries: BTreeMap<UnitId, Entry>,
    /// The entries that may start, by when.
    due: BTreeSet<(Duration, UnitId)>,
    running: BTreeSet<UnitId>,
    by_subject: BTreeMap<Arc<str>, BTreeSet<UnitId>>,
    wanted_by: BTreeMap<UnitId, BTreeSet<UnitId>>,
    /// What is leaving in a circle, or after one.
    circled: BTreeSet<UnitId>,
    /// Whether something may start and waits only for others to end or to be slow.
    starved: bool,
    next_run: u64,
    report: OrdMap<UnitId, UnitReport>,
}

impl Converger {
    /// A converger without units. What has converged is looked at again after at most `observe_every`.
    #[must_use]
    pub fn new(observe_every: Duration, jitter_seed: u64) -> Self {
        Self {
            observe_every,
            jitter: Jitter::new(jitter_seed),
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            running: BTreeSet::new(),
            by_subject: BTreeMap::new(),
            wanted_by: BTreeMap::new(),
            circled: BTreeSet::new(),
            starved: false,
            next_run: 1,
            report: OrdMap::new(),
        }
    }

    /// The units that [`set`](Self::set) would withdraw, or that are on their way out already.
    #[must_use]
    pub fn withdrawn_by(&self, wishes: &WishSet) -> Vec<UnitId> {
        let gone = |(id, entry): &(&UnitId, &Entry)| wishes.get(id).is_none() && !matches!(entry.state, UnitState::Kept { .. });
        self.entries.iter().filter(gone).map(|(id, _)| id.clone()).collect()
    }

    /// Takes a new set of wishes. Units that are no longer in it go away. Returns what is to be cancelled.
    pub fn set(&mut self, wishes: BTreeMap<UnitId, Wanted>, now: Duration) -> Vec<Order> {
        let mut orders = Vec::new();
        let withdrawn: Vec<_> = self
            .entries
            .iter()
            .filter(|(id, _)| !wishes.contains_key(*id))
            .map(|(id, entry)| (id.clone(), Wanted { goal: Goal::Absent, ..entry.wanted.clone() }))
            .collect();
        let held: BTreeMap<Arc<str>, Goal> = wishes
            .iter()
            .filter(|(_, wanted)| is_held(&wanted.goal))
            .map(|(id, wanted)| (id.subject_shared(), wanted.goal.clone()))
            .collect();
        for (id, mut wanted) in withdrawn.into_iter().chain(wishes) {
            // What others contradict each other about stays as it is, also where it is the work of an earlier wish of another kind.
            if wanted.goal == Goal::Absent
                && let Some(goal) = held.get(id.subject())
            {
                wanted.goal = goal.clone();
            }
            orders.extend(self.want(id, wanted, now));
        }
        self.find_circles();
        self.wake_all(now);
        orders
    }

    fn want(&mut self, id: UnitId, wanted: Wanted, now: Duration) -> Option<Order> {
        let Some(entry) = self.entries.get_mut(&id) else {
            self.insert(id, wanted, now);
            return None;
        };
        let same_print = entry.wanted.fingerprint == wanted.fingerprint || wanted.goal != Goal::Present;
        let same_work = entry.wanted.goal == wanted.goal && same_print;
        let same_wish = entry.wanted == wanted;
        let old_after = std::mem::replace(&mut entry.wanted, wanted).after;
        let mut cancel = None;
        if !same_work {
            entry.converged &= is_held(&entry.wanted.goal);
            entry.attempts = 0;
            entry.state = first_state(&entry.wanted.goal);
            match &mut entry.run {
                Some(run) if !run.cancelled => {
                    run.cancelled = true;
                    cancel = Some(Order::Cancel { id: id.clone(), run: run.number });
                }
                _ => {}
            }
        }
        // A new wish may have repaired what this one waits for: it need not sit out its pause.
        let try_now = !same_work || (!same_wish && !entry.converged && !matches!(entry.state, UnitState::Kept { .. }));
        if try_now && entry.run.is_none() {
            entry.attempts = 0;
            let due = (!is_held(&entry.wanted.goal)).then_some(now);
            self.make_due(&id, due);
        }
        if !same_wish {
            self.index_after(&id, &old_after);
            self.tell(&id);
        }
        cancel
    }

    fn insert(&mut self, id: UnitId, wanted: Wanted, now: Duration) {
        let due = (!is_held(&wanted.goal)).then_some(now);
        let state = first_state(&wanted.goal);
        let entry = Entry { wanted, run: None, due: None, attempts: 0, converged: false, state, last_change: None };
        self.by_subject.entry(id.subject_shared()).or_default().insert(id.clone());
        self.entries.insert(id.clone(), entry);
        self.make_due(&id, due);
        self.index_after(&id, &[]);
        self.tell(&id);
    }

    /// Takes the end of a run. An end that nobody waits for is passed over.
    pub fn finished(&mut self, id: &UnitId, run: u64, finished: Finished, now: Duration) {
        let is_gone = self.end(id, run, finished, now);
        self.wake_around(id, now);
        if is_gone {
            self.forget(id);
        }
    }

    /// Notes the end of a run; true where nothing of the unit is left.
    fn end(&mut self, id: &UnitId, run: u64, finished: Finished, now: Duration) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        let Some(ran) = entry.run.take_if(|current| current.number == run) else { return false };
        self.running.remove(id);
        let changed = !finished.done.is_empty();
        if changed {
            entry.last_change = Some(Change { at: now, steps: finished.done });
        }
        if ran.cancelled {
            let due = (!is_held(&entry.wanted.goal)).then_some(now);
            self.make_due(id, due);
            self.tell(id);
            return false;
        }
        entry.converged = false;
        let reason = match finished.ending {
            Ending::Converged => {
                entry.converged = true;
                entry.attempts = 0;
                entry.state = UnitState::Converged;
                let due = now + self.jitter.shorten(self.observe_every);
                self.make_due(id, Some(due));
                if changed {
                    self.look_at_later(id, now);
                }
                self.tell(id);
                return false;
            }
            Ending::Gone => return true,
            Ending::Kept { reason } => {
                entry.state = UnitState::Kept { reason };
                self.tell(id);
                return false;
            }
            Ending::Failed { reason } => reason,
            Ending::Cancelled => String::from("the work on it was stopped from outside"),
        };
        entry.attempts = entry.attempts.saturating_add(1);
        let next_try = now + self.jitter.after_failure(entry.attempts);
        entry.state = UnitState::Failed { reason, attempts: entry.attempts, next_try };
        self.make_due(id, Some(next_try));
        self.tell(id);
        false
    }

    /// This unit has changed: those that come after it are looked at now, not when their pause is over.
    fn look_at_later(&mut self, id: &UnitId, now: Duration) {
        for later in self.wanted_by.get(id).cloned().unwrap_or_default() {
            let waiting = |entry: &Entry| entry.due.is_some_and(|at| at > now) && entry.wanted.goal == Goal::Present;
            if self.entries.get(&later).is_some_and(waiting) {
                self.make_due(&later, Some(now));
            }
        }
    }

    /// What may start now.
    pub fn orders(&mut self, now: Duration) -> Vec<Order> {
        let mut orders = Vec::new();
        let mut places = RUNS_MAX.saturating_sub(self.fast_runs(now).count());
        self.starved = false;
        let due: Vec<UnitId> = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id.clone()).collect();
        for id in due {
            let on = self.waits_for(&id);
            if !on.is_empty() {
                self.block(&id, on);
                continue;
            }
            if places == 0 {
                self.starved = true;
                break;
            }
            places -= 1;
            orders.extend(self.start(&id, now));
        }
        orders
    }

    /// When [`orders`](Self::orders) should be asked again though nothing has happened.
    #[must_use]
    pub fn next_wake(&self, now: Duration) -> Option<Duration> {
        let later = self.due.iter().map(|(at, _)| *at).find(|at| *at > now);
        let place = self.fast_runs(now).map(|since| since + RUN_SLOW).min().filter(|_| self.starved);
        later.into_iter().chain(place).min()
    }

    /// The state of every unit.
    #[must_use]
    pub fn report(&self, now: Duration) -> Report {
        Report { at: now, units: self.report.clone() }
    }

    fn fast_runs(&self, now: Duration) -> impl Iterator<Item = Duration> {
        let runs = self.running.iter().filter_map(|id| self.entries.get(id)?.run.as_ref());
        runs.map(|run| run.since).filter(move |since| *since + RUN_SLOW > now)
    }

    fn start(&mut self, id: &UnitId, now: Duration) -> Option<Order> {
        self.make_due(id, None);
        let run = self.next_run;
        let entry = self.entries.get_mut(id)?;
        self.next_run += 1;
        entry.run = Some(Run { number: run, since: now, cancelled: false });
        self.running.insert(id.clone());
        let direction = match entry.wanted.goal {
            Goal::Absent => Direction::Remove,
            Goal::Present | Goal::Held { .. } => Direction::Apply,
        };
        if matches!(entry.state, UnitState::Blocked { .. }) {
            entry.state = first_state(&entry.wanted.goal);
        }
        self.tell(id);
        Some(Order::Start { id: id.clone(), run, direction })
    }

    /// It waits, and is not looked at again before one of those it waits for has come to an end.
    fn block(&mut self, id: &UnitId, on: Vec<UnitId>) {
        self.make_due(id, None);
        let blocked = UnitState::Blocked { on };
        if let Some(entry) = self.entries.get_mut(id)
            && entry.state != blocked
        {
            entry.state = blocked;
            self.tell(id);
        }
    }

    fn make_due(&mut self, id: &UnitId, due: Option<Duration>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if let Some(at) = std::mem::replace(&mut entry.due, due) {
            self.due.remove(&(at, id.clone()));
        }
        if let Some(at) = due {
            self.due.insert((at, id.clone()));
        }
    }

    fn tell(&mut self, id: &UnitId) {
        let Some(entry) = self.entries.get(id) else { return };
        let unit = UnitReport {
            goal: entry.wanted.goal.clone(),
            state: entry.state.clone(),
            running: entry.run.is_some(),
            by: entry.wanted.by.clone(),
            last_change: entry.last_change.clone(),
        };
        self.report.insert(id.clone(), unit);
    }
}

fn is_held(goal: &Goal) -> bool {
    matches!(goal, Goal::Held { .. })
}

fn first_state(goal: &Goal) -> UnitState {
    match goal {
        Goal::Present => UnitState::Converging,
        Goal::Absent => UnitState::Removing,
        Goal::Held { reason } => UnitState::Conflict { reason: reason.clone() },
    }
}
