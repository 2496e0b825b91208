//! Kubernetes' protobuf envelope and the messages that Go clients send in it, as JSON.
//!
//! Go writes every scalar that is no pointer, so an empty string, a 0 and an empty time arrive as present: here they count as absent.
//! Field numbers are those of Kubernetes' `generated.proto` files.

use serde_json::{Map, Value};

use crate::instant;

/// What every body starts with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages within messages: an Event's series' time is the deepest, at 4.
const DEPTH_MAX: usize = 16;

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtobufError {
    #[error("the body does not start with the envelope that application/vnd.kubernetes.protobuf has")]
    Envelope,
    #[error("the body ends, or has a malformed field, in the middle of a {0}")]
    Malformed(&'static str),
    #[error("{kind} of {api_version} is not read from protobuf here; send it as JSON")]
    Kind { api_version: String, kind: String },
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Type {
    Text,
    Integer,
    /// An integer whose 0 is meant, because Go sends it through a pointer.
    OptionalInteger,
    /// A boolean that Go sends through a pointer.
    Boolean,
    /// Seconds and nanoseconds, to the second.
    Time,
    /// The same, to the microsecond.
    MicroTime,
    Message(&'static Message),
    Texts,
    Messages(&'static Message),
    TextMap,
}

struct Message {
    name: &'static str,
    fields: &'static [(u64, &'static str, Type)],
}

use Type::{Boolean, Integer, MicroTime, OptionalInteger, Text, TextMap, Texts, Time};

static TYPE_META: Message = Message { name: "TypeMeta", fields: &[(1, "apiVersion", Text), (2, "kind", Text)] };
static OWNER_REFERENCE: Message = Message {
    name: "OwnerReference",
    fields: &[
        (1, "kind", Text),
        (3, "name", Text),
        (4, "uid", Text),
        (5, "apiVersion", Text),
        (6, "controller", Boolean),
        (7, "blockOwnerDeletion", Boolean),
    ],
};
static OBJECT_META: Message = Message {
    name: "ObjectMeta",
    fields: &[
        (1, "name", Text),
        (2, "generateName", Text),
        (3, "namespace", Text),
        (5, "uid", Text),
        (6, "resourceVersion", Text),
        (7, "generation", Integer),
        (8, "creationTimestamp", Time),
        (9, "deletionTimestamp", Time),
        (10, "deletionGracePeriodSeconds", OptionalInteger),
        (11, "labels", TextMap),
        (12, "annotations", TextMap),
        (13, "ownerReferences", Type::Messages(&OWNER_REFERENCE)),
        (14, "finalizers", Texts),
    ],
};
static NAMESPACE_SPEC: Message = Message { name: "NamespaceSpec", fields: &[(1, "finalizers", Texts)] };
static NAMESPACE_STATUS: Message = Message { name: "NamespaceStatus", fields: &[(1, "phase", Text)] };
static NAMESPACE: Message = Message {
    name: "Namespace",
    fields: &[
        (1, "metadata", Type::Message(&OBJECT_META)),
        (2, "spec", Type::Message(&NAMESPACE_SPEC)),
        (3, "status", Type::Message(&NAMESPACE_STATUS)),
    ],
};
static LEASE_SPEC: Message = Message {
    name: "LeaseSpec",
    fields: &[
        (1, "holderIdentity", Text),
        (2, "leaseDurationSeconds", OptionalInteger),
        (3, "acquireTime", MicroTime),
        (4, "renewTime", MicroTime),
        (5, "leaseTransitions", OptionalInteger),
        (6, "strategy", Text),
        (7, "preferredHolder", Text),
    ],
};
static LEASE: Message =
    Message { name: "Lease", fields: &[(1, "metadata", Type::Message(&OBJECT_META)), (2, "spec", Type::Message(&LEASE_SPEC))] };
static OBJECT_REFERENCE: Message = Message {
    name: "ObjectReference",
    fields: &[
        (1, "kind", Text),
        (2, "namespace", Text),
        (3, "name", Text),
        (4, "uid", Text),
        (5, "apiVersion", Text),
        (6, "resourceVersion", Text),
        (7, "fieldPath", Text),
    ],
};
static EVENT_SOURCE: Message = Message { name: "EventSource", fields: &[(1, "component", Text), (2, "host", Text)] };
static EVENT_SERIES: Message =
    Message { name: "EventSeries", fields: &[(1, "count", Integer), (2, "lastObservedTime", MicroTime)] };
static CORE_EVENT: Message = Message {
    name: "Event",
    fields: &[
        (1, "metadata", Type::Message(&OBJECT_META)),
        (2, "involvedObject", Type::Message(&OBJECT_REFERENCE)),
        (3, "reason", Text),
        (4, "message", Text),
        (5, "source", Type::Message(&EVENT_SOURCE)),
        (6, "firstTimestamp", Time),
        (7, "lastTimestamp", Time),
        (8, "count", Integer),
        (9, "type", Text),
        (10, "eventTime", MicroTime),
        (11, "series", Type::Message(&EVENT_SERIES)),
        (12, "action", Text),
        (13, "related", Type::Message(&OBJECT_REFERENCE)),
        (14, "reportingComponent", Text),
        (15, "reportingInstance", Text),
    ],
};
static NEWER_EVENT: Message = Message {
    name: "Event",
    fields: &[
        (1, "metadata", Type::Message(&OBJECT_META)),
        (2, "eventTime", MicroTime),
        (3, "series", Type::Message(&EVENT_SERIES)),
        (4, "reportingController", Text),
        (5, "reportingInstance", Text),
        (6, "action", Text),
        (7, "reason", Text),
        (8, "regarding", Type::Message(&OBJECT_REFERENCE)),
        (9, "related", Type::Message(&OBJECT_REFERENCE)),
        (10, "note", Text),
        (11, "type", Text),
        (12, "deprecatedSource", Type::Message(&EVENT_SOURCE)),
        (13, "deprecatedFirstTimestamp", Time),
        (14, "deprecatedLastTimestamp", Time),
        (15, "deprecatedCount", Integer),
    ],
};
static PRECONDITIONS: Message = Message { name: "Preconditions", fields: &[(1, "uid", Text), (2, "resourceVersion", Text)] };
static DELETE_OPTIONS: Message = Message {
    name: "DeleteOptions",
    fields: &[
        (1, "gracePeriodSeconds", OptionalInteger),
        (2, "preconditions", Type::Message(&PRECONDITIONS)),
        (3, "orphanDependents", Boolean),
        (4, "propagationPolicy", Text),
        (5, "dryRun", Texts),
    ],
};

static RESOURCE_ATTRIBUTES: Message = Message {
    name: "ResourceAttributes",
    fields: &[
        (1, "namespace", Text),
        (2, "verb", Text),
        (3, "group", Text),
        (4, "version", Text),
        (5, "resource", Text),
        (6, "subresource", Text),
        (7, "name", Text),
    ],
};
static NON_RESOURCE_ATTRIBUTES: Message =
    Message { name: "NonResourceAttributes", fields: &[(1, "path", Text), (2, "verb", Text)] };
static ACCESS_QUESTION: Message = Message {
    name: "SelfSubjectAccessReviewSpec",
    fields: &[
        (1, "resourceAttributes", Type::Message(&RESOURCE_ATTRIBUTES)),
        (2, "nonResourceAttributes", Type::Message(&NON_RESOURCE_ATTRIBUTES)),
    ],
};
static ACCESS_REVIEW: Message = Message {
    name: "SelfSubjectAccessReview",
    fields: &[(1, "metadata", Type::Message(&OBJECT_META)), (2, "spec", Type::Message(&ACCESS_QUESTION))],
};
static RULES_QUESTION: Message = Message { name: "SelfSubjectRulesReviewSpec", fields: &[(1, "namespace", Text)] };
static RULES_REVIEW: Message = Message {
    name: "SelfSubjectRulesReview",
    fields: &[(1, "metadata", Type::Message(&OBJECT_META)), (2, "spec", Type::Message(&RULES_QUESTION))],
};
static SUBJECT_REVIEW: Message = Message { name: "SelfSubjectReview", fields: &[(1, "metadata", Type::Message(&OBJECT_META))] };

/// The message of a kind; options of a deletion come under whatever group they are about.
fn message_of(api_version: &str, kind: &str) -> Option<&'static Message> {
    match (api_version, kind) {
        ("v1", "Namespace") => Some(&NAMESPACE),
        ("v1", "Event") => Some(&CORE_EVENT),
        ("events.k8s.io/v1", "Event") => Some(&NEWER_EVENT),
        ("coordination.k8s.io/v1", "Lease") => Some(&LEASE),
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => Some(&ACCESS_REVIEW),
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => Some(&RULES_REVIEW),
        ("authentication.k8s.io/v1", "SelfSubjectReview") => Some(&SUBJECT_REVIEW),
        (_, "DeleteOptions") => Some(&DELETE_OPTIONS),
        _ => None,
    }
}

/// Reads a whole body; `apiVersion` and `kind` come from its envelope.
pub(crate) fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let mut rest = body.strip_prefix(MAGIC).ok_or(ProtobufError::Envelope)?;
    let (mut meta, mut raw) = (Map::new(), &[][..]);
    while !rest.is_empty() {
        match field(&mut rest).ok_or(ProtobufError::Malformed("envelope"))? {
            (1, Wire::Bytes(bytes)) => meta = read(&TYPE_META, bytes, 0)?,
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let text = |name: &str| meta.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let message = message_of(&api_version, &kind).ok_or(ProtobufError::Kind { api_version, kind })?;
    meta.append(&mut read(message, raw, 0)?);
    Ok(Value::Object(meta))
}

enum Wire<'a> {
    Integer(u64),
    Bytes(&'a [u8]),
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let tag = varint(rest)?;
    let mut take = |length: usize| {
        let (taken, after) = rest.split_at_checked(length)?;
        *rest = after;
        Some(taken)
    };
    let wire = match tag & 7 {
        0 => Wire::Integer(varint(rest)?),
        1 => Wire::Bytes(take(8)?),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            let (taken, after) = rest.split_at_checked(length)?;
            *rest = after;
            Wire::Bytes(taken)
        }
        5 => Wire::Bytes(take(4)?),
        _ => return None,
    };
    Some((tag >> 3, wire))
}

fn read(message: &'static Message, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, ProtobufError> {
    let malformed = || ProtobufError::Malformed(message.name);
    if depth > DEPTH_MAX {
        return Err(malformed());
    }
    let mut members = Map::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (number, wire) = field(&mut rest).ok_or_else(malformed)?;
        let Some((_, name, kind)) = message.fields.iter().find(|(known, _, _)| *known == number) else { continue };
        read_field(&mut members, name, *kind, &wire, depth)?.ok_or_else(malformed)?;
    }
    Ok(members)
}

