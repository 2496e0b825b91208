//! Oversized, malformed, slow and too many requests: bounded, refused, counted.

use std::time::Duration;

use serde_json::json;
use stead_api::{
    JSON_DEPTH_MAX, JSON_MEMBERS_MAX, Limits, PATCH_OPERATIONS_MAX, QUERY_PARAMETERS_MAX, SELECTOR_BYTES_MAX, SELECTOR_TERMS_MAX,
    URI_BYTES_MAX,
};
use stead_model::META_MAP_BYTES_MAX;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fixture::{Fixture, Wish};

/// Long enough for any machine; the limits under test are far shorter.
const PATIENCE: Duration = Duration::from_secs(60);

fn hurried() -> Limits {
    Limits {
        handshake_milliseconds_max: 200,
        header_milliseconds_max: 200,
        body_milliseconds_max: 200,
        write_stall_milliseconds_max: 200,
        body_bytes_max: 10_000,
        ..Limits::default()
    }
}

/// Asks until the server answers: whoever is hurried may cut off an honest client on a machine that is busy.
async fn still_serves(fixture: &Fixture) {
    let request = format!(
        "GET /api/v1/namespaces HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        fixture.token
    );
    let answered = async { while !exchange(fixture.plain_address, request.as_bytes()).await.starts_with("HTTP/1.1 200") {} };
    tokio::time::timeout(PATIENCE, answered).await.expect("the server answers nobody any more");
}

async fn start(limits: Limits) -> Fixture {
    Fixture::start(Wish { limits, ..Wish::default() }).await
}

