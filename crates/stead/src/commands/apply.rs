//! `stead apply`: signs manifests as one change and sends it.

use std::collections::BTreeMap;

use stead_model::{Object, ObjectKey, registry};

use super::Context;
use crate::change::{self, Draft};
use crate::cli::ApplyArgs;
use crate::client::Client;
use crate::difference::ThreeWay;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::output::{Format, json, qualified_name, yaml};
use crate::{Outcome, history, manifest};

/// What a manifest does to the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Created,
    Configured,
    Unchanged,
}

impl Effect {
    fn of(present: Option<&Object>, wanted: &Object) -> Self {
        match present {
            None => Self::Created,
            Some(present) if present.as_sent() == wanted.as_sent() => Self::Unchanged,
            Some(_) => Self::Configured,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

pub(super) async fn run(context: &Context, args: ApplyArgs) -> Outcome {
    let manifests = manifest::read(&args.files.files, &args.namespace)?;
    let wanted: Vec<Object> = manifests.into_iter().map(|manifest| manifest.object).collect();
    let client = Client::connect(&context.settings).await?;
    let keys: Vec<ObjectKey> = wanted.iter().map(Object::key).collect();
    // Before the objects: a change that comes in between is noticed, and not signed over.
    let sequences = history::sequences(&client, &keys).await?;
    let present = change::on_record(&client, &keys).await?;
    let effects: Vec<Effect> = wanted.iter().map(|object| Effect::of(present.get(&object.key()), object)).collect();

    let changed = wanted.iter().zip(&effects).filter(|(_, effect)| **effect != Effect::Unchanged);
    let draft = Draft { puts: changed.map(|(object, _)| object.clone()).collect(), deletes: Vec::new(), sequences };
    if draft.puts.is_empty() {
        report(context, &wanted, &effects, "")?;
        return Ok(ExitCode::Success);
    }
    let sent = match change::sign_and_send(&client, &context.settings, &draft, &args.signing).await {
        Ok(sent) => sent,
        Err(failure) if failure.kind() == FailureKind::NeedsSigning => {
            context.print(&three_ways(context, &client, &present, &draft.puts).await?)?;
            return Err(failure);
        }
        Err(failure) => return Err(failure),
    };
    match context.settings.output() {
        Format::Json => context.print(&json(&sent.answer)?)?,
        Format::Yaml => context.print(&yaml(&sent.answer)?)?,
        _ => {
            let note = if args.signing.dry_run { " (dry run)".to_owned() } else { format!(" (change {})", sent.id) };
            report(context, &wanted, &effects, &note)?;
        }
    }
    Ok(args.signing.outcome())
}

fn report(context: &Context, wanted: &[Object], effects: &[Effect], note: &str) -> Result<(), Failure> {
    let mut text = String::new();
    for (object, effect) in wanted.iter().zip(effects) {
        let name = short_name(object);
        match (context.settings.output(), effect) {
            (Format::Name, _) => text.push_str(&format!("{name}\n")),
            (Format::Json | Format::Yaml, _) => {}
            (_, Effect::Unchanged) => text.push_str(&format!("{name} unchanged\n")),
            (_, effect) => text.push_str(&format!("{name} {}{note}\n", effect.word())),
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
async fn three_ways(
    context: &Context,
    client: &Client,
    before: &BTreeMap<ObjectKey, Object>,
    mine: &[Object],
) -> Result<String, Failure> {
    let keys: Vec<ObjectKey> = mine.iter().map(Object::key).collect();
    let theirs = change::on_record(client, &keys).await?;
    let mut out = String::new();
    for object in mine {
        let key = object.key();
        let difference = ThreeWay {
            name: key.to_string(),
            base: ("as you saw it", before.get(&key)),
            theirs: ("as it is now", theirs.get(&key)),
            yours: ("as you want it", Some(object)),
        };
        out.push_str(&difference.text(context.terminal)?);
    }
    Ok(out)
}
