//! Which part of an object a write is about, and what of it nobody manages.

use serde_json::{Map, Value};

/// Fields of `metadata` that are the server's, or that name the object.
const UNMANAGED: &[&str] = &[
    "name",
    "namespace",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// Which part of an object a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but its status, of a kind that has one.
    Object {
        /// Whether the kind has one.
        has_status: bool,
    },
    /// Its status alone.
    Status,
}

impl Part {
    /// The name of the subresource that it is written through.
    pub(crate) const fn subresource(self) -> &'static str {
        match self {
            Self::Object { .. } => "",
            Self::Status => "status",
        }
    }

    /// Whether a member at the top is part of it.
    fn has(self, name: &str) -> bool {
        match self {
            Self::Object { has_status } => match name {
                "apiVersion" | "kind" => false,
                "status" => !has_status,
                _ => true,
            },
            Self::Status => name == "status",
        }
    }

    /// What of an object can be managed through it.
    pub(crate) fn managed(self, object: &Value) -> Value {
        let members = object.as_object().into_iter().flatten().filter(|(name, _)| self.has(name));
        let managed = members.filter_map(|(name, value)| match (name.as_str(), value) {
            ("metadata", Value::Object(metadata)) => {
                let kept = metadata.iter().filter(|(name, _)| !UNMANAGED.contains(&name.as_str()));
                let kept: Map<String, Value> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
                (!kept.is_empty()).then(|| (name.clone(), Value::Object(kept)))
            }
            _ => Some((name.clone(), value.clone())),
        });
        Value::Object(managed.collect())
    }

    /// An object with this part replaced.
    pub(crate) fn replaced(self, object: &Value, managed: Value) -> Value {
        let mut whole: Map<String, Value> =
            object.as_object().into_iter().flatten().filter(|(name, _)| !self.has(name)).map(owned).collect();
        let server = object.get("metadata").and_then(Value::as_object).into_iter().flatten();
        let server: Map<String, Value> = server.filter(|(name, _)| UNMANAGED.contains(&name.as_str())).map(owned).collect();
        let Value::Object(managed) = managed else { return Value::Object(whole) };
        whole.extend(managed);
        if self != Self::Status {
            let metadata = whole.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
            match metadata.as_object_mut() {
                Some(metadata) => metadata.extend(server),
                None => *metadata = Value::Object(server),
            }
        }
        Value::Object(whole)
    }
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}
