//! What is wished for: units, which way each is to go, for whom, and after which others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::{AnyUnit, UnitId};

/// The most units one machine may be asked for. Every change looks at the whole set; this is far above any machine we know of.
pub const UNITS_MAX: usize = 4096;

/// What is to become of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// It is to be as desired.
    Present,
    /// It is to go away: what it replaced is put back.
    Absent,
    /// It is left as it last was, because its wishes contradict each other.
    Held {
        /// Who contradicts whom, in words.
        reason: String,
    },
}

/// One wish.
#[derive(Clone)]
pub struct Wish {
    /// What is wished for.
    pub unit: Arc<dyn AnyUnit>,
    /// What is to become of it.
    pub goal: Goal,
    /// Who wishes it, as the caller names wishes (`Profile/web@3`); only passed on to the report.
    pub by: Vec<String>,
    /// The units that must be there first, and that may go only when this one has gone.
    pub after: Vec<UnitId>,
}

impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wish")
            .field("unit", &self.unit.id().to_string())
            .field("goal", &self.goal)
            .field("by", &self.by)
            .field("after", &self.after)
            .finish()
    }
}

/// Everything that is wished of a machine, checked: one wish a unit, no circles, not too many.
#[derive(Debug, Clone, Default)]
pub struct WishSet {
    wishes: BTreeMap<UnitId, Wish>,
}

/// Why a list of wishes is refused whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WishSetError {
    /// Too many units.
    #[error("{count} units are wished for, and a machine takes at most {UNITS_MAX}: wish for less")]
    TooMany {
        /// How many there were.
        count: usize,
    },
    /// One unit twice.
    #[error("{id} is wished for twice: leave one of them out")]
    Twice {
        /// The unit.
        id: UnitId,
    },
    /// A circle of dependencies.
    #[error("{id} would have to come after itself, by way of what it comes after: take one of those away")]
    Circle {
        /// One unit of the circle.
        id: UnitId,
    },
}

impl WishSet {
    /// Checks a list of wishes.
    ///
    /// # Errors
    ///
    /// Too many, one unit twice, or units that come after themselves.
    pub fn new(list: impl IntoIterator<Item = Wish>) -> Result<Self, WishSetError> {
        let mut wishes = BTreeMap::new();
        for wish in list {
            let id = wish.unit.id().clone();
            if wishes.insert(id.clone(), wish).is_some() {
                return Err(WishSetError::Twice { id });
            }
        }
        if wishes.len() > UNITS_MAX {
            return Err(WishSetError::TooMany { count: wishes.len() });
        }
        let circled = circles(wishes.iter().map(|(id, wish)| (id, wish.after.as_slice()))).first().map(|id| (*id).clone());
        match circled {
            Some(id) => Err(WishSetError::Circle { id }),
            None => Ok(Self { wishes }),
        }
    }

    /// The wishes, by unit.
    pub fn iter(&self) -> impl Iterator<Item = (&UnitId, &Wish)> {
        self.wishes.iter()
    }

    /// The wish for one unit.
    #[must_use]
    pub fn get(&self, id: &UnitId) -> Option<&Wish> {
        self.wishes.get(id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.wishes.len()
    }

    /// Whether nothing is wished for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wishes.is_empty()
    }
}

/// The units that come after themselves, or after such ones: those that are left when what waits for nothing is taken away again and again.
pub(crate) fn circles<'a>(units: impl Iterator<Item = (&'a UnitId, &'a [UnitId])> + Clone) -> BTreeSet<&'a UnitId> {
    let mut left: BTreeSet<&UnitId> = units.clone().map(|(id, _)| id).collect();
    let mut waits: BTreeMap<&UnitId, usize> = BTreeMap::new();
    let mut wanted_by: BTreeMap<&UnitId, Vec<&UnitId>> = BTreeMap::new();
    for (id, after) in units {
        let inside: BTreeSet<_> = after.iter().filter(|first| left.contains(first)).collect();
        waits.insert(id, inside.len());
        for first in inside {
            wanted_by.entry(first).or_default().push(id);
        }
    }
    let mut free: Vec<&UnitId> = waits.iter().filter(|(_, on)| **on == 0).map(|(id, _)| *id).collect();
    while let Some(id) = free.pop() {
        left.remove(id);
        for later in wanted_by.get(id).into_iter().flatten() {
            if let Some(on) = waits.get_mut(later) {
                *on -= 1;
                if *on == 0 {
                    free.push(later);
                }
            }
        }
    }
    left
}
