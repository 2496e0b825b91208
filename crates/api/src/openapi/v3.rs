//! OpenAPI v3, one document a group and version: what newer clients explain with and choose their patches by.

use serde_json::{Map, Value, json};

use super::schemas::{OBJECT_META, definition_name, definitions, everywhere, group_version_kind, paths};
use crate::discovery::has_status_path;
use crate::resource::Resource;

/// The document of one group and version.
pub(super) fn document(group: &str, version: &str) -> Value {
    let resources = Resource::of(group, version);
    let mut served = Map::new();
    for resource in &resources {
        let (collection, item) = paths(*resource);
        served.insert(collection, collection_path(*resource));
        if let Some(everywhere) = everywhere(*resource) {
            served.insert(everywhere, json!({"get": operation(*resource, "list", LIST, &[])}));
        }
        if has_status_path(*resource) {
            served.insert(format!("{item}/status"), status_path(*resource));
        }
        if !resource.is_review() {
            served.insert(item, item_path(*resource));
        }
    }
    let schemas = definitions(&resources, |name| {
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        if name == OBJECT_META { json!({"allOf": [reference], "default": {}}) } else { reference }
    });
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Stead", "version": env!("CARGO_PKG_VERSION")},
        "paths": served,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"BearerToken": {"type": "http", "scheme": "bearer", "description": "What `stead login` gives."}},
        },
        "security": [{"BearerToken": []}],
    })
}

fn content(resource: Resource, types: &[&str]) -> Value {
    let schema = json!({"schema": {"$ref": format!("#/components/schemas/{}", definition_name(resource))}});
    types.iter().map(|media| ((*media).to_owned(), schema.clone())).collect::<Map<_, _>>().into()
}

fn operation(resource: Resource, action: &str, parameters: &[&str], body: &[&str]) -> Value {
    let parameters: Vec<Value> =
        parameters.iter().map(|name| json!({"in": "query", "name": name, "schema": {"type": "string"}})).collect();
    let mut operation = json!({
        "description": format!("{action} {}", resource.info.plural),
        "parameters": parameters,
        "responses": responses(resource, action),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": group_version_kind(resource, ""),
    });
    if let (false, Some(members)) = (body.is_empty(), operation.as_object_mut()) {
        members.insert("requestBody".to_owned(), json!({"required": true, "content": content(resource, body)}));
    }
    operation
}

/// What an operation answers; every refusal is a Status.
fn responses(resource: Resource, action: &str) -> Value {
    let answer = |description: &str| json!({"description": description, "content": content(resource, &["application/json"])});
    let mut responses = json!({"200": answer("OK"), "default": {"description": "A refusal: a Status that says why."}});
    if let ("post", Some(members)) = (action, responses.as_object_mut()) {
        members.insert("201".to_owned(), answer("Created"));
    }
    responses
}

/// Options of a write. `fieldValidation` promises that the server validates, so that clients leave it to it.
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const LIST: &[&str] = &[
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "watch",
    "allowWatchBookmarks",
    "sendInitialEvents",
    "timeoutSeconds",
];
/// A server-side apply may also be forced.
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETE: &[&str] = &["dryRun", "propagationPolicy"];
const PATCHES: &[&str] = &["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
const PATCHES_OF_BUILT_IN_KINDS: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

fn path_parameters(resource: Resource, item: bool) -> Value {
    let names = resource.info.namespaced.then_some("namespace").into_iter().chain(item.then_some("name"));
    names.map(|name| json!({"in": "path", "name": name, "required": true, "schema": {"type": "string"}})).collect()
}

fn collection_path(resource: Resource) -> Value {
    if resource.is_review() {
        return json!({"post": operation(resource, "post", WRITE, &["application/json"])});
    }
    let mut path = json!({
        "parameters": path_parameters(resource, false),
        "get": operation(resource, "list", LIST, &[]),
        "post": operation(resource, "post", WRITE, &["application/json"]),
    });
    if let (true, Some(members)) = (resource.verbs().contains(&"deletecollection"), path.as_object_mut()) {
        let parameters = [DELETE, &["labelSelector", "fieldSelector"]].concat();
        members.insert("delete".to_owned(), operation(resource, "deletecollection", &parameters, &[]));
    }
    path
}

fn status_path(resource: Resource) -> Value {
    json!({
        "parameters": path_parameters(resource, true),
        "get": operation(resource, "get", &[], &[]),
        "put": operation(resource, "put", WRITE, &["application/json"]),
        "patch": operation(resource, "patch", WRITE, patches(resource)),
    })
}

fn patches(resource: Resource) -> &'static [&'static str] {
    if resource.takes_strategic_patch() { PATCHES_OF_BUILT_IN_KINDS } else { PATCHES }
}

fn item_path(resource: Resource) -> Value {
    let mut path = json!({"parameters": path_parameters(resource, true), "get": operation(resource, "get", &[], &[])});
    if let (false, Some(members)) = (resource.is_document(), path.as_object_mut()) {
        members.insert("put".to_owned(), operation(resource, "put", WRITE, &["application/json"]));
        members.insert("patch".to_owned(), operation(resource, "patch", PATCH, patches(resource)));
        members.insert("delete".to_owned(), operation(resource, "delete", DELETE, &[]));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategic_patches_are_offered_for_built_in_kinds_only() {
        let own = document("stead.dev", "v1").to_string();
        assert!(!own.contains("strategic"));
        assert!(document("", "v1").to_string().contains("strategic"));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        for (group, version) in Resource::groups().into_iter().chain([("", "v1")]) {
            let document = document(group, version);
            let text = document.to_string();
            for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
                let name = reference.split('"').next().unwrap();
                assert!(document["components"]["schemas"].get(name).is_some(), "{group}/{version}: {name}");
            }
        }
    }
}
