//! Watches: every step, in order, without gaps; and what a slow one gets.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stead_api::Limits;
use stead_store::{Options, Retention};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::fixture::{Fixture, Wish};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
/// Long enough for any machine; what is waited for comes at once or never.
const PATIENCE: Duration = Duration::from_secs(60);

/// A watch over plain HTTP, read line by line.
pub(crate) struct Watch {
    lines: tokio::io::Lines<BufReader<Box<dyn tokio::io::AsyncRead + Unpin + Send>>>,
}

impl Watch {
    pub(crate) async fn start(fixture: &Fixture, query: &str, accept: &str) -> Self {
        Self::open(fixture, &format!("{LEASES}?watch=true&{query}"), accept).await
    }

    pub(crate) async fn open(fixture: &Fixture, path: &str, accept: &str) -> Self {
        let client = reqwest::Client::new();
        let request = client.get(format!("http://{}{path}", fixture.plain_address));
        let response = request.bearer_auth(&fixture.token).header("accept", accept).send().await.unwrap();
        assert_eq!(response.status(), 200);
        use futures::TryStreamExt as _;
        let stream = response.bytes_stream().map_err(std::io::Error::other);
        let reader: Box<dyn tokio::io::AsyncRead + Unpin + Send> = Box::new(tokio_util::io::StreamReader::new(Box::pin(stream)));
        Self { lines: BufReader::new(reader).lines() }
    }

