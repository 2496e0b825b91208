//! Checks JSON against a kind's schema, and says which field is wrong and what was expected.

use serde_json::Value;

/// Why a field is refused, in the words of Kubernetes' `Status.details.causes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CauseReason {
    /// The kind has no such field.
    UnknownField,
    /// The value has another type than the field.
    TypeInvalid,
    /// The value has the right type and is wrong all the same.
    Invalid,
    /// The field must be there.
    Required,
    /// The field may not be there.
    Forbidden,
    /// The same thing stands there twice.
    Duplicate,
    /// There is more of it than may be.
    TooLong,
}

impl CauseReason {
    /// The word that clients know.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownField => "FieldValueNotSupported",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Invalid => "FieldValueInvalid",
            Self::Required => "FieldValueRequired",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
        }
    }
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The field, such as `spec.files[0].mode`.
    pub path: String,
    /// What sort of wrong.
    pub reason: CauseReason,
    /// What was found and what was expected, in a sentence.
    pub message: String,
}

impl Cause {
    /// A cause at a path.
    pub fn new(path: impl Into<String>, reason: CauseReason, message: impl Into<String>) -> Self {
        Self { path: path.into(), reason, message: message.into() }
    }
}

/// How many causes are reported at once: enough to mend a file, not enough to flood a terminal.
const CAUSES_MAX: usize = 20;

/// Checks a value against a schema without references (see `KindInfo::schema`). A `null` counts as absent.
pub fn check_schema(schema: &Value, value: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    check(schema, value, "", &mut causes);
    causes.truncate(CAUSES_MAX);
    causes
}

fn check(schema: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if value.is_null() || schema.as_bool() == Some(true) || causes.len() >= CAUSES_MAX {
        return;
    }
    if let Some(expected) = schema.get("type").and_then(Value::as_str)
        && !has_type(expected, value)
    {
        let message = format!("Invalid value: {}: expected {expected}, found {}", shown(value), type_of(value));
        causes.push(Cause::new(path, CauseReason::TypeInvalid, message));
        return;
    }
    check_choices(schema, value, path, causes);
    match value {
        Value::Object(members) => check_members(schema, members, path, causes),
        Value::Array(items) => {
            let Some(item_schema) = schema.get("items") else { return };
            for (index, item) in items.iter().enumerate() {
                check(item_schema, item, &format!("{path}[{index}]"), causes);
            }
        }
        _ => {}
    }
}

fn check_members(schema: &Value, members: &serde_json::Map<String, Value>, path: &str, causes: &mut Vec<Cause>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties").filter(|schema| schema.as_bool() != Some(false));
    for (name, member) in members {
        match (properties.and_then(|properties| properties.get(name)), additional) {
            (Some(property), _) => check(property, member, &below(name), causes),
            (None, Some(additional)) => check(additional, member, &below(name), causes),
            (None, None) if properties.is_none() => {}
            (None, None) => {
                let known: Vec<&str> = properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                let message = format!("unknown field {:?}; known here: {}", below(name), known.join(", "));
                causes.push(Cause::new(below(name), CauseReason::UnknownField, message));
            }
        }
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if members.get(name).is_none_or(Value::is_null) {
            causes.push(Cause::new(below(name), CauseReason::Required, "Required value"));
        }
    }
}

fn check_choices(schema: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut allowed: Vec<&Value> = schema.get("enum").and_then(Value::as_array).into_iter().flatten().collect();
    for choice in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        allowed.extend(choice.get("const"));
        allowed.extend(choice.get("enum").and_then(Value::as_array).into_iter().flatten());
    }
    if !allowed.is_empty() && !allowed.contains(&value) {
        let allowed: Vec<String> = allowed.into_iter().map(shown).collect();
        let message = format!("Unsupported value: {}: expected one of {}", shown(value), allowed.join(", "));
        causes.push(Cause::new(path, CauseReason::Invalid, message));
    }
    let Some(number) = value.as_i64() else { return };
    for (bound, wrong) in [("minimum", "at least"), ("maximum", "at most")] {
        let Some(limit) = schema.get(bound).and_then(Value::as_i64) else { continue };
        if (bound == "minimum" && number < limit) || (bound == "maximum" && number > limit) {
            causes.push(Cause::new(path, CauseReason::Invalid, format!("Invalid value: {number}: must be {wrong} {limit}")));
        }
    }
}

fn has_type(expected: &str, value: &Value) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => true,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A value as an error shows it: short, whatever it is.
fn shown(value: &Value) -> String {
    /// Enough to recognise the value by.
    const SHOWN_CHARACTERS_MAX: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= SHOWN_CHARACTERS_MAX {
        text
    } else {
        text.chars().take(SHOWN_CHARACTERS_MAX).chain("…".chars()).collect()
    }
}
