//! The machine's file system as seen from its root directory: every path is resolved below that root, or refused.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

mod folder;
mod gate;
mod names;
mod path;
mod thing;

pub use folder::Folder;
pub(crate) use folder::{FILE_BYTES_MAX, copy};
pub use gate::{Gate, OpenGate};
pub use names::{Ids, NameError};
pub use path::{HostPath, HostPathError};
pub use thing::Thing;

/// How often a path is resolved again when something was renamed meanwhile, which the kernel answers with EAGAIN.
const RESOLVE_TRIES_MAX: usize = 16;

/// The root directory of a machine, held open.
///
/// Where the root is `/`, links that lead anywhere are followed, as everywhere on that machine. Where it is a folder that
/// plays a machine, a path that leads out of it by a link or by `..` is refused by the kernel (`openat2`, RESOLVE_BENEATH).
#[derive(Debug)]
pub struct Host {
    root: OwnedFd,
    root_path: PathBuf,
    resolve: ResolveFlags,
    gate: Arc<dyn Gate>,
}

/// Why something could not be done to the machine's files.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The path leaves the root.
    #[error("{path} leads outside this machine's root {}, by a link or `..` on the way: take that link away, or name the place it leads to", root.display())]
    Outside {
        /// The path as wished for.
        path: String,
        /// The root.
        root: PathBuf,
    },
    /// The folder is missing.
    #[error("there is no directory {folder} for {path}: wish for the directory too")]
    NoFolder {
        /// The path as wished for.
        path: String,
        /// Its folder.
        folder: String,
    },
    /// The operating system said no.
    #[error("could not {act} {path}")]
    System {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something is larger than we read.
    #[error("{path} has more than {bytes_max} bytes, which is more than is read of such a file")]
    TooLarge {
        /// The file.
        path: String,
        /// The limit.
        bytes_max: u64,
    },
}

impl HostError {
    pub(crate) fn system(act: &'static str, path: &HostPath, source: impl Into<io::Error>) -> Self {
        Self::System { act, path: path.to_string(), source: source.into() }
    }
}

impl Host {
    /// Opens the root of a machine.
    ///
    /// # Errors
    ///
    /// There is no such directory, or it can't be opened.
    pub fn open(root: &Path) -> Result<Self, HostError> {
        Self::open_with(root, Arc::new(OpenGate))
    }

    /// Opens the root of a machine; every change passes `gate` first.
    ///
    /// # Errors
    ///
    /// There is no such directory, or it can't be opened.
    pub fn open_with(root: &Path, gate: Arc<dyn Gate>) -> Result<Self, HostError> {
        let failed = |source: io::Error| HostError::System { act: "open the root", path: root.display().to_string(), source };
        let root_path = root.canonicalize().map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, &root_path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let bound = if root_path == Path::new("/") { ResolveFlags::IN_ROOT } else { ResolveFlags::BENEATH };
        Ok(Self { root: fd, root_path, resolve: bound | ResolveFlags::NO_MAGICLINKS, gate })
    }

    /// Where the root is, in the file system of the process.
    #[must_use]
    pub fn root_path(&self) -> &Path {
        &self.root_path
    }

    /// The folder that holds this path, or nothing where there is none.
    ///
    /// # Errors
    ///
    /// The way there leaves the root, goes through something that is no directory, or can't be read.
    pub fn folder_of(&self, path: &HostPath) -> Result<Option<Folder>, HostError> {
        let (folder, name) = path.split();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match self.resolve(path, if folder.is_empty() { "." } else { folder }, flags) {
            Ok(fd) => Ok(Some(Folder::new(fd, name, path.clone(), Arc::clone(&self.gate)))),
            Err(HostError::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The folder that holds this path, which has to be there.
    pub(crate) fn folder_needed(&self, path: &HostPath) -> Result<Folder, HostError> {
        let folder = || HostError::NoFolder { path: path.to_string(), folder: format!("/{}", path.split().0) };
        self.folder_of(path)?.ok_or_else(folder)
    }

    /// Opens a directory, to run something in it; without a path, the root.
    pub(crate) fn directory(&self, path: Option<&HostPath>) -> Result<OwnedFd, HostError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match path {
            Some(path) => self.resolve(path, path.inner(), flags),
            None => self.root.try_clone().map_err(|source| HostError::System { act: "open", path: "/".into(), source }),
        }
    }

    /// The bytes of a file, following links inside the root; nothing where there is none.
    pub(crate) fn read(&self, path: &HostPath, bytes_max: u64) -> Result<Option<Vec<u8>>, HostError> {
        let file = match self.resolve(path, path.inner(), OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(fd) => std::fs::File::from(fd),
            Err(HostError::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|source| HostError::system("read", path, source))?;
        if bytes.len() as u64 > bytes_max {
            return Err(HostError::TooLarge { path: path.to_string(), bytes_max });
        }
        Ok(Some(bytes))
    }

    fn resolve(&self, wished: &HostPath, inner: &str, flags: OFlags) -> Result<OwnedFd, HostError> {
        let mut tries = 0;
        loop {
            match openat2(&self.root, inner, flags | OFlags::CLOEXEC, Mode::empty(), self.resolve) {
                Ok(fd) => return Ok(fd),
                Err(Errno::AGAIN | Errno::INTR) if tries < RESOLVE_TRIES_MAX => tries += 1,
                Err(Errno::XDEV) => {
                    return Err(HostError::Outside { path: wished.to_string(), root: self.root_path.clone() });
                }
                Err(errno) => return Err(HostError::system("open the way to", wished, errno)),
            }
        }
    }
}
