//! How far a restore has got: beside the data directory, so that one that was killed goes on where it was.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::file;

/// What is noted before each step is done.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Journal {
    /// The moment that is restored.
    pub(crate) at: Timestamp,
    /// Where the data goes that was there; nowhere where it is overwritten.
    pub(crate) aside: Option<PathBuf>,
    /// Whether the backup's files are put where nothing is, or nothing any more.
    pub(crate) fresh: bool,
    /// Folders of tablespaces in which nothing was, and the backup's files are put as well.
    pub(crate) tablespaces: Vec<PathBuf>,
    /// With which words the server was started.
    pub(crate) options: String,
    /// Whether the files of the backup are all there.
    pub(crate) restored: bool,
    /// The record's incarnation before it began anew: noted when it is about to.
    pub(crate) incarnation: Option<String>,
}

impl Journal {
    pub(crate) fn path(data: &Path) -> PathBuf {
        beside(data, "stead-restore")
    }

    /// Of a restore that has not come to its end, if there is one.
    pub(crate) fn read(data: &Path) -> Result<Option<Self>, Error> {
        let path = Self::path(data);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", &path, error)),
        };
        let broken = |error: serde_json::Error| Error::file("understand", &path, error.into());
        serde_json::from_slice(&text).map(Some).map_err(broken)
    }

    /// Durably.
    pub(crate) fn write(&self, data: &Path) -> Result<(), Error> {
        let path = Self::path(data);
        let text = serde_json::to_vec_pretty(self).map_err(|error| Error::file("write", &path, error.into()))?;
        file::write(&path, &text, None)
    }

    pub(crate) fn remove(data: &Path) -> Result<(), Error> {
        let path = Self::path(data);
        std::fs::remove_file(&path).map_err(|error| Error::file("remove", &path, error))
    }

    /// In words.
    pub(crate) fn state(&self) -> String {
        let data = match &self.aside {
            Some(aside) if aside.exists() => format!("the data that was there is in {}", aside.display()),
            Some(_) => "the data is where it was".to_owned(),
            None if self.fresh => "no data was there".to_owned(),
            None => "the data that was there is being overwritten".to_owned(),
        };
        let files = if self.restored { "the backup's files are there" } else { "the backup's files are not all there" };
        format!("a restore to {} has not come to its end: {data}, and {files}", self.at)
    }
}

/// A name beside a data directory: in its folder, on its disk.
pub(crate) fn beside(data: &Path, what: &str) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{what}"));
    data.with_file_name(name)
}
