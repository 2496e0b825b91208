//! Clippy, as `test` runs it.

use crate::command;
use crate::failure::Outcome;

/// For the whole workspace, or for some packages.
pub(crate) fn clippy(packages: &[&str]) -> Outcome {
    let mut scope = vec!["clippy", "--quiet"];
    if packages.is_empty() {
        scope.push("--workspace");
    }
    for package in packages {
        scope.extend(["--package", package]);
    }
    command::run(command::cargo().args(&scope).args(["--all-targets", "--", "-D", "warnings"]))?;
    // Indexing that can fail is refused in the product alone: without `--all-targets` no test is compiled. Clippy knows the
    // types, so an index that cannot fail (a constant one into an array) is no finding.
    command::run(command::cargo().args(&scope).args([
        "--",
        "-D",
        "warnings",
        "-D",
        "clippy::indexing_slicing",
        "-D",
        "clippy::string_slice",
    ]))
}
