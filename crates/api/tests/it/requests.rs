//! Requests as other clients than kubectl write them, and what bad ones get.

use serde_json::{Value, json};

use crate::fixture::{Fixture, Wish, profile};

const PROFILES: &str = "/apis/stead.dev/v1/profiles";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const MERGE: [(&str, &str); 1] = [("content-type", "application/merge-patch+json")];

#[tokio::test(flavor = "multi_thread")]
async fn discovery_is_anonymous_and_objects_are_not() {
    let fixture = Fixture::start(Wish::default()).await;
    let client = reqwest::Client::builder().build().unwrap();
    let get = |path: &str| client.get(format!("http://{}{path}", fixture.plain_address)).send();
    for path in [
        "/version",
        "/version/",
        "/api",
        "/api/",
        "/apis/",
        "/healthz",
        "/livez",
        "/readyz",
        "/openapi/v2",
        "/openapi/v3",
        "/stead/v1/fleet",
    ] {
        assert_eq!(get(path).await.unwrap().status(), 200, "{path}");
    }
    for path in ["/api/v1/namespaces", PROFILES, "/stead/v1/sequences"] {
        let reply = get(path).await.unwrap();
        assert_eq!(reply.status(), 401, "{path}");
        let status: Value = reply.json().await.unwrap();
        assert_eq!((&status["kind"], &status["reason"]), (&json!("Status"), &json!("Unauthorized")));
    }
    let forged = client.get(format!("http://{}{PROFILES}", fixture.plain_address)).bearer_auth("stead1.AAAA.AAAA");
    assert_eq!(forged.send().await.unwrap().status(), 401);
    assert!(fixture.api.counters().unauthorized >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregated_discovery_says_so_in_its_type() {
    let fixture = Fixture::start(Wish::default()).await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let reply = fixture.send("GET", "/apis", &[("accept", accept)], "").await;
    assert_eq!(reply.headers["content-type"], "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    assert_eq!(reply.json()["kind"], "APIGroupDiscoveryList");
    assert_eq!(fixture.get("/apis").await.json()["kind"], "APIGroupList");
    let gnostic = [("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")];
    let reply = fixture.send("GET", "/openapi/v2", &gnostic, "").await;
    assert_eq!(reply.headers["content-type"], "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    let index = fixture.get("/openapi/v3").await.json();
    let url = index["paths"]["apis/stead.dev/v1"]["serverRelativeURL"].as_str().unwrap();
    assert!(fixture.get(url).await.headers["cache-control"].to_str().unwrap().contains("immutable"));
    assert!(
        fixture.get("/openapi/v3/apis/stead.dev/v1?hash=X").await.headers["cache-control"]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_manifests_are_refused_with_the_field() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let spec = |spec: Value| {
        let mut profile = profile("web");
        profile["spec"] = spec;
        profile
    };
    let cases = [
        (spec(json!({"selector": {}, "bog": 1})), 400, "spec.bog"),
        (spec(json!({"selector": {}, "files": [{"path": 5}]})), 422, "spec.files[0].path"),
        (spec(json!({"selector": {}, "files": [{"content": ""}]})), 422, "spec.files[0].path"),
        (profile("Web"), 422, "metadata.name"),
        (json!({"apiVersion": "stead.dev/v2", "kind": "Profile", "metadata": {"name": "web"}}), 400, "apiVersion"),
    ];
    for (manifest, code, field) in cases {
        let status = fixture.post(PROFILES, &manifest).await.expect(code);
        assert_eq!(status["details"]["causes"][0]["field"], field, "{status}");
    }
    let warned = fixture.post(&format!("{PROFILES}?fieldValidation=Warn"), &spec(json!({"selector": {}, "bog": 1}))).await;
    assert_eq!(warned.headers["warning"], "299 - \"unknown field \\\"spec.bog\\\"\"");
    let created = warned.expect(201);
    assert!(created["spec"].get("bog").is_none());
    fixture.post(PROFILES, &profile("web")).await.expect(409);
    fixture.send("POST", PROFILES, &[("content-type", "text/plain")], "x").await.expect(415);
    fixture.send("POST", PROFILES, &JSON, "{").await.expect(400);
    fixture.send("POST", PROFILES, &[("content-type", "application/vnd.kubernetes.protobuf")], "k8s").await.expect(400);
    assert_eq!(fixture.get("/apis/stead.dev/v1/nothing").await.code, 404);
    assert_eq!(fixture.send("DELETE", "/version", &[], "").await.code, 405);
    assert_eq!(fixture.send("OPTIONS", PROFILES, &[], "").await.code, 204);
    let head = fixture.send("HEAD", PROFILES, &[], "").await;
    assert_eq!((head.code, head.text.as_str()), (200, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_need_the_revision_that_was_read() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let path = format!("{PROFILES}/web");
    let first = fixture.post(PROFILES, &profile("web")).await.expect(201);
    let mut sent = first.clone();
    sent["spec"]["files"][0]["content"] = "new".into();
    let second = fixture.send("PUT", &path, &[], sent.to_string()).await.expect(200);
    assert_eq!(second["metadata"]["generation"], 2);
    let stale = fixture.send("PUT", &path, &JSON, sent.to_string()).await.expect(409);
    assert_eq!(stale["reason"], "Conflict");
    sent["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    fixture.send("PUT", &path, &JSON, sent.to_string()).await.expect(422);
    let same = fixture.send("PATCH", &path, &MERGE, r#"{"metadata":{"labels":{"role":"web"}}}"#).await.expect(200);
    assert_eq!(same["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
    let stale = json!({"metadata": {"resourceVersion": first["metadata"]["resourceVersion"], "labels": {"a": "b"}}});
    fixture.send("PATCH", &path, &MERGE, stale.to_string()).await.expect(409);
    fixture.send("PATCH", &path, &[("content-type", "application/apply-patch+cbor")], "{}").await.expect(415);
    fixture.send("PUT", &format!("{PROFILES}/other"), &JSON, first.to_string()).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_leaves_no_trace() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let before = fixture.admission.store().revision();
    let made = fixture.post(&format!("{PROFILES}?dryRun=All"), &profile("web")).await.expect(201);
    assert!(made["metadata"].get("resourceVersion").is_none());
    assert_eq!(fixture.admission.store().revision(), before);
    let made = fixture.post(PROFILES, &profile("web")).await.expect(201);
    let path = format!("{PROFILES}/web");
    let patched = fixture.send("PATCH", &format!("{path}?dryRun=All"), &MERGE, r#"{"spec":{"files":[]}}"#).await.expect(200);
    assert_eq!(patched["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    fixture.send("DELETE", &format!("{path}?dryRun=All"), &[], "").await.expect(200);
    fixture.send("DELETE", &path, &JSON, r#"{"dryRun":["All"]}"#).await.expect(200);
    assert_eq!(fixture.get(&path).await.expect(200)["spec"], made["spec"]);
    fixture.send("PATCH", &format!("{path}?dryRun=true"), &MERGE, "{}").await.expect(422);
    // A body that is there counts alone.
    fixture.send("DELETE", &format!("{path}?dryRun=All"), &JSON, r#"{"propagationPolicy":"Background"}"#).await.expect(200);
    fixture.get(&path).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_heed_preconditions_and_finalizers() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let path = format!("{PROFILES}/web");
    let mut held = profile("web");
    held["metadata"]["finalizers"] = json!(["a/b"]);
    let made = fixture.post(PROFILES, &held).await.expect(201);
    let wrong = r#"{"preconditions":{"uid":"x"}}"#;
    fixture.send("DELETE", &path, &JSON, wrong).await.expect(409);
    fixture.send("DELETE", &path, &JSON, r#"{"preconditions":{"resourceVersion":"1"}}"#).await.expect(409);
    fixture.send("DELETE", &path, &JSON, r#"{"propagationPolicy":"Sideways"}"#).await.expect(422);
    let marked = fixture.send("DELETE", &path, &[], "").await.expect(200);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let added = r#"{"metadata":{"finalizers":["a/b","c/d"]}}"#;
    fixture.send("PATCH", &path, &MERGE, added).await.expect(422);
    let removed = fixture.send("PATCH", &path, &MERGE, r#"{"metadata":{"finalizers":null}}"#).await.expect(200);
    assert_eq!(removed["metadata"]["uid"], made["metadata"]["uid"]);
    fixture.send("DELETE", &path, &[], "").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_hold_objects() {
    let fixture = Fixture::start(Wish::default()).await;
    let lease = json!({"metadata": {"generateName": "l-"}, "spec": {"holderIdentity": "me"}});
    let missing = fixture.post("/apis/coordination.k8s.io/v1/namespaces/none/leases", &lease).await.expect(404);
    assert_eq!(missing["message"], "namespaces \"none\" not found");
    fixture.post("/api/v1/namespaces", &json!({"metadata": {"name": "team"}})).await.expect(201);
    let team = "/apis/coordination.k8s.io/v1/namespaces/team/leases";
    let made = fixture.post(team, &lease).await.expect(201);
    assert!(made["metadata"]["name"].as_str().unwrap().starts_with("l-"));
    fixture.post(team, &lease).await.expect(201);
    fixture.send("DELETE", team, &[], "").await.expect(200);
    assert_eq!(fixture.get(team).await.expect(200)["items"], json!([]));
    fixture.post(team, &lease).await.expect(201);
    fixture.send("DELETE", "/api/v1/namespaces/default", &[], "").await.expect(403);
    fixture.send("DELETE", "/api/v1/namespaces/team", &[], "").await.expect(200);
    assert_eq!(fixture.get("/apis/coordination.k8s.io/v1/leases").await.expect(200)["items"], json!([]));
    let yaml = "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata:\n  name: y\nspec:\n  leaseDurationSeconds: 3\n";
    fixture.send("POST", LEASES, &[("content-type", "application/yaml")], yaml).await.expect(201);
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    let patched =
        fixture.send("PATCH", &format!("{LEASES}/y"), &strategic, r#"{"spec":{"leaseTransitions":1}}"#).await.expect(200);
    assert_eq!(patched["spec"], json!({"leaseDurationSeconds": 3, "leaseTransitions": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_selector_finds_is_deleted_with_one_change() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    for (name, role) in [("a", "web"), ("b", "db"), ("c", "web"), ("d", "web")] {
        let mut made = profile(name);
        made["metadata"]["labels"]["role"] = role.into();
        fixture.post(PROFILES, &made).await.expect(201);
    }
    let before = fixture.admission.store().revision();
    let names = |list: &Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let selected = format!("{PROFILES}?labelSelector=role%3Dweb");
    let shown = fixture.send("DELETE", &format!("{selected}&dryRun=All"), &[], "").await.expect(200);
    assert_eq!(names(&shown), ["a", "c", "d"]);
    let shown = fixture.send("DELETE", &selected, &JSON, r#"{"dryRun":["All"]}"#).await.expect(200);
    assert_eq!((names(&shown).len(), fixture.admission.store().revision()), (3, before), "a dry run deletes nothing");
    let gone = fixture.send("DELETE", &selected, &JSON, r#"{"propagationPolicy":"Background"}"#).await.expect(200);
    assert_eq!((gone["kind"].as_str(), names(&gone)), (Some("ProfileList"), names(&shown)));
    assert_eq!(names(&fixture.get(PROFILES).await.expect(200)), ["b"]);
    assert_eq!(fixture.admission.store().revision(), before.next(), "all of them with one change");
    let changes = fixture.get("/apis/stead.dev/v1/changes?limit=1").await.expect(200);
    let entries = changes["items"][0]["spec"]["entries"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 3);
    // Nothing is found twice, and nothing is no error.
    assert_eq!(names(&fixture.send("DELETE", &selected, &[], "").await.expect(200)), [""; 0]);
    fixture.send("DELETE", "/apis/coordination.k8s.io/v1/leases", &[], "").await.expect(405);
    fixture.send("DELETE", "/api/v1/namespaces", &[], "").await.expect(405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_owners_sign_for_stays() {
    let fixture = Fixture::start(Wish::default()).await;
    fixture.submit_signed(&profile("web"), 1).await;
    let refused = fixture.send("DELETE", &format!("{PROFILES}?labelSelector=role%3Dweb"), &[], "").await.expect(403);
    assert!(refused["message"].as_str().unwrap().contains("stead delete"), "{refused}");
    fixture.get(&format!("{PROFILES}/web")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_server_makes_is_free_and_signed() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let mut made = profile("ignored");
    made["metadata"] = json!({"generateName": "web-"});
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let answer = fixture.post(PROFILES, &made).await.expect(201);
        let name = answer["metadata"]["name"].as_str().unwrap().to_owned();
        assert!(name.starts_with("web-") && name.len() == 9 && names.insert(name.clone()), "{name}");
        assert_eq!(answer["metadata"]["generateName"], "web-");
        let changes = fixture.get("/apis/stead.dev/v1/changes?limit=1").await.expect(200);
        let entry = changes["items"][0]["spec"]["entries"][0].to_string();
        assert!(entry.contains(&format!("{name}\"")), "{entry}");
    }
    let long = json!({"metadata": {"generateName": "l".repeat(250)}, "spec": {}});
    let name = fixture.post(LEASES, &long).await.expect(201)["metadata"]["name"].as_str().unwrap().to_owned();
    assert_eq!(name.len(), 253);
    made["metadata"] = json!({"generateName": "-"});
    fixture.post(PROFILES, &made).await.expect(422);
    made["metadata"] = json!({});
    fixture.post(PROFILES, &made).await.expect(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_metadata() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    fixture.post(PROFILES, &profile("web")).await.expect(201);
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let rows = fixture.send("GET", PROFILES, &table, "").await.expect(200);
    assert_eq!(rows["kind"], "Table");
    assert_eq!(rows["columnDefinitions"][0]["format"], "name");
    assert_eq!(rows["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(rows["rows"][0]["cells"].as_array().unwrap().len(), rows["columnDefinitions"].as_array().unwrap().len());
    let whole = fixture.send("GET", &format!("{PROFILES}?includeObject=Object"), &table, "").await.expect(200);
    assert_eq!(whole["rows"][0]["object"]["spec"], profile("web")["spec"]);
    let metadata = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    let list = fixture.send("GET", PROFILES, &metadata, "").await.expect(200);
    assert_eq!((&list["kind"], &list["items"][0]["metadata"]["name"]), (&json!("PartialObjectMetadataList"), &json!("web")));
    assert!(list["items"][0].get("spec").is_none());
    fixture.send("GET", PROFILES, &[("accept", "text/html")], "").await.expect(406);
    fixture.get(&format!("{PROFILES}?fieldSelector=spec.size%3D1")).await.expect(400);
    let named = fixture.get(&format!("{PROFILES}?fieldSelector=metadata.name%3Dnone")).await.expect(200);
    assert_eq!(named["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_are_answered_and_never_stored() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let access = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let ask = |verb: &str| json!({"spec": {"resourceAttributes": {"verb": verb, "group": "stead.dev", "resource": "profiles"}}});
    let before = fixture.admission.store().revision();
    let answer = fixture.post(access, &ask("create")).await.expect(201);
    assert_eq!(answer["status"], json!({"allowed": true}));
    assert_eq!(answer["kind"], "SelfSubjectAccessReview");
    assert_eq!(fixture.post(access, &ask("impersonate")).await.expect(201)["status"]["allowed"], false);
    let neither = fixture.post(access, &json!({"spec": {}})).await.expect(422);
    assert_eq!(neither["details"]["causes"][0]["field"], "spec.resourceAttributes");
    fixture.post(access, &json!({"kind": "Namespace", "apiVersion": "v1"})).await.expect(400);
    fixture.post(access, &json!({"spec": 3})).await.expect(400);
    fixture.get(access).await.expect(405);
    fixture.get(&format!("{access}/x")).await.expect(404);
    let rules = fixture.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &json!({})).await.expect(201);
    assert_eq!(rules["status"]["incomplete"], false);
    let who = fixture.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &json!({"metadata": null})).await.expect(201);
    let key = stead_trust::Signer::public_key(&fixture.owner);
    assert_eq!(who["status"]["userInfo"]["username"], key.fingerprint());
    assert_eq!(who["status"]["userInfo"]["extra"]["stead.dev/key"], json!([key.to_string()]));
    assert_eq!(fixture.admission.store().revision(), before);
}
