//! A PostgreSQL cluster as Debian's own programs make one: its configuration under `/etc/postgresql`, started by `pg_ctlcluster`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::postgres::{as_server, binaries, give_to_server_alone, run};

/// The role of the record, and its database.
const ROLE: &str = "stead";
const DATABASE: &str = "fleet";

/// A cluster that `pg_createcluster` has made, with TCP on the loopback, passwords, and the system user as superuser over the socket.
/// It is dropped with its value, and with this process.
#[derive(Debug)]
pub struct DebianServer {
    folder: TempDir,
    version: String,
    name: String,
    port: u16,
    guardian: Child,
}

impl DebianServer {
    /// Makes one with an empty database for a record whose role has this password, and starts it.
    ///
    /// # Panics
    ///
    /// Where PostgreSQL is not installed, or this is not root: Debian's programs write to `/etc/postgresql`.
    pub fn start(password: &str) -> Self {
        let version = binaries().parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
        let folder = tempfile::Builder::new().prefix("pgd").tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        give_to_server_alone(folder.path());
        let name = folder.path().file_name().unwrap().to_string_lossy().replace('.', "");
        // Nobody else is given it for a while: the kernel goes on to the next.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut guardian = Command::new("sh");
        guardian.args(["-c", "read _; pg_dropcluster --stop \"$1\" \"$2\"", "guardian", &version, &name]);
        let guardian = guardian.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut create = Command::new("pg_createcluster");
        create.args(["--port", &port.to_string(), "--locale", "C.UTF-8", "--start-conf", "manual", "--datadir"]);
        create.arg(folder.path().join("data")).arg("--socketdir").arg(folder.path()).args([&version, &name]);
        run(create.args(["--", "--no-sync", "--wal-segsize=4"]).current_dir("/"));
        let cluster = Self { folder, version, name, port, guardian };
        // What is killed here is a process, not the machine: nothing has to reach the disk for it.
        let settings = cluster.config_folder().join("conf.d/test.conf");
        fs::write(settings, "fsync = off\nshared_buffers = 32MB\nlisten_addresses = '127.0.0.1'\n").unwrap();
        cluster.control("start");
        cluster.sql(&format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{password}'"));
        cluster.sql(&format!("CREATE DATABASE {DATABASE} OWNER {ROLE} ENCODING 'UTF8' TEMPLATE template0"));
        cluster
    }

    /// Where it is; the data directory is `data` in there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where Debian keeps its configuration.
    pub fn config_folder(&self) -> PathBuf {
        Path::new("/etc/postgresql").join(&self.version).join(&self.name)
    }

    /// Where to connect to; the password does not stand in it.
    pub fn url(&self) -> String {
        format!("postgres://{ROLE}@127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// `start`, `stop` or `restart`, by `pg_ctlcluster`.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn control(&self, doing: &str) {
        run(Command::new("pg_ctlcluster").args([&self.version, &self.name, doing]).current_dir("/").stdin(Stdio::null()));
    }

    /// Whether `pg_lsclusters` says that its server runs.
    ///
    /// # Panics
    ///
    /// Where the program is not there.
    pub fn is_online(&self) -> bool {
        let output = Command::new("pg_lsclusters").args(["--no-header", &self.version, &self.name]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains(" online ")
    }

    /// Runs a statement as the database's superuser, and gives what it says.
    ///
    /// # Panics
    ///
    /// Where the server refuses it.
    pub fn sql(&self, sql: &str) -> String {
        let mut command = as_server(&binaries().join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
        command.args(["--username", "postgres", "--dbname", "postgres", "--port", &self.port.to_string(), "--host"]);
        let output = command.arg(self.folder.path()).args(["--command", sql]).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for DebianServer {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}
