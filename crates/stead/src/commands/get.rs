//! `stead get`: lists objects, or shows some by name.

use jiff::Timestamp;
use serde_json::Value;
use stead_model::KindInfo;

use super::Context;
use crate::Outcome;
use crate::cli::{GetArgs, Scope};
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::kind_word::{namespace_of, wanted};
use crate::output::render;

pub(super) async fn run(context: &Context, args: GetArgs) -> Outcome {
    let wanted = wanted(&args.kind, &args.names)?;
    let client = Client::connect(&context.settings).await?;
    let mut objects = objects(&client, wanted.info, &wanted.names, &args.scope).await?;
    if !args.show_managed_fields {
        objects.iter_mut().for_each(hide_managed_fields);
    }
    let format = context.settings.output();
    if objects.is_empty() && !format.is_for_programs() {
        context.say(&format!("There are no {}.", wanted.info.plural));
        return Ok(ExitCode::Success);
    }
    context.print(&render(wanted.info, &objects, wanted.names.len() == 1, format, Timestamp::now())?)?;
    Ok(ExitCode::Success)
}

/// The objects of these names, or all that the scope holds.
pub(super) async fn objects(client: &Client, info: &KindInfo, names: &[String], scope: &Scope) -> Result<Vec<Value>, Failure> {
    let namespace = namespace_of(info, &scope.namespace);
    if names.is_empty() {
        let namespace = if scope.all_namespaces { "" } else { namespace };
        let labels = scope.selector.as_ref().map(ToString::to_string).unwrap_or_default();
        return Ok(client.list(info, namespace, &labels, &scope.field_selector).await?.items);
    }
    if scope.selector.is_some() || !scope.field_selector.is_empty() {
        return Err(Failure::user("names and a selector (-l, --field-selector) exclude each other"));
    }
    let mut objects = Vec::new();
    for name in names {
        objects.push(client.object(info, namespace, name).await?);
    }
    Ok(objects)
}

/// Takes out who manages which field: longer than the object itself, and seldom what a person wants to see.
fn hide_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn managers_are_hidden() {
        let mut object = json!({"metadata": {"name": "web", "managedFields": [{"manager": "stead"}]}, "spec": {}});
        hide_managed_fields(&mut object);
        assert_eq!(object, json!({"metadata": {"name": "web"}, "spec": {}}));
    }
}
