//! The admin's own outbox: signed changes that wait on this disk until a coordinator answers, in order, each until it has arrived or
//! its author lets it go.

pub(crate) mod send;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_admission::Precondition;
use stead_model::{Digest, Object, ObjectKey};
use stead_trust::{Leaf, Submission};

use crate::config::Settings;
use crate::failure::{Failure, FailureKind};
use crate::proposal::{self, Pending};
use crate::{change, private_file};

/// Changes that wait at most: more than a person writes while a coordinator is away, and each is a file.
pub(crate) const OUTBOX_CHANGES_MAX: usize = 1_000;
/// Bytes of all of them at most: a few changes of the largest size, and still little of a disk.
pub(crate) const OUTBOX_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// How long another process that has the outbox is waited for, in seconds: as long as it may take to learn that nobody answers.
const LOCK_SECONDS_MAX: u64 = 60;
/// How often it is tried, in milliseconds.
const LOCK_PAUSE_MILLISECONDS: u64 = 50;
/// The version of the files. A later one is refused, and left alone.
const VERSION: u32 = 1;

/// Where a change stands that waits here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// It is sent when a coordinator answers.
    #[default]
    Waiting,
    /// Others took its sequence: its author has to look at it, and sign it again on top of theirs.
    NeedsSigning,
    /// The time in which it had to be admitted is over; it can be signed anew.
    Expired,
    /// A coordinator refused it for good.
    Refused,
}

impl Standing {
    /// As tables and programs have it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::NeedsSigning => "NeedsSigning",
            Self::Expired => "Expired",
            Self::Refused => "Refused",
        }
    }
}

/// A change that waits, as its file has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Entry {
    version: u32,
    /// When it came here.
    pub(crate) queued: Timestamp,
    pub(crate) submission: Submission,
    #[serde(default)]
    pub(crate) preconditions: Vec<Precondition>,
    #[serde(default)]
    pub(crate) standing: Standing,
    /// What the last attempt came to, in words.
    #[serde(default)]
    pub(crate) message: String,
    /// How often it was sent.
    #[serde(default)]
    pub(crate) attempts: u64,
}

impl Entry {
    pub(crate) fn new(submission: Submission, preconditions: Vec<Precondition>, why: &str) -> Self {
        Self {
            version: VERSION,
            queued: crate::duration::whole_seconds(Timestamp::now()),
            submission,
            preconditions,
            standing: Standing::Waiting,
            message: why.to_owned(),
            attempts: 0,
        }
    }
}

/// One that was read, with its file.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    pub(crate) entry: Entry,
    pub(crate) pending: Pending,
}

impl Kept {
    /// The change's id, as `stead get changes` will show it.
    pub(crate) fn id(&self) -> String {
        self.pending.statement.id.to_ascii_lowercase()
    }

    /// Where it stands now: what waits past its deadline has expired, whether or not it was tried.
    pub(crate) fn standing(&self, now: Timestamp) -> Standing {
        match self.entry.standing {
            Standing::Waiting if self.pending.statement.admit_before < now => Standing::Expired,
            standing => standing,
        }
    }

    /// The names of its objects.
    pub(crate) fn keys(&self) -> impl Iterator<Item = ObjectKey> + '_ {
        self.pending.entries.iter().map(|(leaf, _)| leaf.key())
    }
}

/// What is in the outbox of a fleet: what can be read, and the files that cannot, with the reason.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) kept: Vec<Kept>,
    pub(crate) unreadable: Vec<(PathBuf, String)>,
}

/// The outbox of one fleet, held so that no other process changes it meanwhile.
#[derive(Debug)]
pub(crate) struct Outbox {
    folder: PathBuf,
    fleet: Digest,
    /// Held until this goes.
    _lock: File,
}

/// Where the changes of a fleet wait.
pub(crate) fn folder(settings: &Settings) -> Result<PathBuf, Failure> {
    Ok(settings.outbox_dir().join(change::fleet(settings)?.short()).join("changes"))
}

