//! What the commands ask of a coordinator, and what they make of its answers.

use serde_json::{Value, json};

use crate::stand_in::StandIn;
use crate::stead::Home;

const PROFILES: &str = "/apis/stead.dev/v1/profiles";
const MACHINES: &str = "/apis/stead.dev/v1/machines";

fn profile(content: &str) -> Value {
    json!({
        "apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": "web", "resourceVersion": "5", "uid": "u"},
        "spec": {"selector": {}, "files": [{"path": "/etc/motd", "content": content}]}
    })
}

fn manifest(content: &str) -> String {
    let mut profile = profile(content);
    profile["metadata"] = json!({"name": "web"});
    profile.to_string()
}

fn machine(name: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "stead.dev/v1", "kind": "Machine", "metadata": {"name": name, "resourceVersion": "6"},
        "spec": {"key": "00".repeat(32)}, "status": {"conditions": [{"type": "Ready", "status": ready}]}
    })
}

/// A fleet with an owner at this home, and a coordinator for it.
fn fleet() -> (Home, StandIn) {
    let home = Home::new();
    home.keygen(".ssh/id_ed25519", "");
    home.keygen("host", "");
    home.stead(&["trust", "init", "--online", "host", "--out", "fleet"]).ok();
    let coordinator = StandIn::start(&home.path("fleet/root.json"), &home.path("host"));
    (home, coordinator)
}

fn logged_in() -> (Home, StandIn) {
    let (home, coordinator) = fleet();
    home.stead(&["login", "--server", &coordinator.url, "--no-kubeconfig"]).ok();
    (home, coordinator)
}

