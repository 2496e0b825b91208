//! Runs the converger's orders on tokio: the only place here with a clock and tasks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::converger::{Converger, Order, Wanted};
use crate::difference::{self, Difference};
use crate::report::Report;
use crate::run::{Ending, Finished};
use crate::{AnyUnit, UnitId, WishSet};

/// How many requests may wait for the driver, which answers each at once; a caller who is faster waits.
const REQUESTS_WAITING_MAX: usize = 16;

/// How a converger is to behave.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What has converged is looked at again after at most this long.
    pub observe_every: Duration,
    /// The seed of the jitter; a different one on each machine.
    pub jitter_seed: u64,
}

enum Request {
    Set(WishSet, oneshot::Sender<()>),
    Difference(WishSet, oneshot::Sender<Vec<Difference>>),
}

/// Talks to a running converger. When every handle is gone, or [`Driver::run`]'s token fires, the converger stops.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    report: watch::Receiver<Report>,
}

/// The converger has ended, and takes no more wishes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the converger of this machine has ended; start the agent again")]
pub struct Ended;

impl Handle {
    /// Replaces everything that is wished for. What is no longer in the set is withdrawn, and work on it stops at once.
    /// When this returns, what was to be cancelled is cancelled, and every report from then on speaks of these wishes.
    ///
    /// Things of an earlier process that are no longer wished for are put in as [`crate::Goal::Absent`] once.
    ///
    /// # Errors
    ///
    /// The converger has ended.
    pub async fn set(&self, wishes: WishSet) -> Result<(), Ended> {
        let (taken, is_taken) = oneshot::channel();
        self.requests.send(Request::Set(wishes, taken)).await.map_err(|_| Ended)?;
        is_taken.await.map_err(|_| Ended)
    }

    /// What [`set`](Self::set) would do, unit by unit, without doing it: for each unit in the set or withdrawn by it.
    ///
    /// # Errors
    ///
    /// The converger has ended.
    pub async fn difference(&self, wishes: WishSet) -> Result<Vec<Difference>, Ended> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Difference(wishes, answer)).await.map_err(|_| Ended)?;
        answered.await.map_err(|_| Ended)
    }

    /// The report, and each new one.
    #[must_use]
    pub fn report(&self) -> watch::Receiver<Report> {
        self.report.clone()
    }
}

/// The part that works. Made by [`converge`]; does nothing until it is run.
#[must_use = "nothing converges unless the driver runs"]
pub struct Driver {
    start: Instant,
    converger: Converger,
    units: BTreeMap<UnitId, Arc<dyn AnyUnit>>,
    requests: mpsc::Receiver<Request>,
    report: watch::Sender<Report>,
    tasks: JoinSet<Finished>,
    runs: HashMap<Id, (UnitId, u64)>,
    cancels: BTreeMap<u64, CancellationToken>,
    differences: JoinSet<()>,
}

/// A converger without wishes.
pub fn converge(settings: &Settings) -> (Handle, Driver) {
    let (request_sender, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
    let (report, report_receiver) = watch::channel(Report::default());
    let driver = Driver {
        start: Instant::now(),
        converger: Converger::new(settings.observe_every, settings.jitter_seed),
        units: BTreeMap::new(),
        requests,
        report,
        tasks: JoinSet::new(),
        runs: HashMap::new(),
        cancels: BTreeMap::new(),
        differences: JoinSet::new(),
    };
    (Handle { requests: request_sender, report: report_receiver }, driver)
}

impl Driver {
    /// Converges until `stop` fires or every handle is gone; then stops all work, waits for its end and returns.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.carry_out();
            let now = self.start.elapsed();
            let wake = self.converger.next_wake(now).map(|at| self.start + at);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                request = self.requests.recv() => match request {
                    Some(request) => self.take(request),
                    None => break,
                },
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    self.note(ended);
                    // What has ended meanwhile is taken along, so that many short runs make one report.
                    while let Some(ended) = self.tasks.try_join_next_with_id() {
                        self.note(ended);
                    }
                }
                Some(_) = self.differences.join_next(), if !self.differences.is_empty() => {}
                () = sleep_until(wake) => {}
            }
        }
        self.wind_up().await;
    }

    fn take(&mut self, request: Request) {
        let now = self.start.elapsed();
        match request {
            Request::Set(wishes, taken) => {
                let wanted = wishes.iter().map(|(id, wish)| {
                    let (goal, by, after) = (wish.goal.clone(), wish.by.clone(), wish.after.clone());
                    (id.clone(), Wanted { goal, by, after, fingerprint: wish.unit.fingerprint() })
                });
                let orders = self.converger.set(wanted.collect(), now);
                self.units.extend(wishes.iter().map(|(id, wish)| (id.clone(), Arc::clone(&wish.unit))));
                self.obey(orders);
                self.carry_out();
                // Nobody waiting for it any more is no error.
                let _ = taken.send(());
            }
            Request::Difference(wishes, answer) => {
                let withdrawn = self.converger.withdrawn_by(&wishes);
                let withdrawn: Vec<_> = withdrawn.iter().filter_map(|id| self.units.get(id).cloned()).collect();
                self.differences.spawn(async move {
                    // Nobody waiting for the answer any more is no error.
                    let _ = answer.send(difference::difference(&wishes, withdrawn).await);
                });
            }
        }
    }

    /// Starts what may start, and says how things are.
    fn carry_out(&mut self) {
        let now = self.start.elapsed();
        let orders = self.converger.orders(now);
        self.obey(orders);
        let report = self.converger.report(now);
        // Not after each that has gone, which would look at all of them each time.
        if self.units.len() > 2 * report.units.len() {
            self.units.retain(|id, _| report.units.contains_key(id));
        }
        self.report.send_if_modified(|published| {
            let changed = !published.units.ptr_eq(&report.units);
            if changed {
                *published = report;
            }
            changed
        });
    }

    fn obey(&mut self, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Cancel { run, .. } => {
                    if let Some(cancel) = self.cancels.get(&run) {
                        cancel.cancel();
                    }
                }
                Order::Start { id, run, direction } => {
                    let Some(unit) = self.units.get(&id).cloned() else { continue };
                    let cancel = CancellationToken::new();
                    self.cancels.insert(run, cancel.clone());
                    let task = self.tasks.spawn(async move { unit.run(direction, cancel).await }.in_current_span());
                    self.runs.insert(task.id(), (id, run));
                }
            }
        }
    }

    fn note(&mut self, ended: Result<(Id, Finished), JoinError>) {
        let (task, finished) = match ended {
            Ok((task, finished)) => (task, finished),
            Err(error) => {
                tracing::error!(%error, "the work on a unit broke down");
                let reason = format!("the work on it broke down, which is a fault in this program: {error}");
                (error.id(), Finished { done: Vec::new(), ending: Ending::Failed { reason } })
            }
        };
        if let Some((id, run)) = self.runs.remove(&task) {
            self.cancels.remove(&run);
            self.converger.finished(&id, run, finished, self.start.elapsed());
        }
    }

    async fn wind_up(mut self) {
        self.differences.abort_all();
        for cancel in self.cancels.values() {
            cancel.cancel();
        }
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.note(ended);
        }
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
