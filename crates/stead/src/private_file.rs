//! Files that are written whole or not at all, and that only their owner reads.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why a file was not written; what was there before is untouched.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub(crate) struct WriteFileError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Writes a file that only its owner reads, through a second one that takes its name when it is complete and on disk.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), WriteFileError> {
    write_all(path, bytes).map_err(|source| WriteFileError { path: path.to_owned(), source })
}

fn write_all(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // A link keeps pointing where its owner made it point.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = write_new(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, &path));
    // The name has to last as long as what it names.
    let written = written.and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // The name is ours alone; whether this works or not, the first error is the one to tell.
        let _first_error_counts = std::fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a folder that only its owner looks into, with those above it.
pub(crate) fn make_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Opens a file that is there to be locked.
pub(crate) fn open_lock(path: &Path) -> std::io::Result<File> {
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Removes a file, for good when this returns. One that is not there is as good as removed.
pub(crate) fn remove(path: &Path) -> Result<(), WriteFileError> {
    let removed = match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let synced = removed.and_then(|()| path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()));
    synced.map_err(|source| WriteFileError { path: path.to_owned(), source })
}
