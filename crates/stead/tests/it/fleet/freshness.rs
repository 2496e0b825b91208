//! Owners who say that they are there, and machines that notice when they don't.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use stead_trust::{Root, SignedRoot, SigningKey};

use super::harness::{COORDINATOR, Fleet, file, until};
use crate::stead::Home;

/// Days between two words of the owners, and the age of the trust root.
const EVERY_DAYS: u32 = 7;
const ROOT_AGE_HOURS: i64 = 24 * 10;

/// A fleet whose trust root is older than its owners may be silent.
fn found_long_ago() -> Fleet {
    let home = Home::new();
    home.keygen(".ssh/id_ed25519", "");
    let online = home.stead(&[COORDINATOR.as_slice(), &["--print-key"]].concat()).ok();
    let owner = SigningKey::from_openssh(&home.read(".ssh/id_ed25519"), None).unwrap();
    let made = Timestamp::now() - SignedDuration::from_hours(ROOT_AGE_HOURS);
    let public = |text: &str| text.split_whitespace().take(2).collect::<Vec<_>>().join(" ").parse().unwrap();
    let mut root = Root::default_for(vec![public(&home.read(".ssh/id_ed25519.pub"))], vec![public(&online)], made);
    root.expiry.freshness_days = Some(EVERY_DAYS);
    let signed = SignedRoot::sign(&root, &[&owner]).unwrap();
    home.write("trust/root.json", &serde_json::to_string(&signed).unwrap());
    Fleet::on_root(home, &COORDINATOR)
}

fn stale(fleet: &Fleet, name: &str) -> Value {
    let machine = fleet.get(&format!("machine/{name}"));
    let conditions = machine["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == "Stale").cloned().unwrap_or_default()
}

#[test]
fn a_machine_that_hears_of_no_owner_says_so_and_goes_on() {
    let mut fleet = found_long_ago();
    fleet.join("m1");
    fleet.wait("machine/m1", "condition=Stale");
    let condition = stale(&fleet, "m1");
    assert_eq!(condition["reason"], "Overdue", "{condition}");
    assert!(condition["message"].as_str().unwrap().contains("10 days ago"), "{condition}");
    // It goes on converging all the same.
    fleet.apply_and_wait("web", file("/web", "as signed"));
    let status = fleet.stead(&["status"]).ok();
    assert!(status.contains("every 7 days: OVERDUE") && status.contains("1 stale"), "{status}");
    let listed = fleet.stead(&["get", "machines", "--field-selector", "status.conditions.Stale=True", "-o", "name"]).ok();
    assert_eq!(listed.trim(), "machine.stead.dev/m1");

    let said = fleet.stead(&["trust", "fresh"]).ok();
    assert!(said.contains("within 7 days"), "{said}");
    fleet.wait("machine/m1", "condition=Stale=False");
    assert_eq!(stale(&fleet, "m1")["reason"], "Fresh");
    let shown = fleet.stead(&["trust", "show"]).ok();
    assert!(shown.contains("Owners say every 7 days") && shown.contains("They last said so at"), "{shown}");
    // What it heard is on its disk: it knows it again with nobody there to tell it.
    fleet.coordinator.as_mut().unwrap().kill();
    fleet.agent("m1").kill();
    fleet.start_agent("m1");
    until("the agent runs", || fleet.log("m1").matches("the agent runs").nth(1).map(drop));
    fleet.start_coordinator();
    fleet.wait("machine/m1", "condition=Stale=False");
    assert!(fleet.stead(&["status"]).ok().contains("said that they are there"), "the record keeps it");

    // Nobody but an owner, and nothing older than what is known.
    fleet.home.keygen(".ssh/other", "");
    let other = fleet.home.arg(".ssh/other");
    assert_ne!(fleet.stead(&["trust", "fresh", "--key", &other]).code, 0);
}

/// A coordinator that keeps a newer trust root back is told by the owners' word, which names it.
#[test]
fn a_word_of_a_trust_root_that_did_not_come_is_told() {
    let mut fleet = found_long_ago();
    fleet.join("m1");
    let owner = SigningKey::from_openssh(&fleet.home.read(".ssh/id_ed25519"), None).unwrap();
    let trust: Value = serde_json::from_str(&fleet.stead(&["get", "trustroot/v1", "-o", "json"]).ok()).unwrap();
    let fleet_id = trust["status"]["digest"].as_str().unwrap().parse().unwrap();
    let signed = stead_trust::SignedFreshness::sign(fleet_id, 2, Timestamp::now(), &owner).unwrap();
    let lease = serde_json::json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": "freshness", "namespace": "stead-system",
            "annotations": {"stead.dev/freshness": serde_json::to_string(&signed).unwrap()},
        },
    });
    fleet.home.write("lease.json", &lease.to_string());
    let kubectl = &super::kubectl::kubectls()[1].1;
    let mut command = fleet.home.command(kubectl);
    let output = command.args(["apply", "-f", "lease.json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    until("the machine notices", || {
        std::thread::sleep(Duration::from_millis(50));
        (stale(&fleet, "m1")["reason"] == "RootKeptBack").then_some(())
    });
}
