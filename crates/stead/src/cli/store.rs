//! The words of `stead store`.

use clap::{Args, Subcommand};

/// `stead store`.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Copy a whole record into an empty database, and prove that both are the same
    #[command(
        long_about = "Copy a whole record into an empty database: objects, history, changes, trust roots and all, in one transaction. \
                            Then read both through and compare their digests. Stop the coordinators first.\n\nExamples:\n  \
                            stead store migrate --from /var/lib/stead/record.db --to postgres://stead@db.example.org/fleet\n  \
                            stead store migrate --from postgres://stead@db.example.org/fleet --to ./record.db"
    )]
    Migrate(StoreMigrateArgs),
    /// Print a digest of everything in a record, table by table
    #[command(
        long_about = "Print a digest of everything in the record that --store names, table by table: two records with the same digest \
                            are the same, whatever databases they are in.\n\nExample:\n  stead store digest --store ./record.db"
    )]
    Digest,
}

/// `stead store migrate`.
#[derive(Debug, Args)]
pub(crate) struct StoreMigrateArgs {
    /// The record: a file, or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "RECORD")]
    pub(crate) from: String,
    /// Where it goes: a file that is not there yet, or an empty PostgreSQL database
    #[arg(long, value_name = "RECORD")]
    pub(crate) to: String,
}
