//! Selection by fields: lists, watches, deletions, and what the documents say of it.

use serde_json::{Value, json};

use crate::fixture::{Fixture, Wish};
use crate::watches::Watch;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const ENROLLMENTS: &str = "/apis/stead.dev/v1/enrollments";
const MERGE: [(&str, &str); 1] = [("content-type", "application/merge-patch+json")];

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_deletions_take_only_what_fits() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    for (name, holder) in [("a", json!("me")), ("b", json!("you")), ("c", Value::Null), ("d", json!("me"))] {
        let lease = json!({"metadata": {"name": name}, "spec": {"holderIdentity": holder}});
        fixture.post(LEASES, &lease).await.expect(201);
    }
    for (selector, expected) in [
        ("spec.holderIdentity%3Dme", &["a", "d"][..]),
        ("spec.holderIdentity%3D%3Dyou", &["b"]),
        ("spec.holderIdentity!%3Dme", &["b", "c"]),
        ("spec.holderIdentity%3D", &["c"]),
        ("spec.holderIdentity!%3D,metadata.name!%3Da", &["b", "d"]),
        ("spec.holderIdentity%3Dme,metadata.namespace%3Dother", &[]),
    ] {
        let list = fixture.get(&format!("{LEASES}?fieldSelector={selector}")).await.expect(200);
        assert_eq!(names(&list), expected, "{selector}");
    }
    // Pages of a selection have no count of what remains, as with Kubernetes.
    let page = fixture.get(&format!("{LEASES}?limit=1&fieldSelector=spec.holderIdentity%3Dme")).await.expect(200);
    assert_eq!((names(&page), page["metadata"].get("remainingItemCount")), (vec!["a"], None));
    let gone = fixture.send("DELETE", &format!("{LEASES}?fieldSelector=spec.holderIdentity%3Dme"), &[], "").await.expect(200);
    assert_eq!(names(&gone), ["a", "d"]);
    assert_eq!(names(&fixture.get(LEASES).await.expect(200)), ["b", "c"]);
    let refused = fixture.get(&format!("{LEASES}?fieldSelector=spec.strategy%3Dx")).await.expect(400);
    let message = refused["message"].as_str().unwrap();
    assert!(message.starts_with("field label not supported: spec.strategy"), "{message}");
    assert!(message.contains("metadata.name, metadata.namespace, spec.holderIdentity"), "{message}");
    let namespaces = fixture.get("/api/v1/namespaces?fieldSelector=status.phase%3DActive").await.expect(200);
    assert_eq!(names(&namespaces), ["default"]);
    for path in ["/apis/stead.dev/v1/changes", "/apis/stead.dev/v1/trustroots"] {
        fixture.get(&format!("{path}?fieldSelector=spec.nothing%3Dx")).await.expect(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_told_of_what_leaves_and_enters_the_selection() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let path = format!("{ENROLLMENTS}?watch=true&fieldSelector=status.phase%3DPending");
    let mut watch = Watch::open(&fixture, &path, "application/json").await;
    let key = "00".repeat(32);
    fixture.post(ENROLLMENTS, &json!({"metadata": {"name": "e"}, "spec": {"key": key}})).await.expect(201);
    let status = format!("{ENROLLMENTS}/e/status");
    for (phase, told) in [("Pending", "ADDED"), ("Approved", "DELETED"), ("Denied", ""), ("Pending", "ADDED")] {
        let patch = json!({"status": {"phase": phase}}).to_string();
        let written = fixture.send("PATCH", &status, &MERGE, patch).await.expect(200);
        if !told.is_empty() {
            let (kind, object) = watch.next().await.unwrap();
            assert_eq!(kind, told, "{phase}");
            // What left is shown as it last fitted, at the revision of its leaving.
            assert_eq!(object["status"]["phase"], "Pending");
            assert_eq!(object["metadata"]["resourceVersion"], written["metadata"]["resourceVersion"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_name_the_fields() {
    let fixture = Fixture::start(Wish::default()).await;
    let document = fixture.get("/openapi/v3/apis/stead.dev/v1").await.json();
    let machine = &document["components"]["schemas"]["dev.stead.v1.Machine"]["x-kubernetes-selectable-fields"];
    assert!(machine.as_array().unwrap().contains(&json!({"fieldPath": ".spec.key"})), "{machine}");
    let older = fixture.get("/openapi/v2").await.json();
    let lease = &older["definitions"]["io.k8s.api.coordination.v1.Lease"]["x-kubernetes-selectable-fields"];
    assert_eq!(lease, &json!([{"fieldPath": ".spec.holderIdentity"}]));
}
