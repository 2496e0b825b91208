//! The arguments of `stead outbox`.

use clap::{Args, Subcommand};

use crate::duration::Span;

/// `stead outbox`.
#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// List what waits, in the order in which it is sent
    List,
    /// Show a change that waits, and what it does; all three sides where others came between
    Show(OutboxShowArgs),
    /// Send what waits now; ends with 9 while something still waits, with 5 where something needs signing again
    Send(OutboxSendArgs),
    /// Sign a change anew that was overtaken or has expired, on top of what is there now, and send it
    Sign(OutboxSignArgs),
    /// Let changes go that wait; they are never sent
    Drop(OutboxDropArgs),
    /// Fetch and check what is signed now, so that it can be changed while no coordinator answers
    #[command(
        long_about = "Fetch and check what is signed now of some objects, and keep it beside the outbox, so that they can be changed while no \
                            coordinator answers. What `stead apply` writes is kept by itself.\n\nExamples:\n  stead outbox fetch \
                            profiles\n  stead outbox fetch profile/web machine/web-1"
    )]
    Fetch(OutboxFetchArgs),
}

/// `stead outbox show`.
#[derive(Debug, Args)]
pub(crate) struct OutboxShowArgs {
    /// The change's id, or the beginning of it
    pub(crate) change: String,
}

/// `stead outbox send`.
#[derive(Debug, Args)]
pub(crate) struct OutboxSendArgs {
    /// Try again, with growing pauses, until nothing waits any more
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait: give up after so long
    #[arg(long, value_name = "SPAN", requires = "wait")]
    pub(crate) timeout: Option<Span>,
}

/// `stead outbox sign`.
#[derive(Debug, Args)]
pub(crate) struct OutboxSignArgs {
    /// The change's id, or the beginning of it
    pub(crate) change: String,
    /// Where both changed the same, take yours
    #[arg(long)]
    pub(crate) force: bool,
    /// How long a coordinator may take to admit it
    #[arg(long, value_name = "SPAN", default_value = "24h")]
    pub(crate) admit_within: Span,
}

/// `stead outbox drop`.
#[derive(Debug, Args)]
pub(crate) struct OutboxDropArgs {
    /// Ids of changes, or their beginnings
    #[arg(required = true)]
    pub(crate) changes: Vec<String>,
}

/// `stead outbox fetch`.
#[derive(Debug, Args)]
pub(crate) struct OutboxFetchArgs {
    /// Kinds, such as profiles, or objects, such as profile/web
    #[arg(required = true, value_name = "KIND[/NAME]")]
    pub(crate) what: Vec<String>,
    /// The namespace, for kinds that live in one
    #[arg(short = 'n', long, value_name = "NAME", default_value = "default")]
    pub(crate) namespace: String,
}
