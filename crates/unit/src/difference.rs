//! What a set of wishes would do to a machine, in words, without doing it.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream;

use crate::unit::{Direction, Planned};
use crate::{AnyUnit, Goal, UnitId, WishSet};

/// How many units are looked at side by side for a difference: looking is cheap, and a machine has other work.
const LOOKS_MAX: usize = 8;

/// What would be done about one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The unit.
    pub id: UnitId,
    /// Who wishes it; empty for one that is withdrawn.
    pub by: Vec<String>,
    /// Which way it would go.
    pub direction: Direction,
    /// What would be done.
    pub planned: Planned,
}

/// Looks at every unit of `wishes`, and at those `withdrawn` by it, and says what would be done about each; by unit, in order.
/// Units that would be held back by a conflict have no steps. Nothing is changed.
pub async fn difference(wishes: &WishSet, withdrawn: Vec<Arc<dyn AnyUnit>>) -> Vec<Difference> {
    let wished = wishes.iter().map(|(_, wish)| (Arc::clone(&wish.unit), wish.goal.clone(), wish.by.clone()));
    let gone = withdrawn.into_iter().map(|unit| (unit, Goal::Absent, Vec::new()));
    let looks: Vec<_> = wished.chain(gone).map(|(unit, goal, by)| look(unit, goal, by)).collect();
    let mut differences: Vec<Difference> = stream::iter(looks).buffer_unordered(LOOKS_MAX).collect().await;
    differences.sort_by(|a, b| a.id.cmp(&b.id));
    differences
}

async fn look(unit: Arc<dyn AnyUnit>, goal: Goal, by: Vec<String>) -> Difference {
    let direction = if goal == Goal::Absent { Direction::Remove } else { Direction::Apply };
    let planned = match goal {
        Goal::Held { reason } => Planned::Failed { reason },
        Goal::Present | Goal::Absent => unit.plan(direction).await,
    };
    Difference { id: unit.id().clone(), by, direction, planned }
}
