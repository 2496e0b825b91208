//! The arguments of `stead top`.

use clap::{Args, ValueEnum};

use crate::duration::Span;

/// `stead top`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TopArgs {
    /// Only machines with these labels, such as role=web,site!=lab
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    pub(crate) selector: stead_model::Selector,
    /// Which column to sort by; what needs a person most comes first
    #[arg(long, value_name = "COLUMN", default_value = "state")]
    pub(crate) sort: Column,
    /// The other way round
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Only machines whose name, state, version or message has this text in it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) filter: String,
    /// How often to look
    #[arg(long, value_name = "SPAN", default_value = "2s")]
    pub(crate) every: Span,
    /// Print the machines once, as where the output is no terminal
    #[arg(long)]
    pub(crate) once: bool,
}

/// A column of `stead top`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Column {
    /// The machine's name
    Name,
    /// How it stands, trouble first
    State,
    /// When it was last heard, the longest ago first
    Seen,
    /// Objects that it has yet to acknowledge, the most first
    Behind,
    /// Load for each processor, the highest first
    Load,
    /// Memory in use, the fullest first
    Memory,
    /// Disk in use, the fullest first
    Disk,
    /// The hottest first
    Temperature,
    /// How far its clock is off, the furthest first
    Clock,
    /// Updates pending, the most first
    Updates,
    /// The agent's version; those that are not as wanted first
    Agent,
}
