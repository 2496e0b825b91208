//! The servers: how they are reached, which of them is followed, what every session is set to, and how long anything may take.

use std::future::Future;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Row};

use super::hosts::each_server;
use super::line::{Line, LineFile};
use crate::engine::EngineError;
use crate::open_error::OpenError;

/// How long a connection may take to be made, until the server counts as away.
pub(super) const CONNECT_SECONDS_MAX: u64 = 5;
/// How long the other servers have to say that they are the newer one, when one that may be followed has answered: a server that says
/// nothing at all must not hold everybody up for [`CONNECT_SECONDS_MAX`].
const OTHERS_MILLISECONDS: u64 = 1_000;
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

const LOOKING_AROUND: &str = "looking for a server that was promoted";

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
    /// Where the newest line is kept.
    kept: Option<LineFile>,
    /// Whether it is kept from now on: what turns out to be no record at all is not remembered.
    keeps: AtomicBool,
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
    /// The generation with which the line began to be followed.
    line_since: u64,
}

#[derive(Clone, Debug)]
struct Chosen {
    host: usize,
    readers: PgPool,
}

/// What a server is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Standing {
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
        let (followed, choosing) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { hosts, place, followed, kept: None, keeps: AtomicBool::new(false), choosing })
    }

    /// Refuses what is older than the line in a file.
    pub(super) fn remembering(mut self, path: &Path) -> Result<Self, OpenError> {
        let file = LineFile::new(path);
        self.followed().line = file.read()?;
        self.kept = Some(file);
        Ok(self)
    }

    /// Keeps the line that is followed, and each newer one from now on.
    pub(super) async fn keep_line(&self) -> Result<(), EngineError> {
        self.keeps.store(true, Ordering::SeqCst);
        let line = self.followed().line;
        match line {
            Some(line) => self.note(line).await,
            None => Ok(()),
        }
    }

    /// Keeps a line, where lines are kept, before anything is done on it.
    async fn note(&self, line: Line) -> Result<(), EngineError> {
        let Some(file) = self.kept.clone().filter(|_| self.keeps.load(Ordering::SeqCst)) else { return Ok(()) };
        let path = file.path().display().to_string();
        let written = tokio::task::spawn_blocking(move || file.write(line)).await.map_err(std::io::Error::other);
        written
            .and_then(|written| written)
            .map_err(|error| self.away("noting which server is followed", format!("{path} could not be written: {error}")))
    }

    /// The same role and database on one other server.
    pub(super) fn move_to(&mut self, elsewhere: impl FnOnce(PgConnectOptions) -> PgConnectOptions) {
        self.hosts.truncate(1);
        let Some(host) = self.hosts.first_mut() else { return };
        host.options = elsewhere(host.options.clone());
        host.name = host_name(&host.options);
        let database = host.options.get_database().unwrap_or_else(|| host.options.get_username());
        self.place = format!("PostgreSQL database {database} at {}", host.name);
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

    /// Whether a newer line is followed than the one of a session.
    pub(super) fn is_superseded(&self, generation: u64) -> bool {
        generation < self.followed().line_since
    }

    /// What a session is told whose server was followed when its turn began, and is an old primary now.
    pub(super) fn superseded(&self, doing: &'static str) -> EngineError {
        self.away(doing, "another server was promoted meanwhile".to_owned())
    }

    /// A new session with the primary, which acknowledges nothing that is not on disk. Every server is asked, and the one that takes
    /// writes on the newest timeline is followed.
    pub(super) async fn connect(&self, doing: &'static str) -> Result<Session, EngineError> {
        let _alone = self.choosing.lock().await;
        let (mut found, mut reasons, mut refused) = (Vec::new(), Vec::new(), None);
        for (number, dialled) in self.dial_all(doing).await {
            match dialled.map(|(connection, standing)| (connection, self.judge(number, standing))) {
                Ok((connection, Ok(line))) => found.push((number, connection, line)),
                Ok((connection, Err(reason))) => {
                    hang_up(connection).await;
                    reasons.push(self.reason(number, &reason));
                }
                Err(EngineError::Away { reason, .. }) => reasons.push(self.reason(number, &reason)),
                Err(error) => {
                    reasons.push(self.reason(number, &error.to_string()));
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
        let rival = found.pop();
        if let Some((other, .., line_of_other)) = &rival
            && (line_of_other.timeline == line.timeline || line_of_other.system != line.system)
        {
            let both = format!("{} and {}", self.name(number), self.name(*other));
            return Err(self.away(doing, format!("{both} both take writes, and neither is newer: stop the wrong one")));
        }
        Ok(Session { connection, generation: self.follow(number, line).await? })
    }

    /// Asks every server. Once there is one that may be followed, the others have a second more to say that they are newer.
    async fn dial_all(&self, doing: &'static str) -> Vec<(usize, Result<(PgConnection, Standing), EngineError>)> {
        let dial = async |number| (number, self.dial(number, doing).await);
        let mut dialling: FuturesUnordered<_> = (0..self.hosts.len()).map(dial).collect();
        let (mut dialled, mut hurry) = (Vec::new(), None);
        loop {
            let next = async {
                match hurry {
                    Some(until) => tokio::time::timeout_at(until, dialling.next()).await.unwrap_or_default(),
                    None => dialling.next().await,
                }
            };
            let Some((number, answer)) = next.await else { break };
            let fits = answer.as_ref().is_ok_and(|(_, standing)| self.judge(number, *standing).is_ok());
            if fits && hurry.is_none() {
                hurry = Some(tokio::time::Instant::now() + Duration::from_millis(OTHERS_MILLISECONDS));
            }
            dialled.push((number, answer));
        }
        dialled.sort_by_key(|(number, _)| *number);
        dialled
    }

    /// What a server said, where there are several.
    fn reason(&self, number: usize, reason: &str) -> String {
        if self.hosts.len() == 1 { reason.to_owned() } else { format!("{}: {reason}", self.name(number)) }
    }

    /// Looks at a server beside the one that is followed, on a session that is kept, and follows it where it takes writes on a newer
    /// timeline: a standby that was promoted while the old primary goes on. Says whether it is followed from now on.
    pub(super) async fn look_at(&self, number: usize, session: &mut Option<PgConnection>) -> Result<bool, EngineError> {
        if self.current() == Some(number) {
            if let Some(connection) = session.take() {
                hang_up(connection).await;
            }
            return Ok(false);
        }
        let (connection, standing) = match session.take() {
            None => self.dial(number, LOOKING_AROUND).await?,
            Some(mut connection) => {
                let asked = standing(&mut connection, self.name(number));
                let standing = self.within(CONNECT_SECONDS_MAX, LOOKING_AROUND, asked).await?;
                (connection, standing)
            }
        };
        *session = Some(connection);
        let Standing::Primary(line) = standing else { return Ok(false) };
        let newer = self.followed().line.is_some_and(|old| old.system == line.system && line.timeline > old.timeline);
        if newer {
            self.follow(number, line).await?;
        }
        Ok(newer)
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
            let (found, ours) = (line.system, old.system);
            let cluster = format!("it is of another database cluster ({found}) than the record ({ours})");
            return Err(self.unless_meant(cluster, "the record was moved there"));
        }
        if old.system == line.system && line.timeline < old.timeline {
            let (found, newest) = (line.timeline, old.timeline);
            let refused = format!(
                "{} is an old primary: it is on timeline {found}, and the record is on timeline {newest}; start the newer server, and \
                 rebuild this one as a standby with `stead standby setup --replace`",
                self.name(number)
            );
            return Err(self.unless_meant(refused, "the newer server is lost for good and what only it had is given up"));
        }
        Ok(line)
    }

    /// A refusal that rests on what is kept in a file says how that is forgotten.
    fn unless_meant(&self, refusal: String, meant: &str) -> String {
        match &self.kept {
            Some(file) => {
                let path = file.path().display();
                format!("{refusal}; if {meant}, stop the coordinator, remove {path}, and start it again")
            }
            None => refusal,
        }
    }

    /// Follows a server from now on; sessions and readers of another one are not used any more.
    async fn follow(&self, number: usize, line: Line) -> Result<u64, EngineError> {
        let known = self.followed().line;
        if known != Some(line) {
            self.note(line).await?;
        }
        let readers = self.pool_of(number, Some(line), READERS_MAX);
        let mut followed = self.followed();
        // Who looks around may have found a newer one while this one was noted.
        let overtaken = followed.line.is_some_and(|newest| newest.system == line.system && newest.timeline > line.timeline);
        if overtaken {
            drop(followed);
            return Err(self.superseded(LOOKING_AROUND));
        }
        let same = followed.current.as_ref().is_some_and(|chosen| chosen.host == number) && followed.line == Some(line);
        if !same {
            followed.generation = followed.generation.saturating_add(1);
            if followed.line != Some(line) {
                followed.line_since = followed.generation;
            }
            followed.line = Some(line);
            followed.current = Some(Chosen { host: number, readers });
            if known.is_some() {
                tracing::info!(server = self.name(number), timeline = line.timeline, "this server is followed");
            }
            if known.is_some_and(|known| known.system != line.system) {
                tracing::warn!(server = self.name(number), "the record is in another database cluster than before");
            }
        }
        Ok(followed.generation)
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
    let name = host_name(&options);
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

fn host_name(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) if options.get_port() == USUAL_PORT => socket.display().to_string(),
        Some(socket) => format!("{}:{}", socket.display(), options.get_port()),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
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
