//! `stead outbox`: what waits here for a coordinator.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use stead_model::ObjectKey;
use stead_trust::Leaf;

use super::{Context, propose};
use crate::Outcome;
use crate::aligned::aligned;
use crate::change::{self, Deletion, Draft};
use crate::cli::{OutboxCommand, OutboxDropArgs, OutboxFetchArgs, OutboxSendArgs, OutboxShowArgs, OutboxSignArgs, Signing};
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::keyring::Keyring;
use crate::kind_word::{namespace_of, wanted};
use crate::outbox::{self, Entry, Kept, Listing, Outbox, Standing, send};
use crate::output::{Format, json as print_json, yaml};
use crate::proposal::{self, Ground};
use crate::{offline, seen, signer};

/// The first pause between two attempts, and the longest, in seconds: a person may watch, and a day may pass.
const PAUSE_SECONDS_FIRST: u64 = 1;
const PAUSE_SECONDS_MAX: u64 = 30;

pub(super) async fn run(context: &Context, command: OutboxCommand) -> Outcome {
    match command {
        OutboxCommand::List => list(context),
        OutboxCommand::Show(args) => show(context, &args).await,
        OutboxCommand::Send(args) => send_all(context, &args).await,
        OutboxCommand::Sign(args) => sign(context, &args).await,
        OutboxCommand::Drop(args) => let_go(context, &args).await,
        OutboxCommand::Fetch(args) => fetch(context, &args).await,
    }
}

