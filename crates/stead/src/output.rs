//! How objects are printed: as a table, as JSON or YAML, or by their names.

use jiff::Timestamp;
use serde_json::Value;
use stead_model::KindInfo;

use crate::aligned::aligned;
use crate::failure::Failure;

/// A form of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

impl Format {
    /// The format of a word of the setting `output`.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "table" => Self::Table,
            "wide" => Self::Wide,
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            _ => return None,
        })
    }

    /// Whether programs read it.
    pub(crate) const fn is_for_programs(self) -> bool {
        matches!(self, Self::Json | Self::Yaml | Self::Name)
    }
}

/// What is printed for some objects of one kind. One that was asked for by name is printed bare, several as a List.
pub(crate) fn render(
    info: &KindInfo,
    objects: &[Value],
    single: bool,
    format: Format,
    now: Timestamp,
) -> Result<String, Failure> {
    let document = || match objects {
        [one] if single => one.clone(),
        _ => serde_json::json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": objects}),
    };
    match format {
        Format::Json => json(&document()),
        Format::Yaml => yaml(&document()),
        Format::Name => Ok(objects.iter().map(|object| format!("{}\n", qualified_name(info, object))).collect()),
        Format::Table => Ok(table(info, objects, false, now)),
        Format::Wide => Ok(table(info, objects, true, now)),
    }
}

/// Indented JSON with a line feed at its end.
pub(crate) fn json(value: &Value) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(text + "\n")
}

/// YAML with a line feed at its end.
pub(crate) fn yaml(value: &Value) -> Result<String, Failure> {
    let text =
        serde_saphyr::to_string(value).map_err(|error| Failure::internal(format!("cannot be written as YAML: {error}")))?;
    Ok(text.trim_end().to_owned() + "\n")
}

/// `machine.stead.dev/web-1`.
pub(crate) fn qualified_name(info: &KindInfo, object: &Value) -> String {
    let name = name_of(object);
    if info.group.is_empty() { format!("{}/{name}", info.singular) } else { format!("{}.{}/{name}", info.singular, info.group) }
}

/// `metadata.name`.
pub(crate) fn name_of(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn table(info: &KindInfo, objects: &[Value], wide: bool, now: Timestamp) -> String {
    let columns: Vec<_> = info.columns.iter().filter(|column| wide || column.priority == 0).collect();
    let several_namespaces = info.namespaced && {
        let mut namespaces: Vec<&str> = objects.iter().map(namespace).collect();
        namespaces.dedup();
        namespaces.len() > 1
    };
    let mut heading: Vec<&str> = if several_namespaces { vec!["namespace", "name"] } else { vec!["name"] };
    heading.extend(columns.iter().map(|column| column.name));
    heading.push("age");
    let rows = objects.iter().map(|object| {
        let mut row = if several_namespaces { vec![namespace(object).to_owned()] } else { Vec::new() };
        row.push(name_of(object).to_owned());
        row.extend(columns.iter().map(|column| cell(&column.cell(object, now))));
        row.push(age(object, now));
        row
    });
    aligned(&heading, rows.collect())
}

fn namespace(object: &Value) -> &str {
    object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default()
}

/// One line of a table, for watches: its columns keep the width that they had in the first table.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace(['\n', '\r', '\t'], " "),
        other => other.to_string(),
    }
}

/// The age of an object.
fn age(object: &Value, now: Timestamp) -> String {
    let created = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str).and_then(|text| text.parse().ok());
    created.map_or_else(|| "<unknown>".to_owned(), |created| stead_model::age(created, now).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use stead_model::registry;

    fn machine() -> Value {
        json!({
            "apiVersion": "stead.dev/v1", "kind": "Machine",
            "metadata": {"name": "web-1", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"key": "aa"},
            "status": {
                "lastSeen": "2026-01-02T23:59:50Z",
                "conditions": [
                    {"type": "Ready", "status": "True", "reason": "Heard"},
                    {"type": "Converged", "status": "False", "reason": "Failed"}
                ],
                "units": [{}, {}]
            }
        })
    }

    #[test]
    fn the_forms() {
        let info = registry().by_word("machine").unwrap();
        let now = "2026-01-03T00:00:00Z".parse().unwrap();
        let cases = [
            (
                Format::Table,
                "NAME    READY   VOICE   CONVERGED   UNITS   SEEN   AGE\nweb-1   True    Heard   False       2       10s    2d\n",
            ),
            (Format::Name, "machine.stead.dev/web-1\n"),
        ];
        for (format, expected) in cases {
            assert_eq!(render(info, &[machine()], true, format, now).unwrap(), expected);
        }
        let wide = render(info, &[machine()], true, Format::Wide, now).unwrap();
        assert!(wide.contains("REASON") && wide.contains("Failed"), "{wide}");
        let json: Value = serde_json::from_str(&render(info, &[machine()], true, Format::Json, now).unwrap()).unwrap();
        assert_eq!(json, machine());
        let yaml = render(info, &[machine()], false, Format::Yaml, now).unwrap();
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read["items"][0], machine());
        assert_eq!(read["kind"], "List");
    }
}
