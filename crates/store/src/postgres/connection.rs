//! The servers: how they are reached, which of them is followed, what every session is set to, and how long anything may take.

use std::future::Future;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Row};

use super::hosts::each_server;
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

/// The port of servers that were given no other; the file of a socket is named after it.
const USUAL_PORT: u16 = 5432;

/// What a server says of itself; a role needs no privilege for it.
const STANDING: &str = "SELECT pg_is_in_recovery(), current_setting('synchronous_commit'), current_setting('fsync'), \
     (SELECT system_identifier FROM pg_control_system()), \
     CASE WHEN pg_is_in_recovery() THEN '0' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END";

/// One server of those that a URL names.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) options: PgConnectOptions,
    /// Its name, or the folder of its socket.
    pub(super) name: String,
}

/// The servers that may hold the record, and its database. One of them is followed: the primary.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) hosts: Vec<Host>,
    /// Where it is, for people to read: no password is in it.
    place: String,
    followed: Mutex<Followed>,
    /// Held by whoever looks for the primary, so that everybody else waits for what is found.
    choosing: tokio::sync::Mutex<()>,
}

/// Which server is followed, and what is known of its line.
#[derive(Debug, Default)]
struct Followed {
    /// The newest history that was ever followed.
    line: Option<Line>,
    current: Option<Chosen>,
    /// Goes up with each choice: a session of an older one is not used again.
    generation: u64,
}

#[derive(Clone, Debug)]
struct Chosen {
    host: usize,
    readers: PgPool,
}

/// The history that a server writes: the cluster it belongs to, and its timeline, which goes up with each promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    system: i64,
    timeline: u32,
}

/// What a server is.
#[derive(Clone, Copy, Debug)]
enum Standing {
    Standby,
    Primary(Line),
}

/// A session with the server that was followed when it was made.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: PgConnection,
    pub(super) generation: u64,
}

