//! Secrets of the coordinator that are no keys: made once, kept, readable by its user only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::private_file::{self, WriteFileError};

/// Bytes of a secret: as many as nobody guesses.
const SECRET_BYTES: usize = 32;

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// It cannot be written.
    #[error("the secret cannot be kept: {0}")]
    Write(#[source] WriteFileError),
    /// It cannot be read.
    #[error("the secret {} cannot be read: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("the secret {} has {bytes} bytes and not {SECRET_BYTES}; remove it, and a new one is made (tickets made before stop working)", .path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// How many it has.
        bytes: usize,
    },
}

/// Reads the secret, or makes it. A start that was cut short leaves a whole one or none.
pub(crate) fn load_or_create(path: &Path) -> Result<[u8; SECRET_BYTES], SecretError> {
    let failed = |source| SecretError::File { path: path.to_owned(), source };
    match fs::read(path) {
        Ok(bytes) => <[u8; SECRET_BYTES]>::try_from(bytes.as_slice())
            .map_err(|_| SecretError::Length { path: path.to_owned(), bytes: bytes.len() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut secret = [0; SECRET_BYTES];
            super::random(&mut secret);
            private_file::write(path, &secret).map_err(SecretError::Write)?;
            Ok(secret)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_a_cut_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("join.pass");
        let secret = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap(), secret);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        fs::write(&path, b"short").unwrap();
        assert!(matches!(load_or_create(&path), Err(SecretError::Length { bytes: 5, .. })));
    }
}
