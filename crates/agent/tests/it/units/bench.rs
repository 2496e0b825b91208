//! A machine in a temporary folder, with a gate that can be closed.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stead_agent::{DirectoryDesired, FileDesired, Gate, Host, HostPath, LinkDesired, Place, PlaceUnit, Saved, Workshop};
use stead_unit::{AnyUnit, Direction, Finished};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Lets so many changes pass, and then none: what a kill leaves behind.
#[derive(Debug)]
pub(crate) struct Fuse {
    left: AtomicUsize,
}

impl Gate for Fuse {
    fn pass(&self, _act: &'static str, _path: &str) -> io::Result<()> {
        let burn = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, burn) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("killed")),
        }
    }
}

pub(crate) struct Machine {
    pub(crate) folder: TempDir,
    pub(crate) workshop: Arc<Workshop>,
    fuse: Arc<Fuse>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        let (workshop, fuse) = open(folder.path(), &folder.path().join("root"));
        Self { folder, workshop, fuse }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// A path below the machine's root.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        std::fs::write(self.at(path), content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.at(path)).ok()
    }

    /// Kills the agent after so many changes of the disk.
    pub(crate) fn kill_after(&self, changes: usize) {
        self.fuse.left.store(changes, Ordering::SeqCst);
    }

    pub(crate) fn was_killed(&self) -> bool {
        self.fuse.left.load(Ordering::SeqCst) == 0
    }

    /// Starts the agent again.
    pub(crate) fn restart(&mut self) {
        (self.workshop, self.fuse) = open(self.folder.path(), &self.root());
    }

    pub(crate) fn unit<P: Place>(&self, desired: P) -> Arc<dyn AnyUnit> {
        Arc::new(PlaceUnit::new(desired, Arc::clone(&self.workshop)))
    }

    pub(crate) async fn apply<P: Place>(&self, desired: &P) -> Finished {
        self.unit(desired.clone()).run(Direction::Apply, CancellationToken::new()).await
    }

    pub(crate) async fn remove<P: Place>(&self, desired: &P) -> Finished {
        self.unit(desired.clone()).run(Direction::Remove, CancellationToken::new()).await
    }

    /// Everything below the root: type, mode, owner, and content or target.
    pub(crate) fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        walk(&self.root(), &mut found);
        found
    }

    /// The files of what was saved.
    pub(crate) fn saved_files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("saved")).unwrap().count()
    }
}

fn open(folder: &Path, root: &Path) -> (Arc<Workshop>, Arc<Fuse>) {
    let fuse = Arc::new(Fuse { left: AtomicUsize::new(usize::MAX) });
    let host = Arc::new(Host::open_with(root, Arc::<Fuse>::clone(&fuse)).unwrap());
    let saved = Arc::new(Saved::open_with(&folder.join("saved"), Arc::<Fuse>::clone(&fuse)).unwrap());
    (Arc::new(Workshop { host, saved }), fuse)
}

fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let seen = path.symlink_metadata().unwrap();
        let (mode, uid, gid) = (seen.permissions().mode(), seen.uid(), seen.gid());
        let what = if seen.is_symlink() {
            format!("link to {}", std::fs::read_link(&path).unwrap().display())
        } else if seen.is_dir() {
            walk(&path, found);
            format!("directory {mode:o} {uid}:{gid}")
        } else {
            format!("file {mode:o} {uid}:{gid} {}", String::from_utf8_lossy(&std::fs::read(&path).unwrap()))
        };
        found.insert(path, what);
    }
}

pub(crate) fn path(text: &str) -> HostPath {
    HostPath::parse(text).unwrap()
}

/// Whether this process may give files away.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn file(at: &str, content: &str, mode: u32) -> FileDesired {
    let owner = is_root().then(|| "1234".to_owned());
    FileDesired { path: path(at), content: content.to_owned().into(), mode, group: owner.clone(), owner }
}

pub(crate) fn directory(at: &str, mode: u32) -> DirectoryDesired {
    let owner = is_root().then(|| "1234".to_owned());
    DirectoryDesired { path: path(at), mode, group: owner.clone(), owner }
}

pub(crate) fn link(at: &str, target: &str) -> LinkDesired {
    LinkDesired { path: path(at), target: target.to_owned() }
}
