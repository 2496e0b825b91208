//! What a backup says of itself: `backup.json`.

use std::io::Read as _;
use std::path::{Component, Path};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stead_model::{Digest, canonical};
use stead_store::RecordDigest;

use crate::private_file;

/// The manifest's name.
const MANIFEST: &str = "backup.json";
/// The record's name.
pub(super) const RECORD: &str = "record.db";
/// The folder of the coordinator's keys in a backup, where it has them.
pub(crate) const KEYS: &str = "keys";
/// What this is. A later form has another name.
const FORMAT: &str = "stead.dev/backup/v1";
/// The member that has the digest of all the others.
const CHECKSUM: &str = "checksum";
/// Bytes of a manifest that are read; it has some 2 KiB.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    /// [`FORMAT`].
    format: String,
    /// Whose record it is.
    pub(crate) fleet: Digest,
    /// The newest version of the trust root in it.
    pub(crate) root_version: u64,
    /// The newest revision in it.
    pub(crate) revision: u64,
    /// The record's incarnation.
    pub(crate) incarnation: String,
    /// When it was begun: what is in the record was in it then, or came within the moment that it took to begin.
    pub(crate) taken_at: Timestamp,
    /// The version of Stead that took it.
    stead_version: String,
    /// The version of the record's schema.
    pub(crate) schema_version: i64,
    /// The digest of the record, as `stead store digest` prints it.
    pub(crate) digest: Digest,
    /// The same of its tables.
    pub(crate) tables: Vec<TableEntry>,
    /// Every file but this one.
    pub(crate) files: Vec<FileEntry>,
}

/// A table of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableEntry {
    pub(crate) table: String,
    pub(crate) rows: u64,
    pub(crate) sha256: Digest,
}

/// A file of the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    /// Its path in the backup.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: Digest,
}

/// What is wrong with a file of a backup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("{file} is missing")]
    Missing { file: String },
    #[error("{file} cannot be read: {source}")]
    Unreadable { file: String, source: std::io::Error },
    #[error("{file} has {found} bytes and not {expected}")]
    Size { file: String, expected: u64, found: u64 },
    #[error("{file} is not what it was: its SHA-256 is {found} and not {expected}")]
    Digest { file: String, expected: Digest, found: Digest },
    #[error("{MANIFEST} is not what it was: {reason}")]
    Manifest { reason: String },
    #[error("{MANIFEST} is of another form ({found:?}); this version of Stead reads {FORMAT}")]
    Format { found: String },
}

impl Flaw {
    pub(super) fn of_reading(file: &str, source: std::io::Error) -> Self {
        let file = file.to_owned();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::Missing { file },
            _ => Self::Unreadable { file, source },
        }
    }
}

impl Manifest {
    /// What is to be said of a record and its files.
    pub(super) fn new(digest: &RecordDigest, record: RecordFacts, files: Vec<FileEntry>) -> Self {
        let RecordFacts { fleet, root_version, incarnation, taken_at, schema_version } = record;
        Self {
            format: FORMAT.to_owned(),
            fleet,
            root_version,
            revision: digest.revision.0,
            incarnation,
            taken_at,
            stead_version: env!("CARGO_PKG_VERSION").to_owned(),
            schema_version,
            digest: Digest::from_bytes(digest.sha256),
            tables: tables(digest),
            files,
        }
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Whether the coordinator's keys are in it.
    pub(crate) fn has_keys(&self) -> bool {
        self.files.iter().any(|file| Path::new(&file.path).starts_with(KEYS))
    }

    /// As it is printed for programs, and written.
    pub(crate) fn to_value(&self) -> serde_json::Result<Value> {
        let mut value = serde_json::to_value(self)?;
        let checksum = checksum(&value).map_err(<serde_json::Error as serde::ser::Error>::custom)?;
        if let Value::Object(members) = &mut value {
            members.insert(CHECKSUM.to_owned(), checksum.to_string().into());
        }
        Ok(value)
    }

    /// Writes it into a backup's folder, onto the disk.
    pub(super) fn write(&self, folder: &Path) -> Result<(), crate::failure::Failure> {
        use crate::failure::{Failure, FailureKind};
        let value = self.to_value().map_err(|error| Failure::internal(error.to_string()))?;
        let text = crate::output::json(&value)?;
        private_file::write(&folder.join(MANIFEST), text.as_bytes()).map_err(|error| Failure::of(FailureKind::User, error))
    }

    /// Whether a folder calls itself a backup.
    pub(super) fn is_in(folder: &Path) -> bool {
        folder.join(MANIFEST).symlink_metadata().is_ok()
    }

    /// Reads that of a backup.
    pub(super) fn read(folder: &Path) -> Result<Self, Flaw> {
        let file = std::fs::File::open(folder.join(MANIFEST)).map_err(|error| Flaw::of_reading(MANIFEST, error))?;
        let mut bytes = Vec::new();
        let read = file.take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes);
        read.map_err(|error| Flaw::of_reading(MANIFEST, error))?;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let wrong = |reason: String| Flaw::Manifest { reason };
        let mut value: Value = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if let Some(found) = value.get("format").and_then(Value::as_str).filter(|found| *found != FORMAT) {
            return Err(Flaw::Format { found: found.to_owned() });
        }
        // Not one byte of it is any other than it was written.
        if crate::output::json(&value).is_ok_and(|text| text.as_bytes() != bytes) {
            return Err(wrong("it was written in another way".to_owned()));
        }
        let said = match &mut value {
            Value::Object(members) => members.remove(CHECKSUM),
            _ => None,
        };
        let found = checksum(&value).map_err(wrong)?;
        if said.as_ref().and_then(Value::as_str) != Some(&found.to_string()) {
            return Err(wrong(format!("the checksum of what it says is {found}")));
        }
        let manifest: Self = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
        match manifest.files.iter().find(|file| !is_inside(&file.path)) {
            Some(file) => Err(wrong(format!("it names the file {:?}", file.path))),
            None if manifest.record().is_none() => Err(wrong(format!("it does not name the file {RECORD}"))),
            None => Ok(manifest),
        }
    }

