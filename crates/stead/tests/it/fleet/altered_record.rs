//! A record that somebody altered with the `sqlite3` shell: no machine applies it.

use super::harness::{Fleet, file};
use crate::stead::Home;

/// What is done to the record: the profile's name, and the statement for the shell.
const ALTERATIONS: [(&str, &str); 3] = [
    // The content, wherever it is written down.
    (
        "content",
        "UPDATE entries SET object = CAST(replace(CAST(object AS TEXT), 'signed content', 'forged content') AS BLOB) WHERE name = 'content';
         UPDATE objects SET json = replace(json, 'signed content', 'forged content') WHERE name = 'content';
         UPDATE history SET before = replace(before, 'signed content', 'forged content');",
    ),
    // The commitment to it: the leaf's sequence, to bring the same state once more.
    (
        "leaf",
        "UPDATE entries SET leaf = CAST(replace(CAST(leaf AS TEXT), '\"sequence\":', '\"sequence\":9') AS BLOB), sequence = 90 + sequence WHERE name = 'leaf';
         UPDATE sequences SET sequence = 90 + sequence WHERE name = 'leaf';",
    ),
    // What the owner signed.
    ("statement", "UPDATE changes SET statement = CAST(replace(CAST(statement AS TEXT), 'signed message', 'forged message') AS BLOB);"),
];

fn alter(home: &Home, statement: &str) {
    home.run("sqlite3", &["coordinator/record.db", statement]);
}

#[test]
fn an_altered_record_is_applied_by_no_machine() {
    let mut fleet = Fleet::with_machines(&["old"]);
    for (name, _) in ALTERATIONS {
        fleet.apply_and_wait(name, file(&format!("/{name}"), "first content"));
    }
    // What it has yet to hear of is altered.
    fleet.agent("old").stop();
    for (name, _) in ALTERATIONS {
        let message = if name == "statement" { "signed message" } else { "as it is" };
        fleet.apply_with(name, file(&format!("/{name}"), "signed content"), &["-m", message]).ok();
    }
    fleet.apply("sound", file("/sound", "signed content"));
    fleet.coordinator.as_mut().unwrap().stop();
    for (_, statement) in ALTERATIONS {
        alter(&fleet.home, statement);
    }
    fleet.start_coordinator();
    let shown = fleet.stead(&["get", "profile/content", "-o", "json"]).ok();
    assert!(shown.contains("forged content"), "the record was not altered: {shown}");

    fleet.start_agent("old");
    fleet.join("new");
    for machine in ["old", "new"] {
        fleet.wait(&format!("machine/{machine}"), "condition=Refused");
        let kept = (machine == "old").then(|| "first content".to_owned());
        for (name, _) in ALTERATIONS {
            assert_eq!(fleet.file(machine, name), kept, "{machine}: {name}");
        }
        // What is sound is taken all the same.
        super::harness::until("the sound profile", || fleet.file(machine, "sound").filter(|found| found == "signed content"));
    }
    let events = fleet.list("events");
    let refused =
        |machine: &str| events.iter().any(|event| event["reason"] == "Refused" && event["involvedObject"]["name"] == machine);
    assert!(refused("old") && refused("new"), "{events:#?}");
}
