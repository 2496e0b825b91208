//! Other people's clients, with the owner's signature under what they write.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::harness::{Fleet, PATIENCE, file, until};
use super::kubectl::kubectls;
use super::process::Process;

pub(super) const KUBECONFIG: &str = "proxy.kubeconfig";

/// A proxy of the fleet's owner, and where it listens.
pub(super) fn start(fleet: &Fleet, words: &[&str], stdin: Stdio) -> (Process, String) {
    let mut command = fleet.home.command(env!("CARGO_BIN_EXE_stead"));
    command.args(["proxy", "--kubeconfig", KUBECONFIG]).args(words).stdin(stdin).stderr(fleet.log_file("proxy"));
    let mut proxy = Process::spawn(&mut command);
    let line = proxy.line("ready ").unwrap_or_else(|| panic!("{}", fleet.log("proxy")));
    (proxy, line.trim_start_matches("ready ").trim().to_owned())
}

struct Kubectl<'a> {
    name: &'static str,
    program: &'a Path,
    fleet: &'a Fleet,
}

impl Kubectl<'_> {
    #[track_caller]
    fn run(&self, words: &[&str]) -> (bool, String) {
        let mut command = self.fleet.home.command(self.program);
        command.args(words).env("KUBECONFIG", self.fleet.home.arg(KUBECONFIG));
        // As an editor that a person would use: it changes the file that it is given.
        command.env("KUBE_EDITOR", "sed -i s/two/three/").stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    #[track_caller]
    fn ok(&self, words: &[&str], part: &str) -> String {
        let (success, text) = self.run(words);
        assert!(success && text.contains(part), "{} {words:?}: {text}\n{}", self.name, self.fleet.log("proxy"));
        text
    }
}

#[test]
fn kubectl_writes_profiles_that_the_owner_signs_as_they_pass() {
    let fleet = Fleet::with_machines(&["m1"]);
    let (mut proxy, address) = start(&fleet, &[], Stdio::null());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(fleet.home.path(KUBECONFIG)).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    for (name, program) in kubectls() {
        let kubectl = Kubectl { name, program: &program, fleet: &fleet };
        let profile = name.replace('.', "-");
        let (object, path) = (format!("profile/{profile}"), format!("/{profile}"));
        let manifest = fleet.manifest(&profile, file(&path, "one"));
        kubectl.ok(&["auth", "can-i", "create", "profiles"], "yes");
        kubectl.ok(&["auth", "can-i", "delete", "machine/m1"], "yes");
        let (may, said) = kubectl.run(&["auth", "can-i", "create", "trustroots"]);
        assert!(!may && said.contains("stead trust rotate"), "{name}: {said}");
        kubectl.ok(&["apply", "-f", &manifest], "created");
        kubectl.ok(&["apply", "-f", &manifest], "unchanged");
        fleet.manifest(&profile, file(&path, "two"));
        kubectl.ok(&["apply", "-f", &manifest], "configured");
        fleet.wait_converged(&profile, 2);
        assert_eq!(fleet.file("m1", &path).as_deref(), Some("two"), "{name}");
        // What kubectl keeps for its own use is kept, unsigned.
        let kept = fleet.get(&object)["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].to_string();
        assert!(kept.contains("two"), "{name}: {kept}");

        kubectl.ok(&["edit", &object], "edited");
        fleet.wait_converged(&profile, 3);
        assert_eq!(fleet.file("m1", &path).as_deref(), Some("three"), "{name}");
        let patch = json!({"spec": {"files": [{"path": path, "content": "four"}]}}).to_string();
        kubectl.ok(&["patch", &object, "--type=merge", "-p", &patch], "patched");
        let operations = json!([{"op": "replace", "path": "/spec/files/0/content", "value": "five"}]).to_string();
        kubectl.ok(&["patch", &object, "--type=json", "-p", &operations], "patched");
        fleet.wait_converged(&profile, 5);
        assert_eq!(fleet.file("m1", &path).as_deref(), Some("five"), "{name}");
        // A label is signed; an annotation of somebody's is not, and takes no sequence.
        kubectl.ok(&["label", &object, "site=graz"], "labeled");
        kubectl.ok(&["annotate", &object, "example.org/note=seen"], "annotated");
        let now = fleet.get(&object);
        assert_eq!(
            (&now["metadata"]["labels"]["site"], &now["metadata"]["annotations"]["example.org/note"]),
            (&json!("graz"), &json!("seen"))
        );
        let dry = file(&path, "six");
        fleet.manifest(&profile, dry);
        kubectl.ok(&["apply", "-f", &manifest, "--dry-run=server"], "dry run");
        assert_eq!(fleet.get(&object)["spec"]["files"][0]["content"], "five");
        let (success, said) = kubectl.run(&["apply", "--server-side", "-f", &manifest]);
        assert!(!success && said.contains("client-side apply"), "{name}: {said}");
        let log: Value = serde_json::from_str(&fleet.stead(&["log", "profile", &profile, "-o", "json"]).ok()).unwrap();
        assert_eq!(log["items"].as_array().unwrap().len(), 6, "{name}: {log:#}");
        assert_eq!(log["items"][0]["spec"]["requestedBy"], Value::Null, "the owner signed it, not the coordinator");
        assert!(log["items"][0]["spec"]["message"].as_str().unwrap().contains("kubectl (stead proxy)"), "{log:#}");

        // What is not the owner's to sign passes as it is, and so do lists and watches.
        kubectl.ok(&["create", "namespace", &profile], "created");
        kubectl.ok(&["get", "machines"], "m1");
        kubectl.ok(&["wait", "--for=condition=Ready", "machine/m1", &format!("--timeout={PATIENCE}")], "condition met");
        let (success, said) = kubectl.run(&["delete", "profiles", "--all"]);
        assert!(success || said.contains("stead delete"), "{name}: {said}");
        if !success {
            kubectl.ok(&["delete", &object], "deleted");
        }
        until("the machine takes the file away", || fleet.file("m1", &path).is_none().then_some(()));
    }
    strangers_are_turned_away(&address);
    proxy.stop();
    assert!(!fleet.home.path(KUBECONFIG).exists(), "it leads nowhere any more");
}

fn strangers_are_turned_away(address: &str) {
    for path in ["/api", "/", "/0000/apis/stead.dev/v1/machines", "/apis/stead.dev/v1/machines"] {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{path}: {answer}");
    }
}

#[test]
fn a_person_can_be_asked_before_each_signature() {
    let fleet = Fleet::found();
    fleet.stead(&["proxy", "--listen", "0.0.0.0:0"]).fails(2);
    let answers = fleet.home.write("answers", "n\ny\n");
    let (mut proxy, _) = start(&fleet, &["--confirm"], std::fs::File::open(answers).unwrap().into());
    let [_, (name, program)] = kubectls();
    let kubectl = Kubectl { name, program: &program, fleet: &fleet };
    let manifest = fleet.manifest("web", file("/motd", "asked"));
    let (success, said) = kubectl.run(&["apply", "-f", &manifest]);
    assert!(!success && said.contains("did not want to sign"), "{said}");
    fleet.stead(&["get", "profile/web"]).fails(3);
    kubectl.ok(&["apply", "-f", &manifest], "created");
    let shown = fleet.log("proxy");
    assert!(shown.matches("content: asked").count() == 2 && shown.contains("Sign this? [y/N]"), "{shown}");
    proxy.stop();
}
