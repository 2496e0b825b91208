//! A network with no way out: no default route, no name server, nobody but the fleet.

use super::lab::{Lab, Space};
use super::party::Party;

fn network(lab: &Lab) -> (Space, Space, Space) {
    let (switch, centre, machine) = (lab.switch("net"), lab.space("centre"), lab.space("machine"));
    switch.plug(&centre, "eth0", "10.9.0.1/24");
    switch.plug(&machine, "eth0", "10.9.0.2/24");
    (switch, centre, machine)
}

#[test]
fn an_isolated_network_is_enough() {
    let lab = Lab::new();
    let (_switch, centre, machine) = network(&lab);
    let mut party = Party::found(&centre, &[]);
    party.join(&machine, "m");
    party.until_path("m", "Direct");
    eprintln!("isolated: a change took {:?}", party.send(&["m"]));
}

#[test]
fn a_coordinator_that_moved_is_found_on_the_local_network() {
    let lab = Lab::new();
    let (_switch, centre, machine) = network(&lab);
    let mut party = Party::found(&centre, &[]);
    party.join(&machine, "m");
    party.send(&["m"]);
    // It moves while the machine is off: nobody tells the machine where to.
    party.stop_agent("m");
    party.stop_coordinator();
    centre.ip("addr flush dev eth0");
    centre.ip("addr add 10.9.0.77/24 dev eth0");
    party.start_coordinator(&[]);
    party.sign();
    party.start_agent(&machine, "m", &[]);
    party.arrived("m");
    let path = party.until_path("m", "Direct");
    assert_eq!(path["machineSide"]["remote"], "10.9.0.77:6444", "{path:#}");
    assert!(party.log("m").contains("found on the local network"), "{}", party.log("m"));
}

#[test]
fn a_machine_that_was_told_not_to_look_finds_nobody() {
    let lab = Lab::new();
    let (_switch, centre, machine) = network(&lab);
    let mut party = Party::found(&centre, &[]);
    party.join(&machine, "m");
    party.stop_agent("m");
    party.stop_coordinator();
    centre.ip("addr flush dev eth0");
    centre.ip("addr add 10.9.0.77/24 dev eth0");
    party.start_coordinator(&["--no-mdns"]);
    let before = party.log("m").len();
    party.start_agent(&machine, "m", &[]);
    // One whole try, which asks for longer than a coordinator takes to answer.
    party.until_said("m", "not connected", before);
    assert!(!party.log("m").contains("found on the local network"), "{}", party.log("m"));
}
