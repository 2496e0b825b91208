//! Copies of a record while others write to it, and records that are put back from them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use serde_json::json;
use stead_model::Revision;
use stead_store::{
    Op, Operation, PlaceError, PostgresEngine, PostgresPlace, Replacement, RootDocument, SqliteEngine, SqliteFile, Standing,
    Store, Transaction, copy_reading, digest, digest_reading, seal, snapshot_engine, snapshot_file,
};

use crate::support::{Record, commit, entry, key, on_every_database, put, signed, time, widget};

const WRITERS: u64 = 4;
const SNAPSHOTS: u64 = 5;
/// Each writer writes so much between two snapshots, at least.
const WRITES_BETWEEN: u64 = 40;

/// What each revision wrote: the name and its number.
type History = BTreeMap<u64, (String, u64)>;

/// The record's contents at a revision, by what the writers were told.
fn at(history: &History, revision: u64) -> BTreeMap<String, u64> {
    history.range(..=revision).map(|(_, (name, number))| (name.clone(), *number)).collect()
}

async fn snapshot(record: &Record, to: &Path) {
    if record.url().is_empty() {
        return snapshot_file(&record.path(), to).await.unwrap();
    }
    let engine = PostgresEngine::open_reading(record.url(), None).await.unwrap();
    snapshot_engine(&engine, to, &mut |_, _| {}).await.unwrap();
    stead_store::Engine::close(&engine).await;
}

/// The revision of a file, and what is in it.
async fn contents(path: &Path) -> (u64, BTreeMap<String, u64>) {
    let file = SqliteFile::open(path).await.unwrap();
    assert!(file.is_current());
    assert_eq!(file.faults().await.unwrap(), Vec::<String>::new());
    let mut reading = file.reading().await.unwrap();
    let revision = reading.meta().await.unwrap().last.0;
    let mut found = BTreeMap::new();
    let mut objects = reading.objects();
    while let Some(stored) = objects.next().await {
        let stored = stored.unwrap();
        found.insert(stored.key().name, stored.to_object().unwrap().spec()["number"].as_u64().unwrap());
    }
    drop(objects);
    // Each revision is one Change, and each is there: nothing of a later one is.
    let changes: Vec<u64> = reading.changes().map(|change| change.unwrap().revision.0).collect().await;
    assert_eq!(changes, (1..=revision).collect::<Vec<_>>());
    reading.end().await;
    file.close().await;
    (revision, found)
}

