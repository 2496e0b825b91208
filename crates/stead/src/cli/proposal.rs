//! The arguments of the commands that collect signatures.

use std::path::PathBuf;

use clap::Args;

use super::Files;
use crate::commands::condition::Named;
use crate::duration::Span;

/// `stead propose`.
#[derive(Debug, Args)]
#[command(mut_arg("files", |files| files.required(false).required_unless_present_any(["again", "delete"])))]
pub(crate) struct ProposeArgs {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Propose the deletion of an object; may be given several times
    #[arg(long, value_name = "KIND/NAME")]
    pub(crate) delete: Vec<Named>,
    /// Propose anew what a proposal meant that was overtaken or expired, on top of what is there now
    #[arg(long, value_name = "PROPOSAL", conflicts_with_all = ["files", "delete", "out"])]
    pub(crate) again: Option<String>,
    /// With --again: where both changed the same, take what was proposed
    #[arg(long, requires = "again")]
    pub(crate) force: bool,
    /// Why, for those who sign, and for the audit trail
    #[arg(short = 'm', long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) message: String,
    /// How long the others may take
    #[arg(long, value_name = "SPAN", default_value = "7d")]
    pub(crate) expires: Span,
    /// Write the signed change to a file instead of sending it: for `stead sign --file` and `stead submit`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Have it checked, but do not propose it
    #[arg(long, conflicts_with = "out")]
    pub(crate) dry_run: bool,
}

/// `stead sign`.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The proposal, as `stead get proposals` shows it, or the beginning of its name
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub(crate) proposal: Option<String>,
    /// Sign the change in a file, without asking a coordinator
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Where to write the change with your signature. Default: the same file
    #[arg(long, value_name = "FILE", requires = "file")]
    pub(crate) out: Option<PathBuf>,
    /// Sign without asking; what is signed is shown all the same
    #[arg(short = 'y', long)]
    pub(crate) yes: bool,
    /// Do not ask machines what they would do
    #[arg(long)]
    pub(crate) no_plan: bool,
}

/// `stead submit`.
#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    /// The file, as `stead propose --out` wrote it and `stead sign --file` signed it
    pub(crate) file: PathBuf,
    /// Where signatures are missing, let it wait for them at the coordinator
    #[arg(long)]
    pub(crate) propose: bool,
    /// Have it checked, but do not apply it
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `stead withdraw`.
#[derive(Debug, Args)]
pub(crate) struct WithdrawArgs {
    /// The proposal, as `stead get proposals` shows it, or the beginning of its name
    pub(crate) proposal: String,
}
