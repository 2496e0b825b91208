//! `cargo xtask sim`: the simulated fleet, many seeds of it, or one to look at.

use crate::command;
use crate::failure::{Failure, Outcome};
use crate::workspace;
use std::process::Command;

/// The seeds of `cargo xtask sim` without a number.
const SEEDS: u64 = 10_000;
/// The seeds that `test` runs of them.
const SHARE: u64 = 2_000;

/// What the closing line of a run starts with.
const SUMMARY: &str = "Summary:";

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    seeds: u64,
    first: u64,
}

impl Plan {
    fn read(words: &[&str]) -> Option<Self> {
        let (mut seeds, mut first, mut rest) = (None, None, words);
        loop {
            rest = match rest {
                // One seed alone is looked at; without one it is all of them.
                [] => {
                    return Some(Self {
                        seeds: seeds.unwrap_or(if first.is_some() { 1 } else { SEEDS }),
                        first: first.unwrap_or(0),
                    });
                }
                ["--seeds", count, rest @ ..] => {
                    seeds = Some(count.parse().ok().filter(|count| *count > 0)?);
                    rest
                }
                ["--seed", seed, rest @ ..] => {
                    first = Some(seed.parse().ok()?);
                    rest
                }
                _ => return None,
            };
        }
    }
}

/// `cargo xtask sim [--seeds N] [--seed S]`.
pub(crate) fn sim(words: &[&str]) -> Outcome {
    let plan = Plan::read(words).ok_or_else(|| Failure::Usage("sim takes --seeds N and --seed S".to_owned()))?;
    build()?;
    command::run(&mut program(&plan))
}

/// What `test` runs of it, and the line that sums it up.
pub(crate) fn share() -> (Outcome, Option<String>) {
    if let Err(failure) = build() {
        return (Err(failure), None);
    }
    let (outcome, summary) = command::run_and_keep(&mut program(&Plan { seeds: SHARE, first: 0 }), SUMMARY);
    (outcome, summary.map(|summary| format!("{summary} (of {SEEDS} by command)")))
}

/// Built as the tests are, so that nothing is built twice: what is hot in it, the cryptography, is optimised there as well.
fn build() -> Outcome {
    command::run(command::cargo().args(["build", "--quiet", "--workspace", "--bin", "stead-sim"]))
}

fn program(plan: &Plan) -> Command {
    let mut command = command::program(workspace::target().join("debug").join("stead-sim"));
    command.args(["--seeds", &plan.seeds.to_string(), "--seed", &plan.first.to_string()]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_alone_is_looked_at() {
        assert_eq!(Plan::read(&[]), Some(Plan { seeds: SEEDS, first: 0 }));
        assert_eq!(Plan::read(&["--seed", "7"]), Some(Plan { seeds: 1, first: 7 }));
        assert_eq!(Plan::read(&["--seeds", "20", "--seed", "7"]), Some(Plan { seeds: 20, first: 7 }));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for bad in [&["--seeds"][..], &["--seeds", "0"], &["--seed", "x"], &["7"]] {
            assert!(matches!(sim(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
