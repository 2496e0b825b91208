//! Prometheus and promtool from Debian: the real readers of our metrics and of the alert rules. Installed, the package would start a
//! service; unpacked, it is two programs.

use super::unpacked::{self, Release};
use crate::failure::Outcome;
use std::path::PathBuf;

const PROMETHEUS: Release = Release {
    suite: "bookworm",
    package: "prometheus",
    ask: &["--version"],
    version: "prometheus, version 2.",
    folder: "prometheus",
    program: "usr/bin/prometheus",
};

/// Unpacks it under `target/tools`, where it is not there yet, and returns the folder that holds both programs.
pub(super) fn install() -> Outcome<PathBuf> {
    unpacked::install(&[&PROMETHEUS])?;
    let mut folder = PROMETHEUS.program();
    folder.pop();
    Ok(folder)
}
