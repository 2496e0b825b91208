//! Field selectors: which fields of a kind can be selected by, and how. The fields come from the kind's one definition.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;
use stead_model::{FieldSelector, SelectableField};
use stead_store::Stored;

use crate::resource::Resource;
use crate::sparse::Wanted;
use crate::status::{ApiError, ApiResult};

/// Fields that every kind has.
const EVERY_KIND: [&str; 2] = ["metadata.name", "metadata.namespace"];

/// What a requirement looks at.
enum Field {
    Name,
    Namespace,
    Of(SelectableField),
}

struct Requirement {
    field: Field,
    equal: bool,
    value: String,
    /// What an object's JSON must hold somewhere for the requirement to be met.
    needle: Option<String>,
}

/// A field selector made ready.
pub(crate) struct FieldMatcher {
    resource: Resource,
    requirements: Vec<Requirement>,
    wanted: Wanted,
}

/// The paths of all fields that a kind can be selected by.
pub(crate) fn supported(resource: Resource) -> impl Iterator<Item = &'static str> {
    EVERY_KIND.into_iter().chain(resource.info.selectable.iter().map(|field| field.path))
}

impl FieldMatcher {
    /// Checks that the kind can be selected by these fields; `None` where there are none.
    pub(crate) fn new(resource: Resource, selector: &FieldSelector) -> ApiResult<Option<Arc<Self>>> {
        let mut requirements = Vec::new();
        for (name, equal, value) in &selector.requirements {
            let known = resource.info.selectable.iter().find(|field| field.path == name);
            let field = match (name.as_str(), known) {
                ("metadata.name", _) => Field::Name,
                ("metadata.namespace", _) => Field::Namespace,
                (_, Some(known)) => Field::Of(*known),
                _ => {
                    let supported: Vec<&str> = supported(resource).collect();
                    let message = format!(
                        "field label not supported: {name} ({} are selected by {})",
                        resource.info.plural,
                        supported.join(", ")
                    );
                    return Err(ApiError::bad_request(message));
                }
            };
            let needle = needle(resource, &field, *equal, value);
            requirements.push(Requirement { field, equal: *equal, value: value.clone(), needle });
        }
        if requirements.is_empty() {
            return Ok(None);
        }
        let wanted = Wanted::at(requirements.iter().filter_map(|requirement| match &requirement.field {
            Field::Of(field) => Some(field.pointer),
            _ => None,
        }));
        Ok(Some(Arc::new(Self { resource, requirements, wanted })))
    }

    /// The one name that fits, where the selector says so.
    pub(crate) fn name(&self) -> Option<&str> {
        self.requirements.iter().find_map(|requirement| {
            (matches!(requirement.field, Field::Name) && requirement.equal).then_some(requirement.value.as_str())
        })
    }

    /// Whether an object of the record fits.
    pub(crate) fn matches(&self, stored: &Stored) -> bool {
        let text = || std::str::from_utf8(stored.json()).unwrap_or_default();
        if self.requirements.iter().filter_map(|requirement| requirement.needle.as_ref()).any(|needle| !text().contains(needle)) {
            return false;
        }
        let mut read: Option<Value> = None;
        self.requirements.iter().all(|requirement| {
            let found = match &requirement.field {
                Field::Name => Cow::Borrowed(stored.name()),
                Field::Namespace => Cow::Borrowed(stored.namespace()),
                Field::Of(field) => field.value(read.get_or_insert_with(|| self.read(stored))),
            };
            (found == requirement.value) == requirement.equal
        })
    }

    /// Whether an object fits that is none of the record's: a signed document.
    pub(crate) fn matches_value(&self, object: &Value) -> bool {
        let text = |pointer: &str| Cow::Borrowed(object.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
        self.requirements.iter().all(|requirement| {
            let found = match &requirement.field {
                Field::Name => text("/metadata/name"),
                Field::Namespace => text("/metadata/namespace"),
                Field::Of(field) => field.value(object),
            };
            (found == requirement.value) == requirement.equal
        })
    }

    /// As much of an object as the selector looks at.
    fn read(&self, stored: &Stored) -> Value {
        // What cannot be read has no field.
        if self.resource.is_namespace() {
            let whole = serde_json::from_slice(stored.json()).unwrap_or_default();
            return self.resource.to_view(whole);
        }
        self.wanted.read(stored.json()).unwrap_or_default()
    }
}

/// The value as it stands in an object's JSON, by which most objects are passed over without being read.
fn needle(resource: Resource, field: &Field, equal: bool, value: &str) -> Option<String> {
    let stands_there = equal && !value.is_empty() && matches!(field, Field::Of(_)) && !resource.is_namespace();
    let written = serde_json::to_string(value).ok().filter(|_| stands_there)?;
    Some(written.trim_matches('"').to_owned()).filter(|needle| !needle.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_known_fields_select() {
        let machines = Resource::by_path("stead.dev", "v1", "machines").unwrap();
        let error = FieldMatcher::new(machines, &"spec.size=1".parse().unwrap()).err().unwrap();
        assert!(
            error.message.starts_with("field label not supported: spec.size (machines are selected by metadata.name, metadata."),
            "{}",
            error.message
        );
        assert!(error.message.contains("status.conditions.Ready"), "{}", error.message);
        let matcher = FieldMatcher::new(machines, &"metadata.name=m".parse().unwrap()).unwrap().unwrap();
        assert_eq!(matcher.name(), Some("m"));
        assert!(FieldMatcher::new(machines, &"".parse().unwrap()).unwrap().is_none());
        let events = Resource::by_path("", "v1", "events").unwrap();
        assert!(FieldMatcher::new(events, &"involvedObject.name=m,type!=Normal".parse().unwrap()).is_ok());
    }

    #[test]
    fn the_three_operators_mean_what_they_say() {
        let changes = Resource::by_path("stead.dev", "v1", "changes").unwrap();
        let object = json!({"metadata": {"name": "c"}, "spec": {"author": "a"}});
        for (selector, fits) in [
            ("spec.author=a", true),
            ("spec.author==a", true),
            ("spec.author!=a", false),
            ("spec.author=b", false),
            ("spec.author!=b,metadata.name=c", true),
            ("spec.author=a,metadata.name!=c", false),
            ("spec.requestedBy=", true),
            ("spec.requestedBy!=", false),
        ] {
            let matcher = FieldMatcher::new(changes, &selector.parse().unwrap()).unwrap().unwrap();
            assert_eq!(matcher.matches_value(&object), fits, "{selector}");
        }
    }
}
