//! `stead version`.

use super::print;
use crate::Outcome;
use crate::exit_code::ExitCode;

pub(super) fn run() -> Outcome {
    print(concat!("stead ", env!("CARGO_PKG_VERSION"), "\n"))?;
    Ok(ExitCode::Success)
}
