//! A coordinator and a machine that take an OpenSSH host key which is there already as their identity.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::harness::{COORDINATOR, Fleet, file, until};
use crate::stead::Home;

/// The 32 bytes of an ed25519 key, which end its blob (RFC 8709 section 4).
fn machine_key(public: &str) -> String {
    let blob = STANDARD.decode(public.split_whitespace().nth(1).unwrap()).unwrap();
    hex::encode(&blob[blob.len() - 32..])
}

#[test]
fn host_keys_are_identities() {
    let home = Home::new();
    for name in ["etc/coordinator", "etc/machine"] {
        home.keygen(name, "");
    }
    let words = [&COORDINATOR[..], &["--identity", "etc/coordinator"]].concat();
    let mut fleet = Fleet::found_in(home, &words);
    let ticket = fleet.stead(&["ticket", "create"]).ok();
    fleet.home.write("m1.ticket", &ticket);
    fleet.start_agent_with("m1", &["--identity", "etc/machine", "--join", "@m1.ticket", "--name", "m1"]);
    fleet.wait("enrollments", "status.phase=Pending");
    let enrollment = fleet.list("enrollments").remove(0);
    let key = machine_key(&fleet.home.read("etc/machine.pub"));
    assert_eq!(enrollment["spec"]["key"], key.as_str());
    let name = enrollment["metadata"]["name"].as_str().unwrap().to_owned();
    fleet.stead(&["approve", &name, "--label", "role=web", "-m", "its key is that of the host"]).ok();
    fleet.wait(&format!("enrollment/{name}"), "status.phase=Approved");
    fleet.wait("machine/m1", "condition=Ready");
    assert_eq!(fleet.get("machine/m1")["spec"]["key"], key.as_str());
    fleet.apply_and_wait("web", file("/motd", "one"));

    let root = fleet.stead(&["trust", "show", "trust/root.json"]).ok();
    let fingerprint = fleet.home.run("ssh-keygen", &["-lf", "etc/coordinator.pub"]);
    assert!(root.contains(fingerprint.split_whitespace().nth(1).unwrap()), "{root}");
    assert!(!fleet.home.path("coordinator/coordinator.key").exists());
    assert!(!fleet.home.path("m1/state/machine.key").exists());

    // Both are who they were after a restart, without the ticket. And a coordinator that was killed between an owner's answer and
    // the status that says so makes up for it.
    fleet.coordinator.as_mut().unwrap().stop();
    let unsaid = "UPDATE objects SET json = replace(json, '\"Approved\"', '\"Pending\"') WHERE kind LIKE 'Enrollment%'";
    fleet.home.run("sqlite3", &["coordinator/record.db", unsaid]);
    fleet.agent("m1").stop();
    fleet.start_coordinator_with(&words);
    fleet.start_agent_with("m1", &["--identity", "etc/machine"]);
    fleet.wait(&format!("enrollment/{name}"), "status.phase=Approved");
    fleet.apply_and_wait("web", file("/motd", "two"));
    assert_eq!(fleet.file("m1", "/motd").as_deref(), Some("two"));

    // Another key is not the machine whose memory it is.
    fleet.agent("m1").stop();
    fleet.home.keygen("etc/other", "");
    fleet.start_agent_with("m1", &["--identity", "etc/other"]);
    until("the agent ends", || (!fleet.agent("m1").is_running()).then_some(()));
    assert!(fleet.log("m1").contains("the memory is of the machine"), "{}", fleet.log("m1"));
}
