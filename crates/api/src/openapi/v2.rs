//! OpenAPI v2 (Swagger): what older clients validate and explain with.

use serde_json::{Map, Value, json};

use super::schemas::{definition_name, definitions, group_version_kind, paths};
use crate::resource::Resource;

/// The whole document.
pub(super) fn document() -> Value {
    let resources: Vec<Resource> = Resource::all().collect();
    let mut served = Map::new();
    for resource in &resources {
        let (collection, item) = paths(*resource);
        served.insert(collection, collection_path(*resource));
        if !resource.is_document() && !resource.is_review() {
            served.insert(item, item_path(*resource));
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Stead", "version": env!("CARGO_PKG_VERSION")},
        "paths": served,
        "definitions": definitions(&resources, |name| json!({"$ref": format!("#/definitions/{name}")})),
    })
}

fn operation(resource: Resource, action: &str, parameters: &[&str]) -> Value {
    let parameters: Vec<Value> = parameters.iter().map(|name| json!({"in": "query", "name": name, "type": "string"})).collect();
    json!({
        "description": format!("{action} {}", resource.info.plural),
        "produces": ["application/json"],
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "schema": {"$ref": format!("#/definitions/{}", definition_name(resource))}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": group_version_kind(resource, ""),
    })
}

fn collection_path(resource: Resource) -> Value {
    if resource.is_review() {
        return json!({"post": operation(resource, "post", WRITE)});
    }
    json!({
        "get": operation(resource, "list", &["labelSelector", "fieldSelector", "limit", "continue", "watch"]),
        "post": operation(resource, "post", WRITE),
    })
}

fn item_path(resource: Resource) -> Value {
    json!({
        "get": operation(resource, "get", &[]),
        "put": operation(resource, "put", WRITE),
        "delete": operation(resource, "delete", &["dryRun", "propagationPolicy"]),
        "patch": operation(resource, "patch", PATCH),
    })
}

/// Options of a write. Without `dryRun` here, older clients refuse to try one.
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
/// A server-side apply may also be forced.
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
