//! `stead undo`: the opposite of a change, as a new one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stead_model::{Object, ObjectKey, registry};
use stead_trust::{Leaf, MESSAGE_BYTES_MAX};

use super::Context;
use super::show::object_before;
use crate::Outcome;
use crate::change::{self, Deletion, Draft};
use crate::cli::UndoArgs;
use crate::client::Client;
use crate::difference::{ThreeWay, text_of, unified};
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::history::{self, Evidence, Signed, Step};
use crate::keyring::Keyring;
use crate::merge::merge;
use crate::output::{Format, json, yaml};

/// One object of the change that is taken back.
struct Undone<'a> {
    leaf: &'a Leaf,
    /// As the change left it.
    after: Option<&'a Object>,
    /// As it was before the change.
    before: Option<&'a Object>,
    /// As it is now.
    now: Option<&'a Object>,
    /// Whether another change came since.
    changed_since: bool,
}

pub(super) async fn run(context: &Context, mut args: UndoArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let keyring = Keyring::fetch(&client, &context.settings).await?;
    let found = history::find(&client, &args.change).await?;
    let evidence = history::check(&history::bundle(&client, &found.metadata.name).await?, &keyring)?;
    if let Some(problem) = evidence.problems.first() {
        return Err(Failure::refused(format!("the change {} is not what was signed: {problem}", found.metadata.name))
            .hint("Nothing was done. `stead show` tells more."));
    }
    let keys: Vec<ObjectKey> = evidence.entries.iter().map(|(leaf, _)| leaf.key()).collect();
    let sequences = history::sequences(&client, &keys).await?;
    let steps = steps(&evidence, &sequences);
    let signed = history::signed(&client, &keyring, &steps).await?;
    if let Some((key, sequence)) = steps.iter().find(|step| step.1 > 0 && !signed.contains_key(step)) {
        return Err(Failure::refused(format!("the coordinator does not have what was signed as {key} at sequence {sequence}")));
    }
    let undone = undone(&evidence, &signed, &sequences);
    let changed: Vec<&Undone<'_>> = undone.iter().filter(|undone| undone.changed_since).collect();
    if !changed.is_empty() && !args.force {
        return refuse(context, &found.metadata.name, &changed);
    }
    if args.signing.message.is_empty() {
        args.signing.message = message(&found.metadata.name, &evidence.statement.message);
    }
    let draft = draft(&undone, sequences)?;
    if draft.puts.is_empty() && draft.deletes.is_empty() {
        context.say(&format!("Nothing is left of the change {} to take back.", found.metadata.name));
        return Ok(ExitCode::Success);
    }
    send(context, &client, &args, &draft, &undone).await
}

