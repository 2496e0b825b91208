//! `stead sign`: one more signature under a change that others wrote, after a look at it.

use jiff::Timestamp;
use serde_json::json;
use stead_model::{Object, ProposalPhase};
use stead_trust::{Signature, SignatureNamespace};

use super::question::Question;
use super::{Context, plan, propose};
use crate::cli::SignArgs;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::keyring::Keyring;
use crate::proposal::{self, Ground, Pending};
use crate::signer::{self, BoxSigner};
use crate::{Outcome, change};

pub(super) async fn run(context: &Context, args: SignArgs) -> Outcome {
    let fleet = change::fleet(&context.settings)?;
    if let Some(path) = &args.file {
        let mut pending = proposal::read_file(path, &fleet)?;
        show(context, &(proposal::head(&pending, None) + &proposal::differences(&pending, None, context.terminal)?))?;
        confirm(&args)?;
        let signatures = signatures(&pending, &signer::load_all(&context.settings)?)?;
        pending.submission.statement.signatures.extend(signatures);
        let out = args.out.as_ref().unwrap_or(path);
        proposal::write_file(out, &pending.submission)?;
        context.print(&format!("Signed {}.\n", out.display()))?;
        return Ok(ExitCode::Success);
    }
    let client = Client::connect(&context.settings).await?;
    let keyring = Keyring::fetch(&client, &context.settings).await?;
    let found = proposal::must_find(&client, args.proposal.as_deref().unwrap_or_default()).await?;
    let status = found.status.clone().unwrap_or_default();
    if !matches!(status.phase, ProposalPhase::Waiting | ProposalPhase::NeedsSigning) {
        return Err(Failure::refused(format!("the proposal {} is {:?}: {}", found.metadata.name, status.phase, status.message))
            .hint("It waits for nothing any more. `stead show` tells what became of it."));
    }
    let pending = proposal::pending(&found, &fleet)?;
    let ground = Ground::of(&client, &keyring, &pending).await?;
    show(
        context,
        &(proposal::head(&pending, Some(&keyring)) + &proposal::differences(&pending, Some(&ground), context.terminal)?),
    )?;
    if !ground.taken(&pending).is_empty() {
        let names: Vec<String> = ground.taken(&pending).iter().map(|(leaf, _)| leaf.key().to_string()).collect();
        return Err(Failure::new(FailureKind::NeedsSigning, format!("{} changed since it was proposed", names.join(", "))).hint(
            format!("Nothing was signed. `stead propose --again {}` puts it on top of what is there now.", found.metadata.name),
        ));
    }
    if !args.no_plan {
        show(context, &steps(context, &client, &pending, &ground).await?)?;
    }
    client.say_warnings();
    confirm(&args)?;
    let signatures = signatures(&pending, &signer::load_all(&context.settings)?)?;
    let path = format!("/stead/v1/proposals/{}/sign", found.metadata.name);
    let signed: Object = client.post(&path, &json!({"signatures": signatures})).await.map_err(change::refused)?;
    client.say_warnings();
    propose::report(context, &signed, false)?;
    Ok(ExitCode::Success)
}

/// What is signed is for people; standard output stays for programs where they asked for it.
fn show(context: &Context, text: &str) -> Result<(), Failure> {
    if context.settings.output().is_for_programs() {
        context.say(text.trim_end());
        return Ok(());
    }
    context.print(text)
}

async fn steps(context: &Context, client: &Client, pending: &Pending, ground: &Ground) -> Result<String, Failure> {
    let put: Vec<&Object> = pending.entries.iter().filter_map(|(_, object)| object.as_ref()).collect();
    let gone = pending.entries.iter().filter(|(_, object)| object.is_none()).filter_map(|(leaf, _)| ground.now(leaf));
    let plans = plan::ask(client, &context.settings, &put, &gone.collect::<Vec<_>>(), Timestamp::now()).await?;
    Ok(plan::render(&plans, context.terminal))
}

/// Asks whether to sign what was shown.
fn confirm(args: &SignArgs) -> Result<(), Failure> {
    let question = Question { text: "Sign this?", whether: "whether to sign this", nothing: "nothing was signed" };
    question.ask(args.yes)
}

/// The signatures of keys that have not signed yet, over the bytes that were read and checked here.
fn signatures(pending: &Pending, signers: &[BoxSigner]) -> Result<Vec<Signature>, Failure> {
    let new = signers.iter().filter(|signer| !pending.signers.contains(signer.public_key()));
    let made = new.map(|signer| signer.sign(SignatureNamespace::Change, &pending.submission.statement.document));
    let made = made.collect::<Result<Vec<_>, _>>().map_err(|error| Failure::of(FailureKind::User, error))?;
    if made.is_empty() {
        return Err(Failure::user("it has your signature already").hint("Name another key with --key."));
    }
    Ok(made)
}
