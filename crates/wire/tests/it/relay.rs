//! The relay's port under peers that mean it no good: bounded, refused, counted.

use std::{net::SocketAddr, sync::Arc};

use stead_wire::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn relay(limits: RelayLimits) -> Relay {
    let token = relay_token(b"the pass");
    let access: RelayAccess = Arc::new(move |_, shown| shown == Some(&token));
    Relay::spawn(loopback(), access, limits).await.unwrap()
}

async fn bind(secret: u8, relay: &Relay, pass: &[u8]) -> IrohTransport {
    let relays = vec![RelayAddress { url: relay.url(), token: Some(relay_token(pass)) }];
    IrohTransport::bind(IrohConfig {
        secret_key: [secret; 32],
        bind: Vec::new(),
        relay_only: true,
        relays,
        local: LocalLookup::Off,
    })
    .await
    .unwrap()
}

/// A connection from one of this machine's addresses.
async fn from(address: &str, relay: &Relay) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(relay.address()).await.unwrap()
}

/// Sends bytes, and gives back everything until the relay hangs up.
async fn say(relay: &Relay, bytes: &[u8]) -> String {
    let mut stream = from("127.0.0.1", relay).await;
    // A relay that has heard enough may hang up while there is still more to say.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const UPGRADE: &str = "GET /relay HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: iroh-relay-v2, iroh-relay-v1\r\n";

// The clock stands still while packets are on their way, and jumps to the next deadline when nobody moves.
#[tokio::test(start_paused = true)]
async fn each_kind_of_misbehaviour_is_refused_and_counted() {
    let relay = relay(RelayLimits::default()).await;
    let forged = format!("{UPGRADE}Stead-Connection: 1\r\n\r\n");
    let cases: [(RelayRefusal, Vec<u8>, &str); 7] = [
        (RelayRefusal::TooSlow, Vec::new(), ""),
        (RelayRefusal::TooSlow, b"GET /relay HTTP/1.1\r\nHost: relay\r\n".to_vec(), ""),
        (RelayRefusal::TooSlow, b"GET /ping HTTP/1.1\r\nHost: relay\r\n\r\n".to_vec(), "200 OK"),
        (RelayRefusal::TooSlow, forged.into_bytes(), "101 Switching Protocols"),
        (RelayRefusal::Malformed, b"\x16\x03\x01\x00\xa5 no HTTP at all\r\n\r\n".to_vec(), "400"),
        (RelayRefusal::Malformed, [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 64 * 1024], b"\r\n\r\n"].concat(), ""),
        (RelayRefusal::NotForRelay, b"GET /etc/passwd HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n".to_vec(), "404"),
    ];
    for (index, (refusal, bytes, expected)) in cases.into_iter().enumerate() {
        let before = relay.counters().refused(refusal);
        let answer = say(&relay, &bytes).await;
        assert!(answer.contains(expected), "case {index}: {answer}");
        // The relay may hang up a moment before it has counted.
        while relay.counters().open > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(relay.counters().refused(refusal), before + 1, "case {index}: {:?}", relay.counters());
    }
    assert_eq!(relay.counters().connections, 7);
    relay.stop().await;
}

#[tokio::test]
async fn strangers_take_no_room_from_members() {
    let limits = RelayLimits { establishing_per_address_max: 3, establishing_max: 5, ..RelayLimits::default() };
    let relay = relay(limits).await;
    let mut held = Vec::new();
    for (address, count) in [("127.0.0.2", 4), ("127.0.0.3", 3)] {
        for _ in 0..count {
            held.push(from(address, &relay).await);
        }
    }
    // The last of each was turned away: it hears so at once.
    for index in [3, 6] {
        assert_eq!(held[index].read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
    let refused = |refusal| relay.counters().refused(refusal);
    assert_eq!((refused(RelayRefusal::BusyAddress), refused(RelayRefusal::Busy), relay.counters().open), (1, 1, 5));
    held.truncate(2);
    let member = bind(1, &relay, b"the pass").await;
    member.online().await;
    assert_eq!(relay.counters().established, 1);
    member.close().await;
    relay.stop().await;
}

#[tokio::test]
async fn strangers_and_too_many_of_one_key_stay_outside() {
    let relay = relay(RelayLimits { connections_per_key_max: 1, ..RelayLimits::default() }).await;
    let member = bind(1, &relay, b"the pass").await;
    member.online().await;
    let (twin, stranger) = (bind(1, &relay, b"the pass").await, bind(2, &relay, b"a guess").await);
    let counted = |refusal| relay.counters().refused(refusal) > 0;
    while !(counted(RelayRefusal::TooManyOfOneKey) && counted(RelayRefusal::NotMember)) {
        tokio::task::yield_now().await;
    }
    assert_eq!(relay.counters().established, 1);
    for transport in [member, twin, stranger] {
        transport.close().await;
    }
    // Whoever leaves gives up the place.
    while relay.counters().established > 0 {
        tokio::task::yield_now().await;
    }
    let again = bind(1, &relay, b"the pass").await;
    again.online().await;
    again.close().await;
    relay.stop().await;
}
