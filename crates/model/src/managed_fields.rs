//! `metadata.managedFields`: who manages which field, as Kubernetes writes it down.

use std::borrow::Cow;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Which fields one client manages through one sort of write.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedFields {
    /// The client: its `fieldManager`, or the first word of its user agent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manager: String,
    /// `Apply` for server-side apply, `Update` for every other write.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub operation: String,
    /// The version of the kind in which the fields are named.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// When the entry last changed, to the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub time: Option<Timestamp>,
    /// `FieldsV1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fields_type: String,
    /// The fields.
    #[serde(rename = "fieldsV1", skip_serializing_if = "Option::is_none")]
    pub fields: Option<FieldsV1>,
    /// The subresource that was written, such as `status`; empty for the object itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

/// A set of fields in the JSON form that Kubernetes calls FieldsV1, not looked into: most reads and writes of an object only carry it.
#[derive(Clone, Debug)]
pub struct FieldsV1(Box<RawValue>);

impl FieldsV1 {
    /// From JSON text.
    ///
    /// # Errors
    ///
    /// Where it is no JSON.
    pub fn from_json(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }

    /// The JSON text.
    pub fn json(&self) -> &str {
        self.0.get()
    }
}

/// Two sets are the same here where their text is; whoever writes one writes its members in order.
impl PartialEq for FieldsV1 {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

impl Serialize for FieldsV1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FieldsV1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for FieldsV1 {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "FieldsV1".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object"})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_reads_and_writes_the_same_from_text_and_from_a_value() {
        let entry = json!({
            "manager": "kubectl", "operation": "Apply", "apiVersion": "stead.dev/v1", "time": "2026-11-20T11:13:23Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:selector": {}}}, "subresource": "status",
        });
        let from_value: ManagedFields = serde_json::from_value(entry.clone()).unwrap();
        let from_text: ManagedFields = serde_json::from_str(&entry.to_string()).unwrap();
        assert_eq!(from_value, from_text);
        assert_eq!(serde_json::to_value(&from_value).unwrap(), entry);
        assert_eq!(from_value.fields.unwrap().json(), r#"{"f:spec":{"f:selector":{}}}"#);
        assert_eq!(serde_json::to_value(ManagedFields::default()).unwrap(), json!({}));
    }
}
