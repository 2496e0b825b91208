//! The record at its budget's size: 100,000 objects of 1.5 KiB. `cargo bench -p stead-store` prints what each step takes.

#![expect(clippy::unwrap_used, reason = "a measurement that meets an error has no value to print")]

use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;
use stead_model::{GroupKind, Object, Revision, Selector};
use stead_store::{
    List, Op, Operation, Options, RING_EVENTS_MAX, SealedChange, SignedChange, SignedEntry, SqliteEngine, Store, Transaction,
    WatchScope,
};

const OBJECTS: usize = 100_000;
const CLIENTS: usize = 64;
const CHANGES_EACH: usize = 400;
const WATCHERS: usize = 1_000;

/// A machine-like object of about 1.5 KiB, with eight labels of which one is its own.
fn object(number: usize) -> Object {
    let labels: serde_json::Map<_, _> =
        (0..7).map(|label| (format!("label-{label}"), json!(format!("value-{}", number % (10 + label))))).collect();
    let mut object: Object = serde_json::from_value(json!({
        "apiVersion": "test.example/v1",
        "kind": "Widget",
        "metadata": {"name": format!("widget-{number:06}"), "labels": labels},
        "spec": {"number": number, "text": "x".repeat(1_000)},
    }))
    .unwrap();
    object.metadata.labels.insert("host".into(), format!("host-{number}"));
    object
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
}

fn change(client: usize, number: usize) -> Transaction {
    let name = format!("widget-{:06}", client * 1_000 + number % 1_000);
    let key = stead_model::ObjectKey::new(GroupKind::new("test.example", "Widget"), "", &name);
    let entry = SignedEntry {
        key,
        index: 0,
        sequence: 1,
        operation: Operation::Put,
        leaf: vec![1; 200],
        proof: vec![2; 64],
        object: Some(vec![3; 1_400]),
    };
    let mut written = object(client * 1_000 + number % 1_000);
    written.fields.insert("spec".into(), json!({"number": number, "text": "y".repeat(1_000)}));
    let sealed = |_| Ok(SealedChange { receipt: vec![4; 200], receipt_signature: vec![5; 300] });
    let change = SignedChange {
        id: format!("{client}-{number}"),
        statement: vec![6; 400],
        signatures: vec![7; 300],
        author: "author".into(),
        message: "message".into(),
        entries: vec![entry],
        entering: stead_store::Entering::Anew,
        seal: Box::new(sealed),
    };
    Transaction { change: Some(change), ..Transaction::unsigned(Timestamp::now(), vec![Op::put(written)]) }
}

fn say(what: &str, value: f64, unit: &str) {
    println!("{}", json!({"id": what, "value": (value * 1_000.0).round() / 1_000.0, "unit": unit}));
}

async fn fill(store: &Store) {
    let started = Instant::now();
    let objects: Vec<Op> = (0..OBJECTS).map(|number| Op::create(object(number))).collect();
    for ops in objects.chunks(5_000) {
        store.commit(Transaction::unsigned(Timestamp::now(), ops.to_vec())).await.unwrap();
    }
    say("fill_100k_seconds", started.elapsed().as_secs_f64(), "s");
}

fn lists(store: &Store) {
    let kind = GroupKind::new("test.example", "Widget");
    for (what, selector, limit) in [
        ("list_page_500_us", "", 500),
        ("count_label_us", "label-3=value-4", 1),
        ("count_two_labels_us", "label-3=value-4,label-1=value-2", 1),
    ] {
        let selector: Selector = selector.parse().unwrap();
        let rounds = 200_u32;
        let started = Instant::now();
        for _ in 0..rounds {
            let list = List { kind: kind.clone(), namespace: None, selector: &selector, fields: None, after: None, limit };
            std::hint::black_box(store.snapshot().list(&list));
        }
        say(what, started.elapsed().as_secs_f64() * 1e6 / f64::from(rounds), "us");
    }
}

async fn group_commit(store: &Store) {
    let started = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..CHANGES_EACH {
                    store.commit(change(client, number)).await.unwrap();
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    say("group_commit_per_second", (CLIENTS * CHANGES_EACH) as f64 / started.elapsed().as_secs_f64(), "changes/s");
}

async fn watchers(store: &Store) {
    let watching: Vec<_> = (0..WATCHERS)
        .map(|_| {
            let mut watcher = store.watch(store.revision(), WatchScope::kind(GroupKind::new("test.example", "Widget")));
            tokio::spawn(async move {
                watcher.next().await.unwrap();
                Instant::now()
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let started = Instant::now();
    store.commit(Transaction::unsigned(Timestamp::now(), vec![Op::create(object(OBJECTS))])).await.unwrap();
    let mut last = started;
    for watcher in watching {
        last = last.max(watcher.await.unwrap());
    }
    say("watch_1000_ms", (last - started).as_secs_f64() * 1e3, "ms");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let path = std::env::temp_dir().join(format!("stead-store-bench-{}", std::process::id()));
    if let Some(record) = std::env::args().find_map(|argument| argument.strip_prefix("--load=").map(str::to_owned)) {
        let started = Instant::now();
        let engine = SqliteEngine::open(record.as_ref()).await.unwrap();
        let store = Store::open(engine, Options::default()).await.unwrap();
        say("load_sqlite_100k_seconds", started.elapsed().as_secs_f64(), "s");
        say("view_100k_mib", resident_mib(), "MiB");
        lists(&store);
        watchers(&store).await;
        group_commit(&store).await;
        say("after_group_commit_mib", resident_mib(), "MiB");
        assert!(store.watch(Revision(0), WatchScope::default()).try_next().is_err() || OBJECTS < RING_EVENTS_MAX);
        store.close().await;
        return;
    }
    std::fs::create_dir_all(&path).unwrap();
    let record = path.join("record.db");
    let store = Store::open(SqliteEngine::open(&record).await.unwrap(), Options::default()).await.unwrap();
    fill(&store).await;
    store.close().await;
    // A process of its own, so that its memory is that of the view and not of the filling.
    let load = format!("--load={}", record.display());
    let status = std::process::Command::new(std::env::current_exe().unwrap()).arg(load).status().unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    assert!(status.success());
}
