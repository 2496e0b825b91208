//! `cargo xtask test`: everything that CI checks, in order, each step timed, with a table at the end.

use crate::command;
use crate::failure::{Failure, Outcome};
use crate::tools::Tools;
use crate::{campaign, clippy, fuzz, sim, tidy};
use std::time::{Duration, Instant};

/// One step. It returns, beside its outcome, the line that sums it up, where its program prints one.
struct Step {
    name: &'static str,
    /// Left out by `--fast`.
    slow: bool,
    run: fn(&Tools) -> (Outcome, Option<String>),
}

/// In this order: what is cheap and says most comes first.
const STEPS: [Step; 10] = [
    Step { name: "format", slow: false, run: |_| plain(format()) },
    Step { name: "tidy", slow: false, run: |_| plain(tidy::tidy(&[])) },
    Step { name: "deny", slow: false, run: |tools| plain(deny(tools)) },
    Step { name: "clippy", slow: false, run: |_| plain(clippy::clippy(&[])) },
    Step { name: "documentation", slow: true, run: |_| plain(documentation()) },
    Step { name: "tests", slow: false, run: tests },
    Step { name: "examples in documentation", slow: true, run: |_| plain(examples()) },
    Step { name: "fuzzing, a share", slow: true, run: fuzzing },
    Step { name: "campaigns, a share", slow: true, run: campaigns },
    Step { name: "simulation, a share", slow: true, run: |_| sim::share() },
];

/// What nextest's closing line contains.
const SUMMARY: &str = "Summary [";

/// How a step ended.
struct Ended {
    name: &'static str,
    took: Duration,
    outcome: Outcome,
    summary: Option<String>,
}

/// `cargo xtask test [--fast]`. Every step runs, also after one that failed.
pub(crate) fn test(words: &[&str]) -> Outcome {
    let fast = match words {
        [] => false,
        ["--fast"] => true,
        _ => return Err(Failure::Usage("test takes only --fast".to_owned())),
    };
    let start = Instant::now();
    let tools = Tools::install()?;
    let mut ended = vec![Ended { name: "tools", took: start.elapsed(), outcome: Ok(()), summary: None }];
    for step in STEPS.iter().filter(|step| !(fast && step.slow)) {
        eprintln!("\n=== {}", step.name);
        let start = Instant::now();
        let (outcome, summary) = (step.run)(&tools);
        if let Err(failure) = &outcome {
            eprintln!("{failure}");
        }
        ended.push(Ended { name: step.name, took: start.elapsed(), outcome, summary });
    }
    conclude(&ended, start.elapsed(), fast)
}

fn plain(outcome: Outcome) -> (Outcome, Option<String>) {
    (outcome, None)
}

fn format() -> Outcome {
    command::run(command::cargo().args(["fmt", "--all", "--", "--check"]))
}

/// Advisories are left out: they need a database from the network, and change with no commit of ours.
fn deny(tools: &Tools) -> Outcome {
    eprintln!("advisories are not checked here: they need the network; `cargo deny check advisories` does it");
    command::run(tools.deny().args(["--workspace", "check", "licenses", "bans", "sources"]))
}

fn documentation() -> Outcome {
    command::run(command::cargo().args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn tests(tools: &Tools) -> (Outcome, Option<String>) {
    let mut command = tools.nextest();
    command.args(["run", "--workspace", "--cargo-quiet"]);
    command.args(["-E", "not test(/(^|::)(fuzz|campaign)_/)"]);
    command::run_and_keep(&mut command, SUMMARY)
}

fn examples() -> Outcome {
    command::run(command::cargo().args(["test", "--quiet", "--workspace", "--doc"]))
}

fn fuzzing(tools: &Tools) -> (Outcome, Option<String>) {
    let mut command = tools.nextest();
    command::run_and_keep(fuzz::harnesses(&mut command, None, fuzz::SHARE_SECONDS), SUMMARY)
}

fn campaigns(tools: &Tools) -> (Outcome, Option<String>) {
    let mut command = tools.nextest();
    command::run_and_keep(campaign::shares(&mut command), SUMMARY)
}

/// Prints the table, and fails with the steps that failed.
fn conclude(ended: &[Ended], took: Duration, fast: bool) -> Outcome {
    println!();
    for step in ended {
        let verdict = if step.outcome.is_ok() { "ok" } else { "FAILED" };
        let summary = step.summary.as_deref().unwrap_or_default();
        println!("{:<28} {:>7.1} s  {verdict:<7} {summary}", step.name, step.took.as_secs_f64());
    }
    let left_out = if fast { ", without the slow steps" } else { "" };
    println!("{:<28} {:>7.1} s{left_out}", "all", took.as_secs_f64());
    let failed: Vec<&str> = ended.iter().filter(|step| step.outcome.is_err()).map(|step| step.name).collect();
    if failed.is_empty() {
        println!("test: all steps passed");
        return Ok(());
    }
    Err(Failure::Found(format!("test: failed: {}", failed.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_whole() {
        let ended = |outcome| Ended { name: "x", took: Duration::ZERO, outcome, summary: None };
        assert!(conclude(&[ended(Ok(()))], Duration::ZERO, false).is_ok());
        let failure = Failure::Found("y".to_owned());
        assert!(conclude(&[ended(Ok(())), ended(Err(failure))], Duration::ZERO, false).is_err());
    }
}
