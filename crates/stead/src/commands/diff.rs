//! `stead diff`: what manifests would change, and the steps that each machine would take.

use jiff::Timestamp;
use stead_model::Object;

use super::{Context, plan};
use crate::Outcome;
use crate::cli::DiffArgs;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::intent::Intent;

pub(super) async fn run(context: &Context, args: DiffArgs) -> Outcome {
    let wanted = Intent::read(&args.files)?;
    let client = Client::connect(&context.settings).await?;
    let intent = Intent::of(&client, &context.settings, wanted, &args.files).await?;
    let difference = intent.difference(context.terminal)?;
    if difference.is_empty() {
        return Ok(ExitCode::Success);
    }
    context.print(&difference)?;
    if !args.no_plan {
        let (changed, pruned): (Vec<&Object>, Vec<&Object>) = (intent.changed().collect(), intent.pruned.iter().collect());
        let plans = plan::ask(&client, &context.settings, &changed, &pruned, Timestamp::now()).await?;
        context.print(&plan::render(&plans, context.terminal))?;
        client.say_warnings();
    }
    Ok(ExitCode::Changed)
}
