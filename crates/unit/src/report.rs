//! What the converger says of each unit, at any moment.

use std::time::Duration;

use imbl::OrdMap;

use crate::{Goal, Step, UnitId};

/// The state of every unit. Cloning it costs nothing.
///
/// Times are spans since the converger's start, on its clock; `at` is the time of the report itself, so that a
/// caller who knows what o'clock it is can say when things happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// When this report was made.
    pub at: Duration,
    /// The units. One that is gone is no longer here; one that was kept stays.
    pub units: OrdMap<UnitId, UnitReport>,
}

impl Report {
    /// Whether every unit is where it is to be: converged, or kept as a person left it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.units.values().all(|unit| matches!(unit.state, UnitState::Converged | UnitState::Kept { .. }))
    }
}

/// What is said of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitReport {
    /// What is to become of it.
    pub goal: Goal,
    /// How far it is.
    pub state: UnitState,
    /// Whether it is being worked on (or looked at) right now.
    pub running: bool,
    /// Who wishes it, as the caller named them; for one that is going away, who wished it last.
    pub by: Vec<String>,
    /// What was last changed on the machine, and when. A unit that has only ever been looked at has none.
    pub last_change: Option<Change>,
}

/// What a run changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When it was done, on the converger's clock.
    pub at: Duration,
    /// What was done.
    pub steps: Vec<Step>,
}

/// How far a unit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitState {
    /// As desired, when it was last looked at.
    Converged,
    /// Not yet looked at, or on its way.
    Converging,
    /// The last try did not work. It will be tried again, for ever.
    Failed {
        /// Why, with all causes.
        reason: String,
        /// How many tries have failed in a row.
        attempts: u32,
        /// When it is tried again, on the converger's clock.
        next_try: Duration,
    },
    /// It waits for others.
    Blocked {
        /// For these.
        on: Vec<UnitId>,
    },
    /// Its wishes contradict each other; it is left as it last was.
    Conflict {
        /// Who contradicts whom, in words.
        reason: String,
    },
    /// The wish has gone away, and what it made is being taken back.
    Removing,
    /// The wish has gone away; the thing was left because a person changed it.
    Kept {
        /// Why, in words.
        reason: String,
    },
}
