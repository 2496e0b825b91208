//! A private Python with real peers: the `kubernetes` client of the API, and OpenTelemetry's own reading of its protocol.

use crate::command;
use crate::failure::Outcome;
use crate::workspace;
use std::path::PathBuf;

/// Debian's own Python: another one on PATH may lack the modules that `python3-venv` brings.
const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// The packages with their versions; fixed ones, so that a new release breaks no build by itself.
const PACKAGES: [(&str, &str); 2] = [("kubernetes", "37.0.2"), ("opentelemetry-proto", "1.45.2")];

/// Makes the environment under `target/tools/python` where it is not there yet, and returns its interpreter.
pub(super) fn install() -> Outcome<PathBuf> {
    let folder = workspace::tools().join("python");
    let python = folder.join("bin/python3");
    let checks = PACKAGES.map(|(name, version)| format!("assert m.version('{name}') == '{version}'"));
    let probe = format!("import importlib.metadata as m; {}", checks.join("; "));
    if command::succeeds(command::program(&python).args(["-c", &probe])) {
        return Ok(python);
    }
    let wanted = PACKAGES.map(|(name, version)| format!("{name}=={version}"));
    eprintln!("installing Python's {} into target/tools/python", wanted.join(" and "));
    command::run_beside(command::program(SYSTEM_PYTHON).args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut pip = command::program(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    command::run_beside(pip.args(&wanted))?;
    Ok(python)
}
