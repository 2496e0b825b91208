//! Changes that are taken back.

use serde_json::{Value, json};

use super::harness::{Fleet, file};

fn latest(fleet: &Fleet) -> String {
    fleet.stead(&["log", "-n", "1", "-o", "name"]).ok().trim().trim_start_matches("change.stead.dev/").to_owned()
}

fn content(fleet: &Fleet, profile: &str) -> Option<String> {
    let shown = fleet.stead(&["get", &format!("profile/{profile}"), "-o", "json"]);
    let value: Value = serde_json::from_str(&shown.stdout).ok()?;
    value["spec"]["files"][0]["content"].as_str().map(str::to_owned)
}

#[test]
fn a_change_is_taken_back_and_given_again_on_the_machine_too() {
    let fleet = Fleet::with_machines(&["m1"]);
    fleet.apply_and_wait("web", file("/motd", "one"));
    fleet.apply_and_wait("web", file("/motd", "two"));

    let planned = fleet.stead(&["undo", "latest", "--dry-run"]);
    assert_eq!(planned.code, 7, "{planned:?}");
    assert!(planned.stdout.contains("content: one") && planned.stdout.contains("put back (dry run)"), "{}", planned.stdout);
    assert_eq!(content(&fleet, "web").as_deref(), Some("two"));

    let undone = latest(&fleet);
    fleet.stead(&["undo", &undone]).ok();
    fleet.wait_converged("web", 3);
    assert_eq!(fleet.file("m1", "/motd").as_deref(), Some("one"));
    assert!(fleet.stead(&["log", "-n", "1"]).ok().contains(&format!("undo {undone}")));

    // The undoing can be undone, as any change.
    fleet.stead(&["undo", "latest", "-m", "two after all"]).ok();
    fleet.wait_converged("web", 4);
    assert_eq!(fleet.file("m1", "/motd").as_deref(), Some("two"));

    // What a change created goes, what it deleted comes again.
    fleet.stead(&["delete", "profile/web"]).ok();
    fleet.stead(&["undo", "latest"]).ok();
    fleet.wait_converged("web", 6);
    assert_eq!(fleet.file("m1", "/motd").as_deref(), Some("two"));
    fleet.apply_with("extra", file("/extra", "x"), &[]).ok();
    fleet.stead(&["undo", "latest"]).ok();
    assert_eq!(content(&fleet, "extra"), None);
}

#[test]
fn what_was_changed_since_is_not_taken_back_unseen() {
    let fleet = Fleet::found();
    let files =
        |motd: &str, issue: &str| json!({"files": [{"path": "/motd", "content": motd}, {"path": "/issue", "content": issue}]});
    fleet.apply("web", files("one", "one"));
    fleet.apply("web", files("two", "one"));
    let second = latest(&fleet);
    fleet.apply("web", files("two", "three"));

    let refused = fleet.stead(&["undo", &second]);
    assert_eq!(refused.code, 5, "{refused:?}");
    for part in ["(as the change left it)", "(as it is now)", "(as it was before the change)", "content: three", "content: one"] {
        assert!(refused.stdout.contains(part), "{part:?} is not in\n{}", refused.stdout);
    }
    assert!(refused.stderr.contains("Profile/web changed since"), "{}", refused.stderr);
    assert_eq!(content(&fleet, "web").as_deref(), Some("two"));

    // What the change did is taken back, and what came later stays.
    fleet.stead(&["undo", &second, "--force"]).ok();
    let profile = fleet.get("profile/web");
    assert_eq!(profile["spec"]["files"], files("one", "three")["files"], "{profile:#}");
    fleet.stead(&["undo", &second, "--force"]).ok();
    assert_eq!(content(&fleet, "web").as_deref(), Some("one"), "taken back twice is taken back");
}

#[test]
fn what_a_coordinator_signed_by_itself_is_taken_back_too() {
    let fleet = Fleet::found();
    fleet.home.write("lab.json", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}}).to_string());
    let kubectl = super::kubectl::Kubectl::newest(&fleet);
    kubectl.run(&["create", "namespace", "lab"], &["created"]);
    let made = fleet.stead(&["show", "latest", "--no-machines"]).ok();
    assert!(made.contains("a coordinator, for") && made.contains("Namespace/lab"), "{made}");
    fleet.stead(&["undo", "latest"]).ok();
    kubectl.fails(&["get", "namespace", "lab"], &["NotFound"]);
    fleet.stead(&["undo", "latest"]).ok();
    kubectl.run(&["get", "namespace", "lab"], &["lab", "Active"]);
}
