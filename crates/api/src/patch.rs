//! Patches: JSON merge patch (RFC 7396), JSON patch (RFC 6902), and strategic merge patch for Kubernetes' own kinds.
//!
//! Of strategic merge patch the served built-in kinds (Namespace, Event, Lease) need only this: maps merge, `metadata.finalizers` is a
//! set, `metadata.ownerReferences` is a list keyed by `uid` and `conditions` one keyed by `type`, `$patch: delete`, `$patch: replace`,
//! `$deleteFromPrimitiveList/…`, `$setElementOrder/…` and `$retainKeys`. Every other list is replaced.

use http::HeaderMap;
use json_patch::{PatchOperation, patch as apply_json_patch};
use serde_json::{Map, Value};

use crate::body;
use crate::limits::PATCH_OPERATIONS_MAX;
use crate::media;
use crate::resource::Resource;
use crate::status::{ApiError, ApiResult};

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
/// Server-side apply: no patch, but all that a manager wants of the object.
const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// Whether a patch is a server-side apply.
pub(crate) fn is_apply(headers: &HeaderMap) -> bool {
    media::content_type(headers).as_deref() == Some(APPLY_PATCH)
}

/// A patch that was read and not yet applied.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    Json(Vec<PatchOperation>),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    /// Reads a patch for a resource.
    pub(crate) fn read(resource: Resource, headers: &HeaderMap, bytes: &[u8]) -> ApiResult<Self> {
        match media::content_type(headers).as_deref() {
            Some(JSON_PATCH) => Self::json(bytes),
            Some(MERGE_PATCH) => Ok(Self::Merge(Value::Object(body::object(body::json(bytes)?)?))),
            Some(STRATEGIC_PATCH) if resource.takes_strategic_patch() => {
                Ok(Self::Strategic(Value::Object(body::object(body::json(bytes)?)?)))
            }
            _ => Err(ApiError::unsupported_media_type(&accepted(resource))),
        }
    }

    pub(crate) fn json(bytes: &[u8]) -> ApiResult<Self> {
        let sent = body::json(bytes)?;
        let count = sent.as_array().map_or(0, Vec::len);
        if count > PATCH_OPERATIONS_MAX {
            let message = format!("the patch has {count} operations; {PATCH_OPERATIONS_MAX} is the limit");
            return Err(ApiError::too_large(message).past("PATCH_OPERATIONS_MAX"));
        }
        let operations: Vec<PatchOperation> = serde_json::from_value(sent)
            .map_err(|error| ApiError::bad_request(format!("the body of the request is no JSON patch: {error}")))?;
        Ok(Self::Json(operations))
    }

    /// The object after the patch.
    pub(crate) fn apply(&self, mut object: Value) -> ApiResult<Value> {
        match self {
            Self::Json(operations) => apply_operations(&mut object, operations)?,
            Self::Merge(patch) => json_patch::merge(&mut object, patch),
            Self::Strategic(patch) => merge_strategically(&mut object, patch)?,
        }
        Ok(object)
    }
}

fn accepted(resource: Resource) -> String {
    let mut types = vec![JSON_PATCH, MERGE_PATCH];
    if resource.takes_strategic_patch() {
        types.push(STRATEGIC_PATCH);
    }
    types.push(APPLY_PATCH);
    types.join(", ")
}

/// A test for null holds where there is nothing: clients ask so whether there are no finalizers yet.
fn apply_operations(object: &mut Value, operations: &[PatchOperation]) -> ApiResult<()> {
    for operation in operations {
        if let PatchOperation::Test(test) = operation
            && test.value.is_null()
            && object.pointer(test.path.as_str()).is_none()
        {
            continue;
        }
        apply_json_patch(object, std::slice::from_ref(operation))
            .map_err(|error| ApiError::patch_rejected(&error.to_string()))?;
    }
    Ok(())
}

