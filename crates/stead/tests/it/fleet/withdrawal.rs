//! A wish that goes away: what it made is removed, what it replaced is put back, and work on it stops at once.

use serde_json::json;

use super::harness::{Fleet, until};

/// How long the command sleeps; the fraction tells its processes from all others.
const HOUR: &str = "3600.73519";

fn sleepers() -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| line.starts_with(b"sleep\0") && String::from_utf8_lossy(line).contains(HOUR)).count()
}

#[test]
fn removing_a_wish_removes_what_it_made_and_stops_its_work() {
    let fleet = Fleet::with_machines(&["m1"]);
    std::fs::write(fleet.root_of("m1").join("motd"), "as it was").unwrap();
    fleet.apply_and_wait("stays", super::harness::file("/stays", "stays"));
    let sleep = format!("sleep {HOUR} & sleep {HOUR}; wait");
    fleet.apply(
        "goes",
        json!({
            "directories": [{"path": "/made"}], "links": [{"path": "/made/link", "target": "/stays"}],
            "files": [{"path": "/made/file", "content": "made"}, {"path": "/motd", "content": "replaced"}],
            "commands": [{"name": "hour", "check": ["test", "-e", "never"], "run": ["sh", "-c", sleep], "timeoutSeconds": 86400}],
        }),
    );
    until("the command runs", || (sleepers() == 2).then_some(()));
    until("the files are there", || fleet.file("m1", "/made/file").filter(|_| fleet.file("m1", "/motd").unwrap() == "replaced"));

    fleet.stead(&["delete", "profile", "goes", "-m", "not wanted any more"]).ok();
    fleet.wait("profile/goes", "delete");
    until("no process of the command is left", || (sleepers() == 0).then_some(()));
    until("what it made is gone", || (!fleet.root_of("m1").join("made").exists()).then_some(()));
    until("what it replaced is back", || fleet.file("m1", "/motd").filter(|found| found == "as it was"));
    fleet.wait("machine/m1", "condition=Converged");
    assert_eq!(fleet.file("m1", "/stays").as_deref(), Some("stays"));
}
