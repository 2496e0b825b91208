//! A stanza that `stead backup setup` has written, and the commands of pgBackRest on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio::process::Command;

use crate::cluster::Door;
use crate::configuration::{self, OURS};
use crate::error::Error;
use crate::info::Info;
use crate::program::{self, SystemUser};

/// The pause before the repository is looked at again for a segment that is on its way.
const LOOK_AGAIN_MILLISECONDS: u64 = 200;
/// How long workers of a pgBackRest that was killed may take to see that, in seconds: they write the file to its end that they are at.
const ORPHANS_SECONDS_MAX: u64 = 60;

/// What a stanza is called, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StanzaName {
    /// pgBackRest's configuration.
    pub file: PathBuf,
    /// The stanza in there.
    pub stanza: String,
}

/// A stanza on this host.
#[derive(Debug)]
pub struct Stanza {
    pub(crate) file: PathBuf,
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) server_config: PathBuf,
    pub(crate) programs: PathBuf,
    pub(crate) repo: PathBuf,
    pub(crate) door: Door,
    pgbackrest: PathBuf,
}

impl Stanza {
    /// Reads it, where it is there. No server is asked.
    ///
    /// # Errors
    ///
    /// [`Error`], where it is there and cannot be used.
    pub fn find(wanted: &StanzaName) -> Result<Option<Self>, Error> {
        let file = &wanted.file;
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Error::file("read", file, error).hint("Run it as root, or as the database's system user."));
            }
        };
        if !text.starts_with(OURS) {
            return Ok(None);
        }
        let value = |name: &str| configuration::value(&text, &wanted.stanza, name);
        if value("pg1-path").is_none() {
            return Ok(None);
        }
        let malformed = |name: &'static str, value: &str| Error::Malformed {
            file: file.clone(),
            stanza: wanted.stanza.clone(),
            name,
            value: value.to_owned(),
        };
        let needed = |name: &'static str| value(name).ok_or_else(|| malformed(name, ""));
        let path = |name: &'static str| needed(name).map(PathBuf::from);
        let repo = path("repo1-path")?;
        // The repository is there also while a restore has the data directory in its hands.
        let user = SystemUser::owner_of(&repo).map_err(|error| error.hint("That is the repository. Is its disk mounted?"))?;
        user.check()?;
        let port = needed("pg1-port")?;
        let port = port.parse().map_err(|_| malformed("pg1-port", port))?;
        let door = Door { user, superuser: needed("pg1-user")?.to_owned(), socket_folder: path("pg1-socket-path")?, port };
        Ok(Some(Self {
            file: file.clone(),
            name: wanted.stanza.clone(),
            data: path("pg1-path")?,
            server_config: path("server-config")?,
            programs: path("programs")?,
            repo,
            door,
            pgbackrest: installed()?,
        }))
    }

    /// The same, where it must be there.
    ///
    /// # Errors
    ///
    /// [`Error`]; where it is not there, [`Error::NotSetUp`].
    pub fn get(wanted: &StanzaName) -> Result<Self, Error> {
        Self::find(wanted)?.ok_or_else(|| Error::NotSetUp { file: wanted.file.clone(), stanza: wanted.stanza.clone() })
    }

    /// The data directory of its server.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its repository.
    pub fn repo(&self) -> &Path {
        &self.repo
    }

    /// A command of pgBackRest.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.command_saying("warn", words)
    }

    /// The same that says more, or less.
    pub(crate) fn command_saying(&self, level: &str, words: &[&str]) -> Command {
        // One that went on by itself would write into what the next one begins with: a restore is not even let finish its file.
        let on_death = if words.last() == Some(&"restore") { "KILL" } else { "TERM" };
        let mut command = self.door.user.command(&self.pgbackrest, Some(on_death));
        command.arg("--config").arg(&self.file).args(["--stanza", &self.name, &format!("--log-level-console={level}")]);
        command.args(words);
        command
    }

    /// Runs one that is a step of something.
    pub(crate) async fn run(&self, step: &str, words: &[&str]) -> Result<String, Error> {
        program::step(step, self.command(words)).await
    }

    /// What pgBackRest has.
    ///
    /// # Errors
    ///
    /// [`Error`], where it does not say.
    pub async fn info(&self) -> Result<Info, Error> {
        let text = self.run("asking pgBackRest what it has", &["info", "--output=json"]).await?;
        Info::parse(&text, &self.name).map_err(not_understood)
    }

    /// The files of the server's log in the repository, and when each got there.
    pub(crate) async fn archived(&self, info: &Info) -> Result<Vec<Archived>, Error> {
        let Some(archive) = info.archive.last() else { return Ok(Vec::new()) };
        let folder = format!("archive/{}/{}", self.name, archive.id);
        let text = self.run("listing the archive", &["repo-ls", "--recurse", "--output=json", &folder]).await?;
        let listed: std::collections::BTreeMap<String, Listed> =
            serde_json::from_str(&text).map_err(|error| not_understood(error.to_string()))?;
        let name = |path: String| Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned());
        let files = listed.into_iter().filter(|(_, listed)| listed.kind == "file");
        Ok(files
            .filter_map(|(path, listed)| Some(Archived { name: name(path)?, time: listed.time.unwrap_or_default() }))
            .collect())
    }

    /// Where the backup has tablespaces from which a restore to a moment begins.
    pub(crate) async fn tablespaces(&self, info: &Info, at: Timestamp) -> Result<Vec<PathBuf>, Error> {
        let Some(backup) = info.good().rfind(|backup| backup.ended() < at) else { return Ok(Vec::new()) };
        let set = format!("--set={}", backup.label);
        let text = self.run("asking pgBackRest about a backup", &[&set, "info", "--output=json"]).await?;
        Info::parse(&text, &self.name).map(|info| info.tablespaces()).map_err(not_understood)
    }

    /// Waits, but not for ever, until a segment is in the repository.
    pub(crate) async fn await_segment(&self, segment: &str, patience: Duration) -> Result<(), Error> {
        let limit = tokio::time::Instant::now() + patience;
        loop {
            let info = self.info().await?;
            if self.archived(&info).await?.iter().any(|file| file.name.starts_with(segment)) {
                return Ok(());
            }
            if tokio::time::Instant::now() >= limit {
                return Err(Error::NotArchived { segment: segment.to_owned(), seconds: patience.as_secs() });
            }
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MILLISECONDS)).await;
        }
    }

    /// Waits for workers of a restore that was killed: they would write into what the next one begins with.
    pub(crate) async fn await_orphans(&self) -> Result<(), Error> {
        let config = format!("--config={}", self.file.display());
        let limit = tokio::time::Instant::now() + Duration::from_secs(ORPHANS_SECONDS_MAX);
        loop {
            let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
            let mut words = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
            let is_ours = |words: Vec<u8>| {
                let words = String::from_utf8_lossy(&words).into_owned();
                words.split('\0').any(|word| word == config) && words.split('\0').any(|word| word == "restore:local")
            };
            if !words.any(is_ours) {
                return Ok(());
            }
            if tokio::time::Instant::now() >= limit {
                return Err(Error::Busy { what: "what an earlier restore has left of pgBackRest" });
            }
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MILLISECONDS)).await;
        }
    }
}

fn not_understood(reason: String) -> Error {
    Error::NotUnderstood { who: "pgBackRest", reason }
}

#[derive(serde::Deserialize)]
struct Listed {
    #[serde(rename = "type")]
    kind: String,
    time: Option<i64>,
}

/// A file of the archive.
pub(crate) struct Archived {
    pub(crate) name: String,
    /// In seconds since 1970.
    pub(crate) time: i64,
}

/// Where pgbackrest is.
pub(crate) fn installed() -> Result<PathBuf, Error> {
    program::find("pgbackrest").ok_or(Error::NotInstalled { program: "pgbackrest", package: "pgbackrest" })
}
