//! Server-side apply as requests: the worked examples that need the server around the rules.

use serde_json::{Value, json};

use crate::fixture::{Fixture, Reply, Wish, profile};

const PROFILES: &str = "/apis/stead.dev/v1/profiles";
const WEB: &str = "/apis/stead.dev/v1/profiles/web";
const APPLY: [(&str, &str); 1] = [("content-type", "application/apply-patch+yaml")];
const MERGE: [(&str, &str); 1] = [("content-type", "application/merge-patch+json")];
const JSON_PATCH: [(&str, &str); 1] = [("content-type", "application/json-patch+json")];

async fn apply(fixture: &Fixture, path: &str, query: &str, body: &Value) -> Reply {
    fixture.send("PATCH", &format!("{path}?{query}"), &APPLY, body.to_string()).await
}

/// A Profile's configuration, with a spec.
fn config(spec: Value) -> Value {
    json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": "web"}, "spec": spec})
}

fn motd(content: &str) -> Value {
    config(json!({"selector": {}, "files": [{"path": "/etc/motd", "content": content}]}))
}

/// The entries as `manager operation fields`.
fn managed(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    entries
        .iter()
        .map(|entry| {
            assert_eq!((&entry["fieldsType"], entry["time"].is_string()), (&json!("FieldsV1"), true), "{entry}");
            let through = entry.get("subresource").map(|name| format!("/{}", name.as_str().unwrap())).unwrap_or_default();
            format!("{} {}{through} {}", text(entry, "manager"), text(entry, "operation"), entry["fieldsV1"])
        })
        .collect()
}

