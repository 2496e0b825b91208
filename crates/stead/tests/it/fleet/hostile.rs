//! Peers that do not keep to the protocol, at a real coordinator over the real transport: refused, counted, shown, and never in the record.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use stead_model::{Digest, GroupKind, ObjectKey};
use stead_trust::{Ack, Outcome, SignedAck, SigningKey};
use stead_wire::{
    Connection as _, FRAME_BYTES_MAX_DOWN, FRAME_BYTES_MAX_UP, FrameReceiver, FrameSender, Hello, IrohConfig, IrohConnection,
    IrohTransport, Join, OutboxItem, PeerAddress, Ticket, ToAgent, ToCoordinator, Transport as _,
};
use tokio::runtime::Runtime;

use super::harness::{Fleet, until};

/// Long enough for a busy machine; nothing is judged by it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A peer that says what it likes.
struct Peer {
    send: FrameSender<<IrohConnection as stead_wire::Connection>::Send, ToCoordinator>,
    receive: FrameReceiver<<IrohConnection as stead_wire::Connection>::Receive, ToAgent>,
    // Dropped last: it carries the two.
    _connection: IrohConnection,
    transport: IrohTransport,
}

impl Peer {
    async fn connect(key: &SigningKey, address: &PeerAddress) -> Self {
        let bind = vec!["127.0.0.1:0".parse().unwrap()];
        let config = IrohConfig { secret_key: *key.seed().unwrap(), bind, ..IrohConfig::default() };
        let transport = IrohTransport::bind(config).await.unwrap();
        let connection = transport.connect(address).await.unwrap();
        let (send, receive) = connection.open_stream().await.unwrap();
        let send = FrameSender::new(send, FRAME_BYTES_MAX_UP);
        Self { send, receive: FrameReceiver::new(receive, FRAME_BYTES_MAX_DOWN), _connection: connection, transport }
    }

    async fn say(&mut self, message: ToCoordinator) {
        self.send.send(&message).await.unwrap();
    }

