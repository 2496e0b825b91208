//! A cluster of Debian's (postgresql-common), in a folder of its own: made by `pg_createcluster`, and known to `pg_ctlcluster`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::postgres::{binaries, give_to_server_alone};

/// The cluster's name.
const NAME: &str = "fleet";
/// The port that its socket is named after.
const PORT: &str = "5432";
/// The variable that names another folder than `/etc/postgresql`.
const CONFIGURATION: &str = "PG_CLUSTER_CONF_ROOT";

/// A cluster that has been made and was never started. What runs there ends with its value.
#[derive(Debug)]
pub struct DebianCluster {
    folder: TempDir,
    version: String,
}

impl DebianCluster {
    /// Makes one, which lets everybody in who reaches its socket.
    ///
    /// # Panics
    ///
    /// Where PostgreSQL is not installed: `cargo xtask tools` does that.
    pub fn create() -> Self {
        let folder = tempfile::Builder::new().prefix("pgd").tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        give_to_server_alone(folder.path());
        let binaries = binaries();
        let version = binaries.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
        let cluster = Self { folder, version };
        let (data, socket, log) = (cluster.data_folder(), cluster.folder(), cluster.folder().join("server.log"));
        let mut create = cluster.command("pg_createcluster");
        create.args([&cluster.version, NAME, "--port", PORT, "--pgoption", "listen_addresses=", "--pgoption", "fsync=off"]);
        create.arg("--datadir").arg(data).arg("--socketdir").arg(socket).arg("--logfile").arg(log);
        let output = create.args(["--", "--no-sync"]).output().unwrap();
        assert!(output.status.success(), "{create:?}: {}", String::from_utf8_lossy(&output.stderr));
        fs::write(cluster.configuration().join("pg_hba.conf"), "local all all trust\n").unwrap();
        cluster
    }

    /// Where its socket is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of its data.
    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder of its settings.
    pub fn configuration(&self) -> PathBuf {
        self.configurations().join(&self.version).join(NAME)
    }

    /// The variable by which Debian's programs find it, and its value.
    pub fn variable(&self) -> (&'static str, String) {
        (CONFIGURATION, self.configurations().display().to_string())
    }

    /// What Debian's programs say of it: `down`, `online`, `online,recovery`.
    ///
    /// # Panics
    ///
    /// Where they do not know it.
    pub fn status(&self) -> String {
        let output = self.command("pg_lsclusters").arg("--no-header").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.split_whitespace().nth(3).unwrap_or_else(|| panic!("no cluster: {said}")).to_owned()
    }

    fn configurations(&self) -> PathBuf {
        self.folder.path().join("etc")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env(CONFIGURATION, self.configurations()).env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        command
    }
}

impl Drop for DebianCluster {
    fn drop(&mut self) {
        // Where nothing runs there is nothing to stop.
        let _ = self.command("pg_ctlcluster").args([&self.version, NAME, "stop", "-m", "immediate"]).output();
    }
}
