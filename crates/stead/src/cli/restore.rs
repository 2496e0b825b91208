//! The words of `stead restore`.

use std::path::PathBuf;

use clap::Args;

use super::pgbackrest::StanzaFlags;
use crate::duration::Since;

/// `stead restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub(crate) options: RestoreOptions,
}

/// `stead restore` itself: puts a backup back.
#[derive(Debug, Args)]
pub(crate) struct RestoreOptions {
    /// A backup, or a folder of them, of which the newest is taken. Without it, on the host of a database whose log pgBackRest
    /// archives, the server is put back to the moment of --at
    #[arg(long, value_name = "BACKUP")]
    pub(crate) from: Option<PathBuf>,
    /// Take the newest one that was taken at this time or before it: a time, a day, or so long ago. With pgBackRest: this very moment
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Since>,
    /// Put the backup's keys into the state directory, too, where it has none
    #[arg(long)]
    pub(crate) keys: bool,
    /// Do it without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// With pgBackRest: overwrite the data directory, file by file where one differs, and keep nothing of what was there
    #[arg(long, conflicts_with = "from")]
    pub(crate) delta: bool,
    #[command(flatten)]
    pub(crate) stanza: StanzaFlags,
}
