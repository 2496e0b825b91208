//! A machine that is a model: a map from what can be claimed to what is there.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stead_agent::{Claim, Craft, SavedError};
use stead_unit::{AnyUnit, Direction, Removal, Unit, UnitId};
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::ledger::Ledger;
use crate::trace::{Fault, Trace};

/// What is at a place of a machine.
pub type Shape = Option<Claim>;

#[derive(Default)]
struct Things {
    there: BTreeMap<UnitId, Claim>,
    /// What was there before the first act on a place.
    saved: BTreeMap<UnitId, Shape>,
}

/// The machine. It outlives the agents that run on it.
pub struct ModelHost {
    name: String,
    things: Mutex<Things>,
    chance: Mutex<Chance>,
    /// How many acts in a thousand fail.
    fails: Mutex<u64>,
    ledger: Ledger,
    trace: Trace,
}

impl ModelHost {
    /// An empty machine with this name.
    pub fn new(name: &str, chance: Chance, ledger: Ledger, trace: Trace) -> Self {
        let (things, fails) = (Mutex::default(), Mutex::default());
        Self { name: name.to_owned(), things, chance: Mutex::new(chance), fails, ledger, trace }
    }

    /// From now on so many acts in a thousand fail.
    pub fn set_failing(&self, permille: u64) {
        *self.fails.lock().unwrap_or_else(PoisonError::into_inner) = permille;
    }

    /// What is there.
    pub fn there(&self) -> BTreeMap<UnitId, Claim> {
        self.things().there.clone()
    }

    /// What carries wishes out on it for one agent, and how to stop it.
    pub fn craft(self: &Arc<Self>) -> ModelCraft {
        ModelCraft { host: Arc::clone(self), alive: Arc::new(AtomicBool::new(true)) }
    }

    fn things(&self) -> MutexGuard<'_, Things> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chance(&self) -> MutexGuard<'_, Chance> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, id: &UnitId, claim: &Claim) {
        let sequence = self.ledger.acts(&self.name, claim);
        let mut things = self.things();
        let before = things.there.get(id).cloned();
        things.saved.entry(id.clone()).or_insert(before);
        things.there.insert(id.clone(), claim.clone());
        drop(things);
        self.trace.note(format_args!("{} makes {id} of {sequence}", self.name));
    }

    fn put_back(&self, id: &UnitId) {
        let mut things = self.things();
        match things.saved.remove(id) {
            Some(Some(before)) => things.there.insert(id.clone(), before),
            _ => things.there.remove(id),
        };
        drop(things);
        self.ledger.puts_back(&self.name, &id.to_string());
        self.trace.note(format_args!("{} puts {id} back", self.name));
    }
}

/// What carries wishes out on a modelled machine for one agent.
#[derive(Clone)]
pub struct ModelCraft {
    host: Arc<ModelHost>,
    alive: Arc<AtomicBool>,
}

impl ModelCraft {
    /// The agent is dead: what is left of it does nothing any more.
    pub fn kill(&self) {
        self.alive.store(false, Ordering::Relaxed);
    }

    async fn works(&self) {
        let takes = self.host.chance().between(1, 30);
        tokio::time::sleep(Duration::from_millis(takes)).await;
        if !self.alive.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

impl Craft for ModelCraft {
    fn unit(&self, claim: &Claim) -> Arc<dyn AnyUnit> {
        Arc::new(ModelUnit { id: claim.id(), wish: Wish::of(Some(claim.clone())), craft: self.clone() })
    }

    fn saved(&self) -> Result<(Vec<UnitId>, Vec<SavedError>), SavedError> {
        Ok((self.host.things().saved.keys().cloned().collect(), Vec::new()))
    }

    fn leftover(&self, id: UnitId) -> Arc<dyn AnyUnit> {
        Arc::new(ModelUnit { id, wish: Wish::of(None), craft: self.clone() })
    }
}

#[derive(Hash)]
struct Wish {
    claim: Shape,
}

impl Wish {
    const fn of(claim: Shape) -> Self {
        Self { claim }
    }
}

struct ModelUnit {
    id: UnitId,
    wish: Wish,
    craft: ModelCraft,
}

/// What was seen of a place.
struct Seen {
    there: Shape,
    saved: bool,
}

enum Step {
    Make(Box<Claim>),
    PutBack,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(claim) => {
                let mut hasher = DefaultHasher::new();
                claim.hash(&mut hasher);
                write!(formatter, "make {} ({:016x})", claim.id(), hasher.finish())
            }
            Self::PutBack => formatter.write_str("put back what was there"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the modelled machine fails")]
struct ModelFailure;

impl Unit for ModelUnit {
    type Desired = Wish;
    type Current = Seen;
    type Step = Step;
    type Error = ModelFailure;

    fn id(&self) -> &UnitId {
        &self.id
    }

    fn desired(&self) -> &Wish {
        &self.wish
    }

    async fn observe(&self, _direction: Direction) -> Result<Seen, ModelFailure> {
        self.craft.works().await;
        let things = self.craft.host.things();
        Ok(Seen { there: things.there.get(&self.id).cloned(), saved: things.saved.contains_key(&self.id) })
    }

    fn plan(desired: &Wish, current: &Seen) -> Result<Vec<Step>, ModelFailure> {
        Ok(desired
            .claim
            .iter()
            .filter(|claim| current.there.as_ref() != Some(*claim))
            .cloned()
            .map(|claim| Step::Make(Box::new(claim)))
            .collect())
    }

    fn plan_removal(_desired: &Wish, current: &Seen) -> Removal<Step> {
        Removal::Steps(current.saved.then_some(Step::PutBack).into_iter().collect())
    }

    async fn act(&self, step: &Step, cancel: &CancellationToken) -> Result<(), ModelFailure> {
        self.craft.works().await;
        if cancel.is_cancelled() {
            return Ok(());
        }
        let host = &self.craft.host;
        let fails = *host.fails.lock().unwrap_or_else(PoisonError::into_inner);
        if host.chance().permille(fails) {
            host.trace.fault(Fault::UnitFailed);
            return Err(ModelFailure);
        }
        match step {
            Step::Make(claim) => host.make(&self.id, claim),
            Step::PutBack => host.put_back(&self.id),
        }
        Ok(())
    }
}
