//! One name in one open folder: looking at what is there, and replacing it in one durable step.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Uid, fchmod, fchown, fstat, fsync, mkdirat, openat, readlinkat,
    renameat, renameat_with, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use stead_model::Digest;

use super::{Gate, HostError, HostPath, Ids, Thing};

/// How much of a file is read at a time: large enough that system calls don't matter, small enough for the smallest board.
const COPY_BYTES: usize = 64 << 10;

/// The largest file that is read, and so the largest that is replaced: a larger one is data, which no Profile should overwrite.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 30;

/// The mode bits that we look at and set.
const MODE_BITS: u32 = 0o7777;

/// A folder of the machine, held open, and the name in it that a unit is about.
///
/// What is made is made under another name first, complete with owner and mode, and then renamed: at no moment is there
/// half a thing at the path. Every change is on the disk when the call returns.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    name: String,
    draft: String,
    path: HostPath,
    gate: Arc<dyn Gate>,
}

impl Folder {
    pub(super) fn new(fd: OwnedFd, name: &str, path: HostPath, gate: Arc<dyn Gate>) -> Self {
        // One draft a name, so that what a crash leaves behind is found again and never piles up.
        let draft = format!(".stead-{}", Digest::of(name.as_bytes()).short());
        Self { fd, name: name.to_owned(), draft, path, gate }
    }

