//! The arguments of the commands that sign.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Scope;
use crate::commands::condition::{IfSequence, Named};
use crate::commands::label::Label;
use crate::duration::Span;
use crate::exit_code::ExitCode;

/// Where manifests come from.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Manifests: a file, a folder (its .yaml, .yml and .json files), or - for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Read the folders below a folder, too
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// The set that the manifests are: each object gets the label stead.dev/set=NAME, which is signed with it
    #[arg(long, value_name = "NAME")]
    pub(crate) set: Option<String>,
    /// Delete, in the same change, the objects of the set that are on record and no longer in the manifests
    #[arg(long, requires = "set")]
    pub(crate) prune: bool,
    /// Delete them even where there is no manifest left at all
    #[arg(long, requires = "prune")]
    pub(crate) prune_all: bool,
    /// The namespace of objects that live in one and name none
    #[arg(short = 'n', long, value_name = "NAME", default_value = "default")]
    pub(crate) namespace: String,
}

/// What must hold of objects for a change to be admitted.
#[derive(Debug, Default, Args)]
pub(crate) struct Conditions {
    /// Only where the last signed change of an object has this sequence; the change need not write the object. May be given several times
    #[arg(long, value_name = "KIND/NAME=NUMBER")]
    pub(crate) if_sequence: Vec<IfSequence>,
    /// Only where there is no such object. May be given several times
    #[arg(long, value_name = "KIND/NAME")]
    pub(crate) if_absent: Vec<Named>,
}

/// How a change is described and how long it is good for.
#[derive(Debug, Args)]
pub(crate) struct Signing {
    /// Why, for those who read the audit trail
    #[arg(short = 'm', long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) message: String,
    /// How long a coordinator may take to admit the change
    #[arg(long, value_name = "SPAN", default_value = "24h")]
    pub(crate) admit_within: Span,
    /// Sign it and have it checked, but do not apply it; the exit code tells whether anything would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Where no coordinator answers, fail: do not let the signed change wait in the outbox
    #[arg(long)]
    pub(crate) no_outbox: bool,
}

impl Signing {
    /// Whether the change may wait in the outbox where no coordinator answers.
    pub(crate) const fn may_wait(&self) -> bool {
        !self.dry_run && !self.no_outbox
    }

    /// How a command ends that has something to change: a script can tell by a dry run whether there is.
    pub(crate) const fn outcome(&self) -> ExitCode {
        if self.dry_run { ExitCode::Changed } else { ExitCode::Success }
    }

    /// A change that a command makes by itself.
    pub(crate) fn with_message(message: String) -> Self {
        /// Sent at once, by a program that waits for the answer.
        const ADMIT_WITHIN_SECONDS: u64 = 3_600;
        Self { message, admit_within: Span::from_seconds(ADMIT_WITHIN_SECONDS), dry_run: false, no_outbox: false }
    }
}

/// `stead apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) signing: Signing,
    #[command(flatten)]
    pub(crate) conditions: Conditions,
}

/// `stead diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Show the objects only, without asking machines what they would do
    #[arg(long)]
    pub(crate) no_plan: bool,
}

/// `stead delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The kind; KIND/NAME works too
    #[arg(required_unless_present = "files", conflicts_with = "files")]
    pub(crate) kind: Option<String>,
    /// Names
    pub(crate) names: Vec<String>,
    /// Delete what these manifests name: a file, a folder, or - for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) signing: Signing,
    #[command(flatten)]
    pub(crate) scope: Scope,
}

/// `stead approve`.
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// Names of Enrollments, as the list shows them
    #[arg(conflicts_with = "all")]
    pub(crate) enrollments: Vec<String>,
    /// All that wait; each machine gets the host name that it gives itself
    #[arg(long)]
    pub(crate) all: bool,
    /// The name of the machine. Default: the host name that it gives itself
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub(crate) name: Option<String>,
    /// A label that the machine gets; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Label>,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

/// `stead deny`.
#[derive(Debug, Args)]
pub(crate) struct DenyArgs {
    /// Names of Enrollments
    #[arg(required = true)]
    pub(crate) enrollments: Vec<String>,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

/// `stead ticket`.
#[derive(Debug, Subcommand)]
pub(crate) enum TicketCommand {
    /// Make a ticket and print it
    #[command(
        long_about = "Make a ticket and print it. On the new machine: stead agent --join TICKET\n\nA plain ticket only lets a machine ask; \
                            an owner answers with `stead approve`. With --delegate the ticket carries your signed word, and machines that fit it \
                            are let in by themselves."
    )]
    Create(TicketCreateArgs),
}

/// `stead ticket create`.
#[derive(Debug, Args)]
pub(crate) struct TicketCreateArgs {
    /// Let machines with this ticket in without asking
    #[arg(long)]
    pub(crate) delegate: bool,
    /// What the names of such machines look like; * stands for any characters
    #[arg(long, value_name = "PATTERN", requires = "delegate", default_value = "*")]
    pub(crate) name_pattern: String,
    /// A label that such machines get; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", requires = "delegate")]
    pub(crate) labels: Vec<Label>,
    /// How many machines at most
    #[arg(long, value_name = "NUMBER", requires = "delegate", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) machines: u32,
    /// For how long the delegation is good
    #[arg(long, value_name = "SPAN", requires = "delegate", default_value = "7d")]
    pub(crate) until: Span,
}

/// `stead change`.
#[derive(Debug, Subcommand)]
pub(crate) enum ChangeCommand {
    /// Write the files with which OpenSSH checks a change without Stead
    Export(ChangeExportArgs),
}

/// `stead change export`.
#[derive(Debug, Args)]
pub(crate) struct ChangeExportArgs {
    /// The change: its id or the beginning of it, rev:NUMBER, or latest
    pub(crate) id: String,
    /// A new or empty folder for the files
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
