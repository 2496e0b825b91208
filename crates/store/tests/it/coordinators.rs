//! Several coordinators on one PostgreSQL: together they write as one, and each sees all of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use stead_model::{GroupKind, Object, Revision, Selector};
use stead_store::{
    Batch, CommitError, CommitFailure, EngineError, EventKind, Expect, List, Op, Operation, Options, Restored, Retention,
    RootDocument, Snapshot, Store, Transaction, WatchError, WatchScope, Watcher,
};

use crate::support::{Record, commit, entry, key, object, put, signed, time, widget, widget_kind};

const WRITERS: u64 = 64;
const WRITES_EACH: u64 = 12;

/// Every object as text, by name.
pub(crate) fn contents(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let selector = Selector::default();
    let list = List { kind: widget_kind(), namespace: None, selector: &selector, fields: None, after: None, limit: 0 };
    let text = |stored: &stead_store::Stored| String::from_utf8(stored.json().to_vec()).unwrap();
    snapshot.list(&list).objects.iter().map(|stored| (stored.name().to_owned(), text(stored))).collect()
}

/// The record as the events tell it, up to a revision; every revision has events.
pub(crate) async fn follow(mut watcher: Watcher, last: u64) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    let mut expected = watcher.revision();
    while expected.0 < last {
        let group = watcher.next().await.unwrap();
        expected = expected.next();
        assert_eq!(group.revision, expected, "no gap, no repetition, no disorder");
        for event in group.events {
            let text = |stored: &stead_store::Stored| String::from_utf8(stored.json().to_vec()).unwrap();
            let before = match event.kind {
                EventKind::Deleted => state.remove(event.object.name()),
                _ => state.insert(event.object.name().to_owned(), text(&event.object)),
            };
            assert_eq!(before, event.previous.as_deref().map(text), "each event begins where the one before it ended");
        }
    }
    state
}

async fn wait_for(store: &Store, revision: Revision) {
    let mut watcher = store.watch(Revision(0), WatchScope::default());
    while store.revision() < revision {
        watcher.next().await.unwrap();
    }
}

/// Each write is of one object of the writer's own, and of one that all share; some delete.
async fn write_some(store: Store, writer: u64) {
    for round in 0..WRITES_EACH {
        let own = format!("own-{writer}");
        let shared = Op::put(widget(&format!("shared-{}", round % 5), json!({"by": writer, "round": round})));
        let ops = if round % 4 == 3 {
            vec![shared, Op::delete(key(&own))]
        } else {
            vec![shared, Op::put(widget(&own, json!({"round": round})))]
        };
        commit(&store, ops).await.unwrap();
    }
}

