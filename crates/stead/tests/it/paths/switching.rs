//! Ways that die, and machines that move: what was under way goes on by another one.

use super::lab::{Lab, Space};
use super::party::Party;

/// A machine behind a router, and a coordinator with its own relay outside.
fn behind_a_router(lab: &Lab) -> (Space, Space, Space) {
    let (internet, centre, home) = (lab.switch("net"), lab.space("centre"), lab.space("home"));
    internet.plug(&centre, "eth0", "203.0.113.1/24");
    let router = lab.router("router", (&internet, "203.0.113.10/24"), "192.168.1.1/24");
    router.plug(&home, "eth0", "192.168.1.2/24");
    home.route_by("192.168.1.1");
    (centre, home, router)
}

#[test]
fn a_direct_path_that_dies_is_left_for_the_relay() {
    let lab = Lab::new();
    let (centre, home, router) = behind_a_router(&lab);
    let mut party = Party::found(&centre, &[]);
    party.join(&home, "m");
    party.until_path("m", "Direct");
    party.send(&["m"]);
    let before = party.log("m").len();
    router.drop_udp();
    let took = party.send(&["m"]);
    eprintln!("the direct path died: a change took {took:?}");
    party.until_said("m", "nothing comes back by", before);
    let path = party.until_path("m", "Relayed");
    assert_eq!(path["machineSide"]["remote"], "http://203.0.113.1:6445/", "{path:#}");
    let tried = path["machineSide"]["tried"].as_array().unwrap();
    assert!(tried.iter().any(|tried| tried["remote"] == "203.0.113.1:6444" && tried["result"] != "InUse"), "{path:#}");
    // The direct path is preferred again once it works.
    router.pass_udp();
    party.until_path("m", "Direct");
}

#[test]
fn a_machine_that_changes_its_uplink_goes_on() {
    let lab = Lab::new();
    let (internet, centre, laptop) = (lab.switch("net"), lab.space("centre"), lab.space("laptop"));
    internet.plug(&centre, "eth0", "203.0.113.1/24");
    let cable = lab.router("cable", (&internet, "203.0.113.10/24"), "192.168.1.1/24");
    let radio = lab.router("radio", (&internet, "203.0.113.20/24"), "192.168.2.1/24");
    cable.plug(&laptop, "eth0", "192.168.1.2/24");
    radio.plug(&laptop, "wlan0", "192.168.2.2/24");
    laptop.route_by("192.168.1.1");
    laptop.ip("link set wlan0 down");
    let mut party = Party::found(&centre, &[]);
    party.join(&laptop, "m");
    party.until_path("m", "Direct");
    party.send(&["m"]);
    for (down, up, router, address) in
        [("eth0", "wlan0", "192.168.2.1", "203.0.113.20:"), ("wlan0", "eth0", "192.168.1.1", "203.0.113.10:")]
    {
        laptop.ip(&format!("link set {down} down"));
        laptop.ip(&format!("link set {up} up"));
        laptop.route_by(router);
        eprintln!("another uplink: a change took {:?}", party.send(&["m"]));
        party.until("the coordinator sees the other router", || {
            let path = party.path("m");
            path["coordinatorSide"]["remote"].as_str().is_some_and(|remote| remote.starts_with(address)).then_some(())
        });
    }
}
