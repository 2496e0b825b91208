//! Backups of the record: a folder each, with the whole record in one file and a manifest that says what is in it.
//!
//! One is made under a name of its own and takes the name of a backup when all of it is on disk and has been checked; so a folder that
//! is called a backup once was one, and what has become of it since can be told from its manifest. Which engine the record was in
//! makes no difference: the file is a SQLite record, from which a record of either is made.

mod files;
mod folder;
mod manifest;
mod progress;
mod rebuild;
mod take;

pub(crate) use self::files::Scratch;
pub(crate) use self::folder::{Found, Listed, choose, list};
pub(crate) use self::manifest::{KEYS, Manifest};
pub(crate) use self::progress::Progress;
pub(crate) use self::rebuild::{Rebuilt, rebuild};
pub(crate) use self::take::{prune, take};
pub(crate) use stead_model::human_bytes;

use std::path::{Path, PathBuf};

use crate::config::Settings;

/// The folder of backups in the state directory.
const FOLDER: &str = "backups";

/// The folder that somebody named, or the one in the state directory.
pub(crate) fn folder_of(named: Option<&Path>, settings: &Settings) -> PathBuf {
    named.map_or_else(|| settings.state_dir().join(FOLDER), Path::to_owned)
}

/// A moment in a file's name.
pub(crate) fn moment_in_name(moment: jiff::Timestamp) -> String {
    moment.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// How long before a moment a backup was taken, in words.
pub(crate) fn age(taken: jiff::Timestamp, moment: jiff::Timestamp) -> String {
    stead_model::age(taken, moment).to_string()
}
