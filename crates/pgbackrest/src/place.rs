//! The places that a restore writes to: looked at before anything is touched, made, moved aside and cleared.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::error::Error;
use crate::info::Info;
use crate::journal::Journal;
use crate::stanza::Stanza;

/// The mode of a data directory, without which no server starts.
const DATA_MODE: u32 = 0o700;
/// The mode of a folder on the way there.
const FOLDER_MODE: u32 = 0o755;

/// Whether nothing is there: no folder, or one with nothing in it but what a file system itself puts into its root.
pub(crate) fn is_empty(data: &Path) -> Result<bool, Error> {
    let entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Err(Error::NoFolder { path: data.to_owned() }),
        Err(error) => return Err(Error::file("read", data, error)),
    };
    Ok(entries.flatten().all(|entry| entry.file_name() == "lost+found"))
}

/// What stands beside the data, and in no backup: the server's programs, and its configuration where that is in another folder.
pub(crate) fn ensure_beside(stanza: &Stanza) -> Result<(), Error> {
    let Stanza { data, server_config, programs, .. } = stanza;
    let server = programs.join("postgres");
    if !server.is_file() {
        return Err(Error::NotInBackup { what: "the server's program", path: server });
    }
    if !server_config.starts_with(data) && !server_config.is_file() {
        return Err(Error::NotInBackup { what: "the server's configuration", path: server_config.clone() });
    }
    Ok(())
}

/// Where the backup that will be taken puts tablespaces. In the place of a data directory that is not there, or is moved aside,
/// pgBackRest overwrites no tablespace either: nobody knows whose it is.
pub(crate) async fn empty_tablespaces(stanza: &Stanza, info: &Info, at: Timestamp) -> Result<Vec<PathBuf>, Error> {
    let folders = stanza.tablespaces(info, at).await?;
    for folder in &folders {
        if !is_empty(folder)? {
            return Err(Error::TablespaceInTheWay { path: folder.clone() });
        }
    }
    Ok(folders)
}

/// Whether pgBackRest will overwrite what is there: it does so with what it takes for a server's data.
pub(crate) fn ensure_can_overwrite(stanza: &Stanza) -> Result<(), Error> {
    let data = &stanza.data;
    if ["PG_VERSION", "backup.manifest"].iter().any(|name| data.join(name).is_file()) {
        return Ok(());
    }
    Err(Error::NoData { data: data.clone() })
}

/// Whether the data can take another name, and the backup has room beside it.
pub(crate) fn ensure_can_move(stanza: &Stanza, info: &Info, aside: &Path) -> Result<(), Error> {
    let data = &stanza.data;
    let no = |why: &str| Err(Error::NotMovable { data: data.clone(), why: why.to_owned() });
    let metadata = |path: &Path| fs::symlink_metadata(path).map_err(|error| Error::file("read", path, error));
    let (own, above) = (metadata(data)?, metadata(data.parent().unwrap_or(data))?);
    if own.is_symlink() {
        return no("it is a symbolic link");
    }
    if own.dev() != above.dev() {
        return no("it is a disk of its own");
    }
    if fs::read_dir(data.join("pg_tblspc")).is_ok_and(|mut entries| entries.next().is_some()) {
        return no("the server has tablespaces in other places, which would stay where they are");
    }
    if fs::symlink_metadata(data.join("pg_wal")).is_ok_and(|wal| wal.is_symlink()) {
        return no("its log (pg_wal) is in another place, which would stay where it is");
    }
    if aside.exists() {
        return Err(Error::Exists { path: aside.to_owned() });
    }
    let disk = rustix::fs::statvfs(data).map_err(|error| Error::file("measure", data, error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needed = info.good().map(|backup| backup.info.size).max().unwrap_or_default();
    if free < needed {
        return Err(Error::NoRoom { free, needed });
    }
    Ok(())
}

/// Gives the data another name.
pub(crate) fn move_aside(data: &Path, aside: &Path) -> Result<(), Error> {
    fs::rename(data, aside).map_err(|error| {
        Error::file("move aside", data, error).hint(format!(
            "The server is stopped, and its data is where it was. Start it, or remove {} and overwrite the data with --delta.",
            Journal::path(data).display()
        ))
    })?;
    crate::file::sync(data.parent().unwrap_or(data))
}

/// Removes what an earlier try has put there, and leaves the folder: it may be a disk.
pub(crate) fn clear(data: &Path) -> Result<(), Error> {
    let failed = |error| Error::file("clear", data, error);
    let entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        let removed = if is_folder { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
        removed.map_err(|error| Error::file("remove", &entry.path(), error))?;
    }
    Ok(())
}

/// Makes the data directory as a server wants it, and the folders of which none is there any more.
pub(crate) fn make(stanza: &Stanza) -> Result<(), Error> {
    let (data, user) = (&stanza.data, &stanza.door.user);
    if let Some(parent) = data.parent() {
        user.make_folder(parent, FOLDER_MODE)?;
    }
    user.make_folder(data, DATA_MODE)?;
    // The root of a new file system is root's.
    user.own_folder(data, DATA_MODE)
}

/// With which words the server was started; where nobody knows any more, with which it can be.
pub(crate) fn server_options(stanza: &Stanza) -> String {
    let Stanza { data, server_config, programs, .. } = stanza;
    let elsewhere = if server_config.starts_with(data) {
        String::new()
    } else {
        format!(" \"-c\" \"config_file={}\"", server_config.display())
    };
    let default = format!("{} \"-D\" \"{}\"{elsewhere}\n", programs.join("postgres").display(), data.display());
    fs::read_to_string(data.join("postmaster.opts")).unwrap_or(default)
}

/// What a folder takes, as far as it can be read.
pub(crate) fn bytes_of(folder: &Path) -> u64 {
    let mut waiting: Vec<PathBuf> = vec![folder.to_owned()];
    let mut bytes = 0_u64;
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => waiting.push(entry.path()),
                Ok(metadata) => bytes = bytes.saturating_add(metadata.len()),
                // It has gone meanwhile.
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty() {
        let folder = std::env::temp_dir().join(format!("stead-place-{}", std::process::id()));
        assert!(is_empty(&folder).unwrap());
        fs::create_dir_all(folder.join("lost+found")).unwrap();
        assert!(is_empty(&folder).unwrap());
        fs::write(folder.join("PG_VERSION"), "15\n").unwrap();
        assert!(!is_empty(&folder).unwrap());
        assert!(matches!(is_empty(&folder.join("PG_VERSION")), Err(Error::NoFolder { .. })));
        assert_eq!(bytes_of(&folder), 3);
        clear(&folder).unwrap();
        assert!(is_empty(&folder).unwrap() && folder.is_dir());
        fs::remove_dir(&folder).unwrap();
    }
}
