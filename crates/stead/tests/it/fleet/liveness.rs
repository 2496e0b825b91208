//! A machine that falls silent is marked within its limit and 15 s, by the coordinator's clock, and marked back when it returns.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::harness::{Fleet, until};

/// The shortest limit that there is.
const SILENT_AFTER_SECONDS: i64 = 15;
/// How much later than that the mark may come.
const MARK_WITHIN_SECONDS: i64 = 15;

fn ready(machine: &Value) -> &Value {
    machine["status"]["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Ready").unwrap()
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

fn set_limit(fleet: &Fleet, name: &str, seconds: i64) {
    let machine = fleet.get(&format!("machine/{name}"));
    let mut next = json!({
        "apiVersion": "stead.dev/v1", "kind": "Machine",
        "metadata": {"name": name, "labels": machine["metadata"]["labels"]}, "spec": machine["spec"],
    });
    next["spec"]["silentAfterSeconds"] = seconds.into();
    fleet.home.write("machine.json", &next.to_string());
    fleet.stead(&["apply", "-f", "machine.json", "-m", "a shorter limit"]).ok();
}

#[test]
fn a_silent_machine_is_marked_and_marked_back() {
    let mut fleet = Fleet::with_machines(&["stopped", "killed"]);
    for name in ["stopped", "killed"] {
        set_limit(&fleet, name, SILENT_AFTER_SECONDS);
    }
    fleet.agent("stopped").signal("STOP");
    fleet.agent("killed").kill();
    for name in ["stopped", "killed"] {
        fleet.wait(&format!("machine/{name}"), "condition=Ready=Unknown");
        let machine = fleet.get(&format!("machine/{name}"));
        let (heard, marked) = (time(&machine["status"]["lastSeen"]), time(&ready(&machine)["lastTransitionTime"]));
        let silent_seconds = marked.as_second() - heard.as_second();
        let limit = SILENT_AFTER_SECONDS..=SILENT_AFTER_SECONDS + MARK_WITHIN_SECONDS;
        assert!(limit.contains(&silent_seconds), "{name}: marked after {silent_seconds} s: {machine:#}");
    }
    // What is known of each is told apart: a connection that nobody closed, and one that ended.
    let known = |name: &str| ready(&fleet.get(&format!("machine/{name}")))["message"].as_str().unwrap().to_owned();
    assert!(known("stopped").contains("; its connection "), "{}", known("stopped"));
    let status = fleet.stead(&["status"]).ok();
    assert!(status.contains("2 silent"), "{status}");
    fleet.agent("stopped").signal("CONT");
    fleet.start_agent("killed");
    for name in ["stopped", "killed"] {
        fleet.wait(&format!("machine/{name}"), "condition=Ready");
        let events = fleet.list("events");
        for reason in ["Silent", "Back"] {
            let told = events.iter().any(|event| event["reason"] == reason && event["involvedObject"]["name"] == name);
            assert!(told, "{name}: no event {reason}: {events:#?}");
        }
    }
}

/// A machine that keeps stopping for a while is slow, and in time again when it has been for a while.
#[test]
fn a_slow_machine_is_told_from_a_silent_one() {
    /// Longer than this test stops it, however busy the machine is that it runs on.
    const LIMIT_SECONDS: i64 = 3_600;
    /// More than between two signs of life and what is allowed beside it, and less than until its connection is given up.
    const STOPPED: std::time::Duration = std::time::Duration::from_millis(13_500);
    let mut fleet = Fleet::with_machines(&["m1"]);
    set_limit(&fleet, "m1", LIMIT_SECONDS);
    let reason = |fleet: &Fleet| ready(&fleet.get("machine/m1"))["reason"].clone();
    until("the machine is slow", || {
        fleet.agent("m1").signal("STOP");
        std::thread::sleep(STOPPED);
        fleet.agent("m1").signal("CONT");
        let said = fleet.stead(&["wait", "machine/m1", "--for", "condition=Ready", "--timeout", "1s"]);
        (reason(&fleet) == "Slow").then_some(said)
    });
    let machine = fleet.get("machine/m1");
    assert_eq!(ready(&machine)["status"], "True", "it is not given up: {machine:#}");
    let listed = fleet.stead(&["get", "machines"]).ok();
    assert!(listed.contains("Slow"), "{listed}");
    assert!(fleet.stead(&["status"]).ok().contains("1 slow"));
    until("the machine is in time again", || (reason(&fleet) == "Heard").then_some(()));
    let events = fleet.list("events");
    let told = |reason: &str| events.iter().any(|event| event["reason"] == reason && event["involvedObject"]["name"] == "m1");
    assert!(told("Slow") && !told("Silent"), "{events:#?}");
}
