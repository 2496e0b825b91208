//! The arguments of the commands that look back, and of the one that takes back.

use clap::Args;

use super::Signing;
use crate::duration::Since;

/// `stead log`.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Only changes of one object: its kind; KIND/NAME works too
    pub(crate) kind: Option<String>,
    /// Its name
    pub(crate) name: Option<String>,
    /// Only changes that somebody wrote, signed or asked for: part of a key's fingerprint, or of its comment
    #[arg(long, value_name = "KEY")]
    pub(crate) author: Option<String>,
    /// Only changes since then: a span such as 2h or 7d, a day such as 2026-01-31, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,
    /// Only changes whose message holds this, whatever the case
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
    /// At most so many
    #[arg(short = 'n', long = "limit", value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// The namespace, for kinds that live in one
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) namespace: String,
}

/// `stead show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The change: its id or the beginning of it, rev:NUMBER, or latest
    pub(crate) change: String,
    /// Leave out what it changed of each object
    #[arg(long)]
    pub(crate) no_diff: bool,
    /// Leave out which machines have it
    #[arg(long)]
    pub(crate) no_machines: bool,
}

/// `stead undo`.
#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    /// The change: its id or the beginning of it, rev:NUMBER, or latest
    pub(crate) change: String,
    #[command(flatten)]
    pub(crate) signing: Signing,
    /// Where an object was changed since: take back what this change did to it, and keep the rest of what came later
    #[arg(long)]
    pub(crate) force: bool,
}