/// Sends bytes and reads to the end of the connection.
async fn exchange(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection stays open");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_bodies_and_handshakes_are_closed() {
    let fixture = start(hurried()).await;
    exchange(fixture.plain_address, b"GET /version HTTP/1.1\r\nhost: x\r\n").await;
    assert_eq!(fixture.api.counters().too_slow, 1);
    // One that has nothing more to ask is closed, and is not called slow.
    let answer = exchange(fixture.plain_address, b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(fixture.api.counters().too_slow, 1);
    let head = format!(
        "POST /api/v1/namespaces HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\nauthorization: Bearer {}\r\n\r\n{{",
        fixture.token
    );
    let answer = exchange(fixture.plain_address, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    exchange(fixture.address, b"").await;
    exchange(fixture.address, b"GET / HTTP/1.1\r\n\r\n").await;
    let counters = fixture.api.counters();
    assert_eq!((counters.handshakes_too_slow, counters.handshakes_failed), (1, 1), "{counters:?}");
    still_serves(&fixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_and_malformed_requests_are_refused() {
    // Nobody is hurried here but those who keep a connection open after their answer.
    let fixture = start(Limits { header_milliseconds_max: 3_000, body_bytes_max: 10_000, ..Limits::default() }).await;
    let big = json!({"metadata": {"name": "n", "annotations": {"a": "x".repeat(20_000)}}});
    let status = fixture.post("/api/v1/namespaces", &big).await.expect(413);
    assert_eq!(status["reason"], "RequestEntityTooLarge");
    let anonymous = format!("POST /stead/v1/login HTTP/1.1\r\nhost: x\r\ncontent-length: 999999\r\n\r\n{}", "x".repeat(20_000));
    let answer = exchange(fixture.plain_address, anonymous.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let long = fixture.get(&format!("/api/v1/namespaces?labelSelector={}", "a,".repeat(10_000))).await;
    assert_eq!(long.code, 414, "{}", long.text);
    assert_eq!(fixture.api.counters().too_large, 3);
    for bytes in [&b"\x16\x03\x01\x00\x00 nonsense\r\n\r\n"[..], b"GET / HTTP/9.9\r\n\r\n", &[b'x'; 100_000]] {
        let answer = exchange(fixture.plain_address, bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let many: String = (0..200).map(|index| format!("h{index}: x\r\n")).collect();
    let answer = exchange(fixture.plain_address, format!("GET /version HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(fixture.api.counters().malformed >= 4, "{:?}", fixture.api.counters());
    still_serves(&fixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections_and_watches_are_refused() {
    let limits = Limits { connections_max: 2, watches_per_client_max: 1, ..Limits::default() };
    let fixture = start(limits).await;
    let watch =
        format!("GET /api/v1/namespaces?watch=true HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", fixture.token);
    let mut first = TcpStream::connect(fixture.plain_address).await.unwrap();
    first.write_all(watch.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    first.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let closing = watch.replace("host: x", "host: x\r\nconnection: close");
    let answer = exchange(fixture.plain_address, closing.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: 1"), "{answer}");
    // The server lets go of a connection a moment after its client has.
    let _second = loop {
        let mut second = TcpStream::connect(fixture.plain_address).await.unwrap();
        let asked = second.write_all(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n").await;
        if asked.is_ok() && second.read_exact(&mut head).await.is_ok() {
            break second;
        }
    };
    let refused = fixture.api.counters().connections_refused;
    assert_eq!(exchange(fixture.plain_address, b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n").await, "");
    let counters = fixture.api.counters();
    assert_eq!((counters.connections_refused, counters.too_many), (refused + 1, 1), "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_let_go() {
    let fixture = start(Limits { write_stall_milliseconds_max: 200, ..Limits::default() }).await;
    for index in 0..100 {
        let big = json!({"metadata": {"name": format!("n{index}"), "annotations": {"a": "x".repeat(200_000)}}});
        fixture.post("/apis/coordination.k8s.io/v1/namespaces/default/leases", &big).await.expect(201);
    }
    let mut stream = TcpStream::connect(fixture.plain_address).await.unwrap();
    let list =
        format!("GET /apis/coordination.k8s.io/v1/leases HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", fixture.token);
    stream.write_all(list.as_bytes()).await.unwrap();
    let seen = async {
        while fixture.api.counters().stalled == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("the connection is still open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_watches_and_idle_connections() {
    let mut fixture = start(Limits::default()).await;
    let mut watch = TcpStream::connect(fixture.plain_address).await.unwrap();
    let request =
        format!("GET /api/v1/namespaces?watch=true HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", fixture.token);
    watch.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    watch.read_exact(&mut head).await.unwrap();
    let _idle = TcpStream::connect(fixture.plain_address).await.unwrap();
    let _shaking = TcpStream::connect(fixture.address).await.unwrap();
    fixture.shutdown.cancel();
    for server in fixture.servers.drain(..) {
        tokio::time::timeout(PATIENCE, server).await.expect("the server goes on").unwrap();
    }
    let mut rest = Vec::new();
    watch.read_to_end(&mut rest).await.unwrap();
    assert!(String::from_utf8_lossy(&rest).ends_with("0\r\n\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_stays_on_loopback() {
    let fixture = start(Limits::default()).await;
    let error = stead_api::Server::bind("0.0.0.0:0".parse().unwrap(), None, fixture.api.clone()).await.err().unwrap();
    assert!(error.to_string().contains("loopback"), "{error}");
}

/// The limit that a refusal names.
fn limit(status: &serde_json::Value) -> &str {
    let cause = &status["details"]["causes"][0];
    assert_eq!(cause["reason"], "LimitExceeded", "{status}");
    cause["field"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_of_a_request_has_an_error_of_its_own() {
    const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let fixture = start(Limits::default()).await;
    let json = [("content-type", "application/json")];
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let lease = |extra: &str| format!(r#"{{"metadata":{{"name":"l"}},"extra":{extra}}}"#);
    let items = |count: usize| format!("[{}]", vec!["0"; count].join(","));
    // What is at the limit is looked at: a field that a lease does not have is dropped with a warning.
    for (body, code, named) in [
        (lease(&nested(JSON_DEPTH_MAX - 1)), 201, ""),
        (lease(&nested(JSON_DEPTH_MAX)), 400, "JSON_DEPTH_MAX"),
        (lease(&nested(100_000)), 400, "JSON_DEPTH_MAX"),
        (lease(&items(JSON_MEMBERS_MAX - 3)), 201, ""),
        (lease(&items(JSON_MEMBERS_MAX - 2)), 413, "JSON_MEMBERS_MAX"),
    ] {
        let status = fixture.send("POST", &format!("{LEASES}?dryRun=All"), &json, body).await.expect(code);
        assert!(named.is_empty() || limit(&status) == named, "{status}");
    }
    let yaml = format!("metadata: {{name: l}}\nextra: {}\n", nested(JSON_DEPTH_MAX));
    let status = fixture.send("POST", LEASES, &[("content-type", "application/yaml")], yaml).await.expect(400);
    assert_eq!(limit(&status), "JSON_DEPTH_MAX");

    fixture.write_lease("l", 0).await;
    let operations = |count: usize| {
        let test = r#"{"op":"test","path":"/metadata/name","value":"l"}"#;
        format!("[{}]", vec![test; count].join(","))
    };
    let patch = [("content-type", "application/json-patch+json")];
    fixture.send("PATCH", &format!("{LEASES}/l"), &patch, operations(PATCH_OPERATIONS_MAX)).await.expect(200);
    let status = fixture.send("PATCH", &format!("{LEASES}/l"), &patch, operations(PATCH_OPERATIONS_MAX + 1)).await.expect(413);
    assert_eq!(limit(&status), "PATCH_OPERATIONS_MAX");

    // Commas alone are no requirements.
    let terms = |count: usize| vec!["a"; count].join(",");
    let fields = |count: usize| vec!["metadata.name!%3Da"; count].join(",");
    for (query, code, named) in [
        (format!("labelSelector={}", terms(SELECTOR_TERMS_MAX)), 200, ""),
        (format!("labelSelector={}", terms(SELECTOR_TERMS_MAX + 1)), 400, "SELECTOR_TERMS_MAX"),
        (format!("fieldSelector={}", fields(SELECTOR_TERMS_MAX)), 200, ""),
        (format!("fieldSelector={}", fields(SELECTOR_TERMS_MAX + 1)), 400, "SELECTOR_TERMS_MAX"),
        (format!("labelSelector={}", ",".repeat(SELECTOR_BYTES_MAX)), 200, ""),
        (format!("labelSelector={}", ",".repeat(SELECTOR_BYTES_MAX + 1)), 400, "SELECTOR_BYTES_MAX"),
        (format!("fieldSelector={}", ",".repeat(SELECTOR_BYTES_MAX + 1)), 400, "SELECTOR_BYTES_MAX"),
        (vec!["a=b"; QUERY_PARAMETERS_MAX].join("&"), 200, ""),
        (vec!["a=b"; QUERY_PARAMETERS_MAX + 1].join("&"), 400, "QUERY_PARAMETERS_MAX"),
        (format!("a={}", "b".repeat(URI_BYTES_MAX - LEASES.len() - 2)), 200, ""),
        (format!("a={}", "b".repeat(URI_BYTES_MAX - LEASES.len() - 1)), 414, "URI_BYTES_MAX"),
    ] {
        let status = fixture.get(&format!("{LEASES}?{query}")).await.expect(code);
        assert!(named.is_empty() || limit(&status) == named, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_annotations_have_a_size() {
    const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let fixture = start(Limits::default()).await;
    let annotated =
        |bytes: usize| json!({"metadata": {"name": format!("l{bytes}"), "annotations": {"a": "x".repeat(bytes - 1)}}});
    fixture.post(LEASES, &annotated(META_MAP_BYTES_MAX)).await.expect(201);
    let status = fixture.post(LEASES, &annotated(META_MAP_BYTES_MAX + 1)).await.expect(422);
    let cause = &status["details"]["causes"][0];
    assert_eq!((&cause["reason"], &cause["field"]), (&json!("FieldValueTooLong"), &json!("metadata.annotations")));
    let labels: serde_json::Map<_, _> = (0..4_000).map(|number| (format!("l{number:04}"), "x".repeat(63).into())).collect();
    let status = fixture.post(LEASES, &json!({"metadata": {"name": "l", "labels": labels}})).await.expect(422);
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.labels");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_by_itself() {
    let fixture = start(Limits { watch_milliseconds_max: 300, ..Limits::default() }).await;
    for path in ["/api/v1/namespaces", "/apis/stead.dev/v1/changes"] {
        for timeout in ["", "&timeoutSeconds=86400"] {
            let query = format!("{path}?watch=true&allowWatchBookmarks=true{timeout}");
            let mut watch = crate::watches::Watch::open(&fixture, &query, "application/json").await;
            let mut last = None;
            while let Some((kind, _)) = watch.next().await {
                last = Some(kind);
            }
            assert_eq!(last.as_deref(), Some("BOOKMARK"), "{query}");
        }
    }
}
