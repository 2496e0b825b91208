//! A record that moves between the engines, there and back: nothing of it is lost, and both ends prove it.

use serde_json::json;
use sqlx::Connection;
use stead_model::Revision;
use stead_store::{CopyError, Op, Operation, Retention, RootDocument, Transaction, WatchScope, copy, digest};

use crate::coordinators::{contents, follow};
use crate::support::{Record, commit, entry, key, put, signed, time, widget};

/// Something in every table, more rows than one chunk holds, and history that begins after a compaction.
async fn fill(record: &Record) {
    let store = record.open().await;
    let root = RootDocument { version: 1, document: vec![0, 255], signatures: vec![2] };
    store.commit(Transaction { root: Some(root), ..Transaction::unsigned(time(0), vec![]) }).await.unwrap();
    for number in 0..40 {
        let ops = (0..60)
            .map(|part| Op::put(widget(&format!("w{:04}", number * 50 + part), json!({"text": "ä\u{1F980}\"\\", "n": number}))));
        commit(&store, ops.collect()).await.unwrap();
    }
    store.commit(signed("01A", vec![entry("a", 1, Operation::Put)], vec![Op::put(widget("a", json!({})))])).await.unwrap();
    store.commit(signed("01B", vec![entry("a", 2, Operation::Delete)], vec![Op::delete(key("a"))])).await.unwrap();
    store.compact(Retention { revisions_max: 30, bytes_max: u64::MAX }).await.unwrap();
    store.commit(Transaction { lead: Some(1), ..Transaction::unsigned(time(0), vec![]) }).await.unwrap();
    store.close().await;
}

/// What a coordinator sees of a record, its events included.
async fn seen(record: &Record) -> impl PartialEq + std::fmt::Debug {
    let store = record.open().await;
    let snapshot = store.snapshot();
    let mut watcher = store.watch(Revision(13), WatchScope::default());
    let events: Vec<_> = std::iter::from_fn(|| watcher.try_next().unwrap())
        .map(|group| (group.revision, format!("{:?}", group.events.iter().map(|event| event.object.key()).collect::<Vec<_>>())))
        .collect();
    let changes = store.changes(None, 10).await.unwrap();
    let entries = store.newest_entries(vec![key("a")]).await.unwrap();
    let standing = (store.incarnation(), snapshot.leader_term(), snapshot.sequence(&key("a")), snapshot.newest_root());
    let seen = (contents(&snapshot), events, changes, entries, standing, store.revision());
    store.close().await;
    seen
}

async fn moves(from: &Record, to: &Record) {
    fill(from).await;
    let before = seen(from).await;
    let (source, target) = (from.engine_offline().await, to.engine_offline().await);
    let mut told = Vec::new();
    let proven = copy(source.as_ref(), target.as_ref(), &mut |table, rows| told.push((table, rows))).await.unwrap();
    assert!(told.contains(&("objects", 1_000)) && told.contains(&("changes", 2)), "{told:?}");
    assert_eq!(digest(source.as_ref()).await.unwrap(), proven);
    let rows: Vec<_> = proven.tables.iter().map(|table| (table.table, table.rows)).collect();
    let expected =
        [("meta", 1), ("objects", 2_010), ("history", 1_682), ("changes", 2), ("entries", 2), ("sequences", 1), ("roots", 1)];
    assert_eq!(rows, expected);
    let again = copy(source.as_ref(), target.as_ref(), &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(again, CopyError::NotEmpty { revision: Revision(44), roots: 1 }), "{again}");
    source.close().await;
    target.close().await;
    assert_eq!(seen(to).await, before);

    let store = to.open().await;
    assert_eq!(put(&store, widget("after", json!({}))).await, Revision(45), "and it goes on");
    follow(store.watch(Revision(44), WatchScope::default()), 45).await;
    store.close().await;
}

#[tokio::test]
async fn from_sqlite_to_postgres() {
    moves(&Record::sqlite(), &Record::postgres()).await;
}

#[tokio::test]
async fn from_postgres_to_sqlite() {
    moves(&Record::postgres(), &Record::sqlite()).await;
}

#[tokio::test]
async fn between_two_databases() {
    let server = Record::postgres();
    moves(&server.beside("one"), &server.beside("other")).await;
}

/// One changed byte, whichever table it is in.
#[tokio::test]
async fn a_difference_anywhere_shows() {
    let record = Record::sqlite();
    fill(&record).await;
    let engine = record.engine_offline().await;
    let mut digests = vec![digest(engine.as_ref()).await.unwrap()];
    let url = format!("sqlite://{}", record.path().display());
    let mut shell = sqlx::SqliteConnection::connect(&url).await.unwrap();
    for sql in [
        "UPDATE meta SET leader_term = 2",
        "UPDATE objects SET json = replace(json, '\"n\":3', '\"n\":4') WHERE name = 'w0150'",
        "UPDATE history SET operation = 'delete' WHERE revision = 30 AND position = 0",
        "UPDATE changes SET receipt = x'00' WHERE id = '01A'",
        "UPDATE entries SET object = NULL WHERE sequence = 1",
        "UPDATE sequences SET deleted = 0",
        "UPDATE roots SET signatures = x'03'",
    ] {
        sqlx::query(sql).execute(&mut shell).await.unwrap();
        let now = digest(engine.as_ref()).await.unwrap();
        let before = digests.last().unwrap();
        let changed = now.tables.iter().zip(&before.tables).filter(|(now, before)| now != before).count();
        assert_eq!(changed, 1, "{sql}");
        assert!(digests.iter().all(|other| other.sha256 != now.sha256), "{sql}");
        digests.push(now);
    }
}

#[tokio::test]
async fn a_record_in_use_is_not_copied() {
    let (source, target) = (Record::postgres(), Record::sqlite());
    let store = source.open().await;
    put(&store, widget("a", json!({}))).await;
    let (from, to) = (source.engine_offline().await, target.engine_offline().await);
    let refused = copy(from.as_ref(), to.as_ref(), &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(refused, CopyError::InUse { which: "the source", .. }), "{refused}");
    let refused = copy(to.as_ref(), from.as_ref(), &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(refused, CopyError::InUse { which: "the target", .. }), "{refused}");
    store.close().await;
}

/// Somebody writes to the source after it was read: the copy is not passed off as the record.
#[tokio::test]
async fn a_source_that_moves_on_is_noticed_and_a_copy_cut_short_leaves_nothing() {
    let (source, target) = (Record::sqlite(), Record::sqlite());
    fill(&source).await;
    let engine = source.engine_offline().await;
    let to = target.engine_offline().await;
    let mut cut = to.import().await.unwrap();
    let rows = stead_store::Batch {
        roots: vec![RootDocument { version: 1, document: vec![], signatures: vec![] }],
        ..Default::default()
    };
    cut.add(&rows).await.unwrap();
    drop(cut);
    let mut moved = false;
    let mut interfere = |table: &'static str, _| {
        if table == "digest of the source" && !std::mem::replace(&mut moved, true) {
            let sql = "UPDATE meta SET last_revision = last_revision + 1";
            assert!(std::process::Command::new("sqlite3").arg(source.path()).arg(sql).status().unwrap().success());
        }
    };
    let error = copy(engine.as_ref(), to.as_ref(), &mut interfere).await.unwrap_err();
    assert!(matches!(error, CopyError::Differs { moved: true, .. }), "{error}");
}
