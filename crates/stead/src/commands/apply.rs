//! `stead apply`: signs manifests as one change and sends it.

use stead_model::{Object, ObjectKey, registry};

use super::{Context, condition};
use crate::Outcome;
use crate::change::{self, Draft};
use crate::cli::ApplyArgs;
use crate::client::Client;
use crate::difference::ThreeWay;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::intent::{Effect, Intent};
use crate::output::{Format, json, qualified_name, yaml};

pub(super) async fn run(context: &Context, args: ApplyArgs) -> Outcome {
    let wanted = Intent::read(&args.files)?;
    let preconditions = condition::preconditions(&args.conditions, &args.files.namespace)?;
    let client = Client::connect(&context.settings).await?;
    let intent = Intent::of(&client, &context.settings, wanted, &args.files).await?;
    let mut draft = if args.again { intent.draft_again() } else { intent.draft() };
    draft.preconditions.extend(preconditions);
    if draft.puts.is_empty() && draft.deletes.is_empty() {
        report(context, &intent, "", false)?;
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
            report(context, &intent, &note, args.again)?;
        }
    }
    Ok(args.signing.outcome())
}

/// `again` says that what is so already was signed, too.
fn report(context: &Context, intent: &Intent, note: &str, again: bool) -> Result<(), Failure> {
    let mut text = String::new();
    for (object, effect) in intent.wanted.iter().zip(intent.effects()) {
        let name = short_name(object);
        match (context.settings.output(), effect) {
            (Format::Name, _) => text.push_str(&format!("{name}\n")),
            (Format::Json | Format::Yaml, _) => {}
            (_, Effect::Unchanged) if again => text.push_str(&format!("{name} signed again{note}\n")),
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
