//! Where the real peers are that `cargo xtask test` installs.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::fixture::Fixture;

/// A peer's place: what a variable says, or where `cargo xtask tools` puts it.
fn place(variable: &str, usual: &str) -> PathBuf {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools").join(usual);
    let found = std::env::var_os(variable).map_or(usual, PathBuf::from);
    assert!(found.exists(), "{} is not there: `cargo xtask test` installs it, or set {variable}", found.display());
    found
}

/// Python's interpreter, in whose environment the peers are.
pub(crate) fn python() -> PathBuf {
    place("STEAD_PYTHON", "python/bin/python3")
}

/// The folder of Ansible's collections.
pub(crate) fn collections() -> PathBuf {
    place("STEAD_COLLECTIONS", "python/collections")
}

/// The folder of Node's packages.
pub(crate) fn node_modules() -> PathBuf {
    place("STEAD_NODE_MODULES", "node/node_modules")
}

/// A file beside the tests.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name)
}

/// A program with a home of its own, and with the fixture's kubeconfig.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, fixture: &Fixture, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("KUBECONFIG", fixture.kubeconfig()).env("HOME", home).env("TMPDIR", home).env("LC_ALL", "C.UTF-8");
    command.kill_on_drop(true);
    command
}

/// Runs it to its end, which must be a good one; what it said.
pub(crate) async fn run(command: &mut Command) -> String {
    let output = command.output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}
