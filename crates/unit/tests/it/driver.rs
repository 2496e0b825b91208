//! The driver with units that do as the test says.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stead_unit::{
    Direction, Goal, Handle, Planned, Removal, Report, Settings, Step, UNITS_MAX, Unit, UnitId, UnitState, Wish, WishSet,
    WishSetError, converge,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The machine that the test's units are about.
#[derive(Debug, Default)]
struct Thing {
    value: Mutex<u32>,
    failing: AtomicBool,
    hanging: AtomicBool,
    acting: AtomicU32,
    acted_at_once_max: AtomicU32,
    acts: AtomicU32,
}

struct Number {
    id: UnitId,
    desired: u32,
    thing: Arc<Thing>,
}

#[derive(Debug)]
struct Put(u32);

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "put {}", self.0)
    }
}

#[derive(Debug)]
struct Trouble;

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it does not move")
    }
}

impl std::error::Error for Trouble {}

impl Unit for Number {
    type Desired = u32;
    type Current = u32;
    type Step = Put;
    type Error = Trouble;

    fn id(&self) -> &UnitId {
        &self.id
    }

    fn desired(&self) -> &u32 {
        &self.desired
    }

    async fn observe(&self, _direction: Direction) -> Result<u32, Trouble> {
        Ok(*self.thing.value.lock().unwrap())
    }

    fn plan(desired: &u32, current: &u32) -> Result<Vec<Put>, Trouble> {
        Ok(match *desired {
            same if same == *current => Vec::new(),
            large @ 1000.. => vec![Put(1), Put(large)],
            small => vec![Put(small)],
        })
    }

    fn plan_removal(_desired: &u32, current: &u32) -> Removal<Put> {
        Removal::Steps(if *current == 0 { Vec::new() } else { vec![Put(0)] })
    }

    async fn act(&self, step: &Put, cancel: &CancellationToken) -> Result<(), Trouble> {
        let acting = self.thing.acting.fetch_add(1, Ordering::SeqCst) + 1;
        self.thing.acted_at_once_max.fetch_max(acting, Ordering::SeqCst);
        self.thing.acts.fetch_add(1, Ordering::SeqCst);
        if self.thing.hanging.load(Ordering::SeqCst) && step.0 != 0 {
            cancel.cancelled().await;
        }
        tokio::task::yield_now().await;
        self.thing.acting.fetch_sub(1, Ordering::SeqCst);
        if self.thing.failing.load(Ordering::SeqCst) {
            return Err(Trouble);
        }
        *self.thing.value.lock().unwrap() = step.0;
        Ok(())
    }
}

fn id(name: &str) -> UnitId {
    UnitId::new("number", name)
}

fn wish(name: &str, desired: u32, thing: &Arc<Thing>, after: &[&str]) -> Wish {
    Wish {
        unit: Arc::new(Number { id: id(name), desired, thing: Arc::clone(thing) }),
        goal: Goal::Present,
        by: vec!["Profile/web@1".into()],
        after: after.iter().map(|name| id(name)).collect(),
    }
}

fn set(wishes: Vec<Wish>) -> WishSet {
    WishSet::new(wishes).unwrap()
}

fn start() -> (Handle, watch::Receiver<Report>) {
    let settings = Settings { observe_every: Duration::from_secs(60), jitter_seed: 3 };
    let (handle, driver) = converge(&settings);
    tokio::spawn(driver.run(CancellationToken::new()));
    let report = handle.report();
    (handle, report)
}

async fn until(report: &mut watch::Receiver<Report>, what: impl FnMut(&Report) -> bool) -> Report {
    let waited = tokio::time::timeout(Duration::from_secs(36_000), report.wait_for(what)).await;
    waited.expect("in ten hours of paused time").expect("the driver runs").clone()
}

fn is(report: &Report, name: &str, what: impl Fn(&UnitState) -> bool) -> bool {
    report.units.get(&id(name)).is_some_and(|unit| what(&unit.state))
}

