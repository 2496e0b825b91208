//! What client-side apply left behind: its annotation, by which `kubectl apply --server-side` takes over from itself.

use serde_json::{Map, Value};

use crate::Kind;
use crate::part::Part;
use crate::set::FieldSet;
use crate::walk::{Comparison, fields_of};

/// Where client-side apply keeps what it applied last.
pub(crate) const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Bytes of all annotations of an object, as Kubernetes has it: an annotation that would go past it is dropped.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// The fields that client-side apply wrote last and that still are as it wrote them.
pub(crate) fn unchanged(kind: &Kind, live: &Value) -> FieldSet {
    let nothing = FieldSet::default();
    let Some(text) = annotations(live).and_then(|annotations| annotations.get(ANNOTATION)).and_then(Value::as_str) else {
        return nothing;
    };
    let Ok(last) = serde_json::from_str::<Value>(text) else { return nothing };
    let same_kind = ["apiVersion", "kind"].iter().all(|field| last.get(field) == live.get(field));
    if !same_kind {
        return nothing;
    }
    let part = Part::Object { has_status: kind.has_status };
    let (last, live) = (part.managed(&last), part.managed(live));
    let comparison = Comparison::between(kind.shape, &live, &last);
    fields_of(kind.shape, &last).difference(&comparison.written()).difference(&comparison.removed)
}

/// Brings the annotation up to date, where there is one: whoever goes back to client-side apply starts from what was applied last.
pub(crate) fn renew(object: &mut Value, config: &Value) {
    let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else { return };
    if !annotations.contains_key(ANNOTATION) {
        return;
    }
    let mut applied = config.clone();
    if let Some(metadata) = applied.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        metadata.remove("creationTimestamp");
        if let Some(inner) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            inner.remove(ANNOTATION);
        }
    }
    annotations.insert(ANNOTATION.to_owned(), format!("{applied}\n").into());
    let bytes: usize =
        annotations.iter().map(|(name, value)| name.len().saturating_add(value.as_str().map_or(0, str::len))).sum();
    if bytes > ANNOTATIONS_BYTES_MAX {
        annotations.remove(ANNOTATION);
    }
}

fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object.pointer("/metadata/annotations")?.as_object()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stead_model::registry;

    use super::*;

    #[test]
    fn only_what_still_is_as_it_was_applied_counts() {
        let kind = Kind::of(registry().by_word("lease").unwrap());
        let last = |version: &str| {
            let spec = json!({"holderIdentity": "me", "leaseTransitions": 1, "strategy": "s"});
            json!({"apiVersion": version, "kind": "Lease", "metadata": {"name": "l"}, "spec": spec}).to_string()
        };
        let live = |annotation: String| {
            json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l", "annotations": {ANNOTATION: annotation}},
                "spec": {"holderIdentity": "me", "leaseTransitions": 2},
            })
        };
        let found = |annotation: String| crate::codec::encode(&unchanged(&kind, &live(annotation)));
        assert_eq!(found(last("coordination.k8s.io/v1")), r#"{"f:spec":{"f:holderIdentity":{}}}"#);
        assert_eq!(found(last("coordination.k8s.io/v1beta1")), "{}");
        assert_eq!(found("{".to_owned()), "{}");
        assert!(unchanged(&kind, &json!({"metadata": {}})).is_empty());
    }

    #[test]
    fn the_annotation_is_renewed_where_there_is_one() {
        let config = json!({"metadata": {"name": "l", "annotations": {ANNOTATION: "x", "a": "b"}}, "spec": {}});
        let mut object = json!({"metadata": {"annotations": {"a": "b"}}});
        renew(&mut object, &config);
        assert_eq!(object, json!({"metadata": {"annotations": {"a": "b"}}}));
        object["metadata"]["annotations"][ANNOTATION] = "old".into();
        renew(&mut object, &config);
        let text = object["metadata"]["annotations"][ANNOTATION].as_str().unwrap();
        assert_eq!(text, "{\"metadata\":{\"annotations\":{\"a\":\"b\"},\"name\":\"l\"},\"spec\":{}}\n");
        renew(&mut object, &json!({"spec": {"large": "x".repeat(ANNOTATIONS_BYTES_MAX)}}));
        assert_eq!(object, json!({"metadata": {"annotations": {"a": "b"}}}));
    }
}
