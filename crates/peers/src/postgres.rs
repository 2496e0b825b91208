//! A PostgreSQL server that lives as long as the test that started it: Debian's binaries, a folder, a Unix socket and no TCP.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Where Debian keeps the servers, one folder a version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The user that Debian makes for the server, which refuses to run as root.
const SERVER_USER: &str = "postgres";
/// The superuser of the database, and the database.
const NAME: &str = "stead";
/// What the server says when it takes connections.
const READY: &str = "database system is ready to accept";
/// Enough for three coordinators and a test that looks over their shoulders.
const CONNECTIONS_MAX: u32 = 60;

/// How a server ends.
#[derive(Clone, Copy, Debug)]
pub enum Shutdown {
    /// In order.
    Fast,
    /// As a crash would: nothing is written back, and the next start recovers from the log.
    Immediate,
    /// As the loss of its machine would: every process of it ends at once.
    Killed,
}

/// A running server. Ends with its value, and with the thread that started it, whatever becomes of the process.
#[derive(Debug)]
pub struct TempPostgres {
    folder: TempDir,
    binaries: PathBuf,
    server: Option<Child>,
    log: Arc<Mutex<String>>,
    /// Whether what is committed reaches the disk.
    durable: bool,
}

impl TempPostgres {
    /// Starts a server of its own on an empty database.
    ///
    /// # Panics
    ///
    /// Where PostgreSQL is not installed: `cargo xtask tools` does that.
    pub fn start() -> Self {
        Self::start_with(false)
    }

    /// The same, but what is committed is on its disk, as of a server that is in earnest: for measurements.
    ///
    /// # Panics
    ///
    /// As [`TempPostgres::start`].
    pub fn start_durable() -> Self {
        Self::start_with(true)
    }

    fn start_with(durable: bool) -> Self {
        let binaries = binaries();
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        run(Command::new("cp").arg("-r").arg(template(&binaries)).arg(folder.path().join("data")));
        give_to_server(&folder.path().join("data"));
        give_to_server_alone(folder.path());
        let mut postgres = Self { folder, binaries, server: None, log: Arc::default(), durable };
        postgres.start_again();
        postgres
    }

