//! `cargo xtask bench`: builds the product and the bench as they are released, and becomes the bench.

use crate::command;
use crate::failure::{Failure, Outcome};
use crate::{tools, workspace};
use std::os::unix::process::CommandExt;

/// One JSON object a line on standard output; everything else goes to standard error.
pub(crate) fn bench(words: &[&str]) -> Outcome {
    tools::install_for_bench()?;
    command::run(command::cargo().args(["build", "--release", "--package", "stead", "--package", "stead-bench"]))?;
    let folder = workspace::target().join("release");
    let mut bench = command::program(folder.join("stead-bench"));
    bench.args(words).env("STEAD_BENCH_BINARY", folder.join("stead"));
    let error = bench.exec();
    Err(Failure::Machine(format!("cannot start `{}`: {error}", command::line(&bench))))
}
