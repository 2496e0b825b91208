//! Where the record is: a file, or a PostgreSQL database; and how a coordinator waits for a database that is away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use stead_store::{
    BackupNews, BackupWay, Engine, EngineError, OpenError, Options, PostgresEngine, PostgresServers, SqliteEngine, Store,
    each_server, split_authority,
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::config::Settings;
use crate::failure::{Failure, FailureKind};

/// The pause before a database that is away is tried again, and the longest it grows to, in seconds.
const PAUSE_SECONDS: u64 = 1;
const PAUSE_SECONDS_MAX: u64 = 10;
/// The name of the record in the state directory.
const FILE_NAME: &str = "record.db";
/// The name of the file in the state directory that says which history of a record in PostgreSQL was followed.
const FOLLOWED_NAME: &str = "record.followed";

/// Where a record is.
pub(crate) enum Place {
    Sqlite(PathBuf),
    Postgres { url: String, password: Option<Zeroizing<String>> },
}

/// Why a record could not be opened.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Read(#[from] EngineError),
}

impl RecordError {
    const fn is_away(&self) -> bool {
        match self {
            Self::Open(error) => error.is_away(),
            Self::Read(error) => error.is_away(),
        }
    }
}

impl Place {
    /// The record that the settings name; without one the file in the state directory.
    pub(crate) fn of(settings: &Settings) -> Result<Self, Failure> {
        match settings.store() {
            Some(named) => Self::parse(named, settings.store_was_typed(), settings.store_password_file().as_deref()),
            None => Ok(Self::Sqlite(settings.state_dir().join(FILE_NAME))),
        }
    }

    /// From what somebody wrote. What was typed is in the list of processes, where everybody can read it.
    pub(crate) fn parse(named: &str, typed: bool, password_file: Option<&Path>) -> Result<Self, Failure> {
        if !is_postgres(named) {
            return Ok(Self::Sqlite(crate::config::expand(named)));
        }
        let wrong = |reason: &str| {
            Failure::new(FailureKind::Config, format!("the record's URL cannot be used: {reason}"))
                .hint("Give postgres://USER@HOST:PORT/DATABASE, or postgres://USER@localhost/DATABASE?host=SOCKET-DIRECTORY.")
        };
        // What it says is not repeated: it may have a password in it.
        let urls = each_server(named).map_err(|reason| wrong(&reason))?;
        let urls: Vec<Url> =
            urls.iter().map(|url| Url::parse(url)).collect::<Result<_, _>>().map_err(|error| wrong(&error.to_string()))?;
        if typed && urls.iter().any(has_password) {
            return Err(Failure::new(
                FailureKind::Config,
                "a password on the command line is seen by everybody who lists processes",
            )
            .hint("Put it into a file: --store-password-file FILE, or PGPASSFILE, or ~/.pgpass; or set STEAD_STORE."));
        }
        if urls.iter().any(|url| url.query_pairs().any(|(name, _)| name == "passfile")) {
            return Err(wrong("it has the parameter passfile; name the file with --store-password-file, or with PGPASSFILE"));
        }
        let password = password_file.map(read_password).transpose()?;
        Ok(Self::Postgres { url: named.to_owned(), password })
    }

