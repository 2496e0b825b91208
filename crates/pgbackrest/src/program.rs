//! Programs that are run for it: pgbackrest, psql and the server's own, as the database's system user.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::error::Error;

/// Lines of a program that failed that are repeated: more would bury the one that counts.
const SAID_LINES_MAX: usize = 20;
/// What the environment of whoever calls may have in it that is no business of these programs: passwords, and words for other stanzas.
const KEPT_BACK: [&str; 3] = ["STEAD_", "PGBACKREST_", "PG"];

/// Whose the cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SystemUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) name: String,
}

impl SystemUser {
    /// The owner of a file.
    pub(crate) fn owner_of(path: &Path) -> Result<Self, Error> {
        let metadata = std::fs::metadata(path).map_err(|error| Error::file("read", path, error))?;
        let uid = metadata.uid();
        let mut id = std::process::Command::new("id");
        in_private(&mut id);
        let asked = id.args(["-nu", &uid.to_string()]).output();
        let asked = asked.map_err(|source| Error::NotRun { program: "id".to_owned(), source })?;
        let name = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
        if name.is_empty() {
            return Err(Error::NoUser { path: path.to_owned(), uid });
        }
        Ok(Self { uid, gid: metadata.gid(), name })
    }

    /// Whether this process may act as it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let us = rustix::process::geteuid();
        if us.is_root() || us.as_raw() == self.uid {
            return Ok(());
        }
        Err(Error::OtherUser { needed: self.name.clone(), uid: us.as_raw() })
    }

    /// A program as this user. With `on_death` it gets that signal when this process ends, however it ends.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>, on_death: Option<&str>) -> Command {
        let mut command = Command::new("setpriv");
        if rustix::process::geteuid().is_root() && self.uid != 0 {
            let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
            command.args(["--reuid", &uid, "--regid", &gid, "--init-groups"]);
        }
        if let Some(signal) = on_death {
            command.args(["--pdeathsig", signal]);
        }
        command.arg("--").arg(program);
        in_private(command.as_std_mut());
        command.kill_on_drop(true);
        command
    }

    /// A program that changes to the right user by itself.
    #[expect(clippy::unused_self, reason = "beside the other one, so that whoever reads a call sees as whom it runs")]
    pub(crate) fn command_as_it_is(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        in_private(command.as_std_mut());
        command
    }

    /// Makes a file or folder this user's.
    pub(crate) fn give(&self, path: &Path) -> Result<(), Error> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).map_err(|error| Error::file("give away", path, error))
    }

    /// Makes a folder of this user's, unless there is one.
    pub(crate) fn make_folder(&self, path: &Path, mode: u32) -> Result<(), Error> {
        if path.is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(path).map_err(|error| Error::file("make", path, error))?;
        self.own_folder(path, mode)
    }

    /// Makes a folder that is there this user's.
    pub(crate) fn own_folder(&self, path: &Path, mode: u32) -> Result<(), Error> {
        self.give(path)?;
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).map_err(|error| Error::file("set the mode of", path, error))
    }
}

/// It must not look into the folder where this was started, nor speak another language than is read here, nor be told what is not
/// meant for it.
fn in_private(command: &mut std::process::Command) {
    command.current_dir("/").env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if KEPT_BACK.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
}

/// What a program did not do, in its own words.
pub(crate) struct Said {
    pub(crate) program: String,
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Said {
    /// As the error of a step.
    pub(crate) fn error(self, step: &str) -> Error {
        let ended = self.code.map_or_else(|| "was killed".to_owned(), |code| format!("ended with {code}"));
        let lines: Vec<&str> = self.text.lines().filter(|line| !line.trim().is_empty()).collect();
        let kept = lines.get(lines.len().saturating_sub(SAID_LINES_MAX)..).unwrap_or_default();
        let said: String = kept.iter().map(|line| format!("\n  {line}")).collect();
        Error::Failed { step: step.to_owned(), program: self.program, ended, said }
    }
}

/// Runs a program to its end, and gives what it wrote to its standard output.
pub(crate) async fn output(command: Command) -> Result<Result<String, Said>, Error> {
    output_of(command, "").await
}

/// The same with something on its standard input.
pub(crate) async fn output_of(mut command: Command, input: &str) -> Result<Result<String, Said>, Error> {
    let program = name_of(&command);
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let failed = |source: std::io::Error| Error::NotRun { program: program.clone(), source };
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read it says why on its standard error.
        let _told_below = stdin.write_all(input.as_bytes()).await;
    }
    let ended = child.wait_with_output().await.map_err(failed)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if ended.status.success() {
        return Ok(Ok(text(&ended.stdout)));
    }
    let text = format!("{}\n{}", text(&ended.stdout), text(&ended.stderr));
    Ok(Err(Said { program, code: ended.status.code(), text }))
}

/// Runs a program that is one step of something.
pub(crate) async fn step(step: &str, command: Command) -> Result<String, Error> {
    output(command).await?.map_err(|said| said.error(step))
}

/// The program behind `setpriv`.
fn name_of(command: &Command) -> String {
    let words = command.as_std().get_args().skip_while(|word| *word != "--");
    let program = words.skip(1).map(Path::new).next().and_then(Path::file_name);
    program.unwrap_or_else(|| command.as_std().get_program()).to_string_lossy().into_owned()
}

/// Where a program is in `$PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}
