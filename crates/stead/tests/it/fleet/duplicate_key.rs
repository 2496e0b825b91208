//! Two machines that present one key raise an alarm; a machine that restarts raises none.

use super::harness::{Fleet, until};

fn alarms(fleet: &Fleet, machine: &str) -> usize {
    let own = |event: &&serde_json::Value| event["reason"] == "DuplicateKey" && event["involvedObject"]["name"] == machine;
    fleet.list("events").iter().filter(own).count()
}

#[test]
fn two_machines_with_one_key_are_told_of_and_a_restart_is_not() {
    let mut fleet = Fleet::with_machines(&["copied", "restarted"]);
    let sessions = |fleet: &Fleet| fleet.log("restarted").matches("connected coordinator").count();
    for signal in ["KILL", "TERM", "KILL"] {
        let before = sessions(&fleet);
        let agent = fleet.agent("restarted");
        if signal == "KILL" {
            agent.kill();
        } else {
            agent.stop();
        }
        fleet.start_agent("restarted");
        until("the restarted machine is back", || (sessions(&fleet) > before).then_some(()));
    }

    fleet.agent("copied").stop();
    fleet.home.run("cp", &["-r", "copied", "copy"]);
    fleet.start_agent("copied");
    fleet.start_agent("copy");
    fleet.wait("machine/copied", "condition=DuplicateKey");
    assert!(alarms(&fleet, "copied") > 0);

    let restarted = fleet.get("machine/restarted");
    let conditions = restarted["status"]["conditions"].as_array().unwrap();
    assert!(!conditions.iter().any(|condition| condition["type"] == "DuplicateKey"), "{restarted:#}");
    assert_eq!(alarms(&fleet, "restarted"), 0);
}