/// Puts a field among its message's members; `None` where it has another form than the message says.
fn read_field(
    members: &mut Map<String, Value>,
    name: &str,
    kind: Type,
    wire: &Wire<'_>,
    depth: usize,
) -> Result<Option<()>, ProtobufError> {
    let value = match (kind, wire) {
        (Integer | OptionalInteger, Wire::Integer(value)) => {
            let value = value.cast_signed();
            if value == 0 && matches!(kind, Integer) { Value::Null } else { value.into() }
        }
        (Boolean, Wire::Integer(value)) => (*value != 0).into(),
        (_, Wire::Integer(_)) | (Integer | OptionalInteger | Boolean, Wire::Bytes(_)) => return Ok(None),
        (Text, Wire::Bytes(bytes)) => match std::str::from_utf8(bytes) {
            Ok("") => Value::Null,
            Ok(text) => text.into(),
            Err(_) => return Ok(None),
        },
        (Time | MicroTime, Wire::Bytes(bytes)) => time(bytes, matches!(kind, MicroTime)),
        (Type::Message(message), Wire::Bytes(bytes)) => {
            let inner = read(message, bytes, depth.saturating_add(1))?;
            if inner.is_empty() { Value::Null } else { inner.into() }
        }
        (Texts, Wire::Bytes(bytes)) => {
            let Ok(text) = std::str::from_utf8(bytes) else { return Ok(None) };
            return Ok(push(members, name, text.into()));
        }
        (Type::Messages(message), Wire::Bytes(bytes)) => {
            let inner = read(message, bytes, depth.saturating_add(1))?;
            return Ok(push(members, name, inner.into()));
        }
        (TextMap, Wire::Bytes(bytes)) => return Ok(put(members, name, bytes)),
    };
    if !value.is_null() {
        members.insert(name.to_owned(), value);
    }
    Ok(Some(()))
}

