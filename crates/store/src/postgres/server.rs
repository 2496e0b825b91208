//! The server behind a URL, for who has to do with the server itself: where it is, and a record of the same name on another one.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::connection::{self, CONNECT_SECONDS_MAX, Server};
use super::{OFFLINE_SESSION_NAME, PostgresEngine, each_server, migration};
use crate::open_error::OpenError;

const ASKING: &str = "asking the server what it is";

/// What a server says of itself to everybody who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresServer {
    /// The folder of the socket that the URL names, if it names one.
    pub socket_folder: Option<PathBuf>,
    /// The port that it listens on, which the name of its socket has in it, too.
    pub port: u16,
    /// When it was started, as it writes times itself: no two servers on a machine were started in one microsecond.
    pub started: String,
}

impl PostgresServer {
    /// Asks the server of a URL.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; where it [is away](OpenError::is_away), the same may succeed later.
    pub async fn ask(url: &str, password: Option<&str>) -> Result<Self, OpenError> {
        let server = Server::parse(url, password, OFFLINE_SESSION_NAME)?;
        let refused = |error| migration::refused(&server, error);
        let mut connection = server.connect(ASKING).await.map_err(refused)?.connection;
        let sql = "SELECT current_setting('port')::int, pg_postmaster_start_time()::timestamptz::text";
        let row = sqlx::query(sql).fetch_one(&mut connection);
        let row = server.within(CONNECT_SECONDS_MAX, ASKING, row).await.map_err(refused)?;
        connection::hang_up(connection).await;
        let read = |source| refused(server.failed(ASKING, source));
        let port: i32 = row.try_get(0).map_err(read)?;
        let started = row.try_get(1).map_err(read)?;
        let urls = each_server(url).map_err(|reason| OpenError::Url { reason })?;
        // The one of several that takes writes.
        let url = server.current().and_then(|number| urls.get(number)).map_or(url, String::as_str);
        let options = PgConnectOptions::from_str(url).map_err(|error| OpenError::Url { reason: error.to_string() })?;
        let socket_folder = options.get_socket().cloned();
        Ok(Self { socket_folder, port: u16::try_from(port).unwrap_or_default(), started })
    }
}

impl PostgresEngine {
    /// The record that a URL names by its role and database, on another server: the one whose socket is in this folder, which lets
    /// everybody in who can reach it.
    ///
    /// # Errors
    ///
    /// As [`PostgresEngine::open`].
    pub async fn open_elsewhere(url: &str, socket_folder: &Path, port: u16) -> Result<Self, OpenError> {
        let mut server = Server::parse(url, None, OFFLINE_SESSION_NAME)?;
        server.move_to(|options| options.socket(socket_folder).port(port).ssl_mode(PgSslMode::Disable));
        Self::open_server(server, migration::STEPS).await
    }
}