    /// Starts the server after it was stopped.
    ///
    /// # Panics
    ///
    /// Where it does not start; what it said is in the message.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        let mut command = as_server(&self.binaries.join("postgres"));
        command.arg("-D").arg(self.folder.path().join("data")).arg("-k").arg(self.folder.path());
        // What is killed here is a process, not the machine: nothing has to reach the disk for it.
        let fsync = if self.durable { "fsync=on" } else { "fsync=off" };
        for setting in ["listen_addresses=", fsync, "shared_buffers=32MB", "unix_socket_permissions=0700"] {
            command.args(["-c", setting]);
        }
        command.arg("-c").arg(format!("max_connections={CONNECTIONS_MAX}")).env("LC_ALL", "C").env("TZ", "UTC");
        let mut server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(server.stderr.take().unwrap()).lines();
        self.server = Some(server);
        for line in said.by_ref() {
            let line = line.unwrap();
            let ready = line.contains(READY);
            self.note(&line);
            if ready {
                // It stops when the server does: nobody may fill the pipe and wait.
                let log = Arc::clone(&self.log);
                std::thread::spawn(move || {
                    for line in said.map_while(Result::ok) {
                        note(&log, &line);
                    }
                });
                return;
            }
        }
        panic!("PostgreSQL did not start: {}", self.log());
    }

    /// Stops the server, and waits for its end.
    ///
    /// # Panics
    ///
    /// Where it does not run.
    pub fn stop(&mut self, shutdown: Shutdown) {
        match shutdown {
            Shutdown::Fast => kill_process(pid(self.server.as_ref().unwrap()), Signal::INT).unwrap(),
            Shutdown::Immediate => kill_process(pid(self.server.as_ref().unwrap()), Signal::QUIT).unwrap(),
            Shutdown::Killed => self.signal_all(Signal::KILL),
        }
        self.server.take().unwrap().wait().unwrap();
    }

    /// Stops every process of the server where it is, as those of a machine that is paused.
    ///
    /// # Panics
    ///
    /// Where it does not run.
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    ///
    /// Where it does not run.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    /// The server's first process and its children: it makes no grandchildren.
    fn signal_all(&self, signal: Signal) {
        let children = self.children();
        kill_process(pid(self.server.as_ref().unwrap()), signal).unwrap();
        for child in children {
            // One that has just ended needs no signal.
            let _ = kill_process(child, signal);
        }
    }

    fn children(&self) -> Vec<Pid> {
        let server = self.server.as_ref().unwrap();
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.id())).unwrap();
        children.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().unwrap())).collect()
    }

    /// Stops the processes that send its log to standbys where they are: what is committed from now on is on this server alone.
    ///
    /// # Panics
    ///
    /// Where there are none.
    pub fn pause_senders(&self) {
        self.signal_senders(Signal::STOP);
    }

    /// Lets them go on.
    ///
    /// # Panics
    ///
    /// Where there are none.
    pub fn resume_senders(&self) {
        self.signal_senders(Signal::CONT);
    }

    fn signal_senders(&self, signal: Signal) {
        let sends = |child: &Pid| {
            let line = fs::read_to_string(format!("/proc/{}/cmdline", child.as_raw_nonzero())).unwrap_or_default();
            line.contains("walsender")
        };
        let senders: Vec<Pid> = self.children().into_iter().filter(sends).collect();
        assert!(!senders.is_empty(), "nobody streams from this server");
        for sender in senders {
            kill_process(sender, signal).unwrap();
        }
    }

    /// A standby of this server, which streams from it under the name, and from a slot of the name.
    ///
    /// # Panics
    ///
    /// Where it cannot be made.
    pub fn standby(&self, name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        give_to_server_alone(folder.path());
        let mut copy = as_server(&self.binaries.join("pg_basebackup"));
        copy.arg("-D").arg(folder.path().join("data")).args([
            "-R",
            "-X",
            "stream",
            "-C",
            "-S",
            name,
            "--checkpoint=fast",
            "--no-sync",
        ]);
        let primary = self.folder.path().display();
        run(copy.arg("-d").arg(format!("host={primary} user={NAME} application_name={name}")));
        let (binaries, durable) = (self.binaries.clone(), self.durable);
        let mut standby = Self { folder, binaries, durable, server: None, log: Arc::default() };
        standby.start_again();
        standby
    }

    /// The folder of its data.
    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where to connect to.
    pub fn url(&self) -> String {
        self.url_of(NAME)
    }

    /// Where its socket is.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes another empty database, and says where to connect to.
    ///
    /// # Panics
    ///
    /// Where the server refuses.
    pub fn database(&self, name: &str) -> String {
        run(self.psql().args(["--command", &format!("CREATE DATABASE \"{name}\"")]));
        self.url_of(name)
    }

    /// Runs statements as the database's superuser.
    ///
    /// # Panics
    ///
    /// Where the server refuses one.
    pub fn run_sql(&self, sql: &str) {
        run(self.psql().args(["--command", sql]));
    }

    /// From now on the server asks every role but the superuser for its password.
    ///
    /// # Panics
    ///
    /// Where its configuration cannot be written.
    pub fn ask_for_passwords(&self) {
        let rules = format!("local all {NAME} trust\nlocal all all scram-sha-256\n");
        fs::write(self.folder.path().join("data/pg_hba.conf"), rules).unwrap();
        self.run_sql("SELECT pg_reload_conf()");
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://{NAME}@localhost/{database}?host={}", self.folder.path().display())
    }

    /// PostgreSQL's shell, connected as the database's superuser; it stops at the first error.
    pub fn psql(&self) -> Command {
        let mut command = Command::new(self.binaries.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", "--username", NAME]);
        command.arg("--host").arg(self.folder.path()).args(["--dbname", NAME]);
        command
    }

    /// What the server has said so far.
    ///
    /// # Panics
    ///
    /// Never: the lock is held for a moment by one other thread, which does not panic.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn note(&self, line: &str) {
        note(&self.log, line);
    }
}

/// A folder for a server that somebody else sets up and starts; what runs there ends with it.
#[derive(Debug)]
pub struct ServerPlace {
    folder: TempDir,
    binaries: PathBuf,
}

impl ServerPlace {
    /// An empty folder that is the server's user's.
    ///
    /// # Panics
    ///
    /// Where PostgreSQL is not installed.
    pub fn empty() -> Self {
        let binaries = binaries();
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        give_to_server_alone(folder.path());
        Self { folder, binaries }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the server's data, which is not there yet.
    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Stops what runs there, in good order.
    ///
    /// # Panics
    ///
    /// Where nothing runs.
    pub fn stop(&self) {
        self.pg_ctl(&["stop", "-m", "fast"]);
    }

    /// Starts it again.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub fn start_again(&self) {
        self.pg_ctl(&["start"]);
    }

