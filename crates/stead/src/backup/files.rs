//! Files of backups: private, on disk, and known by their SHA-256.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use stead_model::Digest;

use super::Progress;

/// Bytes that are read at once.
const BLOCK_BYTES: usize = 1024 * 1024;
/// Random bytes in the name of a scratch folder.
const RANDOM_BYTES: usize = 8;

/// Reads a file through: its size and digest.
pub(super) fn measure(path: &Path, progress: &Progress) -> io::Result<(u64, Digest)> {
    through(path, progress, |_| Ok(()))
}

/// Copies a file into a new one that only its owner reads, waits until it is on disk, and gives size and digest of what was copied.
pub(super) fn copy(from: &Path, to: &Path, progress: &Progress) -> io::Result<(u64, Digest)> {
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let measured = through(from, progress, |block| target.write_all(block))?;
    target.sync_all()?;
    Ok(measured)
}

fn through(path: &Path, progress: &Progress, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<(u64, Digest)> {
    let mut file = File::open(path)?;
    let total = file.metadata()?.len();
    let (mut hasher, mut bytes, mut block) = (Sha256::new(), 0_u64, vec![0; BLOCK_BYTES]);
    loop {
        let count = match file.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = block.get(..count).unwrap_or_default();
        hasher.update(read);
        each(read)?;
        bytes = bytes.saturating_add(count as u64);
        progress.bytes(&path.file_name().unwrap_or_default().to_string_lossy(), bytes, total);
    }
    Ok((bytes, Digest::from_bytes(hasher.finalize().into())))
}

/// Makes a folder that nobody else looks into. It must not be there yet.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Waits until a file, or the names in a folder, are on disk.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A folder for what is needed for a while. It goes with its value.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// In the system's folder for such things: `$TMPDIR`, or /tmp.
    pub(crate) fn new() -> io::Result<Self> {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::env::temp_dir().join(format!("stead-scratch-{name}"));
        make_folder(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.0.join(super::manifest::RECORD)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a scratch folder could not be removed");
        }
    }
}
