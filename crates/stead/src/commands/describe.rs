//! `stead describe`: all that is known of an object, for a person to read.

use jiff::Timestamp;
use serde_json::{Map, Value};
use stead_model::{Kind as _, Proposal, registry};

use super::Context;
use super::get::objects;
use crate::aligned::{aligned, indented};
use crate::cli::DescribeArgs;
use crate::client::Client;
use crate::duration::whole_seconds;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::keyring::Keyring;
use crate::kind_word::wanted;
use crate::output::name_of;
use crate::{Outcome, proposal};

/// The longest cell of a table in characters; the rest is in `-o yaml`.
const CELL_CHARACTERS_MAX: usize = 100;

pub(super) async fn run(context: &Context, args: DescribeArgs) -> Outcome {
    let wanted = wanted(&args.kind, &args.names)?;
    let client = Client::connect(&context.settings).await?;
    let objects = objects(&client, wanted.info, &wanted.names, &args.scope).await?;
    let now = Timestamp::now();
    let mut texts = Vec::new();
    for object in &objects {
        if wanted.info.kind == Proposal::KIND {
            let keyring = Keyring::fetch(&client, &context.settings).await?;
            let proposal: Proposal = serde_json::from_value(object.clone())
                .map_err(|error| Failure::internal(format!("a proposal cannot be read: {error}")))?;
            texts.push(proposal::text(&client, &keyring, &proposal, context.terminal).await?);
            continue;
        }
        let events = events(&client, object).await?;
        texts.push(text(object, &events, now));
    }
    if texts.is_empty() {
        context.say(&format!("There are no {}.", wanted.info.plural));
    }
    context.print(&texts.join("\n\n"))?;
    Ok(ExitCode::Success)
}

/// The events about an object, oldest first.
async fn events(client: &Client, object: &Value) -> Result<Vec<Value>, Failure> {
    let info = registry().by_word("event").ok_or_else(|| Failure::internal("there is no kind Event"))?;
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let fields = format!("involvedObject.kind={kind},involvedObject.name={}", name_of(object));
    let mut events = client.list(info, "", "", &fields).await?.items;
    let last = |event: &Value| event.get("lastTimestamp").and_then(Value::as_str).unwrap_or_default().to_owned();
    events.sort_by_key(last);
    Ok(events)
}

fn text(object: &Value, events: &[Value], now: Timestamp) -> String {
    let at = |pointer: &str| object.pointer(pointer);
    let mut out = String::new();
    let head = [
        ("Name", at("/metadata/name")),
        ("Namespace", at("/metadata/namespace")),
        ("Kind", at("/kind")),
        ("Labels", at("/metadata/labels")),
        ("Annotations", at("/metadata/annotations")),
        ("Created", at("/metadata/creationTimestamp")),
        ("Deleting since", at("/metadata/deletionTimestamp")),
        ("Generation", at("/metadata/generation")),
    ];
    let rows = head.into_iter().filter_map(|(name, value)| value.map(|value| vec![format!("{name}:"), line(value)]));
    out.push_str(&aligned(&[], rows.collect()));
    for (name, value) in object.as_object().into_iter().flatten() {
        if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            out.push_str(&section(&title(name), value, now));
        }
    }
    out.push_str("Events:");
    out.push_str(&if events.is_empty() { " none\n".to_owned() } else { format!("\n{}", indented(2, &event_table(events, now))) });
    out
}

/// A value with its heading: lists of objects as tables, objects by their members, the rest in one line.
fn section(name: &str, value: &Value, now: Timestamp) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(members) if members.is_empty() => String::new(),
        Value::Object(members)
            if members.values().all(|member| member.is_string() || member.is_number() || member.is_boolean()) =>
        {
            let rows = members.iter().map(|(name, value)| vec![format!("{}:", title(name)), moment(value, now)]);
            format!("{name}:\n{}", indented(2, &aligned(&[], rows.collect())))
        }
        Value::Object(members) => {
            let inner = members.iter().map(|(name, value)| section(&title(name), value, now));
            format!("{name}:\n{}", indented(2, &inner.collect::<String>()))
        }
        Value::Array(items) if items.is_empty() => String::new(),
        Value::Array(items) if items.iter().all(Value::is_object) => format!("{name}:\n{}", indented(2, &table(items, now))),
        Value::Array(items) => {
            let lines = items.iter().map(|item| format!("  {}\n", line(item)));
            format!("{name}:\n{}", lines.collect::<String>())
        }
        other => format!("{name}: {}\n", moment(other, now)),
    }
}

