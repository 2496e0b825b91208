//! A PostgreSQL cluster as an administrator has one: started and stopped by `pg_ctl`, by whoever has to do with it.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::postgres::{as_server, binaries, give_to_server, give_to_server_alone, run, template};

/// The superuser of the database, and the database.
const NAME: &str = "stead";

/// A cluster whose server may be stopped, replaced and started behind the test's back. It ends with its value, and with this process.
#[derive(Debug)]
pub struct TempCluster {
    folder: TempDir,
    binaries: PathBuf,
    guardian: Child,
}

impl TempCluster {
    /// Makes one with an empty database, and starts it.
    ///
    /// # Panics
    ///
    /// Where PostgreSQL is not installed: `cargo xtask tools` does that.
    pub fn start() -> Self {
        let binaries = binaries();
        let folder = tempfile::Builder::new().prefix("pgc").tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let data = folder.path().join("data");
        run(Command::new("cp").arg("-r").arg(template(&binaries)).arg(&data));
        let mut settings = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
        let socket = folder.path().display();
        // What is killed here is a process, not the machine: nothing has to reach the disk for it.
        writeln!(settings, "listen_addresses = ''\nunix_socket_directories = '{socket}'\nfsync = off\nshared_buffers = 32MB")
            .unwrap();
        drop(settings);
        give_to_server(&data);
        give_to_server_alone(folder.path());
        // It ends the server when this process has gone, or says so.
        let mut guardian = Command::new("sh");
        let stop = "read _; for data in \"$1\"/data \"$1\"/data.stead-verify/data; do \
                    pid=$(head -n 1 \"$data/postmaster.pid\" 2>&-) && kill -QUIT \"$pid\"; done";
        guardian.args(["-c", stop, "guardian"]).arg(folder.path());
        let guardian = guardian.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let cluster = Self { folder, binaries, guardian };
        cluster.pg_ctl(&["start"]);
        cluster
    }

    /// Where it is; the data directory is `data` in there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where to connect to.
    pub fn url(&self) -> String {
        format!("postgres://{NAME}@localhost/{NAME}?host={}", self.folder.path().display())
    }

    /// Runs `pg_ctl`, and waits until it has done it.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn pg_ctl(&self, words: &[&str]) {
        let mut command = as_server(&self.binaries.join("pg_ctl"));
        command.arg("-D").arg(self.folder.path().join("data")).arg("-w").arg("-l").arg(self.folder.path().join("server.log"));
        let status = command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "pg_ctl {words:?}: {status}");
    }

    /// Runs a statement as the database's superuser, and gives what it says.
    ///
    /// # Panics
    ///
    /// Where the server refuses it.
    pub fn sql(&self, sql: &str) -> String {
        let mut command = Command::new(self.binaries.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", "--username", NAME]);
        command.arg("--host").arg(self.folder.path()).args(["--dbname", NAME, "--command", sql]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for TempCluster {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}
