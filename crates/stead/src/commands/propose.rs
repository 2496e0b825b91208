//! `stead propose`: a change that waits for the signatures of others.

use std::collections::BTreeMap;

use serde_json::Value;
use stead_model::{Object, ObjectKey, Proposal, ProposalPhase, registry};
use stead_trust::Submission;

use super::Context;
use crate::change::{self, Deletion, Draft};
use crate::cli::{ProposeArgs, Signing};
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::intent::Intent;
use crate::keyring::Keyring;
use crate::merge::merge;
use crate::output::{Format, json, yaml};
use crate::proposal::{self, Ground, Pending};
use crate::{Outcome, history, signer};

pub(super) async fn run(context: &Context, mut args: ProposeArgs) -> Outcome {
    let wanted = if args.files.files.is_empty() { Vec::new() } else { Intent::read(&args.files)? };
    let client = Client::connect(&context.settings).await?;
    let draft = match args.again.clone() {
        Some(reference) => again(context, &client, &reference, &mut args).await?,
        None => draft(context, &client, wanted, &args).await?,
    };
    if draft.puts.is_empty() && draft.deletes.is_empty() {
        context.say("There is nothing to propose: all is so already.");
        return Ok(ExitCode::Success);
    }
    let mut signing = Signing::with_message(args.message.clone());
    signing.admit_within = args.expires;
    let submission = change::signed(&client, &context.settings, &signer::load_all(&context.settings)?, &draft, &signing).await?;
    if let Some(path) = &args.out {
        proposal::write_file(path, &submission)?;
        let path = path.display();
        context.print(&format!("Wrote {path}. The others: stead sign --file {path}; then, once: stead submit {path}\n"))?;
        return Ok(ExitCode::Success);
    }
    let proposed = send(&client, &submission, args.dry_run).await?;
    report(context, &proposed, args.dry_run)?;
    Ok(if args.dry_run { ExitCode::Changed } else { ExitCode::Success })
}

/// Sends a change that waits for signatures.
pub(super) async fn send(client: &Client, submission: &Submission, dry_run: bool) -> Result<Object, Failure> {
    let query = if dry_run { "?dryRun=All" } else { "" };
    let proposed = client.post(&format!("/stead/v1/proposals{query}"), submission).await.map_err(change::refused)?;
    client.say_warnings();
    Ok(proposed)
}

/// What became of a proposal that was made or signed.
pub(super) fn report(context: &Context, object: &Object, dry_run: bool) -> Result<(), Failure> {
    let value = serde_json::to_value(object).map_err(|error| Failure::internal(error.to_string()))?;
    let proposal: Proposal = proposal::typed(object)?;
    let (name, status) = (proposal.metadata.name, proposal.status.unwrap_or_default());
    let text = match context.settings.output() {
        Format::Json => json(&value)?,
        Format::Yaml => yaml(&value)?,
        Format::Name => format!("proposal.stead.dev/{name}\n"),
        _ if dry_run => format!("proposal.stead.dev/{name} proposed ({}) (dry run)\n", status.signed),
        _ if status.phase == ProposalPhase::Admitted => {
            format!("proposal.stead.dev/{name} admitted ({}) (change {})\n", status.signed, status.change)
        }
        _ if status.phase == ProposalPhase::Waiting => format!("proposal.stead.dev/{name} waits ({})\n", status.signed),
        _ => format!("proposal.stead.dev/{name} {:?}: {}\n", status.phase, status.message),
    };
    context.print(&text)
}

async fn draft(context: &Context, client: &Client, wanted: Vec<Object>, args: &ProposeArgs) -> Result<Draft, Failure> {
    let intent = Intent::of(client, &context.settings, wanted, &args.files).await?;
    let mut draft = intent.draft();
    if !draft.preconditions.is_empty() {
        return Err(Failure::user(
            "a proposal depends on nothing beside what it writes: take resourceVersion out of the manifests",
        ));
    }
    let mut keys = Vec::new();
    for named in &args.delete {
        let (info, key) = named.resolve(&args.files.namespace)?;
        draft.deletes.push(Deletion { api_version: info.api_version(), key: key.clone() });
        keys.push(key);
    }
    draft.sequences.extend(history::sequences(client, &keys).await?);
    let present = change::on_record(client, &keys).await?;
    match keys.iter().find(|key| !present.contains_key(*key)) {
        Some(missing) => Err(Failure::new(FailureKind::NotFound, format!("there is no {missing}; nothing was proposed"))),
        None => Ok(draft),
    }
}

/// What a proposal meant, put on top of what is there now. It is signed anew, by everybody: nothing is taken over but the wish.
async fn again(context: &Context, client: &Client, reference: &str, args: &mut ProposeArgs) -> Result<Draft, Failure> {
    let keyring = Keyring::fetch(client, &context.settings).await?;
    let found = proposal::must_find(client, reference).await?;
    match found.status.as_ref().map(|status| status.phase).unwrap_or_default() {
        ProposalPhase::Admitted => {
            return Err(Failure::user(format!("{} was admitted; there is nothing to do again", found.metadata.name)));
        }
        ProposalPhase::Waiting => {
            let message = format!("{} still waits for signatures", found.metadata.name);
            return Err(Failure::user(message).hint("Sign it with `stead sign`, or take it back with `stead withdraw` first."));
        }
        _ => {}
    }
    let pending = proposal::pending(&found, &change::fleet(&context.settings)?)?;
    let ground = Ground::of(client, &keyring, &pending).await?;
    if args.message.is_empty() {
        args.message.clone_from(&pending.statement.message);
    }
    context.print(&proposal::differences(&pending, Some(&ground), context.terminal)?)?;
    rebased(&pending, &ground, args.force)
}

/// What a change meant, put on top of what is there now.
pub(super) fn rebased(pending: &Pending, ground: &Ground, force: bool) -> Result<Draft, Failure> {
    let value = |object: Option<&Object>| {
        object.map(serde_json::to_value).transpose().map_err(|error| Failure::internal(error.to_string()))
    };
    let mut draft = Draft { sequences: ground.sequences.clone(), ..Draft::default() };
    let mut conflicts: BTreeMap<ObjectKey, Vec<String>> = BTreeMap::new();
    for (leaf, object) in &pending.entries {
        let key = leaf.key();
        let theirs = value(ground.now(leaf))?;
        let merged = merge(value(ground.base(leaf))?.as_ref(), theirs.as_ref(), value(object.as_ref())?.as_ref());
        if !merged.conflicts.is_empty() {
            conflicts.insert(key.clone(), merged.conflicts);
        }
        match merged.value {
            wanted if wanted == theirs => {}
            None => draft.deletes.push(Deletion { api_version: leaf.api_version.clone(), key }),
            Some(wanted) => draft.puts.push(checked(&key, wanted)?),
        }
    }
    if force || conflicts.is_empty() {
        return Ok(draft);
    }
    let places = conflicts.iter().map(|(key, places)| format!("{key}: {}", places.join(", "))).collect::<Vec<_>>().join("; ");
    Err(Failure::new(FailureKind::NeedsSigning, format!("both changed the same: {places}"))
        .hint("Nothing was signed. With --force your side is taken there; or write the manifest anew, and sign that."))
}

fn checked(key: &ObjectKey, object: Value) -> Result<Object, Failure> {
    let info = registry().by_group_kind(&key.kind).ok_or_else(|| Failure::user(format!("{key}: no such kind")))?;
    info.parse(object).map_err(|error| Failure::of(FailureKind::User, error))
}
