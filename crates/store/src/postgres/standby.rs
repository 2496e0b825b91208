//! Standbys: what the primary knows of them, every server's own word, and the statements that set one up and promote it.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};

use super::connection::{ANSWER_SECONDS_MAX, CONNECT_SECONDS_MAX, Server, hang_up};
use crate::engine::EngineError;
use crate::open_error::OpenError;

/// What the sessions of a command are called that looks after standbys.
const SESSION_NAME: &str = "stead standby";

const LOOKING: &str = "looking at the standbys";
const PREPARING: &str = "preparing the primary for a standby";
const HOLDING: &str = "keeping writers off the old primary";
const MARKING: &str = "writing a mark into the primary's log";
const PROMOTING: &str = "promoting a standby";

/// What every server says of itself; `pg_stat_*` views show a plain role NULLs, which is told from nothing there by the counts.
const STATE: &str = "SELECT pg_is_in_recovery(), \
     CASE WHEN pg_is_in_recovery() THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver), \
                                                 (SELECT timeline_id FROM pg_control_checkpoint())) \
          ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END, \
     (CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
           ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn)::bigint, \
     (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn)::bigint, \
     EXTRACT(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8, \
     EXISTS (SELECT FROM pg_stat_wal_receiver), pg_has_role('pg_monitor', 'USAGE'), \
     current_setting('synchronous_standby_names'), current_setting('server_version_num')::int, \
     (SELECT system_identifier FROM pg_control_system())";

/// The writers' lock, for longer than a coordinator may have it.
const HOLD: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; SELECT last_revision FROM stead.meta FOR UPDATE";

const REPLICAS: &str = "SELECT coalesce(application_name, ''), coalesce(client_addr::text, 'socket'), coalesce(state, ''), \
            coalesce(sync_state, ''), (pg_current_wal_lsn() - replay_lsn)::bigint, EXTRACT(epoch FROM replay_lag)::float8 \
     FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup'";

const SLOTS: &str = "SELECT slot_name::text, coalesce(active, false), \
            CASE WHEN pg_is_in_recovery() THEN NULL ELSE (pg_current_wal_lsn() - restart_lsn)::bigint END \
     FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT temporary ORDER BY slot_name";

/// A standby as the primary sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replica {
    /// What it calls itself; empty where the role may not see it.
    pub name: String,
    /// From where it is connected; `socket` for one on the same machine, or where the role may not see it.
    pub address: String,
    /// `streaming`, `catchup`, ...; empty where the role may not see it.
    pub state: String,
    /// `sync`, `async`, `quorum` or `potential`; empty where the role may not see it.
    pub sync: String,
    /// Bytes that it has not replayed.
    pub lag_bytes: Option<u64>,
    /// Seconds that it is behind, where it is.
    pub lag_seconds: Option<f64>,
}

/// A place in the log that is kept for a standby.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicationSlot {
    /// Its name.
    pub name: String,
    /// Whether a standby streams from it.
    pub active: bool,
    /// Bytes of log that it keeps the primary from forgetting.
    pub held_bytes: Option<u64>,
}

/// How the record is copied to standbys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replication {
    /// Servers that the record's URL names.
    pub servers: u64,
    /// The timeline of the primary.
    pub timeline: u32,
    /// Whether the role may see the standbys' state: a member of `pg_monitor` may.
    pub sees_all: bool,
    /// The standbys that are connected.
    pub replicas: Vec<Replica>,
    /// The places that are kept for standbys.
    pub slots: Vec<ReplicationSlot>,
}

impl Replication {
    /// Bytes by which the last of the connected standbys is behind. For a role that may not see it, what its slot keeps.
    pub fn lag_bytes(&self) -> Option<u64> {
        let seen = self.replicas.iter().filter_map(|replica| replica.lag_bytes).max();
        seen.or_else(|| self.slots.iter().filter(|slot| slot.active).filter_map(|slot| slot.held_bytes).max())
    }
}

