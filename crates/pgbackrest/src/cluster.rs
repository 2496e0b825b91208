//! The server on this host: found by its socket, and asked what it is as its superuser.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use stead_store::PostgresServer;

use crate::error::Error;
use crate::program::{self, SystemUser};

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
    'archive_timeout', coalesce((SELECT setting FROM pg_file_settings WHERE name = 'archive_timeout' ORDER BY seqno DESC LIMIT 1), \
                                (SELECT setting FROM pg_settings WHERE name = 'archive_timeout')), \
    'wal_level', current_setting('wal_level'), \
    'wal_level_written', (SELECT setting FROM pg_file_settings WHERE name = 'wal_level' ORDER BY seqno DESC LIMIT 1), \
    'max_wal_senders', current_setting('max_wal_senders')::int, \
    'max_wal_senders_written', (SELECT setting::int FROM pg_file_settings WHERE name = 'max_wal_senders' ORDER BY seqno DESC LIMIT 1), \
    'typed', (SELECT coalesce(json_agg(name), '[]') FROM pg_settings WHERE source = 'command line'), \
    'wal_segment_bytes', pg_size_bytes(current_setting('wal_segment_size')), \
    'standby', pg_is_in_recovery(), \
    'superuser', current_setting('is_superuser') = 'on', \
    'started', pg_postmaster_start_time()::timestamptz::text)";

/// Where the record is, as its coordinators reach it.
#[derive(Clone, Copy)]
pub struct RecordAddress<'a> {
    /// `postgres://USER@HOST:PORT/DATABASE`, or several servers in one.
    pub url: &'a str,
    /// The password that does not stand in there.
    pub password: Option<&'a str>,
}

/// What a server says of itself to its superuser.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) data: PathBuf,
    pub(crate) server_config: PathBuf,
    pub(crate) port: u16,
    pub(crate) version: u32,
    /// As the server runs, and as it is written for its next start.
    pub(crate) archive_mode: String,
    pub(crate) archive_mode_written: Option<String>,
    pub(crate) archive_command: String,
    pub(crate) archive_library: String,
    /// In seconds, or as somebody wrote it; 0 where a segment waits until it is full.
    pub(crate) archive_timeout: String,
    pub(crate) wal_level: String,
    pub(crate) wal_level_written: Option<String>,
    pub(crate) max_wal_senders: u32,
    pub(crate) max_wal_senders_written: Option<u32>,
    /// Settings that stand on its command line, where no file changes them.
    pub(crate) typed: Vec<String>,
    pub(crate) wal_segment_bytes: u64,
    pub(crate) standby: bool,
    pub(crate) superuser: bool,
    pub(crate) started: String,
}

/// How a server is reached by who may do everything there.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) user: SystemUser,
    pub(crate) superuser: String,
    pub(crate) socket_folder: PathBuf,
    pub(crate) port: u16,
}

impl Door {
    /// Runs statements in the database `postgres`, each in a transaction of its own, and gives the rows as lines.
    pub(crate) async fn sql(&self, step: &str, sql: &str) -> Result<String, Error> {
        let Some(psql) = program::find("psql") else {
            return Err(Error::NotInstalled { program: "psql", package: "postgresql-client" });
        };
        let mut command = self.user.command(psql, None);
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password", "--set", "ON_ERROR_STOP=1"]);
        command.arg("--host").arg(&self.socket_folder).arg("--port").arg(self.port.to_string());
        command.args(["--username", &self.superuser, "--dbname", "postgres", "--file", "-"]);
        command.env("PGCONNECT_TIMEOUT", "5");
        let rows = program::output_of(command, sql).await?.map_err(|said| said.error(step))?;
        Ok(rows.trim().to_owned())
    }

    pub(crate) async fn facts(&self) -> Result<Facts, Error> {
        let text = self.sql("asking the server what it is", FACTS).await?;
        serde_json::from_str(&text).map_err(|error| Error::NotUnderstood { who: "the server", reason: error.to_string() })
    }
}

/// The server of a record, on this host.
pub(crate) struct Cluster {
    pub(crate) door: Door,
    pub(crate) facts: Facts,
}

impl Cluster {
    /// Finds it: the record's server says its port, the socket of that port says whose it is.
    pub(crate) async fn find(record: RecordAddress<'_>, superuser: Option<&str>) -> Result<Self, Error> {
        let asked = PostgresServer::ask(record.url, record.password).await?;
        let folders = asked.socket_folder.clone().into_iter().chain(SOCKET_FOLDERS.map(PathBuf::from));
        let Some((socket_folder, user)) =
            folders.into_iter().find_map(|folder| Some((folder.clone(), owner(&folder, asked.port)?)))
        else {
            return Err(not_here(&format!("no socket for port {} is in {}", asked.port, SOCKET_FOLDERS.join(" or "))));
        };
        user.check()?;
        let superuser = superuser.map_or_else(|| user.name.clone(), str::to_owned);
        let door = Door { user, superuser, socket_folder, port: asked.port };
        let facts = door.facts().await.map_err(|error| {
            error.hint("The server must let its system user in over the socket (pg_hba.conf: local all postgres peer); another superuser is named with --superuser.")
        })?;
        if facts.started != asked.started {
            return Err(not_here(&format!(
                "the server here was started {}, that of the record {}",
                facts.started, asked.started
            )));
        }
        if !facts.superuser {
            return Err(Error::NoSuperuser { role: door.superuser });
        }
        if !facts.data.join("postmaster.pid").is_file() {
            return Err(not_here(&format!("{} is not this server's data directory", facts.data.display())));
        }
        Ok(Self { door, facts })
    }
}

fn not_here(why: &str) -> Error {
    Error::NotHere { why: why.to_owned() }
}

/// Whose server listens on a socket: the owner of the socket, which the server makes anew at each start.
fn owner(folder: &Path, port: u16) -> Option<SystemUser> {
    SystemUser::owner_of(&folder.join(format!(".s.PGSQL.{port}"))).ok()
}