    /// The record's file.
    pub(super) fn record(&self) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.path == RECORD)
    }

    /// The first table whose digest is another one, and how.
    pub(super) fn other_table(&self, found: &RecordDigest) -> Option<String> {
        let found = tables(found);
        if found.len() != self.tables.len() {
            return Some(format!("there are {} tables and not {}", found.len(), self.tables.len()));
        }
        let other = self.tables.iter().zip(&found).find(|(said, found)| said != found);
        other.map(|(said, found)| {
            format!(
                "the table {} has {} rows with the digest {}, not {} with {}",
                said.table, found.rows, found.sha256, said.rows, said.sha256
            )
        })
    }

    /// Files that are not there, or not of their size.
    pub(super) fn first_flaw(&self, folder: &Path) -> Option<Flaw> {
        self.files.iter().find_map(|file| match folder.join(&file.path).metadata() {
            Ok(found) if found.len() == file.bytes => None,
            Ok(found) => Some(Flaw::Size { file: file.path.clone(), expected: file.bytes, found: found.len() }),
            Err(error) => Some(Flaw::of_reading(&file.path, error)),
        })
    }
}

/// What a manifest says of a record beside its digest.
#[derive(Debug)]
pub(super) struct RecordFacts {
    pub(super) fleet: Digest,
    pub(super) root_version: u64,
    pub(super) incarnation: String,
    pub(super) taken_at: Timestamp,
    pub(super) schema_version: i64,
}

fn tables(digest: &RecordDigest) -> Vec<TableEntry> {
    let entry = |table: &stead_store::TableDigest| TableEntry {
        table: table.table.to_owned(),
        rows: table.rows,
        sha256: Digest::from_bytes(table.sha256),
    };
    digest.tables.iter().map(entry).collect()
}

/// The digest of what a manifest says, however it is laid out.
fn checksum(value: &Value) -> Result<Digest, String> {
    canonical::to_vec(value).map(|bytes| Digest::of(&bytes)).map_err(|error| error.to_string())
}

/// Whether a path stays in the backup, as one of its own files.
fn is_inside(path: &str) -> bool {
    path == RECORD
        || Path::new(path)
            .strip_prefix(KEYS)
            .is_ok_and(|rest| rest.components().count() > 0 && rest.components().all(|part| matches!(part, Component::Normal(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let zero = Digest::of(b"");
        let files = vec![FileEntry { path: RECORD.to_owned(), bytes: 1, sha256: zero }];
        let record = RecordFacts {
            fleet: zero,
            root_version: 1,
            incarnation: "abc".to_owned(),
            taken_at: "2026-01-31T12:00:00Z".parse().unwrap(),
            schema_version: 3,
        };
        let digest = RecordDigest { tables: Vec::new(), sha256: [1; 32], revision: stead_model::Revision(7) };
        Manifest::new(&digest, record, files)
    }

    #[test]
    fn there_and_back_and_no_word_of_it_changes_unnoticed() {
        let value = manifest().to_value().unwrap();
        let text = crate::output::json(&value).unwrap();
        assert_eq!(Manifest::parse(text.as_bytes()).unwrap(), manifest());
        let members = value.as_object().unwrap().len();
        for name in value.as_object().unwrap().keys() {
            let mut edited = value.clone();
            edited[name] = "sha256:0000000000000000000000000000000000000000000000000000000000000000".into();
            assert!(Manifest::parse(crate::output::json(&edited).unwrap().as_bytes()).is_err(), "{name}");
            edited.as_object_mut().unwrap().remove(name);
            assert_eq!(edited.as_object().unwrap().len(), members - 1);
            assert!(Manifest::parse(crate::output::json(&edited).unwrap().as_bytes()).is_err(), "{name} removed");
        }
        for place in 0..text.len() {
            assert!(Manifest::parse(&text.as_bytes()[..place]).is_err(), "cut at {place}");
            for bit in 0..8 {
                let mut flipped = text.as_bytes().to_vec();
                flipped[place] ^= 1 << bit;
                assert!(Manifest::parse(&flipped).is_err(), "bit {bit} of byte {place}");
            }
        }
    }

    #[test]
    fn files_elsewhere_are_not_named() {
        for (path, inside) in [
            ("record.db", true),
            ("keys/tls/authority.key", true),
            ("keys", false),
            ("keys/../../etc/passwd", false),
            ("/etc/passwd", false),
            ("../record.db", false),
        ] {
            assert_eq!(is_inside(path), inside, "{path}");
        }
    }
}
