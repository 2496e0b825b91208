//! A private Python with real peers: the `kubernetes` client, schemathesis, Ansible with its `kubernetes.core`, and OpenTelemetry's own
//! reading of its protocol.

use crate::command;
use crate::failure::{Failure, Outcome};
use crate::workspace;
use std::path::PathBuf;

/// Debian's own Python: another one on PATH may lack the modules that `python3-venv` brings.
const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// What is installed, at fixed versions, so that a new release breaks no build by itself.
const PACKAGES: [(&str, &str); 4] =
    [("kubernetes", "37.0.2"), ("schemathesis", "4.32.5"), ("ansible-core", "2.19.14"), ("opentelemetry-proto", "1.45.2")];

/// The release of `ansible` whose wheel holds the collection: half a gigabyte unpacked, of which two megabytes are wanted.
const ANSIBLE: &str = "12.3.0";
/// The collection within it.
const COLLECTION: &str = "ansible_collections/kubernetes/core/";

/// Where things are.
pub(super) struct Python {
    /// The interpreter; the programs of its packages lie beside it.
    pub(super) program: PathBuf,
    /// The folder that holds `ansible_collections`.
    pub(super) collections: PathBuf,
}

/// Makes the environment under `target/tools/python` where it is not there yet.
pub(super) fn install() -> Outcome<Python> {
    let folder = workspace::tools().join("python");
    let python = Python { program: folder.join("bin/python3"), collections: folder.join("collections") };
    let wanted: Vec<String> = PACKAGES.iter().map(|(name, version)| format!("{name}=={version}")).collect();
    let probe = format!(
        "import importlib.metadata as m; assert all(m.version(p) == v for p, v in (p.split('==') for p in '{}'.split()))",
        wanted.join(" ")
    );
    if !command::succeeds(command::program(&python.program).args(["-c", &probe])) {
        eprintln!("installing {} into target/tools/python", wanted.join(", "));
        command::run_beside(command::program(SYSTEM_PYTHON).args(["-m", "venv", "--clear"]).arg(&folder))?;
        python.pip(&["install", "--quiet"], &wanted)?;
    }
    if !python.collections.join(COLLECTION).join("MANIFEST.json").is_file() {
        python.unpack_collection()?;
    }
    Ok(python)
}

impl Python {
    fn pip(&self, words: &[&str], more: &[String]) -> Outcome {
        let mut command = command::program(&self.program);
        command::run_beside(command.args(["-m", "pip", "--disable-pip-version-check"]).args(words).args(more))
    }

    /// Takes the one collection out of the wheel that holds them all.
    fn unpack_collection(&self) -> Outcome {
        eprintln!("unpacking Ansible's kubernetes.core into target/tools/python/collections");
        let wheels = self.collections.join("wheels");
        let place = wheels.display().to_string();
        self.pip(&["download", "--quiet", "--no-deps", "--dest", &place], &[format!("ansible=={ANSIBLE}")])?;
        let script = "import glob, sys, zipfile\n\
            wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + '/*.whl')[0])\n\
            wheel.extractall(sys.argv[2], [name for name in wheel.namelist() if name.startswith(sys.argv[3])])\n";
        let mut command = command::program(&self.program);
        command::run_beside(command.args(["-c", script, &place]).arg(&self.collections).arg(COLLECTION))?;
        std::fs::remove_dir_all(&wheels).map_err(|error| Failure::file("remove", &wheels, &error))
    }
}
