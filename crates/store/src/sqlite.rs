//! The record in one SQLite file, with its write-ahead log: the engine of a coordinator that stands alone.

mod lock;
mod migration;
mod read;
mod write;

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex as StdMutex;
use std::sync::PoisonError;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use stead_model::{ObjectKey, Revision};
use tokio::sync::Mutex;

use crate::engine::{Engine, EngineError};
use crate::rows::{Batch, Change, ChangeReference, Entry, HistoryRow, Meta, RootDocument, Sequence};
use crate::stored::Stored;
use lock::FileLock;

/// Readers of what is not in memory: Changes and their entries.
const READERS_MAX: u32 = 4;
/// How long a statement waits for another process (a backup, the `sqlite3` shell) to let go of the file.
const BUSY_SECONDS_MAX: u64 = 5;
/// Pages in the log before it is written back: 32 MiB, so that a busy writer does it about once a second.
const CHECKPOINT_PAGES: u32 = 8_192;
/// Only the coordinator's user may read the record.
const FILE_MODE: u32 = 0o600;

/// Why a record could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another coordinator has it.
    #[error("{path} is in use by another coordinator{}; stop it first, or give this one a record of its own", holder_text(.holder))]
    Locked {
        /// The record.
        path: PathBuf,
        /// Its process id, where it could be read.
        holder: Option<u32>,
    },
    /// A newer Stead made it.
    #[error("{path} has schema version {found}, and this version of Stead knows {supported} at most; run the newer version")]
    Newer {
        /// The record.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest one known.
        supported: i64,
    },
    /// It is something else.
    #[error("{path} is a database, but not a record of Stead's; give another path")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A step that brings it up to date failed; it is as it was before that step.
    #[error("{path} could not be brought from schema version {from} to the next: {source}")]
    Migration {
        /// The record.
        path: PathBuf,
        /// The version it has.
        from: i64,
        /// What failed.
        source: sqlx::Error,
    },
    /// The file system refused.
    #[error("{path} could not be opened: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("{path} could not be opened: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
}

fn holder_text(holder: &Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// The record in a SQLite file. It holds the file's lock for as long as it lives.
#[derive(Debug)]
pub struct SqliteEngine {
    options: SqliteConnectOptions,
    readers: SqlitePool,
    /// The one connection that writes; made anew after a failure.
    writer: Mutex<Option<SqliteConnection>>,
    lock: StdMutex<Option<FileLock>>,
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
        make_private(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        let database = |source| OpenError::Database { path: path.to_owned(), source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(BUSY_SECONDS_MAX))
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
            .disable_statement_logging();
        let mut writer = options.connect().await.map_err(database)?;
        migration::run(&mut writer, path, steps).await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS_MAX).min_connections(0);
        let readers = readers.connect_lazy_with(options.clone().read_only(true));
        Ok(Self { options, readers, writer: Mutex::new(Some(writer)), lock: StdMutex::new(Some(lock)) })
    }

    fn ensure_open(&self) -> Result<(), EngineError> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_some() { Ok(()) } else { Err(EngineError::Closed) }
    }

    /// Runs something on the writer's connection. After a failure the connection is given up, and with it whatever was begun.
    async fn write<F>(&self, doing: &'static str, run: F) -> Result<(), EngineError>
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<(), EngineError>>,
    {
        let mut writer = self.writer.lock().await;
        self.ensure_open()?;
        let mut connection = match writer.take() {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(|source| EngineError::Database { doing, source })?,
        };
        let result = run(&mut connection).await;
        match &result {
            Ok(()) => *writer = Some(connection),
            Err(_) => {
                if let Err(error) = connection.close().await {
                    tracing::debug!(%error, "the connection was given up after a failure, and did not close");
                }
            }
        }
        result
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
    fn meta(&self) -> BoxFuture<'_, Result<Meta, EngineError>> {
        read::meta(&self.readers).boxed()
    }

    fn objects(&self) -> BoxStream<'_, Result<Stored, EngineError>> {
        read::objects(&self.readers).boxed()
    }

    fn sequences(&self) -> BoxStream<'_, Result<(ObjectKey, Sequence), EngineError>> {
        read::sequences(&self.readers).boxed()
    }

    fn roots(&self) -> BoxFuture<'_, Result<Vec<RootDocument>, EngineError>> {
        read::roots(&self.readers).boxed()
    }

    fn history_after(&self, revision: Revision) -> BoxStream<'_, Result<HistoryRow, EngineError>> {
        read::history_after(&self.readers, revision).boxed()
    }

    fn commit<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<(), EngineError>> {
        self.commit_batch(batch).boxed()
    }

    fn known_changes(&self, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<(String, Revision)>, EngineError>> {
        read::known_changes(&self.readers, ids).boxed()
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

    fn history_bytes_floor(&self, bytes_max: u64) -> BoxFuture<'_, Result<Revision, EngineError>> {
        read::history_bytes_floor(&self.readers, bytes_max).boxed()
    }

    fn compact(&self, through: Revision) -> BoxFuture<'_, Result<(), EngineError>> {
        self.compact_through(through).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.readers.close().await;
            if let Some(writer) = self.writer.lock().await.take()
                && let Err(error) = writer.close().await
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