    /// Whether several coordinators may share it.
    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres { .. })
    }

    /// The URL of a record in PostgreSQL, and the password that does not stand in it.
    pub(crate) fn postgres(&self) -> Result<(&str, Option<&str>), Failure> {
        match self {
            Self::Postgres { url, password } => Ok((url, password.as_ref().map(|password| password.as_str()))),
            Self::Sqlite(path) => Err(Failure::user(format!("the record is the file {}, which has no standbys", path.display()))
                .hint("Name the servers: --store postgres://stead@db1,db2/fleet")),
        }
    }

    /// The servers of a record in PostgreSQL.
    pub(crate) fn servers(&self) -> Result<PostgresServers, Failure> {
        let (url, password) = self.postgres()?;
        PostgresServers::parse(url, password).map_err(|error| Failure::of(FailureKind::Config, error))
    }

    async fn connect(&self, state_dir: &Path) -> Result<Arc<dyn Engine>, OpenError> {
        Ok(match self {
            Self::Sqlite(path) => Arc::new(SqliteEngine::open(path).await?),
            Self::Postgres { url, password } => {
                let password = password.as_ref().map(|password| password.as_str());
                Arc::new(PostgresEngine::open_following(url, password, &state_dir.join(FOLLOWED_NAME)).await?)
            }
        })
    }

    /// Notes beside the record what has become known of its backups: its coordinators show it in their metrics. Nothing is noted of
    /// a record in a file that is not here.
    pub(crate) async fn note_backup(&self, way: BackupWay, news: BackupNews) -> Result<(), Failure> {
        match self {
            Self::Sqlite(path) if !path.exists() => Ok(()),
            Self::Sqlite(path) => stead_store::note_backup(path, way, news)
                .map_err(|error| Failure::new(FailureKind::Config, format!("beside {}: {error}", path.display()))),
            Self::Postgres { url, password } => {
                let password = password.as_ref().map(|password| password.as_str());
                let engine = PostgresEngine::open_reading(url, password).await.map_err(opening)?;
                let noted = engine.note_backup(way, news).await;
                engine.close().await;
                noted.map_err(|error| Failure::of(FailureKind::Config, error))
            }
        }
    }

    /// Opens it for a command that works on it while no coordinator does.
    pub(crate) async fn offline(&self) -> Result<Arc<dyn Engine>, Failure> {
        let opened = match self {
            Self::Sqlite(path) => SqliteEngine::open(path).await.map(|engine| Arc::new(engine) as Arc<dyn Engine>),
            Self::Postgres { url, password } => {
                let password = password.as_ref().map(|password| password.as_str());
                PostgresEngine::open_offline(url, password).await.map(|engine| Arc::new(engine) as Arc<dyn Engine>)
            }
        };
        opened.map_err(opening)
    }

    async fn try_open(&self, state_dir: &Path) -> Result<Store, RecordError> {
        Ok(Store::open_on(self.connect(state_dir).await?, Options::default()).await?)
    }

    /// Opens it for the coordinator of a state directory, and waits for a database that is away; `None` where it was stopped meanwhile.
    pub(crate) async fn open(
        &self,
        state_dir: &Path,
        say: impl Fn(&str),
        stop: &CancellationToken,
    ) -> Result<Option<Store>, Failure> {
        let (mut pause, mut said) = (PAUSE_SECONDS, false);
        loop {
            match self.try_open(state_dir).await {
                Ok(store) => return Ok(Some(store)),
                Err(error) if error.is_away() => {
                    tracing::warn!(%error, again_in_seconds = pause, "the record's database is away");
                    if !std::mem::replace(&mut said, true) {
                        say(&format!("waiting for the record's database: {error}"));
                    }
                }
                Err(error) => return Err(Failure::of(FailureKind::Config, error)),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(Duration::from_secs(pause)) => {}
            }
            pause = pause.saturating_mul(2).min(PAUSE_SECONDS_MAX);
        }
    }
}

/// The failure of a record that could not be opened.
pub(crate) fn opening(error: OpenError) -> Failure {
    let kind = if error.is_away() { FailureKind::Unreachable } else { FailureKind::Config };
    Failure::of(kind, error)
}

/// Whether a record's name is that of a PostgreSQL database.
fn is_postgres(named: &str) -> bool {
    named.starts_with("postgres://") || named.starts_with("postgresql://")
}

fn has_password(url: &Url) -> bool {
    url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password")
}

/// A record's name as it may be shown.
pub(crate) fn without_password(named: &str) -> String {
    const HIDDEN: &str = "***";
    if !is_postgres(named) {
        return named.to_owned();
    }
    // Several servers are no URL by the standard: one stands for them meanwhile.
    let Some((before, servers, after)) = split_authority(named) else { return HIDDEN.to_owned() };
    let Ok(mut url) = Url::parse(&format!("{before}h{after}")) else { return HIDDEN.to_owned() };
    if has_password(&url) {
        // A URL with a host takes one.
        let _ = url.set_password(url.password().is_some().then_some(HIDDEN));
        let kept: Vec<_> = url.query_pairs().into_owned().filter(|(name, _)| name != "password").collect();
        url.set_query(None);
        url.query_pairs_mut().extend_pairs(kept);
    }
    let shown: String = url.into();
    split_authority(&shown).map_or_else(|| HIDDEN.to_owned(), |(before, _, after)| format!("{before}{servers}{after}"))
}

/// The first line of a file.
pub(crate) fn read_password(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| Failure::new(FailureKind::Config, format!("{}: {error}", path.display())))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_typed_and_not_shown() {
        for url in
            ["postgres://a:secret@db/fleet", "postgres://a@x:1,y:2/fleet?password=secret", "postgres://a:secret@x,y:2/fleet"]
        {
            let failure = Place::parse(url, true, None).err().unwrap();
            assert!(format!("{failure:?}").contains("lists processes") && !format!("{failure:?}").contains("secret"));
            assert!(matches!(Place::parse(url, false, None), Ok(Place::Postgres { .. })));
            assert!(!without_password(url).contains("secret"), "{}", without_password(url));
        }
        for named in [
            "postgres://a@db/fleet",
            "postgres://a@db1:5432,db2:5433/fleet",
            "postgres://a@localhost/fleet?host=/run/pg",
            "/var/lib/stead/record.db",
        ] {
            assert!(Place::parse(named, true, None).is_ok());
            assert_eq!(without_password(named), named);
        }
        assert!(Place::parse("postgres://a@db/fleet?passfile=/x", true, None).is_err());
    }
}
