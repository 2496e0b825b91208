//! A few seeds as every test run plays them; `cargo xtask sim` plays thousands.

#![expect(clippy::unwrap_used, reason = "a test that meets what it did not expect has failed")]

use stead_sim::{Outcome, Plan, play};

fn outcome(plan: &Plan) -> Outcome {
    play(plan).unwrap()
}

#[test]
fn a_seed_holds_and_repeats_itself() {
    for seed in [1, 7, 12, 50] {
        let (once, twice) = (outcome(&Plan::of(seed)), outcome(&Plan::of(seed)));
        assert_eq!(once.violations, Vec::<String>::new(), "seed {seed}");
        assert_eq!(once.digest, twice.digest, "seed {seed}");
        assert!(once.changes > 0, "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_story() {
    assert_ne!(outcome(&Plan::of(1)).digest, outcome(&Plan::of(2)).digest);
}

#[test]
fn what_is_said_of_a_story_holds_whatever_its_seed() {
    let plan = Plan { machines: Some(2), coordinators: Some(2), seconds: Some(20), keep_lines: true, ..Plan::of(3) };
    let outcome = outcome(&plan);
    let started = outcome.lines.iter().filter(|line| line.ends_with("coordinator-1 starts")).count();
    assert!(started >= 1 && outcome.lines.iter().any(|line| line.ends_with("machine-1 starts")));
    assert!(!outcome.lines.iter().any(|line| line.ends_with("machine-2 starts")));
}