async fn every_snapshot_is_the_record_at_its_revision_while_others_write(record: Record) {
    let store = record.open().await;
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let history: Arc<Mutex<History>> = Arc::default();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, stop, written, history) = (store.clone(), stop.clone(), written.clone(), history.clone());
            tokio::spawn(async move {
                let name = format!("w{writer}");
                for number in 1_u64.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let ops = vec![Op::put(widget(&name, json!({"number": number, "text": "x".repeat(500)})))];
                    let change = signed(&format!("{name}-{number}"), vec![entry(&name, number, Operation::Put)], ops);
                    let revision = store.commit(change).await.unwrap().revision;
                    history.lock().unwrap().insert(revision.0, (name.clone(), number));
                    written.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let mut taken = Vec::new();
    for number in 1..=SNAPSHOTS {
        while written.load(Ordering::SeqCst) < number * WRITERS * WRITES_BETWEEN {
            tokio::task::yield_now().await;
        }
        let path = folder.path().join(format!("{number}.db"));
        let before = store.revision().0;
        snapshot(&record, &path).await;
        taken.push((path, before..=store.revision().0));
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    let history = std::mem::take(&mut *history.lock().unwrap());
    for (path, moment) in taken {
        let (revision, found) = contents(&path).await;
        assert!(moment.contains(&revision), "revision {revision}, and it was taken in {moment:?}");
        assert_eq!(found, at(&history, revision), "revision {revision}");
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(names.into_iter().all(|name| name.strip_suffix(".db").is_some()), "nothing is left beside it");
    }
    // With nobody writing, it is the same to the byte of every table.
    let last = folder.path().join("last.db");
    snapshot(&record, &last).await;
    store.close().await;
    let file = SqliteFile::open(&last).await.unwrap();
    let copied = digest_reading(file.reading().await.unwrap().as_mut()).await.unwrap();
    let engine = record.engine_offline().await;
    assert_eq!(digest(engine.as_ref()).await.unwrap(), copied);
    engine.close().await;
}

on_every_database! { 2: every_snapshot_is_the_record_at_its_revision_while_others_write }

/// Something in every table.
async fn fill(store: &Store) {
    let root = RootDocument { version: 1, document: vec![0, 255], signatures: vec![2] };
    store.commit(Transaction { root: Some(root), ..Transaction::unsigned(time(0), vec![]) }).await.unwrap();
    for number in 0..3 {
        let ops = (0..1_000).map(|part| Op::put(widget(&format!("w{}", number * 1_000 + part), json!({"number": number}))));
        commit(store, ops.collect()).await.unwrap();
    }
    store.commit(signed("01A", vec![entry("a", 1, Operation::Put)], vec![Op::put(widget("a", json!({})))])).await.unwrap();
}

/// Runs something until it has told its progress so many times, and drops it; says whether it ended before that.
async fn cut_after<T>(tellings: usize, run: impl AsyncFnOnce(&mut (dyn FnMut(&'static str, u64) + Send)) -> T) -> Option<T> {
    let told = tokio::sync::Notify::new();
    let mut left = tellings;
    let mut progress = |_, _| {
        left = left.saturating_sub(1);
        if left == 0 {
            told.notify_one();
        }
    };
    tokio::select! {
        biased;
        () = told.notified() => None,
        ended = run(&mut progress) => Some(ended),
    }
}

#[tokio::test]
async fn a_snapshot_that_is_cut_short_holds_nobody_up() {
    let record = Record::postgres();
    let store = record.open().await;
    fill(&store).await;
    let folder = tempfile::tempdir().unwrap();
    for tellings in 1.. {
        let to = folder.path().join(format!("{tellings}.db"));
        let engine = PostgresEngine::open_reading(record.url(), None).await.unwrap();
        let done = cut_after(tellings, async |progress| snapshot_engine(&engine, &to, progress).await).await;
        put(&store, widget("meanwhile", json!({"cut": tellings}))).await;
        if let Some(done) = done {
            done.unwrap();
            assert!(tellings > 10, "it was cut {tellings} times");
            break;
        }
    }
    store.close().await;
}

/// A record that was backed up, in a file, begun anew.
async fn backed_up() -> (tempfile::TempDir, SqliteEngine) {
    let (record, folder) = (Record::sqlite(), tempfile::tempdir().unwrap());
    let store = record.open().await;
    fill(&store).await;
    let path = folder.path().join("record.db");
    snapshot_file(&record.path(), &path).await.unwrap();
    store.close().await;
    let engine = SqliteEngine::open(&path).await.unwrap();
    let before = stead_store::Engine::meta(&engine).await.unwrap().incarnation;
    stead_store::Engine::begin_anew(&engine, &before, time(9)).await.unwrap();
    (folder, engine)
}

async fn put_back(from: &SqliteEngine, place: &PostgresPlace, aside: Option<&str>) -> Result<(), PlaceError> {
    put_back_telling(from, place, aside, &mut |_, _| {}).await
}

async fn put_back_telling(
    from: &SqliteEngine,
    place: &PostgresPlace,
    aside: Option<&str>,
    progress: &mut (dyn FnMut(&'static str, u64) + Send),
) -> Result<(), PlaceError> {
    let import = place.import(aside).await?;
    let mut reading = stead_store::Engine::reading(from).await?;
    copy_reading(reading.as_mut(), import, progress).await?;
    reading.end().await;
    Ok(())
}

#[tokio::test]
async fn a_record_is_put_back_into_a_database_in_the_place_of_another_or_not_at_all() {
    let (_folder, backup) = backed_up().await;
    let record = Record::postgres();
    let store = record.open().await;
    put(&store, widget("newer", json!({}))).await;
    let place = PostgresPlace::open(record.url(), None).await.unwrap();
    assert_eq!(place.standing().await.unwrap(), Standing::Record { revision: Revision(1) });
    let used = put_back(&backup, &place, Some("stead_before_x")).await.unwrap_err();
    assert!(matches!(used, PlaceError::InUse { .. }), "{used}");
    store.close().await;

    let occupied = put_back(&backup, &place, None).await.unwrap_err();
    assert!(matches!(occupied, PlaceError::Occupied { revision: Revision(1), .. }), "{occupied}");
    let engine = record.engine_offline().await;
    let old = digest(engine.as_ref()).await.unwrap();
    for tellings in 1.. {
        let done =
            cut_after(tellings, async |progress| put_back_telling(&backup, &place, Some("stead_before_x"), progress).await);
        if let Some(done) = done.await {
            done.unwrap();
            assert!(tellings > 8, "it was cut {tellings} times");
            break;
        }
        assert_eq!(digest(engine.as_ref()).await.unwrap(), old, "cut after {tellings}");
    }
    let restored = digest(&backup).await.unwrap();
    assert_eq!(digest(engine.as_ref()).await.unwrap(), restored);
    record.execute("UPDATE stead_before_x.meta SET batch = 'it is there'").await;

    // Once more, and under a name of its own.
    let taken = put_back(&backup, &place, Some("stead_before_x")).await.unwrap_err();
    assert!(matches!(taken, PlaceError::NotMoved { .. }) && taken.to_string().contains("already exists"), "{taken}");
    put_back(&backup, &place, Some("stead_before_y")).await.unwrap();
    assert_eq!(digest(engine.as_ref()).await.unwrap(), restored);
    engine.close().await;
    let store = record.open().await;
    assert!(store.snapshot().get(&key("a")).is_some() && store.snapshot().get(&key("newer")).is_none());
    assert_eq!(put(&store, widget("after", json!({}))).await, restored.revision.next());
    store.close().await;
}

#[tokio::test]
async fn a_scratch_database_is_filled_and_emptied() {
    let (_folder, backup) = backed_up().await;
    let record = Record::postgres();
    let place = PostgresPlace::open(record.url(), None).await.unwrap();
    assert_eq!(place.standing().await.unwrap(), Standing::Nothing);
    put_back(&backup, &place, None).await.unwrap();
    let engine = PostgresEngine::open_reading(record.url(), None).await.unwrap();
    let there = digest(&engine).await.unwrap();
    stead_store::Engine::close(&engine).await;
    assert_eq!(there, digest(&backup).await.unwrap());
    assert!(!place.erase("somebody else's").await.unwrap());
    let incarnation = stead_store::Engine::meta(&backup).await.unwrap().incarnation;
    assert!(place.erase(&incarnation).await.unwrap());
    assert_eq!(place.standing().await.unwrap(), Standing::Nothing);
    // A database that a coordinator has made ready, and no more, is as good as an empty one.
    record.engine_offline().await.close().await;
    assert_eq!(place.standing().await.unwrap(), Standing::Empty);
    put_back(&backup, &place, None).await.unwrap();
    let engine = record.engine_offline().await;
    assert_eq!(digest(engine.as_ref()).await.unwrap(), there);
    engine.close().await;
}

#[tokio::test]
async fn a_file_is_restored_twice_and_the_coordinator_goes_on() {
    let record = Record::sqlite();
    let store = record.open().await;
    put(&store, widget("newer", json!({}))).await;
    let refused = Replacement::begin(&record.path()).unwrap_err();
    assert!(refused.to_string().contains("in use by another coordinator"), "{refused}");
    store.close().await;
    let mut seen = Vec::new();
    for round in ["one", "two"] {
        let (folder, backup) = backed_up().await;
        let expected = digest(&backup).await.unwrap();
        stead_store::Engine::close(&backup).await;
        seal(&folder.path().join("record.db")).await.unwrap();
        let replacement = Replacement::begin(&record.path()).unwrap();
        std::fs::copy(folder.path().join("record.db"), replacement.new_record()).unwrap();
        seen.push(replacement.finish(round).await.unwrap().unwrap());
        let engine = record.engine().await;
        assert_eq!(digest(engine.as_ref()).await.unwrap(), expected);
        engine.close().await;
        let store = record.open().await;
        assert_eq!(put(&store, widget("after", json!({}))).await, expected.revision.next());
        store.close().await;
    }
    for (aside, name) in seen.iter().zip(["newer", "after"]) {
        let file = SqliteFile::open(aside).await.unwrap();
        let mut reading = file.reading().await.unwrap();
        let objects: Vec<_> = reading.objects_named(vec![key(name)]).collect().await;
        assert_eq!(objects.len(), 1, "{name} is in {}", aside.display());
        reading.end().await;
    }
}
