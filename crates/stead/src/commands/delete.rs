//! `stead delete`: signs the deletion of objects and sends it.

use stead_model::{ObjectKey, registry};

use super::Context;
use crate::change::{self, Deletion, Draft};
use crate::cli::DeleteArgs;
use crate::client::Client;
use crate::failure::{Failure, FailureKind};
use crate::kind_word::{namespace_of, wanted};
use crate::offline::Wish;
use crate::{Outcome, manifest};

pub(super) async fn run(context: &Context, args: DeleteArgs) -> Outcome {
    let named = named(&args)?;
    match online(context, &args, named.clone()).await {
        Err(away) if away.is_away() && !named.is_empty() => offline(context, &args, &named, away).await,
        outcome => outcome,
    }
}

async fn online(context: &Context, args: &DeleteArgs, named: Vec<Deletion>) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let deletions = if named.is_empty() { selected(&client, args).await? } else { present(&client, named).await? };
    let draft = Draft { deletes: deletions, ..Draft::default() };
    let sent = change::sign_and_send(&client, &context.settings, &draft, &args.signing).await?;
    let note = if args.signing.dry_run { " (dry run)".to_owned() } else { format!(" (change {})", sent.id) };
    let lines = draft.deletes.iter().map(|deletion| format!("{} deleted{note}\n", name_of(&deletion.key)));
    context.print(&lines.collect::<String>())?;
    Ok(args.signing.outcome())
}

/// Nobody answers: signs the deletion of what was last seen, and lets it wait.
async fn offline(context: &Context, args: &DeleteArgs, named: &[Deletion], away: Failure) -> Outcome {
    let wish = Wish { puts: &[], deletes: named, preconditions: Vec::new() };
    let (effects, waiting) = crate::offline::sign(&context.settings, wish, &args.signing, away).await?;
    context.print(&effects.iter().map(|(key, word)| format!("{} will be {word} (waits)\n", name_of(key))).collect::<String>())?;
    Err(waiting)
}

/// The objects that were named, in manifests or on the command line.
fn named(args: &DeleteArgs) -> Result<Vec<Deletion>, Failure> {
    let Some(kind) = &args.kind else {
        let manifests = manifest::read(&args.files, &args.scope.namespace)?;
        let deletion =
            |manifest: manifest::Manifest| Deletion { key: manifest.object.key(), api_version: manifest.object.api_version };
        return Ok(manifests.into_iter().map(deletion).collect());
    };
    let wanted = wanted(kind, &args.names)?;
    if wanted.names.is_empty() && args.scope.selector.is_none() {
        return Err(Failure::user(format!("which {}? Nothing is deleted without a name or a selector", wanted.info.plural))
            .hint(format!("Give names, or labels with -l; `stead get {}` lists what there is.", wanted.info.plural)));
    }
    let namespace = namespace_of(wanted.info, &args.scope.namespace);
    let key = |name: String| ObjectKey::new(wanted.info.group_kind(), namespace, &name);
    Ok(wanted.names.into_iter().map(|name| Deletion { api_version: wanted.info.api_version(), key: key(name) }).collect())
}

/// Those of the named that there are; one that is missing stops the whole, before anything is signed.
async fn present(client: &Client, named: Vec<Deletion>) -> Result<Vec<Deletion>, Failure> {
    let keys: Vec<ObjectKey> = named.iter().map(|deletion| deletion.key.clone()).collect();
    let found = change::on_record(client, &keys).await?;
    match keys.iter().find(|key| !found.contains_key(*key)) {
        Some(missing) => Err(Failure::new(FailureKind::NotFound, format!("there is no {missing}; nothing was deleted"))),
        None => Ok(named),
    }
}

async fn selected(client: &Client, args: &DeleteArgs) -> Result<Vec<Deletion>, Failure> {
    let wanted = wanted(args.kind.as_deref().unwrap_or_default(), &[])?;
    let namespace = if args.scope.all_namespaces { "" } else { namespace_of(wanted.info, &args.scope.namespace) };
    let labels = args.scope.selector.as_ref().map(ToString::to_string).unwrap_or_default();
    let list = client.list(wanted.info, namespace, &labels, "").await?;
    let text = |object: &serde_json::Value, pointer: &str| {
        object.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    let deletion = |object: &serde_json::Value| Deletion {
        api_version: wanted.info.api_version(),
        key: ObjectKey::new(wanted.info.group_kind(), &text(object, "/metadata/namespace"), &text(object, "/metadata/name")),
    };
    let deletions: Vec<Deletion> = list.items.iter().map(deletion).collect();
    if deletions.is_empty() {
        return Err(Failure::new(
            FailureKind::NotFound,
            format!("no {} has these labels; nothing was deleted", wanted.info.singular),
        ));
    }
    Ok(deletions)
}

fn name_of(key: &ObjectKey) -> String {
    let value = serde_json::json!({"metadata": {"name": key.name}});
    registry().by_group_kind(&key.kind).map_or_else(|| key.to_string(), |info| crate::output::qualified_name(info, &value))
}