async fn send(context: &Context, client: &Client, args: &UndoArgs, draft: &Draft, undone: &[Undone<'_>]) -> Outcome {
    let sent = change::sign_and_send(client, &context.settings, draft, &args.signing).await?;
    match context.settings.output() {
        Format::Json => context.print(&json(&sent.answer)?)?,
        Format::Yaml => context.print(&yaml(&sent.answer)?)?,
        Format::Name => context.print(&format!("change.stead.dev/{}\n", sent.id))?,
        Format::Table | Format::Wide => context.print(&report(context, args, draft, undone, &sent.id)?)?,
    }
    Ok(args.signing.outcome())
}

fn report(context: &Context, args: &UndoArgs, draft: &Draft, undone: &[Undone<'_>], id: &str) -> Result<String, Failure> {
    let mut out = String::new();
    for undone in undone {
        let key = undone.leaf.key();
        let put = draft.puts.iter().find(|object| object.key() == key);
        let deleted = draft.deletes.iter().any(|deletion| deletion.key == key);
        if put.is_some() || deleted {
            let (old, new) = (text_of(undone.now)?, text_of(put)?);
            out.push_str(&unified(&format!("{key} (now)"), &format!("{key} (undone)"), &old, &new, context.terminal));
        }
    }
    let note = if args.signing.dry_run { " (dry run)".to_owned() } else { format!(" (change {id})") };
    for key in draft.keys() {
        let word = match (
            draft.deletes.iter().any(|deletion| deletion.key == key),
            undone.iter().find(|undone| undone.leaf.key() == key),
        ) {
            (true, _) => "deleted",
            (false, Some(Undone { now: None, .. })) => "created again",
            (false, _) => "put back",
        };
        out.push_str(&format!("{key} {word}{note}\n"));
    }
    Ok(out)
}

/// What has to be known of each object: what was signed before, and what was signed last.
fn steps(evidence: &Evidence, sequences: &BTreeMap<ObjectKey, u64>) -> BTreeSet<Step> {
    let of = |leaf: &Leaf| {
        let key = leaf.key();
        let newest = sequences.get(&key).copied().unwrap_or_default();
        [(key.clone(), leaf.sequence.saturating_sub(1)), (key, newest)]
    };
    evidence.entries.iter().flat_map(|(leaf, _)| of(leaf)).collect()
}

fn undone<'a>(
    evidence: &'a Evidence,
    signed: &'a BTreeMap<Step, Signed>,
    sequences: &BTreeMap<ObjectKey, u64>,
) -> Vec<Undone<'a>> {
    let of = |(leaf, after): &'a (Leaf, Option<Object>)| {
        let newest = sequences.get(&leaf.key()).copied().unwrap_or_default();
        let now = signed.get(&(leaf.key(), newest)).and_then(|signed| signed.object.as_ref());
        Undone { leaf, after: after.as_ref(), before: object_before(signed, leaf), now, changed_since: newest != leaf.sequence }
    };
    evidence.entries.iter().map(of).collect()
}

/// What brings each object back. Where it was changed since, only what the change did to it is taken back.
fn draft(undone: &[Undone<'_>], sequences: BTreeMap<ObjectKey, u64>) -> Result<Draft, Failure> {
    let mut draft = Draft { sequences, ..Draft::default() };
    let value = |object: Option<&Object>| {
        object.map(serde_json::to_value).transpose().map_err(|error| Failure::internal(error.to_string()))
    };
    for undone in undone {
        let key = undone.leaf.key();
        let now = value(undone.now)?;
        let wanted = merge(value(undone.after)?.as_ref(), now.as_ref(), value(undone.before)?.as_ref()).value;
        match wanted {
            wanted if wanted == now => {}
            None => draft.deletes.push(Deletion { api_version: undone.leaf.api_version.clone(), key }),
            Some(object) => draft.puts.push(checked(&key, object)?),
        }
    }
    Ok(draft)
}

/// A kind may have become stricter since; nothing is signed that its kind would refuse.
fn checked(key: &ObjectKey, object: Value) -> Result<Object, Failure> {
    let info = registry().by_group_kind(&key.kind).ok_or_else(|| Failure::user(format!("{key}: no such kind")))?;
    info.parse(object).map_err(|error| Failure::of(FailureKind::User, error))
}

fn refuse(context: &Context, change: &str, changed: &[&Undone<'_>]) -> Outcome {
    let mut out = String::new();
    for undone in changed {
        let difference = ThreeWay {
            name: undone.leaf.key().to_string(),
            base: ("as the change left it", undone.after),
            theirs: ("as it is now", undone.now),
            yours: ("as it was before the change", undone.before),
        };
        out.push_str(&difference.text(context.terminal)?);
    }
    context.print(&out)?;
    let names: Vec<String> = changed.iter().map(|undone| undone.leaf.key().to_string()).collect();
    let message = format!("{} changed since the change {change}", names.join(", "));
    Err(Failure::new(FailureKind::NeedsSigning, message)
        .hint("Nothing was done. Look at the differences; --force takes back what this change did, and keeps what came later."))
}

fn message(change: &str, original: &str) -> String {
    let mut message = format!("undo {change}");
    if let Some(first) = original.lines().next().filter(|first| !first.is_empty()) {
        message.push_str(&format!(": {first}"));
    }
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    message.truncate(end);
    message
}
