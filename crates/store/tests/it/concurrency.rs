//! 64 writers at once: no revision is lost or out of order at any watcher, and every page is of one revision.

use std::collections::BTreeMap;

use serde_json::json;
use stead_model::{Revision, Selector};
use stead_store::{CommitError, EventKind, Expect, List, Op, Store, Transaction, WatchScope, Watcher};
use tokio::sync::watch;

use crate::support::{Record, commit, key, object, on_every_engine, time, widget, widget_kind};

const WRITERS: u64 = 64;
const WRITES_EACH: u64 = 25;
const PAIRS: u64 = 40;

/// Both halves of a pair always say the same: whoever sees them differ has seen two revisions at once.
async fn write_pairs(store: Store, writer: u64) {
    for round in 0..WRITES_EACH {
        let pair = (writer * 7 + round * 13) % PAIRS;
        let spec = json!({"by": writer, "round": round});
        let ops = ["left", "right"].map(|side| Op::put(widget(&format!("{side}-{pair:02}"), spec.clone())));
        commit(&store, ops.to_vec()).await.unwrap();
    }
}

/// The record as the events tell it.
async fn follow(mut watcher: Watcher, last: u64) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    let mut expected = watcher.revision();
    while expected.0 < last {
        let group = watcher.next().await.unwrap();
        expected = expected.next();
        assert_eq!(group.revision, expected, "no gap, no repetition, no disorder");
        assert_eq!(group.events.len(), 2, "what was written together is told together");
        for event in group.events {
            let stored = event.object;
            assert_eq!(stored.revision(), expected);
            let told = String::from_utf8(stored.json().to_vec()).unwrap();
            let before = state.insert(stored.name().to_owned(), told);
            assert_eq!(event.kind, if before.is_some() { EventKind::Modified } else { EventKind::Added });
            assert_eq!(before, event.previous.map(|previous| String::from_utf8(previous.json().to_vec()).unwrap()));
        }
    }
    state
}

/// Lists in pages, each page found again by its revision, while the writers go on.
async fn page_through(store: Store, mut stop: watch::Receiver<bool>) -> u64 {
    let selector = Selector::default();
    let mut lists = 0;
    loop {
        let first = store.snapshot();
        store.retain(&first, time(0));
        let mut after = None;
        let mut specs = BTreeMap::new();
        loop {
            let snapshot = store.snapshot_at(first.revision(), time(0)).unwrap();
            let page =
                snapshot.list(&List { kind: widget_kind(), namespace: None, selector: &selector, fields: None, after, limit: 7 });
            assert_eq!(page.revision, first.revision());
            for stored in page.objects {
                assert!(stored.revision() <= first.revision());
                specs.insert(stored.name().to_owned(), stored.to_object().unwrap().spec().clone());
            }
            after = page.next;
            if after.is_none() {
                break;
            }
            tokio::task::yield_now().await;
        }
        for pair in 0..PAIRS {
            assert_eq!(specs.get(&format!("left-{pair:02}")), specs.get(&format!("right-{pair:02}")));
        }
        lists += 1;
        if *stop.borrow_and_update() {
            return lists;
        }
    }
}

async fn watchers_and_pages_under_64_writers(record: Record) {
    let store = record.open().await;
    let last = WRITERS * WRITES_EACH;
    let followers: Vec<_> = (0..8).map(|_| tokio::spawn(follow(store.watch(Revision(0), WatchScope::default()), last))).collect();
    let (stop, stopped) = watch::channel(false);
    let pagers: Vec<_> = (0..2).map(|_| tokio::spawn(page_through(store.clone(), stopped.clone()))).collect();
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write_pairs(store.clone(), writer))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(store.revision(), Revision(last), "each write has a revision of its own");
    stop.send_replace(true);
    for pager in pagers {
        assert!(pager.await.unwrap() > 0);
    }
    let selector = Selector::default();
    let list = List { kind: widget_kind(), namespace: None, selector: &selector, fields: None, after: None, limit: 0 };
    let page = store.snapshot().list(&list);
    let json = |stored: &stead_store::Stored| String::from_utf8(stored.json().to_vec()).unwrap();
    let kept: BTreeMap<_, _> = page.objects.iter().map(|stored| (stored.name().to_owned(), json(stored))).collect();
    for follower in followers {
        assert_eq!(follower.await.unwrap(), kept);
    }
}

async fn optimistic_writers_lose_no_update_and_read_their_own(record: Record) {
    let store = record.open().await;
    commit(&store, vec![Op::create(widget("counter", json!({"count": 0})))]).await.unwrap();
    let writers = (0..WRITERS).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                let seen = store.snapshot().get(&key("counter")).unwrap();
                let mut counter = seen.to_object().unwrap();
                let count = counter.spec()["count"].as_u64().unwrap() + 1;
                counter.fields.insert("spec".into(), json!({"count": count}));
                let op = Op::Put { object: Box::new(counter), expect: Expect::Revision(seen.revision()) };
                match store.commit(Transaction::unsigned(time(0), vec![op])).await {
                    Ok(committed) => {
                        assert!(store.revision() >= committed.revision);
                        assert!(store.snapshot().get(&key("counter")).unwrap().revision() >= committed.revision);
                        return;
                    }
                    Err(CommitError::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(object(&store, "counter").unwrap().spec()["count"], WRITERS);
}

on_every_engine! { 4:
    watchers_and_pages_under_64_writers,
    optimistic_writers_lose_no_update_and_read_their_own,
}