    fn pg_ctl(&self, words: &[&str]) {
        let mut command = as_server(&self.binaries.join("pg_ctl"));
        command.args(words).arg("-w").arg("-D").arg(self.data_folder()).arg("-l").arg(self.folder.path().join("server.log"));
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "pg_ctl {words:?}: {status}");
    }

    /// Asks the server on the socket there, as the superuser of the database that it was copied from.
    ///
    /// # Panics
    ///
    /// Where it refuses.
    pub fn sql(&self, sql: &str) -> String {
        let mut command = Command::new(self.binaries.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--username", NAME, "--dbname", NAME]);
        let output = command.arg("--host").arg(self.folder.path()).args(["--command", sql]).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for ServerPlace {
    fn drop(&mut self) {
        // Where nothing runs there is nothing to stop.
        let mut stop = as_server(&self.binaries.join("pg_ctl"));
        let _ = stop.args(["stop", "-m", "immediate", "-w", "-D"]).arg(self.data_folder()).output();
    }
}

impl Drop for TempPostgres {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = kill_process(pid(&server), Signal::QUIT);
            let _ = server.wait();
        }
    }
}

fn note(log: &Mutex<String>, line: &str) {
    let mut log = log.lock().unwrap();
    log.push_str(line);
    log.push('\n');
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// The folder of the newest version's programs.
pub(crate) fn binaries() -> PathBuf {
    let versions = fs::read_dir(VERSIONS).unwrap_or_else(|error| panic!("{VERSIONS}: {error}: `cargo xtask tools` installs it"));
    let newest = versions.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok()).max();
    let newest = newest.unwrap_or_else(|| panic!("{VERSIONS} has no version of PostgreSQL: `cargo xtask tools` installs one"));
    Path::new(VERSIONS).join(newest.to_string()).join("bin")
}

/// A new cluster, made once beside the test binaries and copied from there: making one takes a second, copying it does not.
pub(crate) fn template(binaries: &Path) -> PathBuf {
    let built = std::env::current_exe().unwrap();
    let built = built.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).unwrap().to_owned();
    let version = binaries.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
    let template = built.join(format!("postgres-{version}-template"));
    let lock = File::create(built.join(format!("postgres-{version}-template.lock"))).unwrap();
    lock.lock().unwrap();
    if template.exists() {
        return template;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    give_to_server_alone(folder.path());
    let data = folder.path().join("data");
    let mut initdb = as_server(&binaries.join("initdb"));
    initdb.arg("-D").arg(&data).args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--wal-segsize=4"]);
    run(initdb.args(["--username", NAME]));
    // The database of the superuser's own name.
    let mut single = as_server(&binaries.join("postgres"));
    single.args(["--single", "-F", "-D"]).arg(&data).arg("postgres").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut single = single.stderr(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut single.stdin.take().unwrap(), format!("CREATE DATABASE {NAME}\n").as_bytes()).unwrap();
    assert!(single.wait().unwrap().success(), "the template's database was not made");
    let half = built.join(format!("postgres-{version}-template.half"));
    let _ = fs::remove_dir_all(&half);
    run(Command::new("cp").arg("-r").arg(&data).arg(&half));
    fs::rename(half, &template).unwrap();
    template
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program of the server's, under a user that it accepts. It gets a signal when the thread that starts it ends.
pub(crate) fn as_server(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        command.args(["--reuid", SERVER_USER, "--regid", SERVER_USER, "--clear-groups"]);
    }
    // It must not look into the folder where the test was started.
    command.arg(program).current_dir("/");
    command
}

pub(crate) fn give_to_server(folder: &Path) {
    if is_root() {
        run(Command::new("chown").args(["-R", &format!("{SERVER_USER}:")]).arg(folder));
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700)).unwrap();
}

/// The folder itself, without what is in it.
pub(crate) fn give_to_server_alone(folder: &Path) {
    if is_root() {
        let id = Command::new("id").args(["-u", SERVER_USER]).output().unwrap();
        let id = String::from_utf8(id.stdout).unwrap();
        let id = id
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("there is no user {SERVER_USER}: `cargo xtask tools` installs PostgreSQL"));
        chown(folder, Some(id), None).unwrap();
    }
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
