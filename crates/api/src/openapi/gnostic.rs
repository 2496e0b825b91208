//! OpenAPI v2 as gnostic's protobuf: the only form that kubectl 1.20 reads.
//!
//! Field numbers are those of gnostic's `openapiv2/OpenAPIv2.proto`. Only what clients look at is written.

use serde_json::{Map, Value};

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap_or_default());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }

    /// Writes a string member where there is one.
    fn text(&mut self, field: u64, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }
}

/// A whole document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.text(1, document.get("swagger"));
    if let Some(info) = document.get("info") {
        let mut part = Message::default();
        part.text(1, info.get("title"));
        part.text(2, info.get("version"));
        message.message(2, &part);
    }
    message.message(8, &named(2, document.get("paths"), path));
    message.message(9, &named(1, document.get("definitions"), schema));
    message.0
}

/// A map: each member as a message of a name and a value.
fn named(field: u64, members: Option<&Value>, value: impl Fn(&Value) -> Message) -> Message {
    let mut list = Message::default();
    for (name, member) in members.and_then(Value::as_object).into_iter().flatten() {
        let mut pair = Message::default();
        pair.bytes(1, name.as_bytes());
        pair.message(2, &value(member));
        list.message(field, &pair);
    }
    list
}

fn path(item: &Value) -> Message {
    let mut message = Message::default();
    for (field, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(found) = item.get(method) {
            message.message(field, &operation(found));
        }
    }
    message
}

fn operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.text(3, operation.get("description"));
    for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        let mut query = Message::default();
        query.text(2, parameter.get("in"));
        query.text(4, parameter.get("name"));
        query.text(6, parameter.get("type"));
        let (mut not_body, mut parameter, mut item) = (Message::default(), Message::default(), Message::default());
        not_body.message(3, &query);
        parameter.message(2, &not_body);
        item.message(1, &parameter);
        message.message(8, &item);
    }
    extensions(&mut message, 13, operation.as_object());
    message
}

fn schema(schema: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, schema.get("$ref"));
    message.text(4, schema.get("description"));
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        message.text(19, Some(name));
    }
    for value in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
        message.message(20, &any(value));
    }
    if let Some(inner) = schema.get("additionalProperties") {
        let mut item = Message::default();
        item.message(1, &self::schema(inner));
        message.message(21, &item);
    }
    if let Some(name) = schema.get("type") {
        let mut item = Message::default();
        item.text(1, Some(name));
        message.message(22, &item);
    }
    if let Some(inner) = schema.get("items") {
        let mut items = Message::default();
        items.message(1, &self::schema(inner));
        message.message(23, &items);
    }
    if schema.get("properties").is_some() {
        message.message(25, &named(1, schema.get("properties"), self::schema));
    }
    extensions(&mut message, 31, schema.as_object());
    message
}

/// `x-…` members, whose values are YAML; JSON is YAML.
fn extensions(message: &mut Message, field: u64, members: Option<&Map<String, Value>>) {
    for (name, value) in members.into_iter().flatten().filter(|(name, _)| name.starts_with("x-")) {
        let mut pair = Message::default();
        pair.bytes(1, name.as_bytes());
        pair.message(2, &any(value));
        message.message(field, &pair);
    }
}

fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.bytes(2, value.to_string().as_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_small_document_has_the_bytes_that_gnostic_reads() {
        let bytes = encode(&json!({"swagger": "2.0", "definitions": {"A": {"type": "object"}}}));
        let schema = [0xb2, 0x01, 8, 0x0a, 6, b'o', b'b', b'j', b'e', b'c', b't'];
        let mut expected = vec![0x0a, 3, b'2', b'.', b'0', 0x42, 0, 0x4a, 18, 0x0a, 16, 0x0a, 1, b'A', 0x12, 11];
        expected.extend_from_slice(&schema);
        assert_eq!(bytes, expected);
    }
}
