//! Many seeds: each has to hold, some are played twice to see that they repeat themselves, and every kind of fault has to occur.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use stead_sim::{Counts, Fault, Outcome, Plan, play};

/// Each so-manieth seed is played twice.
const TWICE_EVERY: u64 = 40;
/// With so many seeds, a kind of fault that does not occur is a fault of the simulation.
const EVERY_FAULT_FROM: u64 = 500;

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Campaign {
    first: u64,
    seeds: u64,
    jobs: Option<usize>,
    machines: Option<usize>,
    seconds: Option<u64>,
}

/// What came of it.
#[derive(Default)]
struct Sum {
    faults: Counts,
    failed: u64,
    repeated: u64,
    changes: usize,
    simulated: Duration,
    took: Duration,
    slowest: (Duration, u64),
}

impl Campaign {
    /// Reads a command line.
    pub(crate) fn read(words: &[&str]) -> Option<Self> {
        let mut campaign = Self { first: 0, seeds: 1, jobs: None, machines: None, seconds: None };
        let mut rest = words;
        loop {
            rest = match rest {
                [] => return Some(campaign),
                ["--seeds", count, rest @ ..] => {
                    campaign.seeds = count.parse().ok().filter(|count| *count > 0)?;
                    rest
                }
                ["--seed", seed, rest @ ..] => {
                    campaign.first = seed.parse().ok()?;
                    rest
                }
                ["--jobs", jobs, rest @ ..] => {
                    campaign.jobs = Some(jobs.parse().ok().filter(|jobs| *jobs > 0)?);
                    rest
                }
                ["--machines", machines, rest @ ..] => {
                    campaign.machines = Some(machines.parse().ok().filter(|machines| *machines > 0)?);
                    rest
                }
                ["--seconds", seconds, rest @ ..] => {
                    campaign.seconds = Some(seconds.parse().ok()?);
                    rest
                }
                _ => return None,
            };
        }
    }

    /// Runs it, and prints what came of it. Says whether all is well.
    pub(crate) fn run(&self) -> bool {
        let begun = Instant::now();
        let jobs = self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get));
        let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.seeds {
                            return;
                        }
                        self.seed(self.first.saturating_add(number), &sum);
                    }
                });
            }
        });
        let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.conclude(&sum, begun.elapsed())
    }

    fn seed(&self, seed: u64, sum: &Mutex<Sum>) {
        let begun = Instant::now();
        let plan = Plan { machines: self.machines, seconds: self.seconds, ..Plan::of(seed) };
        let played = play(&Plan { keep_lines: self.seeds == 1, ..plan.clone() });
        let took = begun.elapsed();
        let twice = seed.is_multiple_of(TWICE_EVERY) || self.seeds == 1;
        let again = twice.then(|| play(&plan).map(|outcome| outcome.digest));
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.took = sum.took.saturating_add(took);
        sum.slowest = sum.slowest.max((took, seed));
        let outcome = match played {
            Ok(outcome) => outcome,
            Err(error) => {
                sum.failed = sum.failed.saturating_add(1);
                println!("seed {seed} could not be played: {error}");
                return;
            }
        };
        let mut faults = outcome.violations.clone();
        if let Some(again) = again {
            sum.repeated = sum.repeated.saturating_add(1);
            if again.as_ref() != Ok(&outcome.digest) {
                faults.push(format!("played twice, its trace was {} and then {again:?}", outcome.digest));
            }
        }
        tell(seed, &outcome, &faults);
        sum.failed = sum.failed.saturating_add(u64::from(!faults.is_empty()));
        sum.changes = sum.changes.saturating_add(outcome.changes);
        sum.simulated = sum.simulated.saturating_add(outcome.simulated);
        for (fault, count) in outcome.faults {
            let all = sum.faults.entry(fault).or_default();
            *all = all.saturating_add(count);
        }
    }

    fn conclude(&self, sum: &Sum, took: Duration) -> bool {
        let absent: Vec<String> =
            Fault::ALL.iter().filter(|fault| !sum.faults.contains_key(fault)).map(ToString::to_string).collect();
        for fault in Fault::ALL {
            println!("{:<18} {:>10}", fault.to_string(), sum.faults.get(&fault).copied().unwrap_or(0));
        }
        let unseen = self.seeds >= EVERY_FAULT_FROM && !absent.is_empty();
        if unseen {
            println!("never occurred, so that nothing is known of it: {}", absent.join(", "));
        }
        let speed = sum.simulated.as_secs_f64() / sum.took.as_secs_f64().max(f64::MIN_POSITIVE);
        println!(
            "the slowest seed was {} with {:.1} s; simulated {:.0} s, {speed:.0} times as fast as time",
            sum.slowest.1,
            sum.slowest.0.as_secs_f64(),
            sum.simulated.as_secs_f64()
        );
        // Beside the results, where the programs of the other steps of `cargo xtask test` sum themselves up, too.
        eprintln!(
            "Summary: {} seeds from {} in {:.1} s, {} failed; {} changes acknowledged; {} played twice",
            self.seeds,
            self.first,
            took.as_secs_f64(),
            sum.failed,
            sum.changes,
            sum.repeated
        );
        sum.failed == 0 && !unseen
    }
}

fn tell(seed: u64, outcome: &Outcome, faults: &[String]) {
    for line in &outcome.lines {
        println!("{line}");
    }
    if !outcome.lines.is_empty() {
        println!("seed {seed}: {} after {:?}", outcome.digest, outcome.simulated);
    }
    for fault in faults {
        println!("seed {seed}: {fault}");
    }
    if !faults.is_empty() {
        println!("seed {seed} failed; to see it again: cargo xtask sim --seed {seed}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_can_be_chosen() {
        assert_eq!(Campaign::read(&[]), Some(Campaign { first: 0, seeds: 1, jobs: None, machines: None, seconds: None }));
        let chosen = Campaign::read(&["--seed", "7", "--seeds", "20", "--jobs", "2", "--machines", "9", "--seconds", "60"]);
        assert_eq!(chosen, Some(Campaign { first: 7, seeds: 20, jobs: Some(2), machines: Some(9), seconds: Some(60) }));
        for bad in [&["--seeds"][..], &["--seeds", "0"], &["--seed", "x"], &["7"]] {
            assert_eq!(Campaign::read(bad), None, "{bad:?}");
        }
    }
}