    /// The next event, or none at the end.
    pub(crate) async fn next(&mut self) -> Option<(String, Value)> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("nothing came").unwrap()?;
        let event: Value = serde_json::from_str(&line).unwrap();
        Some((event["type"].as_str().unwrap().to_owned(), event["object"].clone()))
    }
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// A client that is killed after the first of several events of one revision comes back with that revision.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_by_half_is_told_again() {
    let fixture = Fixture::start(Wish::default()).await;
    let start = fixture.admission.store().revision().0;
    fixture.write_leases(["a", "b", "c"].map(str::to_owned).into_iter()).await;
    fixture.write_lease("d", 1).await;
    let mut names = Vec::new();
    let mut watch = Watch::start(&fixture, &format!("resourceVersion={start}"), "application/json").await;
    let (_, first) = watch.next().await.unwrap();
    drop(watch);
    let mut watch = Watch::start(&fixture, &format!("resourceVersion={}", revision(&first)), "application/json").await;
    while names.last().is_none_or(|name| name != "d") {
        names.push(watch.next().await.unwrap().1["metadata"]["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names, ["a", "b", "c", "d"]);
    // One event is told whole: it is not told again.
    let last = fixture.admission.store().revision();
    let mut watch = Watch::start(&fixture, &format!("resourceVersion={last}"), "application/json").await;
    fixture.write_lease("d", 2).await;
    assert_eq!(revision(&watch.next().await.unwrap().1), last.0 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_writers_leave_no_gap_and_no_disorder() {
    const WRITERS: usize = 64;
    const WRITES: usize = 20;
    let fixture = Arc::new(Fixture::start(Wish::default()).await);
    let start = fixture.admission.store().revision().0;
    let mut watches = Vec::new();
    for query in [format!("resourceVersion={start}"), "resourceVersion=0".to_owned(), String::new()] {
        watches.push(Watch::start(&fixture, &query, "application/json").await);
    }
    let writers = (0..WRITERS).map(|writer| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            for count in 0..WRITES {
                fixture.write_lease(&format!("l{writer}"), count as i64 + 1).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for watch in &mut watches {
        let mut last = start;
        let mut counts = vec![0_i64; WRITERS];
        // Each write has a revision of its own, so that each number must come, and in order.
        for _ in 0..WRITERS * WRITES {
            let (kind, object) = watch.next().await.unwrap();
            assert_eq!(revision(&object), last + 1, "{kind} {object}");
            last = revision(&object);
            let writer: usize = object["metadata"]["name"].as_str().unwrap()[1..].parse().unwrap();
            counts[writer] += 1;
            assert_eq!(object["spec"]["leaseTransitions"], counts[writer]);
            assert_eq!(kind, if counts[writer] == 1 { "ADDED" } else { "MODIFIED" });
        }
        assert_eq!(last, start + (WRITERS * WRITES) as u64);
    }
}

/// A watch whose client takes nothing yet.
async fn stalled(fixture: &Fixture) -> TcpStream {
    let mut stream = TcpStream::connect(fixture.plain_address).await.unwrap();
    let request = format!(
        "GET {LEASES}?watch=true HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        fixture.token
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    stream
}

/// Writes a large lease so many times.
async fn write_large(fixture: &Fixture, times: i64) {
    let padding = "x".repeat(1_000_000);
    for index in 0..times {
        let mut object = crate::fixture::namespace("ignored");
        object.api_version = "coordination.k8s.io/v1".to_owned();
        object.kind = "Lease".to_owned();
        object.metadata.namespace = "default".to_owned();
        object.metadata.name = "big".to_owned();
        object.metadata.annotations.insert("padding".to_owned(), format!("{index}{padding}"));
        let caller = stead_admission::Caller { name: "writer".to_owned(), key: None };
        let write = stead_admission::Write::Put { object, expect: stead_store::Expect::Any };
        fixture.admission.write(&caller, "", vec![write], false).await.unwrap();
    }
}

/// The next event of a watch that is read as it came: between the events stand the chunks' lengths.
async fn next_raw(lines: &mut tokio::io::Lines<BufReader<TcpStream>>) -> Option<Value> {
    while let Some(line) = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("nothing came").unwrap() {
        match serde_json::from_str::<Value>(line.trim_end_matches('\r')) {
            Ok(event) if event.is_object() => return Some(event),
            _ => {}
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_falls_behind_is_told_410_and_never_skips() {
    let store = Options { ring_events_max: 16, ..Options::default() };
    let fixture = Fixture::start(Wish { store, ..Wish::default() }).await;
    let stream = stalled(&fixture).await;
    // The client takes nothing while the record moves on, until what waits for it is no longer kept at all: its connection's buffers
    // hold only so much.
    write_large(&fixture, 80).await;
    fixture.admission.store().compact(Retention { revisions_max: 20, bytes_max: u64::MAX }).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut last = None;
    let mut ended = false;
    while let Some(event) = next_raw(&mut lines).await {
        if event["type"] == "ERROR" {
            assert_eq!((&event["object"]["code"], &event["object"]["reason"]), (&json!(410), &json!("Expired")));
            ended = true;
            continue;
        }
        assert!(!ended, "there is an event after the error");
        let now = revision(&event["object"]);
        assert!(last.is_none_or(|last| now == last + 1), "{last:?} then {now}");
        last = Some(now);
    }
    assert!(ended, "no 410 after {last:?}");
    assert_eq!(fixture.api.counters().watches_behind, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_falls_behind_catches_up_from_the_database() {
    let store = Options { ring_events_max: 4, ..Options::default() };
    let fixture = Fixture::start(Wish { store, ..Wish::default() }).await;
    let before = fixture.admission.store().revision().0;
    let stream = stalled(&fixture).await;
    write_large(&fixture, 60).await;
    let last = fixture.admission.store().revision().0;
    let mut lines = BufReader::new(stream).lines();
    for expected in before + 1..=last {
        let event = next_raw(&mut lines).await.unwrap();
        assert_eq!(revision(&event["object"]), expected, "{}", event["type"]);
    }
    assert!(fixture.api.counters().history_pages > 0, "it was told from memory alone");
    // And it is told what happens from now on.
    fixture.write_lease("small", 1).await;
    let event = next_raw(&mut lines).await.unwrap();
    assert_eq!((event["object"]["metadata"]["name"].as_str(), revision(&event["object"])), (Some("small"), last + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_starts_at_any_revision_that_is_kept() {
    const WRITERS: usize = 8;
    const WRITES: usize = 40;
    let store = Options { ring_events_max: 16, history_page_steps_max: 25, ..Options::default() };
    let limits = Limits { look_backs_per_client_max: 1, ..Limits::default() };
    let fixture = Arc::new(Fixture::start(Wish { store, limits, ..Wish::default() }).await);
    let start = fixture.admission.store().revision().0;
    for count in 0..200 {
        fixture.write_lease(&format!("l{}", count % 7), count).await;
    }
    // More at once than may look back at once, while the record moves on.
    let mut watches = Vec::new();
    for after in (start..start + 200).step_by(25) {
        watches.push((after, Watch::start(&fixture, &format!("resourceVersion={after}"), "application/json").await));
    }
    let writers = (0..WRITERS).map(|writer| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            for count in 0..WRITES {
                fixture.write_lease(&format!("w{writer}"), count as i64 + 1).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let last = fixture.admission.store().revision().0;
    assert_eq!(last, start + 200 + (WRITERS * WRITES) as u64);
    for (after, watch) in &mut watches {
        for expected in *after + 1..=last {
            let (kind, object) = watch.next().await.unwrap();
            assert_eq!(revision(&object), expected, "after {after}");
            let (name, transitions) = (object["metadata"]["name"].as_str().unwrap(), object["spec"]["leaseTransitions"].as_i64());
            let first = if name.starts_with('l') { expected <= start + 7 } else { transitions == Some(1) };
            assert_eq!(kind, if first { "ADDED" } else { "MODIFIED" }, "{name} {expected}");
            if name.starts_with('l') {
                assert_eq!(transitions, Some((expected - start) as i64 - 1));
            }
        }
    }
    assert!(fixture.api.counters().history_pages >= 8);
    assert_eq!(fixture.api.counters().watches_behind, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_looks_back_selects_and_shows_as_any_other() {
    let store = Options { ring_events_max: 16, history_page_steps_max: 25, ..Options::default() };
    let fixture = Fixture::start(Wish { store, ..Wish::default() }).await;
    let merge = [("content-type", "application/merge-patch+json")];
    let lease = json!({"metadata": {"name": "labelled", "labels": {"a": "b"}}});
    let labelled = revision(&fixture.post(LEASES, &lease).await.expect(201));
    fixture.send("PATCH", &format!("{LEASES}/labelled"), &merge, r#"{"metadata":{"labels":null}}"#).await.expect(200);
    for count in 0..40 {
        fixture.write_lease("last", count).await;
    }
    let query = format!("resourceVersion={}&allowWatchBookmarks=true&timeoutSeconds=2", labelled - 1);
    let mut selected = Watch::start(&fixture, &format!("{query}&labelSelector=a%3Db"), "application/json").await;
    for (kind, number) in [("ADDED", labelled), ("DELETED", labelled + 1)] {
        let (told, object) = selected.next().await.unwrap();
        assert_eq!((told.as_str(), revision(&object)), (kind, number));
        assert_eq!(object["metadata"]["labels"], json!({"a": "b"}));
    }
    let (kind, bookmark) = selected.next().await.unwrap();
    assert_eq!(
        (kind.as_str(), revision(&bookmark)),
        ("BOOKMARK", labelled + 41),
        "where nothing is told, it moves on all the same"
    );
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut table = Watch::start(&fixture, &format!("{query}&fieldSelector=metadata.name%3Dlabelled"), accept).await;
    for columns in [true, false] {
        let (_, event) = table.next().await.unwrap();
        assert_eq!(event["columnDefinitions"].is_array(), columns);
        assert_eq!(event["rows"][0]["object"]["metadata"]["name"], "labelled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_old_a_revision_is_an_error_event() {
    let store = Options { ring_events_max: 2, ..Options::default() };
    let fixture = Fixture::start(Wish { store, ..Wish::default() }).await;
    for index in 0..5 {
        fixture.write_lease(&format!("l{index}"), 0).await;
    }
    fixture.admission.store().compact(Retention { revisions_max: 3, bytes_max: u64::MAX }).await.unwrap();
    let compacted = fixture.admission.store().revision().0 - 3;
    let query = format!("resourceVersion={}", compacted - 1);
    let mut watch = Watch::start(&fixture, &query, "application/json").await;
    let (kind, status) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &status["code"]), ("ERROR", &json!(410)));
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("too old resource version: {} (", compacted - 1)), "{message}");
    assert!(watch.next().await.is_none());
    let mut watch = Watch::start(&fixture, &format!("resourceVersion={compacted}"), "application/json").await;
    assert_eq!(revision(&watch.next().await.unwrap().1), compacted + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn initial_events_bookmarks_and_the_end() {
    let limits = Limits { bookmark_milliseconds: 100, ..Limits::default() };
    let fixture = Fixture::start(Wish { limits, ..Wish::default() }).await;
    fixture.write_lease("first", 0).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1";
    let mut watch = Watch::start(&fixture, query, "application/json").await;
    assert_eq!(watch.next().await.unwrap().0, "ADDED");
    let (kind, bookmark) = watch.next().await.unwrap();
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!((&bookmark["kind"], &bookmark["apiVersion"]), (&json!("Lease"), &json!("coordination.k8s.io/v1")));
    fixture.write_lease("second", 0).await;
    let mut last = None;
    while let Some((kind, object)) = watch.next().await {
        last = Some((kind, revision(&object)));
    }
    // It ends by itself, with a bookmark just before.
    assert_eq!(last, Some(("BOOKMARK".to_owned(), fixture.admission.store().revision().0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_tell_their_columns_once_and_selectors_let_go() {
    let fixture = Fixture::start(Wish::default()).await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut tables = Watch::start(&fixture, "", accept).await;
    let mut selected = Watch::start(&fixture, "labelSelector=a%3Db", "application/json").await;
    let lease = json!({"metadata": {"name": "l", "labels": {"a": "b"}}});
    fixture.post(LEASES, &lease).await.expect(201);
    let merge = [("content-type", "application/merge-patch+json")];
    fixture.send("PATCH", &format!("{LEASES}/l"), &merge, r#"{"metadata":{"labels":null}}"#).await.expect(200);
    fixture.send("PATCH", &format!("{LEASES}/l"), &merge, r#"{"metadata":{"labels":{"a":"b"}}}"#).await.expect(200);
    let (_, first) = tables.next().await.unwrap();
    assert!(first["columnDefinitions"].is_array());
    assert_eq!(first["rows"][0]["object"]["metadata"]["name"], "l");
    assert!(tables.next().await.unwrap().1["columnDefinitions"].is_null());
    for expected in ["ADDED", "DELETED", "ADDED"] {
        assert_eq!(selected.next().await.unwrap().0, expected);
    }
}
