//! The server itself: stopped, started and restarted as it was, and run where nobody else gets in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::cluster::Door;
use crate::error::Error;
use crate::program::{self, SystemUser};

/// The pause before a server that starts is asked again.
const LOOK_AGAIN_MILLISECONDS: u64 = 100;
/// Lines of a server's log that are repeated where it did not start.
const LOG_LINES: usize = 12;

/// How a cluster's server is stopped and started.
pub(crate) struct Control<'a> {
    pub(crate) user: &'a SystemUser,
    pub(crate) data: &'a Path,
    pub(crate) server_config: &'a Path,
    pub(crate) programs: &'a Path,
}

impl Control<'_> {
    /// Whether a server runs on the data.
    pub(crate) fn runs(&self) -> bool {
        pid_of(self.data).is_some()
    }

    /// Debian's name of the cluster: `/etc/postgresql/15/main/postgresql.conf` is `15 main`.
    fn debian(&self) -> Option<(String, String, PathBuf)> {
        let rest = self.server_config.strip_prefix("/etc/postgresql").ok()?;
        let mut parts = rest.iter().map(|part| part.to_string_lossy().into_owned());
        let (version, cluster) = (parts.next()?, parts.next()?);
        Some((version, cluster, program::find("pg_ctlcluster")?))
    }

    /// The words that do it: Debian's own program knows how its clusters are started, also by systemd; elsewhere `restart` takes the
    /// words with which the server was started the last time.
    fn command(&self, doing: &str) -> Command {
        if let Some((version, cluster, program)) = self.debian() {
            let mut command = self.user.command_as_it_is(program);
            command.args([&version, &cluster, doing]);
            if doing != "start" {
                command.args(["--", "-m", "fast"]);
            }
            return command;
        }
        let mut command = self.user.command(self.programs.join("pg_ctl"), None);
        command.arg("--pgdata").arg(self.data).args(["--wait", "--timeout=86400"]);
        // What the server writes from now on is not for whoever waits for this program.
        command.arg("--log").arg(self.data.with_extension("stead-log"));
        command.arg(if doing == "start" { "restart" } else { doing });
        if doing != "start" {
            command.args(["--mode=fast"]);
        }
        command
    }

    pub(crate) async fn restart(&self) -> Result<(), Error> {
        program::step("restarting the server", self.command("restart")).await.map(drop)
    }

    pub(crate) async fn stop(&self) -> Result<(), Error> {
        if self.runs() {
            program::step("stopping the server", self.command("stop")).await?;
        }
        Ok(())
    }

    pub(crate) async fn start(&self) -> Result<(), Error> {
        if !self.runs() {
            program::step("starting the server", self.command("start")).await?;
        }
        Ok(())
    }
}

/// The first process of the server that has a data directory open.
pub(crate) fn pid_of(data: &Path) -> Option<u32> {
    let pid = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid: u32 = pid.lines().next()?.trim().parse().ok()?;
    // A number that is left over from a crash may be another program's by now.
    let works_in = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    (works_in == std::fs::canonicalize(data).ok()?).then_some(pid)
}

/// The folder of the programs of a server that runs.
pub(crate) fn programs_of(data: &Path) -> Result<PathBuf, Error> {
    let pid = pid_of(data).ok_or_else(|| Error::NotHere { why: format!("no server runs on {}", data.display()) })?;
    let program = PathBuf::from(format!("/proc/{pid}/exe"));
    let program = std::fs::read_link(&program).map_err(|error| Error::file("read", &program, error))?;
    Ok(program.parent().unwrap_or(Path::new("/")).to_owned())
}

/// A server in a folder where only its system user and root get in, with no TCP. It ends with its value, and with this process.
pub(crate) struct PrivateServer {
    child: Child,
    pub(crate) door: Door,
    log: PathBuf,
}

/// Where it runs, and with which words beside the usual ones.
pub(crate) struct Privately<'a> {
    pub(crate) user: &'a SystemUser,
    pub(crate) superuser: &'a str,
    pub(crate) programs: &'a Path,
    pub(crate) data: &'a Path,
    /// For its socket, its log and who may come in.
    pub(crate) folder: &'a Path,
    pub(crate) port: u16,
    pub(crate) settings: Vec<String>,
}

impl PrivateServer {
    /// Starts it, and waits until it has recovered to where it was told, and takes writes.
    pub(crate) async fn start(privately: Privately<'_>) -> Result<Self, Error> {
        let Privately { user, superuser, programs, data, folder, port, settings } = privately;
        user.make_folder(folder, 0o700)?;
        let (rules, log) = (folder.join("hba.conf"), folder.join("server.log"));
        // Who gets into the folder is the system user, or root.
        std::fs::write(&rules, "local all all trust\n").map_err(|error| Error::file("write", &rules, error))?;
        let log_file = std::fs::File::create(&log).map_err(|error| Error::file("write", &log, error))?;
        user.give(&rules)?;
        // As its owner would stop it, in order, when nobody waits for it any more.
        let mut command = user.command(programs.join("postgres"), Some("INT"));
        command.arg("-D").arg(data).arg("-p").arg(port.to_string());
        let fixed = [
            "listen_addresses=".to_owned(),
            format!("unix_socket_directories={}", folder.display()),
            format!("hba_file={}", rules.display()),
            "external_pid_file=".to_owned(),
            "ssl=off".to_owned(),
            "logging_collector=off".to_owned(),
            "log_destination=stderr".to_owned(),
            "log_min_messages=log".to_owned(),
            "synchronous_standby_names=".to_owned(),
            "hot_standby=off".to_owned(),
        ];
        for setting in fixed.iter().chain(&settings) {
            command.args(["-c", setting]);
        }
        let both = log_file.try_clone().map_err(|error| Error::file("write", &log, error))?;
        command.stdout(log_file).stderr(both);
        let child = command.spawn().map_err(not_run)?;
        let door = Door { user: user.clone(), superuser: superuser.to_owned(), socket_folder: folder.to_owned(), port };
        let mut server = Self { child, door, log };
        server.await_recovered().await?;
        Ok(server)
    }

    /// However long that takes: it is the log of days that it may have to read, and whoever waits can stop waiting.
    async fn await_recovered(&mut self) -> Result<(), Error> {
        loop {
            let ended = self.child.try_wait().map_err(not_run)?;
            if let Some(status) = ended {
                return Err(self.did_not_start(&status.to_string()));
            }
            if self.door.sql("waiting for the server", "SELECT pg_is_in_recovery()").await.is_ok_and(|answer| answer == "f") {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MILLISECONDS)).await;
        }
    }

    fn did_not_start(&self, status: &str) -> Error {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains(" INFO: ")).collect();
        let said: String = lines.iter().skip(lines.len().saturating_sub(LOG_LINES)).map(|line| format!("\n  {line}")).collect();
        let error = Error::NotRecovered { status: status.to_owned(), said };
        if !log.contains("recovery ended before configured recovery target was reached") {
            return error;
        }
        let newest = log.lines().filter_map(|line| line.split_once("last completed transaction was at log time ")).next_back();
        let newest = newest.map_or_else(String::new, |(_, time)| format!(" The newest moment that it has is {time}."));
        error.hint(format!("The archive ends before the moment that was asked for.{newest}"))
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw) {
            // One that has ended by itself meanwhile needs no signal.
            let _ended = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        self.child.wait().await.map(drop).map_err(not_run)
    }
}

fn not_run(source: std::io::Error) -> Error {
    Error::NotRun { program: "postgres".to_owned(), source }
}