impl Server {
    pub(super) fn parse(url: &str, password: Option<&str>, session_name: &str) -> Result<Self, OpenError> {
        let urls = each_server(url).map_err(|reason| OpenError::Url { reason })?;
        let hosts: Vec<Host> = urls.iter().map(|url| host(url, password, session_name)).collect::<Result<_, _>>()?;
        let database = hosts.first().map(|Host { options, .. }| options.get_database().unwrap_or_else(|| options.get_username()));
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        let place = format!("PostgreSQL database {} at {}", database.unwrap_or_default(), names.join(" and "));
        Ok(Self { hosts, place, followed: Mutex::default(), choosing: tokio::sync::Mutex::default() })
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        // Every change of it is a single step.
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever another server is followed.
    pub(super) fn generation(&self) -> u64 {
        self.followed().generation
    }

    /// The server that is followed, by its place among the hosts.
    pub(super) fn current(&self) -> Option<usize> {
        self.followed().current.as_ref().map(|chosen| chosen.host)
    }

    /// The timeline of the record.
    pub(super) fn timeline(&self) -> Option<u32> {
        self.followed().line.map(|line| line.timeline)
    }

    /// A new session with the primary, which acknowledges nothing that is not on disk.
    pub(super) async fn connect(&self, doing: &'static str) -> Result<Session, EngineError> {
        let _alone = self.choosing.lock().await;
        if let Some(number) = self.current().or((self.hosts.len() == 1).then_some(0)) {
            match self.dial(number, doing).await {
                Ok((connection, standing)) => match self.judge(number, standing) {
                    Ok(line) => return Ok(Session { connection, generation: self.follow(number, line) }),
                    Err(reason) if self.hosts.len() == 1 => {
                        hang_up(connection).await;
                        return Err(self.away(doing, reason));
                    }
                    Err(_) => hang_up(connection).await,
                },
                Err(error) if self.hosts.len() == 1 => return Err(error),
                Err(error) => tracing::debug!(%error, "another server is looked for"),
            }
        }
        self.choose(doing).await
    }

    /// Asks every server, and follows the one that takes writes on the newest timeline.
    async fn choose(&self, doing: &'static str) -> Result<Session, EngineError> {
        let dialled = futures::future::join_all((0..self.hosts.len()).map(|number| self.dial(number, doing))).await;
        let (mut found, mut reasons, mut refused) = (Vec::new(), Vec::new(), None);
        for (number, dialled) in dialled.into_iter().enumerate() {
            match dialled.map(|(connection, standing)| (connection, self.judge(number, standing))) {
                Ok((connection, Ok(line))) => found.push((number, connection, line)),
                Ok((connection, Err(reason))) => {
                    hang_up(connection).await;
                    reasons.push(format!("{}: {reason}", self.name(number)));
                }
                Err(EngineError::Away { reason, .. }) => reasons.push(format!("{}: {reason}", self.name(number))),
                Err(error) => {
                    reasons.push(format!("{}: {error}", self.name(number)));
                    refused.get_or_insert(error);
                }
            }
        }
        found.sort_by_key(|(.., line)| line.timeline);
        let Some((number, connection, line)) = found.pop() else {
            // Where every server refuses, waiting does not help.
            return match refused {
                Some(error) if reasons.len() == 1 => Err(error),
                _ => Err(self.away(doing, reasons.join("; "))),
            };
        };
        let rival = found.pop().filter(|(.., other)| other.timeline == line.timeline || other.system != line.system);
        if let Some((other, ..)) = rival {
            let both = format!("{} and {}", self.name(number), self.name(other));
            return Err(self.away(doing, format!("{both} both take writes, and neither is newer: stop the wrong one")));
        }
        Ok(Session { connection, generation: self.follow(number, line) })
    }

    /// Looks whether another server takes writes on a newer timeline than the one that is followed: a standby that was promoted while
    /// the old primary goes on. Says whether it is followed from now on.
    pub(super) async fn look_around(&self) -> bool {
        let others = (0..self.hosts.len()).filter(|number| Some(*number) != self.current());
        let dialled = futures::future::join_all(others.map(async |number| (number, self.dial(number, "looking around").await)));
        for (number, dialled) in dialled.await {
            let Ok((connection, standing)) = dialled else { continue };
            hang_up(connection).await;
            let Standing::Primary(line) = standing else { continue };
            let newer = self.followed().line.is_some_and(|old| old.system == line.system && line.timeline > old.timeline);
            if newer {
                self.follow(number, line);
                return true;
            }
        }
        false
    }

    async fn dial(&self, number: usize, doing: &'static str) -> Result<(PgConnection, Standing), EngineError> {
        let Some(host) = self.hosts.get(number) else {
            return Err(self.away(doing, "no server is named".to_owned()));
        };
        let dialling = async {
            let mut connection = PgConnection::connect_with(&host.options).await?;
            let standing = standing(&mut connection, &host.name).await?;
            Ok((connection, standing))
        };
        self.within(CONNECT_SECONDS_MAX, doing, dialling).await
    }

    fn name(&self, number: usize) -> &str {
        self.hosts.get(number).map_or("", |host| &host.name)
    }

    /// Whether a server may be followed; why not, in words.
    fn judge(&self, number: usize, standing: Standing) -> Result<Line, String> {
        let Standing::Primary(line) = standing else {
            return Err("it is a standby, which takes no writes until it is promoted".to_owned());
        };
        let Some(old) = self.followed().line else { return Ok(line) };
        if old.system != line.system && self.hosts.len() > 1 {
            return Err("it is of another database cluster than the record".to_owned());
        }
        if old.system == line.system && line.timeline < old.timeline {
            let (found, newest) = (line.timeline, old.timeline);
            return Err(format!(
                "{} is an old primary: it is on timeline {found}, and the record is on timeline {newest}; rebuild it as a standby with \
                 `stead standby setup --replace`",
                self.name(number)
            ));
        }
        Ok(line)
    }

    /// Follows a server from now on; sessions and readers of another one are not used any more.
    fn follow(&self, number: usize, line: Line) -> u64 {
        let readers = self.pool_of(number, Some(line), READERS_MAX);
        let mut followed = self.followed();
        let same = followed.current.as_ref().is_some_and(|chosen| chosen.host == number) && followed.line == Some(line);
        if !same {
            let again = followed.line.is_none();
            followed.line = Some(line);
            followed.current = Some(Chosen { host: number, readers });
            followed.generation = followed.generation.saturating_add(1);
            if !again {
                tracing::info!(server = self.name(number), timeline = line.timeline, "this server is followed");
            }
        }
        followed.generation
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

    /// Connections to the primary that are made when they are asked for.
    pub(super) async fn readers(&self, doing: &'static str) -> Result<PgPool, EngineError> {
        let readers = || self.followed().current.as_ref().map(|chosen| chosen.readers.clone());
        if let Some(readers) = readers() {
            return Ok(readers);
        }
        hang_up(self.connect(doing).await?.connection).await;
        readers().ok_or_else(|| self.away(doing, "it has just gone".to_owned()))
    }

    /// What a query of the readers failed with: where their server is not there, another one is looked for the next time.
    pub(super) async fn read<T>(
        &self,
        doing: &'static str,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, EngineError> {
        let generation = self.generation();
        let answer = self.within(ANSWER_SECONDS_MAX, doing, answer).await;
        if answer.as_ref().is_err_and(EngineError::is_away) {
            self.give_up(generation);
        }
        answer
    }

    /// The server that was followed is not there: the next who needs one looks for it among all.
    pub(super) fn give_up(&self, generation: u64) {
        let mut followed = self.followed();
        if self.hosts.len() > 1 && followed.generation == generation {
            followed.current = None;
            followed.generation = generation.saturating_add(1);
        }
    }

    /// Connections of their own to the server that is followed, and its generation.
    pub(super) async fn pool(&self, doing: &'static str, connections_max: u32) -> Result<(PgPool, u64), EngineError> {
        self.readers(doing).await?;
        let (host, line, generation) = {
            let followed = self.followed();
            (followed.current.as_ref().map(|chosen| chosen.host), followed.line, followed.generation)
        };
        let host = host.ok_or_else(|| self.away(doing, "it has just gone".to_owned()))?;
        Ok((self.pool_of(host, line, connections_max), generation))
    }

    /// Lets go of the readers.
    pub(super) async fn close(&self) {
        let readers = self.followed().current.as_ref().map(|chosen| chosen.readers.clone());
        if let Some(readers) = readers {
            readers.close().await;
        }
    }

    /// Each connection is looked at before it is used: a server may have become another one.
    fn pool_of(&self, number: usize, line: Option<Line>, connections_max: u32) -> PgPool {
        let options = self.hosts.get(number).map_or_else(PgConnectOptions::new, |host| host.options.clone());
        let name = self.name(number).to_owned();
        let pool =
            PgPoolOptions::new().max_connections(connections_max).min_connections(0).after_connect(move |connection, _| {
                let name = name.clone();
                Box::pin(async move {
                    match standing(connection, &name).await? {
                        Standing::Primary(found) if line.is_none_or(|line| line == found) => Ok(()),
                        _ => Err(sqlx::Error::Io(std::io::Error::other(format!("{name} is not the primary that it was")))),
                    }
                })
            });
        pool.acquire_timeout(Duration::from_secs(CONNECT_SECONDS_MAX)).connect_lazy_with(options)
    }
}

fn host(url: &str, password: Option<&str>, session_name: &str) -> Result<Host, OpenError> {
    let options = PgConnectOptions::from_str(url).map_err(|error| OpenError::Url { reason: error.to_string() })?;
    let name = match options.get_socket() {
        Some(socket) if options.get_port() == USUAL_PORT => socket.display().to_string(),
        Some(socket) => format!("{}:{}", socket.display(), options.get_port()),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
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
    Ok(Host { options, name })
}

/// What a server is; its session acknowledges nothing from now on that is not on disk.
async fn standing(connection: &mut PgConnection, name: &str) -> Result<Standing, sqlx::Error> {
    let row = sqlx::query(STANDING).fetch_one(&mut *connection).await?;
    if row.try_get::<&str, _>(1)? == "off" {
        sqlx::query("SET synchronous_commit = on").execute(&mut *connection).await?;
    }
    if row.try_get::<&str, _>(2)? == "off" {
        tracing::warn!(server = name, "the server has fsync off: what it acknowledges does not survive the loss of power");
    }
    if row.try_get::<bool, _>(0)? {
        return Ok(Standing::Standby);
    }
    // The first eight digits of a segment's name are the timeline it is written on.
    let timeline = u32::from_str_radix(row.try_get(4)?, 16).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Standing::Primary(Line { system: row.try_get(3)?, timeline }))
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
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
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
            ("postgres://anna:secret@a,b:5433/fleet", "PostgreSQL database fleet at a:5432 and b:5433"),
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
