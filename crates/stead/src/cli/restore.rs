//! The words of `stead restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::pgbackrest::StanzaFlags;
use crate::duration::Since;

/// `stead restore`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RestoreArgs {
    #[command(subcommand)]
    pub(crate) command: Option<RestoreCommand>,
    #[command(flatten)]
    pub(crate) options: RestoreOptions,
}

/// `stead restore ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum RestoreCommand {
    /// Show what machines have given back, and what owners have to sign again
    #[command(
        long_about = "Show what machines have given back to a record that was restored, and what owners have to sign again. Machines \
                            keep everything that owners signed, and give back what the record lacks when they come: it is verified as if \
                            nobody had ever seen it. What is listed here is what that cannot bring back: machines that have not come \
                            yet, changes of which only some objects came back, and what was signed again meanwhile.\n\nExamples:\n  stead \
                            restore status\n  stead restore status -o json"
    )]
    Status,
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
