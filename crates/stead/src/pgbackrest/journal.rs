//! How far a restore has got: beside the data directory, so that one that was killed goes on where it was.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::program::file_failure;
use crate::failure::{Failure, FailureKind};
use crate::private_file;

/// What is noted before each step is done.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Journal {
    /// The moment that is restored.
    pub(super) at: Timestamp,
    /// Where the data goes that was there; nowhere where it is overwritten.
    pub(super) aside: Option<PathBuf>,
    /// With which words the server was started.
    pub(super) options: String,
    /// Whether the files of the backup are all there.
    pub(super) restored: bool,
    /// The record's incarnation before it began anew: noted when it is about to.
    pub(super) incarnation: Option<String>,
}

impl Journal {
    pub(super) fn path(data: &Path) -> PathBuf {
        beside(data, "stead-restore")
    }

    /// Of a restore that has not come to its end, if there is one.
    pub(super) fn read(data: &Path) -> Result<Option<Self>, Failure> {
        let path = Self::path(data);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_failure("read", &path, &error)),
        };
        let broken = |error| Failure::new(FailureKind::Config, format!("{}: {error}", path.display()));
        serde_json::from_slice(&text).map(Some).map_err(broken)
    }

    /// Durably.
    pub(super) fn write(&self, data: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| Failure::internal(error.to_string()))?;
        private_file::write(&Self::path(data), &text).map_err(|error| Failure::of(FailureKind::Config, error))
    }

    pub(super) fn remove(data: &Path) -> Result<(), Failure> {
        let path = Self::path(data);
        std::fs::remove_file(&path).map_err(|error| file_failure("remove", &path, &error))
    }

    /// In words.
    pub(super) fn state(&self) -> String {
        let data = match &self.aside {
            Some(aside) if aside.exists() => format!("the data that was there is in {}", aside.display()),
            Some(_) => "the data is where it was".to_owned(),
            None => "the data that was there is being overwritten".to_owned(),
        };
        let files = if self.restored { "the backup's files are there" } else { "the backup's files are not all there" };
        format!("a restore to {} has not come to its end: {data}, and {files}", self.at)
    }
}

/// A name beside a data directory: in its folder, on its disk.
pub(super) fn beside(data: &Path, what: &str) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{what}"));
    data.with_file_name(name)
}
