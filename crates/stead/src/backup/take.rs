//! Taking a backup: under a name of its own, until it is whole, checked, and on disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use stead_model::Digest;
use stead_store::{Engine as _, PostgresEngine, snapshot_engine, snapshot_file};

use super::folder::{NAME_PREFIX, list};
use super::manifest::{FileEntry, KEYS, Manifest, RECORD, RecordFacts};
use super::rebuild::examine;
use super::{Progress, files, moment_in_name};
use crate::failure::{Failure, FailureKind};
use crate::record::{Place, opening};

/// What keeps a second `stead backup` off a folder.
const LOCK_NAME: &str = ".stead-backup.lock";
/// What the names of half backups, and of those that are being removed, begin with.
const PARTIAL_PREFIX: &str = ".stead-backup-partial-";
/// How often the growing copy is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// What of a state directory makes a coordinator the one that machines know.
const KEY_FILES: [&str; 2] = ["coordinator.key", "join.pass"];
const KEY_FOLDER: &str = "tls";
/// Bytes of the lock file that are read: a process id is shorter.
const HOLDER_BYTES_MAX: u64 = 32;

/// A backup that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) path: PathBuf,
    pub(crate) manifest: Manifest,
    /// Keeps the folder, for who removes old ones.
    folder: Folder,
}

/// Takes a backup of a record into a folder that is there; with the coordinator's keys where the state directory is given.
pub(crate) async fn take(place: &Place, to: &Path, keys: Option<&Path>, progress: &Progress) -> Result<Taken, Failure> {
    let folder = Folder::lock(to)?;
    let partial = Partial::new(&folder)?;
    let written = write(place, &partial.0, keys, progress).await;
    let manifest = written.map_err(|failure| room(failure, to))?;
    let name = format!("{NAME_PREFIX}{}-{}", moment_in_name(manifest.taken_at), manifest.revision);
    let path = to.join(name);
    let failed = |error: io::Error| Failure::user(format!("the backup cannot be finished as {}: {error}", path.display()));
    if path.symlink_metadata().is_ok() {
        return Err(Failure::user(format!("there is something at {} already, and it stays", path.display()))
            .hint("A backup is named by its second and revision: wait a second, and take another one."));
    }
    for folder in folders_below(&partial.0).map_err(failed)? {
        files::sync(&folder).map_err(failed)?;
    }
    fs::rename(&partial.0, &path).and_then(|()| files::sync(to)).map_err(failed)?;
    Ok(Taken { path, manifest, folder })
}

async fn write(place: &Place, partial: &Path, keys: Option<&Path>, progress: &Progress) -> Result<Manifest, Failure> {
    let (record, taken_at) = (partial.join(RECORD), Timestamp::now());
    snapshot(place, &record, progress).await?;
    progress.rows("checking the copy", 0);
    let examined = examine(&record).await.map_err(|error| {
        Failure::of(FailureKind::Refused, error)
            .hint("No backup was made of it, and those that were made before stay as they are: verify them.")
    })?;
    let failed = |error: io::Error| Failure::user(format!("{} cannot be written: {error}", partial.display()));
    let (bytes, sha256) = files::measure(&record, progress).map_err(failed)?;
    files::sync(&record).map_err(failed)?;
    let mut entries = vec![FileEntry { path: RECORD.to_owned(), bytes, sha256 }];
    if let Some(state_dir) = keys {
        entries.extend(copy_keys(state_dir, &partial.join(KEYS), progress)?);
    }
    let facts = RecordFacts {
        fleet: examined.fleet,
        root_version: examined.root_version,
        incarnation: examined.incarnation,
        taken_at,
        schema_version: examined.schema_version,
    };
    let manifest = Manifest::new(&examined.digest, facts, entries);
    manifest.write(partial)?;
    Ok(manifest)
}

/// The record as it is at one moment, into one file, whatever engine it is in.
async fn snapshot(place: &Place, to: &Path, progress: &Progress) -> Result<(), Failure> {
    match place {
        Place::Sqlite(path) => {
            let total = fs::metadata(path).map_err(|error| missing(path, &error))?.len();
            let copying = snapshot_file(path, to);
            tokio::pin!(copying);
            loop {
                tokio::select! {
                    copied = &mut copying => return copied.map_err(opening),
                    () = tokio::time::sleep(LOOK) => {
                        progress.bytes(RECORD, fs::metadata(to).map_or(0, |file| file.len()), total);
                    }
                }
            }
        }
        Place::Postgres { url, password } => {
            let password = password.as_ref().map(|password| password.as_str());
            let engine = PostgresEngine::open_reading(url.as_str(), password).await.map_err(opening)?;
            let copied = snapshot_engine(&engine, to, &mut progress.of_copy()).await;
            engine.close().await;
            copied.map(drop).map_err(|error| Failure::of(FailureKind::Config, error))
        }
    }
}

fn missing(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(FailureKind::Config, format!("the record {} cannot be read: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::NotFound => {
            failure.hint("Name the coordinator's state directory with --state-dir, or its record with --store.")
        }
        _ => failure,
    }
}

