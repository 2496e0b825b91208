//! Machines behind one router that hides them, and behind two.

use super::lab::Lab;
use super::party::Party;

#[test]
fn a_machine_behind_nat_is_reached_directly() {
    let lab = Lab::new();
    let (internet, centre, home) = (lab.switch("net"), lab.space("centre"), lab.space("home"));
    internet.plug(&centre, "eth0", "203.0.113.1/24");
    let router = lab.router("router", (&internet, "203.0.113.10/24"), "192.168.1.1/24");
    router.plug(&home, "eth0", "192.168.1.2/24");
    home.route_by("192.168.1.1");
    let mut party = Party::found(&centre, &[]);
    party.join(&home, "m");
    let path = party.until_path("m", "Direct");
    assert_eq!(path["machineSide"]["remote"], "203.0.113.1:6444", "{path:#}");
    let seen = path["coordinatorSide"]["remote"].as_str().unwrap();
    assert!(seen.starts_with("203.0.113.10:"), "the coordinator sees the router: {path:#}");
    eprintln!("behind NAT: a change took {:?}", party.send(&["m"]));

    // Of one that is off line it is told what was last.
    party.stop_agent("m");
    let path = party.until("it is off line", || Some(party.path("m")).filter(|path| path["connected"] == false));
    assert!(path["coordinatorSide"].is_null() && path["lastSeen"].is_string(), "{path:#}");
    assert_eq!(path["machineSide"]["remote"], "203.0.113.1:6444", "{path:#}");
    let shown = party.stead(&["machine", "path", "m"]).ok();
    assert!(shown.contains("off line, last seen") && shown.contains("As the machine says, last:"), "{shown}");
    party.stead(&["machine", "path", "nobody"]).fails(3);
    let metrics = party.stead(&["status", "-o", "json"]).ok();
    assert!(metrics.contains("\"relayed\""), "{metrics}");
}

#[test]
fn a_machine_behind_two_nats_is_reached_directly() {
    let lab = Lab::new();
    let (internet, centre, home) = (lab.switch("net"), lab.space("centre"), lab.space("home"));
    internet.plug(&centre, "eth0", "203.0.113.1/24");
    let carrier = lab.router("carrier", (&internet, "203.0.113.10/24"), "100.64.0.1/24");
    let router = lab.router("router", (&carrier, "100.64.0.2/24"), "192.168.1.1/24");
    router.route_by("100.64.0.1");
    router.plug(&home, "eth0", "192.168.1.2/24");
    home.route_by("192.168.1.1");
    let mut party = Party::found(&centre, &[]);
    party.join(&home, "m");
    let path = party.until_path("m", "Direct");
    assert!(path["coordinatorSide"]["remote"].as_str().unwrap().starts_with("203.0.113.10:"), "{path:#}");
    eprintln!("behind two NATs: a change took {:?}", party.send(&["m"]));
}
