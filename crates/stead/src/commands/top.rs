//! `stead top`: how each machine is doing, live.

mod screen;
mod view;

use std::io::IsTerminal as _;

use serde::Deserialize;
use serde_json::Value;
use stead_control::pulse::MachinePulse;

use self::view::View;
use super::Context;
use crate::Outcome;
use crate::aligned::aligned;
use crate::cli::TopArgs;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Format, json, yaml};

/// What a coordinator says of the machines.
#[derive(Clone, Debug, Default, Deserialize)]
struct Pulse {
    version: String,
    machines: Vec<MachinePulse>,
}

pub(super) async fn run(context: &Context, args: TopArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let format = context.settings.output();
    let live = !args.once && format == Format::Table && std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    let mut view = View::new(args.sort, args.reverse, args.filter.clone());
    if live {
        screen::show(&client, &args.selector, args.every.to_duration(), view).await?;
        return Ok(ExitCode::Success);
    }
    let value = ask(&client, &args.selector).await?;
    if matches!(format, Format::Json | Format::Yaml) {
        return print_value(context, &mut view, value, format);
    }
    view.take(read(value)?.machines);
    if view.shown().is_empty() {
        context.say(if view.count() == 0 { "There are no machines." } else { "No machine has that text in it." });
        return Ok(ExitCode::Success);
    }
    let now = jiff::Timestamp::now();
    let text = match format {
        Format::Name => view.shown().iter().map(|machine| format!("machine/{}\n", machine.name)).collect(),
        _ => aligned(&view::HEADING, view.shown().iter().map(|machine| view::cells(machine, now).to_vec()).collect()),
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

/// As the coordinator said it, in the order that was asked for.
fn print_value(context: &Context, view: &mut View, mut value: Value, format: Format) -> Outcome {
    view.take(read(value.clone())?.machines);
    let shown = serde_json::to_value(view.shown()).map_err(|error| Failure::internal(error.to_string()))?;
    if let Some(machines) = value.get_mut("machines") {
        *machines = shown;
    }
    context.print(&if format == Format::Json { json(&value)? } else { yaml(&value)? })?;
    Ok(ExitCode::Success)
}

async fn ask(client: &Client, selector: &stead_model::Selector) -> Result<Value, Failure> {
    let query = crate::client::query(&[("labelSelector", &selector.to_string())]);
    Ok(client.get(&format!("/stead/v1/pulse?{query}")).await?)
}

fn read(value: Value) -> Result<Pulse, Failure> {
    serde_json::from_value(value).map_err(|error| Failure::internal(format!("the coordinator's answer cannot be read: {error}")))
}
