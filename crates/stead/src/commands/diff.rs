//! `stead diff`: what manifests would change, and the steps that each machine would take.

use jiff::Timestamp;
use stead_model::{Object, ObjectKey};

use super::{Context, plan};
use crate::cli::DiffArgs;
use crate::client::Client;
use crate::difference::{text_of, unified};
use crate::exit_code::ExitCode;
use crate::{Outcome, change, manifest};

pub(super) async fn run(context: &Context, args: DiffArgs) -> Outcome {
    let manifests = manifest::read(&args.files.files, &args.namespace)?;
    let wanted: Vec<Object> = manifests.into_iter().map(|manifest| manifest.object).collect();
    let client = Client::connect(&context.settings).await?;
    let keys: Vec<ObjectKey> = wanted.iter().map(Object::key).collect();
    let present = change::on_record(&client, &keys).await?;

    let mut text = String::new();
    let mut changed = Vec::new();
    for object in &wanted {
        let key = object.key();
        let (old, new) = (text_of(present.get(&key))?, text_of(Some(object))?);
        let difference = unified(&format!("{key} (on record)"), &format!("{key} (manifest)"), &old, &new, context.terminal);
        if !difference.is_empty() {
            text.push_str(&difference);
            changed.push(object);
        }
    }
    if changed.is_empty() {
        return Ok(ExitCode::Success);
    }
    context.print(&text)?;
    if !args.no_plan {
        let plans = plan::ask(&client, &context.settings, &changed, Timestamp::now()).await?;
        context.print(&plan::render(&plans, context.terminal))?;
    }
    Ok(ExitCode::Changed)
}
