//! A record restored from an older backup: machines keep what they have, and give back what it lacks.

use serde_json::{Value, json};

use super::backups::{back_up, stead};
use super::harness::{Fleet, file, until};

/// A profile for machines with a label, as a line of a manifest.
fn for_site(name: &str, selector: Value) -> String {
    let spec = json!({"selector": selector, "files": [{"path": format!("/{name}"), "content": "lost"}]});
    json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": name}, "spec": spec}).to_string()
}

fn restore_status(fleet: &Fleet) -> Value {
    serde_json::from_str(&fleet.stead(&["restore", "status", "-o", "json"]).ok()).unwrap()
}

fn sequence(fleet: &Fleet, profile: &str) -> Option<u64> {
    let object = fleet.stead(&["get", &format!("profile/{profile}"), "-o", "json"]);
    let value: Value = serde_json::from_str(&object.stdout).ok()?;
    value["status"]["sequence"].as_u64()
}

/// Waits until machines have a file.
fn there(fleet: &Fleet, machines: &[&str], path: &str, content: &str) {
    for machine in machines {
        until(path, || (fleet.file(machine, path).as_deref() == Some(content)).then_some(()));
    }
}

/// What happens after the backup: a change of what is there, a deletion, a change that is on no machine in part, another owner, and
/// another machine.
fn go_on(fleet: &mut Fleet) {
    fleet.apply("kept", file("/kept", "after"));
    there(fleet, &["m1", "m2"], "/kept", "after");
    fleet.stead(&["delete", "profile", "goes", "-m", "not wanted any more"]).ok();
    fleet.wait("profile/goes", "delete");
    until("a file that is gone", || fleet.file("m1", "/goes").is_none().then_some(()));
    let nowhere = json!({"matchLabels": {"site": "nowhere"}});
    fleet.home.write("both.yaml", &[for_site("everywhere", json!({})), for_site("nowhere", nowhere)].join("\n---\n"));
    fleet.stead(&["apply", "-f", "both.yaml", "-m", "two of which one is nowhere"]).ok();
    there(fleet, &["m1", "m2"], "/everywhere", "lost");
    fleet.home.keygen("second", "");
    fleet.stead(&["trust", "rotate", "--add-key", "second.pub"]).ok();
    fleet.join("late");
    there(fleet, &["late"], "/kept", "after");
    there(fleet, &["late"], "/everywhere", "lost");
}