async fn write_as_one(coordinators: usize) {
    let record = Record::postgres();
    let mut stores = Vec::new();
    for _ in 0..coordinators {
        stores.push(record.open().await);
    }
    let last = WRITERS * WRITES_EACH;
    let watch = |store: &Store| tokio::spawn(follow(store.watch(Revision(0), WatchScope::default()), last));
    let followers: Vec<_> = stores.iter().flat_map(|store| [watch(store), watch(store)]).collect();
    let writers = (0..WRITERS).zip(stores.iter().cycle()).map(|(writer, store)| tokio::spawn(write_some(store.clone(), writer)));
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let mut told = Vec::new();
    for follower in followers {
        told.push(follower.await.unwrap());
    }
    for store in &stores {
        assert_eq!(store.revision(), Revision(last));
        told.push(contents(&store.snapshot()));
        store.close().await;
    }
    let loaded = contents(&record.open().await.snapshot());
    assert!(told.iter().all(|told| *told == loaded), "all have seen the same record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_write_as_one() {
    write_as_one(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_write_as_one() {
    write_as_one(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_update_is_lost_between_two() {
    let record = Record::postgres();
    let (first, second) = (record.open().await, record.open().await);
    commit(&first, vec![Op::create(widget("counter", json!({"count": 0})))]).await.unwrap();
    wait_for(&second, Revision(1)).await;
    let writers = (0..24).zip([first.clone(), second.clone()].into_iter().cycle()).map(|(_, store)| {
        tokio::spawn(async move {
            loop {
                let seen = store.snapshot().get(&key("counter")).unwrap();
                let mut counter = seen.to_object().unwrap();
                let count = counter.spec()["count"].as_u64().unwrap() + 1;
                counter.fields.insert("spec".into(), json!({"count": count}));
                let op = Op::Put { object: Box::new(counter), expect: Expect::Revision(seen.revision()) };
                match commit(&store, vec![op]).await {
                    Ok(committed) => return assert!(store.revision() >= committed.revision, "a writer reads its own write"),
                    // What the other one wrote has come in with the refusal.
                    Err(CommitError::Conflict { current, .. }) => assert!(store.revision() >= current),
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for store in [first, second] {
        wait_for(&store, Revision(25)).await;
        assert_eq!(object(&store, "counter").unwrap().spec()["count"], 24);
    }
}

#[tokio::test]
async fn sequences_ids_and_roots_are_one() {
    let record = Record::postgres();
    let (first, second) = (record.open().await, record.open().await);
    let change = |id: &str, sequence| {
        signed(id, vec![entry("a", sequence, Operation::Put)], vec![Op::put(widget("a", json!({"by": id})))])
    };
    first.commit(change("01A", 1)).await.unwrap();
    let again = second.commit(change("01A", 2)).await.unwrap_err();
    assert!(matches!(again, CommitError::ChangeExists { revision: Revision(1), .. }), "{again}");
    let taken = second.commit(change("01B", 1)).await.unwrap_err();
    assert!(matches!(taken, CommitError::SequenceTaken { current: 1, .. }), "{taken}");
    second.commit(change("01B", 2)).await.unwrap();

    let root = |version| RootDocument { version, document: vec![1], signatures: vec![2] };
    let rooted = |version| Transaction { root: Some(root(version)), ..Transaction::unsigned(time(0), vec![]) };
    second.commit(rooted(1)).await.unwrap();
    let checked = Transaction { root_version: Some(0), ..change("01C", 3) };
    let moved = first.commit(checked).await.unwrap_err();
    assert!(matches!(moved, CommitError::RootMoved { checked: 0, current: 1 }), "{moved}");
    assert_eq!(first.snapshot().newest_root().as_deref(), Some(&root(1)), "and the refusal brings the root along");
    first.commit(Transaction { root_version: Some(1), ..change("01C", 3) }).await.unwrap();
    wait_for(&second, Revision(4)).await;
    assert_eq!(second.snapshot().sequence(&key("a")).unwrap().sequence, 3);
}

fn lease(holder: &str) -> Object {
    let value = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader"},
        "spec": {"holderIdentity": holder},
    });
    serde_json::from_value(value).unwrap()
}

fn take_lead(holder: &str, term: u64) -> Transaction {
    Transaction { lead: Some(term), ..Transaction::unsigned(time(0), vec![Op::put(lease(holder))]) }
}

fn fenced(name: &str, term: u64) -> Transaction {
    Transaction { fence: Some(term), ..Transaction::unsigned(time(0), vec![Op::put(widget(name, json!({})))]) }
}

#[tokio::test]
async fn a_deposed_leaders_late_write_is_refused() {
    let record = Record::postgres();
    let (first, second) = (record.open().await, record.open().await);
    first.commit(take_lead("first", 1)).await.unwrap();
    first.commit(fenced("a", 1)).await.unwrap();
    // Both want the next term; the record gives it to one.
    let (one, other) = tokio::join!(first.commit(take_lead("first", 2)), second.commit(take_lead("second", 2)));
    assert!(one.is_ok() != other.is_ok());
    let lost = one.err().or(other.err()).unwrap();
    assert!(matches!(lost, CommitError::Deposed { term: 2, current: 2 }), "{lost}");
    second.commit(take_lead("second", 3)).await.unwrap();
    // At once, whether the news has come or not.
    let late = first.commit(fenced("b", 2)).await.unwrap_err();
    assert!(matches!(late, CommitError::Deposed { term: 2, current: 3 }), "{late}");
    assert!(object(&first, "b").is_none());
    assert_eq!(first.snapshot().leader_term(), 3);
    second.commit(fenced("c", 3)).await.unwrap();
    first.commit(Transaction::unsigned(time(0), vec![Op::put(widget("d", json!({})))])).await.unwrap();
    first.close().await;
    assert_eq!(record.open().await.snapshot().leader_term(), 3);
}

/// What no store of ours would do: the database itself refuses it.
#[tokio::test]
async fn the_database_refuses_a_batch_of_an_older_term_or_revision() {
    let record = Record::postgres();
    record.open().await.commit(take_lead("first", 1)).await.unwrap();
    let engine = record.engine().await;
    for (base, base_term) in [(1, 0), (0, 1), (7, 1)] {
        let batch =
            Batch { base: Revision(base), base_term, last: Revision(base + 1), term: 1, token: "t".into(), ..Batch::default() };
        let refused = engine.turn().await.unwrap().commit(&batch).await.unwrap_err();
        let expected = match &refused {
            CommitFailure::Refused(EngineError::Deposed { expected: 0, found: 1 }) => base == 1,
            CommitFailure::Refused(EngineError::Moved { found: Revision(1), .. }) => base != 1,
            _ => false,
        };
        assert!(expected, "{base} {base_term}: {refused:?}");
        assert_eq!(engine.meta().await.unwrap().last, Revision(1));
    }
}

/// Cuts sessions of the coordinators until it is told to stop; gives back how many.
async fn cut_sessions(url: String, only: &'static str, stop: Arc<AtomicBool>) -> i64 {
    let mut shell = PgConnection::connect(&url).await.unwrap();
    let mut cut = 0;
    while !stop.load(Ordering::SeqCst) {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM \
                   (SELECT pid FROM pg_stat_activity WHERE application_name = 'stead' AND query LIKE $1 ORDER BY random() LIMIT 1) AS one";
        cut += sqlx::query_scalar::<_, i64>(sql).bind(only).fetch_one(&mut shell).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    cut
}

/// What writers were told of each name they tried to create.
type Told = Vec<(String, Result<Revision, CommitError>)>;

async fn create_many(store: Store, writer: u64, writes: u64) -> Told {
    let mut told = Vec::new();
    for number in 0..writes {
        let name = format!("w{writer:02}-{number:03}");
        let result = commit(&store, vec![Op::create(widget(&name, json!({})))]).await;
        told.push((name, result.map(|committed| committed.revision)));
    }
    told
}

/// Acknowledged is there, refused is not; of the rest nobody has promised anything.
pub(crate) fn assert_truthful(told: &Told, contents: &BTreeMap<String, String>) -> usize {
    let mut refused = 0;
    for (name, result) in told {
        match result {
            Ok(revision) => {
                let text = contents.get(name).unwrap_or_else(|| panic!("{name} was acknowledged and is not there"));
                assert!(text.contains(&format!("\"resourceVersion\":\"{revision}\"")), "{name} at {revision}: {text}");
            }
            Err(CommitError::Unknown(_)) => refused += 1,
            Err(CommitError::Engine(error)) => {
                refused += 1;
                assert!(!contents.contains_key(name), "{name} was refused and is there: {error}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_cut_at_random_lose_nothing_and_invent_nothing() {
    let record = Record::postgres();
    let (first, second) = (record.open().await, record.open().await);
    let stop = Arc::new(AtomicBool::new(false));
    let cutting = tokio::spawn(cut_sessions(record.url().to_owned(), "%", Arc::clone(&stop)));
    let stores = [first.clone(), second.clone()];
    let writers = (0..16).zip(stores.iter().cycle()).map(|(writer, store)| tokio::spawn(create_many(store.clone(), writer, 60)));
    let mut told = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        told.extend(writer.await.unwrap());
    }
    stop.store(true, Ordering::SeqCst);
    assert!(cutting.await.unwrap() > 0);
    let last = put(&first, widget("last", json!({}))).await;
    let loaded = contents(&record.open().await.snapshot());
    assert_truthful(&told, &loaded);
    assert_eq!(loaded.len() as u64, last.0, "each revision made one object");
    for store in stores {
        let followed = follow(store.watch(Revision(0), WatchScope::default()), last.0).await;
        assert_eq!(followed, loaded);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listener_cut_again_and_again_misses_nothing() {
    let record = Record::postgres();
    let (writing, watching) = (record.open().await, record.open().await);
    let stop = Arc::new(AtomicBool::new(false));
    let cutting = tokio::spawn(cut_sessions(record.url().to_owned(), "LISTEN%", Arc::clone(&stop)));
    for number in 0..100 {
        put(&writing, widget(&format!("w{number}"), json!({}))).await;
    }
    let followed = follow(watching.watch(Revision(0), WatchScope::default()), 100).await;
    stop.store(true, Ordering::SeqCst);
    assert!(cutting.await.unwrap() > 0);
    assert_eq!(followed, contents(&writing.snapshot()));
}

/// A batch that nobody announces: what a lost notification comes to.
#[tokio::test]
async fn what_was_not_announced_is_found_all_the_same() {
    let record = Record::postgres();
    let store = record.open().await;
    put(&store, widget("a", json!({}))).await;
    let mut watcher = store.watch(Revision(1), WatchScope::default());
    record
        .execute(
            "WITH moved AS (UPDATE meta SET last_revision = 2, batch = 'x'), noted AS (INSERT INTO batches VALUES (2, 'x')), \
             gone AS (DELETE FROM objects WHERE name = 'a' RETURNING *) \
             INSERT INTO history SELECT 2, 0, kind, namespace, name, 'delete', uid, revision, json FROM gone",
        )
        .await;
    let group = watcher.next().await.unwrap();
    assert_eq!((group.revision, group.events[0].kind), (Revision(2), EventKind::Deleted));
    assert!(object(&store, "a").is_none());
    assert_eq!(put(&store, widget("b", json!({}))).await, Revision(3));
}

/// A standby that was promoted without the newest batches: the same revision, and another way that led there.
#[tokio::test]
async fn a_record_that_went_another_way_begins_anew_and_watchers_are_told() {
    let record = Record::postgres();
    let store = record.open_with(Options { now: Arc::new(|| time(1_000)), ..Options::default() }).await;
    put(&store, widget("a", json!({}))).await;
    put(&store, widget("b", json!({}))).await;
    let (mut watcher, incarnation) = (store.watch(Revision(2), WatchScope::default()), store.incarnation());
    record
        .execute(
            "WITH moved AS (UPDATE meta SET batch = 'x'), noted AS (UPDATE batches SET token = 'x' WHERE last_revision = 2), \
             history AS (UPDATE history SET name = 'c' WHERE revision = 2) \
             UPDATE objects SET name = 'c', json = replace(json, '\"b\"', '\"c\"') WHERE name = 'b'",
        )
        .await;
    let anew = put(&store, widget("d", json!({}))).await;
    assert!(anew > Revision(1 << 40), "no revision that was told of comes again: {anew}");
    assert_ne!(store.incarnation(), incarnation);
    let restored = Some(Restored { at: time(1_000), revision: Revision(2) });
    assert_eq!(store.snapshot().restored(), restored, "by the clock that it was given");
    assert_eq!(contents(&store.snapshot()).into_keys().collect::<Vec<_>>(), ["a", "c", "d"]);
    assert!(matches!(watcher.next().await, Err(WatchError::Gone { .. })));
    let mut again = store.watch(Revision(anew.0 - 1), WatchScope::default());
    assert_eq!(again.next().await.unwrap().revision, anew);
}

/// A coordinator that was stopped while the others went on, and forgot what it would need.
#[test]
fn a_coordinator_that_slept_through_a_compaction_tells_its_watchers() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (awake, asleep) = (runtime(), runtime());
    let record = Record::postgres();
    let sleeper = asleep.block_on(record.open());
    let writer = awake.block_on(record.open());
    awake.block_on(async {
        for size in 0..20 {
            put(&writer, widget("a", json!({"size": size}))).await;
        }
        writer.compact(Retention { revisions_max: 5, bytes_max: u64::MAX }).await.unwrap();
    });
    let mut watcher = sleeper.watch(Revision(0), WatchScope::default());
    asleep.block_on(async {
        let gone = watcher.next().await.unwrap_err();
        assert_eq!(gone, WatchError::Gone { revision: Revision(0), oldest: Revision(15) });
        assert_eq!(object(&sleeper, "a").unwrap().spec()["size"], 19);
        assert_eq!(put(&sleeper, widget("b", json!({}))).await, Revision(21));
    });
}

#[tokio::test]
async fn who_catches_up_sees_what_was_committed_before() {
    let mut record = Record::postgres();
    let (first, second) = (record.open().await, record.open().await);
    for round in 0..50 {
        let written = put(&first, widget("a", json!({"round": round}))).await;
        second.catch_up().await.unwrap();
        assert_eq!(second.revision(), written);
    }
    record.postgres.as_mut().unwrap().stop(stead_peers::Shutdown::Fast);
    let error = second.catch_up().await.unwrap_err();
    assert!(matches!(&error, CommitError::Engine(engine) if engine.is_away()), "{error}");
}

#[tokio::test]
async fn another_incarnation_is_another_record() {
    let record = Record::postgres();
    let store = record.open().await;
    put(&store, widget("a", json!({}))).await;
    let mut watcher = store.watch(Revision(1), WatchScope::default());
    record.execute("UPDATE meta SET incarnation = 'another'").await;
    assert_eq!(put(&store, widget("b", json!({}))).await, Revision(2));
    assert_eq!(&*store.incarnation(), "another");
    assert!(matches!(watcher.next().await, Err(WatchError::Gone { .. })));
}

#[tokio::test]
async fn a_kind_is_followed_with_its_labels_and_namespaces() {
    let record = Record::postgres();
    let (first, second) = (record.open_with(Options::default()).await, record.open().await);
    let mut spaced = crate::support::labelled("x", json!({}), &[("site", "graz")]);
    spaced.metadata.namespace = "tenant".into();
    put(&first, spaced.clone()).await;
    spaced.metadata.labels.insert("site".into(), "wien".into());
    put(&first, spaced).await;
    wait_for(&second, Revision(2)).await;
    for (selector, count) in [("site=graz", 0), ("site=wien", 1)] {
        let selector: Selector = selector.parse().unwrap();
        let list =
            List { kind: widget_kind(), namespace: Some("tenant"), selector: &selector, fields: None, after: None, limit: 0 };
        assert_eq!(second.snapshot().list(&list).objects.len(), count);
    }
    assert_eq!(second.snapshot().kinds(), [(GroupKind::new("test.example", "Widget"), 1)]);
}
