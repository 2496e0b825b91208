//! `stead config show`: every setting, and where its value comes from.

use serde_json::json;

use super::Context;
use crate::Outcome;
use crate::aligned::aligned;
use crate::config::{Resolved, SETTINGS};
use crate::exit_code::ExitCode;
use crate::output::{Format, json, yaml};
use crate::record::without_password;

pub(super) fn run(context: &Context, origin: bool) -> Outcome {
    let settings = &context.settings;
    let found = SETTINGS.iter().filter_map(|setting| settings.resolved(setting.name).map(|resolved| (setting, shown(resolved))));
    let format = settings.output();
    let text = match format {
        Format::Json | Format::Yaml => {
            let members = found.map(|(setting, resolved)| {
                let value = if setting.several { json!(resolved.values) } else { json!(resolved.values.first()) };
                let entry = if origin { json!({"value": value, "origin": resolved.origin.to_string()}) } else { value };
                (setting.name.to_owned(), entry)
            });
            let value = serde_json::Value::Object(members.collect());
            if format == Format::Json { json(&value)? } else { yaml(&value)? }
        }
        Format::Name => found.map(|(setting, _)| format!("{}\n", setting.name)).collect(),
        Format::Table | Format::Wide => {
            let mut heading = vec!["setting", "value"];
            heading.extend(origin.then_some("origin"));
            heading.extend((format == Format::Wide).then_some("meaning"));
            let rows = found.map(|(setting, resolved)| {
                let value = if resolved.values.is_empty() { "-".to_owned() } else { resolved.values.join(", ") };
                let mut row = vec![setting.name.to_owned(), value];
                row.extend(origin.then(|| resolved.origin.to_string()));
                row.extend((format == Format::Wide).then(|| setting.doc.to_owned()));
                row
            });
            aligned(&heading, rows.collect())
        }
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

/// A setting as it may be shown: the record's URL may have a password in it.
fn shown(resolved: &Resolved) -> Resolved {
    let values = resolved.values.iter().map(|value| without_password(value)).collect();
    Resolved { values, origin: resolved.origin.clone() }
}