fn push(members: &mut Map<String, Value>, name: &str, value: Value) -> Option<()> {
    members.entry(name).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()?.push(value);
    Some(())
}

fn put(members: &mut Map<String, Value>, name: &str, mut pair: &[u8]) -> Option<()> {
    let (mut key, mut value) = ("", "");
    while !pair.is_empty() {
        match field(&mut pair)? {
            (1, Wire::Bytes(bytes)) => key = std::str::from_utf8(bytes).ok()?,
            (2, Wire::Bytes(bytes)) => value = std::str::from_utf8(bytes).ok()?,
            _ => {}
        }
    }
    let map = members.entry(name).or_insert_with(|| Value::Object(Map::new())).as_object_mut()?;
    map.insert(key.to_owned(), value.into());
    Some(())
}

/// A time; null for the empty one and for one that no calendar has.
fn time(mut bytes: &[u8], micro: bool) -> Value {
    let (mut seconds, mut nanoseconds) = (0_i64, 0_i32);
    while !bytes.is_empty() {
        match field(&mut bytes) {
            Some((1, Wire::Integer(value))) => seconds = value.cast_signed(),
            Some((2, Wire::Integer(value))) => nanoseconds = i32::try_from(value.cast_signed()).unwrap_or_default(),
            Some(_) => {}
            None => return Value::Null,
        }
    }
    // Go's zero time lies long before 1970.
    if seconds <= 0 {
        return Value::Null;
    }
    jiff::Timestamp::new(seconds, nanoseconds).map_or(Value::Null, |moment| instant::spell(moment, micro).into())
}

