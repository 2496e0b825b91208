//! The machine's memory on disk: what it verified, its outbox, and where it stands, in one SQLite file.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Executor as _, Row as _};
use stead_trust::{EntryRow, MachineMemory, MemoryError, MemoryRow, RootRow, StatementRow};
use stead_wire::Outbox;

use crate::metrics::AgentMetrics;
use crate::outbox::{HeldBack, Pushed};

/// The version of the tables. An older file is brought up to date, a newer one refused.
const SCHEMA_VERSION: i64 = 2;
/// Pages of the write-ahead log before it is brought into the file: a quarter of a megabyte, since state directories can be small.
const WAL_PAGES_MAX: u32 = 64;

const SCHEMA: &str = "
    CREATE TABLE memory (id INTEGER PRIMARY KEY CHECK (id = 1), row TEXT NOT NULL) STRICT;
    CREATE TABLE roots (version INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
    CREATE TABLE statements (digest TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT;
    CREATE TABLE entries (key TEXT PRIMARY KEY, statement TEXT NOT NULL, row TEXT NOT NULL) STRICT;
    CREATE TABLE outbox (sequence INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL, kind TEXT NOT NULL DEFAULT 'event') STRICT;
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
";

/// From the first version of the tables to the second: items of the outbox are of several kinds.
const FROM_FIRST: &str = "ALTER TABLE outbox ADD COLUMN kind TEXT NOT NULL DEFAULT 'event';";

/// Why the memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoryStoreError {
    /// The database failed.
    #[error("the machine's memory {} failed while {doing}: {source}", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// Another agent has it.
    #[error("another agent is using {}: one machine has one agent", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A later version wrote it.
    #[error("the machine's memory {} was written by a later version (schema {found}, this one knows {SCHEMA_VERSION}); run that version", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// A row is not what this machine wrote.
    #[error("the machine's memory {}: {source}", .path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<MemoryError>,
    },
    /// A disk that is a model did not take it.
    #[error("the machine's memory failed while {doing}: {reason}")]
    Modelled {
        /// What was being done.
        doing: &'static str,
        /// What its disk did.
        reason: &'static str,
    },
    /// A row cannot be read or written as text.
    #[error("a row of the machine's memory is not well-formed: {0}")]
    Row(#[from] serde_json::Error),
}

/// Where the machine stands with the record of its coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Standing {
    /// The incarnation of the record.
    pub incarnation: u64,
    /// The last revision taken completely.
    pub revision: u64,
}

/// Where a machine keeps what it verified, its outbox, and where it stands. What it has acknowledged survives the loss of power.
/// [`MemoryStore`] is the one of real machines; a simulation brings its own, with a disk that is a model.
pub trait Keeper: Outbox + Clone {
    /// What the machine remembers; nothing before it has joined. Every row is checked again.
    fn load(&self) -> impl Future<Output = Result<Option<MachineMemory>, MemoryStoreError>> + Send;

    /// Writes what came of one message, all of it or nothing, durably.
    fn write(&self, news: &News) -> impl Future<Output = Result<(), MemoryStoreError>> + Send;

    /// A named value of the machine's own, as JSON.
    fn setting_text(&self, name: &str) -> impl Future<Output = Result<Option<String>, MemoryStoreError>> + Send;

    /// Keeps a named value, as JSON.
    fn set_setting_text(&self, name: &str, value: String) -> impl Future<Output = Result<(), MemoryStoreError>> + Send;

    /// Puts an event into the outbox, durably; `reason` is what it counts as where there is no room.
    fn push_event(
        &self,
        body: &[u8],
        reason: &str,
        time: Timestamp,
    ) -> impl Future<Output = Result<Pushed, MemoryStoreError>> + Send;

    /// Puts a sample of vitals into the outbox, durably, where there is room; one that keeps none has room for none.
    fn push_vitals(&self, body: &[u8]) -> impl Future<Output = Result<Pushed, MemoryStoreError>> + Send {
        let _not_kept = body;
        std::future::ready(Ok(Pushed::Full))
    }

    /// The events that found no room, until they have been told of.
    fn held_back(&self) -> impl Future<Output = Result<Option<HeldBack>, MemoryStoreError>> + Send {
        std::future::ready(Ok(None))
    }

    /// Puts in the one event that tells of those that found no room, where there is room now. Says whether it did.
    fn tell_held_back(&self, body: &[u8]) -> impl Future<Output = Result<bool, MemoryStoreError>> + Send {
        let _nothing_to_tell = body;
        std::future::ready(Ok(true))
    }

