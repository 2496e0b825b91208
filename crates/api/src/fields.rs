//! Field selectors: which fields of a kind can be selected by, and how.

use std::sync::Arc;

use serde_json::Value;
use stead_model::FieldSelector;
use stead_store::Stored;

use crate::resource::Resource;
use crate::status::{ApiError, ApiResult};

/// Fields of Events that clients select by, in both spellings, with where the stored object has them.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject.kind", "/involvedObject/kind"),
    ("involvedObject.namespace", "/involvedObject/namespace"),
    ("involvedObject.name", "/involvedObject/name"),
    ("involvedObject.uid", "/involvedObject/uid"),
    ("involvedObject.apiVersion", "/involvedObject/apiVersion"),
    ("involvedObject.resourceVersion", "/involvedObject/resourceVersion"),
    ("involvedObject.fieldPath", "/involvedObject/fieldPath"),
    ("regarding.kind", "/involvedObject/kind"),
    ("regarding.namespace", "/involvedObject/namespace"),
    ("regarding.name", "/involvedObject/name"),
    ("regarding.uid", "/involvedObject/uid"),
    ("regarding.apiVersion", "/involvedObject/apiVersion"),
    ("reason", "/reason"),
    ("reportingComponent", "/reportingComponent"),
    ("reportingController", "/reportingComponent"),
    ("source", "/source/component"),
    ("type", "/type"),
];

/// What a requirement looks at.
enum Field {
    Name,
    Namespace,
    Pointer(&'static str),
}

/// A field selector made ready.
pub(crate) struct FieldMatcher(Vec<(Field, bool, String)>);

impl FieldMatcher {
    /// Checks that the kind can be selected by these fields; `None` where there are none.
    pub(crate) fn new(resource: Resource, selector: &FieldSelector) -> ApiResult<Option<Arc<Self>>> {
        let mut requirements = Vec::new();
        for (name, equal, value) in &selector.requirements {
            let event = resource.is_event().then(|| EVENT_FIELDS.iter().find(|(field, _)| field == name)).flatten();
            let field = match (name.as_str(), event) {
                ("metadata.name", _) => Field::Name,
                ("metadata.namespace", _) => Field::Namespace,
                ("status.phase", _) if resource.is_namespace() => Field::Pointer("/status/phase"),
                (_, Some((_, pointer))) => Field::Pointer(pointer),
                _ => return Err(ApiError::bad_request(format!("field label not supported: {name}"))),
            };
            requirements.push((field, *equal, value.clone()));
        }
        Ok((!requirements.is_empty()).then(|| Arc::new(Self(requirements))))
    }

    /// The one name that fits, where the selector says so.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.iter().find_map(|(field, equal, value)| (matches!(field, Field::Name) && *equal).then_some(value.as_str()))
    }

    pub(crate) fn matches(&self, stored: &Stored) -> bool {
        let mut parsed: Option<Value> = None;
        self.0.iter().all(|(field, equal, value)| {
            let found = match field {
                Field::Name => stored.name(),
                Field::Namespace => stored.namespace(),
                Field::Pointer(pointer) => {
                    let object = parsed.get_or_insert_with(|| serde_json::from_slice(stored.json()).unwrap_or_default());
                    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
                }
            };
            (found == value) == *equal
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_fields_select() {
        let machines = Resource::by_path("stead.dev", "v1", "machines").unwrap();
        let error = FieldMatcher::new(machines, &"spec.size=1".parse().unwrap()).err().unwrap();
        assert_eq!(error.message, "field label not supported: spec.size");
        let matcher = FieldMatcher::new(machines, &"metadata.name=m".parse().unwrap()).unwrap().unwrap();
        assert_eq!(matcher.name(), Some("m"));
        assert!(FieldMatcher::new(machines, &"".parse().unwrap()).unwrap().is_none());
        let events = Resource::by_path("", "v1", "events").unwrap();
        assert!(FieldMatcher::new(events, &"involvedObject.name=m,type!=Normal".parse().unwrap()).is_ok());
    }
}