/// One server's own word.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerState {
    /// Whether it is a standby.
    pub standby: bool,
    /// Its timeline.
    pub timeline: u32,
    /// The cluster it belongs to.
    pub system: i64,
    /// The log position that it has written, or received.
    pub position: u64,
    /// The log position that it has replayed.
    pub replayed: u64,
    /// On a standby, seconds since the newest transaction that it has replayed.
    pub replayed_seconds_ago: Option<f64>,
    /// On a standby, whether it receives.
    pub receives: bool,
    /// Whether the role may see everything (`pg_monitor`).
    pub sees_all: bool,
    /// The setting `synchronous_standby_names`.
    pub synchronous_names: String,
    /// The server's version, such as 15.
    pub major: u32,
    /// The standbys that are connected to it.
    pub replicas: Vec<Replica>,
    /// The places that it keeps for standbys.
    pub slots: Vec<ReplicationSlot>,
}

/// One of the servers that a URL names, and what it said.
#[derive(Clone, Debug)]
pub struct ServerReport {
    /// Its name, or the folder of its socket.
    pub host: String,
    /// What it said, or why it said nothing.
    pub state: Result<ServerState, String>,
}

/// A record to which nobody writes meanwhile. The server lets the others go on when the connection ends.
#[derive(Debug)]
pub struct HeldRecord {
    _connection: PgConnection,
}

/// The servers that a URL names, for who looks after them.
#[derive(Debug)]
pub struct PostgresServers {
    server: Server,
}

impl PostgresServers {
    /// The servers of a URL, as [`super::PostgresEngine::open_with_password`] takes it. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`OpenError::Url`].
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, OpenError> {
        Ok(Self { server: Server::parse(url, password, SESSION_NAME)? })
    }

    /// Asks each server, in the order of the URL.
    pub async fn survey(&self) -> Vec<ServerReport> {
        futures::future::join_all((0..self.server.hosts.len()).map(|number| self.report(number))).await
    }

    /// What one of them says.
    pub async fn report(&self, number: usize) -> ServerReport {
        let host = self.server.hosts.get(number).map_or_else(String::new, |host| host.name.clone());
        let asked = self.on(number, LOOKING, async |connection| state(connection).await).await;
        ServerReport { host, state: asked.map_err(|error| reason(&error)) }
    }

    /// Promotes a standby, and waits until it takes writes.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; the role needs the right to execute `pg_promote`, or to be a superuser.
    pub async fn promote(&self, number: usize, seconds_max: u32) -> Result<bool, EngineError> {
        let seconds = i32::try_from(seconds_max).unwrap_or(i32::MAX);
        self.on(number, PROMOTING, async |connection| {
            sqlx::query("SET statement_timeout = 0").execute(&mut *connection).await?;
            sqlx::query_scalar("SELECT pg_promote(true, $1)").bind(seconds).fetch_one(connection).await
        })
        .await
    }

