//! Writers are warned while a restored record waits for what machines hold: by a header, which kubectl prints.

use serde_json::{Value, json};
use stead_trust::{Authorship, Salt, StatementBuilder, Submission};

use crate::fixture::{Fixture, Reply, Wish, profile};
use crate::kubectl::{Kubectl, kubectls};

const PROFILES: &str = "/apis/stead.dev/v1/profiles";

async fn awaiting() -> Fixture {
    Fixture::start(Wish { awaits: true, ..Wish::everything_online() }).await
}

/// The warning of an answer, which must not be a refusal.
#[track_caller]
fn warning(reply: &Reply) -> Option<String> {
    assert!(reply.code < 300, "{}", reply.text);
    let warnings: Vec<_> = reply.headers.get_all("warning").iter().collect();
    assert!(warnings.len() < 2, "{warnings:?}");
    warnings.first().map(|warning| stead_api::warning::read(warning).unwrap())
}

fn may_hold(name: &str) -> Option<String> {
    Some(format!("a machine may hold \"Profile/{name}\""))
}

/// A change of one profile that the owner signed.
fn signed(fixture: &Fixture, manifest: &Value, sequence: u64) -> Submission {
    let object = serde_json::from_value(manifest.clone()).unwrap();
    let (now, id) = (jiff::Timestamp::now(), fixture.admission.environment().new_id());
    let author = Authorship::Person { author: stead_trust::Signer::public_key(&fixture.owner).clone() };
    let until = now + jiff::SignedDuration::from_hours(1);
    let mut builder = StatementBuilder::new(fixture.admission.fleet(), &id, now, until, "a test", author);
    builder.put(&object, sequence, Salt::from_bytes([7; 32])).unwrap();
    builder.build().unwrap().sign(&[&fixture.owner]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_may_meet_what_a_machine_holds_is_done_with_a_warning() {
    let fixture = awaiting().await;
    let web = format!("{PROFILES}/web");
    let json = [("content-type", "application/json")];
    for path in [format!("{PROFILES}?dryRun=All"), PROFILES.to_owned()] {
        assert_eq!(warning(&fixture.post(&path, &profile("web")).await), may_hold("web"), "{path}");
    }
    let mut changed = fixture.get(&web).await.expect(200);
    changed["spec"]["files"][0]["content"] = "other\n".into();
    assert_eq!(warning(&fixture.send("PUT", &web, &json, changed.to_string()).await), may_hold("web"));
    let patched = |kind: &'static str, body: Value| {
        let (fixture, web) = (&fixture, &web);
        async move {
            let path = format!("{web}?fieldManager=a-test&force=true");
            let path = if kind.contains("apply") { path } else { web.clone() };
            warning(&fixture.send("PATCH", &path, &[("content-type", kind)], body.to_string()).await)
        }
    };
    let merge = "application/merge-patch+json";
    assert_eq!(patched(merge, json!({"metadata": {"labels": {"a": "b"}}})).await, may_hold("web"));
    let mut applied = profile("web");
    applied["spec"]["files"][0]["content"] = "applied\n".into();
    assert_eq!(patched("application/apply-patch+yaml", applied.clone()).await, may_hold("web"));
    // What takes no sequence meets nothing: what is there already, what nobody signs, a status.
    assert_eq!(patched("application/apply-patch+yaml", applied).await, None);
    assert_eq!(patched(merge, json!({"metadata": {"annotations": {"example.org/note": "mine"}}})).await, None);
    let (status, empty) = (format!("{web}/status"), json!({"status": {}}).to_string());
    assert_eq!(warning(&fixture.send("PATCH", &status, &[("content-type", merge)], empty).await), None);
    assert_eq!(warning(&fixture.get(&web).await), None);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant"}});
    assert_eq!(warning(&fixture.post("/api/v1/namespaces", &namespace).await), None);

    // What owners sign, and what they look at before they do.
    let submission = serde_json::to_value(signed(&fixture, &profile("db"), 1)).unwrap();
    for path in ["/apis/stead.dev/v1/changes?dryRun=All", "/stead/v1/proposals?dryRun=All", "/apis/stead.dev/v1/changes"] {
        assert_eq!(warning(&fixture.post(path, &submission).await), may_hold("db"), "{path}");
    }
    let names = json!([{"apiVersion": "stead.dev/v1", "kind": "Profile", "name": "db"}]);
    assert_eq!(warning(&fixture.post("/stead/v1/sequences", &names).await), may_hold("db"));
    assert_eq!(warning(&fixture.send("DELETE", &web, &[], "").await), may_hold("web"));
    assert_eq!(warning(&fixture.send("DELETE", PROFILES, &[], "").await), may_hold("db"));
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_prints_the_warning_and_its_json_stays_clean() {
    let fixture = awaiting().await;
    for kubectl in kubectls() {
        let old = kubectl.0.ends_with("1.20");
        let kubectl = Kubectl::new(kubectl, &fixture);
        let name = if old { "old" } else { "new" };
        let file = kubectl.file("profile.json", &profile(name).to_string());
        let output = kubectl.output(&["apply", "-f", &file, "-o", "json"]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        kubectl.has(&said, &[&format!("Warning: a machine may hold \"Profile/{name}\"")]);
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(shown["metadata"]["name"], name);
        let again = kubectl.output(&["apply", "-f", &file]).await;
        assert_eq!(String::from_utf8_lossy(&again.stderr), "", "nothing was changed");
    }
}
