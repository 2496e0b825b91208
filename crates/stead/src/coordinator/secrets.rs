//! Secrets of the coordinator that are no keys: made once, kept, readable by its user only.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes of a secret: as many as nobody guesses.
const SECRET_BYTES: usize = 32;

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The file failed.
    #[error("the secret {} cannot be read or written: {source}", .path.display())]
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

/// Makes a directory, and those above it, that nobody else can look into.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Reads the secret, or makes it.
pub(crate) fn load_or_create(path: &Path) -> Result<[u8; SECRET_BYTES], SecretError> {
    let failed = |source| SecretError::File { path: path.to_owned(), source };
    let mut secret = [0; SECRET_BYTES];
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            super::random(&mut secret);
            file.write_all(&secret).and_then(|()| file.sync_all()).map_err(failed)?;
            Ok(secret)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut bytes = Vec::new();
            fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(failed)?;
            <[u8; SECRET_BYTES]>::try_from(bytes.as_slice())
                .map_err(|_| SecretError::Length { path: path.to_owned(), bytes: bytes.len() })
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
        fs::write(&path, b"short").unwrap();
        assert!(matches!(load_or_create(&path), Err(SecretError::Length { bytes: 5, .. })));
    }
}
