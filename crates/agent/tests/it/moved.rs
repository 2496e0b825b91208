//! A coordinator that moves: the session says where else it is, and the machine finds it there.

use std::net::{SocketAddr, UdpSocket};

use crate::fleet::{Centre, Fleet, Machine, World, file};

/// An address that nobody listens at.
fn free() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_machine_follows_its_coordinator_to_where_the_session_said_that_it_is() {
    let (old, new) = (free(), free());
    let fleet = Fleet::new(10);
    let centre = Centre::start_at(&fleet.online, fleet.id(), old, Some(new)).await;
    // The ticket was made before anybody thought of moving.
    let mut ticket = fleet.ticket(&centre);
    ticket.coordinators[0].addresses = vec![old];
    let World { fleet, centre, mut machine, .. } = World::join(fleet, centre, Machine::new(40)).await;
    machine.stop().await.unwrap();
    centre.stop().await;

    let mut centre = Centre::start_at(&fleet.online, fleet.id(), new, None).await;
    machine.start(Some(ticket));
    let hello = centre.joins(1).await;
    assert_eq!(hello.held.len(), 1, "the same machine, with its memory");
    centre.full(vec![], vec![fleet.put(&file("web-1", "/motd", "from there"), 1)]).await;
    centre.until("the acknowledgement", |seen| crate::fleet::has_word(&seen.status, "Profile/web-1", 1, "Applied")).await;
    assert_eq!(machine.read("/motd").as_deref(), Some("from there"));
    machine.stop().await.unwrap();
    centre.stop().await;
}