/// Whether anything waits, without holding anything up: a look into a folder.
pub(crate) fn is_empty(settings: &Settings) -> bool {
    let Ok(folder) = folder(settings) else { return true };
    std::fs::read_dir(folder).map_or(true, |mut files| !files.any(|file| file.is_ok_and(|file| place_of(&file.path()).is_some())))
}

/// Reads what waits without holding it: another process may change it meanwhile.
pub(crate) fn look(settings: &Settings) -> Result<Listing, Failure> {
    read_all(&folder(settings)?, &change::fleet(settings)?)
}

impl Outbox {
    /// Waits for the outbox, and holds it.
    pub(crate) async fn hold(settings: &Settings) -> Result<Self, Failure> {
        for _ in 0..LOCK_SECONDS_MAX * 1_000 / LOCK_PAUSE_MILLISECONDS {
            if let Some(outbox) = Self::try_hold(settings)? {
                return Ok(outbox);
            }
            tokio::time::sleep(Duration::from_millis(LOCK_PAUSE_MILLISECONDS)).await;
        }
        let message =
            format!("another `stead` has been using the outbox {} for {LOCK_SECONDS_MAX} s", folder(settings)?.display());
        Err(Failure::new(FailureKind::Internal, message).hint("Try again when it has ended."))
    }

    /// Holds the outbox, unless another process does.
    pub(crate) fn try_hold(settings: &Settings) -> Result<Option<Self>, Failure> {
        let (folder, fleet) = (folder(settings)?, change::fleet(settings)?);
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::new(FailureKind::Config, format!("the outbox {} cannot be used: {error}", folder.display()))
        };
        private_file::make_folder(&folder).map_err(|error| unusable(&error))?;
        let lock = private_file::open_lock(&folder.join("lock")).map_err(|error| unusable(&error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { folder, fleet, _lock: lock })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(unusable(&error)),
        }
    }

    /// All that waits, in the order in which it came.
    pub(crate) fn read(&self) -> Result<Listing, Failure> {
        read_all(&self.folder, &self.fleet)
    }

    /// Keeps a change, on disk when this returns, behind all that is there.
    pub(crate) fn add(&self, entry: &Entry) -> Result<(), Failure> {
        let files = files(&self.folder)?;
        let bytes: u64 = files.values().filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).sum();
        if files.len() >= OUTBOX_CHANGES_MAX || bytes >= OUTBOX_BYTES_MAX {
            let message = format!(
                "the outbox is full: {} changes of {bytes} bytes wait, and {OUTBOX_CHANGES_MAX} changes or {OUTBOX_BYTES_MAX} bytes are the limit",
                files.len()
            );
            return Err(Failure::refused(message).hint("The change was not kept. `stead outbox list` shows what waits."));
        }
        let place = files.keys().next_back().copied().unwrap_or_default().saturating_add(1);
        let digest = entry.submission.statement.digest().short();
        self.write(&self.folder.join(format!("{place:08}-{digest}.json")), entry)
    }

    /// Writes down what became of a change.
    pub(crate) fn note(&self, kept: &Kept) -> Result<(), Failure> {
        self.write(&kept.path, &kept.entry)
    }

    /// Says of a change that what it was signed on top of does not arrive.
    pub(crate) fn unseat(&self, mut kept: Kept, first: &str) -> Result<(), Failure> {
        kept.entry.standing = Standing::NeedsSigning;
        kept.entry.message = format!("it was signed on top of {first}, which does not arrive");
        self.note(&kept)
    }

    /// Takes out a change that has arrived, or that its author lets go.
    pub(crate) fn remove(&self, kept: &Kept) -> Result<(), Failure> {
        private_file::remove(&kept.path).map_err(|error| Failure::of(FailureKind::Internal, error))
    }

    fn write(&self, path: &Path, entry: &Entry) -> Result<(), Failure> {
        let text = serde_json::to_vec(entry).map_err(|error| Failure::internal(error.to_string()))?;
        private_file::write(path, &text).map_err(|error| {
            Failure::of(FailureKind::Internal, error).hint("The change was not kept in the outbox. Make room, and try again.")
        })
    }
}

