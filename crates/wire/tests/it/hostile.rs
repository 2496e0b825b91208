//! Peers that do not keep to the protocol: bounded, refused, counted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use stead_wire::*;
use tokio::io::AsyncWriteExt;

use crate::fleet::{Centre, Door, FLEET, at};

const CENTRE: PeerKey = PeerKey([1; 32]);

/// Connects as `key`, lets `act` misbehave, and gives what the coordinator said last.
async fn misbehave(network: &MemoryNetwork, key: u8, bytes: Vec<u8>, patience: Duration) -> Vec<ToAgent> {
    let transport = network.endpoint(PeerKey([key; 32]));
    let connection = transport.connect(&at(CENTRE)).await.unwrap();
    let (mut send, receive) = connection.open_stream().await.unwrap();
    send.write_all(&bytes).await.unwrap();
    let mut receiver: FrameReceiver<_, ToAgent> = FrameReceiver::new(receive, FRAME_BYTES_MAX_DOWN);
    let mut said = Vec::new();
    let listen = async {
        while let Ok(Some(message)) = receiver.receive().await {
            said.push(message);
        }
    };
    tokio::time::timeout(patience, async {
        tokio::select! { () = listen => {}, _ = connection.closed() => {} }
    })
    .await
    .expect("the coordinator must end this session");
    said
}

fn frame(message: &ToCoordinator) -> Vec<u8> {
    stead_wire::frame::encode(message, usize::MAX).unwrap().to_vec()
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_misbehaviour_is_refused_and_counted() {
    let network = MemoryNetwork::new();
    let centre = Centre::start(Arc::new(network.endpoint(CENTRE)), Door::open());
    let hello = |change: fn(&mut Hello)| {
        let mut hello = Hello::new(FLEET, [1; 16]);
        change(&mut hello);
        frame(&ToCoordinator::Hello(hello))
    };
    let held = |hello: &mut Hello| {
        let one = Held { kind: "K".into(), namespace: String::new(), name: "n".into(), sequence: 1 };
        hello.held = vec![one; HELD_MAX + 1];
    };
    let join = ToCoordinator::Join(Join { pass: Bytes::new(), hostname: String::new(), delegated: None, facts: Bytes::new() });
    let cases: Vec<(Refusal, Vec<u8>)> = vec![
        (Refusal::Silent, Vec::new()),
        (Refusal::Silent, vec![10, 0, 0, 0, 1]),
        (Refusal::Oversized, vec![0xff, 0xff, 0xff, 0xff]),
        (Refusal::Garbage, [&[4, 0, 0, 0][..], b"\xff\xff\xff\xff"].concat()),
        (Refusal::Garbage, vec![0, 0, 0, 0]),
        (Refusal::OutOfTurn, frame(&ToCoordinator::Beat { sent_at_milliseconds: 1 })),
        (Refusal::OutOfTurn, frame(&join)),
        (Refusal::OutOfTurn, [hello(|_| {}), hello(|_| {})].concat()),
        (Refusal::OtherFleet, hello(|hello| hello.fleet = [8; 32])),
        (Refusal::HelloTooLong, hello(held)),
    ];
    for (index, (refusal, bytes)) in cases.into_iter().enumerate() {
        let before = centre.handle.counters().refused(refusal);
        let said = misbehave(&network, 100 + index as u8, bytes, Duration::from_secs(60)).await;
        assert_eq!(centre.handle.counters().refused(refusal), before + 1, "case {index}: {refusal:?}");
        assert!(matches!(said.last(), None | Some(ToAgent::Refused { .. })), "case {index}: {said:?}");
    }
    // A machine that is let in and then says nothing.
    let said = misbehave(&network, 90, hello(|_| {}), Duration::from_secs(600)).await;
    assert!(matches!(said.first(), Some(ToAgent::Welcome { .. })));
    assert_eq!(centre.handle.counters().refused(Refusal::Silent), 3);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(centre.handle.counters().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn strangers_take_no_room_from_members() {
    let network = MemoryNetwork::new();
    let door = Door::default();
    let member = PeerKey([0xee; 32]);
    door.members.lock().unwrap().insert(member);
    let mut centre = Centre::start(Arc::new(network.endpoint(CENTRE)), door);
    let mut held = Vec::new();
    for index in 0..UNKNOWN_SESSIONS_MAX + 50 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&(index as u64).to_le_bytes());
        key[31] = 1;
        let transport = network.endpoint(PeerKey(key));
        let connection = transport.connect(&at(CENTRE)).await.unwrap();
        let stream = connection.open_stream().await.unwrap();
        held.push((connection, stream));
        tokio::task::yield_now().await;
    }
    let mut machine = crate::fleet::Machine::start(Arc::new(network.endpoint(member)), vec![at(CENTRE)], 1, None);
    machine.connected().await;
    assert_eq!(centre.joined().await.0, member);
    assert!(centre.handle.counters().refused(Refusal::TooManyUnknown) >= 1);
    // The silent strangers are cut off in time.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(centre.handle.counters().sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn an_agent_leaves_a_coordinator_that_talks_nonsense() {
    let network = MemoryNetwork::new();
    let liar = network.endpoint(CENTRE);
    let mut machine = crate::fleet::Machine::start(Arc::new(network.endpoint(PeerKey([2; 32]))), vec![at(CENTRE)], 1, None);
    for (bytes, expected) in [
        (vec![0xff; 16], "over the limit"),
        (vec![2, 0, 0, 0, 0xff, 0xff], "no message of this protocol version"),
        (stead_wire::frame::encode(&ToAgent::Ping { nonce: 1 }, 100).unwrap().to_vec(), "before it let us in"),
    ] {
        let connection = liar.accept().await.unwrap();
        let (mut send, _receive) = connection.accept_stream().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        let reason = machine.disconnected().await;
        assert!(reason.contains(expected), "{reason}");
    }
}
