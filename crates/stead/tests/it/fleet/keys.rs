//! Machines' keys: changed, replaced, refused for good; and whoever comes with one that does not count.

use serde_json::{Value, json};

use super::backups::{back_up, stead};
use super::duplicate_key::hardware;
use super::harness::{Fleet, file, until};

fn key_of(fleet: &Fleet, machine: &str) -> String {
    fleet.get(&format!("machine/{machine}"))["spec"]["key"].as_str().unwrap().to_owned()
}

/// The key in a file of a machine, as its Machine object has it.
fn key_in(fleet: &Fleet, file: &str) -> String {
    let text = std::fs::read_to_string(fleet.home.path(file)).unwrap();
    stead_trust::SigningKey::from_openssh(&text, None).unwrap().machine_key().unwrap().to_string()
}

fn condition(fleet: &Fleet, machine: &str, kind: &str) -> Value {
    let object = fleet.get(&format!("machine/{machine}"));
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

fn events(fleet: &Fleet, machine: &str, reason: &str) -> Vec<String> {
    let of = |event: &&Value| event["reason"] == reason && event["involvedObject"]["name"] == machine;
    fleet.list("events").iter().filter(of).map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

/// Changes keys, once the machines are connected: a condition tells of that only when it has changed.
fn rotate(fleet: &Fleet, words: &[&str]) -> String {
    until("the machines can be asked", || {
        let ended = fleet.stead(&[&["machine", "rotate-key"], words].concat());
        (ended.code == 0).then_some(ended.stdout)
    })
}

/// How often the coordinator turned machines away, by the words of the reason.
fn refused(fleet: &Fleet, words: &str) -> u64 {
    let status: Value = serde_json::from_str(&fleet.stead(&["status", "-o", "json"]).ok()).unwrap();
    status["ports"]["machines"]["refused"][words].as_u64().unwrap_or(0)
}

#[test]
fn a_machine_changes_its_key_and_stays_who_it_is() {
    let mut fleet = Fleet::with_machines(&["m1", "m2"]);
    fleet.apply_and_wait("web", file("/motd", "one"));
    fleet.agent("m1").stop();
    fleet.home.run("cp", &["-r", "m1", "copy"]);
    fleet.start_agent("m1");
    fleet.wait("machine/m1", "condition=Ready");
    let (old, id) = (key_of(&fleet, "m1"), fleet.get("machine/m1")["metadata"]["uid"].clone());

    let said = rotate(&fleet, &["m1", "--timeout", "4m"]);
    assert!(said.contains("machine.stead.dev/m1 has its new key"), "{said}");
    let machine = fleet.get("machine/m1");
    assert_eq!((&machine["metadata"]["uid"], &machine["metadata"]["labels"]["role"]), (&id, &json!("web")));
    assert_eq!(machine["spec"]["formerKeys"], json!([old]));
    assert_eq!(machine["spec"]["key"], key_in(&fleet, "m1/state/machine.key"));
    assert!(!fleet.home.path("m1/state/machine.key.next").exists());

    // Everything goes on: what was signed before is still acknowledged, what comes now arrives.
    fleet.apply_and_wait("web", file("/motd", "two"));
    assert_eq!(fleet.file("m1", "/motd").as_deref(), Some("two"));
    let shown = fleet.stead(&["show", "latest"]).ok();
    assert!(shown.contains("2 applied") && !shown.contains("could not be checked"), "{shown}");
    let log = fleet.stead(&["log", "machine", "m1"]).ok();
    assert!(log.contains("new keys for m1"), "{log}");

    // Whoever has the old key is refused, counted and shown.
    fleet.start_agent("copy");
    until("the copy is told of", || (!events(&fleet, "m1", "FormerKeyPresented").is_empty()).then_some(()));
    assert!(refused(&fleet, "the key was replaced by another one") > 0);
    assert!(fleet.stead(&["status"]).ok().contains("the key was replaced"));
    assert_eq!(condition(&fleet, "m1", "Ready")["status"], "True");
    assert_eq!(fleet.file("copy", "/motd").as_deref(), Some("one"), "it gets nothing new");
    fleet.agent("copy").stop();

    // Nor does the old key come back by an owner's oversight.
    let mut back = fleet.get("machine/m1");
    back["spec"] = json!({"key": old});
    back["metadata"] = json!({"name": "m1", "labels": {"role": "web"}});
    fleet.home.write("back.json", &back.to_string());
    let error = fleet.stead(&["apply", "-f", "back.json"]).fails(4);
    assert!(error.contains("had before"), "{error}");

    // One that is away is named, and nothing changes for it.
    fleet.agent("m2").stop();
    fleet.wait("machine/m2", "condition=Ready=Unknown");
    let away = fleet.stead(&["machine", "rotate-key", "m2"]);
    assert!(away.code == 6 && away.stderr.contains("machine/m2: it is not connected, last seen"), "{away:?}");
    assert!(fleet.stead(&["machine", "rotate-key", "nobody"]).fails(3).contains("no machine nobody"));

    // Many at once.
    fleet.start_agent("m2");
    fleet.wait("machine/m2", "condition=Ready");
    until("it is connected", || fleet.stead(&["machine", "rotate-key", "m2", "--dry-run"]).code.eq(&7).then_some(()));
    let said = rotate(&fleet, &["-l", "role=web", "--timeout", "4m"]);
    assert_eq!(said.matches("has its new key").count(), 2, "{said}");
    assert_eq!(fleet.get("machine/m1")["spec"]["formerKeys"].as_array().unwrap().len(), 2);
}

#[test]
fn whoever_is_killed_while_a_key_changes_the_machine_is_never_locked_out() {
    let mut fleet = Fleet::with_machines(&["m1"]);
    fleet.apply_and_wait("web", file("/motd", "one"));
    for round in 0..6 {
        let before = key_of(&fleet, "m1");
        rotate(&fleet, &["m1", "--timeout", "0s"]);
        let after = key_of(&fleet, "m1");
        assert_ne!(before, after);
        if round % 3 == 2 {
            fleet.coordinator.as_mut().unwrap().kill();
        }
        if round % 3 != 1 {
            fleet.agent("m1").kill();
            fleet.start_agent("m1");
        }
        if round % 3 == 2 {
            fleet.start_coordinator();
        }
        until("the machine has come with its new key", || {
            (fleet.get("machine/m1")["status"]["presented"]["key"] == after).then_some(())
        });
        until("the file has followed", || (key_in(&fleet, "m1/state/machine.key") == after).then_some(()));
    }
    fleet.apply_and_wait("web", file("/motd", "two"));
    assert_eq!(fleet.file("m1", "/motd").as_deref(), Some("two"));
    assert!(events(&fleet, "m1", "FormerKeyPresented").is_empty(), "the machine itself is no intruder");
}

#[test]
fn a_machine_that_was_away_when_its_key_was_signed_finds_out() {
    let mut fleet = Fleet::with_machines(&["m1"]);
    // It has made its next key, and goes away; its owners sign a month later.
    fleet.stead(&["machine", "rotate-key", "m1", "--dry-run"]).fails(7);
    let (old, new) = (key_of(&fleet, "m1"), key_in(&fleet, "m1/state/machine.key.next"));
    assert_ne!(old, new);
    fleet.agent("m1").kill();
    let spec = json!({"key": new, "formerKeys": [old]});
    let labels = json!({"role": "web"});
    let machine =
        json!({"apiVersion": "stead.dev/v1", "kind": "Machine", "metadata": {"name": "m1", "labels": labels}, "spec": spec});
    fleet.home.write("m1.json", &machine.to_string());
    fleet.stead(&["apply", "-f", "m1.json"]).ok();
    fleet.start_agent("m1");
    until("it has come with its new key", || (fleet.get("machine/m1")["status"]["presented"]["key"] == new).then_some(()));
    fleet.apply_and_wait("web", file("/motd", "one"));
    assert_eq!(key_in(&fleet, "m1/state/machine.key"), new);
    // A key that a file holds which is not the agent's own is not changed.
    fleet.agent("m1").stop();
    fleet.start_agent_with("m1", &["--identity", "m1/state/machine.key"]);
    fleet.wait("machine/m1", "condition=Ready");
    until("it says whose key it is", || {
        let ended = fleet.stead(&["machine", "rotate-key", "m1"]);
        (ended.code == 6 && ended.stderr.contains("may not change")).then_some(())
    });
}

#[test]
fn a_record_restored_from_before_a_key_changed_learns_it_from_the_machine() {
    let mut fleet = Fleet::with_machines(&["m1"]);
    fleet.apply_and_wait("web", file("/motd", "one"));
    back_up(&fleet, &[]);
    rotate(&fleet, &["m1", "--timeout", "4m"]);
    let new = key_of(&fleet, "m1");
    fleet.apply_and_wait("web", file("/motd", "two"));
    fleet.coordinator.as_mut().unwrap().kill();
    stead(&fleet, &["restore", "--from", "coordinator/backups", "--yes"]).ok();
    // Not by what the coordinator itself kept: by the machine's own papers.
    fleet.home.run("rm", &["-r", "coordinator/refused-keys"]);
    fleet.start_coordinator();
    until("the machine is back with its new key", || (key_of(&fleet, "m1") == new).then_some(()));
    fleet.wait_converged("web", 2);
    fleet.apply_and_wait("web", file("/motd", "three"));
    assert_eq!(fleet.file("m1", "/motd").as_deref(), Some("three"));
}

#[test]
fn a_machine_that_was_set_up_anew_takes_its_old_place() {
    let mut fleet = Fleet::found();
    hardware(&fleet, "board", "S-0001");
    fleet.join("board");
    fleet.apply_and_wait("web", file("/motd", "one"));
    let old = key_of(&fleet, "board");
    fleet.agent("board").stop();
    fleet.home.run("cp", &["-r", "board", "old"]);
    fleet.home.run("rm", &["-r", "board/state", "board/root/motd"]);
    let ticket = fleet.stead(&["ticket", "create"]).ok();
    fleet.home.write("plain.ticket", &ticket);
    fleet.start_agent_with("board", &["--join", "@plain.ticket"]);
    let asks = until("it asks to join", || fleet.list("enrollments").first().cloned());
    assert_eq!(asks["status"]["looksLike"], json!([{"machine": "board", "by": "serial"}]), "{asks:#}");
    let name = asks["metadata"]["name"].as_str().unwrap();
    let list = fleet.stead(&["approve"]);
    assert!(list.stderr.contains(&format!("stead approve {name} --replace board")), "{list:?}");
    assert_eq!(key_of(&fleet, "board"), old, "without an owner's word it only asks");

    fleet.stead(&["approve", name, "--replace", "board"]).ok();
    until("the profile is back", || (fleet.file("board", "/motd").as_deref() == Some("one")).then_some(()));
    let machine = fleet.get("machine/board");
    assert_eq!((&machine["metadata"]["labels"]["role"], &machine["spec"]["formerKeys"]), (&json!("web"), &json!([old])));
    fleet.apply_and_wait("web", file("/motd", "two"));
    until("the events of the new disk are taken", || (!events(&fleet, "board", "Joined").is_empty()).then_some(()));

    fleet.start_agent("old");
    until("the old disk is refused", || (!events(&fleet, "board", "FormerKeyPresented").is_empty()).then_some(()));
    assert_eq!(fleet.file("old", "/motd").as_deref(), Some("one"));
}

#[test]
fn a_decommissioned_machine_stays_out_whatever_comes() {
    let mut fleet = Fleet::with_machines(&["m1", "m2"]);
    fleet.apply_and_wait("web", file("/motd", "one"));
    back_up(&fleet, &[]);
    fleet.stead(&["machine", "decommission", "m1", "--reason", "stolen in Graz"]).ok();
    fleet.wait("machine/m1", "condition=Ready=False");
    until("it has signed that it has heard", || {
        let machine = fleet.get("machine/m1");
        let words = machine["status"]["acknowledgements"].as_array().cloned().unwrap_or_default();
        words.iter().any(|word| word["object"] == "Machine/m1" && word["sequence"] == 2).then_some(())
    });
    // It knocks again an hour later, or when it is started anew.
    fleet.agent("m1").stop();
    fleet.start_agent("m1");
    until("and is refused", || (refused(&fleet, "the machine was decommissioned") > 0).then_some(()));
    // What is there stays, nothing looks after it, and nothing waits for it.
    std::fs::remove_file(fleet.root_of("m1").join("motd")).unwrap();
    fleet.apply_and_wait("web", file("/motd", "two"));
    assert_eq!((fleet.file("m1", "/motd"), fleet.file("m2", "/motd").as_deref()), (None, Some("two")));
    let shown = fleet.stead(&["machine", "show", "m1"]).ok();
    assert!(shown.contains("decommissioned: stolen in Graz"), "{shown}");

    // Its key comes in by no ticket, under no other name, and its object is not deleted by the way.
    fleet.agent("m1").stop();
    fleet.home.run("rm", &["m1/state/memory.db"]);
    let ticket = fleet.stead(&["ticket", "create", "--delegate", "--machines", "5"]).ok();
    fleet.home.write("again.ticket", &ticket);
    let before = refused(&fleet, "the machine was decommissioned");
    fleet.start_agent_with("m1", &["--join", "@again.ticket", "--name", "other"]);
    until("it is refused", || (refused(&fleet, "the machine was decommissioned") > before).then_some(()));
    fleet.agent("m1").stop();
    assert_eq!(fleet.stead(&["get", "machine/other"]).code, 3);
    assert!(!events(&fleet, "m1", "DecommissionedPresented").is_empty());
    let spec = json!({"key": key_of(&fleet, "m1")});
    let other = json!({"apiVersion": "stead.dev/v1", "kind": "Machine", "metadata": {"name": "other"}, "spec": spec});
    fleet.home.write("other.json", &other.to_string());
    assert!(fleet.stead(&["apply", "-f", "other.json"]).fails(4).contains("decommissioned"));
    assert!(fleet.stead(&["delete", "machine", "m1"]).fails(4).contains("decommissioned"));
    let plain = json!({"apiVersion": "stead.dev/v1", "kind": "Machine", "metadata": {"name": "m1"}, "spec": spec});
    fleet.home.write("plain.json", &plain.to_string());
    assert!(fleet.stead(&["apply", "-f", "plain.json"]).fails(4).contains("recommission"));

    // Nor by a record that was restored from before.
    until("it is kept beside the record", || fleet.home.path("coordinator/refused-keys/m1").exists().then_some(()));
    fleet.coordinator.as_mut().unwrap().kill();
    stead(&fleet, &["restore", "--from", "coordinator/backups", "--yes"]).ok();
    fleet.start_coordinator();
    assert_eq!(fleet.get("machine/m1")["spec"]["decommissioned"]["reason"], "stolen in Graz");
    fleet.start_agent_with("m1", &["--join", "@again.ticket", "--name", "other"]);
    fleet.wait("machine/m1", "condition=Ready=False");
    assert_eq!(fleet.stead(&["get", "machine/other"]).code, 3);

    // An owner's explicit word, and nothing else, brings it back.
    fleet.agent("m1").stop();
    fleet.stead(&["machine", "recommission", "m1", "-m", "found again"]).ok();
    fleet.start_agent_with("m1", &["--join", "@again.ticket"]);
    until("it is looked after again", || (fleet.file("m1", "/motd").as_deref() == Some("two")).then_some(()));
}
