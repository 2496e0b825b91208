//! A stanza that `stead backup setup` has written, and the commands of pgBackRest on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::cluster::Door;
use super::configuration::{self, OURS};
use super::info::Info;
use super::program::{self, SystemUser, file_failure};
use crate::cli::{StanzaFlags, WayFlags};
use crate::failure::{Failure, FailureKind};
use crate::record::Place;

/// The pause before the repository is looked at again for a segment that is on its way.
const LOOK_AGAIN_MILLISECONDS: u64 = 200;

/// A stanza on this host.
pub(crate) struct Stanza {
    pub(super) file: PathBuf,
    pub(super) name: String,
    pub(super) data: PathBuf,
    pub(super) server_config: PathBuf,
    pub(super) programs: PathBuf,
    pub(super) repo: PathBuf,
    pub(super) door: Door,
    pgbackrest: PathBuf,
}

/// The stanza that a command is meant for: none where nothing was set up here, or the portable way is asked for.
pub(crate) fn choose(place: &Place, way: &WayFlags) -> Result<Option<Stanza>, Failure> {
    let found = match place {
        Place::Postgres { .. } if !way.portable => Stanza::find(&way.stanza)?,
        _ => None,
    };
    if found.is_none() && way.physical {
        super::cluster::postgres(place)?;
        return Err(not_set_up(&way.stanza));
    }
    Ok(found)
}

fn not_set_up(flags: &StanzaFlags) -> Failure {
    let file = flags.pgbackrest_config.display();
    Failure::new(
        FailureKind::NotFound,
        format!("{file} has no stanza {}: backups with pgBackRest are not set up here", flags.stanza),
    )
    .hint("Run `stead backup setup` on the database's host.")
}

impl Stanza {
    /// Reads it, where it is there.
    pub(super) fn find(flags: &StanzaFlags) -> Result<Option<Self>, Failure> {
        let file = &flags.pgbackrest_config;
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(file_failure("read", file, &error).hint("Run it as root, or as the database's system user."));
            }
        };
        if !text.starts_with(OURS) {
            return Ok(None);
        }
        let value = |name: &str| configuration::value(&text, &flags.stanza, name);
        if value("pg1-path").is_none() {
            return Ok(None);
        }
        let needed = |name: &str| {
            let broken = || {
                Failure::new(FailureKind::Config, format!("{} lacks {name}", file.display()))
                    .hint("Run `stead backup setup` again, which writes it anew.")
            };
            value(name).ok_or_else(broken)
        };
        let path = |name: &str| needed(name).map(PathBuf::from);
        let repo = path("repo1-path")?;
        // The repository is there also while a restore has the data directory in its hands.
        let user = SystemUser::owner_of(&repo)?;
        user.check()?;
        let port = needed("pg1-port")?;
        let port = port.parse().map_err(|_| Failure::new(FailureKind::Config, format!("pg1-port is {port:?}")))?;
        let door = Door { user, superuser: needed("pg1-user")?.to_owned(), socket_folder: path("pg1-socket-path")?, port };
        Ok(Some(Self {
            file: file.clone(),
            name: flags.stanza.clone(),
            data: path("pg1-path")?,
            server_config: path("server-config")?,
            programs: path("programs")?,
            repo,
            door,
            pgbackrest: installed()?,
        }))
    }

    /// The same, where it must be there.
    pub(super) fn get(flags: &StanzaFlags) -> Result<Self, Failure> {
        Self::find(flags)?.ok_or_else(|| not_set_up(flags))
    }

    /// A command of pgBackRest.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        self.command_saying("warn", words)
    }

    /// The same that says more, or less.
    pub(super) fn command_saying(&self, level: &str, words: &[&str]) -> Command {
        // One that went on by itself would write into what the next one begins with: a restore is not even let finish its file.
        let on_death = if words.last() == Some(&"restore") { "KILL" } else { "TERM" };
        let mut command = self.door.user.command(&self.pgbackrest, Some(on_death));
        command.arg("--config").arg(&self.file).args(["--stanza", &self.name, &format!("--log-level-console={level}")]);
        // What somebody has set in the environment for other stanzas is no business of this one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PGBACKREST_")) {
            command.env_remove(name);
        }
        command.args(words);
        command
    }

    /// Runs one that is a step of something.
    pub(super) async fn run(&self, step: &str, words: &[&str]) -> Result<String, Failure> {
        program::step(step, self.command(words)).await
    }

    pub(super) async fn info(&self) -> Result<Info, Failure> {
        let text = self.run("asking pgBackRest what it has", &["info", "--output=json"]).await?;
        Info::parse(&text, &self.name)
            .map_err(|error| Failure::internal(format!("what pgBackRest says is not understood: {error}")))
    }

    /// The files of the server's log in the repository, and when each got there.
    pub(super) async fn archived(&self, info: &Info) -> Result<Vec<Archived>, Failure> {
        let Some(archive) = info.archive.last() else { return Ok(Vec::new()) };
        let folder = format!("archive/{}/{}", self.name, archive.id);
        let text = self.run("listing the archive", &["repo-ls", "--recurse", "--output=json", &folder]).await?;
        let listed: std::collections::BTreeMap<String, Listed> = serde_json::from_str(&text)
            .map_err(|error| Failure::internal(format!("pgBackRest's list is not understood: {error}")))?;
        let name = |path: String| Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned());
        let files = listed.into_iter().filter(|(_, listed)| listed.kind == "file");
        Ok(files
            .filter_map(|(path, listed)| Some(Archived { name: name(path)?, time: listed.time.unwrap_or_default() }))
            .collect())
    }

    /// Waits, but not for ever, until a segment is in the repository.
    pub(super) async fn await_segment(&self, segment: &str, patience: Duration) -> Result<(), Failure> {
        let limit = tokio::time::Instant::now() + patience;
        loop {
            let info = self.info().await?;
            if self.archived(&info).await?.iter().any(|file| file.name.starts_with(segment)) {
                return Ok(());
            }
            if tokio::time::Instant::now() >= limit {
                return Err(Failure::refused(format!(
                    "segment {segment} of the server's log is not in the repository after {} s",
                    patience.as_secs()
                ))
                .hint("`stead backup check` says what is wrong with the archive."));
            }
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MILLISECONDS)).await;
        }
    }
}

#[derive(serde::Deserialize)]
struct Listed {
    #[serde(rename = "type")]
    kind: String,
    time: Option<i64>,
}

/// A file of the archive.
pub(super) struct Archived {
    pub(super) name: String,
    /// In seconds since 1970.
    pub(super) time: i64,
}

/// Where pgbackrest is.
pub(super) fn installed() -> Result<PathBuf, Failure> {
    program::find("pgbackrest").ok_or_else(|| {
        Failure::new(FailureKind::Config, "pgbackrest is not in $PATH").hint("Install it: apt-get install pgbackrest.")
    })
}
