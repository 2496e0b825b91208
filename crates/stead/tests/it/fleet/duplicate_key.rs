//! Two machines that present one key raise an alarm that names both, wherever they are and whoever comes when; a machine that restarts
//! raises none.

use serde_json::Value;
use stead_peers::TempPostgres;

use super::harness::{Fleet, until};
use crate::stead::Home;

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

/// A folder that plays a machine says by these files which hardware it is.
pub(super) fn hardware(fleet: &Fleet, machine: &str, serial: &str) {
    fleet.home.write(&format!("{machine}/root/etc/hostname"), &format!("{machine}-host\n"));
    fleet.home.write(&format!("{machine}/root/sys/class/dmi/id/product_serial"), &format!("{serial}\n"));
    fleet.home.write(&format!("{machine}/root/proc/sys/kernel/random/boot_id"), &format!("boot-{serial}\n"));
}

/// Sessions that an agent has had.
fn sessions(fleet: &Fleet, machine: &str) -> usize {
    fleet.log(machine).matches("connected coordinator").count()
}

/// Runs an agent until it has had one more session.
fn one_session(fleet: &mut Fleet, machine: &str) {
    let before = sessions(fleet, machine);
    fleet.start_agent(machine);
    until("a session", || (sessions(fleet, machine) > before).then_some(()));
}

fn duplicate(fleet: &Fleet, machine: &str) -> Value {
    fleet.get(&format!("machine/{machine}"))["status"]["duplicate"].clone()
}

#[test]
fn a_copy_that_never_meets_the_original_is_found_by_its_starts() {
    let mut fleet = Fleet::found();
    hardware(&fleet, "web", "S-ORIGINAL");
    fleet.join("web");
    fleet.agent("web").stop();
    fleet.home.run("cp", &["-r", "web", "copy"]);
    hardware(&fleet, "copy", "S-COPY");
    one_session(&mut fleet, "copy");
    until("the copy is on record", || (fleet.get("machine/web")["status"]["presented"]["serial"] == "S-COPY").then_some(()));
    assert_eq!(alarms(&fleet, "web"), 0, "until here it could be the machine in another case");
    fleet.agent("copy").stop();
    one_session(&mut fleet, "web");
    fleet.wait("machine/web", "condition=DuplicateKey");
    let found = duplicate(&fleet, "web");
    assert_eq!((&found["one"]["serial"], &found["other"]["serial"]), (&"S-COPY".into(), &"S-ORIGINAL".into()), "{found:#}");
    assert_eq!(found["how"], "TakingTurns", "{found:#}");
    for (side, name) in [("one", "copy"), ("other", "web")] {
        assert_eq!(found[side]["hostname"], format!("{name}-host"), "{found:#}");
        assert!(found[side]["bootId"].as_str().unwrap().starts_with("boot-S-"), "{found:#}");
        assert!(found[side]["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{found:#}");
    }
    let shown = fleet.stead(&["machine", "show", "web"]).ok();
    for word in ["TWO PRESENT THIS KEY", "S-COPY", "S-ORIGINAL", "copy-host", "web-host", "rotate-key web"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}

#[test]
fn two_at_two_coordinators_at_once_are_told_of() {
    let server = TempPostgres::start();
    let (home, url) = (Home::new(), server.url());
    Fleet::trust_two(&home, ["coordinator", "second"]);
    let mut fleet = Fleet::on_root(home, &["coordinator", "--state-dir", "coordinator", "--store", &url]);
    hardware(&fleet, "web", "S-ORIGINAL");
    fleet.join("web");
    let _second = fleet.start_second(&url);
    until("the coordinators know of one another", || {
        let status: serde_json::Value = serde_json::from_str(&fleet.stead(&["status", "-o", "json"]).ok()).unwrap();
        let there = status["coordinators"].as_array().unwrap().iter().filter(|coordinator| coordinator["there"] == true);
        (there.count() == 2).then_some(())
    });
    // The machine goes to and fro between them without an alarm.
    for _ in 0..4 {
        fleet.agent("web").stop();
        one_session(&mut fleet, "web");
    }
    assert_eq!(alarms(&fleet, "web"), 0);
    fleet.agent("web").stop();
    fleet.home.run("cp", &["-r", "web", "copy"]);
    hardware(&fleet, "copy", "S-COPY");
    fleet.start_agent("web");
    fleet.start_agent("copy");
    // One that is turned away by the one coordinator turns to the other, sooner or later.
    let told = until("both at once, at two coordinators", || {
        let events = fleet.list("events");
        let told = events.iter().filter(|event| event["reason"] == "DuplicateKey").filter_map(|event| event["message"].as_str());
        told.map(str::to_owned).find(|message| message.contains("two coordinators at once"))
    });
    assert!(told.contains("S-COPY") && told.contains("S-ORIGINAL"), "{told}");
}
