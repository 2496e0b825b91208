//! The words by which backups with pgBackRest are set up, checked and told from others.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use stead_pgbackrest::BackupKind;

use crate::duration::Span;

/// Full backups that are kept; two, so that there is a whole one while the next is being taken and after an older one is gone.
const RETENTION_FULL: u32 = 2;
/// Differential backups that are kept: a week of one a day.
const RETENTION_DIFF: u32 = 7;

/// Which stanza.
#[derive(Clone, Debug, Args)]
pub(crate) struct StanzaFlags {
    /// pgBackRest's configuration, which `stead backup setup` writes
    #[arg(long, value_name = "FILE", default_value = stead_pgbackrest::DEFAULT_FILE)]
    pub(crate) pgbackrest_config: PathBuf,
    /// What pgBackRest calls this server's backups
    #[arg(long, value_name = "NAME", default_value = "stead")]
    pub(crate) stanza: String,
}

/// Which of the two ways.
#[derive(Clone, Debug, Args)]
pub(crate) struct WayFlags {
    /// The portable way, whatever was set up here
    #[arg(long)]
    pub(crate) portable: bool,
    /// The way of pgBackRest, or nothing
    #[arg(long, conflicts_with = "portable")]
    pub(crate) physical: bool,
    #[command(flatten)]
    pub(crate) stanza: StanzaFlags,
}

/// What a base backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackupType {
    /// Everything
    Full,
    /// What is new since the newest full one
    Diff,
    /// What is new since the newest one of any kind
    Incr,
}

impl BackupType {
    /// The same for whoever takes it.
    pub(crate) const fn kind(self) -> BackupKind {
        match self {
            Self::Full => BackupKind::Full,
            Self::Diff => BackupKind::Differential,
            Self::Incr => BackupKind::Incremental,
        }
    }
}

/// `stead backup setup`.
#[derive(Debug, Args)]
pub(crate) struct BackupSetupArgs {
    #[command(flatten)]
    pub(crate) stanza: StanzaFlags,
    /// The folder for backups and archive; better on other disks than the database
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/pgbackrest")]
    pub(crate) repo: PathBuf,
    /// How many full backups are kept, and with them the archive since the oldest of them
    #[arg(long, value_name = "N", default_value_t = RETENTION_FULL, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) retention_full: u32,
    /// How many differential backups are kept
    #[arg(long, value_name = "N", default_value_t = RETENTION_DIFF, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) retention_diff: u32,
    /// Processes that compress and copy at once. Default: half the cores, at most 4
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=999))]
    pub(crate) process_max: Option<u32>,
    /// Encrypt the repository with the passphrase in this file; it goes into pgBackRest's configuration, which only root and the
    /// database's system user read. Without it nothing can be restored: keep it elsewhere, too
    #[arg(long, value_name = "FILE")]
    pub(crate) cipher_pass_file: Option<PathBuf>,
    /// The database's superuser, to whom the server lets its own system user in. Default: called as the system user
    #[arg(long, value_name = "ROLE")]
    pub(crate) superuser: Option<String>,
    /// Restart the server where that is needed: archiving begins with a restart
    #[arg(long)]
    pub(crate) restart: bool,
    /// Replace an archive_command, or a configuration file, that somebody else wrote
    #[arg(long)]
    pub(crate) replace: bool,
    /// Say what would be done, and do nothing; the exit code is 7 where something would be
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Check what is set up, as `stead backup check` does
    #[arg(long, conflicts_with_all = ["restart", "replace", "dry_run"])]
    pub(crate) check: bool,
}

/// `stead backup check`.
#[derive(Debug, Args)]
pub(crate) struct BackupCheckArgs {
    #[command(flatten)]
    pub(crate) stanza: StanzaFlags,
    /// How long a segment of the log may take into the repository
    #[arg(long, value_name = "SPAN", default_value = "60s")]
    pub(crate) timeout: Span,
    /// How old the newest backup may be
    #[arg(long, value_name = "SPAN", default_value = "2d")]
    pub(crate) max_age: Span,
}
