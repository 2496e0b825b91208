//! Installs what the other commands need and this machine lacks: says so, and asks nothing.
//!
//! What a Debian package gives goes onto the machine (as root, or through sudo); everything else stays under `target/tools`.

mod apt;
mod kubectl;
mod node;
mod prometheus;
mod python;
mod rust;
mod sources;
mod unpacked;

use crate::command;
use crate::failure::{Failure, Outcome};
use std::path::PathBuf;
use std::process::Command;

/// Where the installed tools are.
pub(crate) struct Tools {
    kubectl_120: PathBuf,
    kubectl_132: PathBuf,
    python: python::Python,
    node: node::Node,
    prometheus: PathBuf,
    nextest: PathBuf,
    deny: PathBuf,
}

impl Tools {
    /// Installs what is missing for `test`.
    pub(crate) fn install() -> Outcome<Self> {
        let packages = [
            apt::CA_CERTIFICATES,
            apt::OPENSSH_CLIENT,
            apt::SQLITE3,
            apt::POSTGRESQL,
            apt::PGBACKREST,
            apt::PYTHON3_VENV,
            apt::NODEJS,
            apt::IPROUTE2,
            apt::NFTABLES,
            apt::PROCPS,
        ];
        apt::install(&packages)?;
        let kubectl = kubectl::install()?;
        Ok(Self {
            kubectl_120: kubectl.old,
            kubectl_132: kubectl.new,
            python: python::install()?,
            node: node::install()?,
            prometheus: prometheus::install()?,
            nextest: rust::install(&rust::NEXTEST)?,
            deny: rust::install(&rust::DENY)?,
        })
    }

    /// Installs the test runner alone.
    pub(crate) fn install_runner() -> Outcome<PathBuf> {
        rust::install(&rust::NEXTEST)
    }

    /// `cargo deny`, ready for its arguments.
    pub(crate) fn deny(&self) -> Command {
        subcommand(&self.deny, "deny")
    }

    /// `cargo nextest`, with the places of the real peers in its environment; a test looks for its peer nowhere else.
    pub(crate) fn nextest(&self) -> Command {
        let mut command = subcommand(&self.nextest, "nextest");
        command.envs(self.peers());
        command
    }

    /// What the tests are told: one variable a peer.
    fn peers(&self) -> [(&'static str, &PathBuf); 6] {
        [
            ("STEAD_KUBECTL_120", &self.kubectl_120),
            ("STEAD_KUBECTL_132", &self.kubectl_132),
            ("STEAD_PYTHON", &self.python.program),
            ("STEAD_COLLECTIONS", &self.python.collections),
            ("STEAD_NODE_MODULES", &self.node.modules),
            ("STEAD_PROMETHEUS", &self.prometheus),
        ]
    }
}

/// Installs `openssh-client` alone, which is all that `demo` needs beside the toolchain.
pub(crate) fn install_for_demo() -> Outcome {
    apt::install(&[apt::OPENSSH_CLIENT])
}

/// Installs the peers that `bench` measures beside the product.
pub(crate) fn install_for_bench() -> Outcome {
    apt::install(&[apt::OPENSSH_CLIENT, apt::POSTGRESQL, apt::ETCD_SERVER])
}

/// A cargo subcommand by its own path, so that no older one on PATH is taken.
pub(crate) fn subcommand(path: &PathBuf, name: &str) -> Command {
    let mut command = command::program(path);
    command.arg(name);
    command
}

/// `cargo xtask tools`: installs, and prints where things are, in a form that a shell can read.
pub(crate) fn print(words: &[&str]) -> Outcome {
    if let Some(word) = words.first() {
        return Err(Failure::Usage(format!("tools takes no \"{word}\"")));
    }
    let tools = Tools::install()?;
    for (name, path) in tools.peers() {
        println!("export {name}={}", path.display());
    }
    Ok(())
}
