//! A database that fails: writers are told the truth, readers notice nothing, and it goes on when the database does.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::json;
use stead_model::Revision;
use stead_store::{CommitError, Op, Options, SqliteEngine, Store, Transaction, WatchScope};

use crate::support::flaky::{AWAY, FAILS_AFTER_COMMIT, FAILS_BEFORE_COMMIT, Flaky, LOST_AFTER_COMMIT, SOUND};
use crate::support::{Record, commit, object, on_every_engine, put, time, widget};

async fn flaky(record: &Record) -> (Store, Arc<AtomicU8>) {
    let mode = Arc::new(AtomicU8::new(SOUND));
    let engine = Flaky { inner: record.engine().await, mode: Arc::clone(&mode) };
    (Store::open(engine, Options::default()).await.unwrap(), mode)
}

async fn try_put(store: &Store, name: &str) -> Result<Revision, CommitError> {
    commit(store, vec![Op::put(widget(name, json!({})))]).await.map(|committed| committed.revision)
}

async fn a_batch_that_fails_leaves_everything_as_it_was(record: Record) {
    let (store, mode) = flaky(&record).await;
    put(&store, widget("a", json!({}))).await;
    for failing in [FAILS_BEFORE_COMMIT, AWAY] {
        mode.store(failing, Ordering::SeqCst);
        let (first, second, refused) =
            tokio::join!(try_put(&store, "b"), try_put(&store, "c"), commit(&store, vec![Op::create(widget("a", json!({})))]),);
        for result in [first, second] {
            let error = result.unwrap_err();
            let truthful = if failing == AWAY {
                matches!(error, CommitError::Unknown(_) | CommitError::Engine(_))
            } else {
                matches!(error, CommitError::Engine(_))
            };
            assert!(truthful, "{error}");
        }
        assert!(refused.is_err());
        assert_eq!(store.revision(), Revision(1));
        assert!(object(&store, "a").is_some(), "reads go on");
        assert!(object(&store, "b").is_none());
    }
    mode.store(SOUND, Ordering::SeqCst);
    assert_eq!(try_put(&store, "b").await.unwrap(), Revision(2));
    let mut watcher = store.watch(Revision(1), WatchScope::default());
    assert_eq!(watcher.next().await.unwrap().revision, Revision(2));
}

async fn a_batch_that_is_on_disk_after_all_is_acknowledged(record: Record) {
    let (store, mode) = flaky(&record).await;
    mode.store(FAILS_AFTER_COMMIT, Ordering::SeqCst);
    assert_eq!(try_put(&store, "a").await.unwrap(), Revision(1));
    assert!(object(&store, "a").is_some());
}

async fn a_batch_of_which_nobody_can_tell_is_found_out_later(record: Record) {
    let (store, mode) = flaky(&record).await;
    mode.store(LOST_AFTER_COMMIT, Ordering::SeqCst);
    assert!(matches!(try_put(&store, "a").await, Err(CommitError::Unknown(_))));
    assert!(object(&store, "a").is_none(), "what may not be there is not shown");
    assert!(matches!(try_put(&store, "b").await, Err(CommitError::Engine(_))), "and nothing is written on top of it");
    mode.store(SOUND, Ordering::SeqCst);
    assert_eq!(try_put(&store, "b").await.unwrap(), Revision(2));
    assert!(object(&store, "a").is_some());
    let mut watcher = store.watch(Revision(0), WatchScope::default());
    assert_eq!(watcher.next().await.unwrap().revision, Revision(1), "watchers miss nothing of it");
    store.close().await;
    assert_eq!(record.open().await.revision(), Revision(2));
}

async fn a_record_moved_by_somebody_else_is_not_written_to(record: Record) {
    let store = record.open().await;
    put(&store, widget("a", json!({}))).await;
    record.execute("UPDATE meta SET last_revision = 7").await;
    let error = try_put(&store, "b").await.unwrap_err();
    assert!(matches!(error, CommitError::Engine(_)), "{error}");
    assert!(error.to_string().contains("revision 7"), "{error}");
    record.execute("UPDATE meta SET last_revision = 1").await;
    assert_eq!(try_put(&store, "c").await.unwrap(), Revision(2), "put back as it was, it goes on");
    assert!(object(&store, "b").is_none());
}

/// A file system of a fixed small size; needs root, which the test machine is.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(folder.path()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self { folder })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("not shown: mounting a small file system takes root");
        return;
    };
    let engine = SqliteEngine::open(&disk.folder.path().join("record.db")).await.unwrap();
    let store = Store::open(engine, Options::default()).await.unwrap();
    let ballast = disk.folder.path().join("ballast");
    std::fs::write(&ballast, vec![0_u8; 1024 * 1024]).unwrap();
    let mut written = 0;
    let error = loop {
        let large = widget(&format!("w{written}"), json!({"text": "x".repeat(50_000)}));
        match store.commit(Transaction::unsigned(time(0), vec![Op::put(large)])).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(written > 0);
    assert!(matches!(error, CommitError::Engine(_)), "{error}");
    assert!(error.to_string().contains("full"), "{error}");
    assert_eq!(store.revision(), Revision(written));
    assert!(object(&store, "w0").is_some(), "reads go on");

    std::fs::remove_file(ballast).unwrap();
    assert_eq!(put(&store, widget("after", json!({}))).await, Revision(written + 1));
    store.close().await;
    let engine = SqliteEngine::open(&disk.folder.path().join("record.db")).await.unwrap();
    let store = Store::open(engine, Options::default()).await.unwrap();
    assert_eq!(store.revision(), Revision(written + 1));
    assert!(object(&store, "after").is_some());
    store.close().await;
}

on_every_engine! {
    a_batch_that_fails_leaves_everything_as_it_was,
    a_batch_that_is_on_disk_after_all_is_acknowledged,
    a_batch_of_which_nobody_can_tell_is_found_out_later,
}

mod databases {
    use super::a_record_moved_by_somebody_else_is_not_written_to;
    crate::support::on_every_database! { a_record_moved_by_somebody_else_is_not_written_to }
}