    /// The next message that is wanted.
    async fn hear<T>(&mut self, wanted: impl Fn(ToAgent) -> Option<T>) -> T {
        let hear = async {
            loop {
                let message = self.receive.receive().await.unwrap().unwrap();
                if let Some(found) = wanted(message) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, hear).await.unwrap()
    }

    async fn refused(&mut self) -> String {
        self.hear(|message| if let ToAgent::Refused { reason } = message { Some(reason) } else { None }).await
    }

    async fn leave(self) {
        self.transport.close().await;
    }
}

fn refusals(fleet: &Fleet) -> Value {
    let status: Value = serde_json::from_str(&fleet.stead(&["status", "-o", "json"]).ok()).unwrap();
    status["ports"]["machines"]["refused"].clone()
}

fn count(fleet: &Fleet, words: &str) -> u64 {
    refusals(fleet)[words].as_u64().unwrap_or(0)
}

fn ticket(fleet: &Fleet) -> Ticket {
    fleet.stead(&["ticket", "create"]).ok().trim().parse().unwrap()
}

fn key_of(fleet: &Fleet, machine: &str) -> SigningKey {
    SigningKey::from_openssh(&fleet.home.read(&format!("{machine}/state/machine.key")), None).unwrap()
}

fn hello(ticket: &Ticket) -> Hello {
    Hello::new(ticket.fleet, [9; 16])
}

fn event(sequence: u64, message: &str) -> OutboxItem {
    let body = json!({"time": "2026-01-01T00:00:00Z", "warning": false, "reason": "Hostile", "message": message});
    OutboxItem { sequence, body: Bytes::from(body.to_string()) }
}

fn told(fleet: &Fleet) -> Vec<(String, i64)> {
    let own = |event: &&Value| event["reason"] == "Hostile";
    let one = |event: &Value| (event["message"].as_str().unwrap().to_owned(), event["count"].as_i64().unwrap());
    let mut told: Vec<_> = fleet.list("events").iter().filter(own).map(one).collect();
    told.sort();
    told
}

/// A word on a Profile that one machine signs in the name of another.
fn word(ticket: &Ticket, signer: &SigningKey, named: &SigningKey) -> Value {
    let ack = Ack {
        fleet: Digest::from_bytes(ticket.fleet),
        time: jiff::Timestamp::from_second(1).unwrap(),
        machine: named.machine_key().unwrap(),
        statement: Digest::of(b"statement"),
        object: ObjectKey::new(GroupKind::new("stead.dev", "Profile"), "", "web"),
        object_sequence: 9,
        outcome: Outcome::Applied,
        detail: String::new(),
        sequence: 1,
    };
    let signed = SignedAck::sign(&ack, signer).unwrap();
    json!({
        "object": "Profile/web", "sequence": 9, "statement": ack.statement, "outcome": "Applied",
        "document": String::from_utf8(signed.document).unwrap(), "signature": signed.signature.to_armor(),
    })
}

#[test]
fn what_is_replayed_or_out_of_order_counts_once_and_nobody_speaks_for_another() {
    let mut fleet = Fleet::with_machines(&["m1", "m2"]);
    fleet.agent("m1").stop();
    let (ticket, own, other) = (ticket(&fleet), key_of(&fleet, "m1"), key_of(&fleet, "m2"));
    let taken_before = fleet.get("machine/m1")["status"]["eventsTaken"].as_u64().unwrap_or(0);
    let next = taken_before + 1_000_000_000_000;
    let runtime = Runtime::new().unwrap();
    let mut peer = runtime.block_on(Peer::connect(&own, &ticket.coordinators[0]));
    runtime.block_on(async {
        peer.say(ToCoordinator::Hello(hello(&ticket))).await;
        peer.hear(|message| matches!(message, ToAgent::Welcome { .. }).then_some(())).await;
        // The same items again, and older ones after newer ones.
        peer.say(ToCoordinator::Events { items: vec![event(next, "first"), event(next + 1, "second")] }).await;
        peer.hear(|message| matches!(message, ToAgent::Taken { event_sequence } if event_sequence > next).then_some(())).await;
        peer.say(ToCoordinator::Events { items: vec![event(next, "first"), event(next + 1, "second")] }).await;
        peer.say(ToCoordinator::Events { items: vec![event(next - 5, "late"), event(next + 2, "third")] }).await;
        peer.hear(|message| matches!(message, ToAgent::Taken { event_sequence } if event_sequence >= next + 2).then_some(()))
            .await;
    });
    assert_eq!(told(&fleet), [("first".to_owned(), 1), ("second".to_owned(), 1), ("third".to_owned(), 1)]);

    // An acknowledgement that another machine signed, and one with another machine's name in it.
    let words = |signer, named| word(&ticket, signer, named);
    let forged = json!({"acknowledgements": [words(&other, &other), words(&own, &other), words(&other, &own)]});
    runtime.block_on(peer.say(ToCoordinator::Status { body: Bytes::from(forged.to_string()) }));
    until("the forged words are found out", || {
        let machine = fleet.get("machine/m1");
        // The status was taken, and none of the words with it.
        (machine["status"]["facts"].is_null() && machine["status"]["acknowledgements"].is_null()).then_some(())
    });
    // A second greeting in one session, as one who replays what he recorded sends it.
    let before = count(&fleet, "a message came out of turn");
    runtime.block_on(async {
        peer.say(ToCoordinator::Hello(hello(&ticket))).await;
        assert!(peer.refused().await.contains("out of turn"));
        peer.leave().await;
    });
    assert_eq!(count(&fleet, "a message came out of turn"), before + 1);

    // A stranger who says that it has papers.
    let stranger = SigningKey::from_seed(&[77; 32]);
    let mut papers = stead_trust::GIVE_BACK_PREFIX.to_vec();
    papers.extend_from_slice(b"not mine");
    runtime.block_on(async {
        let mut peer = Peer::connect(&stranger, &ticket.coordinators[0]).await;
        peer.say(ToCoordinator::Hello(hello(&ticket))).await;
        peer.hear(|message| matches!(message, ToAgent::Unknown).then_some(())).await;
        let join = Join { pass: Bytes::new(), hostname: "m2".to_owned(), delegated: Some(papers.into()), facts: Bytes::new() };
        peer.say(ToCoordinator::Join(join)).await;
        peer.refused().await;
        peer.leave().await;
    });
    fleet.agent("m2").stop();
    assert_eq!(fleet.list("machines").len(), 2);
}

#[test]
fn an_older_protocol_is_refused_and_counted() {
    let fleet = Fleet::found();
    let ticket = ticket(&fleet);
    let runtime = Runtime::new().unwrap();
    let before = count(&fleet, "it speaks no version of the protocol that is spoken here");
    runtime.block_on(async {
        let bind = vec!["127.0.0.1:0".parse().unwrap()];
        let config = IrohConfig { secret_key: [5; 32], bind, ..IrohConfig::default() };
        let transport = IrohTransport::bind(config).await.unwrap();
        assert!(transport.connect_with(&ticket.coordinators[0], b"stead/session/0").await.is_err());
        transport.close().await;
    });
    until("it is counted", || (count(&fleet, "it speaks no version of the protocol that is spoken here") > before).then_some(()));
    assert!(fleet.stead(&["status"]).ok().contains("no version of the protocol"));
}

#[test]
fn a_flood_of_unknown_keys_is_counted_and_leaves_nothing_in_the_record() {
    const STRANGERS: u8 = 60;
    let mut fleet = Fleet::with_machines(&["m1"]);
    let ticket = ticket(&fleet);
    let runtime = Runtime::new().unwrap();
    let (events, words) = (fleet.list("events").len(), "the ticket's pass is no coordinator's of this fleet");
    runtime.block_on(async {
        for seed in 0..STRANGERS {
            let mut peer = Peer::connect(&SigningKey::from_seed(&[seed + 100; 32]), &ticket.coordinators[0]).await;
            peer.say(ToCoordinator::Hello(hello(&ticket))).await;
            peer.hear(|message| matches!(message, ToAgent::Unknown).then_some(())).await;
            let pass = Bytes::from(vec![seed; 32]);
            let join = Join { pass, hostname: format!("flood-{seed}"), delegated: None, facts: Bytes::new() };
            peer.say(ToCoordinator::Join(join)).await;
            assert!(peer.refused().await.contains("ask for a new ticket"));
            peer.leave().await;
        }
    });
    assert_eq!(count(&fleet, words), u64::from(STRANGERS));
    assert!(fleet.stead(&["status"]).ok().contains(words));
    assert_eq!(fleet.list("enrollments").len(), 0);
    assert!(fleet.list("events").len() <= events + 1, "{:#?}", fleet.list("events"));
    // A machine that owners have thrown out is a stranger like any other.
    fleet.agent("m1").stop();
    fleet.stead(&["delete", "machine", "m1"]).ok();
    let revoked = key_of(&fleet, "m1");
    runtime.block_on(async {
        let mut peer = Peer::connect(&revoked, &ticket.coordinators[0]).await;
        peer.say(ToCoordinator::Hello(hello(&ticket))).await;
        peer.hear(|message| matches!(message, ToAgent::Unknown).then_some(())).await;
        peer.leave().await;
    });
}
