//! The place of a record in a database, while no coordinator is at work there: for a record that is put back from a backup.

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, Row};
use stead_model::Revision;

use super::connection::{self, ANSWER_SECONDS_MAX, CONNECT_SECONDS_MAX, SESSION_NAME, Server};
use super::import::PgImport;
use super::{OFFLINE_SESSION_NAME, migration};
use crate::columns;
use crate::engine::{EngineError, Import};
use crate::open_error::OpenError;

const RESTORING: &str = "putting a record back";

/// Nobody is thrown out for waiting for the backup. The lock is that of coordinators which bring the schema up to date.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
     SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";

/// The name goes through a setting, and is quoted by the server.
const MOVE_ASIDE: &str = "DO $$ BEGIN EXECUTE format('ALTER SCHEMA stead RENAME TO %I', current_setting('stead.aside')); END $$";

/// A database in which a record is put, or from which it is taken again; no schema is made or brought up to date before that.
#[derive(Debug)]
pub struct PostgresPlace {
    server: Server,
}

/// What there is in the place of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No schema `stead`, or nothing in it.
    Nothing,
    /// A record in which nothing was ever written.
    Empty,
    /// A record.
    Record {
        /// Its newest revision.
        revision: Revision,
    },
}

/// Why no record was put into a database. The database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Coordinators are at work.
    #[error("{sessions} sessions of coordinators are connected to the {place}; stop the coordinators first")]
    InUse {
        /// The database.
        place: String,
        /// How many sessions there are.
        sessions: u64,
    },
    /// There is a record, and it was not to be moved aside.
    #[error("the {place} holds a record already (revision {revision})")]
    Occupied {
        /// The database.
        place: String,
        /// The record's newest revision.
        revision: Revision,
    },
    /// The record may not be moved.
    #[error("the schema stead of the {place} cannot be moved aside: {source}")]
    NotMoved {
        /// The database.
        place: String,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl PostgresPlace {
    /// Looks whether the server is there, and the database fit for a record.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open(url: &str, password: Option<&str>) -> Result<Self, OpenError> {
        let server = Server::parse(url, password, OFFLINE_SESSION_NAME)?;
        let mut connection = server.connect(RESTORING).await.map_err(|error| migration::refused(&server, error))?.connection;
        let checked = migration::check_encoding(&server, &mut connection).await;
        connection::hang_up(connection).await;
        checked.map(|()| Self { server })
    }

    /// What there is in it.
    ///
    /// # Errors
    ///
    /// [`PlaceError`], also where the schema `stead` is somebody else's.
    pub async fn standing(&self) -> Result<Standing, PlaceError> {
        let mut connection = self.server.connect(RESTORING).await?.connection;
        let standing = self.look(&mut connection).await;
        connection::hang_up(connection).await;
        Ok(standing?.0)
    }

    /// Begins to put a record into it, in one transaction with moving aside the one that is there: the schema `stead` gets the name
    /// `aside`. Without a name a record that is there is in the way.
    ///
    /// # Errors
    ///
    /// [`PlaceError`].
    pub async fn import(&self, aside: Option<&str>) -> Result<Box<dyn Import + '_>, PlaceError> {
        let mut connection = self.server.connect(RESTORING).await?.connection;
        self.execute(&mut connection, BEGIN).await?;
        let locking = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(migration::LOCK).execute(&mut connection);
        self.server.within(ANSWER_SECONDS_MAX, RESTORING, locking).await?;
        let (standing, mut version) = self.look(&mut connection).await?;
        if standing != Standing::Nothing {
            // Whoever connects from here on waits for the outcome.
            self.execute(&mut connection, "LOCK TABLE stead.meta IN ACCESS EXCLUSIVE MODE").await?;
        }
        self.ensure_alone(&mut connection).await?;
        if let Standing::Record { revision } = standing {
            let place = || self.server.place().to_owned();
            let aside = aside.ok_or_else(|| PlaceError::Occupied { place: place(), revision })?;
            self.move_aside(&mut connection, aside).await.map_err(|source| PlaceError::NotMoved { place: place(), source })?;
            version = 0;
        }
        migration::apply_from(&mut connection, version).await.map_err(|source| self.failed(source))?;
        Ok(Box::new(PgImport::within(&self.server, connection)))
    }

    /// Takes a record out of it again, with its schema, if it is the one with this incarnation; says whether it was.
    ///
    /// # Errors
    ///
    /// [`PlaceError`].
    pub async fn erase(&self, incarnation: &str) -> Result<bool, PlaceError> {
        let mut connection = self.server.connect(RESTORING).await?.connection;
        let erased = async {
            let mut transaction = connection.begin().await?;
            transaction.execute("LOCK TABLE stead.meta IN ACCESS EXCLUSIVE MODE").await?;
            let found: String = sqlx::query_scalar("SELECT incarnation FROM stead.meta").fetch_one(&mut *transaction).await?;
            if found == incarnation {
                transaction.execute("DROP SCHEMA stead CASCADE").await?;
                transaction.commit().await?;
            }
            Ok(found == incarnation)
        };
        let erased = self.server.within(ANSWER_SECONDS_MAX, RESTORING, erased).await;
        connection::hang_up(connection).await;
        Ok(erased?)
    }

    /// What there is, and the version of its schema.
    async fn look(&self, connection: &mut PgConnection) -> Result<(Standing, i64), PlaceError> {
        let version = migration::version(&self.server, connection).await?;
        if version == 0 {
            return Ok((Standing::Nothing, 0));
        }
        let sql = "SELECT last_revision, EXISTS (SELECT FROM stead.roots) FROM stead.meta";
        let row = self.server.within(ANSWER_SECONDS_MAX, RESTORING, sqlx::query(sql).fetch_one(connection)).await?;
        let revision = columns::revision(&row, 0, "meta")?;
        let founded: bool = row.try_get(1).map_err(|source| self.failed(source))?;
        if revision > Revision(0) || founded {
            return Ok((Standing::Record { revision }, version));
        }
        let supported = migration::supported();
        if version > supported {
            let record = self.server.place().to_owned();
            return Err(OpenError::Newer { record, found: version, supported }.into());
        }
        Ok((Standing::Empty, version))
    }

    async fn ensure_alone(&self, connection: &mut PgConnection) -> Result<(), PlaceError> {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1";
        let count = sqlx::query_scalar::<_, i64>(sql).bind(SESSION_NAME).fetch_one(connection);
        let sessions = self.server.within(CONNECT_SECONDS_MAX, RESTORING, count).await?;
        match u64::try_from(sessions) {
            Ok(sessions) if sessions > 0 => Err(PlaceError::InUse { place: self.server.place().to_owned(), sessions }),
            _ => Ok(()),
        }
    }

    async fn move_aside(&self, connection: &mut PgConnection, aside: &str) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT set_config('stead.aside', $1, true)").bind(aside).execute(&mut *connection).await?;
        connection.execute(MOVE_ASIDE).await?;
        Ok(())
    }

    async fn execute(&self, connection: &mut PgConnection, sql: &'static str) -> Result<(), EngineError> {
        let executing = connection.execute(sqlx::raw_sql(sql));
        self.server.within(ANSWER_SECONDS_MAX, RESTORING, executing).await.map(drop)
    }

    fn failed(&self, source: sqlx::Error) -> EngineError {
        self.server.failed(RESTORING, source)
    }
}