/// A list of objects, one a row; the columns are the members that any of them has.
fn table(items: &[Value], now: Timestamp) -> String {
    let objects: Vec<&Map<String, Value>> = items.iter().filter_map(Value::as_object).collect();
    // What a person looks for first stands first; the others follow in the order of the objects.
    let mut columns: Vec<&str> = Vec::new();
    for name in ["type", "unit", "name", "path", "object", "status", "state"] {
        if objects.iter().any(|object| object.contains_key(name)) {
            columns.push(name);
        }
    }
    for object in &objects {
        for name in object.keys() {
            // Signed documents are for programs.
            if !columns.contains(&name.as_str()) && !matches!(name.as_str(), "document" | "signature") {
                columns.push(name);
            }
        }
    }
    if let Some(place) = columns.iter().position(|name| *name == "message") {
        let message = columns.remove(place);
        columns.push(message);
    }
    let cell = |object: &&Map<String, Value>, name: &&str| object.get(*name).map_or_else(String::new, |value| moment(value, now));
    let rows = objects.iter().map(|object| columns.iter().map(|name| cell(object, name)).collect());
    let titles: Vec<String> = columns.iter().map(|name| title(name)).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    aligned(&titles, rows.collect())
}

fn event_table(events: &[Value], now: Timestamp) -> String {
    let text = |event: &Value, name: &str| event.get(name).map_or_else(String::new, line);
    let seen = |event: &Value| {
        let last = event.get("lastTimestamp").or_else(|| event.get("eventTime")).and_then(Value::as_str);
        let age = last.and_then(|last| last.parse().ok()).map(|last| stead_model::age(last, now).to_string()).unwrap_or_default();
        match event.get("count").and_then(Value::as_i64) {
            Some(count) if count > 1 => format!("{age} ({count} times)"),
            _ => age,
        }
    };
    let row = |event: &Value| vec![text(event, "type"), text(event, "reason"), seen(event), text(event, "message")];
    aligned(&["type", "reason", "age", "message"], events.iter().map(row).collect())
}

/// A value in one line; a moment with how long ago it was.
fn moment(value: &Value, now: Timestamp) -> String {
    match value.as_str().filter(|text| text.ends_with('Z')).and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(moment) => format!("{} ({} ago)", whole_seconds(moment), stead_model::age(moment, now)),
        None => line(value),
    }
}

fn line(value: &Value) -> String {
    let text = match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| format!("{name}={}", line(value))).collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) => items.iter().map(line).collect::<Vec<_>>().join(", "),
        Value::String(text) => text.replace(['\n', '\r', '\t'], " "),
        other => other.to_string(),
    };
    if text.chars().count() <= CELL_CHARACTERS_MAX {
        return text;
    }
    text.chars().take(CELL_CHARACTERS_MAX).chain("…".chars()).collect()
}

/// `lastSeen` as `Last seen`.
fn title(name: &str) -> String {
    let mut out = String::new();
    for character in name.chars() {
        if out.is_empty() {
            out.extend(character.to_uppercase());
        } else if character.is_uppercase() {
            out.push(' ');
            out.extend(character.to_lowercase());
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_in_words() {
        let object = json!({
            "apiVersion": "stead.dev/v1", "kind": "Machine",
            "metadata": {"name": "web-1", "labels": {"role": "web"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"key": "aa"},
            "status": {
                "lastSeen": "2026-01-01T23:59:50Z",
                "conditions": [{"type": "Ready", "status": "True", "reason": "Seen", "message": "it speaks"}],
                "units": [{"unit": "file:/etc/motd", "state": "Converged", "sequence": 2}]
            }
        });
        let events = [
            json!({"type": "Warning", "reason": "Refused", "message": "a forged change", "lastTimestamp": "2026-01-01T23:59:00Z", "count": 3}),
        ];
        let expected = "\
Name:      web-1
Kind:      Machine
Labels:    role=web
Created:   2026-01-01T00:00:00Z
Spec:
  Key:   aa
Status:
  Conditions:
    TYPE    STATUS   REASON   MESSAGE
    Ready   True     Seen     it speaks
  Last seen: 2026-01-01T23:59:50Z (10s ago)
  Units:
    UNIT             STATE       SEQUENCE
    file:/etc/motd   Converged   2
Events:
  TYPE      REASON    AGE             MESSAGE
  Warning   Refused   60s (3 times)   a forged change
";
        assert_eq!(text(&object, &events, "2026-01-02T00:00:00Z".parse().unwrap()), expected);
    }
}
