//! A PostgreSQL cluster as an administrator has one: started and stopped by `pg_ctl`, by whoever has to do with it.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::postgres::{as_server, binaries, give_to_server, give_to_server_alone, run, template};

/// The superuser of the database, and the database.
const NAME: &str = "stead";
/// The port of a server that has only a socket, which is named after it.
const SOCKET_PORT: u16 = 5432;

/// A cluster whose server may be stopped, replaced and started behind the test's back. It ends with its value, and with this process.
#[derive(Debug)]
pub struct TempCluster {
    folder: TempDir,
    binaries: PathBuf,
    guardian: Child,
    port: u16,
}

impl TempCluster {
    /// Makes one with an empty database, and starts it.
    ///
    /// # Panics
    ///
    /// Where PostgreSQL is not installed: `cargo xtask tools` does that.
    pub fn start() -> Self {
        Self::start_with(SOCKET_PORT, "listen_addresses = ''", |_| {})
    }

    /// The same, but on the network: at `localhost`, where everybody comes by TLS and says a password. Its certificate is signed by the
    /// authority in `authority.crt`; `stranger.crt` is another one.
    ///
    /// # Panics
    ///
    /// As [`TempCluster::start`], and where the port is taken.
    pub fn start_on_network(port: u16) -> Self {
        let settings = format!("listen_addresses = 'localhost'\nport = {port}\nssl = on");
        Self::start_with(port, &settings, |folder| {
            let data = folder.join("data");
            certify(folder, &data);
            let rules = format!("local all {NAME} trust\nhostssl all all localhost scram-sha-256\n");
            fs::write(data.join("pg_hba.conf"), rules).unwrap();
        })
    }

    fn start_with(port: u16, own: &str, prepare: impl FnOnce(&Path)) -> Self {
        let binaries = binaries();
        let folder = tempfile::Builder::new().prefix("pgc").tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let data = folder.path().join("data");
        run(Command::new("cp").arg("-r").arg(template(&binaries)).arg(&data));
        let mut settings = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
        let socket = folder.path().display();
        // What is killed here is a process, not the machine: nothing has to reach the disk for it.
        writeln!(settings, "{own}\nunix_socket_directories = '{socket}'\nfsync = off\nshared_buffers = 32MB").unwrap();
        drop(settings);
        prepare(folder.path());
        give_to_server(&data);
        give_to_server_alone(folder.path());
        // It ends the server when this process has gone, or says so.
        let mut guardian = Command::new("sh");
        let stop = "read _; for data in \"$1\"/data \"$1\"/data.stead-verify/data; do \
                    pid=$(head -n 1 \"$data/postmaster.pid\" 2>&-) && kill -QUIT \"$pid\"; done";
        guardian.args(["-c", stop, "guardian"]).arg(folder.path());
        let guardian = guardian.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let cluster = Self { folder, binaries, guardian, port };
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

    /// What the server has said so far.
    ///
    /// # Panics
    ///
    /// Where it has not been started.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap()
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
        command.arg("--host").arg(self.folder.path()).args(["--port", &self.port.to_string()]);
        command.args(["--dbname", NAME, "--command", sql]);
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

/// Authorities beside the data, and a certificate of the first in it.
fn certify(folder: &Path, data: &Path) {
    let [authority, stranger] = ["authority", "stranger"].map(|name| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    });
    fs::write(folder.join("authority.crt"), authority.pem()).unwrap();
    fs::write(folder.join("stranger.crt"), stranger.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    fs::write(data.join("server.crt"), server.pem()).unwrap();
    fs::write(data.join("server.key"), key.serialize_pem()).unwrap();
    fs::set_permissions(data.join("server.key"), Permissions::from_mode(0o600)).unwrap();
}
