//! The columns in which a kind is shown: by `kubectl get`, by `stead get`, on a page.

use jiff::Timestamp;
use serde_json::Value;

use crate::duration::age;

/// How a cell is made from the value that a column points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnFormat {
    /// The value as it is.
    Text,
    /// A whole number.
    Integer,
    /// A moment, shown as the time since then.
    Age,
    /// How many items a list or a map has.
    Count,
    /// The status of the condition of this type in the list pointed at.
    Condition(&'static str),
    /// The reason of the condition of this type in the list pointed at.
    Reason(&'static str),
}

/// A column of a kind's table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The heading.
    pub name: &'static str,
    /// JSON pointer (RFC 6901) into the object.
    pub pointer: &'static str,
    /// How the cell is made.
    pub format: ColumnFormat,
    /// What it means, in a sentence.
    pub description: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
}

impl Column {
    /// The cell of an object, as JSON; null where the object has nothing there.
    pub fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let value = object.pointer(self.pointer);
        match self.format {
            ColumnFormat::Text | ColumnFormat::Integer => value.cloned().unwrap_or(Value::Null),
            ColumnFormat::Age => value
                .and_then(Value::as_str)
                .and_then(|text| text.parse::<Timestamp>().ok())
                .map_or(Value::Null, |moment| age(moment, now).to_string().into()),
            ColumnFormat::Count => value
                .map_or(0, |value| value.as_array().map_or_else(|| value.as_object().map_or(0, serde_json::Map::len), Vec::len))
                .into(),
            ColumnFormat::Condition(kind) => condition(value, kind, "status"),
            ColumnFormat::Reason(kind) => condition(value, kind, "reason"),
        }
    }

    /// The type in a Kubernetes table's column definition.
    pub const fn table_type(&self) -> &'static str {
        match self.format {
            ColumnFormat::Integer | ColumnFormat::Count => "integer",
            _ => "string",
        }
    }
}

fn condition(conditions: Option<&Value>, kind: &str, field: &str) -> Value {
    let mut conditions = conditions.and_then(Value::as_array).into_iter().flatten();
    conditions
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
        .and_then(|condition| condition.get(field))
        .cloned()
        .unwrap_or(Value::Null)
}
