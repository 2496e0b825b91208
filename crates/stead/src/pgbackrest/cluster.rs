//! The server on this host: found by its socket, and asked what it is as its superuser.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use stead_store::PostgresServer;

use super::program::{self, SystemUser};
use crate::failure::{Failure, FailureKind};
use crate::record::Place;

/// Where servers put their sockets unless they are told otherwise: Debian, and PostgreSQL itself.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// What setting up looks at. `current_setting` hides archive_command while nothing is archived: the file has it.
const FACTS: &str = "SELECT json_build_object(\
    'data', current_setting('data_directory'), \
    'server_config', current_setting('config_file'), \
    'port', current_setting('port')::int, \
    'version', current_setting('server_version_num')::int, \
    'archive_mode', current_setting('archive_mode'), \
    'archive_mode_written', (SELECT setting FROM pg_file_settings WHERE name = 'archive_mode' ORDER BY seqno DESC LIMIT 1), \
    'archive_command', coalesce((SELECT setting FROM pg_file_settings WHERE name = 'archive_command' ORDER BY seqno DESC LIMIT 1), \
                                nullif(current_setting('archive_command'), '(disabled)'), ''), \
    'archive_library', coalesce(current_setting('archive_library', true), ''), \
    'wal_level', current_setting('wal_level'), \
    'wal_level_written', (SELECT setting FROM pg_file_settings WHERE name = 'wal_level' ORDER BY seqno DESC LIMIT 1), \
    'max_wal_senders', current_setting('max_wal_senders')::int, \
    'max_wal_senders_written', (SELECT setting::int FROM pg_file_settings WHERE name = 'max_wal_senders' ORDER BY seqno DESC LIMIT 1), \
    'typed', (SELECT coalesce(json_agg(name), '[]') FROM pg_settings WHERE source = 'command line'), \
    'wal_segment_bytes', pg_size_bytes(current_setting('wal_segment_size')), \
    'standby', pg_is_in_recovery(), \
    'superuser', current_setting('is_superuser') = 'on', \
    'started', pg_postmaster_start_time()::timestamptz::text)";

/// What a server says of itself to its superuser.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) data: PathBuf,
    pub(super) server_config: PathBuf,
    pub(super) port: u16,
    pub(super) version: u32,
    /// As the server runs, and as it is written for its next start.
    pub(super) archive_mode: String,
    pub(super) archive_mode_written: Option<String>,
    pub(super) archive_command: String,
    pub(super) archive_library: String,
    pub(super) wal_level: String,
    pub(super) wal_level_written: Option<String>,
    pub(super) max_wal_senders: u32,
    pub(super) max_wal_senders_written: Option<u32>,
    /// Settings that stand on its command line, where no file changes them.
    pub(super) typed: Vec<String>,
    pub(super) wal_segment_bytes: u64,
    pub(super) standby: bool,
    pub(super) superuser: bool,
    pub(super) started: String,
}

/// How a server is reached by who may do everything there.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) user: SystemUser,
    pub(super) superuser: String,
    pub(super) socket_folder: PathBuf,
    pub(super) port: u16,
}

impl Door {
    /// Runs statements in the database `postgres`, each in a transaction of its own, and gives the rows as lines.
    pub(super) async fn sql(&self, step: &str, sql: &str) -> Result<String, Failure> {
        let Some(psql) = program::find("psql") else {
            return Err(Failure::new(FailureKind::Config, "psql is not in $PATH").hint("Install PostgreSQL's client programs."));
        };
        let mut command = self.user.command(psql, None);
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password", "--set", "ON_ERROR_STOP=1"]);
        command.arg("--host").arg(&self.socket_folder).arg("--port").arg(self.port.to_string());
        command.args(["--username", &self.superuser, "--dbname", "postgres", "--file", "-"]);
        command.env("PGCONNECT_TIMEOUT", "5").env_remove("PGOPTIONS").env_remove("PGSERVICE").env_remove("PGHOSTADDR");
        let rows = program::output_of(command, sql).await?.map_err(|said| said.failure(step))?;
        Ok(rows.trim().to_owned())
    }

    pub(super) async fn facts(&self) -> Result<Facts, Failure> {
        let text = self.sql("asking the server what it is", FACTS).await?;
        serde_json::from_str(&text).map_err(|error| Failure::internal(format!("what the server says is not understood: {error}")))
    }
}

/// The server of a record, on this host.
pub(super) struct Cluster {
    pub(super) door: Door,
    pub(super) facts: Facts,
}

impl Cluster {
    /// Finds it: the server of `--store` says its port, the socket of that port says whose it is.
    pub(super) async fn find(place: &Place, superuser: Option<&str>) -> Result<Self, Failure> {
        let (url, password) = postgres(place)?;
        let asked = PostgresServer::ask(url, password).await.map_err(|error| {
            let kind = if error.is_away() { FailureKind::Unreachable } else { FailureKind::Config };
            Failure::of(kind, error)
        })?;
        let folders = asked.socket_folder.clone().into_iter().chain(SOCKET_FOLDERS.map(PathBuf::from));
        let Some((socket_folder, user)) =
            folders.into_iter().find_map(|folder| Some((folder.clone(), owner(&folder, asked.port)?)))
        else {
            return Err(not_here(&format!("no socket for port {} is in {}", asked.port, SOCKET_FOLDERS.join(" or "))));
        };
        user.check()?;
        let superuser = superuser.map_or_else(|| user.name.clone(), str::to_owned);
        let door = Door { user, superuser, socket_folder, port: asked.port };
        let facts = door.facts().await.map_err(|failure| {
            failure.hint("The server must let its system user in over the socket (pg_hba.conf: local all postgres peer); another superuser is named with --superuser.")
        })?;
        if facts.started != asked.started {
            return Err(not_here(&format!(
                "the server here was started {}, that of the record {}",
                facts.started, asked.started
            )));
        }
        if !facts.superuser {
            return Err(Failure::user(format!("the role {} is no superuser", door.superuser)).hint("Name one with --superuser."));
        }
        if !facts.data.join("postmaster.pid").is_file() {
            return Err(not_here(&format!("{} is not this server's data directory", facts.data.display())));
        }
        Ok(Self { door, facts })
    }
}

/// The record's URL, where it is in PostgreSQL.
pub(super) fn postgres(place: &Place) -> Result<(&str, Option<&str>), Failure> {
    match place {
        Place::Postgres { url, password } => Ok((url.as_str(), password.as_ref().map(|password| password.as_str()))),
        Place::Sqlite(path) => {
            Err(Failure::user(format!("the record is the file {}: pgBackRest is for PostgreSQL", path.display()))
                .hint("Name the record with --store postgres://…; `stead backup` alone takes a backup of a file."))
        }
    }
}

fn not_here(why: &str) -> Failure {
    Failure::user(format!("the record's server does not run on this host, as far as can be seen: {why}"))
        .hint("Run it on the database's host; where the socket is somewhere else, name its folder in the URL: ?host=FOLDER.")
}

/// Whose server listens on a socket: the owner of the socket, which the server makes anew at each start.
fn owner(folder: &Path, port: u16) -> Option<SystemUser> {
    SystemUser::owner_of(&folder.join(format!(".s.PGSQL.{port}"))).ok()
}
