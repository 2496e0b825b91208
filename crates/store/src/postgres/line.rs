//! The history that a server writes, and the file in which a coordinator keeps the newest one that it has followed: one that starts
//! while only an old primary answers must not take it for the record.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::open_error::OpenError;

/// The history that a server writes: the cluster it belongs to, and its timeline, which goes up with each promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// What PostgreSQL calls the system identifier: drawn by `initdb`, and the same on every copy.
    #[serde(rename = "systemIdentifier", with = "as_text")]
    pub(super) system: i64,
    pub(super) timeline: u32,
}

/// It is longer than the integers that every reader of JSON keeps.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Where the newest line is kept, across restarts.
#[derive(Clone, Debug)]
pub(super) struct LineFile(PathBuf);

impl LineFile {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What was followed last; none where there is no file yet.
    pub(super) fn read(&self) -> Result<Option<Line>, OpenError> {
        let read = match fs::read(&self.0) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                let hint = "remove the file to follow whichever server takes writes";
                io::Error::new(ErrorKind::InvalidData, format!("it does not say which history is the record's ({error}); {hint}"))
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        read.map_err(|source| OpenError::File { record: self.0.display().to_string(), source })
    }

    /// Keeps a line. When this returns it is on disk; until then what was there before is whole.
    pub(super) fn write(&self, line: Line) -> io::Result<()> {
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut name = self.0.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let new = self.0.with_file_name(name);
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &self.0)?;
            File::open(folder)?.sync_all()
        };
        write().inspect_err(|_| {
            // The name is ours alone; whether this works or not, the first error is the one to tell.
            let _first_error_counts = fs::remove_file(&new);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_kept_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = LineFile::new(&folder.path().join("line"));
        assert_eq!(file.read().unwrap(), None);
        for timeline in [1, 2] {
            let line = Line { system: i64::MAX, timeline };
            file.write(line).unwrap();
            assert_eq!(file.read().unwrap(), Some(line));
        }
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "{\"systemIdentifier\":\"9223372036854775807\",\"timeline\":2}\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        for text in ["", "{}", "{\"systemIdentifier\": 1, \"timeline\": 2}"] {
            fs::write(file.path(), text).unwrap();
            let refused = file.read().unwrap_err().to_string();
            assert!(refused.contains("remove the file"), "{refused}");
        }
        LineFile::new(&folder.path().join("none/line")).write(Line { system: 1, timeline: 1 }).unwrap_err();
    }
}