/// The last change of an object that waits: the change, and the object that it makes.
pub(crate) fn last_of<'a>(kept: &'a [Kept], key: &ObjectKey) -> Option<(&'a Kept, &'a Leaf, Option<&'a Object>)> {
    let entries = kept.iter().rev().flat_map(|kept| kept.pending.entries.iter().map(move |(leaf, object)| (kept, leaf, object)));
    entries.map(|(kept, leaf, object)| (kept, leaf, object.as_ref())).find(|(_, leaf, _)| leaf.key() == *key)
}

/// Those that a person means: ids, or their beginnings.
pub(crate) fn named(kept: Vec<Kept>, references: &[String]) -> Result<Vec<Kept>, Failure> {
    let mut found: BTreeMap<usize, ()> = BTreeMap::new();
    for reference in references {
        let wanted = reference.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let fits: Vec<usize> = kept
            .iter()
            .enumerate()
            .filter(|(_, kept)| !wanted.is_empty() && kept.id().starts_with(&wanted))
            .map(|(at, _)| at)
            .collect();
        match fits.as_slice() {
            [one] => found.insert(*one, ()),
            [] => {
                return Err(Failure::new(FailureKind::NotFound, format!("no change {reference:?} waits in the outbox"))
                    .hint("`stead outbox list` shows those that do."));
            }
            _ => return Err(Failure::user(format!("{reference:?} is the beginning of several changes; give more of it"))),
        };
    }
    Ok(kept.into_iter().enumerate().filter(|(at, _)| found.contains_key(at)).map(|(_, kept)| kept).collect())
}

/// The place in the order that a file's name says; none for files that are no change.
fn place_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".json")?.split_once('-')?.0.parse().ok()
}

fn files(folder: &Path) -> Result<BTreeMap<u64, PathBuf>, Failure> {
    let unusable = |error: std::io::Error| {
        Failure::new(FailureKind::Config, format!("the outbox {} cannot be read: {error}", folder.display()))
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(unusable(error)),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(unusable)?.path();
        files.extend(place_of(&path).map(|place| (place, path)));
    }
    Ok(files)
}

fn read_all(folder: &Path, fleet: &Digest) -> Result<Listing, Failure> {
    let mut listing = Listing::default();
    for path in files(folder)?.into_values() {
        match read(&path, fleet) {
            Ok(kept) => listing.kept.push(kept),
            // Taken out just now by another process.
            Err(_) if !path.exists() => {}
            Err(error) => listing.unreadable.push((path, error)),
        }
    }
    Ok(listing)
}

/// Reads one, and checks it as if it came from anybody: what is sent is what was signed.
fn read(path: &Path, fleet: &Digest) -> Result<Kept, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let entry: Entry = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if entry.version != VERSION {
        return Err(format!("it is of version {}, and this program knows {VERSION}", entry.version));
    }
    let pending = proposal::check(entry.submission.clone(), fleet).map_err(|failure| failure.sentence())?;
    Ok(Kept { path: path.to_owned(), entry, pending })
}

/// Keeps a change that could not be sent, and says so.
pub(crate) async fn keep(
    settings: &Settings,
    submission: Submission,
    preconditions: &[Precondition],
    away: &Failure,
) -> Result<Failure, Failure> {
    let entry = Entry::new(submission, preconditions.to_vec(), away.message());
    let pending = proposal::check(entry.submission.clone(), &change::fleet(settings)?)?;
    Outbox::hold(settings).await?.add(&entry)?;
    let id = pending.statement.id.to_ascii_lowercase();
    let message = format!("no coordinator answers; the change {id} is signed, and waits in the outbox");
    Ok(Failure::new(FailureKind::Waiting, message)
        .hint(away.sentence())
        .hint(format!(
            "It is sent by the next `stead` command that reaches a coordinator, or by `stead outbox send --wait`; it has to be admitted before {}.",
            pending.statement.admit_before
        )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_have_a_place() {
        let place = |name: &str| place_of(Path::new(name));
        assert_eq!(place("/x/00000012-abcdef.json"), Some(12));
        for name in ["lock", "00000012-abcdef.json.77.new", "x-1.json", "12.json"] {
            assert_eq!(place(name), None, "{name}");
        }
    }
}
