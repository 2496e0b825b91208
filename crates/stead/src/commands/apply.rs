//! `stead apply`: signs manifests as one change and sends it.

use stead_admission::Precondition;
use stead_model::{Object, ObjectKey, registry};

use super::{Context, condition};
use crate::Outcome;
use crate::change::{self, Draft};
use crate::cli::ApplyArgs;
use crate::client::Client;
use crate::difference::ThreeWay;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::intent::{self, Effect, Intent};
use crate::offline::Wish;
use crate::output::{Format, json, qualified_name, yaml};
use crate::seen;

pub(super) async fn run(context: &Context, args: ApplyArgs) -> Outcome {
    let wanted = Intent::read(&args.files)?;
    let preconditions = condition::preconditions(&args.conditions, &args.files.namespace)?;
    match online(context, &args, wanted.clone(), &preconditions).await {
        Err(away) if away.is_away() => offline(context, &args, &wanted, preconditions, away).await,
        outcome => outcome,
    }
}

async fn online(context: &Context, args: &ApplyArgs, wanted: Vec<Object>, preconditions: &[Precondition]) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let intent = Intent::of(&client, &context.settings, wanted, &args.files).await?;
    let mut draft = intent.draft();
    draft.preconditions.extend_from_slice(preconditions);
    if draft.puts.is_empty() && draft.deletes.is_empty() {
        report(context, &intent, "")?;
        keep_seen(context, &client, &intent).await;
        return Ok(ExitCode::Success);
    }
    let sent = match change::sign_and_send(&client, &context.settings, &draft, &args.signing).await {
        Ok(sent) => sent,
        Err(failure) if failure.kind() == FailureKind::NeedsSigning => {
            context.print(&three_ways(context, &client, &intent, &draft).await?)?;
            return Err(failure);
        }
        Err(failure) => return Err(failure),
    };
    match context.settings.output() {
        Format::Json => context.print(&json(&sent.answer)?)?,
        Format::Yaml => context.print(&yaml(&sent.answer)?)?,
        _ => {
            let note = if args.signing.dry_run { " (dry run)".to_owned() } else { format!(" (change {})", sent.id) };
            report(context, &intent, &note)?;
        }
    }
    keep_seen(context, &client, &intent).await;
    Ok(args.signing.outcome())
}

/// Keeps what is signed of the manifests' objects for a time without a coordinator.
async fn keep_seen(context: &Context, client: &Client, intent: &Intent) {
    let keys: Vec<ObjectKey> = intent.wanted.iter().chain(&intent.pruned).map(Object::key).collect();
    seen::learn_quietly(client, &context.settings, &keys).await;
}

/// Nobody answers: signs on top of what was last seen, and lets it wait.
async fn offline(
    context: &Context,
    args: &ApplyArgs,
    wanted: &[Object],
    mut preconditions: Vec<Precondition>,
    away: Failure,
) -> Outcome {
    if args.files.prune {
        return Err(away.hint("What has left a set is found out from a coordinator: with --prune nothing is signed for later."));
    }
    preconditions.extend(wanted.iter().filter_map(intent::read_at));
    let wish = Wish { puts: wanted, deletes: &[], preconditions };
    let (effects, waiting) = crate::offline::sign(&context.settings, wish, &args.signing, away).await?;
    let lines = wanted.iter().zip(effects).map(|(object, (_, word))| match word {
        "unchanged" => format!("{} unchanged, as it was last seen\n", short_name(object)),
        word => format!("{} will be {word} (waits)\n", short_name(object)),
    });
    context.print(&lines.collect::<String>())?;
    Err(waiting)
}

fn report(context: &Context, intent: &Intent, note: &str) -> Result<(), Failure> {
    let mut text = String::new();
    for (object, effect) in intent.wanted.iter().zip(intent.effects()) {
        let name = short_name(object);
        match (context.settings.output(), effect) {
            (Format::Name, _) => text.push_str(&format!("{name}\n")),
            (Format::Json | Format::Yaml, _) => {}
            (_, Effect::Unchanged) => text.push_str(&format!("{name} unchanged\n")),
            (_, effect) => text.push_str(&format!("{name} {}{note}\n", effect.word())),
        }
    }
    for object in &intent.pruned {
        match context.settings.output() {
            Format::Name => text.push_str(&format!("{}\n", short_name(object))),
            Format::Json | Format::Yaml => {}
            _ => text.push_str(&format!("{} pruned{note}\n", short_name(object))),
        }
    }
    context.print(&text)
}

/// `profile.stead.dev/web`, as `kubectl` says it.
pub(super) fn short_name(object: &Object) -> String {
    let value = serde_json::json!({"metadata": {"name": object.metadata.name}});
    registry().by_group_kind(&object.group_kind()).map_or_else(|| object.key().to_string(), |info| qualified_name(info, &value))
}

/// What was there when this command began, what somebody made of it meanwhile, and what was to be signed.
async fn three_ways(context: &Context, client: &Client, intent: &Intent, draft: &Draft) -> Result<String, Failure> {
    let keys: Vec<ObjectKey> = draft.keys().collect();
    let theirs = change::on_record(client, &keys).await?;
    let mut out = String::new();
    for key in keys {
        let pruned = intent.pruned.iter().find(|object| object.key() == key);
        let difference = ThreeWay {
            name: key.to_string(),
            base: ("as you saw it", intent.present.get(&key).or(pruned)),
            theirs: ("as it is now", theirs.get(&key)),
            yours: ("as you want it", draft.puts.iter().find(|object| object.key() == key)),
        };
        out.push_str(&difference.text(context.terminal)?);
    }
    Ok(out)
}
