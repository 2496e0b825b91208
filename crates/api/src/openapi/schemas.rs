//! Schemas of the served kinds under their definitions' names, as both versions of OpenAPI need them.

use serde_json::{Map, Value, json};

use crate::resource::{EVENTS_GROUP, Resource};

/// The name under which `metadata` is defined.
pub(super) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// The definitions of these resources: each kind, its list, and what they refer to.
pub(super) fn definitions(resources: &[Resource], reference: impl Fn(&str) -> Value) -> Map<String, Value> {
    let mut definitions = Map::new();
    for resource in resources {
        let mut schema = resource.schema();
        tidy(&mut schema);
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut)
            && let Some(metadata) = properties.insert("metadata".to_owned(), reference(OBJECT_META))
        {
            definitions.entry(OBJECT_META).or_insert(metadata);
        }
        let name = definition_name(*resource);
        let list = json!({
            "type": "object", "description": format!("A list of {}.", resource.info.plural), "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string", "description": "Group and version of the kind."},
                "kind": {"type": "string", "description": "The kind of the object."},
                "metadata": reference(LIST_META),
                "items": {"type": "array", "description": "The objects.", "items": reference(&name)},
            },
            "x-kubernetes-group-version-kind": [group_version_kind(*resource, "List")],
        });
        if !resource.is_review() {
            definitions.insert(format!("{name}List"), list);
        }
        if let Some(members) = schema.as_object_mut() {
            members.insert("x-kubernetes-group-version-kind".to_owned(), json!([group_version_kind(*resource, "")]));
            if !resource.info.selectable.is_empty() {
                members.insert("x-kubernetes-selectable-fields".to_owned(), selectable_fields(*resource));
            }
        }
        definitions.insert(name, schema);
    }
    let text = |description: &str| json!({"type": "string", "description": description});
    let list_meta = json!({"type": "object", "description": "What every list has besides its items.", "properties": {
        "resourceVersion": text("The revision of the record that the list shows."),
        "continue": text("The token for the next page."),
        "remainingItemCount": {"type": "integer", "description": "How many objects follow on later pages."},
        "selfLink": text("Ignored; older servers write it."),
    }});
    definitions.insert(LIST_META.to_owned(), list_meta);
    definitions
}

/// The extension that says by which fields a kind can be selected, beside its name and namespace.
fn selectable_fields(resource: Resource) -> Value {
    resource.info.selectable.iter().map(|field| json!({"fieldPath": format!(".{}", field.path)})).collect()
}

/// The extension that says which kind a schema or an operation is about.
pub(super) fn group_version_kind(resource: Resource, suffix: &str) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": format!("{}{suffix}", resource.info.kind)})
}

/// The name of a kind's definition, as generated clients expect it.
pub(super) fn definition_name(resource: Resource) -> String {
    let (kind, version) = (resource.info.kind, resource.version);
    match resource.group {
        "" => format!("io.k8s.api.core.{version}.{kind}"),
        "coordination.k8s.io" => format!("io.k8s.api.coordination.{version}.{kind}"),
        EVENTS_GROUP => format!("io.k8s.api.events.{version}.{kind}"),
        "authorization.k8s.io" => format!("io.k8s.api.authorization.{version}.{kind}"),
        "authentication.k8s.io" => format!("io.k8s.api.authentication.{version}.{kind}"),
        group => {
            let reversed: Vec<&str> = group.rsplit('.').collect();
            format!("{}.{version}.{kind}", reversed.join("."))
        }
    }
}

/// A path of the API: with its namespace and name as parameters.
pub(super) fn paths(resource: Resource) -> (String, String) {
    let prefix = if resource.group.is_empty() { "/api" } else { "/apis" };
    let scope = if resource.info.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{prefix}/{}{scope}/{}", resource.api_version(), resource.info.plural);
    let item = format!("{collection}/{{name}}");
    (collection, item)
}

/// The path of a kind's objects in all namespaces, where they live in some.
pub(super) fn everywhere(resource: Resource) -> Option<String> {
    let prefix = if resource.group.is_empty() { "/api" } else { "/apis" };
    resource.info.namespaced.then(|| format!("{prefix}/{}/{}", resource.api_version(), resource.info.plural))
}

/// Takes out what neither version of OpenAPI has: boolean schemas and constants.
fn tidy(schema: &mut Value) {
    if schema.is_boolean() {
        *schema = json!({"type": "object"});
        return;
    }
    let Some(members) = schema.as_object_mut() else { return };
    if let Some(Value::Array(choices)) = members.remove("oneOf") {
        let values: Vec<Value> = choices
            .iter()
            .flat_map(|choice| {
                let listed = choice.get("enum").and_then(Value::as_array).cloned().unwrap_or_default();
                choice.get("const").cloned().into_iter().chain(listed)
            })
            .collect();
        members.entry("type").or_insert_with(|| "string".into());
        members.insert("enum".to_owned(), values.into());
    }
    for name in ["$schema", "title", "default", "format", "pattern"] {
        members.remove(name);
    }
    for name in ["additionalProperties"] {
        if members.get(name).is_some_and(Value::is_boolean) {
            members.remove(name);
        }
    }
    if let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(tidy);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = members.get_mut(name) {
            tidy(inner);
        }
    }
}
