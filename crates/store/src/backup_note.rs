//! What is remembered of backups beside the record, so that its coordinators can tell when there is no good one.
//!
//! It is no part of the record: no digest has it, and whoever loses it loses an alarm, not data. Of a record in a file it is a file
//! beside it; of one in PostgreSQL, a table that is made when there is first something to note.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// By what a backup is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupWay {
    /// A folder with the whole record in it.
    Portable,
    /// By pgBackRest, on the database's host.
    Pgbackrest,
}

impl BackupWay {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Portable, Self::Pgbackrest];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Pgbackrest => "pgbackrest",
        }
    }
}

/// What is remembered of the backups of one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupNote {
    /// When the newest good one was taken; nothing where there is none.
    pub taken: Option<Timestamp>,
    /// The bytes of the record, or of the database, in it.
    #[serde(default)]
    pub bytes: u64,
    /// When one was last restored into a scratch place and found to be whole.
    pub verified: Option<Timestamp>,
    /// Whether the newest try to do that found one that is not whole.
    #[serde(default)]
    pub damaged: bool,
}

/// What is remembered, by way.
pub type BackupNotes = BTreeMap<BackupWay, BackupNote>;

/// What has become known of the backups of one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupNews {
    /// The newest good one, if there is one: when it was taken, and its bytes.
    Newest(Option<(Timestamp, u64)>),
    /// One was tried at this moment, and is whole.
    Whole(Timestamp),
    /// One was tried, and is not whole.
    Damaged,
}

impl BackupNote {
    /// The same, with what has become known.
    #[must_use]
    pub fn with(mut self, news: BackupNews) -> Self {
        match news {
            BackupNews::Newest(newest) => {
                self.taken = newest.map(|(taken, _)| taken);
                self.bytes = newest.map_or(0, |(_, bytes)| bytes);
            }
            BackupNews::Whole(at) => (self.verified, self.damaged) = (Some(at), false),
            BackupNews::Damaged => self.damaged = true,
        }
        self
    }
}

/// Notes something beside a record in a file.
///
/// # Errors
///
/// Where there is no such record, or the note cannot be written; the one before is untouched then.
pub fn note_backup(record: &Path, way: BackupWay, news: BackupNews) -> io::Result<()> {
    let owner = fs::metadata(record)?;
    let mut notes = read(record);
    let note = notes.entry(way).or_default();
    *note = note.with(news);
    let (path, new) = (path(record, ".backups"), path(record, ".backups.new"));
    let text = serde_json::to_vec(&notes).map_err(io::Error::other)?;
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    // The coordinator reads it, whoever took the backup; who may not give it away is that user, or writes for nobody else.
    let _kept = chown(&new, Some(owner.uid()), Some(owner.gid()));
    fs::rename(&new, &path)
}

/// What is noted beside a record in a file; nothing where that cannot be read.
pub(crate) fn read(record: &Path) -> BackupNotes {
    let text = fs::read(path(record, ".backups")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn path(record: &Path, end: &str) -> PathBuf {
    let mut name = record.file_name().unwrap_or_default().to_owned();
    name.push(end);
    record.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_noted_is_read_and_each_way_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("record.db");
        assert!(note_backup(&record, BackupWay::Portable, BackupNews::Damaged).is_err(), "there is no record");
        fs::write(&record, "").unwrap();
        assert!(read(&record).is_empty());
        note_backup(&record, BackupWay::Portable, BackupNews::Newest(Some((at(10), 5)))).unwrap();
        note_backup(&record, BackupWay::Pgbackrest, BackupNews::Damaged).unwrap();
        note_backup(&record, BackupWay::Portable, BackupNews::Whole(at(20))).unwrap();
        let portable = BackupNote { taken: Some(at(10)), bytes: 5, verified: Some(at(20)), damaged: false };
        let pgbackrest = BackupNote { damaged: true, ..BackupNote::default() };
        let expected = [(BackupWay::Portable, portable), (BackupWay::Pgbackrest, pgbackrest)];
        assert_eq!(read(&record), expected.into_iter().collect());
        note_backup(&record, BackupWay::Pgbackrest, BackupNews::Whole(at(30))).unwrap();
        note_backup(&record, BackupWay::Portable, BackupNews::Newest(None)).unwrap();
        let notes = read(&record);
        assert!(!notes[&BackupWay::Pgbackrest].damaged);
        assert_eq!(notes[&BackupWay::Portable].taken, None);
        assert_eq!(fs::metadata(path(&record, ".backups")).unwrap().mode() & 0o777, 0o600);
    }
}
