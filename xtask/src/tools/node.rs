//! Node's Kubernetes client, one of the real peers of the API.

use crate::command;
use crate::failure::{Failure, Outcome};
use crate::workspace;
use std::path::PathBuf;

/// The client, at a fixed version: the newest that runs on the Node of Debian 12.
const CLIENT: (&str, &str) = ("@kubernetes/client-node", "1.4.0");

/// Where things are.
pub(super) struct Node {
    /// The folder of the packages.
    pub(super) modules: PathBuf,
}

/// Installs the client under `target/tools/node` where it is not there yet; `node` and `npm` are there.
pub(super) fn install() -> Outcome<Node> {
    let folder = workspace::tools().join("node");
    let (name, version) = CLIENT;
    let node = Node { modules: folder.join("node_modules") };
    let manifest = std::fs::read_to_string(node.modules.join(name).join("package.json")).unwrap_or_default();
    if manifest.contains(&format!("\"version\": \"{version}\"")) {
        return Ok(node);
    }
    eprintln!("installing Node's {name} {version} into target/tools/node");
    std::fs::create_dir_all(&folder).map_err(|error| Failure::file("create", &folder, &error))?;
    let mut npm = command::program("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]).arg(&folder);
    command::run_beside(npm.arg(format!("{name}@{version}")))?;
    Ok(node)
}
