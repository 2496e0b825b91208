//! Measures the product against its budgets: `cargo xtask bench [ID...]`, one JSON object a line.
//!
//! Goals: figures that can be compared from run to run, each with the size of its sample and the load of the machine.
//! Non-goals: no verdict. A value over its budget is printed as such, and the exit code stays 0.
//!
//! How the pieces interact: `registry` is the table of what is measured; `report` prints a line; each other module measures.
//! What must be measured in a process of its own is this program again, with a private first word (`child`).

mod applied;
mod author;
mod binary;
mod child;
mod etcd;
mod failure;
mod ground;
mod herd;
mod http;
mod idle;
mod load;
mod process;
mod reads;
mod record;
mod registry;
mod report;
mod sample;
mod sim;
mod start;
mod watch;
mod wire;
mod writes;

use failure::BenchError;
use registry::{BENCHES, Bench};
use std::process::ExitCode;

/// Something could not be measured: the product or a peer did not run.
const EXIT_NOT_MEASURED: u8 = 1;
/// The command line was not understood.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = words.as_slice()
        && first == child::FIRST_WORD
    {
        return finish(child::run(rest));
    }
    if let Some(unknown) = words.iter().find(|word| !registry::is_known(word)) {
        eprintln!("there is no bench \"{unknown}\"; these are:");
        for limit in BENCHES.iter().flat_map(|bench| bench.budgets) {
            eprintln!("  {:<32} {}", limit.id, limit.what);
        }
        return ExitCode::from(EXIT_USAGE);
    }
    let is_asked =
        |bench: &&Bench| words.is_empty() || bench.budgets.iter().any(|limit| words.iter().any(|word| word == limit.id));
    let mut verdict = Ok(());
    for bench in BENCHES.iter().filter(is_asked) {
        if let Err(error) = report::measure(bench, &words) {
            verdict = Err(error).inspect_err(|error| eprintln!("{}: {error}", bench.name()));
        }
    }
    finish(verdict)
}

fn finish(verdict: Result<(), BenchError>) -> ExitCode {
    match verdict {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: not everything could be measured: {error}");
            ExitCode::from(EXIT_NOT_MEASURED)
        }
    }
}
