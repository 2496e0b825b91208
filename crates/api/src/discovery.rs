//! The documents from which a client learns what is served; made from the registry.

use serde_json::{Value, json};

use crate::resource::Resource;

/// Verbs of `/status`.
const STATUS_VERBS: &[&str] = &["get", "patch", "update"];

/// `/version`: the Kubernetes version whose conventions are followed, and what the server really is.
pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "32", "gitVersion": concat!("v1.32.0+stead-", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// `/api`.
pub(crate) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "apiVersion": "v1", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`.
pub(crate) fn groups() -> Value {
    let groups: Vec<Value> = Resource::groups().into_iter().map(|(group, version)| group_members(group, version)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub(crate) fn group(name: &str) -> Option<Value> {
    let (group, version) = Resource::groups().into_iter().find(|(group, _)| *group == name)?;
    let mut document = group_members(group, version);
    if let Some(members) = document.as_object_mut() {
        members.insert("kind".to_owned(), "APIGroup".into());
        members.insert("apiVersion".to_owned(), "v1".into());
    }
    Some(document)
}

fn group_members(group: &str, version: &str) -> Value {
    let served = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({"name": group, "versions": [served], "preferredVersion": served})
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub(crate) fn resources(group: &str, version: &str) -> Option<Value> {
    let served = Resource::of(group, version);
    let api_version = served.first()?.api_version();
    let mut listed = Vec::new();
    for resource in served {
        let info = resource.info;
        listed.push(json!({
            "name": info.plural, "singularName": info.singular, "namespaced": info.namespaced, "kind": info.kind,
            "verbs": resource.verbs(), "shortNames": info.short_names, "categories": info.categories,
        }));
        if has_status_path(resource) {
            listed.push(json!({
                "name": format!("{}/status", info.plural), "singularName": "", "namespaced": info.namespaced,
                "kind": info.kind, "verbs": STATUS_VERBS,
            }));
        }
    }
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": listed}))
}

/// Aggregated discovery of `/api` (`core`) or of `/apis`.
pub(crate) fn aggregated(core: bool, version: &str) -> Value {
    let groups = if core { vec![("", "v1")] } else { Resource::groups() };
    let items: Vec<Value> = groups.into_iter().map(|(group, version)| aggregated_group(group, version)).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items})
}

fn aggregated_group(group: &str, version: &str) -> Value {
    let resources: Vec<Value> = Resource::of(group, version).into_iter().map(aggregated_resource).collect();
    let mut metadata = json!({"creationTimestamp": null});
    if let (false, Some(members)) = (group.is_empty(), metadata.as_object_mut()) {
        members.insert("name".to_owned(), group.into());
    }
    json!({"metadata": metadata, "versions": [{"version": version, "freshness": "Current", "resources": resources}]})
}

fn aggregated_resource(resource: Resource) -> Value {
    let info = resource.info;
    let kind = json!({"group": resource.group, "version": resource.version, "kind": info.kind});
    let mut entry = json!({
        "resource": info.plural, "responseKind": kind, "scope": if info.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": info.singular, "verbs": resource.verbs(), "shortNames": info.short_names,
        "categories": info.categories,
    });
    if let (true, Some(members)) = (has_status_path(resource), entry.as_object_mut()) {
        let status = json!([{"subresource": "status", "responseKind": kind, "verbs": STATUS_VERBS}]);
        members.insert("subresources".to_owned(), status);
    }
    entry
}

/// Whether `/status` is served.
pub(crate) fn has_status_path(resource: Resource) -> bool {
    resource.info.has_status && !resource.info.read_only && !resource.is_document() && !resource.is_namespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_in_both_forms() {
        for resource in Resource::all() {
            let list = resources(resource.group, resource.version).unwrap();
            let entries = list["resources"].as_array().unwrap();
            let entry = entries.iter().find(|entry| entry["name"] == resource.info.plural).unwrap();
            assert_eq!(entry["singularName"], resource.info.singular);
            let all = aggregated(resource.group.is_empty(), "v2");
            assert!(all.to_string().contains(&format!("\"resource\":\"{}\"", resource.info.plural)));
        }
        assert!(aggregated(true, "v2")["items"][0]["metadata"].get("name").is_none());
        assert_eq!(groups()["groups"][0]["preferredVersion"]["groupVersion"], "stead.dev/v1");
        assert!(resources("stead.dev", "v2").is_none() && group("x").is_none());
    }
}
