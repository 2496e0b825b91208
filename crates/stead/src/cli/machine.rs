//! The arguments of the commands about what a machine is: its keys, and whether it is in service.

use clap::{Args, Subcommand};

use super::Signing;
use crate::duration::Span;

/// `stead machine`.
#[derive(Debug, Subcommand)]
pub(crate) enum MachineCommand {
    /// Show who a machine is: its keys, who presents them, and whether two machines do
    #[command(
        long_about = "Show who a machine is: its key, the keys that it had before, who presented them last and from where. Where two present one \
                            key (a copied disk), both are shown side by side, with what tells them apart.\n\nExamples:\n  stead machine show \
                            web-1\n  stead machine show web-1 -o json"
    )]
    Show(MachineShowArgs),
    /// Show by which way a machine reaches its coordinator: directly or through which relay, how far it is, and what else was tried
    #[command(
        long_about = "Show by which way a machine reaches its coordinator, as the coordinator sees it and as the machine says: directly or \
                            through which relay, how long a packet takes there and back, since when, and what else was tried with what \
                            result. Of a machine that is off line it says what is known last.\n\nExamples:\n  stead machine path web-1\n  \
                            stead machine path web-1 -o json"
    )]
    Path(MachinePathArgs),
    /// Give machines new keys; they stay who they are
    #[command(
        long_about = "Give machines new keys. Each machine makes its new key itself and asks for it with the old key and the new one; what it \
                            asks is checked here, against the key that owners signed, and then signed by you. Name, labels, history and \
                            sequences stay; what the old key acknowledged still counts. Whoever presents the old key from then on (a copied disk) \
                            is refused.\n\nA machine that is away when you sign comes with its old key, learns that it was replaced, and comes \
                            with the new one. One that is away when it is asked is named, and nothing changes for it: run the command again when \
                            it is back.\n\nExamples:\n  stead machine rotate-key web-1\n  stead machine rotate-key -l site=graz --timeout 10m"
    )]
    RotateKey(RotateKeyArgs),
    /// Take machines out of service, for ever
    #[command(
        long_about = "Take machines out of service, for ever. Their keys are refused from then on: by no ticket, no approval and no restored \
                            record do they come back. A machine that still connects is told once, by your signed word, and signs that it has \
                            heard; it stops working on itself, and leaves everything as it is. (To have it cleaned up, delete or \
                            relabel first what it was told, wait until it has converged, and decommission it then.)\n\nThe object stays on \
                            record, since it is what refuses the keys. Only `stead machine recommission` takes it back.\n\nExamples:\n  \
                            stead machine decommission web-1 --reason 'stolen in Graz'\n  stead machine decommission -l site=closed"
    )]
    Decommission(DecommissionArgs),
    /// Put machines into service again that were decommissioned
    Recommission(RecommissionArgs),
}

/// Which machines.
#[derive(Debug, Args)]
pub(crate) struct Machines {
    /// Names of machines
    #[arg(required_unless_present = "selector", conflicts_with = "selector")]
    pub(crate) names: Vec<String>,
    /// Machines with these labels, such as role=web,site!=lab
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<stead_model::Selector>,
}

/// `stead machine show`.
#[derive(Debug, Args)]
pub(crate) struct MachineShowArgs {
    /// The machine's name
    pub(crate) name: String,
}

/// `stead machine path`.
#[derive(Debug, Args)]
pub(crate) struct MachinePathArgs {
    /// The machine
    pub(crate) name: String,
}

/// `stead machine rotate-key`.
#[derive(Debug, Args)]
pub(crate) struct RotateKeyArgs {
    #[command(flatten)]
    pub(crate) machines: Machines,
    /// How long to wait until the machines have come with their new keys; 0s does not wait
    #[arg(long, value_name = "SPAN", default_value = "2m")]
    pub(crate) timeout: Span,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

/// `stead machine decommission`.
#[derive(Debug, Args)]
pub(crate) struct DecommissionArgs {
    #[command(flatten)]
    pub(crate) machines: Machines,
    /// Why, for whoever finds the machine on record later
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

/// `stead machine recommission`.
#[derive(Debug, Args)]
pub(crate) struct RecommissionArgs {
    #[command(flatten)]
    pub(crate) machines: Machines,
    #[command(flatten)]
    pub(crate) signing: Signing,
}
