//! This process: its runtime, its limits, and the folder that it works in.

use crate::failure::BenchError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

/// Files that a thousand watchers and their server need between them, or five hundred agents.
const OPEN_FILES: u64 = 16_384;

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, BenchError> {
    tokio::runtime::Runtime::new().map_err(|source| BenchError::Program { program: "tokio".to_owned(), source })
}

/// A folder on a disk: what is fsync'd in memory says nothing.
pub(crate) fn folder_on_disk() -> Result<TempDir, BenchError> {
    /// `TMPFS_MAGIC` of linux/magic.h.
    const TMPFS: u64 = 0x0102_1994;
    let path = std::env::temp_dir();
    let failed = |source: std::io::Error| BenchError::File { path: std::env::temp_dir(), source };
    let system = rustix::fs::statfs(&path).map_err(|error| failed(error.into()))?;
    if u64::try_from(system.f_type) == Ok(TMPFS) {
        let reason = format!("{} is in memory; set TMPDIR to a folder on a disk", path.display());
        return Err(BenchError::Step { doing: "choosing a folder", reason });
    }
    tempfile::tempdir().map_err(failed)
}

/// Raises the limit of open files as far as it is needed and may be; children inherit it.
pub(crate) fn allow_open_files() -> Result<(), BenchError> {
    let present = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= OPEN_FILES);
    if enough(present.current) {
        return Ok(());
    }
    let wanted = Rlimit { current: present.maximum.map(|most| most.min(OPEN_FILES)).or(Some(OPEN_FILES)), ..present };
    setrlimit(Resource::Nofile, wanted).map_err(BenchError::step("raising the limit of open files"))
}
