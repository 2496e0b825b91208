//! Both kubectl versions, from the oldest that is supported to a current one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;

use crate::fixture::{Fixture, Wish, profile};

/// Both kubectls, by what they are called in test output.
pub(crate) fn kubectls() -> [(&'static str, PathBuf); 2] {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    [("STEAD_KUBECTL_120", "kubectl-1.20"), ("STEAD_KUBECTL_132", "kubectl-1.32")].map(|(variable, folder)| {
        let path = std::env::var_os(variable).map_or_else(|| tools.join(folder).join("usr/bin/kubectl"), PathBuf::from);
        assert!(path.is_file(), "{} is not there: `cargo xtask test` installs it, or set {variable}", path.display());
        (folder, path)
    })
}

/// One kubectl with a home of its own: discovery is cached there.
pub(crate) struct Kubectl<'a> {
    name: &'static str,
    program: PathBuf,
    fixture: &'a Fixture,
    home: tempfile::TempDir,
}

impl<'a> Kubectl<'a> {
    pub(crate) fn new((name, program): (&'static str, PathBuf), fixture: &'a Fixture) -> Self {
        Self { name, program, fixture, home: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn is_old(&self) -> bool {
        self.name.ends_with("1.20")
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).env_clear().env("HOME", self.home.path()).env("KUBECONFIG", self.fixture.kubeconfig());
        command.env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    pub(crate) async fn output(&self, words: &[&str]) -> Output {
        let output = self.command(words).output();
        tokio::time::timeout(Duration::from_secs(120), output)
            .await
            .unwrap_or_else(|_| panic!("{} {words:?} hangs", self.name))
            .unwrap()
    }

    /// Runs a command that must succeed; its output.
    pub(crate) async fn run(&self, words: &[&str]) -> String {
        let output = self.output(words).await;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{} {words:?}: {out}{err}", self.name);
        out.into_owned()
    }

    /// Runs a command that must fail; what it says.
    pub(crate) async fn fail(&self, words: &[&str]) -> String {
        let output = self.output(words).await;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success(), "{} {words:?} succeeded: {out}{err}", self.name);
        err.into_owned()
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn has(&self, output: &str, parts: &[&str]) {
        for part in parts {
            assert!(output.contains(part), "{}: {part:?} is not in {output}", self.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn discovers_explains_and_gets() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    fixture.post("/apis/stead.dev/v1/profiles", &profile("web")).await.expect(201);
    for kubectl in kubectls() {
        let kubectl = Kubectl::new(kubectl, &fixture);
        let resources = kubectl.run(&["api-resources"]).await;
        kubectl.has(&resources, &["machines", "profiles", "namespaces", "leases", "stead.dev/v1", "Enrollment", "trustroots"]);
        kubectl.run(&["version"]).await;
        kubectl.has(&kubectl.run(&["api-versions"]).await, &["events.k8s.io/v1"]);
        kubectl.has(&kubectl.run(&["explain", "profile.spec.files"]).await, &["path", "content", "mode"]);
        kubectl.has(&kubectl.run(&["explain", "machine.metadata"]).await, &["labels"]);
        kubectl.has(&kubectl.run(&["get", "ns"]).await, &["default", "Active"]);
        kubectl.has(&kubectl.run(&["get", "profiles", "-o", "wide"]).await, &["NAME", "web", "AGE"]);
        kubectl.has(&kubectl.run(&["get", "profile", "web", "-o", "yaml"]).await, &["kind: Profile", "/etc/motd"]);
        kubectl.has(&kubectl.run(&["get", "profile", "-l", "role=web", "-o", "name"]).await, &["profile.stead.dev/web"]);
        assert_eq!(kubectl.run(&["get", "profile", "-l", "role=db", "-o", "name"]).await, "");
        kubectl.has(&kubectl.run(&["get", "ns", "--field-selector=status.phase=Active"]).await, &["default"]);
        let refused = kubectl.fail(&["get", "machines", "--field-selector=spec.size=1"]).await;
        kubectl.has(&refused, &["field label not supported: spec.size", "status.conditions.Ready"]);
        kubectl.has(&kubectl.run(&["get", "changes"]).await, &["REVISION", "create Profile/web"]);
        kubectl.has(&kubectl.run(&["get", "trustroots"]).await, &["v1", "VERSION"]);
        let selected = kubectl.run(&["get", "changes", "--field-selector=spec.requestedBy=coordinator", "-o", "name"]).await;
        assert_eq!(selected.lines().count(), 1, "{}: {selected}", kubectl.name);
        kubectl.has(&kubectl.run(&["get", "profiles", "--chunk-size=1", "--show-labels"]).await, &["role=web"]);
        kubectl.has(&kubectl.fail(&["get", "profile", "none"]).await, &["profiles.stead.dev \"none\" not found"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_owners_sign_is_refused_with_the_command_that_would() {
    let fixture = Fixture::start(Wish::default()).await;
    for kubectl in kubectls() {
        let kubectl = Kubectl::new(kubectl, &fixture);
        let name = if kubectl.is_old() { "old" } else { "new" };
        kubectl.has(&kubectl.run(&["create", "namespace", name]).await, &["created"]);
        let manifest = kubectl.file("profile.json", &profile("web").to_string());
        let refusal = kubectl.fail(&["apply", "-f", &manifest]).await;
        kubectl.has(&refusal, &["Forbidden", "stead apply -f FILE", "owners"]);
        assert_eq!(kubectl.run(&["get", "profiles", "-o", "name"]).await, "");
        kubectl.has(&kubectl.run(&["delete", "namespace", name]).await, &["deleted"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn applies_diffs_edits_patches_labels_and_deletes() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    for kubectl in kubectls() {
        let kubectl = Kubectl::new(kubectl, &fixture);
        let manifest = kubectl.file("profile.json", &profile("web").to_string());
        kubectl.has(&kubectl.run(&["apply", "-f", &manifest]).await, &["created"]);
        kubectl.has(&kubectl.run(&["apply", "-f", &manifest]).await, &["unchanged"]);
        kubectl.has(&kubectl.run(&["diff", "-f", &manifest]).await, &[]);
        let changed = kubectl.file("changed.json", &profile("web").to_string().replace("hello", "servus"));
        let diff = kubectl.output(&["diff", "-f", &changed]).await;
        assert_eq!(diff.status.code(), Some(1), "{}", String::from_utf8_lossy(&diff.stderr));
        kubectl.has(&String::from_utf8_lossy(&diff.stdout), &["hello", "servus"]);
        kubectl.has(&kubectl.run(&["apply", "--dry-run=server", "-f", &changed]).await, &["configured"]);
        kubectl.has(&kubectl.run(&["apply", "-f", &changed]).await, &["configured"]);
        kubectl.has(&kubectl.run(&["get", "profile/web", "-o", "jsonpath={.spec.files[0].content}"]).await, &["servus"]);

        let mut edit = kubectl.command(&["edit", "profile/web"]);
        let edited = edit.env("EDITOR", "sed -i s/servus/griasdi/").env("TERM", "dumb").output().await.unwrap();
        kubectl.has(&String::from_utf8_lossy(&edited.stdout), &["edited"]);
        kubectl.has(&kubectl.run(&["get", "profile/web", "-o", "json"]).await, &["griasdi"]);

        let strategic = kubectl.fail(&["patch", "profile/web", "-p", r#"{"metadata":{"labels":{"a":"b"}}}"#]).await;
        kubectl.has(&strategic, &[if kubectl.is_old() { "application/merge-patch+json" } else { "strategic-merge-patch+json" }]);
        let merged = r#"{"metadata":{"labels":{"a":"b"}}}"#;
        kubectl.has(&kubectl.run(&["patch", "profile/web", "--type=merge", "-p", merged]).await, &["patched"]);
        let operations = r#"[{"op":"replace","path":"/metadata/labels/a","value":"c"}]"#;
        kubectl.has(&kubectl.run(&["patch", "profile/web", "--type=json", "-p", operations]).await, &["patched"]);
        kubectl.has(&kubectl.run(&["patch", "namespace/default", "-p", merged]).await, &["patched"]);
        kubectl.has(&kubectl.run(&["label", "profile/web", "a=d", "--overwrite"]).await, &["labeled"]);
        kubectl.has(&kubectl.run(&["annotate", "profile/web", "note=x"]).await, &["annotated"]);
        kubectl.has(&kubectl.run(&["get", "profile/web", "-o", "jsonpath={.metadata.labels.a}"]).await, &["d"]);

        let unknown = kubectl.file("bad.json", &profile("bad").to_string().replace("\"content\"", "\"contents\""));
        kubectl.has(&kubectl.fail(&["apply", "-f", &unknown]).await, &["contents"]);
        let finalizer = r#"{"metadata":{"finalizers":["test.dev/hold"]}}"#;
        kubectl.run(&["patch", "profile/web", "--type=merge", "-p", finalizer]).await;
        kubectl.run(&["delete", "profile/web", "--wait=false"]).await;
        kubectl.has(&kubectl.run(&["get", "profile/web", "-o", "yaml"]).await, &["deletionTimestamp"]);
        kubectl.run(&["patch", "profile/web", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).await;
        kubectl.has(&kubectl.fail(&["get", "profile/web"]).await, &["not found"]);
        kubectl.run(&["patch", "namespace/default", "--type=merge", "-p", r#"{"metadata":{"labels":null}}"#]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn describes_with_events() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let made = fixture.post("/apis/stead.dev/v1/profiles", &profile("web")).await.expect(201);
    let event = json!({
        "metadata": {"name": "web.1", "namespace": "default"}, "type": "Warning", "reason": "Refused", "note": "a forged change was refused",
        "regarding": {"apiVersion": "stead.dev/v1", "kind": "Profile", "name": "web", "uid": made["metadata"]["uid"]},
        "reportingController": "stead.dev/agent", "reportingInstance": "m1", "action": "Verify", "eventTime": "2026-11-20T12:13:23.344275+01:00",
    });
    fixture.post("/apis/events.k8s.io/v1/namespaces/default/events", &event).await.expect(201);
    for kubectl in kubectls() {
        let kubectl = Kubectl::new(kubectl, &fixture);
        let described = kubectl.run(&["describe", "profile", "web"]).await;
        kubectl.has(&described, &["Kind:", "Profile", "/etc/motd", "Refused", "a forged change was refused"]);
        kubectl.has(&kubectl.run(&["get", "events"]).await, &["Refused", "profile/web", "a forged change"]);
        kubectl.run(&["describe", "namespace", "default"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_and_waits() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    let fixture = Fixture::start(Wish::everything_online()).await;
    for kubectl in kubectls() {
        let kubectl = Kubectl::new(kubectl, &fixture);
        fixture.post("/apis/stead.dev/v1/profiles", &profile("web")).await.expect(201);
        let mut watch = kubectl.command(&["get", "profiles", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let mut next = async || tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await.unwrap().unwrap().unwrap();
        assert!(next().await.starts_with("NAME"));
        assert!(next().await.starts_with("web"));
        fixture.post("/apis/stead.dev/v1/profiles", &profile("next")).await.expect(201);
        assert!(next().await.starts_with("next"));
        watch.kill().await.unwrap();

        let waiting = kubectl.run(&["wait", "--for=condition=Ready", "profile/web", "--timeout=60s"]);
        let ready = async {
            let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
            let headers = [("content-type", "application/merge-patch+json")];
            fixture.send("PATCH", "/apis/stead.dev/v1/profiles/web/status", &headers, status.to_string()).await.expect(200)
        };
        let (waited, _) = tokio::join!(waiting, ready);
        kubectl.has(&waited, &["condition met"]);
        let merge = [("content-type", "application/merge-patch+json")];
        let path = "/apis/stead.dev/v1/profiles/next";
        let held = r#"{"metadata":{"finalizers":["test.dev/hold"]}}"#;
        fixture.send("PATCH", path, &merge, held).await.expect(200);
        let gone = kubectl.run(&["delete", "profile/next"]);
        let release = async {
            while fixture.get(path).await.expect(200)["metadata"]["deletionTimestamp"].is_null() {
                tokio::task::yield_now().await;
            }
            fixture.send("PATCH", path, &merge, r#"{"metadata":{"finalizers":null}}"#).await.expect(200)
        };
        tokio::join!(gone, release);
        kubectl.has(&kubectl.run(&["delete", "profile", "web"]).await, &["deleted"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn built_in_kinds_and_the_rarer_commands() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    for kubectl in kubectls() {
        let kubectl = Kubectl::new(kubectl, &fixture);
        let lease = "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata:\n  name: l\n  labels: {a: b}\nspec:\n  holderIdentity: me\n";
        let manifest = kubectl.file("lease.yaml", lease);
        kubectl.has(&kubectl.run(&["apply", "-f", &manifest]).await, &["created"]);
        kubectl.has(&kubectl.run(&["apply", "-f", &manifest]).await, &["unchanged"]);
        let changed = kubectl.file("changed.yaml", &lease.replace(": me\n", ": you\n").replace("{a: b}", "{c: d}"));
        kubectl.has(&kubectl.run(&["apply", "-f", &changed]).await, &["configured"]);
        let shown = kubectl.run(&["get", "lease", "l", "-o", "jsonpath={.spec.holderIdentity} {.metadata.labels}"]).await;
        assert_eq!(shown.replace("map[c:d]", r#"{"c":"d"}"#), r#"you {"c":"d"}"#);
        kubectl.has(&kubectl.run(&["replace", "-f", &manifest]).await, &["replaced"]);
        kubectl.has(&kubectl.run(&["replace", "--force", "-f", &changed]).await, &["replaced"]);
        kubectl.has(&kubectl.run(&["delete", "--dry-run=server", "-f", &changed]).await, &["deleted"]);
        kubectl.has(&kubectl.run(&["get", "leases", "-A"]).await, &["default", "HOLDER", "you"]);
        kubectl.run(&["delete", "lease", "--all"]).await;

        let manifest = kubectl.file("profile.json", &profile("web").to_string());
        kubectl.has(&kubectl.run(&["create", "--dry-run=server", "-f", &manifest]).await, &["created"]);
        kubectl.run(&["create", "-f", &manifest]).await;
        kubectl.has(&kubectl.fail(&["create", "-f", &manifest]).await, &["AlreadyExists"]);
        kubectl.run(&["get", "all", "-A"]).await;
        kubectl.run(&["get", "profiles,namespaces"]).await;
        kubectl.run(&["get", "profiles", "--sort-by=.metadata.name"]).await;
        kubectl.has(&kubectl.run(&["get", "--raw", "/healthz"]).await, &["ok"]);
        if !kubectl.is_old() {
            let status = r#"{"status":{"conflicts":[]}}"#;
            kubectl.run(&["patch", "profile/web", "--subresource=status", "--type=merge", "-p", status]).await;
            kubectl.run(&["wait", "--for=jsonpath={.spec.files[0].path}=/etc/motd", "profile/web", "--timeout=60s"]).await;
            kubectl.run(&["events"]).await;
            kubectl.run(&["events", "--for", "profile/web"]).await;
        }
        kubectl.has(&kubectl.run(&["delete", "profile", "-l", "role=web"]).await, &["deleted"]);
        kubectl.run(&["delete", "profile", "none", "--ignore-not-found"]).await;
        kubectl.run(&["create", "namespace", "team"]).await;
        let inside = kubectl.file("inside.yaml", lease);
        kubectl.run(&["apply", "-n", "team", "-f", &inside]).await;
        kubectl.run(&["delete", "namespace", "team"]).await;
        assert_eq!(kubectl.run(&["get", "leases", "-A", "-o", "name"]).await, "");
        kubectl.has(&kubectl.fail(&["apply", "-n", "team", "-f", &inside]).await, &["namespaces \"team\" not found"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asks_what_it_may_and_who_it_is() {
    let fixture = Fixture::start(Wish::default()).await;
    for kubectl in kubectls() {
        let kubectl = Kubectl::new(kubectl, &fixture);
        let can_i = async |words: &[&str]| {
            let output = kubectl.output(&[&["auth", "can-i"], words].concat()).await;
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            (output.status.success(), format!("{out}{err}"))
        };
        for (words, allowed, answer) in [
            (&["get", "machines"][..], true, "yes"),
            (&["list", "profiles", "-A"], true, "yes"),
            (&["create", "namespace"], true, "yes"),
            (&["update", "leases"], true, "yes"),
            (&["patch", "machine", "--subresource=status"], true, "yes"),
            (&["create", "profile"], false, "no - must be signed by role owners: stead apply"),
            (&["delete", "machine/m1"], false, "no - must be signed by role owners: stead delete"),
            (&["*", "*"], false, "no"),
            (&["get", "/healthz"], true, "yes"),
            (&["post", "/healthz"], false, "no"),
        ] {
            let (success, said) = can_i(words).await;
            assert_eq!(success, allowed, "{} {words:?}: {said}", kubectl.name);
            kubectl.has(&said, &[answer]);
        }
        let listed = kubectl.run(&["auth", "can-i", "--list"]).await;
        kubectl.has(&listed, &["profiles.stead.dev", "machines.stead.dev/status", "leases.coordination.k8s.io", "/healthz"]);
        if !kubectl.is_old() {
            let fingerprint = stead_trust::Signer::public_key(&fixture.owner).fingerprint();
            let who = kubectl.run(&["auth", "whoami"]).await;
            kubectl.has(&who, &[&fingerprint, "stead.dev:owners", "system:authenticated"]);
        }
    }
}