    /// What is at the path, and for a directory whether it is empty. A link is looked at, not followed.
    ///
    /// # Errors
    ///
    /// It could not be read.
    pub fn look(&self) -> Result<(Thing, bool), HostError> {
        let stat = match statat(&self.fd, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok((Thing::Absent, true)),
            Err(errno) => return Err(self.system("look at", errno)),
        };
        let thing = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if u64::try_from(stat.st_size).is_ok_and(|bytes| bytes > FILE_BYTES_MAX) => {
                Thing::Other { what: format!("a file of {} bytes, more than is replaced,", stat.st_size) }
            }
            FileType::RegularFile => self.read_through(&mut io::sink())?,
            FileType::Directory => return self.look_at_directory(),
            FileType::Symlink => {
                let target = readlinkat(&self.fd, &self.name, Vec::new()).map_err(|errno| self.system("read the link", errno))?;
                let odd = |_| Thing::Other { what: "a link whose target is not UTF-8".into() };
                target.into_string().map_or_else(odd, |target| Thing::Link { target })
            }
            FileType::Fifo => Thing::Other { what: "a pipe".into() },
            FileType::Socket => Thing::Other { what: "a socket".into() },
            _ => Thing::Other { what: "a device".into() },
        };
        Ok((thing, true))
    }

    /// Copies the file at the path, and says what it copied.
    pub(crate) fn read_through(&self, to: &mut dyn io::Write) -> Result<Thing, HostError> {
        // Not blocking, should a pipe have taken the file's place meanwhile.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = openat(&self.fd, &self.name, flags, Mode::empty()).map_err(|errno| self.system("open", errno))?;
        let stat = fstat(&fd).map_err(|errno| self.system("look at", errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.system("read", io::Error::other("something else took its place just now")));
        }
        let mut file = std::fs::File::from(fd);
        let (digest, bytes) = copy(&mut file, to).map_err(|source| self.system("read", source))?;
        Ok(Thing::File { digest, bytes, mode: stat.st_mode & MODE_BITS, uid: stat.st_uid, gid: stat.st_gid })
    }

    fn look_at_directory(&self) -> Result<(Thing, bool), HostError> {
        let fd = self.open_directory(&self.name)?;
        let stat: Stat = fstat(&fd).map_err(|errno| self.system("look at", errno))?;
        let mut entries = Dir::read_from(&fd).map_err(|errno| self.system("list", errno))?;
        let other = entries.find(|entry| match entry {
            Ok(entry) => !matches!(entry.file_name().to_bytes(), b"." | b".."),
            Err(_) => true,
        });
        let thing = Thing::Directory { mode: stat.st_mode & MODE_BITS, uid: stat.st_uid, gid: stat.st_gid };
        Ok((thing, other.is_none()))
    }

    /// Puts a file at the path, in place of a file, a link or nothing.
    ///
    /// # Errors
    ///
    /// The disk is full, something can't be replaced, …: then what was there is still there.
    pub fn put_file(&self, content: &mut dyn Read, mode: u32, ids: Ids) -> Result<(), HostError> {
        self.drafted(|| {
            self.pass("create a draft of")?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(&self.fd, &self.draft, flags, Mode::RUSR | Mode::WUSR)
                .map_err(|errno| self.system("create a draft of", errno))?;
            self.pass("write")?;
            let mut file = std::fs::File::from(fd);
            copy(content, &mut file).map_err(|source| self.system("write", source))?;
            self.own(&file, mode, ids)?;
            self.pass("replace")?;
            renameat(&self.fd, &self.draft, &self.fd, &self.name).map_err(|errno| self.system("replace", errno))
        })
    }

    /// Puts a link at the path, in place of a file, a link or nothing.
    ///
    /// # Errors
    ///
    /// As with [`put_file`](Self::put_file).
    pub fn put_link(&self, target: &str) -> Result<(), HostError> {
        self.drafted(|| {
            self.pass("create a draft of")?;
            symlinkat(target, &self.fd, &self.draft).map_err(|errno| self.system("create a draft of", errno))?;
            self.pass("replace")?;
            renameat(&self.fd, &self.draft, &self.fd, &self.name).map_err(|errno| self.system("replace", errno))
        })
    }

    /// Makes a directory at the path, where there is nothing.
    ///
    /// # Errors
    ///
    /// There is something, or the system says no.
    pub fn make_directory(&self, mode: u32, ids: Ids) -> Result<(), HostError> {
        self.drafted(|| {
            self.pass("create a draft of")?;
            mkdirat(&self.fd, &self.draft, Mode::RWXU).map_err(|errno| self.system("create a draft of", errno))?;
            self.own(&self.open_directory(&self.draft)?, mode, ids)?;
            self.pass("put in place")?;
            renameat_with(&self.fd, &self.draft, &self.fd, &self.name, RenameFlags::NOREPLACE)
                .map_err(|errno| self.system("put in place", errno))
        })
    }

    /// Sets owner and mode of the directory at the path: first the owner, then the mode.
    ///
    /// # Errors
    ///
    /// There is no directory, or the system says no.
    pub fn own_directory(&self, mode: u32, ids: Ids) -> Result<(), HostError> {
        self.own(&self.open_directory(&self.name)?, mode, ids)
    }

    /// Removes the file or link at the path, or the directory if it is empty. Nothing there is fine.
    ///
    /// # Errors
    ///
    /// The directory isn't empty, or the system says no.
    pub fn remove(&self) -> Result<(), HostError> {
        self.remove_name(&self.name)?;
        self.sync()
    }

    /// Removes what an interrupted change may have left.
    ///
    /// # Errors
    ///
    /// The system says no.
    pub fn remove_draft(&self) -> Result<(), HostError> {
        self.remove_name(&self.draft)
    }

    fn remove_name(&self, name: &str) -> Result<(), HostError> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(self.system("look at", errno)),
            Ok(stat) => {
                self.pass("remove")?;
                let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                unlinkat(&self.fd, name, flags).or_else(|errno| if errno == Errno::NOENT { Ok(()) } else { Err(errno) })
            }
        }
        .map_err(|errno| self.system("remove", errno))
    }

    /// Makes something under the draft's name and renames it; on failure the draft goes again.
    fn drafted(&self, make: impl FnOnce() -> Result<(), HostError>) -> Result<(), HostError> {
        self.remove_draft()?;
        if let Err(error) = make() {
            // The first error is the one to tell; a draft that stays is removed before the next.
            if let Err(second) = self.remove_draft() {
                tracing::debug!(path = %self.path, error = %second, "a draft could not be removed");
            }
            return Err(error);
        }
        self.sync()
    }

    fn own(&self, fd: &impl AsFd, mode: u32, ids: Ids) -> Result<(), HostError> {
        let stat = fstat(fd).map_err(|errno| self.system("look at", errno))?;
        if (stat.st_uid, stat.st_gid) != (ids.uid, ids.gid) {
            self.pass("set the owner of")?;
            fchown(fd, Some(Uid::from_raw(ids.uid)), Some(Gid::from_raw(ids.gid)))
                .map_err(|errno| self.system("set the owner of", errno))?;
        }
        // After the owner, because a change of owner clears the set-user and set-group bits.
        self.pass("set the mode of")?;
        fchmod(fd, Mode::from_raw_mode(mode & MODE_BITS)).map_err(|errno| self.system("set the mode of", errno))?;
        fsync(fd).map_err(|errno| self.system("write out", errno))
    }

    fn open_directory(&self, name: &str) -> Result<OwnedFd, HostError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.fd, name, flags, Mode::empty()).map_err(|errno| self.system("open", errno))
    }

    fn sync(&self) -> Result<(), HostError> {
        self.pass("write out the folder of")?;
        fsync(&self.fd).map_err(|errno| self.system("write out the folder of", errno))
    }

    fn pass(&self, act: &'static str) -> Result<(), HostError> {
        self.gate.pass(act, self.path.as_str()).map_err(|source| self.system(act, source))
    }

    fn system(&self, act: &'static str, source: impl Into<io::Error>) -> HostError {
        HostError::system(act, &self.path, source)
    }
}

/// Copies everything, and says its digest and length.
pub(crate) fn copy(from: &mut dyn Read, to: &mut dyn io::Write) -> io::Result<(Digest, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut bytes = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let piece = buffer.get(..count).unwrap_or_default();
        hasher.update(piece);
        to.write_all(piece)?;
        bytes += count as u64;
    }
    to.flush()?;
    Ok((Digest::from_bytes(hasher.finalize().into()), bytes))
}
