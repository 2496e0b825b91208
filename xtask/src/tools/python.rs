//! A private Python with the `kubernetes` client, one of the real peers of the API.

use crate::command;
use crate::failure::Outcome;
use crate::workspace;
use std::path::PathBuf;

/// Debian's own Python: another one on PATH may lack the modules that `python3-venv` brings.
const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// The client's version; a fixed one, so that a new release breaks no build by itself.
const KUBERNETES: &str = "37.0.2";

/// Makes the environment under `target/tools/python` where it is not there yet, and returns its interpreter.
pub(super) fn install() -> Outcome<PathBuf> {
    let folder = workspace::tools().join("python");
    let python = folder.join("bin/python3");
    let probe = format!("import importlib.metadata as m, kubernetes; assert m.version('kubernetes') == '{KUBERNETES}'");
    if command::succeeds(command::program(&python).args(["-c", &probe])) {
        return Ok(python);
    }
    eprintln!("installing Python's kubernetes {KUBERNETES} into target/tools/python");
    command::run_beside(command::program(SYSTEM_PYTHON).args(["-m", "venv", "--clear"]).arg(&folder))?;
    command::run_beside(command::program(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        &format!("kubernetes=={KUBERNETES}"),
    ]))?;
    Ok(python)
}
