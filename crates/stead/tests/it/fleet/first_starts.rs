//! Killed while they start for the first time, coordinator and agents start the next time as if nothing had been.

use std::time::Duration;

use super::harness::{COORDINATOR, Fleet, file};
use crate::stead::Home;

/// How long after its start each is killed, in milliseconds: over all of what a first start does.
const KILLED_AFTER_MILLISECONDS: [u64; 12] = [0, 3, 6, 10, 15, 20, 30, 45, 60, 90, 150, 300];

#[test]
fn a_coordinator_killed_in_its_first_start_starts_again() {
    let home = Home::new();
    home.keygen(".ssh/id_ed25519", "");
    home.keygen("online", "");
    home.stead(&["trust", "init", "--online", "online.pub", "--out", "trust"]).ok();
    let words = [&COORDINATOR[..], &["--identity", "online"]].concat();
    let mut fleet = Fleet::on_root(home, &words);
    for after in KILLED_AFTER_MILLISECONDS {
        fleet.coordinator.as_mut().unwrap().stop();
        std::fs::remove_dir_all(fleet.home.path("coordinator")).unwrap();
        fleet.spawn_coordinator(&words);
        std::thread::sleep(Duration::from_millis(after));
        fleet.coordinator.as_mut().unwrap().kill();
        std::fs::create_dir_all(fleet.home.path("coordinator")).unwrap();
        fleet.start_coordinator_with(&words);
        let words = ["login", "--server", &fleet.server(), "--ca-file", "coordinator/tls/authority.crt", "--no-kubeconfig"];
        fleet.home.stead(&words).ok();
        fleet.apply("web", file("/motd", "one"));
        assert_eq!(fleet.list("trustroots").len(), 1, "killed after {after} ms");
    }
}

#[test]
fn a_machine_killed_while_it_joins_joins_once() {
    let mut fleet = Fleet::found();
    let ticket = fleet.stead(&["ticket", "create", "--delegate", "--machines", "50"]).ok();
    fleet.home.write("open.ticket", &ticket);
    fleet.apply("web", file("/motd", "one"));
    let mut names = Vec::new();
    for after in KILLED_AFTER_MILLISECONDS {
        let name = format!("m{after}");
        let words = ["--join", "@open.ticket", "--name", &name];
        fleet.start_agent_with(&name, &words);
        std::thread::sleep(Duration::from_millis(after));
        fleet.agent(&name).kill();
        fleet.start_agent_with(&name, &words);
        names.push(name);
    }
    for name in &names {
        super::harness::until("it has joined", || (fleet.stead(&["get", "machine", name]).code == 0).then_some(()));
        fleet.wait(&format!("machine/{name}"), "condition=Ready");
    }
    fleet.wait_converged("web", 1);
    fleet.wait("profile/web", &format!("status.converged={}", names.len()));
    assert_eq!(fleet.list("machines").len(), names.len());
    for name in &names {
        assert_eq!(fleet.file(name, "/motd").as_deref(), Some("one"), "{name}");
    }
}
