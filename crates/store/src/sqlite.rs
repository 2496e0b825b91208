//! The record in one SQLite file, with its write-ahead log: the engine of a coordinator that stands alone.

mod anew;
mod file;
mod forward;
mod import;
mod lock;
mod migration;
mod read;
mod replace;
mod write;

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Mutex as StdMutex;
use std::sync::PoisonError;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use stead_model::{ObjectKey, Revision};
use tokio::sync::Mutex;

use crate::backup_note::{self, BackupNotes};
use crate::engine::{Engine, EngineError, Import, Moved, Reading, Turn};
use crate::open_error::OpenError;
use crate::rows::{Asked, Change, ChangeReference, Entry, Meta, Settled, Steps, StepsWanted};
pub use file::{SnapshotError, SqliteFile, seal, snapshot_engine, snapshot_file};
use import::SqliteImport;
use lock::FileLock;
use read::SqliteReading;
pub use replace::{ReplaceError, Replacement};
use write::SqliteTurn;

/// Readers of what is not in memory: Changes and their entries.
const READERS_MAX: u32 = 4;
/// How long a statement waits for another process (a backup, the `sqlite3` shell) to let go of the file.
const BUSY: Duration = Duration::from_secs(5);
/// Pages in the log before it is written back: 32 MiB, so that a busy writer does it about once a second.
const CHECKPOINT_PAGES: u32 = 8_192;
/// The version of the schema that this version of Stead reads and writes, in SQLite.
pub fn schema_version() -> i64 {
    migration::supported()
}

/// Only the coordinator's user may read the record.
const FILE_MODE: u32 = 0o600;

/// The record in a SQLite file. It holds the file's lock for as long as it lives.
#[derive(Debug)]
pub struct SqliteEngine {
    options: SqliteConnectOptions,
    readers: SqlitePool,
    writer: Mutex<Writer>,
    lock: StdMutex<Option<FileLock>>,
}

/// What a turn works with.
#[derive(Debug)]
struct Writer {
    /// The one connection that writes; made anew after a failure.
    connection: Option<SqliteConnection>,
    /// The record as the last batch left it.
    meta: Meta,
    /// A batch of which the database did not say whether it is on disk.
    in_doubt: bool,
}

impl SqliteEngine {
    /// Opens a record, or makes an empty one, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; the file is then as it was, up to whole migration steps.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, migration::STEPS).await
    }

    async fn open_with(path: &Path, steps: &[&'static str]) -> Result<Self, OpenError> {
        let lock = FileLock::take(path)?;
        let record = path.display().to_string();
        make_private(path).map_err(|source| OpenError::File { record: record.clone(), source })?;
        let database = |source| OpenError::Database { record: record.clone(), source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
            .disable_statement_logging();
        let mut connection = options.connect().await.map_err(database)?;
        migration::run(&mut connection, &record, steps).await?;
        let meta = read::meta(&mut connection)
            .await
            .map_err(|error| OpenError::Record { record: record.clone(), source: Box::new(error) })?;
        let readers = SqlitePoolOptions::new().max_connections(READERS_MAX).min_connections(0);
        let readers = readers.connect_lazy_with(options.clone().read_only(true));
        let writer = Mutex::new(Writer { connection: Some(connection), meta, in_doubt: false });
        Ok(Self { options, readers, writer, lock: StdMutex::new(Some(lock)) })
    }

    fn ensure_open(&self) -> Result<(), EngineError> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_some() { Ok(()) } else { Err(EngineError::Closed) }
    }

    async fn connect(&self, doing: &'static str) -> Result<SqliteConnection, EngineError> {
        self.options.connect().await.map_err(|source| EngineError::Database { doing: doing.into(), source })
    }
}

/// SQLite gives the log the mode of the file itself.
fn make_private(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(path)?;
    if file.metadata()?.permissions().mode() & 0o777 != FILE_MODE {
        fs::set_permissions(path, Permissions::from_mode(FILE_MODE))?;
    }
    Ok(())
}

