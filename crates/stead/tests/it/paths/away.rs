//! No way but through a relay.

use super::lab::{Lab, Space};
use super::party::Party;

#[test]
fn a_machine_that_udp_does_not_reach_is_reached_through_the_relay() {
    let lab = Lab::new();
    let (internet, centre, home) = (lab.switch("net"), lab.space("centre"), lab.space("home"));
    internet.plug(&centre, "eth0", "203.0.113.1/24");
    let router = lab.router("router", (&internet, "203.0.113.10/24"), "192.168.1.1/24");
    router.plug(&home, "eth0", "192.168.1.2/24");
    home.route_by("192.168.1.1");
    router.drop_udp();
    let mut party = Party::found(&centre, &[]);
    party.join(&home, "m");
    party.until_path("m", "Relayed");
    eprintln!("relay only: a change took {:?}", party.send(&["m"]));
}

/// Two networks that share nothing but a host between them, which forwards nothing. It has an address that both know a way to.
fn apart(lab: &Lab) -> (Space, Space, Space) {
    let (left, right) = (lab.switch("left"), lab.switch("right"));
    let (centre, between, machine) = (lab.space("centre"), lab.space("between"), lab.space("machine"));
    left.plug(&centre, "eth0", "10.1.0.1/24");
    left.plug(&between, "left0", "10.1.0.9/24");
    right.plug(&between, "right0", "10.2.0.9/24");
    right.plug(&machine, "eth0", "10.2.0.2/24");
    between.ip("addr add 198.51.100.9/32 dev lo");
    centre.ip("route add 198.51.100.9 via 10.1.0.9");
    machine.ip("route add 198.51.100.9 via 10.2.0.9");
    (centre, between, machine)
}

/// Starts a relay that runs alone.
fn relay(party: &mut Party, space: &Space) -> (usize, String) {
    party.start_other(space, "relay", &["relay", "--state-dir", "relay"])
}

const URL: &str = "http://198.51.100.9:6445";

#[test]
fn two_networks_meet_at_a_relay_that_runs_alone() {
    let lab = Lab::new();
    let (centre, between, machine) = apart(&lab);
    let mut party = Party::prepared(&centre);
    let (index, ready) = relay(&mut party, &between);
    assert!(ready.contains("root=0 members=0"), "{ready}");
    let ready = party.start_coordinator(&["--relay", URL]);
    assert!(ready.contains(&format!("relay={URL}")), "{ready}");
    party.login();
    party.join(&machine, "m");
    let path = party.until_path("m", "Relayed");
    assert_eq!(path["machineSide"]["remote"], format!("{URL}/"), "{path:#}");
    eprintln!("through a relay alone: a change took {:?}", party.send(&["m"]));

    // The relay knows the member by now, and keeps it: it is started again while no coordinator is there.
    party.until("the relay has a roll with the machine", || {
        party.stead(&["relay", "status", URL]).ok().contains("1 members").then_some(())
    });
    assert!(party.stead(&["status"]).ok().contains("admits 1 members"), "{}", party.stead(&["status"]).ok());
    party.stop_coordinator();
    assert_eq!(party.stop_other(index), Some(0), "it stops in order");
    let (_, ready) = relay(&mut party, &between);
    assert!(ready.contains("root=1 members=1"), "{ready}");
    let before = party.log("m").len();
    party.start_coordinator(&["--relay", URL]);
    party.until_said("m", "connected coordinator", before);
    party.send(&["m"]);
}

#[test]
fn who_is_a_member_no_more_is_cut_off_at_the_relay() {
    let lab = Lab::new();
    let (centre, between, machine) = apart(&lab);
    let mut party = Party::prepared(&centre);
    relay(&mut party, &between);
    party.start_coordinator(&["--relay", URL]);
    party.login();
    party.join(&machine, "m");
    party.until_path("m", "Relayed");
    // The ticket that it came with is good no more either, so that nothing but its membership lets it in.
    party.stop_coordinator();
    std::fs::remove_file(party.home.path("coordinator/join.pass")).unwrap();
    party.start_coordinator(&["--relay", URL]);
    party.send(&["m"]);
    party.stead(&["delete", "machine", "m"]).ok();
    party.until_said("relay", "no member any more", 0);
    party.until_said("relay", "refused at the relay", 0);
}

#[test]
fn a_relay_takes_no_fleets_word_but_its_own() {
    let lab = Lab::new();
    let (centre, between, _) = apart(&lab);
    let (mut party, mut strangers) = (Party::prepared(&centre), Party::prepared(&centre));
    relay(&mut party, &between);
    strangers.start_coordinator(&["--relay", URL]);
    strangers.until_said("coordinator", "the relay serves the fleet", 0);
    strangers.login();
    assert!(strangers.stead(&["status"]).ok().contains("not told whom to admit"), "{}", strangers.stead(&["status"]).ok());
    strangers.stop_coordinator();
    let told = party.stead(&["relay", "status", "http://198.51.100.9:1"]).fails(8);
    assert!(told.contains("cannot be reached"), "{told}");
}

/// A coordinator behind a router that lets nothing in; a relay and a machine outside.
fn hidden(lab: &Lab) -> (Space, Space, Space) {
    let internet = lab.switch("net");
    let (relay, centre) = (lab.space("relay"), lab.space("centre"));
    internet.plug(&relay, "eth0", "203.0.113.5/24");
    let router = lab.router("office", (&internet, "203.0.113.10/24"), "192.168.1.1/24");
    router.plug(&centre, "eth0", "192.168.1.2/24");
    centre.route_by("192.168.1.1");
    (internet, relay, centre)
}

#[test]
fn a_coordinator_behind_nat_is_found_through_a_relay_and_then_reached_directly() {
    let lab = Lab::new();
    let (internet, outside, centre) = hidden(&lab);
    let machine = lab.space("machine");
    internet.plug(&machine, "eth0", "203.0.113.50/24");
    let mut party = Party::prepared(&centre);
    relay(&mut party, &outside);
    party.start_coordinator(&["--relay", "http://203.0.113.5:6445"]);
    party.login();
    party.join(&machine, "m");
    eprintln!("a coordinator behind NAT: a change took {:?}", party.send(&["m"]));
    let path = party.until_path("m", "Direct");
    assert!(path["machineSide"]["remote"].as_str().unwrap().starts_with("203.0.113.10:"), "{path:#}");
    let tried = path["machineSide"]["tried"].as_array().unwrap();
    assert!(tried.iter().any(|tried| tried["kind"] == "Relayed" && tried["result"] == "Ready"), "{path:#}");
    party.send(&["m"]);
}

#[test]
fn a_coordinator_and_a_machine_behind_nat_meet_at_the_relay() {
    let lab = Lab::new();
    let (internet, outside, centre) = hidden(&lab);
    let (home, machine) = (lab.router("home", (&internet, "203.0.113.20/24"), "192.168.2.1/24"), lab.space("machine"));
    home.plug(&machine, "eth0", "192.168.2.2/24");
    machine.route_by("192.168.2.1");
    let mut party = Party::prepared(&centre);
    relay(&mut party, &outside);
    party.start_coordinator(&["--relay", "http://203.0.113.5:6445"]);
    party.login();
    party.join(&machine, "m");
    eprintln!("both behind NAT: a change took {:?}", party.send(&["m"]));
    let path = party.path("m");
    assert!(path["connected"].as_bool().unwrap() && path["machineSide"]["kind"].is_string(), "{path:#}");
}