#[test]
fn login_writes_what_the_next_commands_and_kubectl_need() {
    let (home, coordinator) = fleet();
    home.write(
        ".kube/config",
        "apiVersion: v1\nkind: Config\nclusters: [{name: other, cluster: {server: x}}]\nusers: []\ncontexts: []\n",
    );
    let said = home.stead(&["login", "--server", &coordinator.url]).ok();
    assert!(said.contains(&format!("Fleet {}", coordinator.fleet)), "{said}");
    let config = home.read(".config/stead/config.toml");
    assert!(config.contains(&coordinator.url) && config.contains(&coordinator.fleet.to_string()), "{config}");

    let kubeconfig: Value = serde_saphyr::from_str(&home.read(".kube/config")).unwrap();
    assert_eq!(kubeconfig["clusters"][0]["name"], "other");
    assert_eq!(kubeconfig["clusters"][1]["cluster"]["server"], coordinator.url);
    let exec = &kubeconfig["users"][0]["user"]["exec"];
    // Run it just as kubectl would.
    let words: Vec<&str> = exec["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let credential: Value = serde_json::from_str(&home.stead(&words).ok()).unwrap();
    assert_eq!((&credential["kind"], &credential["apiVersion"]), (&json!("ExecCredential"), &exec["apiVersion"]));
    assert_eq!(credential["status"]["token"], "a-token");

    let cached = std::fs::read_dir(home.path(".cache/stead")).unwrap().next().unwrap().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&cached.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // One login was enough for all of this.
    let logins = coordinator.record.lock().unwrap().requests.iter().filter(|request| *request == "POST /stead/v1/login").count();
    assert_eq!(logins, 1);
}

#[test]
fn a_coordinator_of_another_fleet_gets_no_signature() {
    let (home, coordinator) = fleet();
    let other = format!("sha256:{}", "0".repeat(64));
    let error = home.stead(&["login", "--server", &coordinator.url, "--fleet", &other, "--no-kubeconfig"]).fails(4);
    assert!(error.contains("serves the fleet"), "{error}");
    assert!(!coordinator.was_asked("POST"));
    // One whose key is not in the root is none of the fleet's either.
    home.keygen("stranger", "");
    let stranger = StandIn::start(&home.path("fleet/root.json"), &home.path("stranger"));
    let error = home.stead(&["login", "--server", &stranger.url, "--no-kubeconfig"]).fails(4);
    assert!(error.contains("is not in the trust root"), "{error}");
    assert!(!stranger.was_asked("POST"));
}

#[test]
fn a_key_that_the_root_does_not_name_is_refused() {
    let (home, coordinator) = fleet();
    let fingerprint = home.keygen("other", "");
    let error = home.stead(&["get", "machines", "--server", &coordinator.url, "--key", "other"]).fails(4);
    assert!(error.contains(&format!("names no owner with the key {fingerprint}")), "{error}");
}

#[test]
fn apply_signs_one_change_and_says_what_became_of_each_object() {
    let (home, coordinator) = logged_in();
    coordinator.record.lock().unwrap().objects.insert(format!("{PROFILES}/web"), profile("old"));
    coordinator.record.lock().unwrap().sequences.insert("Profile/web".to_owned(), 4);
    home.write("a.yaml", &format!("{}\n---\n{}", manifest("new"), manifest("x").replace("\"web\"", "\"db\"")));
    let dry = home.stead(&["apply", "-f", "a.yaml", "--dry-run"]);
    assert_eq!(dry.code, 7, "{dry:?}");
    assert_eq!(dry.stdout, "profile.stead.dev/web configured (dry run)\nprofile.stead.dev/db created (dry run)\n");
    assert!(coordinator.record.lock().unwrap().submissions.is_empty());

    let said = home.stead(&["apply", "-f", "a.yaml", "-m", "a banner"]).ok();
    let record = coordinator.record.lock().unwrap();
    let submission = &record.submissions[0];
    let statement: Value = serde_json::from_slice(&submission.statement.document).unwrap();
    let id = statement["id"].as_str().unwrap().to_ascii_lowercase();
    assert_eq!(said, format!("profile.stead.dev/web configured (change {id})\nprofile.stead.dev/db created (change {id})\n"));
    assert_eq!((&statement["message"], &statement["count"]), (&json!("a banner"), &json!(2)));
    let leaf: Value = serde_json::from_slice(&submission.entries[0].leaf).unwrap();
    assert_eq!((&leaf["name"], &leaf["sequence"]), (&json!("web"), &json!(5)));
    let object: Value = serde_json::from_slice(submission.entries[0].object.as_ref().unwrap()).unwrap();
    assert_eq!(object["metadata"], json!({"name": "web"}));
}

#[test]
fn what_is_so_already_is_not_signed() {
    let (home, coordinator) = logged_in();
    coordinator.record.lock().unwrap().objects.insert(format!("{PROFILES}/web"), profile("same"));
    let ended = home.stead_with(&["apply", "-f", "-"], &manifest("same"));
    assert_eq!(ended.ok(), "profile.stead.dev/web unchanged\n");
    assert!(!coordinator.was_asked("POST /apis/stead.dev/v1/changes"));
}

#[test]
fn a_sequence_that_was_taken_is_five_with_both_differences() {
    let (home, coordinator) = logged_in();
    {
        let mut record = coordinator.record.lock().unwrap();
        record.objects.insert(format!("{PROFILES}/web"), profile("old"));
        record.sequences.insert("Profile/web".to_owned(), 1);
        record.intruder = Some((format!("{PROFILES}/web"), profile("theirs")));
    }
    let ended = home.stead_with(&["apply", "-f", "-"], &manifest("mine"));
    let difference = ended.stdout.clone();
    assert!(ended.fails(5).contains("hint: Nothing was applied."));
    for line in [
        "+++ Profile/web (as it is now)",
        "+  - content: theirs",
        "+++ Profile/web (as you want it)",
        "+  - content: mine",
        "-  - content: old",
    ] {
        assert!(difference.contains(line), "{line:?} is not in\n{difference}");
    }
    assert!(coordinator.record.lock().unwrap().submissions.is_empty());
}

#[test]
fn diff_shows_objects_and_machines_and_ends_with_seven() {
    let (home, coordinator) = logged_in();
    {
        let mut record = coordinator.record.lock().unwrap();
        record.objects.insert(format!("{PROFILES}/web"), profile("old"));
        record.plans =
            json!([{"machine": "web-1", "online": true, "units": [{"unit": "file:/etc/motd", "steps": ["write 3 bytes"]}]}]);
    }
    let ended = home.stead_with(&["diff", "-f", "-"], &manifest("new"));
    assert_eq!(ended.code, 7, "{ended:?}");
    for line in
        ["--- Profile/web (on record)", "-  - content: old", "+  - content: new", "machine/web-1: 1 step", "    + write 3 bytes"]
    {
        assert!(ended.stdout.contains(line), "{line:?} is not in\n{}", ended.stdout);
    }
    assert_eq!(home.stead_with(&["diff", "-f", "-"], &manifest("old")).ok(), "");
}

#[test]
fn delete_signs_tombstones_of_what_is_there() {
    let (home, coordinator) = logged_in();
    let error = home.stead(&["delete", "profile", "web"]).fails(3);
    assert!(error.contains("there is no Profile/web; nothing was deleted"), "{error}");
    assert!(home.stead(&["delete", "profiles"]).fails(2).contains("which profiles?"));
    coordinator.record.lock().unwrap().objects.insert(format!("{PROFILES}/web"), profile("old"));
    let said = home.stead(&["delete", "profile/web"]).ok();
    assert!(said.starts_with("profile.stead.dev/web deleted (change "), "{said}");
    let record = coordinator.record.lock().unwrap();
    let leaf: Value = serde_json::from_slice(&record.submissions[0].entries[0].leaf).unwrap();
    assert_eq!((&leaf["op"], &leaf["sequence"]), (&json!("delete"), &json!(1)));
}

#[test]
fn get_prints_in_every_form() {
    let (home, coordinator) = logged_in();
    let empty = home.stead(&["get", "machines"]);
    assert_eq!((empty.code, empty.stdout.as_str(), empty.stderr.as_str()), (0, "", "There are no machines.\n"));
    for name in ["web-1", "web-2"] {
        coordinator.record.lock().unwrap().objects.insert(format!("{MACHINES}/{name}"), machine(name, "True"));
    }
    let table = home.stead(&["get", "mc"]).ok();
    assert!(table.starts_with("NAME    READY   VOICE   CONVERGED"), "{table}");
    assert_eq!(home.stead(&["get", "machines", "-o", "name"]).ok(), "machine.stead.dev/web-1\nmachine.stead.dev/web-2\n");
    let one: Value = serde_json::from_str(&home.stead(&["get", "machine/web-1", "-o", "json"]).ok()).unwrap();
    assert_eq!(one, machine("web-1", "True"));
    let list: Value = serde_saphyr::from_str(&home.stead(&["get", "machines", "-o", "yaml"]).ok()).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    home.stead(&["get", "machine", "web-9"]).fails(3);
    home.stead(&["get", "machines", "-l", "role=web"]).ok();
    assert!(coordinator.was_asked("GET /apis/stead.dev/v1/machines?limit=500&labelSelector=role"));
    home.stead(&["get", "machines", "--field-selector", "status.conditions.Ready!=True"]).ok();
    assert!(coordinator.was_asked("GET /apis/stead.dev/v1/machines?limit=500&fieldSelector=status.conditions.Ready"));
    let described = home.stead(&["describe", "machine", "web-1"]).ok();
    assert!(described.contains("Conditions:\n    TYPE    STATUS\n    Ready   True\n"), "{described}");
}

#[test]
fn wait_sees_what_comes_and_gives_up_with_six() {
    let (home, coordinator) = logged_in();
    coordinator.record.lock().unwrap().objects.insert(format!("{MACHINES}/web-1"), machine("web-1", "False"));
    let words = ["wait", "machine/web-1", "--for", "condition=Ready"];
    let error = home.stead(&[&words[..], &["--timeout", "1s"]].concat()).fails(6);
    assert!(error.contains("waited 1s in vain; not yet: 1 machine\n  web-1: Ready is False\n"), "{error}");
    coordinator.record.lock().unwrap().watch = vec![json!({"type": "MODIFIED", "object": machine("web-1", "True")})];
    assert_eq!(home.stead(&words).ok(), "machine.stead.dev/web-1 condition met\n");
    coordinator.record.lock().unwrap().watch = vec![json!({"type": "DELETED", "object": machine("web-1", "True")})];
    assert_eq!(home.stead(&["wait", "machine/web-1", "--for", "delete"]).ok(), "");
}

#[test]
fn wait_says_what_is_in_the_way() {
    let (home, coordinator) = logged_in();
    let failing = |name: &str, message: &str| {
        let mut machine = machine(name, "True");
        machine["status"]["conditions"] =
            json!([{"type": "Converged", "status": "False", "reason": "UnitsFail", "message": "1 of 1"}]);
        let unit =
            json!({"unit": "file:/etc/motd", "source": "Profile/web", "sequence": 1, "state": "Failed", "message": message});
        machine["status"]["units"] = json!([unit]);
        machine
    };
    {
        let mut record = coordinator.record.lock().unwrap();
        record.objects.insert(format!("{MACHINES}/web-1"), failing("web-1", "no space left"));
        record.objects.insert(format!("{MACHINES}/web-2"), machine("web-2", "True"));
        let status = json!({"machines": 2, "converged": 0, "failed": 1, "sequence": 1, "observedGeneration": 1});
        let profile = json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": "web"}, "spec": {"selector": {}}, "status": status});
        record.objects.insert("/apis/stead.dev/v1/profiles/web".to_owned(), profile);
        record.watch = vec![
            json!({"type": "MODIFIED", "object": failing("web-1", "no space left")}),
            json!({"type": "MODIFIED", "object": failing("web-1", "read-only file system")}),
        ];
    }
    let words = ["wait", "machines", "--for", "condition=Converged", "--timeout", "1s"];
    let error = home.stead(&words).fails(6);
    let lines: Vec<&str> = error.lines().collect();
    // Each thing once, however often the machine says it.
    let expected = ["web-1: file:/etc/motd fails: no space left", "web-1: file:/etc/motd fails: read-only file system"];
    assert_eq!(lines[..2], expected, "{error}");
    let expected = "waited 1s in vain; not yet: 2 machines\n  web-1: file:/etc/motd fails: ";
    assert!(lines.len() == 6 && error.contains(expected) && error.contains("\n  web-2\nhint:"), "{error}");
    coordinator.record.lock().unwrap().watch.clear();
    let error = home.stead(&["wait", "profile/web", "--for", "condition=Converged", "--timeout", "1s"]).fails(6);
    assert!(error.starts_with("web on web-1: file:/etc/motd fails: no space left\nerror: "), "{error}");
    assert!(error.contains("not yet: 1 profile\n  web on web-1: file:/etc/motd fails: no space left\n"), "{error}");
    assert!(coordinator.was_asked("GET /apis/stead.dev/v1/machines?limit=200&fieldSelector=status.conditions.Converged%3DFalse"));
}

#[test]
fn approve_lists_then_signs_the_answer_and_the_machine() {
    let (home, coordinator) = logged_in();
    assert!(home.stead(&["approve"]).stderr.contains("No machine asks to join."));
    let key = "ab".repeat(32);
    let enrollment = json!({
        "apiVersion": "stead.dev/v1", "kind": "Enrollment", "metadata": {"name": &key[..16]},
        "spec": {"key": key}, "status": {"phase": "Pending", "hostname": "Pi_4"}
    });
    coordinator.record.lock().unwrap().objects.insert(format!("/apis/stead.dev/v1/enrollments/{}", &key[..16]), enrollment);
    let listed = home.stead(&["approve"]).ok();
    assert!(listed.contains(&key[..16]) && listed.contains("Pi_4"), "{listed}");
    assert!(home.stead(&["approve", "nobody"]).fails(3).contains("no machine asks to join as nobody"));
    let said = home.stead(&["approve", "--all", "--label", "role=web"]).ok();
    assert!(said.contains("approved as machine.stead.dev/pi-4 (change "), "{said}");
    let record = coordinator.record.lock().unwrap();
    let objects: Vec<Value> = record.submissions[0]
        .entries
        .iter()
        .map(|entry| serde_json::from_slice(entry.object.as_ref().unwrap()).unwrap())
        .collect();
    assert_eq!(objects[0]["spec"], json!({"key": key, "approved": true, "machine": "pi-4", "labels": {"role": "web"}}));
    assert_eq!(objects[1]["metadata"], json!({"name": "pi-4", "labels": {"role": "web"}}));
}

#[test]
fn changes_are_waited_for_though_they_are_not_watched() {
    let (home, coordinator) = logged_in();
    let record = coordinator.record.clone();
    let path = "/apis/stead.dev/v1/changes/01a";
    // It comes when somebody has asked for it once.
    record.lock().unwrap().arrivals.push((path.to_owned(), json!({"metadata": {"name": "01a"}, "status": {"revision": 3}})));
    assert_eq!(home.stead(&["wait", "changes", "--for", "status.revision=3"]).ok(), "change.stead.dev/01a condition met\n");
}
