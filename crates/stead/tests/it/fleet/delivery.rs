//! What waits on a machine until somebody hears it, and what a machine gets that was away.

use serde_json::{Value, json};

use super::harness::{Fleet, file, until};

/// What a machine's outbox holds, by kind. A copy is read, while the agent has the file.
fn waiting(fleet: &Fleet, machine: &str, kind: &str) -> u64 {
    let copy = format!("{machine}.outbox");
    fleet.home.run("sh", &["-ec", &format!("rm -rf {copy}; mkdir {copy}; cp {machine}/state/memory.db* {copy}/")]);
    let query = format!("SELECT count(*) FROM outbox WHERE kind = '{kind}'");
    fleet.home.run("sqlite3", &[&format!("{copy}/memory.db"), &query]).trim().parse().unwrap()
}

fn agent_events(fleet: &Fleet, machine: &str, reason: &str) -> Vec<Value> {
    let mut events = fleet.list("events");
    events.retain(|event| event["reason"] == reason && event["involvedObject"]["name"] == machine);
    events
}

#[test]
fn what_happened_while_nobody_listened_is_told_once_with_how_the_machine_was() {
    let mut fleet = Fleet::with_machines(&["m1"]);
    fleet.apply_and_wait("web", file("/web", "one"));
    fleet.agent("m1").stop();
    fleet.start_agent_with("m1", &["--vitals-seconds", "1", "--vitals-kept-seconds", "1"]);
    fleet.wait("machine/m1", "condition=Ready");
    fleet.coordinator.as_mut().unwrap().kill();
    let blocked = fleet.root_of("m1").join("web");
    std::fs::remove_file(&blocked).unwrap();
    std::fs::create_dir_all(blocked.join("in the way")).unwrap();
    until("the trouble waits", || (waiting(&fleet, "m1", "event") > 0).then_some(()));
    until("some samples wait", || (waiting(&fleet, "m1", "vitals") >= 3).then_some(()));
    // Killed as well: what waits is on disk.
    fleet.agent("m1").kill();
    let (events, vitals) = (waiting(&fleet, "m1", "event"), waiting(&fleet, "m1", "vitals"));
    fleet.start_coordinator();
    fleet.start_agent("m1");
    until("all of it is taken", || (waiting(&fleet, "m1", "event") + waiting(&fleet, "m1", "vitals") == 0).then_some(()));
    let machine = fleet.get("machine/m1");
    let history = machine["status"]["vitalsHistory"].as_array().unwrap();
    assert!(history.len() as u64 >= vitals, "{vitals} samples waited: {machine:#}");
    assert!(history.iter().all(|sample| sample["measuredAt"].is_string()), "{history:#?}");
    let told: u64 = agent_events(&fleet, "m1", "UnitFailed").iter().filter_map(|event| event["count"].as_u64()).sum();
    // One that waited, and one of the process that found the trouble anew; not one of them twice.
    assert!(told >= 1 && told <= events + 1, "{events} waited, {told} were told");
    assert!(fleet.stead(&["describe", "machine", "m1"]).ok().contains("Vitals history"));
}

#[test]
fn a_machine_that_was_away_gets_the_newest_state_once() {
    let mut fleet = Fleet::with_machines(&["m1"]);
    fleet.apply_and_wait("web", file("/web", "one"));
    fleet.apply_and_wait("old", file("/old", "one"));
    fleet.agent("m1").stop();
    for text in ["two", "three", "four", "five"] {
        fleet.apply("web", file("/web", text));
    }
    fleet.stead(&["delete", "profile", "old"]).ok();
    let before = fleet.log("m1").matches("Profile/web").count();
    fleet.start_agent("m1");
    fleet.wait_converged("web", 5);
    assert_eq!(fleet.file("m1", "/web").as_deref(), Some("five"));
    until("what was deleted goes", || fleet.file("m1", "/old").is_none().then_some(()));
    let log = fleet.log("m1");
    let accepted = log.lines().filter(|line| line.contains("accepted") && line.contains("Profile/web")).count();
    // The first one, before it was away, and one since.
    assert_eq!(accepted, 2, "{before} before: {log}");
}

/// The disk of the state directory fills up: events wait in memory, are told of when there is room, and nothing that waited is lost.
#[test]
fn a_machine_says_that_its_outbox_is_full_and_tells_what_it_held_back() {
    let mut fleet = Fleet::with_machines(&["m1"]);
    fleet.apply_and_wait("web", file("/web", "one"));
    fleet.coordinator.as_mut().unwrap().kill();
    fleet.agent("m1").stop();
    // As after weeks of trouble: only events wait, as many as may.
    let event = json!({"time": "2026-01-01T00:00:00Z", "warning": true, "reason": "Waited", "message": "long ago"});
    let script = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000 - (SELECT count(*) FROM outbox))
         INSERT INTO outbox (body, kind) SELECT CAST('{event}' AS BLOB), 'event' FROM n"
    );
    fleet.home.run("sqlite3", &["m1/state/memory.db", &script]);
    let blocked = fleet.root_of("m1").join("web");
    std::fs::remove_file(&blocked).unwrap();
    std::fs::create_dir_all(blocked.join("in the way")).unwrap();
    fleet.start_agent("m1");
    let held = || {
        fleet.home.run("sh", &["-ec", "rm -rf m1.held; mkdir m1.held; cp m1/state/memory.db* m1.held/"]);
        fleet.home.run("sqlite3", &["m1.held/memory.db", "SELECT value FROM settings WHERE name = 'outbox_held_back'"])
    };
    until("an event finds no room", || held().contains("UnitFailed").then_some(()));
    assert_eq!(waiting(&fleet, "m1", "event"), 10_000, "no event went for it");
    fleet.start_coordinator();
    until("what was held back is told", || (!agent_events(&fleet, "m1", "EventsHeldBack").is_empty()).then_some(()));
    let waited = &agent_events(&fleet, "m1", "Waited")[0];
    assert!(waited["count"].as_u64().unwrap() >= 9_990, "{waited:#}");
    let told = &agent_events(&fleet, "m1", "EventsHeldBack")[0];
    assert!(told["message"].as_str().unwrap().contains("UnitFailed"), "{told:#}");
    fleet.wait("machine/m1", "condition=OutboxFull=False");
}
