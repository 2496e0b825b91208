//! A folder of backups: which are there, and which one is meant.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::manifest::{Flaw, Manifest};
use crate::duration::whole_seconds;
use crate::failure::{Failure, FailureKind};

/// What the name of a backup begins with.
pub(crate) const NAME_PREFIX: &str = "stead-backup-";

/// A backup whose manifest has been read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) manifest: Manifest,
}

/// What a listing says of a backup.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    /// What it says of itself, where that can be read.
    pub(crate) manifest: Option<Manifest>,
    /// What is wrong with it, as far as names and sizes tell.
    pub(crate) flaw: Option<Flaw>,
}

impl Listed {
    fn look(path: PathBuf) -> Self {
        match Manifest::read(&path) {
            Ok(manifest) => Self { flaw: manifest.first_flaw(&path), manifest: Some(manifest), path },
            Err(flaw) => Self { path, manifest: None, flaw: Some(flaw) },
        }
    }

    fn taken_at(&self) -> Option<Timestamp> {
        self.manifest.as_ref().map(|manifest| manifest.taken_at)
    }

    /// The backup, where nothing is wrong with it.
    fn whole(self) -> Option<Found> {
        match self {
            Self { path, manifest: Some(manifest), flaw: None } => Some(Found { path, manifest }),
            _ => None,
        }
    }

    /// One line, where all that are there are told.
    fn line(&self) -> String {
        let name = name_of(&self.path);
        match (&self.flaw, self.taken_at()) {
            (Some(flaw), _) => format!("{name}: not whole, {flaw}"),
            (None, Some(taken)) => format!("{name}: taken at {}", whole_seconds(taken)),
            (None, None) => name,
        }
    }
}

pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The backups in a folder, newest first; those that do not say when they were taken at the end.
pub(crate) fn list(folder: &Path) -> Result<Vec<Listed>, Failure> {
    let failed =
        |error: std::io::Error| Failure::user(format!("the folder of backups {} cannot be read: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if name_of(&path).starts_with(NAME_PREFIX) && path.is_dir() {
            found.push(Listed::look(path));
        }
    }
    found.sort_by_cached_key(|listed| std::cmp::Reverse((listed.taken_at(), name_of(&listed.path))));
    Ok(found)
}

/// The backup that is meant: this one, or the newest whole one in this folder that was taken at a moment or before it.
pub(crate) fn choose(path: &Path, at: Option<Timestamp>, say: impl Fn(&str)) -> Result<Found, Failure> {
    if Manifest::is_in(path) || name_of(path).starts_with(NAME_PREFIX) {
        return one(path, at);
    }
    let mut listed = list(path)?;
    let there: Vec<String> = listed.iter().map(Listed::line).collect();
    listed.retain(|listed| at.is_none_or(|at| listed.taken_at().is_none_or(|taken| taken <= at)));
    for listed in listed {
        if let Some(flaw) = &listed.flaw {
            // Whoever looks for the newest one has to know that there is a newer one.
            say(&format!("{} is not whole and is passed over: {flaw}", listed.path.display()));
            continue;
        }
        if let Some(found) = listed.whole() {
            return Ok(found);
        }
    }
    let which = at.map_or_else(String::new, |at| format!(" that was taken at {at} or before"));
    let failure = Failure::new(FailureKind::NotFound, format!("there is no whole backup{which} in {}", path.display()));
    Err(match there.as_slice() {
        [] => failure.hint("There is none at all; `stead backup --to FOLDER` takes one."),
        there => failure.hint(format!("There are: {}.", there.join("; "))),
    })
}

fn one(path: &Path, at: Option<Timestamp>) -> Result<Found, Failure> {
    let manifest = Manifest::read(path).map_err(|flaw| not_whole(path, &[flaw.to_string()]))?;
    match at {
        Some(at) if manifest.taken_at > at => Err(Failure::new(
            FailureKind::NotFound,
            format!("{} was taken at {}, which is after {at}", path.display(), manifest.taken_at),
        )
        .hint("Name the folder that it is in, and the newest one before that time is taken.")),
        _ => Ok(Found { path: path.to_owned(), manifest }),
    }
}

/// The failure of a backup that is not what it was.
pub(super) fn not_whole(path: &Path, flaws: &[String]) -> Failure {
    Failure::refused(format!("the backup {} is not whole: {}", path.display(), flaws.join("; ")))
        .hint("Do not rely on it: restore from another one, and take a new one.")
}
