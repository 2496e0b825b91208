//! A machine that falls silent is marked within its limit and 15 s, by the coordinator's clock, and marked back when it returns.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::harness::Fleet;

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

fn set_limit(fleet: &Fleet, name: &str) {
    let machine = fleet.get(&format!("machine/{name}"));
    let mut next = json!({
        "apiVersion": "stead.dev/v1", "kind": "Machine",
        "metadata": {"name": name, "labels": machine["metadata"]["labels"]}, "spec": machine["spec"],
    });
    next["spec"]["silentAfterSeconds"] = SILENT_AFTER_SECONDS.into();
    fleet.home.write("machine.json", &next.to_string());
    fleet.stead(&["apply", "-f", "machine.json", "-m", "a shorter limit"]).ok();
}

#[test]
fn a_silent_machine_is_marked_and_marked_back() {
    let mut fleet = Fleet::with_machines(&["stopped", "killed"]);
    for name in ["stopped", "killed"] {
        set_limit(&fleet, name);
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
