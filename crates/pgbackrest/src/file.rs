//! Files that are written whole or not at all, and are on the disk then.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::error::Error;
use crate::program::SystemUser;

/// Folders on the way to a file, where they are missing: others have to get through them.
const FOLDER_MODE: u32 = 0o755;

/// Writes a file that only its owner reads, through a second one that takes its name. With a user it is that user's.
pub(crate) fn write(path: &Path, bytes: &[u8], owner: Option<&SystemUser>) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let folder = path.parent().unwrap_or(Path::new("/"));
    let failed = |source| Error::File { doing: "write", path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(failed)?;
    let written = write_new(&new, bytes).map_err(failed).and_then(|()| owner.map_or(Ok(()), |owner| owner.give(&new)));
    let renamed = written.and_then(|()| std::fs::rename(&new, path).map_err(failed));
    if renamed.is_err() {
        // The first error is the one to tell.
        let _first_error_counts = std::fs::remove_file(&new);
    }
    renamed.and_then(|()| sync(folder))
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // One that was left over may have other rights.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Waits until the names in a folder are on the disk.
pub(crate) fn sync(folder: &Path) -> Result<(), Error> {
    let failed = |source| Error::File { doing: "bring to the disk", path: folder.to_owned(), source };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}
