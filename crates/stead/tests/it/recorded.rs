//! A recorded history of concurrent writes, reads and watches through two coordinators, while they and their PostgreSQL are killed and
//! started again: checked for what is lost, out of order, or stale. `docs/testing.md` says how to read one that fails.

mod checker;
mod faults;
mod history;
mod http;
mod owner;
mod pair;
mod round;
mod watcher;
mod worker;

use std::collections::BTreeMap;
use std::path::Path;

use faults::Fault;

/// The rounds of a full campaign.
const ROUNDS_FULL: u64 = 40;
/// The rounds where nothing says how many: with an even seed, every fault once.
const ROUNDS_DEFAULT: u64 = 2;
/// The seed where nothing says which; each round has the next one.
const SEED_DEFAULT: u64 = 0x5eee;

#[test]
fn campaign_history() {
    let first = std::env::var("STEAD_CAMPAIGN_SEED").map_or(SEED_DEFAULT, |seed| seed.parse().unwrap());
    let rounds = crate::share::of("history", ROUNDS_FULL, ROUNDS_DEFAULT);
    let mut occurred: BTreeMap<String, u32> = BTreeMap::new();
    let (mut operations, mut acknowledged, mut events) = (0, 0, 0);
    for seed in first..first + rounds {
        for fault in Fault::of_round(seed) {
            occurred.entry(format!("{fault:?}")).or_default();
        }
        let ended = round::run(seed, Path::new(env!("CARGO_TARGET_TMPDIR")));
        operations += ended.operations;
        acknowledged += ended.acknowledged;
        events += ended.events;
        for struck in ended.struck.iter().filter(|struck| struck.occurred) {
            let (fault, _) = struck.fault.split_once(' ').unwrap();
            *occurred.get_mut(fault).unwrap() += 1;
        }
    }
    println!("history: ran {rounds}/{ROUNDS_FULL}: {operations} calls, {acknowledged} writes acknowledged, {events} events told");
    for (fault, count) in &occurred {
        println!("history: {fault}: {count}");
    }
    let never: Vec<&String> = occurred.iter().filter(|(_, count)| **count == 0).map(|(fault, _)| fault).collect();
    assert!(never.is_empty(), "faults that never occurred: {never:?}");
}
