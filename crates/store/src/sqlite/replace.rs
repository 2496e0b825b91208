//! Another record in the place of the one that is there, which is moved aside: at any moment one of the two is in place, whole.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::file::{COMPANIONS, beside, remove, seal, seal_database, sync_file};
use super::lock::FileLock;
use crate::open_error::OpenError;

/// What the new record is called until it takes its place.
const NEW_SUFFIX: &str = ".restoring";
/// What the name of a record that was moved aside goes on with; a time follows.
const ASIDE_SUFFIX: &str = ".before-";
/// What a database of SQLite begins with (the format's section 1.3.1).
const MAGIC: &[u8] = b"SQLite format 3\0";
/// SQLite's codes (`SQLITE_CORRUPT`, `SQLITE_NOTADB`) for a file that it cannot read as a database.
const UNREADABLE_CODES: [&str; 2] = ["11", "26"];

/// A record's place, whose lock keeps coordinators off while another record is made for it.
#[derive(Debug)]
pub struct Replacement {
    record: PathBuf,
    new: PathBuf,
    _lock: FileLock,
}

/// Why the new record did not take its place; the old one is in place.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// One of the two cannot be opened, or somebody has it open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file system refused.
    #[error("{} could not be {doing}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Replacement {
    /// Takes the lock of a record that need not be there yet, and removes what one that was killed has left.
    ///
    /// # Errors
    ///
    /// [`OpenError`], also where a coordinator has the record.
    pub fn begin(record: &Path) -> Result<Self, OpenError> {
        let lock = FileLock::take(record)?;
        let replacement = Self { record: record.to_owned(), new: beside(record, NEW_SUFFIX), _lock: lock };
        let cleared = replacement.remove_new().and_then(|()| replacement.remove_twins());
        cleared.map_err(|source| OpenError::File { record: record.display().to_string(), source })?;
        Ok(replacement)
    }

    /// Where the new record is to be made. There is nothing there now.
    pub fn new_record(&self) -> &Path {
        &self.new
    }

    /// Whether there is a record that it takes the place of.
    pub fn replaces(&self) -> bool {
        self.record.exists()
    }

    /// Where the old record goes.
    pub fn aside(&self, suffix: &str) -> PathBuf {
        beside(&self.record, &format!("{ASIDE_SUFFIX}{suffix}"))
    }

    /// Puts the new record, which nobody has open, in its place, and gives back where the old one is now.
    ///
    /// # Errors
    ///
    /// [`ReplaceError`].
    pub async fn finish(self, suffix: &str) -> Result<Option<PathBuf>, ReplaceError> {
        let replaces = self.replaces();
        let aside = self.aside(suffix);
        let mut state = State { settled: true };
        for step in STEPS {
            self.take_step(step, &mut state, &aside).await?;
        }
        Ok(replaces.then_some(aside))
    }

    /// Leaves everything as it is.
    ///
    /// # Errors
    ///
    /// [`ReplaceError`] where what there is of the new record cannot be removed.
    pub fn give_up(self) -> Result<(), ReplaceError> {
        self.remove_new().map_err(failed(&self.new, "removed"))
    }

    async fn take_step(&self, step: Step, state: &mut State, aside: &Path) -> Result<(), ReplaceError> {
        match step {
            Step::Seal => seal(&self.new).await?,
            Step::Settle if self.replaces() => state.settled = self.settle().await?,
            Step::KeepLog if self.replaces() && !state.settled => self.link_log(aside)?,
            Step::Keep if self.replaces() => self.link(&self.record, aside)?,
            Step::DropLog if !state.settled => self.drop_log()?,
            Step::Settle | Step::KeepLog | Step::Keep | Step::DropLog => {}
            Step::Swap => {
                fs::rename(&self.new, &self.record)
                    .and_then(|()| self.sync_folder())
                    .map_err(failed(&self.record, "replaced"))?;
            }
        }
        Ok(())
    }

    /// Makes the old record one file, so that one name is all there is to move. Not one that SQLite cannot read: it stays as it is.
    async fn settle(&self) -> Result<bool, ReplaceError> {
        // SQLite would write the log into it before it says that it cannot read it.
        if !begins_as_database(&self.record).map_err(failed(&self.record, "read"))? {
            tracing::warn!(record = %self.record.display(), "the old record is no database; it is moved aside with its log");
            return Ok(false);
        }
        match seal_database(&self.record).await {
            Ok(()) => Ok(true),
            Err(OpenError::Database { source, .. }) if is_unreadable(&source) => {
                tracing::warn!(record = %self.record.display(), error = %source, "the old record cannot be read; it is moved aside with its log");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A second name: the old record stays in place under its own until the new one takes that.
    fn link(&self, from: &Path, to: &Path) -> Result<(), ReplaceError> {
        fs::hard_link(from, to).and_then(|()| self.sync_folder()).map_err(failed(from, "moved aside"))
    }

    fn link_log(&self, aside: &Path) -> Result<(), ReplaceError> {
        for suffix in ["-wal", "-journal"] {
            let from = beside(&self.record, suffix);
            if from.exists() {
                self.link(&from, &beside(aside, suffix))?;
            }
        }
        Ok(())
    }

    /// The log of the old record would be taken for the new one's.
    fn drop_log(&self) -> Result<(), ReplaceError> {
        for suffix in ["-shm", "-wal", "-journal"] {
            let path = beside(&self.record, suffix);
            remove(&path).map_err(failed(&path, "removed"))?;
        }
        self.sync_folder().map_err(failed(&self.record, "moved aside"))
    }

    fn remove_new(&self) -> io::Result<()> {
        COMPANIONS.iter().try_for_each(|suffix| remove(&beside(&self.new, suffix)))?;
        remove(&self.new)
    }

    /// Removes second names of the record that is in place.
    fn remove_twins(&self) -> io::Result<()> {
        let Ok(here) = fs::metadata(&self.record) else { return Ok(()) };
        let name = self.record.file_name().unwrap_or_default().to_string_lossy();
        for entry in fs::read_dir(self.folder())? {
            let entry = entry?;
            let other = entry.metadata()?;
            if entry.file_name().to_string_lossy().starts_with(&format!("{name}{ASIDE_SUFFIX}"))
                && (other.dev(), other.ino()) == (here.dev(), here.ino())
            {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn folder(&self) -> &Path {
        self.record.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn sync_folder(&self) -> io::Result<()> {
        sync_file(self.folder())
    }
}

/// What is done, in this order; whoever is killed between two of them leaves one of the records in place, and can begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Seal,
    Settle,
    KeepLog,
    Keep,
    DropLog,
    Swap,
}

const STEPS: [Step; 6] = [Step::Seal, Step::Settle, Step::KeepLog, Step::Keep, Step::DropLog, Step::Swap];

/// What one step tells the next.
struct State {
    /// The old record is one file, or there is none.
    settled: bool,
}

fn failed(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> ReplaceError {
    let path = path.to_owned();
    move |source| ReplaceError::File { path, doing, source }
}

fn begins_as_database(path: &Path) -> io::Result<bool> {
    let mut begin = Vec::new();
    fs::File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut begin)?;
    Ok(begin == MAGIC)
}

fn is_unreadable(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    // The lowest byte is the code, what is above it says more.
    let primary = code.and_then(|code| code.parse::<u32>().ok()).map(|code| (code & 0xff).to_string());
    primary.is_some_and(|code| UNREADABLE_CODES.contains(&code.as_str()))
}

#[cfg(test)]
mod tests;
