//! The arguments of `stead trust`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `stead trust`.
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Make the first version of the trust root: the birth of a fleet
    #[command(
        long_about = "Make the first version of the trust root: whose keys own the fleet, and which coordinators serve it. Its digest is the \
                            fleet's id.\n\nExample:\n  stead trust init --key ~/.ssh/id_ed25519 --online /etc/ssh/ssh_host_ed25519_key.pub --out fleet/\n\n\
                            Each --key is an owner. A key that is at hand signs at once; of one that is not, give the .pub file and let its owner run \
                            `stead trust sign`."
    )]
    Init(TrustInitArgs),
    /// Show the trust root, every version of it, and check the chain
    Show(TrustShowArgs),
    /// Make and send the next version: other keys, another threshold, other kinds for the coordinators
    Rotate(TrustRotateArgs),
    /// Say that the owners are still there: machines that hear nothing for too long say that they are stale
    #[command(
        long_about = "Sign, as an owner, that the fleet's owners are still there, and which version of the trust root is theirs, and send it. Where \
                            the trust root asks for it (`stead trust rotate --freshness-days 30`), a machine that hears of no owner for longer \
                            says so with the condition Stale, and goes on as it was: somebody may keep things from it.\n\nExamples:\n  stead \
                            trust fresh\n  stead get machines --field-selector status.conditions.Stale=True"
    )]
    Fresh,
    /// Add your signature to a version of the trust root in a file
    Sign(TrustSignArgs),
    /// Send a version of the trust root from a file, when enough owners have signed it
    Submit(TrustSubmitArgs),
}

/// `stead trust init`.
#[derive(Debug, Args)]
pub(crate) struct TrustInitArgs {
    /// How many owners must sign: each later version of the root, and each change
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=128))]
    pub(crate) threshold: u32,
    /// A coordinator's key: its key file, its .pub file, or the key itself; may be given several times
    #[arg(long, value_name = "KEY", required = true)]
    pub(crate) online: Vec<String>,
    /// Every how many days owners will say that they are still there (`stead trust fresh`); machines that hear nothing for longer say so
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub(crate) freshness_days: Option<u32>,
    /// A folder for root.json, which a coordinator starts with
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// `stead trust show`.
#[derive(Debug, Args)]
pub(crate) struct TrustShowArgs {
    /// A file that `trust init` or `trust rotate` wrote; without it the coordinator is asked
    pub(crate) file: Option<PathBuf>,
}

/// `stead trust rotate`.
#[derive(Debug, Args)]
pub(crate) struct TrustRotateArgs {
    /// A new owner: a .pub file or the key itself; may be given several times
    #[arg(long, value_name = "KEY")]
    pub(crate) add_key: Vec<String>,
    /// An owner who leaves: a .pub file, the key itself, or its fingerprint; may be given several times
    #[arg(long, value_name = "KEY")]
    pub(crate) remove_key: Vec<String>,
    /// A new coordinator's key; may be given several times
    #[arg(long, value_name = "KEY")]
    pub(crate) add_online: Vec<String>,
    /// The key of a coordinator that leaves; may be given several times
    #[arg(long, value_name = "KEY")]
    pub(crate) remove_online: Vec<String>,
    /// A kind that coordinators may write by themselves from now on, such as Profile.stead.dev; may be given several times
    #[arg(long, value_name = "KIND")]
    pub(crate) online_kind: Vec<String>,
    /// A kind that owners must sign from now on; may be given several times
    #[arg(long, value_name = "KIND")]
    pub(crate) owners_kind: Vec<String>,
    /// How many owners must sign
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=128))]
    pub(crate) threshold: Option<u32>,
    /// Every how many days owners say that they are still there (`stead trust fresh`); 0: they don't
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(..=3_650))]
    pub(crate) freshness_days: Option<u32>,
    /// Write the signed version to a file for other owners to sign, rather than sending it
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Do not sign again what keys that leave have signed; machines keep that, and accept nothing new from those keys
    #[arg(long)]
    pub(crate) no_resign: bool,
}

/// `stead trust sign`.
#[derive(Debug, Args)]
pub(crate) struct TrustSignArgs {
    /// The file; the signature is added to it
    pub(crate) file: PathBuf,
}

/// `stead trust submit`.
#[derive(Debug, Args)]
pub(crate) struct TrustSubmitArgs {
    /// The file
    pub(crate) file: PathBuf,
    /// Do not sign again what keys that leave have signed
    #[arg(long)]
    pub(crate) no_resign: bool,
}
