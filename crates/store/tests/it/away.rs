//! PostgreSQL that goes away and comes back: reads go on, writes are refused and told so, and what was acknowledged is there.

use serde_json::json;
use stead_model::Revision;
use stead_peers::Shutdown;
use stead_store::{CommitError, Op, Store, WatchScope};

use crate::coordinators::{assert_truthful, contents, follow};
use crate::support::{Record, commit, object, put, widget};

async fn try_put(store: &Store, name: &str) -> Result<Revision, CommitError> {
    commit(store, vec![Op::create(widget(name, json!({})))]).await.map(|committed| committed.revision)
}

#[tokio::test]
async fn reads_go_on_and_writes_are_refused_until_it_is_back() {
    let mut record = Record::postgres();
    let store = record.open().await;
    put(&store, widget("a", json!({}))).await;
    record.postgres.as_mut().unwrap().stop(Shutdown::Fast);
    for name in ["b", "c"] {
        let error = try_put(&store, name).await.unwrap_err();
        assert!(matches!(&error, CommitError::Engine(engine) if engine.is_away()), "{error}");
        assert!(error.to_string().contains("is away: PostgreSQL database stead at "), "{error}");
        assert!(object(&store, "a").is_some(), "reads go on");
    }
    assert!(store.change(stead_store::ChangeReference::Id("x".into())).await.is_err_and(|error| error.is_away()));
    record.postgres.as_mut().unwrap().start_again();
    assert_eq!(try_put(&store, "b").await.unwrap(), Revision(2), "the first write after it is back");
    let followed = follow(store.watch(Revision(0), WatchScope::default()), 2).await;
    assert_eq!(followed, contents(&store.snapshot()));
}

/// A server that is there and says nothing: its processes are stopped, as those of a paused machine.
#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_on() {
    let record = Record::postgres();
    let store = record.open().await;
    put(&store, widget("a", json!({}))).await;
    let server = record.postgres.as_ref().unwrap();
    server.pause();
    let error = try_put(&store, "b").await.unwrap_err();
    assert!(matches!(&error, CommitError::Engine(engine) if engine.is_away()), "{error}");
    assert!(object(&store, "a").is_some(), "reads go on");
    server.resume();
    assert_eq!(try_put(&store, "b").await.unwrap(), Revision(2));
}

async fn create_until(
    store: Store,
    writer: usize,
    stop: tokio::sync::watch::Receiver<bool>,
) -> Vec<(String, Result<Revision, CommitError>)> {
    let mut told = Vec::new();
    for number in 0.. {
        if *stop.borrow() {
            break;
        }
        let name = format!("w{writer:02}-{number:04}");
        let result = try_put(&store, &name).await;
        if result.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        told.push((name, result));
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_crashes_under_writers_keeps_what_was_acknowledged() {
    const CRASHES: usize = 5;
    let mut record = Record::postgres();
    let stores = [record.open().await, record.open().await];
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writers: Vec<_> = (0..12)
        .zip(stores.iter().cycle())
        .map(|(writer, store)| tokio::spawn(create_until(store.clone(), writer, stopped.clone())))
        .collect();
    for _ in 0..CRASHES {
        let seen = stores[0].revision();
        let mut watcher = stores[0].watch(seen, WatchScope::default());
        for _ in 0..20 {
            watcher.next().await.unwrap();
        }
        record.postgres.as_mut().unwrap().stop(Shutdown::Immediate);
        record.postgres.as_mut().unwrap().start_again();
    }
    stop.send_replace(true);
    let mut told = Vec::new();
    for writer in writers {
        told.extend(writer.await.unwrap());
    }
    let last = put(&stores[1], widget("last", json!({}))).await;
    let loaded = contents(&record.open().await.snapshot());
    assert_truthful(&told, &loaded);
    assert_eq!(loaded.len() as u64, last.0, "each revision made one object");
    for store in stores {
        assert_eq!(follow(store.watch(Revision(0), WatchScope::default()), last.0).await, loaded);
    }
}