/// What is left of a disk that was too small is for the operator to see.
fn room(failure: Failure, to: &Path) -> Failure {
    let said = failure.sentence();
    if said.contains("is full") || said.contains("No space left") || said.contains("quota") {
        return failure.hint(format!(
            "{} has no room for this backup; nothing of it was left there. Make room, or give another folder with --to.",
            to.display()
        ));
    }
    failure
}

/// Copies the coordinator's keys, and says what each file is.
fn copy_keys(state_dir: &Path, to: &Path, progress: &Progress) -> Result<Vec<FileEntry>, Failure> {
    let mut names: Vec<PathBuf> = KEY_FILES.iter().map(PathBuf::from).collect();
    let folder = state_dir.join(KEY_FOLDER);
    let failed = |path: &Path, error: &io::Error| {
        Failure::new(FailureKind::Config, format!("the keys cannot be taken along: {}: {error}", path.display()))
            .hint("--keys takes them from the state directory of a coordinator (--state-dir). A key that the coordinator gets with --identity is somewhere else: keep a copy of that yourself.")
    };
    for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, &error))? {
        let entry = entry.map_err(|error| failed(&folder, &error))?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            names.push(Path::new(KEY_FOLDER).join(entry.file_name()));
        }
    }
    names.sort();
    for made in [to, &to.join(KEY_FOLDER)] {
        files::make_folder(made).map_err(|error| failed(made, &error))?;
    }
    let copied = names.iter().map(|name| {
        let from = state_dir.join(name);
        let (bytes, sha256) = files::copy(&from, &to.join(name), progress).map_err(|error| failed(&from, &error))?;
        Ok(FileEntry { path: Path::new(KEYS).join(name).to_string_lossy().into_owned(), bytes, sha256 })
    });
    copied.collect()
}

/// A folder and those in it, the innermost first.
fn folders_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.extend(folders_below(&entry.path())?);
        }
    }
    folders.push(path.to_owned());
    Ok(folders)
}

/// A folder of backups that nobody else writes to now.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes its lock, and removes what those that were killed have left.
    fn lock(path: &Path) -> Result<Self, Failure> {
        let refused = |error: &io::Error| {
            let failure = Failure::user(format!("no backup can be put into {}: {error}", path.display()));
            match error.kind() {
                io::ErrorKind::NotFound => failure.hint("Is its disk mounted? A folder that is not there is not made."),
                _ => failure,
            }
        };
        let name = path.join(LOCK_NAME);
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let mut lock = options.open(&name).map_err(|error| refused(&error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(busy(path, &lock)),
            Err(TryLockError::Error(error)) => return Err(refused(&error)),
        }
        let noted = lock.set_len(0).and_then(|()| lock.write_all(std::process::id().to_string().as_bytes()));
        noted.map_err(|error| room(refused(&error), path))?;
        let folder = Self { path: path.to_owned(), _lock: lock };
        folder.remove_partial().map_err(|error| refused(&error))?;
        Ok(folder)
    }

    fn remove_partial(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL_PREFIX) {
                tracing::info!(path = %entry.path().display(), "removing what is left of a backup that was cut short");
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn partial(&self) -> PathBuf {
        self.path.join(format!("{PARTIAL_PREFIX}{}", std::process::id()))
    }
}

fn busy(path: &Path, lock: &File) -> Failure {
    let mut holder = String::new();
    let read = lock.take(HOLDER_BYTES_MAX).read_to_string(&mut holder);
    let holder = if read.is_ok() && !holder.is_empty() { format!(" (process {})", holder.trim()) } else { String::new() };
    Failure::user(format!("another `stead backup`{holder} is writing into {}", path.display()))
        .hint("Let it finish, or give this one another folder with --to.")
}

/// A backup that is not one yet; gone with its value, unless it has got its name.
#[derive(Debug)]
struct Partial(PathBuf);

impl Partial {
    fn new(folder: &Folder) -> Result<Self, Failure> {
        let path = folder.partial();
        let made = files::make_folder(&path);
        made.map_err(|error| room(Failure::user(format!("{} cannot be made: {error}", path.display())), &folder.path))?;
        Ok(Self(path))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(folder = %self.0.display(), %error, "half a backup could not be removed; the next one removes it");
            }
            _ => {}
        }
    }
}

/// Removes the oldest backups of a fleet beyond so many, of those that are whole as far as names and sizes tell. The one that was just
/// taken stays, and so does every other that is not whole or another fleet's.
pub(crate) fn prune(taken: &Taken, keep: u32) -> Result<Vec<PathBuf>, Failure> {
    let fleet: Digest = taken.manifest.fleet;
    let ours = list(&taken.folder.path)?
        .into_iter()
        .filter(|listed| listed.flaw.is_none() && listed.manifest.as_ref().is_some_and(|manifest| manifest.fleet == fleet));
    let older = ours.map(|listed| listed.path).filter(|path| *path != taken.path);
    let beyond: Vec<PathBuf> = older.skip(keep.saturating_sub(1) as usize).collect();
    for path in &beyond {
        let going = taken.folder.partial();
        let removed = fs::rename(path, &going).and_then(|()| fs::remove_dir_all(&going));
        removed
            .map_err(|error| Failure::user(format!("the backup was taken, and {} cannot be removed: {error}", path.display())))?;
    }
    Ok(beyond)
}