fn list(context: &Context) -> Outcome {
    let Listing { kept, unreadable } = outbox::look(&context.settings)?;
    for (path, why) in &unreadable {
        context.say(&format!("{} cannot be read, and is left alone: {why}", path.display()));
    }
    let now = Timestamp::now();
    let text = match context.settings.output() {
        Format::Json => print_json(&json!({"items": kept.iter().map(|kept| value(kept, now)).collect::<Vec<_>>()}))?,
        Format::Yaml => yaml(&json!({"items": kept.iter().map(|kept| value(kept, now)).collect::<Vec<_>>()}))?,
        Format::Name => kept.iter().map(|kept| format!("change.stead.dev/{}\n", kept.id())).collect(),
        Format::Table | Format::Wide if kept.is_empty() => {
            context.say("Nothing waits in the outbox.");
            String::new()
        }
        Format::Table | Format::Wide => aligned(
            &["change", "state", "waits", "admit before", "objects", "message"],
            kept.iter().map(|kept| row(kept, now)).collect(),
        ),
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

fn row(kept: &Kept, now: Timestamp) -> Vec<String> {
    let objects: Vec<String> = kept.keys().map(|key| key.to_string()).collect();
    let objects = match objects.as_slice() {
        [first, second, rest @ ..] if !rest.is_empty() => format!("{first}, {second} and {} more", rest.len()),
        all => all.join(", "),
    };
    vec![
        kept.id(),
        kept.standing(now).word().to_owned(),
        stead_model::age(kept.entry.queued, now).to_string(),
        kept.pending.statement.admit_before.to_string(),
        objects,
        kept.pending.statement.message.lines().next().unwrap_or_default().to_owned(),
    ]
}

fn value(kept: &Kept, now: Timestamp) -> Value {
    let statement = &kept.pending.statement;
    let entry =
        |leaf: &Leaf| json!({"object": leaf.key().to_string(), "operation": leaf.op.to_string(), "sequence": leaf.sequence});
    json!({
        "change": kept.id(), "state": kept.standing(now).word(), "queued": kept.entry.queued, "attempts": kept.entry.attempts,
        "admitBefore": statement.admit_before, "message": statement.message, "lastAnswer": kept.entry.message,
        "entries": kept.pending.entries.iter().map(|(leaf, _)| entry(leaf)).collect::<Vec<_>>(),
    })
}

fn find(context: &Context, reference: &str) -> Result<Kept, Failure> {
    let found = outbox::named(outbox::look(&context.settings)?.kept, std::slice::from_ref(&reference.to_owned()))?;
    found.into_iter().next().ok_or_else(|| Failure::internal("a change that was found is gone"))
}

/// What is on record now of a change's objects; none where nobody answers.
async fn ground(context: &Context, kept: &Kept) -> Result<Option<(Client, Keyring, Ground)>, Failure> {
    let client = match Client::connect_alone(&context.settings).await {
        Err(failure) if failure.is_away() => return Ok(None),
        client => client?,
    };
    let keyring = match Keyring::fetch(&client, &context.settings).await {
        Err(failure) if failure.is_away() => return Ok(None),
        keyring => keyring?,
    };
    let ground = Ground::of(&client, &keyring, &kept.pending).await?;
    Ok(Some((client, keyring, ground)))
}

async fn show(context: &Context, args: &OutboxShowArgs) -> Outcome {
    let kept = find(context, &args.change)?;
    let now = Timestamp::now();
    let text = match context.settings.output() {
        Format::Json => print_json(&value(&kept, now))?,
        Format::Yaml => yaml(&value(&kept, now))?,
        Format::Name => format!("change.stead.dev/{}\n", kept.id()),
        Format::Table | Format::Wide => {
            let found = ground(context, &kept).await?;
            if found.is_none() {
                context.say("No coordinator answers: what is there now is not known.");
            }
            let seen = offline::ground(&context.settings, &outbox::look(&context.settings)?.kept, &kept)?;
            let (keyring, ground) = found.as_ref().map(|(_, keyring, ground)| (keyring, ground)).unzip();
            shown(context, &kept, keyring, ground.or(seen.as_ref()), now)?
        }
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

fn shown(
    context: &Context,
    kept: &Kept,
    keyring: Option<&Keyring>,
    ground: Option<&Ground>,
    now: Timestamp,
) -> Result<String, Failure> {
    let standing = kept.standing(now);
    let overtaken = ground.is_some_and(|ground| !ground.taken(&kept.pending).is_empty());
    let rows = [
        ("State:", standing.word().to_owned()),
        ("Waits since:", kept.entry.queued.to_string()),
        ("Attempts:", kept.entry.attempts.to_string()),
        ("Last answer:", kept.entry.message.replace(['\n', '\r'], " ")),
    ];
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let mut text = aligned(&[], rows) + &proposal::head(&kept.pending, keyring).replacen("Proposal:", "Change:  ", 1);
    text.push_str(&proposal::differences(&kept.pending, ground, context.terminal)?);
    let id = kept.id();
    let advice = match standing {
        _ if overtaken => Some(format!("Others came between. To sign it on top of that: stead outbox sign {id}")),
        Standing::NeedsSigning | Standing::Expired => Some(format!("To sign it anew: stead outbox sign {id}")),
        Standing::Refused => {
            Some(format!("It is not sent any more. stead outbox drop {id} lets it go; stead outbox sign {id} signs it anew."))
        }
        Standing::Waiting => None,
    };
    text.extend(advice.map(|advice| advice + "\n"));
    Ok(text)
}

/// What a coordinator answered to and could not take now.
fn still_waiting(left: &[(String, String)]) -> Failure {
    let why: Vec<String> = left.iter().map(|(id, why)| format!("{id}: {why}")).collect();
    Failure::new(FailureKind::Waiting, format!("{} of the outbox still wait: {}", left.len(), why.join("; ")))
}

async fn send_all(context: &Context, args: &OutboxSendArgs) -> Outcome {
    let deadline = args.timeout.map(|timeout| tokio::time::Instant::now() + timeout.to_duration());
    let mut pause = PAUSE_SECONDS_FIRST;
    loop {
        let away = match attempt(context).await {
            Ok(left) if left.is_empty() => return ended(context),
            Ok(left) => still_waiting(&left),
            Err(failure) if failure.is_away() => waiting(context, &failure)?,
            Err(failure) => return Err(failure),
        };
        if !args.wait {
            return Err(away);
        }
        let next = tokio::time::Instant::now() + Duration::from_secs(pause);
        if deadline.is_some_and(|deadline| next > deadline) {
            return Err(away);
        }
        tokio::time::sleep_until(next).await;
        pause = (pause * 2).min(PAUSE_SECONDS_MAX);
    }
}

/// One attempt to send all; says what waits still though somebody answers.
async fn attempt(context: &Context) -> Result<Vec<(String, String)>, Failure> {
    if outbox::is_empty(&context.settings) {
        return Ok(Vec::new());
    }
    let client = Client::connect_alone(&context.settings).await?;
    let outbox = Outbox::hold(&context.settings).await?;
    let sent = send::all(&client, &context.settings, &outbox).await?;
    let lines = sent.lines();
    context.print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    Ok(sent.later)
}

fn waiting(context: &Context, away: &Failure) -> Result<Failure, Failure> {
    let now = Timestamp::now();
    let waits = outbox::look(&context.settings)?.kept.iter().filter(|kept| kept.standing(now) == Standing::Waiting).count();
    Ok(Failure::new(FailureKind::Waiting, format!("no coordinator answers; {waits} changes wait in the outbox"))
        .hint(away.sentence()))
}

/// How `send` ends when nothing waits any more: not well where something needs its author.
fn ended(context: &Context) -> Outcome {
    let Listing { kept, .. } = outbox::look(&context.settings)?;
    let Some(first) = kept.first() else {
        context.say("Nothing waits in the outbox.");
        return Ok(ExitCode::Success);
    };
    let ids: Vec<String> = kept.iter().map(Kept::id).collect();
    let message = format!("{} in the outbox cannot be sent as they are: {}", ids.len(), ids.join(", "));
    Err(Failure::new(FailureKind::NeedsSigning, message).hint(format!(
        "`stead outbox show {}` tells why; `stead outbox sign` signs one anew, `stead outbox drop` lets it go.",
        first.id()
    )))
}

/// What a change meant, signed anew on top of what is there now. Where nobody answers, on top of what it was signed for before.
async fn sign(context: &Context, args: &OutboxSignArgs) -> Outcome {
    let outbox = Outbox::hold(&context.settings).await?;
    let old = outbox::named(outbox.read()?.kept, std::slice::from_ref(&args.change))?;
    let mut old = old.into_iter().next().ok_or_else(|| Failure::internal("a change that was found is gone"))?;
    let found = ground(context, &old).await?;
    let draft = match &found {
        Some((_, _, ground)) => {
            context.print(&proposal::differences(&old.pending, Some(ground), context.terminal)?)?;
            propose::rebased(&old.pending, ground, args.force)?
        }
        None if old.entry.standing == Standing::NeedsSigning => {
            let message = format!("others came before {}, and no coordinator answers to say what they did", old.id());
            return Err(Failure::new(FailureKind::Unreachable, message).hint("It stays in the outbox. Try again later."));
        }
        None => as_it_was(&old),
    };
    if draft.puts.is_empty() && draft.deletes.is_empty() {
        let id = old.id();
        return Err(Failure::user(format!("nothing is left of {id} to sign: all is so already"))
            .hint(format!("`stead outbox drop {id}` lets it go.")));
    }
    let mut signing = Signing::with_message(old.pending.statement.message.clone());
    signing.admit_within = args.admit_within;
    let submission = change::signed_alone(&context.settings, &signer::load_all(&context.settings)?, &draft, &signing)?;
    let before = old.id();
    let written = draft.keys().collect::<Vec<_>>();
    // What its author saw of the objects themselves is said by the new sequences.
    old.entry.preconditions.retain(|condition| !written.contains(&condition.key()));
    old.entry = Entry::new(submission, std::mem::take(&mut old.entry.preconditions), "signed anew");
    outbox.note(&old)?;
    let pending = proposal::check(old.entry.submission.clone(), &change::fleet(&context.settings)?)?;
    context.print(&format!("{before} is signed anew, as {}\n", pending.statement.id.to_ascii_lowercase()))?;
    let Some((client, ..)) = found else { return Err(waiting(context, &Failure::user("It is sent when one answers."))?) };
    let sent = match send::all(&client, &context.settings, &outbox).await {
        Err(failure) if failure.is_away() => return Err(waiting(context, &failure)?),
        sent => sent?,
    };
    context.print(&sent.lines().iter().map(|line| format!("{line}\n")).collect::<String>())?;
    drop(outbox);
    if !sent.later.is_empty() {
        return Err(still_waiting(&sent.later));
    }
    if sent.settled.is_empty() { Ok(ExitCode::Success) } else { ended(context) }
}

/// A change as it was, to be signed once more for the same sequences.
fn as_it_was(old: &Kept) -> Draft {
    let mut draft = Draft::default();
    for (leaf, object) in &old.pending.entries {
        draft.sequences.insert(leaf.key(), leaf.sequence.saturating_sub(1));
        match object {
            Some(object) => draft.puts.push(object.clone()),
            None => draft.deletes.push(Deletion { api_version: leaf.api_version.clone(), key: leaf.key() }),
        }
    }
    draft
}

async fn let_go(context: &Context, args: &OutboxDropArgs) -> Outcome {
    let outbox = Outbox::hold(&context.settings).await?;
    let ids: Vec<String> = outbox::named(outbox.read()?.kept, &args.changes)?.iter().map(Kept::id).collect();
    let mut gone: BTreeMap<ObjectKey, String> = BTreeMap::new();
    for kept in outbox.read()?.kept {
        let id = kept.id();
        let below = kept.keys().find_map(|key| gone.get(&key).cloned());
        if ids.contains(&id) {
            gone.extend(kept.keys().map(|key| (key, id.clone())));
            outbox.remove(&kept)?;
            context.print(&format!("{id} dropped; it is never sent\n"))?;
        } else if let Some(first) = below {
            gone.extend(kept.keys().map(|key| (key, id.clone())));
            outbox.unseat(kept, &first)?;
            context.say(&format!("{id} was signed on top of {first}, and needs signing again."));
        }
    }
    Ok(ExitCode::Success)
}

async fn fetch(context: &Context, args: &OutboxFetchArgs) -> Outcome {
    change::fleet(&context.settings)?;
    let client = Client::connect(&context.settings).await?;
    let mut keys: BTreeMap<ObjectKey, ()> = BTreeMap::new();
    for what in &args.what {
        let wanted = wanted(what, &[])?;
        let namespace = namespace_of(wanted.info, &args.namespace);
        let mut names = wanted.names;
        if names.is_empty() {
            let list = client.list(wanted.info, namespace, "", "").await?;
            names.extend(list.items.iter().map(|item| crate::output::name_of(item).to_owned()));
        }
        keys.extend(names.iter().map(|name| (ObjectKey::new(wanted.info.group_kind(), namespace, name), ())));
    }
    let keys: Vec<ObjectKey> = keys.into_keys().collect();
    if keys.len() > seen::SEEN_AT_ONCE_MAX {
        let message = format!("{} objects are more than are fetched at once ({})", keys.len(), seen::SEEN_AT_ONCE_MAX);
        return Err(Failure::user(message).hint("Name those that matter, as KIND/NAME."));
    }
    let signed = seen::learn(&client, &context.settings, &keys).await?;
    context
        .print(&format!("{signed} objects are kept as they are signed now, and can be changed while no coordinator answers\n"))?;
    Ok(ExitCode::Success)
}
