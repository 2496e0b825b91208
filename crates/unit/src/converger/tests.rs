//! The decisions by table, and by whatever script of events proptest comes up with.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::Step;

const EVERY: Duration = Duration::from_secs(60);

fn id(name: &str) -> UnitId {
    let (kind, subject) = name.split_once(':').unwrap_or(("unit", name));
    UnitId::new(kind, subject)
}

fn wanted(goal: Goal, fingerprint: u64, after: &[&str]) -> Wanted {
    Wanted { goal, by: vec!["Profile/web@1".into()], after: after.iter().map(|name| id(name)).collect(), fingerprint }
}

fn present(list: &[(&str, u64, &[&str])]) -> BTreeMap<UnitId, Wanted> {
    list.iter().map(|(name, print, after)| (id(name), wanted(Goal::Present, *print, after))).collect()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What was started, as `+name` (apply) or `-name` (remove), and cancelled, as `!name`.
fn told(orders: &[Order]) -> Vec<String> {
    let words = |order: &Order| match order {
        Order::Start { id, direction: Direction::Apply, .. } => format!("+{}", id.subject()),
        Order::Start { id, direction: Direction::Remove, .. } => format!("-{}", id.subject()),
        Order::Cancel { id, .. } => format!("!{}", id.subject()),
    };
    orders.iter().map(words).collect()
}

struct Bench {
    converger: Converger,
    now: Duration,
    runs: BTreeMap<UnitId, u64>,
}

impl Bench {
    fn new() -> Self {
        Self { converger: Converger::new(EVERY, 7), now: Duration::ZERO, runs: BTreeMap::new() }
    }

    fn set(&mut self, wishes: BTreeMap<UnitId, Wanted>) -> Vec<String> {
        told(&self.converger.set(wishes, self.now))
    }

    fn go(&mut self) -> Vec<String> {
        let orders = self.converger.orders(self.now);
        for order in &orders {
            if let Order::Start { id, run, .. } = order {
                assert!(self.runs.insert(id.clone(), *run).is_none(), "{id} has two runs");
            }
        }
        told(&orders)
    }

    fn end(&mut self, name: &str, ending: Ending) {
        let run = self.runs.remove(&id(name)).expect("it runs");
        self.converger.finished(&id(name), run, Finished { done: Vec::new(), ending }, self.now);
    }

    fn state(&self, name: &str) -> Option<UnitState> {
        self.converger.report(self.now).units.get(&id(name)).map(|unit| unit.state.clone())
    }
}

fn failed() -> Ending {
    Ending::Failed { reason: "no".into() }
}

#[test]
fn what_comes_after_waits_and_says_for_whom() {
    let mut bench = Bench::new();
    bench.set(present(&[("dir", 1, &[]), ("file", 1, &["dir"]), ("other", 1, &[])]));
    assert_eq!(bench.go(), ["+dir", "+other"]);
    assert_eq!(bench.state("file"), Some(UnitState::Blocked { on: vec![id("dir")] }));
    bench.end("dir", Ending::Converged);
    assert_eq!(bench.go(), ["+file"]);
    bench.end("file", Ending::Converged);
    assert_eq!(bench.state("file"), Some(UnitState::Converged));
}

#[test]
fn a_failure_is_tried_again_and_holds_up_only_what_comes_after() {
    let mut bench = Bench::new();
    bench.set(present(&[("dir", 1, &[]), ("file", 1, &["dir"]), ("other", 1, &[])]));
    bench.go();
    bench.end("dir", failed());
    bench.end("other", Ending::Converged);
    assert_eq!(bench.go(), Vec::<String>::new());
    assert!(matches!(bench.state("dir"), Some(UnitState::Failed { attempts: 1, .. })));
    let wake = bench.converger.next_wake(bench.now).unwrap();
    assert!(wake <= PAUSE, "{wake:?}");
    bench.now = wake;
    assert_eq!(bench.go(), ["+dir"]);
    bench.end("dir", failed());
    assert!(matches!(bench.state("dir"), Some(UnitState::Failed { attempts: 2, .. })));
}

const PAUSE: Duration = crate::PAUSE_FIRST;

#[test]
fn a_withdrawn_wish_is_cancelled_in_the_same_call_and_removed_when_its_run_has_ended() {
    let mut bench = Bench::new();
    bench.set(present(&[("a", 1, &[])]));
    bench.go();
    assert_eq!(bench.set(BTreeMap::new()), ["!a"]);
    assert_eq!(bench.set(BTreeMap::new()), Vec::<String>::new(), "once is enough");
    assert_eq!(bench.go(), Vec::<String>::new(), "the old run has not ended");
    bench.end("a", Ending::Cancelled);
    assert_eq!(bench.go(), ["-a"]);
    bench.end("a", Ending::Gone);
    assert_eq!(bench.state("a"), None);
    assert_eq!(bench.converger.next_wake(bench.now), None);
}

#[test]
fn a_superseded_wish_is_cancelled_and_one_that_stays_is_not() {
    let mut bench = Bench::new();
    bench.set(present(&[("a", 1, &[]), ("b", 1, &[])]));
    bench.go();
    assert_eq!(bench.set(present(&[("a", 2, &[]), ("b", 1, &[])])), ["!a"]);
    bench.end("a", Ending::Converged);
    assert_eq!(bench.state("a"), Some(UnitState::Converging), "what converged was the old wish");
    assert_eq!(bench.go(), ["+a"]);
}

#[test]
fn a_wish_that_only_changed_its_name_is_told_by_the_new_name_and_not_done_again() {
    let mut bench = Bench::new();
    bench.set(present(&[("a", 1, &[])]));
    bench.go();
    bench.end("a", Ending::Converged);
    let renamed = Wanted { by: vec!["Profile/web@2".into()], ..wanted(Goal::Present, 1, &[]) };
    bench.set([(id("a"), renamed)].into());
    assert_eq!(bench.go(), Vec::<String>::new());
    let report = bench.converger.report(bench.now);
    let unit = report.units.get(&id("a")).unwrap();
    assert_eq!((unit.by.as_slice(), &unit.state), (["Profile/web@2".to_owned()].as_slice(), &UnitState::Converged));
}

#[test]
fn things_go_in_the_opposite_order() {
    let mut bench = Bench::new();
    bench.set(present(&[("dir", 1, &[]), ("file", 1, &["dir"])]));
    bench.go();
    bench.end("dir", Ending::Converged);
    bench.go();
    bench.end("file", Ending::Converged);
    bench.set(BTreeMap::new());
    assert_eq!(bench.go(), ["-file"]);
    assert_eq!(bench.state("dir"), Some(UnitState::Blocked { on: vec![id("file")] }));
    bench.end("file", Ending::Kept { reason: "changed".into() });
    assert_eq!(bench.go(), ["-dir"]);
    bench.end("dir", Ending::Gone);
    assert_eq!(bench.state("file"), Some(UnitState::Kept { reason: "changed".into() }));
    assert!(bench.converger.report(bench.now).is_settled());
}

#[test]
fn one_subject_is_worked_on_by_one_kind_at_a_time() {
    let mut bench = Bench::new();
    bench.set(present(&[("file:/a", 1, &[])]));
    bench.go();
    bench.end("file:/a", Ending::Converged);
    bench.set(present(&[("link:/a", 1, &[])]));
    assert_eq!(bench.go(), ["-/a"]);
    assert_eq!(bench.state("link:/a"), Some(UnitState::Blocked { on: vec![id("file:/a")] }));
    bench.end("file:/a", Ending::Gone);
    assert_eq!(bench.go(), ["+/a"]);
}

#[test]
fn a_conflict_stops_the_work_and_touches_nothing() {
    let mut bench = Bench::new();
    bench.set(present(&[("a", 1, &[])]));
    bench.go();
    let held = Goal::Held { reason: "two claim it".into() };
    assert_eq!(bench.set([(id("a"), wanted(held, 1, &[]))].into()), ["!a"]);
    bench.end("a", Ending::Cancelled);
    assert_eq!(bench.go(), Vec::<String>::new());
    assert_eq!(bench.state("a"), Some(UnitState::Conflict { reason: "two claim it".into() }));
    bench.set(present(&[("a", 1, &[])]));
    assert_eq!(bench.go(), ["+a"]);
}

#[test]
fn a_conflict_about_a_path_keeps_what_an_earlier_wish_of_another_kind_made_there() {
    let mut bench = Bench::new();
    bench.set(present(&[("file:/a", 1, &[])]));
    bench.go();
    bench.end("file:/a", Ending::Converged);
    let held = || wanted(Goal::Held { reason: "two claim it".into() }, 1, &[]);
    bench.set([(id("link:/a"), held()), (id("directory:/a"), held())].into());
    assert_eq!(bench.go(), Vec::<String>::new());
    assert_eq!(bench.state("file:/a"), Some(UnitState::Conflict { reason: "two claim it".into() }));
    bench.set(present(&[("link:/a", 1, &[])]));
    assert_eq!(bench.go(), ["-/a"], "the file first");
}

#[test]
fn units_that_hang_give_up_their_place() {
    let mut bench = Bench::new();
    let names: Vec<String> = (0..=RUNS_MAX).map(|n| format!("u{n}")).collect();
    bench.set(names.iter().map(|name| (id(name), wanted(Goal::Present, 1, &[]))).collect());
    assert_eq!(bench.go().len(), RUNS_MAX);
    assert_eq!(bench.converger.next_wake(bench.now), Some(RUN_SLOW));
    bench.now = RUN_SLOW;
    assert_eq!(bench.go().len(), 1);
}

#[test]
fn a_kept_thing_is_left_alone_until_it_is_wished_for_again() {
    let mut bench = Bench::new();
    bench.set(present(&[("a", 1, &[])]));
    bench.go();
    bench.end("a", Ending::Converged);
    bench.set(BTreeMap::new());
    bench.go();
    bench.end("a", Ending::Kept { reason: "changed".into() });
    bench.now = secs(100_000);
    bench.set(BTreeMap::new());
    assert_eq!(bench.go(), Vec::<String>::new());
    bench.set(present(&[("a", 1, &[])]));
    assert_eq!(bench.go(), ["+a"]);
}

#[test]
fn a_circle_between_two_sets_can_still_be_removed() {
    let mut bench = Bench::new();
    bench.set(present(&[("a", 1, &["b"]), ("b", 1, &[])]));
    bench.go();
    bench.end("b", Ending::Converged);
    bench.set(present(&[("b", 1, &["a"])]));
    bench.set(BTreeMap::new());
    let first = bench.go();
    assert!(!first.is_empty(), "neither waits for the other");
}

#[test]
fn what_comes_after_a_change_is_looked_at_at_once() {
    let mut bench = Bench::new();
    bench.set(present(&[("file", 1, &[]), ("command", 1, &["file"])]));
    bench.go();
    bench.end("file", Ending::Converged);
    bench.go();
    bench.end("command", Ending::Converged);
    bench.set(present(&[("file", 2, &[]), ("command", 1, &["file"])]));
    assert_eq!(bench.go(), ["+file"]);
    let run = bench.runs.remove(&id("file")).unwrap();
    let done = vec![Step::new("write")];
    bench.converger.finished(&id("file"), run, Finished { done, ending: Ending::Converged }, bench.now);
    assert_eq!(bench.go(), ["+command"]);
}

#[derive(Debug, Clone)]
enum Input {
    /// For each of six units: not wished (0), present with this fingerprint (1, 2), held (3).
    Set([u8; 6]),
    End(usize, u8),
    Wait(u64),
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let input = prop_oneof![
        2 => proptest::array::uniform6(0_u8..4).prop_map(Input::Set),
        6 => (0_usize..8, 0_u8..5).prop_map(|(which, how)| Input::End(which, how)),
        2 => (0_u64..400).prop_map(Input::Wait),
    ];
    proptest::collection::vec(input, 1..80)
}

/// Six units: a chain, a tree, and one subject with two kinds.
const NAMES: [(&str, &[&str]); 6] = [
    ("d:/a", &[]),
    ("f:/a/b", &["d:/a"]),
    ("l:/a/b", &["d:/a"]),
    ("f:/a/c", &["d:/a"]),
    ("c:run", &["f:/a/b", "f:/a/c"]),
    ("f:/z", &[]),
];

struct Model {
    bench: Bench,
    wished: BTreeMap<UnitId, Wanted>,
    /// Cancelled runs that have not ended.
    cancelled: BTreeSet<UnitId>,
    /// What each run that goes on was started for.
    working_on: BTreeMap<UnitId, (Direction, Option<u64>)>,
}

impl Model {
    fn set(&mut self, choice: [u8; 6]) {
        self.wished = NAMES
            .iter()
            .zip(choice)
            .filter_map(|((name, after), how)| match how {
                0 => None,
                3 => Some((id(name), wanted(Goal::Held { reason: "two".into() }, 1, after))),
                print => Some((id(name), wanted(Goal::Present, u64::from(print), after))),
            })
            .collect();
        for order in self.bench.converger.set(self.wished.clone(), self.bench.now) {
            let Order::Cancel { id, run } = order else { panic!("set only cancels") };
            assert_eq!(self.bench.runs.get(&id), Some(&run), "only what runs is cancelled");
            assert!(self.cancelled.insert(id), "cancelled once");
        }
        let held: BTreeSet<&str> =
            self.wished.iter().filter(|(_, wish)| is_held(&wish.goal)).map(|(id, _)| id.subject()).collect();
        for (id, (direction, print)) in &self.working_on {
            let wish = self.wished.get(id);
            let still = match direction {
                Direction::Apply => wish.is_some_and(|wish| wish.goal == Goal::Present && Some(wish.fingerprint) == *print),
                Direction::Remove => wish.is_none() && !held.contains(id.subject()),
            };
            assert!(still || self.cancelled.contains(id), "{id}: work on a wish that is gone goes on");
        }
    }

    fn go(&mut self) {
        for order in self.bench.converger.orders(self.bench.now) {
            let Order::Start { id, run, direction } = order else { panic!("orders only starts") };
            assert!(self.bench.runs.keys().all(|other| other.subject() != id.subject()), "{id}: two runs of one subject");
            self.bench.runs.insert(id.clone(), run);
            let print = self.wished.get(&id).map(|wish| wish.fingerprint);
            self.working_on.insert(id, (direction, print));
        }
        let fast = self.bench.converger.fast_runs(self.bench.now).count();
        assert!(fast <= RUNS_MAX);
    }

    fn end(&mut self, which: usize, how: u8) {
        let Some(id) = self.bench.runs.keys().nth(which).cloned() else { return };
        let (direction, _) = self.working_on.remove(&id).expect("it runs");
        let cancelled = self.cancelled.remove(&id);
        let ending = match (how, direction) {
            (_, _) if cancelled && how > 0 => Ending::Cancelled,
            (1, _) => failed(),
            (2, Direction::Remove) => Ending::Kept { reason: "changed".into() },
            (_, Direction::Remove) => Ending::Gone,
            (_, Direction::Apply) => Ending::Converged,
        };
        self.bench.end(&id.to_string(), ending);
    }
}

proptest! {
    /// Whatever happens, and in whatever order: one run a unit and a subject, nothing goes on for a wish that is
    /// gone, and when the faults stop every wish is met and nothing else is left.
    #[test]
    fn it_keeps_its_promises(script in inputs()) {
        let mut model = Model {
            bench: Bench::new(), wished: BTreeMap::new(), cancelled: BTreeSet::new(), working_on: BTreeMap::new(),
        };
        for input in script {
            match input {
                Input::Set(choice) => model.set(choice),
                Input::End(which, how) => model.end(which, how),
                Input::Wait(seconds) => model.bench.now += secs(seconds),
            }
            model.go();
        }
        let mut choice = [0_u8; 6];
        for (place, (name, _)) in choice.iter_mut().zip(NAMES) {
            // A conflict is not a fault that passes: it is resolved by wishing for one of the two. So is a subject wished for twice.
            *place = match model.wished.get(&id(name)) { Some(_) if name != "l:/a/b" => 1, _ => 0 };
        }
        model.set(choice);
        for _ in 0..200 {
            model.go();
            if model.bench.runs.is_empty() {
                if model.bench.converger.report(model.bench.now).is_settled() { break }
                let wake = model.bench.converger.next_wake(model.bench.now);
                prop_assert!(wake.is_some(), "nothing runs, nothing is due, and yet not settled: {:?}", model.bench.converger.report(model.bench.now));
                model.bench.now = wake.unwrap();
            } else {
                model.end(0, 3);
            }
        }
        let report = model.bench.converger.report(model.bench.now);
        for (name, wish) in &model.wished {
            let _ = wish;
            let missing: Vec<_> = NAMES.iter().filter(|(n, _)| id(n) == *name).flat_map(|(_, after)| *after).collect();
            prop_assert_eq!(report.units.get(name).map(|unit| &unit.state), Some(&UnitState::Converged), "{} after {:?}", name, missing);
        }
        for (name, unit) in &report.units {
            prop_assert!(model.wished.contains_key(name) || matches!(unit.state, UnitState::Kept { .. }), "{} is left", name);
        }
    }
}
