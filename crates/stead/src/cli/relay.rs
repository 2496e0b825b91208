//! The words of `stead relay`.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

/// `stead relay`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RelayArgs {
    #[command(subcommand)]
    pub(crate) command: Option<RelayCommand>,
    #[command(flatten)]
    pub(crate) run: RelayRunArgs,
}

/// `stead relay` itself: runs one.
#[derive(Debug, Args)]
pub(crate) struct RelayRunArgs {
    /// Where it listens (TCP)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:6445", env = "STEAD_LISTEN_RELAY")]
    pub(crate) listen: SocketAddr,
    /// Serve metrics (Prometheus) on an address of their own: plain HTTP, for whoever reaches it
    #[arg(long, value_name = "ADDRESS", env = "STEAD_LISTEN_METRICS")]
    pub(crate) listen_metrics: Option<SocketAddr>,
}

/// `stead relay ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum RelayCommand {
    /// Show how a relay is doing: whose it is, how many members it admits, who is connected
    Status(RelayStatusArgs),
}

/// `stead relay status`.
#[derive(Debug, Args)]
pub(crate) struct RelayStatusArgs {
    /// The relay's URL, such as `http://relay.example.org:6445`
    pub(crate) url: String,
}
