//! `cargo xtask sim` runs this: many seeds, what occurred in them, and how to run one again that failed.

mod campaign;

use std::process::ExitCode;

use campaign::Campaign;

const USAGE: &str = "\
usage: stead-sim [--seeds N] [--seed S] [--jobs J] [--machines M] [--seconds T]

  --seeds N   how many seeds, from S on (default 1)
  --seed S    the first seed (default 0); alone, it shows what happens
  --jobs J    how many at once (default: one a processor)
  --machines M, --seconds T
              how many machines, and for how many seconds of virtual time things go wrong (default: as the seed says)";

/// Exit code for a command line that was not understood.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(campaign) = Campaign::read(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(EXIT_USAGE);
    };
    if campaign.run() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
