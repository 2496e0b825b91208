//! The project's own commands: `cargo xtask COMMAND`.
//!
//! Goals: the two commands that do all the set-up on a fresh machine (`demo`, `test`), and the house rules (`tidy`).
//! Non-goals: nothing of the product is linked here. This is the first thing compiled on a fresh machine, so it uses the
//! standard library alone, and starts the product as a program.
//!
//! How the pieces interact: each command is one module; `tools` installs what is missing; `command` runs programs.

mod bench;
mod campaign;
mod clippy;
mod command;
mod demo;
mod failure;
mod fuzz;
mod metrics_page;
mod openapi;
mod sim;
mod test;
mod tidy;
mod tools;
mod workspace;

use failure::{Failure, Outcome};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo [--once]                       the fleet, live; --once ends when it has converged and a forged change was refused
  test [--fast]                       everything CI checks; --fast leaves out documentation, fuzzing and campaigns
  tidy                                the house rules
  clippy [PACKAGE...]                 clippy as `test` runs it, for the whole workspace or for some packages
  fuzz [NAME] [--seconds N]           every fuzz harness, or those whose name contains NAME (default 60 seconds each)
  campaign kills|forgeries|history|delivery [--share | --rounds N] [--seed S]
                                      a long campaign in full; --share runs what `test` runs of it, --seed makes the same choices again
  sim [--seeds N] [--seed S]          the simulated fleet: 10,000 seeds, or N from S on; one alone is shown as it happens
  metrics                             write docs/metrics.md from what a coordinator and an agent expose
  openapi [--new]                     write the served OpenAPI documents over the newest on file, or as a new version,
                                      and the table of the API's limits
  bench [ID...]                       measure; one JSON object a line
  tools                               install what `test` needs, and print where it is";

/// Exit code for a command line that was not understood.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprintln!("{message}\n\n{USAGE}");
            ExitCode::from(EXIT_USAGE)
        }
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(words: &[&str]) -> Outcome {
    let Some((command, rest)) = words.split_first() else {
        return Err(Failure::Usage("a command is missing".to_owned()));
    };
    match *command {
        "demo" => demo::demo(rest),
        "test" => test::test(rest),
        "tidy" => tidy::tidy(rest),
        "clippy" => clippy::clippy(rest),
        "fuzz" => fuzz::fuzz(rest),
        "campaign" => campaign::campaign(rest),
        "sim" => sim::sim(rest),
        "metrics" => metrics_page::metrics(rest),
        "openapi" => openapi::openapi(rest),
        "bench" => bench::bench(rest),
        "tools" => tools::print(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(Failure::Usage(format!("there is no command \"{other}\""))),
    }
}