    /// Gives space back to the disk, as far as it can.
    fn make_room(&self) -> impl Future<Output = Result<(), MemoryStoreError>> + Send;

    /// Lets go of it.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A named value of the machine's own.
pub(crate) async fn setting<T: DeserializeOwned>(keeper: &impl Keeper, name: &str) -> Result<Option<T>, MemoryStoreError> {
    Ok(keeper.setting_text(name).await?.map(|text| serde_json::from_str(&text)).transpose()?)
}

/// Keeps a named value.
pub(crate) async fn set_setting<T: Serialize>(keeper: &impl Keeper, name: &str, value: &T) -> Result<(), MemoryStoreError> {
    keeper.set_setting_text(name, serde_json::to_string(value)?).await
}

impl Keeper for MemoryStore {
    fn load(&self) -> impl Future<Output = Result<Option<MachineMemory>, MemoryStoreError>> + Send {
        Self::load(self)
    }

    fn write(&self, news: &News) -> impl Future<Output = Result<(), MemoryStoreError>> + Send {
        Self::write(self, news)
    }

    fn setting_text(&self, name: &str) -> impl Future<Output = Result<Option<String>, MemoryStoreError>> + Send {
        Self::setting_text(self, name)
    }

    fn set_setting_text(&self, name: &str, value: String) -> impl Future<Output = Result<(), MemoryStoreError>> + Send {
        Self::set_setting_text(self, name, value)
    }

    fn push_event(
        &self,
        body: &[u8],
        reason: &str,
        time: Timestamp,
    ) -> impl Future<Output = Result<Pushed, MemoryStoreError>> + Send {
        Self::push_event(self, body, reason, time)
    }

    fn push_vitals(&self, body: &[u8]) -> impl Future<Output = Result<Pushed, MemoryStoreError>> + Send {
        Self::push_vitals(self, body)
    }

    fn held_back(&self) -> impl Future<Output = Result<Option<HeldBack>, MemoryStoreError>> + Send {
        Self::held_back(self)
    }

    fn tell_held_back(&self, body: &[u8]) -> impl Future<Output = Result<bool, MemoryStoreError>> + Send {
        Self::tell_held_back(self, body)
    }

    fn make_room(&self) -> impl Future<Output = Result<(), MemoryStoreError>> + Send {
        Self::make_room(self)
    }

    fn close(&self) -> impl Future<Output = ()> + Send {
        Self::close(self)
    }
}

/// The memory on disk. What it has acknowledged survives the loss of power.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    pool: SqlitePool,
    path: PathBuf,
    metrics: Arc<AgentMetrics>,
}

impl MemoryStore {
    /// Opens or makes the file. It is locked as long as it is open.
    ///
    /// # Errors
    ///
    /// [`MemoryStoreError`] where it cannot be used.
    pub async fn open(path: &Path) -> Result<Self, MemoryStoreError> {
        make_private(path).map_err(|error| MemoryStoreError::Database {
            path: path.to_owned(),
            doing: "making it",
            source: sqlx::Error::Io(error),
        })?;
        let url = format!("sqlite://{}", path.display());
        let failed = |doing| move |source| MemoryStoreError::Database { path: path.to_owned(), doing, source };
        let options = SqliteConnectOptions::from_str(&url)
            .map_err(failed("opening it"))?
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .locking_mode(sqlx::sqlite::SqliteLockingMode::Exclusive)
            .pragma("cache_size", "-256")
            .pragma("wal_autocheckpoint", WAL_PAGES_MAX.to_string());
        // One connection: the lock is its own, and an agent has little to write.
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let pool = pool.connect_with(options).await.map_err(|source| locked(path, source))?;
        let store = Self { pool, path: path.to_owned(), metrics: Arc::default() };
        store.migrate().await?;
        Ok(store)
    }

    /// The same, counting there what it does from now on.
    ///
    /// # Errors
    ///
    /// [`MemoryStoreError`] where the outbox cannot be counted.
    pub async fn counted(mut self, metrics: Arc<AgentMetrics>) -> Result<Self, MemoryStoreError> {
        self.metrics = metrics;
        self.count_outbox().await?;
        Ok(self)
    }

