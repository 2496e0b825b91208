//! The server: how it is reached, what every session with it is set to, and how long anything may take.

use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Row};

use crate::engine::EngineError;
use crate::open_error::OpenError;

/// How long a connection may take to be made, until the server counts as away.
pub(super) const CONNECT_SECONDS_MAX: u64 = 5;
/// How long a turn is waited for while other coordinators have theirs. A batch takes milliseconds; a coordinator that stopped in
/// the middle of its turn is thrown out after [`IDLE_SECONDS_MAX`].
pub(super) const TURN_SECONDS_MAX: u64 = 8;
/// How long the server lets a coordinator think within its turn before it throws it out and lets the others go on.
const IDLE_SECONDS_MAX: u64 = 5;
/// The same for a command, which holds nobody up: the slowest disk has taken what was read by then.
const OFFLINE_IDLE_SECONDS_MAX: u64 = 600;
/// How long one statement of a batch, or one reader's, may take: the largest transaction (64 MiB) on a slow disk.
const STATEMENT_SECONDS_MAX: u64 = 30;
/// How long an answer is waited for, until the server counts as away: longer than the server itself lets a statement take.
pub(super) const ANSWER_SECONDS_MAX: u64 = 35;
/// Connections for what is not in memory.
const READERS_MAX: u32 = 4;
/// What a coordinator's sessions are called in `pg_stat_activity`.
pub(super) const SESSION_NAME: &str = "stead";

/// A server and its database.
#[derive(Debug)]
pub(super) struct Server {
    options: PgConnectOptions,
    /// Where it is, for people to read: no password is in it.
    place: String,
}

impl Server {
    pub(super) fn parse(url: &str, password: Option<&str>, session_name: &str) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(|error| OpenError::Url { reason: error.to_string() })?;
        let host = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let database = options.get_database().unwrap_or_else(|| options.get_username()).to_owned();
        let options = password.into_iter().fold(options, PgConnectOptions::password);
        let seconds = |seconds: u64| format!("{seconds}s");
        let idle = if session_name == SESSION_NAME { IDLE_SECONDS_MAX } else { OFFLINE_IDLE_SECONDS_MAX };
        let options = options
            .application_name(session_name)
            .options([
                ("lock_timeout", seconds(TURN_SECONDS_MAX)),
                ("statement_timeout", seconds(STATEMENT_SECONDS_MAX)),
                ("idle_in_transaction_session_timeout", seconds(idle)),
            ])
            .disable_statement_logging();
        Ok(Self { options, place: format!("PostgreSQL database {database} at {host}") })
    }

    /// The same role and database elsewhere.
    pub(super) fn move_to(&mut self, elsewhere: impl FnOnce(PgConnectOptions) -> PgConnectOptions) {
        self.options = elsewhere(self.options.clone());
        let host =
            self.options.get_socket().map_or_else(|| self.options.get_host().to_owned(), |socket| socket.display().to_string());
        let database = self.options.get_database().unwrap_or_else(|| self.options.get_username());
        self.place = format!("PostgreSQL database {database} at {host}");
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// A new session, which acknowledges nothing that is not on disk.
    pub(super) async fn connect(&self, doing: &'static str) -> Result<PgConnection, EngineError> {
        let connecting = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            let sql = "SELECT pg_is_in_recovery(), current_setting('synchronous_commit'), current_setting('fsync')";
            let row = sqlx::query(sql).fetch_one(&mut connection).await?;
            if row.try_get::<&str, _>(1)? == "off" {
                sqlx::query("SET synchronous_commit = on").execute(&mut connection).await?;
            }
            if row.try_get::<&str, _>(2)? == "off" {
                tracing::warn!(place = %self.place, "the server has fsync off: what it acknowledges does not survive the loss of power");
            }
            Ok((connection, row.try_get::<bool, _>(0)?))
        };
        let (connection, standby) = self.within(CONNECT_SECONDS_MAX, doing, connecting).await?;
        if standby {
            hang_up(connection).await;
            return Err(self.away(doing, "it is a standby, which takes no writes until it is promoted".to_owned()));
        }
        Ok(connection)
    }

    /// Waits for an answer, but not for ever.
    pub(super) async fn within<T>(
        &self,
        seconds: u64,
        doing: &'static str,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, EngineError> {
        match tokio::time::timeout(Duration::from_secs(seconds), answer).await {
            Ok(answer) => answer.map_err(|source| self.failed(doing, source)),
            Err(_) => Err(self.away(doing, format!("no answer within {seconds} s"))),
        }
    }

    pub(super) fn failed(&self, doing: &'static str, source: sqlx::Error) -> EngineError {
        if is_away(&source) {
            return self.away(doing, source.to_string());
        }
        EngineError::Database { doing: format!("{doing} ({})", self.place).into(), source }
    }

    fn away(&self, doing: &'static str, reason: String) -> EngineError {
        EngineError::Away { place: self.place.clone(), doing, reason }
    }

    /// Connections that are made when they are asked for.
    pub(super) fn readers(&self) -> PgPool {
        self.pool(READERS_MAX)
    }

    pub(super) fn pool(&self, connections_max: u32) -> PgPool {
        let options = PgPoolOptions::new().max_connections(connections_max).min_connections(0);
        options.acquire_timeout(Duration::from_secs(CONNECT_SECONDS_MAX)).connect_lazy_with(self.options.clone())
    }
}

/// Says goodbye to the server, which need not be there any more.
pub(super) async fn hang_up(connection: PgConnection) {
    match tokio::time::timeout(Duration::from_secs(CONNECT_SECONDS_MAX), connection.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the record's database did not close cleanly"),
        Err(_) => tracing::debug!("the record's database did not answer a goodbye"),
    }
}

/// Whether an error says that the server is not there, rather than that it refused something.
pub(super) fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| means_away(&code)),
        _ => false,
    }
}

/// By the standard's codes: connection exceptions (08), shutting down, crashed, starting up (57P), too many connections (53300), a
/// session that idled in its turn (25P03), a standby (25006).
fn means_away(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P") || matches!(code, "53300" | "25P03" | "25006")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_no_password() {
        let cases = [
            ("postgres://anna:secret@db.example:5433/fleet", "PostgreSQL database fleet at db.example:5433"),
            ("postgres://anna:secret@localhost/fleet?host=/run/pg", "PostgreSQL database fleet at /run/pg"),
            ("postgres://anna:secret@db.example", "PostgreSQL database anna at db.example:5432"),
        ];
        for (url, place) in cases {
            let server = Server::parse(url, None, "testing").unwrap();
            assert_eq!(server.place(), place);
            let error = server.failed("testing", sqlx::Error::PoolTimedOut);
            assert!(error.is_away() && !error.to_string().contains("secret"), "{error}");
        }
        for url in ["postgres://anna:secret@host:port/fleet", "no url", "postgres://h/d?sslmode=secret"] {
            let error = Server::parse(url, None, "testing").unwrap_err().to_string();
            assert!(!error.contains("anna"), "{error}");
        }
    }
}
