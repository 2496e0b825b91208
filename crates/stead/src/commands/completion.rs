//! `stead completion`: a script for a shell.

use super::print;
use crate::Outcome;
use crate::cli::{CompletionArgs, tree};
use crate::exit_code::ExitCode;

pub(super) fn run(args: &CompletionArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut tree(), "stead", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Success)
}
