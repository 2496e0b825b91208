//! Thousands of watchers on one port.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::fixture::{Fixture, Wish};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const WATCHERS: usize = 2_000;
const WRITES: usize = 15;
/// Both ends of each connection are in this process.
const OPEN_FILES: u64 = 2 * WATCHERS as u64 + 500;
/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(180);

fn allow_open_files() {
    let present = getrlimit(Resource::Nofile);
    if present.current.is_some_and(|current| current < OPEN_FILES) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(OPEN_FILES), ..present }).expect("too few open files are allowed");
    }
}

/// Opens a watch; returns when the server has taken it.
async fn watch(fixture: &Fixture, revision: u64, accept: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(fixture.plain_address).await.unwrap();
    let request = format!(
        "GET {LEASES}?watch=true&resourceVersion={revision} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nauthorization: Bearer {}\r\n\r\n",
        fixture.token
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reader = BufReader::with_capacity(4_096, stream);
    let mut line = String::new();
    reader.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    reader
}

/// Reads until so many events have come: what each says of the lease's transitions.
async fn read(mut reader: BufReader<TcpStream>, table: bool) -> Vec<i64> {
    let (mut seen, mut line) = (Vec::new(), String::new());
    while seen.len() < WRITES {
        line.clear();
        assert_ne!(reader.read_line(&mut line).await.unwrap(), 0, "the watch ended after {seen:?}");
        let Some(event) = line.strip_prefix("{\"type\"") else { continue };
        let event: Value = serde_json::from_str(&format!("{{\"type\"{event}")).unwrap();
        let object = if table { &event["object"]["rows"][0]["object"] } else { &event["object"] };
        let revision = object["metadata"]["resourceVersion"].as_str().unwrap();
        seen.push(revision.parse().unwrap());
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_watchers_are_told_everything_in_order() {
    allow_open_files();
    let fixture = Fixture::start(Wish::default()).await;
    let start = fixture.admission.store().revision().0;
    let mut reading = Vec::new();
    for index in 0..WATCHERS {
        // Different forms, so that not all lines are shared by all.
        let table = index % 4 == 0;
        let accept = if table { "application/json;as=Table;v=v1;g=meta.k8s.io" } else { "application/json" };
        let reader = watch(&fixture, start, accept).await;
        reading.push(tokio::spawn(read(reader, table)));
    }
    for index in 0..WRITES {
        fixture.write_lease("watched", index as i64).await;
    }
    let expected: Vec<i64> = (1..=WRITES as i64).map(|step| start as i64 + step).collect();
    for task in reading {
        assert_eq!(tokio::time::timeout(PATIENCE, task).await.expect("a watcher still waits").unwrap(), expected);
    }
}
