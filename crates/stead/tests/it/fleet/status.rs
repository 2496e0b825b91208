//! What an operator sees of a coordinator: who is there, and whom each port turned away.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use super::harness::{COORDINATOR, Fleet, until};
use crate::stead::Home;

/// Sends bytes to a port, and reads until it hangs up.
fn say(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A port that has heard enough may reset the connection.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn metrics(address: &str) -> String {
    say(address, b"GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n")
}

fn value(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[test]
fn refusals_of_every_port_are_counted_and_shown() {
    let listen = [COORDINATOR.as_slice(), &["--listen-metrics", "127.0.0.1:0"]].concat();
    let mut fleet = Fleet::found_in(Home::new(), &listen);
    fleet.join("m1");
    let (api, relay) = (fleet.server().replace("https://", ""), fleet.relay());
    say(&api, b"this is no TLS at all\r\n\r\n");
    say(&relay, b"GET /secret HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n");

    let status = fleet.stead(&["status"]).ok();
    for line in ["1 in all, 1 ready, 1 converged", "the TLS handshake failed", "it asked for something that is no relay's"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let status: Value = serde_json::from_str(&fleet.stead(&["status", "-o", "json"]).ok()).unwrap();
    assert_eq!(status["ports"]["machines"]["served"], 1);

    let address = fleet.ready_value("metrics").replace("http://", "").replace("/metrics", "");
    let text = metrics(&address);
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert_eq!(value(&text, "stead_port_refused_total{reason=\"Handshake\"}"), Some(1.0), "{text}");
    assert_eq!(value(&text, "stead_relay_refused_total{reason=\"NotForRelay\"}"), Some(1.0));
    assert_eq!(value(&text, "stead_fleet_machines_ready"), Some(1.0));
    assert!(value(&text, "stead_api_requests_total{class=\"read\",code=\"200\"}") > Some(0.0));
    say(&address, b"this is no HTTP\r\n\r\n");
    // The port hangs up a moment before it has counted.
    let counted = || value(&metrics(&address), "stead_metrics_port_refused_malformed_total") == Some(1.0);
    until("what is no HTTP is counted", || counted().then_some(()));
    assert!(say(&address, b"GET /secret HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 404"));
}