#[test]
fn machines_give_back_what_a_restored_record_lacks() {
    let mut fleet = Fleet::with_machines(&["m1", "m2"]);
    fleet.apply_and_wait("kept", file("/kept", "before"));
    fleet.apply_and_wait("goes", file("/goes", "before"));
    fleet.join("away");
    fleet.wait_converged("goes", 1);
    assert!(fleet.stead(&["restore", "status"]).ok().contains("never restored"));
    back_up(&fleet, &[]);
    fleet.agent("away").stop();
    go_on(&mut fleet);

    fleet.coordinator.as_mut().unwrap().kill();
    stead(&fleet, &["restore", "--from", "coordinator/backups", "--yes"]).ok();
    fleet.start_coordinator();

    // The machine that nobody knows is back in by its own papers, and with it what every machine held.
    fleet.wait("machine/late", "condition=Ready");
    let report = until("what three machines gave back", || {
        let report = restore_status(&fleet);
        (report["machines"]["givenBack"] == 3).then_some(report)
    });
    assert_eq!(report["machines"]["known"], 4, "{report:#}");
    assert_eq!(report["machines"]["notYet"][0]["machine"], "away", "{report:#}");
    assert_eq!(report["toSign"], json!([]), "{report:#}");
    assert_eq!(fleet.list("trustroots").len(), 2, "the owner that came after the backup is an owner again");
    assert_eq!(fleet.get("profile/kept")["spec"]["files"][0]["content"], "after");
    assert_eq!(fleet.stead(&["get", "profile/goes"]).code, 3, "what was deleted is deleted again");
    assert_eq!(fleet.get("profile/everywhere")["spec"]["files"][0]["content"], "lost");
    assert_eq!(fleet.stead(&["get", "profile/nowhere"]).code, 3, "no machine has it");
    let lost = report["incomplete"].as_array().unwrap().iter().find(|one| one["message"] == "two of which one is nowhere");
    let lost = lost.unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!((&lost["missing"], &lost["objects"]), (&json!(1), &json!(2)), "{report:#}");
    let text = fleet.stead(&["restore", "status"]);
    assert!(text.stdout.contains("1 of 2") && text.stderr.contains("stead apply"), "{text:?}");
    assert!(fleet.stead(&["status"]).ok().contains("1 machine has not given back"), "{text:?}");
    let log = fleet.stead(&["log"]).ok();
    assert!(log.contains("two of which one is nowhere") && log.contains("not wanted any more"), "{log}");
    let change = lost["change"].as_str().unwrap();
    assert!(fleet.stead(&["show", change]).ok().contains("everywhere"), "its signatures hold as before");

    // What is signed from now on follows what came back, and nobody refused anything.
    fleet.start_agent("away");
    fleet.wait("machine/away", "condition=Ready");
    assert_eq!(sequence(&fleet, "kept"), Some(2));
    there(&fleet, &["away"], "/kept", "after");
    let sequence = fleet.apply("kept", file("/kept", "from here on"));
    assert_eq!(sequence, 3);
    fleet.wait_converged("kept", 3);
    for machine in ["m1", "m2", "late", "away"] {
        assert_eq!(fleet.file(machine, "/kept").as_deref(), Some("from here on"), "{machine}");
        assert_eq!(fleet.file(machine, "/goes"), None, "{machine}");
        let status = &fleet.get(&format!("machine/{machine}"))["status"];
        let conditions = status["conditions"].as_array().unwrap();
        let refused = conditions.iter().find(|condition| condition["type"] == "Refused");
        assert!(refused.is_none_or(|refused| refused["status"] == "False"), "{machine}: {status:#}");
    }
    until("the last machine", || (restore_status(&fleet)["machines"]["notYet"] == json!([])).then_some(()));
    fleet.stead(&["login", "--key", "second", "--server", &fleet.server(), "--ca-file", "coordinator/tls/authority.crt"]).ok();
}

#[test]
fn what_owners_signed_again_before_a_machine_came_is_listed() {
    let mut fleet = Fleet::with_machines(&["m1"]);
    fleet.apply_and_wait("web", file("/web", "before"));
    back_up(&fleet, &[]);
    fleet.apply_and_wait("web", file("/web", "lost"));
    fleet.agent("m1").stop();
    fleet.coordinator.as_mut().unwrap().kill();
    stead(&fleet, &["restore", "--from", "coordinator/backups", "--yes"]).ok();
    fleet.start_coordinator();
    assert_eq!(fleet.apply("web", file("/web", "anew")), 2, "the record knows of no other");
    fleet.start_agent("m1");
    let report = until("a conflict", || {
        let report = restore_status(&fleet);
        (report["toSign"][0]["reason"] == "Conflict").then_some(report)
    });
    assert_eq!((&report["toSign"][0]["object"], &report["toSign"][0]["machine"]), (&json!("Profile/web"), &json!("m1")));
    let events = fleet.stead(&["get", "events", "-o", "json"]).ok();
    assert!(events.contains("GiveBackConflict"), "{events}");
    assert_eq!(fleet.file("m1", "/web").as_deref(), Some("lost"), "the machine keeps what it has");
    // That its word has the same number does not make it a word on the same statement.
    let waited = fleet.stead(&["wait", "profile/web", "--for", "condition=Converged", "--timeout", "3s"]);
    assert_ne!(waited.code, 0, "{waited:#?}");
    // The record has what the owner wants already: it is signed once more all the same, with the next sequence, and everybody agrees.
    let unchanged = fleet.apply_with("web", file("/web", "anew"), &[]).ok();
    assert!(unchanged.contains("unchanged"), "{unchanged}");
    let again = fleet.apply_with("web", file("/web", "anew"), &["--again"]).ok();
    assert!(again.contains("signed again"), "{again}");
    fleet.wait_converged("web", 3);
    assert_eq!(fleet.file("m1", "/web").as_deref(), Some("anew"));
    let report = restore_status(&fleet);
    assert_eq!((&report["toSign"], &report["settled"]), (&json!([]), &json!(1)), "{report:#}");
}
