//! Both ends over real iroh on loopback: directly, and through the relay only.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use stead_wire::*;

use crate::fleet::{Centre, Door, Machine, state};

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn bind(secret: u8, relays: Vec<RelayAddress>, relay_only: bool) -> Arc<IrohTransport> {
    let config = IrohConfig { secret_key: [secret; 32], bind: vec![loopback()], relay_only, relays, local: LocalLookup::Off };
    Arc::new(IrohTransport::bind(config).await.unwrap())
}

async fn exchange(centre: &mut Centre, machine: &mut Machine, key: PeerKey) {
    machine.connected().await;
    assert_eq!(centre.joined().await.0, key);
    let large = State { bundles: (0..30u8).map(|index| Bytes::from(vec![index; 100 << 10])).collect(), ..state(0, 5, b"") };
    centre.handle.send_state(key, large.clone()).unwrap();
    assert_eq!(machine.state().await.bundles, large.bundles);
    for index in 0..300 {
        machine.outbox.push(Bytes::from(format!("event {index}")));
    }
    machine.handle.outbox_changed().await.unwrap();
    assert_eq!(centre.collect(300).await[&key].len(), 300);
    let (answer, _) =
        tokio::join!(centre.handle.request_plan(key, Bytes::from_static(b"what if"), Duration::from_secs(60)), async {
            let (id, body) = machine
                .until(|event| match event {
                    AgentEvent::Plan { id, body } => Some((id, body)),
                    _ => None,
                })
                .await;
            machine.handle.answer_plan(id, body).await.unwrap();
        });
    assert_eq!(answer.unwrap(), "what if");
}

#[tokio::test]
async fn directly() {
    let (here, there) = (bind(1, Vec::new(), false).await, bind(2, Vec::new(), false).await);
    let mut centre = Centre::start(here.clone(), Door::open());
    let address = PeerAddress { key: here.local_key(), addresses: here.bound_addresses(), relay: None };
    let mut machine = Machine::start(there.clone(), vec![address.clone()], 1, None);
    exchange(&mut centre, &mut machine, there.local_key()).await;

    // Whoever answers at the right address with the wrong key is nobody.
    let elsewhere = bind(3, Vec::new(), false).await;
    let wrong = PeerAddress { key: elsewhere.local_key(), ..address };
    assert!(there.connect(&wrong).await.is_err());

    centre.handle.disconnect(there.local_key(), "go away");
    assert!(machine.disconnected().await.contains("go away"));
    machine.handle.close().await.unwrap();
    for transport in [here, there, elsewhere] {
        transport.close().await;
    }
}

#[tokio::test]
async fn through_the_relay_only() {
    let token = relay_token(b"the pass");
    let access: RelayAccess = Arc::new(move |_, shown| shown == Some(&token));
    let relay = Relay::spawn(loopback(), access, RelayLimits::default()).await.unwrap();
    let relays = |pass: &[u8]| vec![RelayAddress { url: relay.url(), token: Some(relay_token(pass)) }];
    let here = bind(1, relays(b"the pass"), true).await;
    let there = bind(2, relays(b"the pass"), true).await;
    here.online().await;
    let mut centre = Centre::start(here.clone(), Door::open());
    let address = here.address();
    assert!(address.addresses.is_empty() && address.relay.is_some(), "{address:?}");
    let mut machine = Machine::start(there.clone(), vec![address.clone()], 1, None);
    exchange(&mut centre, &mut machine, there.local_key()).await;
    machine.handle.close().await.unwrap();

    let stranger = bind(3, relays(b"a guess"), true).await;
    let reached = tokio::time::timeout(Duration::from_secs(3), stranger.connect(&address)).await;
    assert!(!matches!(reached, Ok(Ok(_))), "the relay let a stranger through");
    for transport in [here, there, stranger] {
        transport.close().await;
    }
    assert_eq!((relay.counters().established, relay.counters().refused(RelayRefusal::NotMember) > 0), (0, true));
    relay.stop().await;
}