const MOTD: &str = r#"{"f:spec":{"f:files":{"k:{\"path\":\"/etc/motd\"}":{".":{},"f:content":{},"f:path":{}}},"f:selector":{}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_makes_then_changes_then_leaves_alone() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let made = apply(&fixture, WEB, "fieldManager=a", &motd("hello")).await.expect(201);
    assert_eq!(managed(&made), [format!("a Apply {MOTD}")]);
    assert_eq!(
        (&made["metadata"]["generation"], &made["metadata"]["managedFields"][0]["apiVersion"]),
        (&json!(1), &json!("stead.dev/v1"))
    );
    let revision = fixture.admission.store().revision();
    let same = apply(&fixture, WEB, "fieldManager=a&force=true", &motd("hello")).await.expect(200);
    assert_eq!(same, made);
    assert_eq!(fixture.admission.store().revision(), revision);
    let shared = apply(&fixture, WEB, "fieldManager=b", &motd("hello")).await.expect(200);
    assert_eq!(managed(&shared), [format!("a Apply {MOTD}"), format!("b Apply {MOTD}")]);
    assert_eq!(shared["metadata"]["generation"], 1);
    // What nobody applies any more is gone; what somebody else does stays.
    let more = config(json!({"selector": {}, "links": [{"path": "/etc/l", "target": "x"}]}));
    let moved = apply(&fixture, WEB, "fieldManager=a", &more).await.expect(200);
    assert_eq!((&moved["spec"]["files"][0]["content"], &moved["spec"]["links"][0]["target"]), (&json!("hello"), &json!("x")));
    let without = apply(&fixture, WEB, "fieldManager=b", &config(json!({"selector": {}}))).await.expect(200);
    assert_eq!(without["spec"], json!({"selector": {}, "links": [{"path": "/etc/l", "target": "x"}]}));
    // YAML is what the media type says.
    let yaml =
        "apiVersion: stead.dev/v1\nkind: Profile\nspec:\n  selector: {}\n  commands:\n  - {name: c, check: [a], run: [b]}\n";
    let applied = fixture.send("PATCH", &format!("{WEB}?fieldManager=y"), &APPLY, yaml).await.expect(200);
    assert_eq!(applied["spec"]["commands"][0]["name"], "c");
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_name_the_managers_and_force_takes_over() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    apply(&fixture, WEB, "fieldManager=a", &motd("hello")).await.expect(201);
    let other = config(json!({"selector": {"matchLabels": {"a": "b"}}, "files": [{"path": "/etc/motd", "content": "servus"}]}));
    let status = apply(&fixture, WEB, "fieldManager=b&force=false", &other).await.expect(409);
    assert_eq!(status["reason"], "Conflict");
    let expected =
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.selector\n- .spec.files[path=\"/etc/motd\"].content";
    assert_eq!(status["message"], expected);
    assert_eq!(
        status["details"]["causes"][0],
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"a\"", "field": ".spec.selector"})
    );
    let forced = apply(&fixture, WEB, "fieldManager=b&force=true", &other).await.expect(200);
    assert_eq!(forced["spec"], other["spec"]);
    assert_eq!(managed(&forced)[0], r#"a Apply {"f:spec":{"f:files":{"k:{\"path\":\"/etc/motd\"}":{".":{},"f:path":{}}}}}"#);
    // A plain write takes without asking, and is conflicted with as such.
    let patch = r#"{"spec":{"files":[{"path":"/etc/motd","content":"griasdi"}]}}"#;
    let patched = fixture.send("PATCH", &format!("{WEB}?fieldManager=c"), &MERGE, patch).await.expect(200);
    let content = r#"c Update {"f:spec":{"f:files":{"k:{\"path\":\"/etc/motd\"}":{"f:content":{}}}}}"#;
    assert_eq!(managed(&patched).last().unwrap(), content);
    let status = apply(&fixture, WEB, "fieldManager=b", &other).await.expect(409);
    let expected =
        "Apply failed with 1 conflict: conflict with \"c\" using stead.dev/v1: .spec.files[path=\"/etc/motd\"].content";
    assert_eq!(status["message"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_apply_is_said() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let with = |pointer: &str, value: Value| {
        let mut config = motd("hello");
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        config.pointer_mut(parent).unwrap()[name] = value;
        config
    };
    let required = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
    let typed = "failed to create typed patch object (web; stead.dev/v1, Kind=Profile): ";
    let twice = json!([{"path": "/q"}, {"path": "/q"}]);
    let cases = [
        ("", motd("x"), 422, required.to_owned()),
        ("fieldManager=a", with("/metadata/managedFields", json!([])), 400, "metadata.managedFields must be nil".to_owned()),
        ("fieldManager=a", with("/metadata/name", json!("other")), 400, "does not match the name on the URL".to_owned()),
        ("fieldManager=a", with("/metadata/namespace", json!("x")), 422, "namespace is not allowed".to_owned()),
        (
            "fieldManager=a",
            with("/apiVersion", json!("stead.dev/v2")),
            400,
            "invalid object type: stead.dev/v2, Kind=Profile".to_owned(),
        ),
        ("fieldManager=a", with("/kind", json!("Machine")), 400, "invalid object type: stead.dev/v1, Kind=Machine".to_owned()),
        ("fieldManager=a", json!({"spec": {}}), 400, "invalid object type: /, Kind=".to_owned()),
        ("fieldManager=a", json!([]), 400, "no object".to_owned()),
        ("fieldManager=a", with("/spec/bogus", json!(1)), 422, format!("{typed}.spec.bogus: field not declared in schema")),
        ("fieldManager=a", with("/spec/files", json!(1)), 422, format!("{typed}.spec.files: Invalid value: 1: expected array")),
        (
            "fieldManager=a",
            with("/spec/files", twice),
            422,
            format!("{typed}.spec.files: duplicate entries for key [path=\"/q\"]"),
        ),
        (
            "fieldManager=a",
            with("/spec/files", json!([{"mode": "0644"}])),
            422,
            format!("{typed}.spec.files: item 0 needs \"path\""),
        ),
        (
            "fieldManager=a",
            with("/metadata/uid", json!("u")),
            422,
            "metadata.uid: Invalid value: \"u\": field is immutable".to_owned(),
        ),
        (
            "fieldManager=a",
            config(json!({"files": []})),
            422,
            "Profile.stead.dev \"web\" is invalid: spec.selector: Required value".to_owned(),
        ),
        ("fieldManager=a&force=perhaps", motd("x"), 400, "force".to_owned()),
        ("fieldManager=a&fieldValidation=Perhaps", motd("x"), 422, "fieldValidation".to_owned()),
    ];
    for (query, body, code, message) in cases {
        let status = apply(&fixture, WEB, query, &body).await.expect(code);
        assert!(status["message"].as_str().unwrap().contains(&message), "{body}: {status}");
    }
    fixture.get(WEB).await.expect(404);
    let path = format!("{WEB}?fieldManager=a&force=true");
    fixture.send("PATCH", &path, &MERGE, "{}").await.expect(422);
    let missing = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/none/leases/l";
    apply(&fixture, leases, "fieldManager=a", &missing).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_may_name_what_it_is_for() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let with = |field: &str, value: Value| {
        let mut config = motd("hello");
        config["metadata"][field] = value;
        config
    };
    // A revision says nothing of an object that is yet to be made, and must be the one on record afterwards.
    let made = apply(&fixture, WEB, "fieldManager=a", &with("resourceVersion", json!("1"))).await.expect(201);
    apply(&fixture, WEB, "fieldManager=a", &with("resourceVersion", json!("1"))).await.expect(409);
    apply(&fixture, WEB, "fieldManager=a", &with("uid", json!("u"))).await.expect(409);
    let revision = made["metadata"]["resourceVersion"].clone();
    apply(&fixture, WEB, "fieldManager=a", &with("resourceVersion", revision)).await.expect(200);
    // What is required and only this manager said stays said.
    let status = apply(&fixture, WEB, "fieldManager=a", &config(json!({}))).await.expect(422);
    assert!(status["message"].as_str().unwrap().contains("spec.selector: Required value"), "{status}");
    assert_eq!(fixture.get(WEB).await.expect(200), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_an_apply_leaves_no_trace() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let before = fixture.admission.store().revision();
    let made = apply(&fixture, WEB, "fieldManager=a&dryRun=All", &motd("hello")).await.expect(201);
    assert!(made["metadata"].get("resourceVersion").is_none() && managed(&made).len() == 1, "{made}");
    assert_eq!(fixture.admission.store().revision(), before);
    let made = apply(&fixture, WEB, "fieldManager=a", &motd("hello")).await.expect(201);
    let tried = apply(&fixture, WEB, "fieldManager=a&dryRun=All", &motd("servus")).await.expect(200);
    assert_eq!(tried["spec"]["files"][0]["content"], "servus");
    assert_eq!(fixture.get(WEB).await.expect(200), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_leaves_its_manager() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let mut posted = profile("web");
    posted["metadata"]["managedFields"] = json!([{"manager": "made-up"}]);
    let agent = [("user-agent", "poster/1.0 (linux)"), ("content-type", "application/json")];
    let made = fixture.send("POST", PROFILES, &agent, posted.to_string()).await.expect(201);
    let all = r#"{"f:metadata":{"f:labels":{".":{},"f:role":{}}},"f:spec":{".":{},"f:files":{".":{},"k:{\"path\":\"/etc/motd\"}":{".":{},"f:content":{},"f:path":{}}},"f:selector":{}}}"#;
    assert_eq!(managed(&made), [format!("poster Update {all}")]);
    let mut put = made.clone();
    put["metadata"]["labels"]["b"] = "2".into();
    put["metadata"].as_object_mut().unwrap().remove("managedFields");
    let replaced = fixture.send("PUT", &format!("{WEB}?fieldManager=putter"), &[], put.to_string()).await.expect(200);
    assert_eq!(managed(&replaced)[1], r#"putter Update {"f:metadata":{"f:labels":{"f:b":{}}}}"#);
    // The status is managed through itself.
    let status = r#"{"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
    let path = format!("{WEB}/status?fieldManager=ctl");
    let told = fixture.send("PATCH", &path, &MERGE, status).await.expect(200);
    let ready = r#"{"f:status":{".":{},"f:conditions":{".":{},"k:{\"type\":\"Ready\"}":{".":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}}}}"#;
    assert!(managed(&told).contains(&format!("ctl Update/status {ready}")), "{:?}", managed(&told));
    let again = fixture.send("PATCH", &path, &MERGE, status).await.expect(200);
    assert_eq!(again, told);
    let disk = json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "spec": {"selector": {"matchLabels": {"no": "no"}}}, "status": {
        "conditions": [{"type": "Disk", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }});
    let applied = apply(&fixture, &format!("{WEB}/status"), "fieldManager=ctl2", &disk).await.expect(200);
    assert_eq!(applied["status"]["conditions"].as_array().unwrap().len(), 2);
    assert_eq!(applied["spec"], made["spec"]);
    assert!(managed(&applied)[0].starts_with(r#"ctl2 Apply/status {"f:status":{"f:conditions":{"k:{\"type\":\"Disk\"}""#));
    let status = json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "status": disk["status"]});
    apply(&fixture, &format!("{PROFILES}/none/status"), "fieldManager=ctl2", &status).await.expect(404);
    let shared = apply(&fixture, &format!("{WEB}/status"), "fieldManager=ctl3", &status).await.expect(200);
    assert_eq!((&shared["status"], managed(&shared).len()), (&applied["status"], 5));
    // Lists, tables and watches carry the entries as the object does.
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let rows = fixture.send("GET", PROFILES, &table, "").await.expect(200);
    assert_eq!(managed(&rows["rows"][0]["object"]).len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_may_edit_the_entries() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let made = apply(&fixture, WEB, "fieldManager=a", &motd("hello")).await.expect(201);
    // As kubectl's migration does: other entries, and the revision as a lock.
    let mut entries = made["metadata"]["managedFields"].clone();
    entries[0]["manager"] = "renamed".into();
    let operations = |revision: &Value, entries: &Value| {
        json!([
            {"op": "replace", "path": "/metadata/managedFields", "value": entries},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": revision},
        ])
        .to_string()
    };
    let revision = &made["metadata"]["resourceVersion"];
    let path = format!("{WEB}?fieldManager=kubectl");
    let renamed = fixture.send("PATCH", &path, &JSON_PATCH, operations(revision, &entries)).await.expect(200);
    assert_eq!(renamed["metadata"]["managedFields"], entries);
    assert_ne!(&renamed["metadata"]["resourceVersion"], revision);
    fixture.send("PATCH", &path, &JSON_PATCH, operations(revision, &entries)).await.expect(409);
    let kept = fixture.send("PATCH", &path, &MERGE, r#"{"metadata":{"managedFields":[]}}"#).await.expect(200);
    assert_eq!(kept["metadata"]["managedFields"], entries);
    let cleared = fixture.send("PATCH", &path, &MERGE, r#"{"metadata":{"managedFields":[{}]}}"#).await.expect(200);
    assert_eq!(managed(&cleared), [""; 0]);
    let patched = fixture.send("PATCH", &path, &MERGE, r#"{"metadata":{"labels":{"a":"b"}}}"#).await.expect(200);
    assert_eq!(managed(&patched), [""; 0]);
    let status = apply(&fixture, WEB, "fieldManager=a", &motd("servus")).await.expect(409);
    assert!(status["message"].as_str().unwrap().contains("conflict with \"before-first-apply\" using stead.dev/v1"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_applied_in_either_spelling() {
    let fixture = Fixture::start(Wish::default()).await;
    let newer = "/apis/events.k8s.io/v1/namespaces/default/events/e";
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "hello", "reason": "R",
        "regarding": {"kind": "Lease", "name": "l"},
    });
    let made = apply(&fixture, newer, "fieldManager=a", &event).await.expect(201);
    assert_eq!(managed(&made), [r#"a Apply {"f:note":{},"f:reason":{},"f:regarding":{}}"#]);
    assert_eq!(made["metadata"]["managedFields"][0]["apiVersion"], "events.k8s.io/v1");
    let core = fixture.get("/api/v1/namespaces/default/events/e").await.expect(200);
    assert_eq!(managed(&core), [r#"a Apply {"f:involvedObject":{},"f:message":{},"f:reason":{}}"#]);
    let merged = fixture.send("PATCH", &format!("{newer}?fieldManager=a"), &MERGE, r#"{"note":"servus"}"#).await.expect(200);
    assert_eq!(managed(&merged)[1], r#"a Update {"f:note":{}}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_are_applied_as_they_are_kept() {
    let fixture = Fixture::start(Wish::default()).await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    let lease = |moment: &str| json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"renewTime": moment}});
    let made = apply(&fixture, path, "fieldManager=a", &lease("2026-11-20T12:13:23.344275+01:00")).await.expect(201);
    assert_eq!(made["spec"]["renewTime"], "2026-11-20T11:13:23.344275Z");
    let same = apply(&fixture, path, "fieldManager=b", &lease("2026-11-20T11:13:23.344275+00:00")).await.expect(200);
    assert_eq!(managed(&same).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_owners_sign_is_refused_with_the_command_that_signs() {
    let fixture = Fixture::start(Wish::default()).await;
    let status = apply(&fixture, WEB, "fieldManager=a", &motd("hello")).await.expect(403);
    assert!(status["message"].as_str().unwrap().contains("stead apply -f FILE"), "{status}");
    fixture.submit_signed(&profile("web"), 1).await;
    let signed = fixture.get(WEB).await.expect(200);
    let owned = r#"{"f:metadata":{"f:labels":{"f:role":{}}},"f:spec":{"f:files":{"k:{\"path\":\"/etc/motd\"}":{".":{},"f:content":{},"f:path":{}}},"f:selector":{}}}"#;
    assert_eq!(managed(&signed), [format!("stead Apply {owned}")]);
    // Whether it conflicts or is forced, it is the owners' to sign.
    for query in ["fieldManager=a", "fieldManager=a&force=true"] {
        let status = apply(&fixture, WEB, query, &motd("servus")).await.expect(403);
        assert_eq!(status["reason"], "Forbidden");
        assert!(status["message"].as_str().unwrap().contains("stead apply -f FILE"), "{status}");
    }
    // What they do not sign may be applied by others, and their next change leaves it alone.
    let note = json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"annotations": {"example.com/note": "n"}}});
    let noted = apply(&fixture, WEB, "fieldManager=a", &note).await.expect(200);
    let of_note = r#"a Apply {"f:metadata":{"f:annotations":{"f:example.com/note":{}}}}"#;
    assert!(managed(&noted).iter().any(|entry| entry == of_note), "{:?}", managed(&noted));
    let mut next = profile("web");
    next["spec"]["files"] = json!([]);
    fixture.submit_signed(&next, 2).await;
    let signed = fixture.get(WEB).await.expect(200);
    assert_eq!(signed["metadata"]["annotations"]["example.com/note"], "n");
    let owned = r#"stead Apply {"f:metadata":{"f:labels":{"f:role":{}}},"f:spec":{"f:files":{},"f:selector":{}}}"#;
    let mut entries = managed(&signed);
    entries.sort();
    assert_eq!(entries, [of_note, owned]);
}

#[tokio::test(flavor = "multi_thread")]
async fn appliers_at_once_lose_nothing() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let all = (0..16).map(|number| {
        let file = json!([{"path": format!("/etc/f{number:02}"), "content": "x"}]);
        let (fixture, body) = (&fixture, config(json!({"selector": {}, "files": file})));
        async move {
            let reply = apply(fixture, WEB, &format!("fieldManager=m{number}"), &body).await;
            assert!(matches!(reply.code, 200 | 201), "{}", reply.text);
        }
    });
    futures::future::join_all(all).await;
    let object = fixture.get(WEB).await.expect(200);
    assert_eq!(object["spec"]["files"].as_array().unwrap().len(), 16);
    assert_eq!(managed(&object).len(), 16);
}