impl Engine for SqliteEngine {
    fn backups(&self) -> BackupNotes {
        backup_note::read(self.options.get_filename())
    }

    fn reading(&self) -> BoxFuture<'_, Result<Box<dyn Reading + '_>, EngineError>> {
        async { Ok(Box::new(SqliteReading::begin(&self.readers).await?) as Box<dyn Reading>) }.boxed()
    }

    fn turn(&self) -> BoxFuture<'_, Result<Box<dyn Turn + '_>, EngineError>> {
        async { Ok(Box::new(SqliteTurn::take(self).await?) as Box<dyn Turn>) }.boxed()
    }

    /// The lock keeps others off.
    fn moved(&self) -> BoxFuture<'_, Moved> {
        std::future::pending().boxed()
    }

    fn meta(&self) -> BoxFuture<'_, Result<Meta, EngineError>> {
        async {
            let mut connection = self.readers.acquire().await.map_err(read::reading)?;
            read::meta(&mut connection).await
        }
        .boxed()
    }

    fn change(&self, reference: ChangeReference) -> BoxFuture<'_, Result<Option<Change>, EngineError>> {
        read::change(&self.readers, reference).boxed()
    }

    fn changes_before(&self, revision: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, EngineError>> {
        read::changes_before(&self.readers, revision, limit).boxed()
    }

    fn entries(&self, revision: Revision) -> BoxFuture<'_, Result<Vec<Entry>, EngineError>> {
        read::entries(&self.readers, revision).boxed()
    }

    fn entries_at(&self, wanted: Vec<(ObjectKey, u64)>) -> BoxFuture<'_, Result<Vec<(Change, Entry)>, EngineError>> {
        read::entries_at(&self.readers, wanted).boxed()
    }

    fn changes_named(&self, prefix: String, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, EngineError>> {
        read::changes_named(&self.readers, prefix, limit).boxed()
    }

    fn newest_entries(&self, keys: Vec<ObjectKey>) -> BoxFuture<'_, Result<Vec<(Change, Entry)>, EngineError>> {
        read::newest_entries(&self.readers, keys).boxed()
    }

    fn steps<'a>(&'a self, wanted: &'a StepsWanted) -> BoxFuture<'a, Result<Steps, EngineError>> {
        async {
            self.ensure_open()?;
            forward::steps(&self.readers, wanted).await
        }
        .boxed()
    }

    fn history_bytes_floor(&self, bytes_max: u64) -> BoxFuture<'_, Result<Revision, EngineError>> {
        read::history_bytes_floor(&self.readers, bytes_max).boxed()
    }

    fn compact(&self, through: Revision) -> BoxFuture<'_, Result<(), EngineError>> {
        self.compact_through(through).boxed()
    }

    /// A file takes no requests.
    fn asked(&self) -> BoxFuture<'_, Result<Vec<Asked>, EngineError>> {
        std::future::pending().boxed()
    }

    fn settle<'a>(&'a self, _settled: &'a Settled) -> BoxFuture<'a, Result<(), EngineError>> {
        std::future::ready(Ok(())).boxed()
    }

    /// The lock keeps them off.
    fn others(&self) -> BoxFuture<'_, Result<u64, EngineError>> {
        std::future::ready(Ok(0)).boxed()
    }

    fn import(&self) -> BoxFuture<'_, Result<Box<dyn Import + '_>, EngineError>> {
        async { Ok(Box::new(SqliteImport::begin(self).await?) as Box<dyn Import>) }.boxed()
    }

    fn begin_anew<'a>(&'a self, incarnation: &'a str, at: Timestamp) -> BoxFuture<'a, Result<Meta, EngineError>> {
        anew::begin(self, incarnation, at).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.readers.close().await;
            if let Some(connection) = self.writer.lock().await.connection.take()
                && let Err(error) = connection.close().await
            {
                tracing::warn!(%error, "the record's database did not close cleanly");
            }
            self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
