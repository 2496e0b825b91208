//! The unit kinds of a host: file, directory, link, command; what each saves before it acts; and whose wishes contradict each other.

use std::sync::Arc;

use crate::host::{Host, HostError, NameError};

mod command;
mod conflicts;
mod directory;
mod file;
mod leftover;
mod link;
mod place;
mod process;
mod saved;
mod wishes;
mod withdrawal;

pub use command::{CommandDesired, CommandUnit};
pub use conflicts::{Claim, Claimed, Conflict, ProfileClaims, conflicts};
pub use directory::DirectoryDesired;
pub use file::FileDesired;
pub use link::LinkDesired;
pub use place::{Place, PlaceUnit};
pub use process::ProcessError;
pub use saved::{Memory, Saved, SavedError};
pub use wishes::{Craft, Wishes};

/// What every unit of a host works with: the machine's files, and what was saved of them.
#[derive(Debug)]
pub struct Workshop {
    /// The machine's files.
    pub host: Arc<Host>,
    /// What units remember of their acts.
    pub saved: Arc<Saved>,
}

/// Why a unit of a host did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// The machine's files.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What was saved.
    #[error(transparent)]
    Saved(#[from] SavedError),
    /// No such user or group.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A command.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Something is there that is not replaced.
    #[error("there is {what} at {path}, which is not replaced: move it away, or wish for another path")]
    InTheWay {
        /// The path.
        path: String,
        /// What is there.
        what: String,
    },
    /// The thread that did it broke down.
    #[error("the work broke down, which is a fault in this program")]
    Broken(#[source] tokio::task::JoinError),
}

/// Runs what waits for the disk where it holds up nothing else. It is not cut short: each such piece ends by itself.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, UnitError> + Send + 'static) -> Result<T, UnitError> {
    tokio::task::spawn_blocking(work).await.map_err(UnitError::Broken)?
}
