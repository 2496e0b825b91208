//! `stead machine decommission` and `recommission`: out of service for ever, and the one way back.

use stead_admission::RECOMMISSION_ANNOTATION;
use stead_model::Decommissioned;

use super::{Context, names, put, signed};
use crate::Outcome;
use crate::change::{self, Draft};
use crate::cli::{DecommissionArgs, RecommissionArgs};
use crate::client::Client;
use crate::failure::Failure;

pub(super) async fn run(context: &Context, mut args: DecommissionArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let names = names(&client, &args.machines).await?;
    let mut draft = Draft::default();
    for one in signed(&client, &context.settings, &names).await? {
        if one.machine.spec.decommissioned.is_some() {
            context.say(&format!("machine/{} is decommissioned already.", one.key.name));
            continue;
        }
        let mut machine = one.machine.clone();
        machine.spec.decommissioned = Some(Decommissioned { reason: args.reason.clone() });
        machine.metadata.annotations.remove(RECOMMISSION_ANNOTATION);
        put(&mut draft, &one, &machine)?;
    }
    if args.signing.message.is_empty() {
        args.signing.message = format!("decommission {}{}", named(&draft), because(&args.reason));
    }
    finish(context, &client, draft, &args.signing, "decommissioned").await
}

/// Puts machines into service again.
pub(super) async fn back(context: &Context, mut args: RecommissionArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let names = names(&client, &args.machines).await?;
    let mut draft = Draft::default();
    for one in signed(&client, &context.settings, &names).await? {
        if one.machine.spec.decommissioned.is_none() {
            context.say(&format!("machine/{} is in service.", one.key.name));
            continue;
        }
        let mut machine = one.machine.clone();
        machine.spec.decommissioned = None;
        machine.metadata.annotations.insert(RECOMMISSION_ANNOTATION.to_owned(), machine.spec.key.clone());
        put(&mut draft, &one, &machine)?;
    }
    if args.signing.message.is_empty() {
        args.signing.message = format!("recommission {}", named(&draft));
    }
    finish(context, &client, draft, &args.signing, "in service again").await
}

async fn finish(context: &Context, client: &Client, draft: Draft, signing: &crate::cli::Signing, word: &str) -> Outcome {
    if draft.puts.is_empty() {
        return Err(Failure::user("there is nothing to sign"));
    }
    let sent = change::sign_and_send(client, &context.settings, &draft, signing).await?;
    let note = if signing.dry_run { "dry run".to_owned() } else { format!("change {}", sent.id) };
    let lines = draft.puts.iter().map(|object| format!("machine.stead.dev/{} {word} ({note})\n", object.metadata.name));
    context.print(&lines.collect::<String>())?;
    Ok(signing.outcome())
}

/// The machines of a draft, for its message.
pub(super) fn named(draft: &Draft) -> String {
    const NAMED_MAX: usize = 5;
    let names: Vec<&str> = draft.puts.iter().take(NAMED_MAX).map(|object| object.metadata.name.as_str()).collect();
    let more = draft.puts.len().saturating_sub(NAMED_MAX);
    if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}
