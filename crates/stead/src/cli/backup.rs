//! The words of `stead backup`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::pgbackrest::{BackupCheckArgs, BackupSetupArgs, BackupType, WayFlags};

/// `stead backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BackupArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BackupCommand>,
    #[command(flatten)]
    pub(crate) take: BackupTakeArgs,
}

/// `stead backup` itself: takes one.
#[derive(Debug, Args)]
pub(crate) struct BackupTakeArgs {
    /// The folder for it, one folder in it a backup. Default: backups in the state directory
    #[arg(long, value_name = "FOLDER")]
    pub(crate) to: Option<PathBuf>,
    /// When it has succeeded, remove this fleet's oldest backups in the folder, so that this many are left
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: Option<u32>,
    /// Take along what the record has not: coordinator.key, join.pass and tls/ of the state directory. Who reads such a backup can
    /// act as this coordinator
    #[arg(long)]
    pub(crate) keys: bool,
    /// With pgBackRest: what the base backup holds
    #[arg(long = "type", value_name = "TYPE", default_value = "incr", conflicts_with_all = ["to", "keep", "keys", "portable"])]
    pub(crate) kind: BackupType,
    #[command(flatten)]
    pub(crate) way: WayFlags,
}

/// `stead backup ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// List backups, newest first
    List(BackupListArgs),
    /// Prove that a backup can be restored: restore it into a scratch place, and compare everything
    #[command(
        long_about = "Prove that a backup can be restored: put it back into a scratch place by the code that `stead restore` uses, and \
                            compare. What is looked at: every file's size and SHA-256, the database's own check, the digest of every table, \
                            and the trust root from the fleet's id to its newest version. Anything that is not as it was is named, and the \
                            exit code is 4.\n\nExamples:\n  stead backup verify                            the newest one in the state \
                            directory\n  stead backup verify /mnt/backups               the newest one there\n  stead backup verify \
                            /mnt/backups --into postgres://stead@db.example.org/scratch"
    )]
    Verify(BackupVerifyArgs),
    /// On the database's host: base backups and continuous archiving of its log, by pgBackRest
    #[command(
        long_about = "On the host of the database that --store names, as root or as the database's system user: write pgBackRest's \
                            configuration, let the server archive its log, make the repository, and take the first full backup. From then \
                            on `stead backup` takes base backups, and the record can be restored to any moment. What is as it should be is \
                            left; done twice, it changes nothing.\n\nExamples:\n  stead backup setup --store postgres://stead@localhost/fleet \
                            --dry-run\n  stead backup setup --store postgres://stead@localhost/fleet --repo /mnt/backups --restart\n  stead \
                            backup setup --check"
    )]
    Setup(BackupSetupArgs),
    /// Check that archiving works, by pgBackRest: end a segment of the log and see it arrive, look for gaps, age and space
    Check(BackupCheckArgs),
}

/// `stead backup list`.
#[derive(Debug, Args)]
pub(crate) struct BackupListArgs {
    /// The folder of backups. Default: backups in the state directory
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) way: WayFlags,
}

/// `stead backup verify`.
#[derive(Debug, Args)]
pub(crate) struct BackupVerifyArgs {
    /// A backup, or a folder of them, of which the newest is taken. Default: backups in the state directory
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: Option<PathBuf>,
    /// Restore it into this PostgreSQL database, too, which must be without a record, and is so again afterwards
    #[arg(long, value_name = "DATABASE")]
    pub(crate) into: Option<String>,
    #[command(flatten)]
    pub(crate) way: WayFlags,
}