/// How a list merges.
enum ListRule {
    Replace,
    Set,
    ByKey(&'static str),
}

fn rule_of(field: &str) -> ListRule {
    match field {
        "finalizers" => ListRule::Set,
        "ownerReferences" => ListRule::ByKey("uid"),
        "conditions" => ListRule::ByKey("type"),
        _ => ListRule::Replace,
    }
}

fn merge_strategically(target: &mut Value, patch: &Value) -> ApiResult<()> {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return Ok(());
    };
    if patch.get("$patch").and_then(Value::as_str) == Some("replace") {
        *target =
            patch.iter().filter(|(name, _)| !name.starts_with('$')).map(|(name, value)| (name.clone(), value.clone())).collect();
        return Ok(());
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(members) = target.as_object_mut() else { return Ok(()) };
    if let Some(Value::Array(kept)) = patch.get("$retainKeys") {
        members.retain(|name, _| kept.iter().any(|keep| keep.as_str() == Some(name)));
    }
    for (name, value) in patch {
        if let Some(field) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(list) = members.get_mut(field).and_then(Value::as_array_mut) {
                list.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if name.starts_with('$') {
            continue;
        }
        match value {
            Value::Null => {
                members.remove(name);
            }
            Value::Array(items) => merge_list(members.entry(name).or_insert(Value::Null), items, &rule_of(name))?,
            Value::Object(inner) if inner.get("$patch").and_then(Value::as_str) == Some("delete") => {
                members.remove(name);
            }
            other => merge_strategically(members.entry(name).or_insert(Value::Null), other)?,
        }
    }
    Ok(())
}

fn merge_list(target: &mut Value, items: &[Value], rule: &ListRule) -> ApiResult<()> {
    let replaces = items.iter().any(|item| item.get("$patch").and_then(Value::as_str) == Some("replace"));
    if replaces || matches!(rule, ListRule::Replace) || !target.is_array() {
        let kept = items.iter().filter(|item| item.get("$patch").is_none()).cloned().collect();
        *target = Value::Array(kept);
        return Ok(());
    }
    let Some(list) = target.as_array_mut() else { return Ok(()) };
    for item in items {
        let ListRule::ByKey(key) = rule else {
            if !list.contains(item) {
                list.push(item.clone());
            }
            continue;
        };
        let wanted = item.get(*key).ok_or_else(|| ApiError::patch_rejected(&format!("a list item has no {key}")))?;
        let place = list.iter().position(|present| present.get(*key) == Some(wanted));
        let deletes = item.get("$patch").and_then(Value::as_str) == Some("delete");
        match place.and_then(|place| list.get_mut(place).map(|present| (place, present))) {
            Some((place, _)) if deletes => {
                list.remove(place);
            }
            Some((_, present)) => merge_strategically(present, item)?,
            None if deletes => {}
            None => list.push(item.clone()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn json_patch(operations: Value, object: Value) -> ApiResult<Value> {
        Patch::json(operations.to_string().as_bytes())?.apply(object)
    }

    #[test]
    fn a_test_for_null_holds_where_there_is_nothing() {
        let operations = json!([
            {"op": "test", "path": "/metadata/finalizers", "value": null},
            {"op": "add", "path": "/metadata/finalizers", "value": ["a/b"]},
        ]);
        let patched = json_patch(operations.clone(), json!({"metadata": {}})).unwrap();
        assert_eq!(patched, json!({"metadata": {"finalizers": ["a/b"]}}));
        assert_eq!(json_patch(operations, patched).unwrap_err().code.as_u16(), 422);
        let below_nothing = json!([{"op": "add", "path": "/a/b", "value": 1}]);
        assert_eq!(json_patch(below_nothing, json!({})).unwrap_err().code.as_u16(), 422);
    }

    #[test]
    fn strategic_merges_by_key() {
        let live = json!({"metadata": {"finalizers": ["a"], "labels": {"x": "1", "y": "2"}}, "status": {"conditions": [{"type": "A", "status": "True"}]}, "l": [1]});
        let cases = [
            (json!({"metadata": {"finalizers": ["b"]}}), "/metadata/finalizers", json!(["a", "b"])),
            (json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}), "/metadata/finalizers", json!([])),
            (json!({"metadata": {"labels": {"x": null}}}), "/metadata/labels", json!({"y": "2"})),
            (json!({"metadata": {"labels": {"$patch": "replace", "z": "3"}}}), "/metadata/labels", json!({"z": "3"})),
            (
                json!({"status": {"conditions": [{"type": "A", "reason": "R"}, {"type": "B"}]}}),
                "/status/conditions",
                json!([{"type": "A", "status": "True", "reason": "R"}, {"type": "B"}]),
            ),
            (json!({"status": {"conditions": [{"type": "A", "$patch": "delete"}]}}), "/status/conditions", json!([])),
            (json!({"l": [2, 3]}), "/l", json!([2, 3])),
        ];
        for (patch, pointer, expected) in cases {
            let patched = Patch::Strategic(patch.clone()).apply(live.clone()).unwrap();
            assert_eq!(patched.pointer(pointer), Some(&expected), "{patch}");
        }
    }

    #[test]
    fn strategic_is_refused_for_our_own_kinds() {
        let headers = |value: &str| HeaderMap::from_iter([(http::header::CONTENT_TYPE, value.parse().unwrap())]);
        let machines = Resource::by_path("stead.dev", "v1", "machines").unwrap();
        let leases = Resource::by_path("coordination.k8s.io", "v1", "leases").unwrap();
        assert_eq!(Patch::read(machines, &headers(STRATEGIC_PATCH), b"{}").unwrap_err().code.as_u16(), 415);
        assert!(Patch::read(leases, &headers(STRATEGIC_PATCH), b"{}").is_ok());
        assert_eq!(Patch::read(leases, &HeaderMap::new(), b"{}").unwrap_err().code.as_u16(), 415);
        assert_eq!(Patch::read(machines, &headers("application/apply-patch+cbor"), b"{}").unwrap_err().code.as_u16(), 415);
        assert!(is_apply(&headers("application/apply-patch+yaml; charset=utf-8")) && !is_apply(&headers(MERGE_PATCH)));
        assert_eq!(Patch::read(machines, &headers(MERGE_PATCH), b"[]").unwrap_err().code.as_u16(), 400);
    }
}
