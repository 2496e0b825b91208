//! Fields by which objects of a kind can be selected, beside their labels: `kubectl get --field-selector`.

use std::borrow::Cow;

use serde_json::Value;

/// A field by which objects of a kind can be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectableField {
    /// The path as people write it, such as `spec.key`.
    pub path: &'static str,
    /// JSON pointer (RFC 6901) to where a stored object has it.
    pub pointer: &'static str,
    /// Where the pointer leads to a list of conditions: the type of the one whose status is meant.
    pub condition: Option<&'static str>,
}

impl SelectableField {
    /// A text, a number or a truth value.
    pub const fn at(path: &'static str, pointer: &'static str) -> Self {
        Self { path, pointer, condition: None }
    }

    /// The status of a condition: `status.conditions.Ready`.
    pub const fn condition(path: &'static str, kind: &'static str) -> Self {
        Self { path, pointer: "/status/conditions", condition: Some(kind) }
    }

    /// The field's value in an object; empty where the object has nothing there.
    pub fn value<'a>(&self, object: &'a Value) -> Cow<'a, str> {
        let found = object.pointer(self.pointer);
        let found = match self.condition {
            None => found,
            Some(kind) => {
                let mut conditions = found.and_then(Value::as_array).into_iter().flatten();
                conditions
                    .find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
                    .and_then(|condition| condition.get("status"))
            }
        };
        match found {
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(scalar @ (Value::Number(_) | Value::Bool(_))) => Cow::Owned(scalar.to_string()),
            _ => Cow::Borrowed(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;
    use serde_json::json;

    #[test]
    fn values_are_texts_whatever_they_are() {
        let object = json!({
            "spec": {"key": "k", "approved": true, "count": 3, "list": []},
            "status": {"conditions": [{"type": "Ready", "status": "False"}]},
        });
        for (field, expected) in [
            (SelectableField::at("spec.key", "/spec/key"), "k"),
            (SelectableField::at("spec.approved", "/spec/approved"), "true"),
            (SelectableField::at("spec.count", "/spec/count"), "3"),
            (SelectableField::at("spec.list", "/spec/list"), ""),
            (SelectableField::at("spec.none", "/spec/none"), ""),
            (SelectableField::condition("status.conditions.Ready", "Ready"), "False"),
            (SelectableField::condition("status.conditions.Other", "Other"), ""),
        ] {
            assert_eq!(field.value(&object), expected, "{field:?}");
        }
    }

    #[test]
    fn every_selectable_field_is_one_of_the_schema() {
        for info in registry().iter() {
            for field in info.selectable {
                let properties = field.pointer.replace('/', "/properties/");
                assert!(info.schema.pointer(&properties).is_some(), "{} has no {}", info.kind, field.pointer);
                let named = format!("/{}", field.path.replace('.', "/"));
                let condition = format!("{}/{}", field.pointer, field.condition.unwrap_or_default());
                let events = info.kind == "Event";
                assert!(events || named == field.pointer || named == condition, "{} selects {}", info.kind, field.path);
            }
        }
    }
}
