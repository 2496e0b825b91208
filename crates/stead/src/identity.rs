//! The key file that makes a machine or a coordinator what it is: made once, kept, never world-readable.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use stead_agent::Keys;
use stead_trust::{KeyFileError, SigningKey};

/// Permissions of a key file: its owner alone reads it.
const KEY_FILE_MODE: u32 = 0o600;

/// Permissions of a state directory that is made for it: nobody else looks into it.
const FOLDER_MODE: u32 = 0o700;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// The file cannot be read or written.
    #[error("the key file {} cannot be {doing}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Reading or writing.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("the key file {} can be read by others (mode {mode:04o}); run `chmod 600 {}`", .path.display(), .path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no key.
    #[error("the key file {}: {source}", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyFileError,
    },
    /// It is a key of another algorithm.
    #[error("the key in {} is no ed25519 key; a machine is its ed25519 key, such as /etc/ssh/ssh_host_ed25519_key", .path.display())]
    NotEd25519 {
        /// The file.
        path: PathBuf,
    },
}

/// Reads an OpenSSH ed25519 private key that must be there already, such as a host key.
///
/// # Errors
///
/// [`IdentityError`] says what is wrong with the file.
pub(crate) fn load(path: &Path) -> Result<SigningKey, IdentityError> {
    let failed = |source| IdentityError::File { path: path.to_owned(), doing: "read", source };
    let mode = fs::metadata(path).map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Permissions { path: path.to_owned(), mode });
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let key = SigningKey::from_openssh(&text, None).map_err(|source| IdentityError::Key { path: path.to_owned(), source })?;
    if key.seed().is_none() {
        return Err(IdentityError::NotEd25519 { path: path.to_owned() });
    }
    Ok(key)
}

/// Reads the key file, or makes a new key there, durably. Two processes that start at once end up with one key.
///
/// # Errors
///
/// [`IdentityError`] says what is wrong with the file.
pub(crate) fn load_or_create(path: &Path) -> Result<SigningKey, IdentityError> {
    match load(path) {
        Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let failed = |source| IdentityError::File { path: path.to_owned(), doing: "written", source };
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| failed(io::Error::other(error.to_string())))?;
    let text =
        SigningKey::from_seed(&seed).to_openssh().map_err(|source| IdentityError::Key { path: path.to_owned(), source })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(failed)?;
    // Written beside and linked into place, so that the file is whole or not there, and an earlier one is never replaced.
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(KEY_FILE_MODE).open(&new).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    let linked = written.and_then(|()| fs::hard_link(&new, path));
    fs::remove_file(&new).map_err(failed)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    load(path)
}

/// The key file of a machine whose agent made it, and the one beside it that waits for owners: `machine.key` and `machine.key.next`.
pub(crate) struct KeyFiles {
    path: PathBuf,
}

impl KeyFiles {
    /// The files of a machine; its key is made where there is none.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] says what is wrong with the file.
    pub(crate) fn open(path: PathBuf) -> Result<Self, IdentityError> {
        load_or_create(&path)?;
        Ok(Self { path })
    }

    fn next_path(&self) -> PathBuf {
        self.path.with_extension("key.next")
    }
}

impl Keys for KeyFiles {
    fn current(&self) -> Result<SigningKey, String> {
        load(&self.path).map_err(|error| error.to_string())
    }

    fn next(&self) -> Result<Option<SigningKey>, String> {
        match load(&self.next_path()) {
            Ok(key) => Ok(Some(key)),
            Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn make_next(&self) -> Result<SigningKey, String> {
        load_or_create(&self.next_path()).map_err(|error| error.to_string())
    }

    fn adopt_next(&self) -> Result<(), String> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let renamed = fs::rename(self.next_path(), &self.path).and_then(|()| fs::File::open(folder)?.sync_all());
        renamed.map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_next_key_waits_beside_the_one_that_counts() {
        let folder = tempfile::tempdir().unwrap();
        let files = KeyFiles::open(folder.path().join("machine.key")).unwrap();
        let key = |key: SigningKey| key.machine_key().unwrap();
        let first = key(files.current().unwrap());
        assert!(files.next().unwrap().is_none());
        let next = key(files.make_next().unwrap());
        assert_eq!(key(files.make_next().unwrap()), next, "asked again, it is the same");
        assert_eq!((key(files.current().unwrap()), key(files.next().unwrap().unwrap())), (first, next));
        files.adopt_next().unwrap();
        assert_eq!(key(files.current().unwrap()), next);
        assert!(files.next().unwrap().is_none());
        assert!(files.adopt_next().is_err());
    }

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/machine.key");
        let first = load_or_create(&path).unwrap();
        let second = load_or_create(&path).unwrap();
        assert_eq!(first.machine_key().unwrap(), second.machine_key().unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_or_create(&path), Err(IdentityError::Permissions { mode: 0o644, .. })));
    }
}
