//! The trait of a unit kind, and its object-safe form.

use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::UnitId;
use crate::run::{self, Finished};

/// Something a machine should be, and how to see it, plan it and do it.
///
/// `observe` looks and changes nothing. `plan` and `plan_removal` are pure. `act` is idempotent and decides nothing:
/// done twice, or cut short and done again, it ends the same.
pub trait Unit: Send + Sync + 'static {
    /// What the owner wishes.
    type Desired: Hash + Send + Sync;
    /// What was seen, together with what the unit remembers of its earlier acts.
    type Current: Send + Sync;
    /// One thing to do. Its `Display` is what a person reads in a difference: digests, sizes and names, never contents.
    type Step: fmt::Display + Send + Sync;
    /// Why looking, planning or acting failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The unit's name.
    fn id(&self) -> &UnitId;

    /// The wish.
    fn desired(&self) -> &Self::Desired;

    /// Looks at the thing, as far as that direction needs: a wish that goes away has to be able to go though its check is broken.
    /// Dropping the future must end whatever looking started.
    fn observe(&self, direction: Direction) -> impl Future<Output = Result<Self::Current, Self::Error>> + Send;

    /// What is to be done so that the thing is as desired. Nothing to do means converged.
    ///
    /// # Errors
    ///
    /// The thing can't become as desired, whatever this unit does: a person has to change something.
    fn plan(desired: &Self::Desired, current: &Self::Current) -> Result<Vec<Self::Step>, Self::Error>;

    /// What is to be done when the wish has gone away.
    fn plan_removal(desired: &Self::Desired, current: &Self::Current) -> Removal<Self::Step>;

    /// Does one step. When `cancel` fires it stops soon, leaves nothing running behind, and returns
    /// (with whatever result: a cancelled run's result is not looked at).
    fn act(&self, step: &Self::Step, cancel: &CancellationToken) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// What to add to the reason when the thing still isn't as desired after every step was done:
    /// the last lines of a check's output, for one.
    fn evidence(current: &Self::Current) -> Option<String> {
        let _ = current;
        None
    }
}

/// What the removal of a wish asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal<S> {
    /// These steps; none means that nothing of the unit is left.
    Steps(Vec<S>),
    /// The thing stays as it is, because a person changed it since.
    Kept {
        /// Why, in words.
        reason: String,
    },
}

/// One step in words, such as `write /etc/motd (12 bytes, sha256:…)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Step(String);

impl Step {
    /// A step with these words.
    #[must_use]
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// The words.
    #[must_use]
    pub fn words(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which way a unit is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Towards what is desired.
    Apply,
    /// Back: the wish went away.
    Remove,
}

/// What observing and planning found, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned {
    /// These steps would be taken; none means that there is nothing to do.
    Steps(Vec<Step>),
    /// The wish went away and the thing stays, because a person changed it.
    Kept {
        /// Why, in words.
        reason: String,
    },
    /// Nothing can be said or done, for this reason.
    Failed {
        /// The whole chain of causes, in words.
        reason: String,
    },
}

/// A unit of any kind: what the converger holds. Every [`Unit`] is one.
pub trait AnyUnit: Send + Sync + 'static {
    /// The unit's name.
    fn id(&self) -> &UnitId;

    /// Two wishes for one unit with the same fingerprint are the same wish. Only compared within one process.
    fn fingerprint(&self) -> u64;

    /// Observes and plans; changes nothing.
    fn plan(&self, direction: Direction) -> BoxFuture<'_, Planned>;

    /// Observes, plans, acts and observes again, once.
    fn run(&self, direction: Direction, cancel: CancellationToken) -> BoxFuture<'_, Finished>;
}

impl<U: Unit> AnyUnit for U {
    fn id(&self) -> &UnitId {
        Unit::id(self)
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.desired().hash(&mut hasher);
        hasher.finish()
    }

    fn plan(&self, direction: Direction) -> BoxFuture<'_, Planned> {
        run::plan(self, direction).boxed()
    }

    fn run(&self, direction: Direction, cancel: CancellationToken) -> BoxFuture<'_, Finished> {
        async move { run::run(self, direction, &cancel).await }.boxed()
    }
}