#[tokio::test(start_paused = true)]
async fn a_wish_is_met_corrected_after_drift_and_taken_back() {
    let thing = Arc::new(Thing::default());
    let (handle, mut report) = start();
    handle.set(set(vec![wish("a", 5, &thing, &[])])).await.unwrap();
    let seen = until(&mut report, |report| is(report, "a", |state| *state == UnitState::Converged)).await;
    let change = seen.units[&id("a")].last_change.clone().unwrap();
    assert_eq!(change.steps, [Step::new("put 5")]);

    *thing.value.lock().unwrap() = 6;
    let later = change.at;
    until(&mut report, |report| report.units[&id("a")].last_change.as_ref().is_some_and(|change| change.at > later)).await;
    assert_eq!(*thing.value.lock().unwrap(), 5);

    handle.set(WishSet::default()).await.unwrap();
    until(&mut report, |report| report.units.is_empty()).await;
    assert_eq!(*thing.value.lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_unit_holds_up_nobody_and_stops_when_its_wish_is_withdrawn() {
    let hanging = Arc::new(Thing { hanging: AtomicBool::new(true), ..Thing::default() });
    let good = Arc::new(Thing::default());
    let (handle, mut report) = start();
    let hangs = (0..20).map(|n| wish(&format!("a{n}"), 1, &hanging, &[]));
    let wishes: Vec<_> = hangs.chain([wish("z", 1, &good, &[])]).collect();
    handle.set(set(wishes)).await.unwrap();
    until(&mut report, |report| is(report, "z", |state| *state == UnitState::Converged)).await;
    until(&mut report, |_| hanging.acting.load(Ordering::SeqCst) == 20).await;

    handle.set(set(vec![wish("z", 1, &good, &[])])).await.unwrap();
    let seen = until(&mut report, |report| report.units.len() == 1).await;
    assert!(seen.is_settled());
    assert_eq!(hanging.acting.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_takes_no_further_step() {
    let thing = Arc::new(Thing { hanging: AtomicBool::new(true), ..Thing::default() });
    let (handle, mut report) = start();
    handle.set(set(vec![wish("a", 1000, &thing, &[])])).await.unwrap();
    until(&mut report, |_| thing.acting.load(Ordering::SeqCst) == 1).await;
    handle.set(WishSet::default()).await.unwrap();
    until(&mut report, |report| report.units.is_empty()).await;
    assert_eq!(thing.acts.load(Ordering::SeqCst), 2, "the first step, and the one that takes it back");
}

#[tokio::test(start_paused = true)]
async fn as_many_units_as_there_may_be_converge_one_after_the_other_and_go_again() {
    let thing = Arc::new(Thing { value: Mutex::new(1), ..Thing::default() });
    let (handle, mut report) = start();
    let name = |n: usize| format!("{n:04}");
    let all = (0..UNITS_MAX).map(|n| match n.checked_sub(1) {
        Some(before) => wish(&name(n), 1, &thing, &[&name(before)]),
        None => wish(&name(n), 1, &thing, &[]),
    });
    handle.set(set(all.collect())).await.unwrap();
    until(&mut report, Report::is_settled).await;
    handle.set(WishSet::default()).await.unwrap();
    until(&mut report, |report| report.units.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_unit_says_why_and_is_tried_for_ever() {
    let thing = Arc::new(Thing { failing: AtomicBool::new(true), ..Thing::default() });
    let (handle, mut report) = start();
    handle.set(set(vec![wish("a", 1, &thing, &[]), wish("b", 1, &Arc::default(), &["a"])])).await.unwrap();
    let many = |state: &UnitState| matches!(state, UnitState::Failed { reason, attempts: 12.., .. } if reason == "could not put 1: it does not move");
    let seen = until(&mut report, |report| is(report, "a", many)).await;
    assert_eq!(seen.units[&id("b")].state, UnitState::Blocked { on: vec![id("a")] });
    thing.failing.store(false, Ordering::SeqCst);
    until(&mut report, Report::is_settled).await;
}

#[tokio::test(start_paused = true)]
async fn superseding_again_and_again_never_acts_twice_at_a_time() {
    let thing = Arc::new(Thing { hanging: AtomicBool::new(true), ..Thing::default() });
    let (handle, mut report) = start();
    for desired in 1..100 {
        handle.set(set(vec![wish("a", desired, &thing, &[])])).await.unwrap();
        tokio::task::yield_now().await;
    }
    thing.hanging.store(false, Ordering::SeqCst);
    handle.set(set(vec![wish("a", 100, &thing, &[])])).await.unwrap();
    until(&mut report, |report| report.is_settled() && !report.units.is_empty()).await;
    assert_eq!(*thing.value.lock().unwrap(), 100);
    assert_eq!(thing.acted_at_once_max.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_difference_is_shown_and_nothing_is_done() {
    let (old, new) = (Arc::new(Thing::default()), Arc::new(Thing::default()));
    let (handle, mut report) = start();
    handle.set(set(vec![wish("old", 1, &old, &[])])).await.unwrap();
    until(&mut report, |report| report.is_settled() && !report.units.is_empty()).await;
    let held = Wish { goal: Goal::Held { reason: "two claim it".into() }, ..wish("held", 1, &new, &[]) };
    let shown = handle.difference(set(vec![wish("new", 2, &new, &[]), held])).await.unwrap();
    let shown: Vec<_> = shown.into_iter().map(|it| (it.id, it.direction, it.planned)).collect();
    assert_eq!(
        shown,
        [
            (id("held"), Direction::Apply, Planned::Failed { reason: "two claim it".into() }),
            (id("new"), Direction::Apply, Planned::Steps(vec![Step::new("put 2")])),
            (id("old"), Direction::Remove, Planned::Steps(vec![Step::new("put 0")])),
        ]
    );
    assert_eq!(new.acts.load(Ordering::SeqCst), 0);
    assert_eq!(*old.value.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_stopped_ends_its_work_first() {
    let thing = Arc::new(Thing { hanging: AtomicBool::new(true), ..Thing::default() });
    let (handle, driver) = converge(&Settings { observe_every: Duration::from_secs(60), jitter_seed: 3 });
    let stop = CancellationToken::new();
    let running = tokio::spawn(driver.run(stop.clone()));
    handle.set(set(vec![wish("a", 1, &thing, &[])])).await.unwrap();
    until(&mut handle.report(), |report| report.units.values().any(|unit| unit.running)).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(thing.acting.load(Ordering::SeqCst), 0);
    assert!(handle.set(WishSet::default()).await.is_err());
}

#[test]
fn wishes_that_make_no_sense_are_refused_whole() {
    let thing = Arc::new(Thing::default());
    let twice = WishSet::new([wish("a", 1, &thing, &[]), wish("a", 2, &thing, &[])]);
    assert_eq!(twice.unwrap_err(), WishSetError::Twice { id: id("a") });
    let circle = WishSet::new([wish("a", 1, &thing, &["b"]), wish("b", 1, &thing, &["a"]), wish("c", 1, &thing, &[])]);
    assert!(matches!(circle.unwrap_err(), WishSetError::Circle { .. }));
    let unknown = WishSet::new([wish("a", 1, &thing, &["not wished for"])]);
    assert_eq!(unknown.unwrap().len(), 1);
    let many = WishSet::new((0..5000).map(|n| wish(&n.to_string(), 1, &thing, &[])));
    assert_eq!(many.unwrap_err(), WishSetError::TooMany { count: 5000 });
}
