//! `stead backup`, `stead backup list` and `stead backup verify`.

use super::Context;
use crate::Outcome;
use crate::cli::{BackupArgs, BackupCommand};
use crate::failure::Failure;

pub(super) async fn run(_context: &Context, args: BackupArgs) -> Outcome {
    match args.command {
        None => Err(Failure::internal("`stead backup` is being built")),
        Some(BackupCommand::List(_)) => Err(Failure::internal("`stead backup list` is being built")),
        Some(BackupCommand::Verify(_)) => Err(Failure::internal("`stead backup verify` is being built")),
    }
}