    /// Writes something into a primary's log that changes nothing, and says up to where a standby has to receive the log to have it.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn mark(&self, number: usize) -> Result<u64, EngineError> {
        let mark = self.on(number, MARKING, async |connection| {
            // A transaction that has a number is in the log by its end.
            sqlx::query("SELECT txid_current()").execute(&mut *connection).await?;
            let end = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint";
            sqlx::query_scalar::<_, i64>(end).fetch_one(connection).await
        });
        Ok(u64::try_from(mark.await?).unwrap_or_default())
    }

    /// Keeps everybody from writing to the record on a server, until what is given back is let go of.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; also where there is no record, or the role may not write to it.
    pub async fn hold(&self, number: usize) -> Result<HeldRecord, EngineError> {
        let Some(host) = self.server.hosts.get(number) else {
            return self.server.within(CONNECT_SECONDS_MAX, HOLDING, async { Err(sqlx::Error::PoolClosed) }).await;
        };
        let connecting = PgConnection::connect_with(&host.options);
        let mut connection = self.server.within(CONNECT_SECONDS_MAX, HOLDING, connecting).await?;
        let taking = sqlx::raw_sql(HOLD).execute(&mut connection);
        self.server.within(ANSWER_SECONDS_MAX, HOLDING, taking).await?;
        Ok(HeldRecord { _connection: connection })
    }

    /// Runs statements one by one on the first server, each by itself. They are built by the caller, who quotes what goes into them.
    ///
    /// # Errors
    ///
    /// [`EngineError`] of the first that fails.
    pub async fn run(&self, statements: &[String]) -> Result<(), EngineError> {
        for statement in statements {
            let statement = statement.clone();
            self.on(0, PREPARING, async move |connection| {
                sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(connection).await.map(|_| ())
            })
            .await?;
        }
        Ok(())
    }

    /// One text out of the first server.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn text(&self, sql: &'static str) -> Result<Option<String>, EngineError> {
        self.on(0, PREPARING, async |connection| sqlx::query_scalar(sql).fetch_optional(connection).await).await
    }

    async fn on<T>(
        &self,
        number: usize,
        doing: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, EngineError> {
        let Some(host) = self.server.hosts.get(number) else {
            return self.server.within(CONNECT_SECONDS_MAX, doing, async { Err(sqlx::Error::PoolClosed) }).await;
        };
        let mut connection = self.server.within(CONNECT_SECONDS_MAX, doing, PgConnection::connect_with(&host.options)).await?;
        let patience = ANSWER_SECONDS_MAX.saturating_mul(2);
        let done = self.server.within(patience, doing, work(&mut connection)).await;
        hang_up(connection).await;
        done
    }
}

fn reason(error: &EngineError) -> String {
    match error {
        EngineError::Away { reason, .. } => reason.clone(),
        EngineError::Database { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

async fn state(connection: &mut PgConnection) -> Result<ServerState, sqlx::Error> {
    let row = sqlx::query(STATE).fetch_one(&mut *connection).await?;
    let standby: bool = row.try_get(0)?;
    let (replicas, slots) = if standby { (Vec::new(), Vec::new()) } else { replication(connection).await? };
    Ok(ServerState {
        standby,
        timeline: u32::try_from(row.try_get::<i32, _>(1)?).unwrap_or_default(),
        position: position(&row, 2)?,
        replayed: position(&row, 3)?,
        replayed_seconds_ago: row.try_get(4)?,
        receives: row.try_get(5)?,
        sees_all: row.try_get(6)?,
        synchronous_names: row.try_get(7)?,
        major: u32::try_from(row.try_get::<i32, _>(8)?).unwrap_or_default() / 10_000,
        system: row.try_get(9)?,
        replicas,
        slots,
    })
}

/// A log position, which a standby that has received nothing yet has none of.
fn position(row: &PgRow, column: usize) -> Result<u64, sqlx::Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.and_then(|position| u64::try_from(position).ok()).unwrap_or_default())
}

fn bytes(row: &PgRow, column: usize) -> Result<Option<u64>, sqlx::Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(|bytes| u64::try_from(bytes).unwrap_or_default()))
}

pub(super) async fn replication(connection: &mut PgConnection) -> Result<(Vec<Replica>, Vec<ReplicationSlot>), sqlx::Error> {
    let replica = |row: &PgRow| {
        Ok(Replica {
            name: row.try_get(0)?,
            address: row.try_get(1)?,
            state: row.try_get(2)?,
            sync: row.try_get(3)?,
            lag_bytes: bytes(row, 4)?,
            lag_seconds: row.try_get(5)?,
        })
    };
    let slot = |row: &PgRow| Ok(ReplicationSlot { name: row.try_get(0)?, active: row.try_get(1)?, held_bytes: bytes(row, 2)? });
    let replicas = sqlx::query(REPLICAS).fetch_all(&mut *connection).await?;
    let slots = sqlx::query(SLOTS).fetch_all(connection).await?;
    Ok((
        replicas.iter().map(replica).collect::<Result<_, sqlx::Error>>()?,
        slots.iter().map(slot).collect::<Result<_, sqlx::Error>>()?,
    ))
}
