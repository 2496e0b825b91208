//! The place where a backup is tried: beside the data, removed at the end, or by the next one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::journal::beside;
use crate::program::SystemUser;
use crate::server::pid_of;

/// The pause before a leftover server is looked at again that was told to end.
const LOOK_AGAIN_MILLISECONDS: u64 = 50;

/// A folder that nobody else tries a backup in.
pub(crate) struct ScratchCluster {
    pub(crate) folder: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl ScratchCluster {
    /// Makes it, and removes what an earlier one has left that was killed.
    pub(crate) async fn make(data: &Path, user: &SystemUser) -> Result<Self, Error> {
        let (folder, lock) = (beside(data, "stead-verify"), beside(data, "stead-verify-lock"));
        let failed = |error: std::io::Error| Error::file("write", &lock, error);
        let held = File::options().create(true).append(true).open(&lock).map_err(failed)?;
        if held.try_lock().is_err() {
            return Err(Error::Busy { what: "another `stead backup verify`" });
        }
        if let Some(pid) =
            pid_of(&folder.join("data")).and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw)
        {
            let _ended = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
            while pid_of(&folder.join("data")).is_some() {
                tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MILLISECONDS)).await;
            }
        }
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|error| Error::file("remove", &folder, error))?;
        }
        user.make_folder(&folder, 0o700)?;
        for part in ["data", "tablespaces", "private"] {
            user.make_folder(&folder.join(part), 0o700)?;
        }
        Ok(Self { folder, _lock: held })
    }
}

impl Drop for ScratchCluster {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "what a backup was tried in stays");
        }
    }
}
