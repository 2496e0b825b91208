//! What is served under a path: a kind of the registry, in the group and the spelling that the path asks for.

use std::sync::LazyLock;

use serde_json::{Value, json};
use stead_model::{Event, GROUP, KindInfo, registry, reviews};

/// The newer group of Events, which are stored in the core group's spelling.
pub(crate) const EVENTS_GROUP: &str = "events.k8s.io";

/// A kind as one group and version serve it.
#[derive(Clone, Copy)]
pub(crate) struct Resource {
    pub(crate) info: &'static KindInfo,
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.qualified_plural())
    }
}

static SERVED: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    let own = |info: &'static KindInfo| Resource { info, group: info.group, version: info.version };
    let stored = registry().iter().map(own);
    let events = registry().iter().filter(|info| info.group.is_empty() && info.kind == "Event");
    let events = events.map(|info| Resource { info, group: EVENTS_GROUP, version: "v1" });
    stored.chain(events).chain(reviews().iter().map(own)).collect()
});

/// Verbs of a kind that clients read and write like any other.
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of namespaces: nobody means to delete them all.
const VERBS_OF_NAMESPACES: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
/// Verbs of the kinds that are answered and never stored.
const VERBS_OF_REVIEWS: &[&str] = &["create"];
/// Verbs of Changes and trust roots, which come signed and are never altered.
const VERBS_OF_DOCUMENTS: &[&str] = &["create", "get", "list", "watch"];
/// Verbs of the kinds that only the coordinator writes.
const VERBS_OF_READ_ONLY: &[&str] = &["get", "list", "watch"];

impl Resource {
    /// Everything that is served; groups in the order of the registry.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        SERVED.iter().copied()
    }

    pub(crate) fn by_path(group: &str, version: &str, plural: &str) -> Option<Self> {
        Self::all().find(|resource| resource.group == group && resource.version == version && resource.info.plural == plural)
    }

    /// The groups but the core group, with their version, each once.
    pub(crate) fn groups() -> Vec<(&'static str, &'static str)> {
        let mut groups: Vec<_> = Vec::new();
        for resource in Self::all().filter(|resource| !resource.group.is_empty()) {
            if !groups.contains(&(resource.group, resource.version)) {
                groups.push((resource.group, resource.version));
            }
        }
        groups
    }

    /// What one group and version serve.
    pub(crate) fn of(group: &str, version: &str) -> Vec<Self> {
        Self::all().filter(|resource| resource.group == group && resource.version == version).collect()
    }

    pub(crate) fn api_version(self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `machines.stead.dev`, or `namespaces` for the core group.
    pub(crate) fn qualified_plural(self) -> String {
        if self.group.is_empty() { self.info.plural.to_owned() } else { format!("{}.{}", self.info.plural, self.group) }
    }

    pub(crate) fn verbs(self) -> &'static [&'static str] {
        match self {
            _ if self.is_document() => VERBS_OF_DOCUMENTS,
            _ if self.is_review() => VERBS_OF_REVIEWS,
            _ if self.is_namespace() => VERBS_OF_NAMESPACES,
            _ if self.info.read_only => VERBS_OF_READ_ONLY,
            _ => VERBS,
        }
    }

    /// Whether the kind is a question, which is answered and never stored.
    pub(crate) fn is_review(self) -> bool {
        reviews().by_group_kind(&self.info.group_kind()).is_some()
    }

    /// Whether the kind stands for signed documents of the record rather than for objects.
    pub(crate) fn is_document(self) -> bool {
        self.is_change() || self.is_trust_root()
    }

    pub(crate) fn is_change(self) -> bool {
        self.info.group == GROUP && self.info.kind == "Change"
    }

    pub(crate) fn is_machine(self) -> bool {
        self.info.group == GROUP && self.info.kind == "Machine"
    }

    pub(crate) fn is_trust_root(self) -> bool {
        self.info.group == GROUP && self.info.kind == "TrustRoot"
    }

    pub(crate) fn is_event(self) -> bool {
        self.info.group.is_empty() && self.info.kind == "Event"
    }

    pub(crate) fn is_namespace(self) -> bool {
        self.info.group.is_empty() && self.info.kind == "Namespace"
    }

    /// Whether clients may send a strategic merge patch: they do for kinds that Kubernetes has built in.
    pub(crate) fn takes_strategic_patch(self) -> bool {
        self.group != GROUP
    }

    /// Whether objects look other than they are stored.
    pub(crate) fn has_view(self) -> bool {
        self.group == EVENTS_GROUP || self.is_namespace()
    }

    /// A stored object as this group shows it.
    pub(crate) fn to_view(self, stored: Value) -> Value {
        if self.group == EVENTS_GROUP {
            let mut event = Event::to_events_group(&stored);
            set(&mut event, "apiVersion", self.api_version().into());
            return event;
        }
        let mut stored = stored;
        if self.is_namespace() {
            let gone = stored.pointer("/metadata/deletionTimestamp").is_some();
            set(&mut stored, "status", json!({"phase": if gone { "Terminating" } else { "Active" }}));
        }
        stored
    }

    /// An object as it came in, in the stored spelling; `apiVersion` and `kind` are filled in where they are missing.
    pub(crate) fn into_stored(self, mut sent: Value) -> Value {
        fill(&mut sent, "apiVersion", || self.api_version());
        fill(&mut sent, "kind", || self.info.kind.to_owned());
        if self.group != EVENTS_GROUP {
            return sent;
        }
        let mut event = Event::to_core_group(&sent);
        if event.get("apiVersion").and_then(Value::as_str) == Some(&self.api_version()) {
            set(&mut event, "apiVersion", self.info.api_version().into());
        }
        event
    }

    /// The schema in this group's spelling.
    pub(crate) fn schema(self) -> Value {
        let mut schema = self.info.schema.clone();
        if self.group == EVENTS_GROUP
            && let Some(properties) = schema.get_mut("properties")
        {
            *properties = Event::to_events_group(properties);
        }
        schema
    }
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(field.to_owned(), value);
    }
}

fn fill(object: &mut Value, field: &str, value: impl FnOnce() -> String) {
    let missing = object.get(field).is_none_or(|value| value.is_null() || value.as_str() == Some(""));
    if missing {
        set(object, field, value().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_object_in_two_spellings() {
        let newer = Resource::by_path(EVENTS_GROUP, "v1", "events").unwrap();
        let sent = json!({"metadata": {"name": "e"}, "note": "hello", "regarding": {"name": "m"}, "reportingController": "c"});
        let stored = newer.into_stored(sent);
        assert_eq!(stored["apiVersion"], "v1");
        assert_eq!(stored["message"], "hello");
        assert_eq!(stored["involvedObject"]["name"], "m");
        let shown = newer.to_view(stored);
        assert_eq!(shown["apiVersion"], "events.k8s.io/v1");
        assert_eq!(shown["note"], "hello");
        assert!(newer.schema()["properties"]["regarding"].is_object());
    }

    #[test]
    fn groups_are_listed_once() {
        let groups = Resource::groups();
        assert!(groups.contains(&("stead.dev", "v1")) && groups.contains(&(EVENTS_GROUP, "v1")));
        let mut unique = groups.clone();
        unique.dedup();
        assert_eq!(unique, groups);
    }
}
