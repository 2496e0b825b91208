//! Two versions of kubectl side by side, from Debian, without installing either: no package manager would have both.

use super::unpacked::{self, Release};
use crate::failure::Outcome;
use std::path::PathBuf;

const ASK: &[&str] = &["version", "--client"];
const PROGRAM: &str = "usr/bin/kubectl";

/// The last that reads OpenAPI as protobuf only.
const OLD: Release = Release {
    suite: "bookworm",
    package: "kubernetes-client",
    ask: ASK,
    version: "v1.20.",
    folder: "kubectl-1.20",
    program: PROGRAM,
};
/// A current one that still runs on Debian 12.
const NEW: Release =
    Release { suite: "trixie", package: "kubectl", ask: ASK, version: "v1.32.", folder: "kubectl-1.32", program: PROGRAM };

/// Paths of the two programs.
pub(super) struct Kubectl {
    pub(super) old: PathBuf,
    pub(super) new: PathBuf,
}

/// Unpacks both under `target/tools`, where they are not there yet.
pub(super) fn install() -> Outcome<Kubectl> {
    unpacked::install(&[&OLD, &NEW])?;
    Ok(Kubectl { old: OLD.program(), new: NEW.program() })
}