    async fn migrate(&self) -> Result<(), MemoryStoreError> {
        let version =
            sqlx::query("PRAGMA user_version").fetch_one(&self.pool).await.map_err(|source| locked(&self.path, source))?;
        match version.get::<i64, _>(0) {
            0 => {
                // A memory that is made anew must not count its events from where an earlier one of the same machine began.
                let start = jiff::Timestamp::now().as_millisecond();
                let outbox = format!("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', {start});");
                let script = format!("BEGIN IMMEDIATE; {SCHEMA} {outbox} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;");
                self.pool.execute(sqlx::AssertSqlSafe(script)).await.map_err(|source| locked(&self.path, source))?;
                Ok(())
            }
            1 => {
                let script = format!("BEGIN IMMEDIATE; {FROM_FIRST} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;");
                self.pool.execute(sqlx::AssertSqlSafe(script)).await.map_err(|source| locked(&self.path, source))?;
                Ok(())
            }
            SCHEMA_VERSION => Ok(()),
            found => Err(MemoryStoreError::Newer { path: self.path.clone(), found }),
        }
    }

    /// What the machine remembers; nothing before it has joined. Every row is checked again.
    ///
    /// # Errors
    ///
    /// [`MemoryStoreError::Altered`] for what this machine did not write.
    pub async fn load(&self) -> Result<Option<MachineMemory>, MemoryStoreError> {
        let Some(row) = self.rows::<MemoryRow>("SELECT row FROM memory").await?.pop() else { return Ok(None) };
        let roots: Vec<RootRow> = self.rows("SELECT row FROM roots ORDER BY version").await?;
        let statements: Vec<StatementRow> = self.rows("SELECT row FROM statements").await?;
        let entries: Vec<EntryRow> = self.rows("SELECT row FROM entries").await?;
        let memory = MachineMemory::load(row, &roots, statements, entries);
        memory.map(Some).map_err(|source| MemoryStoreError::Altered { path: self.path.clone(), source: Box::new(source) })
    }

    async fn rows<T: DeserializeOwned>(&self, query: &'static str) -> Result<Vec<T>, MemoryStoreError> {
        let rows = sqlx::query(query).fetch_all(&self.pool).await.map_err(self.failed("reading it"))?;
        Ok(rows.iter().map(|row| serde_json::from_str(row.get::<&str, _>(0))).collect::<Result<_, _>>()?)
    }

