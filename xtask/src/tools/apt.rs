//! Debian packages that the commands need, installed where their program is missing.

use crate::command;
use crate::failure::{Failure, Outcome};
use std::process::Command;

/// A Debian package, and the shell command that succeeds where it is not needed any more.
#[derive(Clone, Copy)]
pub(super) struct Package {
    name: &'static str,
    probe: &'static str,
}

/// Certificates to fetch Python packages with.
pub(super) const CA_CERTIFICATES: Package =
    Package { name: "ca-certificates", probe: "test -s /etc/ssl/certs/ca-certificates.crt" };
/// `ssh-keygen` and `ssh-agent`: real peers of what `trust` signs and verifies.
pub(super) const OPENSSH_CLIENT: Package =
    Package { name: "openssh-client", probe: "command -v ssh-keygen && command -v ssh-agent && command -v ssh-add" };
/// The shell with which a test alters a record behind the coordinator's back.
pub(super) const SQLITE3: Package = Package { name: "sqlite3", probe: "command -v sqlite3" };
/// The server whose programs tests run in folders of their own, beside whatever cluster the package makes; and `psql`.
pub(super) const POSTGRESQL: Package = Package {
    name: "postgresql",
    probe: "ls /usr/lib/postgresql/*/bin/initdb && id -u postgres && command -v psql && command -v setpriv && command -v pg_createcluster",
};
/// What a Kubernetes API otherwise stands on, for measurements beside it.
pub(super) const ETCD_SERVER: Package = Package { name: "etcd-server", probe: "command -v etcd" };
/// The backups of a PostgreSQL server, and its archive.
pub(super) const PGBACKREST: Package = Package { name: "pgbackrest", probe: "command -v pgbackrest" };
/// Python's virtual environments, for the `kubernetes` client.
pub(super) const PYTHON3_VENV: Package = Package { name: "python3-venv", probe: "/usr/bin/python3 -c 'import ensurepip, venv'" };

/// Node and its package manager, for its Kubernetes client; another Node of 18 or later does as well.
pub(super) const NODEJS: Package =
    Package { name: "npm", probe: "command -v npm && node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)'" };

/// Installs those that are missing, with one call of apt.
pub(super) fn install(packages: &[Package]) -> Outcome {
    let missing: Vec<&str> = packages.iter().filter(|package| !present(package)).map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing with apt: {}", missing.join(", "));
    let install = || {
        let mut command = as_root("apt-get")?;
        command.args(["install", "--yes", "--no-install-recommends"]);
        command.args(&missing);
        command::run_beside(&mut command)
    };
    // Package lists may be absent or old; they are fetched only where they are needed.
    if have_lists() && install().is_ok() {
        return Ok(());
    }
    command::run_beside(as_root("apt-get")?.arg("update"))?;
    install()
}

fn present(package: &Package) -> bool {
    command::succeeds(command::program("sh").args(["-c", package.probe]))
}

fn have_lists() -> bool {
    command::output(command::program("apt-cache").args(["policy", OPENSSH_CLIENT.name]))
        .is_ok_and(|policy| policy.contains("Candidate: 1"))
}

/// A program run as root, which asks no questions.
fn as_root(name: &str) -> Outcome<Command> {
    let user = command::output(command::program("id").arg("-u"))?;
    let mut command = if user.trim() == "0" {
        command::program("env")
    } else if command::succeeds(command::program("sudo").args(["-n", "true"])) {
        let mut sudo = command::program("sudo");
        sudo.args(["-n", "env"]);
        sudo
    } else {
        return Err(Failure::Machine(format!(
            "{name} needs root, and sudo is not here or asks for a password: run this as root, or install \
             openssh-client, sqlite3, postgresql, etcd-server, python3-venv, npm and ca-certificates first"
        )));
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", name]);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_tells_present_from_missing() {
        let probe = |probe| Package { name: "x", probe };
        assert!(present(&probe("command -v sh")));
        assert!(!present(&probe("command -v stead-no-such-program")));
    }
}
