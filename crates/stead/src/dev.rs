//! `stead dev`: a coordinator and some machines in one terminal, with a picture of the fleet.

mod act;
mod forge;
mod household;
mod picture;

use std::path::PathBuf;

use clap::Args;

use self::household::Household;
use crate::Outcome;
use crate::commands::Context;
use crate::coordinator::stop_on_signal;
use crate::exit_code::ExitCode;

/// The most machines of one terminal: each is a process of its own.
const MACHINES_MAX: i64 = 200;

/// `stead dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// How many machines
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=MACHINES_MAX))]
    pub(crate) machines: u32,
    /// Where everything is kept; a folder that is there already is gone on with. Default: a new temporary folder, removed at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Show what Stead does: an owner signs a change, the machines apply it, a forged one is refused
    #[arg(long)]
    pub(crate) demo: bool,
    /// With --demo: stop when all of it has happened, with 0 if it did
    #[arg(long, requires = "demo")]
    pub(crate) once: bool,
}

/// Runs the fleet until Ctrl-C, or until the demonstration is over.
pub(crate) async fn run(context: &Context, args: DevArgs) -> Outcome {
    let stop = stop_on_signal()?;
    let mut household = Household::open(context, args.dir.as_deref(), args.machines)?;
    let shown = tokio::select! {
        () = stop.cancelled() => Ok(()),
        shown = show(context, &mut household, &args) => shown,
    };
    household.close().await;
    shown?;
    Ok(ExitCode::Success)
}

async fn show(context: &Context, household: &mut Household, args: &DevArgs) -> Result<(), crate::failure::Failure> {
    household.start().await?;
    if args.demo {
        act::play(household).await?;
    }
    if args.once {
        return Ok(());
    }
    household.invite();
    picture::show(context, household).await
}
