//! Event: something that happened to an object.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ObjectMeta;
use crate::field::SelectableField;
use crate::info::Kind;
use crate::table::{Column, ColumnFormat};

/// A report of something that happened to an object. Events are kept for a while, then compacted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// Name, labels and the rest of what every object has.
    pub metadata: ObjectMeta,
    /// The object it is about.
    pub involved_object: ObjectReference,
    /// One word in CamelCase for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Who reports it (older form).
    pub source: EventSource,
    /// When it first happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_timestamp: Option<String>,
    /// When it last happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_timestamp: Option<String>,
    /// How often it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// `Normal` or `Warning`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// When it was first seen, to the microsecond (newer form).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// How often it was repeated (newer form).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<EventSeries>,
    /// What was done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// A second object it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related: Option<ObjectReference>,
    /// Who reports it (newer form).
    pub reporting_component: String,
    /// Which instance of it.
    pub reporting_instance: String,
}

/// Names an object from another one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ObjectReference {
    /// Its kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Its `apiVersion`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// The revision that is meant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// The part of it that is meant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field_path: String,
}

/// Who reports an event (older form).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EventSource {
    /// The component.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub component: String,
    /// The machine it runs on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
}

/// How often an event was repeated (newer form).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EventSeries {
    /// How often.
    pub count: i64,
    /// When last, to the microsecond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_observed_time: Option<String>,
}

impl Kind for Event {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Event";
    const PLURAL: &'static str = "events";
    const SINGULAR: &'static str = "event";
    const SHORT_NAMES: &'static [&'static str] = &["ev"];
    const NAMESPACED: bool = true;
    const HAS_STATUS: bool = false;
    // In both spellings of the kind; what is stored has the older one.
    const SELECTABLE: &'static [SelectableField] = &[
        SelectableField::at("involvedObject.kind", "/involvedObject/kind"),
        SelectableField::at("involvedObject.namespace", "/involvedObject/namespace"),
        SelectableField::at("involvedObject.name", "/involvedObject/name"),
        SelectableField::at("involvedObject.uid", "/involvedObject/uid"),
        SelectableField::at("involvedObject.apiVersion", "/involvedObject/apiVersion"),
        SelectableField::at("involvedObject.resourceVersion", "/involvedObject/resourceVersion"),
        SelectableField::at("involvedObject.fieldPath", "/involvedObject/fieldPath"),
        SelectableField::at("regarding.kind", "/involvedObject/kind"),
        SelectableField::at("regarding.namespace", "/involvedObject/namespace"),
        SelectableField::at("regarding.name", "/involvedObject/name"),
        SelectableField::at("regarding.uid", "/involvedObject/uid"),
        SelectableField::at("regarding.apiVersion", "/involvedObject/apiVersion"),
        SelectableField::at("reason", "/reason"),
        SelectableField::at("reportingComponent", "/reportingComponent"),
        SelectableField::at("reportingController", "/reportingComponent"),
        SelectableField::at("source", "/source/component"),
        SelectableField::at("type", "/type"),
    ];
    const COLUMNS: &'static [Column] = &[
        Column {
            name: "Last Seen",
            pointer: "/lastTimestamp",
            format: ColumnFormat::Age,
            description: "When it last happened.",
            priority: 0,
        },
        Column { name: "Type", pointer: "/type", format: ColumnFormat::Text, description: "Normal or Warning.", priority: 0 },
        Column {
            name: "Reason",
            pointer: "/reason",
            format: ColumnFormat::Text,
            description: "One word for programs.",
            priority: 0,
        },
        Column {
            name: "Object",
            pointer: "/involvedObject/name",
            format: ColumnFormat::Text,
            description: "The object it is about.",
            priority: 0,
        },
        Column {
            name: "Message",
            pointer: "/message",
            format: ColumnFormat::Text,
            description: "A sentence for people.",
            priority: 0,
        },
    ];
}

/// Older and newer clients write Events in two groups; this keeps the two spellings of one event apart in one place.
impl Event {
    /// The event as `events.k8s.io/v1` spells it.
    pub fn to_events_group(event: &Value) -> Value {
        let mut event = event.clone();
        for (core, newer) in Self::SPELLINGS {
            rename(&mut event, core, newer);
        }
        each_managed(&mut event, "v1", "events.k8s.io/v1", |fields| {
            Self::SPELLINGS.iter().for_each(|(core, newer)| rename(fields, &format!("f:{core}"), &format!("f:{newer}")));
        });
        event
    }

    /// The event as the core group spells it.
    pub fn to_core_group(event: &Value) -> Value {
        let mut event = event.clone();
        for (core, newer) in Self::SPELLINGS {
            rename(&mut event, newer, core);
        }
        each_managed(&mut event, "events.k8s.io/v1", "v1", |fields| {
            Self::SPELLINGS.iter().for_each(|(core, newer)| rename(fields, &format!("f:{newer}"), &format!("f:{core}")));
        });
        event
    }

    const SPELLINGS: &[(&'static str, &'static str)] = &[
        ("involvedObject", "regarding"),
        ("message", "note"),
        ("reportingComponent", "reportingController"),
        ("source", "deprecatedSource"),
        ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"),
        ("count", "deprecatedCount"),
    ];
}

fn rename(object: &mut Value, old: &str, new: &str) {
    if let Some(members) = object.as_object_mut()
        && let Some(value) = members.remove(old)
    {
        members.insert(new.to_owned(), value);
    }
}

/// Whoever manages fields of an event manages them in the spelling in which it is shown.
fn each_managed(event: &mut Value, from: &str, to: &str, change: impl Fn(&mut Value)) {
    let entries = event.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
        if entry.get("apiVersion").and_then(Value::as_str) == Some(from) {
            entry.insert("apiVersion".to_owned(), to.into());
            entry.get_mut("fieldsV1").into_iter().for_each(&change);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn managed_fields_follow_the_spelling() {
        let managed = |version: &str, field: &str| json!({"managedFields": [{"apiVersion": version, "fieldsV1": {field: {}, "f:reason": {}}}]});
        let core = json!({"metadata": managed("v1", "f:message"), "message": "m", "reason": "r"});
        let newer = json!({"metadata": managed("events.k8s.io/v1", "f:note"), "note": "m", "reason": "r"});
        assert_eq!(Event::to_events_group(&core), newer);
        assert_eq!(Event::to_core_group(&newer), core);
    }
}
