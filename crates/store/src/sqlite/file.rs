//! A record in a file that nobody writes to, such as a backup's: read as it is, and not a byte of it changed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection};

use super::read::{SqliteReading, reading};
use super::{SqliteEngine, make_private, migration};
use crate::copy::{CopyError, CopyProgress, copy_reading};
use crate::digest::{RecordDigest, digest, digest_reading};
use crate::engine::{Engine, EngineError, Reading};
use crate::open_error::OpenError;

/// What SQLite says of a file in which it finds nothing wrong.
const SOUND: &str = "ok";
/// The first ten faults say enough.
const CHECK: &str = "PRAGMA integrity_check(10)";
/// The files that SQLite, and the lock of a coordinator, keep beside a record.
pub(super) const COMPANIONS: [&str; 4] = ["-wal", "-shm", "-journal", ".lock"];

/// A record in a file that nobody writes to.
#[derive(Debug)]
pub struct SqliteFile {
    pool: SqlitePool,
    schema_version: i64,
}

impl SqliteFile {
    /// Opens it. Its schema stays what it is: where it is an older one, the record cannot be read before
    /// [`SqliteEngine::open`] has brought a copy of it up to date.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: it is no record, or one of a newer Stead, or cannot be read.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let record = path.display().to_string();
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(false).read_only(true).immutable(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options.disable_statement_logging());
        let database = |source| OpenError::Database { record: record.clone(), source };
        let mut connection = pool.acquire().await.map_err(database)?;
        let schema_version = migration::version(&mut connection, &record).await?;
        drop(connection);
        match (schema_version, migration::supported()) {
            (0, _) => Err(OpenError::Foreign { record }),
            (found, supported) if found > supported => Err(OpenError::Newer { record, found, supported }),
            _ => Ok(Self { pool, schema_version }),
        }
    }

    /// The version of its schema.
    pub const fn schema_version(&self) -> i64 {
        self.schema_version
    }

    /// Whether its schema is the one that this version of Stead reads.
    pub fn is_current(&self) -> bool {
        self.schema_version == migration::supported()
    }

    /// The record in it.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where it cannot be read.
    pub async fn reading(&self) -> Result<Box<dyn Reading + '_>, EngineError> {
        Ok(Box::new(SqliteReading::begin(&self.pool).await?))
    }

    /// What SQLite finds wrong with the file when it reads all of it; nothing where it is sound.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where it cannot even be looked at.
    pub async fn faults(&self) -> Result<Vec<String>, EngineError> {
        let found: Vec<String> = sqlx::query_scalar(CHECK).fetch_all(&self.pool).await.map_err(reading)?;
        Ok(found.into_iter().filter(|fault| fault != SOUND).collect())
    }

    /// Lets go of the file.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

/// Copies a SQLite record, as it is at one moment, into a new file, while a coordinator writes to it: it neither waits nor is waited
/// for, and takes no lock that a coordinator takes.
///
/// # Errors
///
/// [`OpenError`]; what there is of the new file then is of no use.
pub async fn snapshot_file(from: &Path, to: &Path) -> Result<(), OpenError> {
    let record = from.display().to_string();
    let database = |source| OpenError::Database { record: record.clone(), source };
    let options = SqliteConnectOptions::new().filename(from).create_if_missing(false).read_only(true);
    let options = options.busy_timeout(super::BUSY).disable_statement_logging();
    let mut connection = options.connect().await.map_err(database)?;
    let (found, supported) = (migration::version(&mut connection, &record).await?, migration::supported());
    match found {
        0 => return Err(OpenError::Foreign { record }),
        _ if found > supported => return Err(OpenError::Newer { record, found, supported }),
        _ if found < supported => return Err(OpenError::Older { record, found, supported }),
        _ => {}
    }
    let failed = |source| OpenError::File { record: to.display().to_string(), source };
    // SQLite fills an empty file, and leaves it its mode.
    make_private(to).map_err(failed)?;
    let copied = sqlx::query("VACUUM INTO ?").bind(to.display().to_string()).execute(&mut connection).await;
    let closed = connection.close().await;
    copied.map_err(|source| OpenError::Snapshot { record: record.clone(), to: to.display().to_string(), source })?;
    closed.map_err(database)?;
    sync_file(to).map_err(failed)
}

/// Copies a record, as it is at one moment, from any engine into a new SQLite file, and proves that it is the same. What is written to
/// it meanwhile is not in it.
///
/// # Errors
///
/// [`SnapshotError`]; what there is of the new file then is of no use.
pub async fn snapshot_engine(from: &dyn Engine, to: &Path, progress: CopyProgress<'_>) -> Result<RecordDigest, SnapshotError> {
    let file = SqliteEngine::open(to).await?;
    let copied = copy_and_compare(from, &file, progress).await;
    file.close().await;
    let digest = copied?;
    seal(to).await?;
    Ok(digest)
}

async fn copy_and_compare(
    from: &dyn Engine,
    to: &SqliteEngine,
    progress: CopyProgress<'_>,
) -> Result<RecordDigest, SnapshotError> {
    let mut reading = from.reading().await?;
    copy_reading(reading.as_mut(), to.import().await?, progress).await?;
    progress("digest of the record", 0);
    let from = digest_reading(reading.as_mut()).await?;
    reading.end().await;
    progress("digest of the copy", 0);
    let to = digest(to).await?;
    if from == to {
        return Ok(to);
    }
    Err(CopyError::Differs { from: Box::new(from), to: Box::new(to), moved: false }.into())
}

/// Why a record was not copied into a file.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The new file failed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The copy is not what was read.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// One of the two failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Makes a record that nobody has open one file with nothing beside it, on disk.
///
/// # Errors
///
/// [`OpenError`]; it is the same record then, with its log still beside it.
pub async fn seal(path: &Path) -> Result<(), OpenError> {
    seal_database(path).await?;
    remove(&beside(path, ".lock")).map_err(|source| OpenError::File { record: path.display().to_string(), source })
}

/// The same for one whose lock is held.
pub(super) async fn seal_database(path: &Path) -> Result<(), OpenError> {
    let record = || path.display().to_string();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Delete)
        .busy_timeout(super::BUSY)
        .disable_statement_logging();
    let database = |source| OpenError::Database { record: record(), source };
    options.connect().await.map_err(database)?.close().await.map_err(database)?;
    sync_file(path).map_err(|source| OpenError::File { record: record(), source })
}

/// A file that belongs to another.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Waits until a file, or the names in a folder, are on disk.
pub(super) fn sync_file(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}
