//! A primary and a standby: which of them is followed, what a promotion may lose, and a primary that comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use stead_model::Revision;
use stead_peers::{Shutdown, TempPostgres};
use stead_store::{Engine, Op, Options, PostgresEngine, PostgresServers, Store};

use crate::support::{commit, object, put, widget};

/// Both servers in one URL.
fn both(primary: &TempPostgres, standby: &TempPostgres) -> String {
    format!("postgres://stead@localhost/stead?host={},{}", primary.socket_folder().display(), standby.socket_folder().display())
}

async fn open(url: &str) -> Store {
    Store::open(PostgresEngine::open(url).await.unwrap(), Options::default()).await.unwrap()
}

/// Asks a server until it answers with true.
async fn holds(server: &TempPostgres, sql: &'static str) {
    let mut shell = PgConnection::connect(&server.url()).await.unwrap();
    while !sqlx::query_scalar::<_, bool>(sql).fetch_one(&mut shell).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes until it is written.
async fn put_when_there(store: &Store, name: &str) -> Revision {
    loop {
        match commit(store, vec![Op::put(widget(name, json!({})))]).await {
            Ok(committed) => return committed.revision,
            Err(error) => assert!(error.to_string().contains("away"), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_synchronous_standby_acknowledged_is_there_when_it_is_promoted_and_the_old_primary_is_refused() {
    let mut primary = TempPostgres::start();
    let mut standby = primary.standby("second");
    let url = both(&primary, &standby);
    let stores = [open(&url).await, open(&url).await];
    primary.run_sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.run_sql("SELECT pg_reload_conf()");
    holds(&primary, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'").await;
    let incarnation = stores[0].incarnation();
    let mut names = BTreeSet::new();
    for (number, store) in (0..20).zip(stores.iter().cycle()) {
        put(store, widget(&format!("a{number}"), json!({}))).await;
        names.insert(format!("a{number}"));
    }
    primary.stop(Shutdown::Killed);
    let away = commit(&stores[0], vec![Op::put(widget("b", json!({})))]).await.unwrap_err().to_string();
    assert!(away.contains("is a standby, which takes no writes until it is promoted"), "{away}");
    assert!(away.contains(&primary.socket_folder().display().to_string()), "each server is named: {away}");

    standby.run_sql("SELECT pg_promote()");
    for store in &stores {
        put_when_there(store, "c").await;
        assert!(names.iter().all(|name| object(store, name).is_some()));
        assert_eq!(store.incarnation(), incarnation, "nothing was lost: it is the same record");
    }

    // The old primary comes back, and the new one goes: nobody writes to the old one.
    primary.start_again();
    put(&stores[0], widget("d", json!({}))).await;
    standby.stop(Shutdown::Fast);
    let refused = commit(&stores[0], vec![Op::put(widget("e", json!({})))]).await.unwrap_err().to_string();
    assert!(refused.contains("is an old primary: it is on timeline 1, and the record is on timeline 2"), "{refused}");
    // Who starts anew takes the newer one, in whatever order they are named.
    standby.start_again();
    for url in [both(&primary, &standby), both(&standby, &primary)] {
        assert!(object(&open(&url).await, "d").is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_lost_its_newest_batches_begins_anew_once() {
    let mut primary = TempPostgres::start();
    let standby = primary.standby("second");
    let url = both(&primary, &standby);
    let stores = [open(&url).await, open(&url).await];
    let before = stores[0].incarnation();
    put(&stores[0], widget("kept", json!({}))).await;
    holds(&standby, "SELECT count(*) = 1 FROM stead.objects").await;
    primary.pause_senders();
    let lost = put(&stores[0], widget("lost", json!({}))).await;
    assert_eq!(stores[1].past(Revision(lost.0 - 1)).await.unwrap(), lost, "the other one was told of it");
    primary.stop(Shutdown::Killed);
    standby.run_sql("SELECT pg_promote()");

    let (first, second) = tokio::join!(put_when_there(&stores[0], "x"), put_when_there(&stores[1], "y"));
    let incarnations: BTreeSet<_> = stores.iter().map(Store::incarnation).collect();
    assert!(incarnations.len() == 1 && !incarnations.contains(&before), "{incarnations:?}");
    for store in &stores {
        assert!(object(store, "kept").is_some() && object(store, "lost").is_none());
    }
    let engine = PostgresEngine::open(&url).await.unwrap();
    let meta = engine.meta().await.unwrap();
    assert_eq!(meta.restored.unwrap().revision, Revision(lost.0 - 1));
    assert!(meta.last == first.max(second) && meta.last.0 - lost.0 < 1 << 41, "once, and not twice: {meta:?}");
}

/// Somebody promotes the standby while the old primary goes on: coordinators notice by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_is_followed_although_the_old_primary_goes_on() {
    let primary = TempPostgres::start();
    let standby = primary.standby("second");
    let store = open(&both(&primary, &standby)).await;
    put(&store, widget("a", json!({}))).await;
    while store.replication().is_none_or(|seen| seen.replicas.is_empty()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seen = store.replication().unwrap();
    assert_eq!((seen.servers, seen.timeline, seen.sees_all), (2, 1, true));
    assert_eq!((seen.replicas[0].name.as_str(), seen.slots[0].name.as_str()), ("second", "second"));
    assert!(seen.slots[0].active && seen.lag_bytes().is_some(), "{seen:?}");
    holds(&standby, "SELECT count(*) = 1 FROM stead.objects").await;

    standby.run_sql("SELECT pg_promote()");
    while store.replication().is_none_or(|seen| seen.timeline != 2) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    put_when_there(&store, "b").await;
    holds(&standby, "SELECT count(*) = 2 FROM stead.objects").await;
    holds(&primary, "SELECT count(*) = 1 FROM stead.objects").await;

    let servers = PostgresServers::parse(&both(&primary, &standby), None).unwrap();
    let reports = servers.survey().await;
    let timelines: Vec<_> =
        reports.iter().map(|report| report.state.as_ref().map(|state| (state.standby, state.timeline))).collect();
    assert_eq!(timelines, [Ok((false, 1)), Ok((false, 2))]);
}

/// A coordinator's role is no superuser: it sees that standbys are there, and how far behind they are by what their slots keep.
#[tokio::test]
async fn a_plain_role_sees_what_it_may() {
    let primary = TempPostgres::start();
    let _standby = primary.standby("second");
    primary.run_sql("CREATE ROLE plain LOGIN; CREATE SCHEMA stead AUTHORIZATION plain");
    let store = open(&primary.url().replace("//stead@", "//plain@")).await;
    put(&store, widget("a", json!({}))).await;
    while store.replication().is_none_or(|seen| seen.slots.is_empty()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seen = store.replication().unwrap();
    assert!(!seen.sees_all && seen.replicas.len() == 1 && seen.replicas[0].state.is_empty(), "{seen:?}");
    assert!(seen.lag_bytes().is_some(), "{seen:?}");
}

async fn open_following(url: &str, file: &std::path::Path) -> Result<Store, String> {
    let engine = PostgresEngine::open_following(url, None, file).await.map_err(|error| error.to_string())?;
    Ok(Store::open(engine, Options::default()).await.unwrap())
}

/// A coordinator that starts while the old primary alone answers knows that the record has moved on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_starts_anew_remembers_which_server_is_the_newer() {
    let primary = TempPostgres::start();
    let mut standby = primary.standby("second");
    let url = both(&primary, &standby);
    let folder = tempfile::tempdir().unwrap();
    let [file, other] = ["followed", "other"].map(|name| folder.path().join(name));
    let kept = |file: &std::path::Path| std::fs::read_to_string(file).unwrap();

    // What is no record is not remembered.
    open_following(&url.replace("/stead?", "/nothing?"), &file).await.unwrap_err();
    assert!(!file.exists());
    let store = open_following(&url, &file).await.unwrap();
    assert!(kept(&file).contains("\"timeline\":1"));
    put(&store, widget("a", json!({}))).await;
    holds(&standby, "SELECT count(*) = 1 FROM stead.objects").await;
    standby.run_sql("SELECT pg_promote()");
    while !kept(&file).contains("\"timeline\":2") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    put_when_there(&store, "b").await;
    store.close().await;

    // The old primary runs, and the newer one is away.
    standby.stop(Shutdown::Fast);
    for url in [&url, &primary.url()] {
        let refused = open_following(url, &file).await.unwrap_err();
        let (path, remedy) = (format!("remove {}", file.display()), "rebuild this one as a standby");
        for part in ["is away", "is an old primary: it is on timeline 1", "the record is on timeline 2", remedy, &path] {
            assert!(refused.contains(part), "{part:?}: {refused}");
        }
    }
    assert!(object(&open_following(&url, &other).await.unwrap(), "a").is_some(), "one that was never there cannot know");
    standby.start_again();
    assert!(object(&open_following(&url, &file).await.unwrap(), "b").is_some());

    // Another cluster is not taken for the record either, where several servers are named; whoever means it forgets.
    std::fs::write(&file, r#"{"systemIdentifier": "7", "timeline": 1}"#).unwrap();
    let refused = open_following(&url, &file).await.unwrap_err();
    assert!(refused.contains("of another database cluster") && refused.contains("than the record (7)"), "{refused}");
    std::fs::remove_file(&file).unwrap();
    assert!(object(&open_following(&url, &file).await.unwrap(), "b").is_some());
    std::fs::write(&file, "").unwrap();
    let refused = open_following(&url, &file).await.unwrap_err();
    assert!(refused.contains("remove the file"), "{refused}");
}
