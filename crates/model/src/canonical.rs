//! RFC 8785 canonical JSON: one value, one sequence of bytes.
//!
//! Numbers are integers between -(2^53-1) and 2^53-1: what is signed here needs no others, and every JSON reader agrees on
//! those. Everything else is as RFC 8785 has it: members sorted by UTF-16 code units, the shortest escapes, no white space.

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::Value;

/// The largest integer that every JSON reader holds exactly (RFC 8785 section 3.2.2.3, RFC 7493 section 2.2): 2^53-1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// How deep arrays and objects may be nested: enough for every kind, and shallow enough for any stack.
pub const DEPTH_MAX: usize = 64;

/// Why a value has no canonical form, or bytes are not one.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// The bytes are not JSON at all.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A number is no integer that every reader holds exactly.
    #[error("{path}: the number {value} is not an integer between -(2^53-1) and 2^53-1; write it as a string")]
    Number {
        /// Where it stands, such as `spec.size`.
        path: String,
        /// The number.
        value: String,
    },
    /// Nested too deeply.
    #[error("{path}: nested deeper than {DEPTH_MAX} levels")]
    Depth {
        /// Where it stands.
        path: String,
    },
    /// The bytes are JSON, but not in the canonical form.
    #[error("not in canonical form (RFC 8785): byte {offset} differs from the canonical one")]
    NotCanonical {
        /// The first byte that differs.
        offset: usize,
    },
}

/// The canonical bytes of a value.
///
/// # Errors
///
/// [`CanonicalError::Number`] for a number that is not an integer up to 2^53-1, [`CanonicalError::Depth`] past [`DEPTH_MAX`].
pub fn to_vec(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(256);
    write(value, &Place::Document, 0, &mut out)?;
    Ok(out)
}

/// The canonical bytes of anything that serialises.
///
/// # Errors
///
/// As [`to_vec`], and [`CanonicalError::Json`] where it does not serialise.
pub fn of<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    to_vec(&serde_json::to_value(value)?)
}

/// Reads bytes that must be canonical: duplicate keys, trailing bytes, white space, other spellings are all refused.
///
/// # Errors
///
/// [`CanonicalError`] says what is wrong and where.
pub fn parse(bytes: &[u8]) -> Result<Value, CanonicalError> {
    let value: Value = serde_json::from_slice(bytes)?;
    let canonical = to_vec(&value)?;
    if canonical == bytes {
        return Ok(value);
    }
    // A duplicate key makes the canonical form shorter, so it is caught here as well.
    let offset = canonical.iter().zip(bytes).take_while(|(left, right)| left == right).count();
    Err(CanonicalError::NotCanonical { offset })
}

/// Where a value stands: what it is in, and which member or item of that it is. Told in words only where something is wrong.
#[derive(Clone, Copy)]
enum Place<'a> {
    Document,
    Member(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl Place<'_> {
    fn text(&self) -> String {
        match self {
            Self::Document => "(the document)".to_owned(),
            Self::Member(Self::Document, name) => (*name).to_owned(),
            Self::Item(Self::Document, index) => index.to_string(),
            Self::Member(above, name) => format!("{}.{name}", above.text()),
            Self::Item(above, index) => format!("{}.{index}", above.text()),
        }
    }
}

fn write(value: &Value, place: &Place<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    if depth > DEPTH_MAX {
        return Err(CanonicalError::Depth { path: place.text() });
    }
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, place, out)?,
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, &Place::Item(place, index), depth + 1, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(left, _), (right, _)| order(left, right));
            out.push(b'{');
            for (index, (name, member)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(name, out);
                out.push(b':');
                write(member, &Place::Member(place, name), depth + 1, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// UTF-16 order, as RFC 8785 section 3.2.3 asks; it differs from UTF-8 order above the basic plane.
fn order(left: &str, right: &str) -> Ordering {
    if left.is_ascii() && right.is_ascii() { left.cmp(right) } else { left.encode_utf16().cmp(right.encode_utf16()) }
}

fn write_number(number: &serde_json::Number, place: &Place<'_>, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    match magnitude {
        Some(magnitude) if magnitude <= INTEGER_MAX => {
            out.extend_from_slice(number.to_string().as_bytes());
            Ok(())
        }
        _ => Err(CanonicalError::Number { path: place.text(), value: number.to_string() }),
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    // What is escaped is ASCII, so that whatever lies between may be taken as it is.
    while let Some(at) = rest.iter().position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\')) {
        let (plain, escaped) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((first, after)) = escaped.split_first() else { break };
        match first {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x8 => out.extend_from_slice(b"\\b"),
            0x9 => out.extend_from_slice(b"\\t"),
            0xa => out.extend_from_slice(b"\\n"),
            0xc => out.extend_from_slice(b"\\f"),
            0xd => out.extend_from_slice(b"\\r"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn follows_rfc_8785() {
        let cases = [
            (json!({"b": 1, "a": [true, null]}), r#"{"a":[true,null],"b":1}"#),
            (
                json!({"\u{20ac}": 1, "\r": 2, "1": 3, "\u{fb33}": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7}),
                "{\"\\r\":2,\"1\":3,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":4}",
            ),
            (json!("\u{1}\u{7f}/\"\\\n"), "\"\\u0001\u{7f}/\\\"\\\\\\n\""),
            (json!(-5), "-5"),
        ];
        for (value, expected) in cases {
            assert_eq!(String::from_utf8(to_vec(&value).unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn refuses_what_is_not_canonical() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1} "#,
            r#"{ "a":1}"#,
            r#"{"b":1,"a":1}"#,
            "1.5",
            "1e2",
            "9007199254740992",
            "\"\\u0041\"",
            "-0",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text} was accepted");
        }
        assert!(parse(b"9007199254740991").is_ok());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(matches!(parse(deep.as_bytes()), Err(CanonicalError::Depth { .. })));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(INTEGER_MAX as i64)..=(INTEGER_MAX as i64)).prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(value in any_value()) {
            let bytes = to_vec(&value).unwrap();
            prop_assert_eq!(parse(&bytes).unwrap(), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