    /// Writes what came of one message, all of it or nothing, durably.
    ///
    /// # Errors
    ///
    /// [`MemoryStoreError`]; nothing was written then.
    pub async fn write(&self, news: &News) -> Result<(), MemoryStoreError> {
        let mut connection = self.pool.acquire().await.map_err(self.failed("writing it"))?;
        let written = self.write_on(&mut connection, news).await;
        self.metrics.written(written.is_ok());
        if written.is_err() {
            // Where a disk is full, SQLite itself rolls back, and the connection's count of open transactions is wrong from then on: what
            // later seems committed would be inside a transaction that never is. So this connection is of no use any more.
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "the connection to the machine's memory could not be closed in order");
            }
        }
        written
    }

    async fn write_on(&self, connection: &mut SqliteConnection, news: &News) -> Result<(), MemoryStoreError> {
        let failed = |source| MemoryStoreError::Database { path: self.path.clone(), doing: "writing it", source };
        let mut transaction = connection.begin().await.map_err(failed)?;
        for root in &news.roots {
            let query = sqlx::query("INSERT OR REPLACE INTO roots (version, row) VALUES (?, ?)");
            let version = i64::try_from(root.version).unwrap_or(i64::MAX);
            query.bind(version).bind(serde_json::to_string(root)?).execute(&mut *transaction).await.map_err(failed)?;
        }
        for statement in &news.statements {
            let query = sqlx::query("INSERT OR REPLACE INTO statements (digest, row) VALUES (?, ?)");
            let query = query.bind(statement.digest.to_string()).bind(serde_json::to_string(statement)?);
            query.execute(&mut *transaction).await.map_err(failed)?;
        }
        for entry in &news.entries {
            let query = sqlx::query("INSERT OR REPLACE INTO entries (key, statement, row) VALUES (?, ?, ?)");
            let query = query.bind(serde_json::to_string(&entry.key)?).bind(entry.statement.to_string());
            query.bind(serde_json::to_string(entry)?).execute(&mut *transaction).await.map_err(failed)?;
        }
        if !news.entries.is_empty() {
            let query = sqlx::query("DELETE FROM statements WHERE digest NOT IN (SELECT statement FROM entries)");
            query.execute(&mut *transaction).await.map_err(failed)?;
        }
        if let Some(row) = &news.row {
            let query = sqlx::query("INSERT OR REPLACE INTO memory (id, row) VALUES (1, ?)");
            query.bind(serde_json::to_string(row)?).execute(&mut *transaction).await.map_err(failed)?;
        }
        if let Some(standing) = news.standing {
            let query = sqlx::query("INSERT OR REPLACE INTO settings (name, value) VALUES ('standing', ?)");
            query.bind(serde_json::to_string(&standing)?).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// A named value of the machine's own, as JSON.
    ///
    /// # Errors
    ///
    /// [`MemoryStoreError`] where it cannot be read.
    pub async fn setting_text(&self, name: &str) -> Result<Option<String>, MemoryStoreError> {
        let query = sqlx::query("SELECT value FROM settings WHERE name = ?").bind(name);
        let row = query.fetch_optional(&self.pool).await.map_err(self.failed("reading it"))?;
        Ok(row.map(|row| row.get::<String, _>(0)))
    }

    /// Keeps a named value, as JSON.
    ///
    /// # Errors
    ///
    /// [`MemoryStoreError`] where it cannot be written.
    pub async fn set_setting_text(&self, name: &str, value: String) -> Result<(), MemoryStoreError> {
        let query = sqlx::query("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)").bind(name);
        query.bind(value).execute(&self.pool).await.map_err(self.failed("writing it"))?;
        Ok(())
    }

    /// Gives the space of the write-ahead log back to the disk.
    ///
    /// # Errors
    ///
    /// [`MemoryStoreError`] where there is not even room for that.
    pub async fn make_room(&self) -> Result<(), MemoryStoreError> {
        let failed = self.failed("giving back space");
        self.pool.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.map(|_| ()).map_err(failed)
    }

    /// Lets go of the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) const fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    pub(crate) fn metrics(&self) -> &AgentMetrics {
        &self.metrics
    }

    pub(crate) fn failed(&self, doing: &'static str) -> impl FnOnce(sqlx::Error) -> MemoryStoreError + '_ {
        move |source| MemoryStoreError::Database { path: self.path.clone(), doing, source }
    }
}

/// Makes the file readable by its user only; SQLite gives the files beside it the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    const MODE: u32 = 0o600;
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(MODE))
}

fn locked(path: &Path, source: sqlx::Error) -> MemoryStoreError {
    /// SQLITE_BUSY: somebody else holds the lock.
    const BUSY: &str = "5";
    let busy = source.as_database_error().and_then(|error| error.code().map(|code| code == BUSY)).unwrap_or(false);
    if busy {
        return MemoryStoreError::InUse { path: path.to_owned() };
    }
    MemoryStoreError::Database { path: path.to_owned(), doing: "opening it", source }
}

/// What is written together.
#[derive(Debug, Default)]
pub struct News {
    /// The row of what there is once.
    pub row: Option<MemoryRow>,
    /// New root versions.
    pub roots: Vec<RootRow>,
    /// New statements.
    pub statements: Vec<StatementRow>,
    /// New entries.
    pub entries: Vec<EntryRow>,
    /// Where the machine stands now.
    pub standing: Option<Standing>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_memory_of_the_first_version_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.db");
        let store = MemoryStore::open(&path).await.unwrap();
        let earlier = "ALTER TABLE outbox DROP COLUMN kind; INSERT INTO outbox (body) VALUES (x'61'); PRAGMA user_version = 1";
        store.pool.execute(earlier).await.unwrap();
        store.close().await;
        let store = MemoryStore::open(&path).await.unwrap();
        store.push_vitals(b"b").await.unwrap();
        let fill = store.count_outbox().await.unwrap();
        assert_eq!((fill.items, fill.vitals), (2, 1), "what waited is an event, and waits still");
    }

    #[tokio::test]
    async fn one_machine_has_one_agent_and_a_newer_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.db");
        let store = MemoryStore::open(&path).await.unwrap();
        set_setting(&store, "standing", &Standing { incarnation: 1, revision: 2 }).await.unwrap();
        assert!(matches!(MemoryStore::open(&path).await, Err(MemoryStoreError::InUse { .. })));
        store.pool.execute("PRAGMA user_version = 9").await.unwrap();
        store.close().await;
        assert!(matches!(MemoryStore::open(&path).await, Err(MemoryStoreError::Newer { found: 9, .. })));
    }
}
