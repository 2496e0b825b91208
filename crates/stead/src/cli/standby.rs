//! The words of `stead standby`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `stead standby`.
#[derive(Debug, Subcommand)]
pub(crate) enum StandbyCommand {
    /// Make this machine a streaming standby of the record's PostgreSQL server
    #[command(
        long_about = "Make a streaming standby on this machine, as root or as PostgreSQL's system user: a role and a slot on the primary, a copy \
                            of it by pg_basebackup, and a server that streams from it. What is done already is not done again, so that it \
                            can be run once more after anything that went wrong.\n\nExamples:\n  stead standby setup --primary \
                            postgres://postgres@db1/postgres --password-file admin.password --data-dir \
                            /var/lib/postgresql/15/main --dry-run\n  stead standby setup --primary postgres://postgres@db2/postgres \
                            --data-dir /var/lib/postgresql/15/main --replace"
    )]
    Setup(StandbySetupArgs),
    /// Show each server that --store names, how far standbys are behind, and what is not well
    #[command(
        long_about = "Ask each server that --store names: whether it is primary or standby, its timeline, who streams from it and how far behind, \
                            which slots hold the log back. The exit code is 0 where all is well, and 4 where something is \
                            not.\n\nExample:\n  stead standby status --store postgres://stead@db1,db2/fleet"
    )]
    Status,
    /// Make a standby the primary
    #[command(
        long_about = "Make a standby the primary, and let the record begin anew unless it is proven that nothing was lost: machines then take the \
                            whole state, and give back what the record does not know. Coordinators whose --store names both servers follow \
                            by themselves. The old primary has to be off, and stay off until it is rebuilt as a standby: a server that \
                            nobody stopped goes on taking writes from whoever does not see the new one.\n\nExamples:\n  stead standby promote --store postgres://stead@db1,db2/fleet\n  stead standby \
                            promote --store postgres://stead@db1,db2/fleet --switchover --primary-data-dir /var/lib/postgresql/15/main"
    )]
    Promote(StandbyPromoteArgs),
}

/// `stead standby setup`.
#[derive(Debug, Args)]
pub(crate) struct StandbySetupArgs {
    /// The primary, as a role that may make roles and slots (a superuser): postgres://ROLE@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    pub(crate) primary: String,
    /// The file with that role's password; its first line counts
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// The standby's data directory; it must be empty, or not be there
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Where something is in the data directory, move it aside (DIR.old-TIME) and begin
    #[arg(long)]
    pub(crate) replace: bool,
    /// What the standby and its slot are called
    #[arg(long, value_name = "NAME", default_value = "stead_standby", value_parser = plain_name)]
    pub(crate) name: String,
    /// The role by which it streams; made where it is not there
    #[arg(long, value_name = "ROLE", default_value = "stead_replication", value_parser = plain_name)]
    pub(crate) role: String,
    /// Let commits wait for this standby: then nothing acknowledged is lost when it is promoted, and nothing is written while it is
    /// away
    #[arg(long)]
    pub(crate) synchronous: bool,
    /// Write the line into the primary's pg_hba.conf, where that file is on this machine; else it is printed
    #[arg(long)]
    pub(crate) write_hba: bool,
    /// A setting of the standby's own, such as port=5433; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) settings: Vec<String>,
    /// The folder of PostgreSQL's programs. Default: that of the primary's version under /usr/lib/postgresql
    #[arg(long, value_name = "DIR")]
    pub(crate) bin_dir: Option<PathBuf>,
    /// The system user that runs PostgreSQL; counts for root only
    #[arg(long, value_name = "USER", default_value = "postgres")]
    pub(crate) system_user: String,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `stead standby promote`.
#[derive(Debug, Args)]
pub(crate) struct StandbyPromoteArgs {
    /// The standby, as `stead standby status` calls it. Default: the one that has received most
    #[arg(long, value_name = "SERVER")]
    pub(crate) standby: Option<String>,
    /// Stop the primary first, in good order, so that nothing is lost; nothing is stopped before the standby has caught up
    #[arg(long, requires = "primary_data_dir", conflicts_with = "force")]
    pub(crate) switchover: bool,
    /// The primary's data directory, on this machine
    #[arg(long, value_name = "DIR")]
    pub(crate) primary_data_dir: Option<PathBuf>,
    /// Promote although the primary still takes writes. Coordinators are kept from writing to it until they have noticed; it has to be
    /// stopped all the same
    #[arg(long)]
    pub(crate) force: bool,
    /// The standby's data directory, on this machine: it is promoted by pg_ctl, for a role that may not do it by SQL
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The folder of PostgreSQL's programs. Default: that of the servers' version under /usr/lib/postgresql
    #[arg(long, value_name = "DIR")]
    pub(crate) bin_dir: Option<PathBuf>,
}

/// Names of roles and slots that need no quotes anywhere (PostgreSQL's slots take these characters alone).
fn plain_name(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= 63 && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    if fits { Ok(text.to_owned()) } else { Err("lower-case letters, digits and underscores, 63 at most".to_owned()) }
}
