//! A unit whose runs are counted, timed, and told of under the id of the Change that they carry out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use stead_unit::{AnyUnit, Direction, Ending, Finished, Planned, UnitId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::claims::parse_by;
use crate::metrics::AgentMetrics;

/// An object's sequence, and the id of the Change that it comes from.
type Origin = (u64, Arc<str>);

/// The Change that each object held comes from, by the object's name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Arc<Mutex<BTreeMap<String, Origin>>>);

impl Origins {
    /// Takes in an object, unless this sequence of it is known.
    pub(crate) fn note(&self, object: &str, sequence: u64, change: impl FnOnce() -> Option<String>) {
        let mut origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if origins.get(object).is_none_or(|(known, _)| *known != sequence)
            && let Some(change) = change()
        {
            origins.insert(object.to_owned(), (sequence, change.into()));
        }
    }

    /// The Change that an object's newest sequence comes from; empty where it is not known.
    pub(crate) fn of(&self, object: &str) -> Arc<str> {
        let origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        origins.get(object).map_or_else(|| Arc::from(""), |(_, change)| Arc::clone(change))
    }
}

/// A unit, watched.
pub(crate) struct Watched {
    unit: Arc<dyn AnyUnit>,
    /// The object that wishes it; of several, the first.
    object: String,
    origins: Origins,
    metrics: Arc<AgentMetrics>,
}

impl Watched {
    pub(crate) fn new(unit: Arc<dyn AnyUnit>, by: &[String], origins: &Origins, metrics: &Arc<AgentMetrics>) -> Self {
        let object = by.iter().find_map(|by| parse_by(by)).map(|(object, _)| object.to_owned()).unwrap_or_default();
        Self { unit, object, origins: origins.clone(), metrics: Arc::clone(metrics) }
    }

    async fn work(&self, direction: Direction, cancel: CancellationToken) -> Finished {
        let begun = Instant::now();
        // When it runs, and not when it was wished: what takes a thing away is a later Change than the one that brought it.
        let change = self.origins.of(&self.object);
        let unit = self.unit.id();
        let span = tracing::info_span!("converge", %change, object = %self.object, %unit, outcome = Empty, idle = Empty);
        let finished = self.unit.run(direction, cancel).instrument(span.clone()).await;
        let (outcome, failed) = match &finished.ending {
            Ending::Converged => ("Converged", false),
            Ending::Gone => ("Gone", false),
            Ending::Kept { .. } => ("Kept", false),
            Ending::Failed { .. } => ("Failed", true),
            Ending::Cancelled => ("Cancelled", false),
        };
        span.record("outcome", outcome);
        if finished.done.is_empty() && !failed {
            // It was only looked at, as it is every few minutes.
            span.record("idle", true);
            return finished;
        }
        let took = begun.elapsed();
        self.metrics.acted(unit, failed, took);
        // The reason of a failure is told as an event, once; here it would come again with each try.
        let steps = finished.done.len();
        span.in_scope(|| tracing::info!(steps, seconds = took.as_secs_f64(), outcome, "acted"));
        finished
    }
}

impl AnyUnit for Watched {
    fn id(&self) -> &UnitId {
        self.unit.id()
    }

    fn fingerprint(&self) -> u64 {
        self.unit.fingerprint()
    }

    fn plan(&self, direction: Direction) -> BoxFuture<'_, Planned> {
        self.unit.plan(direction)
    }

    fn run(&self, direction: Direction, cancel: CancellationToken) -> BoxFuture<'_, Finished> {
        self.work(direction, cancel).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_comes_from_its_newest_change() {
        let origins = Origins::default();
        origins.note("Profile/web", 1, || Some("first".to_owned()));
        origins.note("Profile/web", 1, || unreachable!("a sequence that is known is not looked up again"));
        origins.note("Profile/web", 2, || Some("second".to_owned()));
        assert_eq!((&*origins.of("Profile/web"), &*origins.of("Profile/db")), ("second", ""));
    }
}