/// A body as a Go client would send it.
#[cfg(test)]
pub(crate) fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [tests::bytes(1, api_version.as_bytes()), tests::bytes(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), tests::bytes(1, &meta), tests::bytes(2, raw), tests::bytes(3, b""), tests::bytes(4, b"")].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub(super) fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
        let mut message = vec![field << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(content);
        message
    }

    #[test]
    fn a_namespace_as_kubectl_sends_it() {
        // Every scalar is there, empty or not, as Go writes them.
        let label = [bytes(1, b"a"), bytes(2, b"b")].concat();
        let meta =
            [bytes(1, b"team"), bytes(2, b""), bytes(3, b""), bytes(5, b""), vec![7 << 3, 0], bytes(8, b""), bytes(11, &label)]
                .concat();
        let raw = [bytes(1, &meta), bytes(2, b""), bytes(3, &bytes(1, b""))].concat();
        let value = decode(&envelope("v1", "Namespace", &raw)).unwrap();
        assert_eq!(value, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": {"a": "b"}}}));
    }

    #[test]
    fn a_lease_has_times_to_the_microsecond() {
        let spec = [bytes(1, b"me"), vec![2 << 3, 15], bytes(3, &[1 << 3, 0x80, 0xa3, 0x05, 2 << 3, 0xe8, 0x07])].concat();
        let value = decode(&envelope("coordination.k8s.io/v1", "Lease", &bytes(2, &spec))).unwrap();
        assert_eq!(value["spec"]["leaseDurationSeconds"], 15);
        assert_eq!(value["spec"]["acquireTime"], "1970-01-02T00:00:00.000001Z");
    }

    #[test]
    fn what_is_not_the_envelope_is_refused() {
        assert_eq!(decode(b"{}"), Err(ProtobufError::Envelope));
        assert!(matches!(decode(&envelope("v1", "Secret", b"")), Err(ProtobufError::Kind { .. })));
        let whole = envelope("v1", "Namespace", &bytes(1, &bytes(1, b"team")));
        for end in 5..whole.len() {
            let _ = decode(&whole[..end]);
        }
        assert_eq!(decode(&envelope("v1", "Namespace", &[0x0a, 9])), Err(ProtobufError::Malformed("Namespace")));
    }
}
