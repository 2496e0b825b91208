//! `stead restore`.

use super::Context;
use crate::Outcome;
use crate::cli::RestoreArgs;
use crate::failure::Failure;

pub(super) async fn run(_context: &Context, _args: RestoreArgs) -> Outcome {
    Err(Failure::internal("`stead restore` is being built"))
}
