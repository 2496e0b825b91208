//! What units remember of their acts: what they replaced and what they put in its place, durable before they act.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stead_model::Digest;
use stead_unit::UnitId;

use crate::host::{FILE_BYTES_MAX, Gate, HostPath, OpenGate, Thing};

/// The newest layout of a record that we know.
const VERSION: u32 = 1;

/// What a unit remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Memory {
    /// Of something at a path.
    Place {
        /// What was there before the first act. A file's content lies beside the record.
        original: Thing,
        /// What our acts may have left there: the latest, the one before, and what is in between.
        written: Vec<Thing>,
        /// The wish went away, and the thing was left as a person had made it, for this reason.
        kept: Option<String>,
    },
    /// Of a command that was run.
    Command {
        /// What is run when the wish goes away.
        undo: Option<Vec<String>>,
        /// How long that may take.
        timeout_seconds: u32,
        /// Where it is run.
        directory: Option<HostPath>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    version: u32,
    unit: UnitId,
    memory: Memory,
}

/// The folder of what was saved: for each unit a record, and the content of the file it replaced.
///
/// Files are named by the digest of the unit's name. A record is written after the content it speaks of, and
/// replaced by rename, so whatever a crash leaves is either the old or the new.
#[derive(Debug)]
pub struct Saved {
    folder: PathBuf,
    gate: Arc<dyn Gate>,
}

/// Why something could not be saved or read back.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// The disk said no.
    #[error("could not {act} {} in the agent's state directory", path.display())]
    Disk {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A record that can't be read.
    #[error("the record {} is damaged, so what it saved can't be put back: repair it, or remove it to give that up", path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A record of a newer agent, or of another unit.
    #[error("the record {} {why}: run the agent that wrote it", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The content isn't what was saved.
    #[error("the saved content {} is {found}, and {saved} was saved: it is not put back", path.display())]
    Altered {
        /// Where.
        path: PathBuf,
        /// The digest that was saved.
        saved: Digest,
        /// The digest that was found.
        found: Digest,
    },
}

impl Saved {
    /// Opens the folder, and makes it where there is none. One process at a time.
    ///
    /// # Errors
    ///
    /// The disk says no.
    pub fn open(folder: &Path) -> Result<Self, SavedError> {
        Self::open_with(folder, Arc::new(OpenGate))
    }

    /// Opens the folder; every change passes `gate` first.
    ///
    /// # Errors
    ///
    /// The disk says no.
    pub fn open_with(folder: &Path, gate: Arc<dyn Gate>) -> Result<Self, SavedError> {
        let saved = Self { folder: folder.to_owned(), gate };
        fs::create_dir_all(folder).map_err(|source| saved.disk("make", folder, source))?;
        saved.sweep()?;
        Ok(saved)
    }

    /// What a unit remembers; nothing where it has done nothing.
    ///
    /// # Errors
    ///
    /// The record can't be read.
    pub fn get(&self, unit: &UnitId) -> Result<Option<Memory>, SavedError> {
        let path = self.path(unit, "json");
        let Some(record) = self.read(&path)? else { return Ok(None) };
        if record.unit != *unit {
            return Err(SavedError::Foreign { path, why: format!("is of {}, not of {unit}", record.unit) });
        }
        Ok(Some(record.memory))
    }

    /// Remembers, in place of what was remembered before.
    ///
    /// # Errors
    ///
    /// The disk says no; then what was remembered before still is.
    pub fn put(&self, unit: &UnitId, memory: &Memory) -> Result<(), SavedError> {
        let path = self.path(unit, "json");
        let record = Record { version: VERSION, unit: unit.clone(), memory: memory.clone() };
        let bytes = serde_json::to_vec(&record).map_err(|source| SavedError::Damaged { path: path.clone(), source })?;
        self.replace(&path, |file| file.write_all(&bytes)).map(|_written: ()| ())
    }

