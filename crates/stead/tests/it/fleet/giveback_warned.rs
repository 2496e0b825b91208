//! Whoever writes while a restored record still waits for machines is told so, on standard error, before and not as a failure.

use std::process::Stdio;

use serde_json::{Value, json};

use super::backups::{back_up, stead};
use super::harness::{Fleet, file, until};
use super::kubectl::kubectls;
use super::proxy;
use crate::stead::Ended;

const WARNING: &str = "Warning: the restored record still waits for what 1 machine holds: it may hold";

/// A fleet whose record was put back to before the profile `web` was changed, with one of two machines that has not come back.
fn restored() -> Fleet {
    let mut fleet = Fleet::with_machines(&["m1", "away"]);
    fleet.apply_and_wait("web", file("/web", "before"));
    back_up(&fleet, &[]);
    fleet.apply_and_wait("web", file("/web", "after"));
    fleet.agent("away").stop();
    fleet.coordinator.as_mut().unwrap().kill();
    stead(&fleet, &["restore", "--from", "coordinator/backups", "--yes"]).ok();
    fleet.start_coordinator();
    until("what m1 holds", || (machines_not_yet(&fleet) == 1).then_some(()));
    fleet
}

fn machines_not_yet(fleet: &Fleet) -> u64 {
    let status: Value = serde_json::from_str(&fleet.stead(&["status", "-o", "json"]).ok()).unwrap();
    status["restored"]["machinesNotYet"].as_u64().unwrap()
}

/// What it says once on standard error, beside what it does.
#[track_caller]
fn warned(ended: &Ended, code: i32) {
    assert_eq!(ended.code, code, "{ended:#?}");
    assert_eq!(ended.stderr.matches("Warning:").count(), 1, "{ended:#?}");
    assert!(ended.stderr.contains(WARNING) && ended.stderr.contains("`stead restore status` lists them"), "{ended:#?}");
    assert!(!ended.stdout.contains("Warning"), "{ended:#?}");
}

#[track_caller]
fn not_warned(ended: &Ended) {
    assert!(ended.code == 0 && !ended.stderr.contains("Warning"), "{ended:#?}");
}

#[test]
fn who_changes_what_a_machine_may_hold_is_warned_until_it_has_come() {
    let mut fleet = restored();
    let manifest = fleet.manifest("web", file("/web", "changed"));
    warned(&fleet.stead(&["diff", "-f", &manifest]), 7);
    warned(&fleet.stead(&["apply", "-f", &manifest, "--dry-run"]), 7);
    let applied = fleet.stead(&["apply", "-f", &manifest, "-o", "json"]);
    warned(&applied, 0);
    let change: Value = serde_json::from_str(&applied.stdout).unwrap();
    assert_eq!(change["kind"], "Change");
    // Nothing is signed, so that nothing can meet anything.
    not_warned(&fleet.stead(&["apply", "-f", &manifest]));
    warned(&fleet.stead(&["undo", "latest"]), 0);
    warned(&fleet.stead(&["propose", "-f", &manifest, "-m", "by others, too"]), 0);
    warned(&fleet.stead(&["delete", "machine", "away", "--dry-run"]), 7);

    // What no machine holds that has not come back, and what is only looked at.
    not_warned(&fleet.stead(&["log", "profile/web"]));
    not_warned(&fleet.stead(&["status", "-o", "json"]));
    let tenant = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant"}});
    fleet.home.write("tenant.json", &tenant.to_string());
    not_warned(&fleet.stead(&["apply", "-f", "tenant.json"]));
    let status = fleet.stead(&["status"]).ok();
    assert!(
        status.contains("1 machine has not given back yet what it holds, and a change may have to be signed again"),
        "{status}"
    );

    through_a_proxy(&fleet);
    fleet.home.keygen("second", "");
    let rotated = fleet.stead(&["trust", "rotate", "--add-key", "second.pub"]);
    warned(&rotated, 0);
    assert!(rotated.stderr.contains("another trust root with this version"), "{rotated:#?}");

    fleet.start_agent("away");
    until("the last machine", || (machines_not_yet(&fleet) == 0).then_some(()));
    not_warned(&fleet.apply_with("web", file("/web", "settled"), &[]));
    assert!(!fleet.stead(&["status"]).ok().contains("given back"));
}

/// kubectl prints what the coordinator warned of when the proxy signed.
fn through_a_proxy(fleet: &Fleet) {
    let (mut proxy, _) = proxy::start(fleet, &[], Stdio::null());
    for (name, program) in kubectls() {
        let manifest = fleet.manifest("web", file("/web", name));
        let mut command = fleet.home.command(program);
        command.args(["apply", "-f", &manifest]).env("KUBECONFIG", fleet.home.arg(proxy::KUBECONFIG)).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        // An old kubectl leaves a word of its own about an object that it did not make.
        assert_eq!(said.matches(WARNING).count(), 1, "{name}: {said}");
    }
    assert!(proxy.stop().success());
}
