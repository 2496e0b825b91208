//! Server-side apply by its real clients.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, Patch, PatchParams};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use serde_json::{Value, json};

use crate::fixture::{Fixture, Wish, profile};
use crate::kubectl::{Kubectl, kubectls};
use crate::rust_client::{client, profiles};

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| format!("{} {}", entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_applies_conflicts_and_forces() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    for kubectl in kubectls() {
        let kubectl = Kubectl::new(kubectl, &fixture);
        let name = if kubectl.is_old() { "old" } else { "new" };
        let path = format!("/apis/stead.dev/v1/profiles/{name}");
        let manifest = kubectl.file("profile.json", &profile(name).to_string());
        let apply = ["apply", "--server-side", "-f"];
        let with = |file: &str, more: &[&str]| -> Vec<String> {
            apply.iter().copied().chain([file]).chain(more.iter().copied()).map(str::to_owned).collect()
        };
        let run = async |words: Vec<String>| kubectl.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
        kubectl.has(&run(with(&manifest, &[])).await, &["serverside-applied"]);
        let first = fixture.get(&path).await.expect(200);
        assert_eq!(managers(&first), ["kubectl Apply"]);
        kubectl.has(&run(with(&manifest, &[])).await, &["serverside-applied"]);
        assert_eq!(fixture.get(&path).await.expect(200), first);
        // Hidden unless asked for, by kubectl itself.
        let shown = kubectl.run(&["get", &format!("profile/{name}"), "-o", "yaml"]).await;
        assert_eq!(shown.contains("managedFields"), kubectl.is_old(), "{shown}");

        let changed = kubectl.file("changed.json", &profile(name).to_string().replace("hello", "servus"));
        let words = with(&changed, &["--field-manager=other"]);
        let refused = kubectl.fail(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
        kubectl.has(&refused, &["conflict with \"kubectl\": .spec.files[path=\"/etc/motd\"].content", "--force-conflicts"]);
        run(with(&changed, &["--field-manager=other", "--force-conflicts"])).await;
        let forced = fixture.get(&path).await.expect(200);
        assert_eq!(forced["spec"]["files"][0]["content"], "servus\n");
        assert_eq!(managers(&forced), ["kubectl Apply", "other Apply"]);
        kubectl.has(&run(with(&changed, &["--dry-run=server"])).await, &["dry run"]);
        let words = ["diff", "--server-side", "--force-conflicts", "-f", &manifest];
        let diff = kubectl.output(&words).await;
        let text = format!("{}{}", String::from_utf8_lossy(&diff.stdout), String::from_utf8_lossy(&diff.stderr));
        assert_eq!(diff.status.code(), Some(1), "{text}");
        kubectl.has(&text, &["hello", "servus"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_migrates_from_client_side_apply() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    for kubectl in kubectls() {
        let kubectl = Kubectl::new(kubectl, &fixture);
        let path = format!("/apis/stead.dev/v1/profiles/{}", if kubectl.is_old() { "old" } else { "new" });
        let mut manifest = profile(path.rsplit('/').next().unwrap());
        manifest["spec"]["links"] = json!([{"path": "/etc/l", "target": "x"}]);
        let file = kubectl.file("profile.json", &manifest.to_string());
        kubectl.has(&kubectl.run(&["apply", "-f", &file]).await, &["created"]);
        assert_eq!(managers(&fixture.get(&path).await.expect(200)), ["kubectl-client-side-apply Update"]);
        manifest["spec"]["files"][0]["content"] = "servus\n".into();
        manifest["spec"].as_object_mut().unwrap().remove("links");
        let file = kubectl.file("profile.json", &manifest.to_string());
        kubectl.has(&kubectl.run(&["apply", "--server-side", "-f", &file]).await, &["serverside-applied"]);
        let object = fixture.get(&path).await.expect(200);
        assert_eq!(object["spec"]["files"][0]["content"], "servus\n");
        let last = object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(last).unwrap()["spec"], manifest["spec"]);
        // The newer one folds what it applied on the client side into what it applies now; the older one leaves it.
        assert_eq!(object["spec"].get("links").is_some(), kubectl.is_old(), "{object}");
        let client_side = managers(&object).contains(&"kubectl-client-side-apply Update".to_owned());
        assert_eq!(client_side, kubectl.is_old(), "{:?}", managers(&object));
        // And back: client-side apply starts from what was applied last, in its own spelling of that.
        kubectl.run(&["apply", "-f", &file]).await;
        assert_eq!(fixture.get(&path).await.expect(200)["spec"], object["spec"]);
        kubectl.has(&kubectl.run(&["apply", "-f", &file]).await, &["unchanged"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_is_told_what_owners_sign() {
    let fixture = Fixture::start(Wish::default()).await;
    fixture.submit_signed(&profile("web"), 1).await;
    for kubectl in kubectls() {
        let kubectl = Kubectl::new(kubectl, &fixture);
        let changed = kubectl.file("changed.json", &profile("web").to_string().replace("hello", "servus"));
        for words in
            [vec!["apply", "--server-side", "-f", &changed], vec!["apply", "--server-side", "--force-conflicts", "-f", &changed]]
        {
            kubectl.has(&kubectl.fail(&words).await, &["Forbidden", "stead apply -f FILE"]);
        }
        let explained = kubectl.run(&["explain", "profile.metadata.managedFields"]).await;
        kubectl.has(&explained, &["fieldsV1", "operation", "subresource"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_applies_objects_and_status() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let profiles = profiles(&client(&fixture).await);
    let params = PatchParams::apply("rt");
    let wanted = profile("web");
    profiles.patch("web", &params, &Patch::Apply(&wanted)).await.unwrap();
    let made = profiles.get("web").await.unwrap();
    assert_eq!(made.metadata.managed_fields.as_ref().unwrap()[0].manager.as_deref(), Some("rt"));
    let mut other = wanted.clone();
    other["spec"]["files"][0]["content"] = "servus\n".into();
    let refused = profiles.patch("web", &PatchParams::apply("other"), &Patch::Apply(&other)).await.unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.is_conflict() && status.message.contains("conflict with \"rt\""))
    );
    profiles.patch("web", &PatchParams::apply("other").force(), &Patch::Apply(&other)).await.unwrap();
    let status = json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "status": {
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }});
    let told = profiles.patch_status("web", &params, &Patch::Apply(&status)).await.unwrap();
    assert_eq!(told.data["status"]["conditions"][0]["type"], "Ready");
    let entries = told.metadata.managed_fields.unwrap();
    assert!(entries.iter().any(|entry| entry.subresource.as_deref() == Some("status")));
    // Metadata alone, without a name in the body.
    let labels =
        kube::core::PartialObjectMetaExt::into_request_partial::<k8s_openapi::api::core::v1::Namespace>(kube::core::ObjectMeta {
            labels: Some([("a".to_owned(), "b".to_owned())].into()),
            ..Default::default()
        });
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client(&fixture).await);
    let labelled = namespaces.patch_metadata("default", &params, &Patch::Apply(&labels)).await.unwrap();
    assert_eq!(labelled.metadata.labels.unwrap()["a"], "b");
}

async fn lease_manager(fixture: &Fixture, identity: &str) -> LeaseManager {
    let builder = LeaseManagerBuilder::new(client(fixture).await, "leader").with_namespace("default").with_identity(identity);
    builder.with_duration(30).with_grace(5).build().await.unwrap()
}

/// Leader election by an unmodified library, which tells from a conflict that somebody else was faster.
#[tokio::test(flavor = "multi_thread")]
async fn kube_lease_manager_elects_one_leader() {
    let fixture = Fixture::start(Wish::default()).await;
    let (first, second) = (lease_manager(&fixture, "first").await, lease_manager(&fixture, "second").await);
    let leads = tokio::time::timeout(PATIENCE, first.changed()).await.unwrap().unwrap();
    assert!(leads);
    let leases: Api<Lease> = Api::default_namespaced(client(&fixture).await);
    let spec = leases.get("leader").await.unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("first"), Some(1)));
    // What a slower candidate sends: it thought the lease was free.
    let grab = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "third"}});
    let refused = leases.patch("leader", &PatchParams::apply("third"), &Patch::Apply(&grab)).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"));
    tokio::time::timeout(PATIENCE, first.release()).await.unwrap().unwrap();
    assert_eq!(leases.get("leader").await.unwrap().spec.unwrap().holder_identity, None);
    let leads = tokio::time::timeout(PATIENCE, second.changed()).await.unwrap().unwrap();
    assert!(leads);
    let spec = leases.get("leader").await.unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("second"), Some(2)));
}
