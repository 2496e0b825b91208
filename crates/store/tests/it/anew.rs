//! A record that begins anew: after a restore, or when its newest batches are lost.

use serde_json::json;
use stead_model::Revision;
use stead_store::{CommitError, Options, Restored, Store, Transaction, WatchError, WatchScope, digest};

use crate::support::{Record, key, object, on_every_engine, put, time, widget};

async fn what_was_there_stays_and_nobody_goes_on_from_before(record: Record) {
    let store = record.open().await;
    put(&store, widget("a", json!({"size": 1}))).await;
    let last = put(&store, widget("a", json!({"size": 2}))).await;
    let before = store.incarnation();
    let term = store.snapshot().leader_term();
    store.close().await;

    let engine = record.engine_offline().await;
    let anew = engine.begin_anew(&before, time(0)).await.unwrap();
    assert_ne!(*anew.incarnation, *before);
    assert_eq!(anew.restored, Some(Restored { at: time(0), revision: last }));
    assert_eq!((anew.last, anew.compacted), (Revision(last.0 + (1 << 40)), anew.last));
    assert!(anew.leader_term > term);
    // Whoever tries again finds it done.
    assert_eq!(engine.begin_anew(&before, time(0)).await.unwrap(), anew);
    assert_eq!(engine.meta().await.unwrap(), anew);
    let proof = digest(engine.as_ref()).await.unwrap();
    engine.close().await;

    let store = record.open().await;
    assert_eq!((store.snapshot().restored(), store.revision()), (anew.restored, anew.last));
    assert_eq!(object(&store, "a").unwrap().spec()["size"], 2);
    let mut watcher = store.watch(last, WatchScope::default());
    assert!(matches!(watcher.next().await, Err(WatchError::Gone { .. })));
    let stale = Transaction { fence: Some(term), ..Transaction::unsigned(time(0), vec![]) };
    assert!(matches!(store.commit(stale).await, Err(CommitError::Deposed { .. })));
    let mut watcher = store.watch(anew.last, WatchScope::default());
    assert_eq!(put(&store, widget("b", json!({}))).await, Revision(anew.last.0 + 1));
    assert_eq!(watcher.next().await.unwrap().events.len(), 1);
    store.close().await;

    // What it remembers of it goes with it into another database.
    let engine = record.engine_offline().await;
    assert_ne!(digest(engine.as_ref()).await.unwrap(), proof);
    let copy = record.beside("copy");
    let target = copy.engine_offline().await;
    stead_store::copy(engine.as_ref(), target.as_ref(), &mut |_, _| {}).await.unwrap();
    assert_eq!(target.meta().await.unwrap().restored, anew.restored);
    for engine in [engine, target] {
        engine.close().await;
    }
}

on_every_engine! {
    what_was_there_stays_and_nobody_goes_on_from_before,
}

#[tokio::test]
async fn a_store_that_is_open_takes_the_new_record() {
    let record = Record::postgres();
    let (first, second) = (record.open().await, Store::open_on(record.engine().await, Options::default()).await.unwrap());
    let last = put(&first, widget("a", json!({}))).await;
    let mut watcher = second.watch(last, WatchScope::default());
    let before = first.incarnation();
    let engine = record.engine_offline().await;
    let anew = engine.begin_anew(&before, time(0)).await.unwrap();
    assert!(matches!(watcher.next().await, Err(WatchError::Gone { .. })));
    assert_eq!((&*second.incarnation(), second.revision()), (anew.incarnation.as_str(), anew.last));
    assert_eq!(put(&first, widget("b", json!({}))).await, Revision(anew.last.0 + 1));
    assert!(object(&first, "a").is_some() && first.snapshot().get(&key("b")).is_some());
}