    /// Saves the content of a file: `write` is given where to write it. To be followed by [`put`](Self::put).
    pub(crate) fn put_content<T, E: From<SavedError>>(
        &self,
        unit: &UnitId,
        write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = self.path(unit, "content");
        let mut outcome = None;
        let written = self.replace(&path, |file| {
            let mut bounded = Bounded { to: file, left: FILE_BYTES_MAX };
            let done = write(&mut bounded);
            let failed = done.is_err();
            outcome = Some(done);
            if failed { Err(io::Error::other("the content could not be copied")) } else { Ok(()) }
        });
        match (outcome, written) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(self.disk("write", &path, io::Error::other("nothing was written")).into()),
        }
    }

    /// The saved content of a file, once it has been found to be what was saved.
    pub(crate) fn content(&self, unit: &UnitId, saved: Digest) -> Result<File, SavedError> {
        let path = self.path(unit, "content");
        let open = || File::open(&path).map_err(|source| self.disk("open", &path, source));
        let (found, _) = crate::host::copy(&mut open()?, &mut io::sink()).map_err(|source| self.disk("read", &path, source))?;
        if found == saved { open() } else { Err(SavedError::Altered { path, saved, found }) }
    }

    /// Forgets: the unit has nothing to put back any more.
    ///
    /// # Errors
    ///
    /// The disk says no.
    pub fn forget(&self, unit: &UnitId) -> Result<(), SavedError> {
        self.remove(&self.path(unit, "json"))?;
        self.sync()?;
        self.remove(&self.path(unit, "content"))
    }

    /// Every unit that remembers something, and what could not be read.
    ///
    /// # Errors
    ///
    /// The folder can't be listed.
    pub fn list(&self) -> Result<(Vec<UnitId>, Vec<SavedError>), SavedError> {
        let (mut found, mut faults) = (Vec::new(), Vec::new());
        for path in self.files()?.iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
            match self.read(path) {
                Ok(Some(record)) => found.push(record.unit),
                Ok(None) => {}
                Err(fault) => faults.push(fault),
            }
        }
        Ok((found, faults))
    }

    fn read(&self, path: &Path) -> Result<Option<Record>, SavedError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.disk("read", path, source)),
        };
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|source| SavedError::Damaged { path: path.to_owned(), source })?;
        if record.version > VERSION {
            let why = format!("has version {}, and this agent knows up to {VERSION}", record.version);
            return Err(SavedError::Foreign { path: path.to_owned(), why });
        }
        Ok(Some(record))
    }

    /// Removes what crashes have left: drafts, and content without a record.
    fn sweep(&self) -> Result<(), SavedError> {
        for path in self.files()? {
            let stray = match path.extension().and_then(|end| end.to_str()) {
                Some("draft") => true,
                Some("content") => !path.with_extension("json").exists(),
                _ => false,
            };
            if stray {
                self.remove(&path)?;
            }
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<PathBuf>, SavedError> {
        let failed = |source| self.disk("list", &self.folder, source);
        let entries = fs::read_dir(&self.folder).map_err(failed)?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
    }

    fn replace(&self, path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), SavedError> {
        // Named after the whole file name, so that the drafts of a record and of its content differ.
        let mut draft = path.as_os_str().to_owned();
        draft.push(".draft");
        let draft = PathBuf::from(draft);
        self.pass("write", path)?;
        let mut file = File::create(&draft).map_err(|source| self.disk("create", &draft, source))?;
        let written = write(&mut file).and_then(|()| file.sync_all());
        if let Err(source) = written {
            // On a full disk, the draft would keep it full. The first error is the one to tell.
            if let Err(second) = fs::remove_file(&draft) {
                tracing::debug!(path = %draft.display(), error = %second, "a draft could not be removed");
            }
            return Err(self.disk("write", &draft, source));
        }
        self.pass("put in place", path)?;
        fs::rename(&draft, path).map_err(|source| self.disk("put in place", path, source))?;
        self.sync()
    }

    fn remove(&self, path: &Path) -> Result<(), SavedError> {
        self.pass("remove", path)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.disk("remove", path, error)),
            _ => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), SavedError> {
        self.pass("write out", &self.folder)?;
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| self.disk("write out", &self.folder, source))
    }

    fn path(&self, unit: &UnitId, extension: &str) -> PathBuf {
        let name = hex::encode(Digest::of(unit.to_string().as_bytes()).as_bytes());
        self.folder.join(name).with_extension(extension)
    }

    fn pass(&self, act: &'static str, path: &Path) -> Result<(), SavedError> {
        self.gate.pass(act, &path.to_string_lossy()).map_err(|source| self.disk(act, path, source))
    }

    fn disk(&self, act: &'static str, path: &Path, source: io::Error) -> SavedError {
        SavedError::Disk { act, path: path.to_owned(), source }
    }
}

/// Writes so many bytes and no more.
struct Bounded<'a> {
    to: &'a mut File,
    left: u64,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            io::Error::other(format!("it has more than the {FILE_BYTES_MAX} bytes that are saved; move it away by hand"))
        })?;
        self.to.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
