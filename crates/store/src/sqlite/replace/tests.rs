//! Cut short between any two steps: one of the records is in place, whole, and a second run finishes.

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tempfile::TempDir;

use super::*;
use crate::engine::Engine;
use crate::sqlite::SqliteEngine;

/// A folder with a record in it whose newest batches are in its log, as a coordinator that was killed leaves it; and its incarnation.
async fn killed() -> (TempDir, PathBuf, String) {
    let (elsewhere, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = elsewhere.path().join("record.db");
    // Closed once, so that its first page is in the file, and not in the log.
    let first = make(&source).await;
    let engine = SqliteEngine::open(&source).await.unwrap();
    let anew = engine.begin_anew(&first, "2026-01-01T00:00:00Z".parse().unwrap()).await.unwrap();
    let record = folder.path().join("record.db");
    for suffix in ["", "-wal"] {
        fs::copy(beside(&source, suffix), beside(&record, suffix)).unwrap();
    }
    assert!(fs::metadata(beside(&record, "-wal")).unwrap().len() > 0);
    (folder, record, anew.incarnation)
}

async fn make_new(replacement: &Replacement) -> String {
    make(replacement.new_record()).await
}

async fn make(record: &Path) -> String {
    let engine = SqliteEngine::open(record).await.unwrap();
    let incarnation = engine.meta().await.unwrap().incarnation;
    engine.close().await;
    incarnation
}

async fn incarnation(record: &Path) -> String {
    let engine = SqliteEngine::open(record).await.unwrap();
    let found = engine.meta().await.unwrap().incarnation;
    engine.close().await;
    found
}

fn names(folder: &TempDir) -> Vec<String> {
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[tokio::test]
async fn cut_short_anywhere_one_of_the_records_is_in_place_and_a_second_run_finishes() {
    for cut in 0..=STEPS.len() {
        let (folder, record, old) = killed().await;
        let replacement = Replacement::begin(&record).unwrap();
        let new = make_new(&replacement).await;
        let (aside, mut state) = (replacement.aside("one"), State { settled: true });
        for step in STEPS.into_iter().take(cut) {
            replacement.take_step(step, &mut state, &aside).await.unwrap();
        }
        drop(replacement);
        let done = cut == STEPS.len();
        assert_eq!(incarnation(&record).await, if done { new.clone() } else { old.clone() }, "cut before step {cut}");

        let replacement = Replacement::begin(&record).unwrap();
        let expected: &[&str] =
            if done { &["record.db", "record.db.before-one", "record.db.lock"] } else { &["record.db", "record.db.lock"] };
        assert_eq!(names(&folder), expected, "cut before step {cut}");
        let again = make_new(&replacement).await;
        let aside = replacement.finish("two").await.unwrap().unwrap();
        assert_eq!(incarnation(&record).await, again);
        assert_eq!(incarnation(&aside).await, if done { new } else { old });
    }
}

#[tokio::test]
async fn where_there_is_none_nothing_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record.db");
    let replacement = Replacement::begin(&record).unwrap();
    assert!(!replacement.replaces());
    let new = make_new(&replacement).await;
    assert_eq!(replacement.finish("one").await.unwrap(), None);
    assert_eq!(names(&folder), ["record.db", "record.db.lock"]);
    assert_eq!(incarnation(&record).await, new);
}

/// What cannot be read is not lost either; and its log is not taken for the new record's.
#[tokio::test]
async fn an_unreadable_record_is_moved_aside_with_its_log() {
    let (folder, record, _) = killed().await;
    let rubbish = b"This was a record once.".repeat(1_000);
    fs::write(&record, &rubbish).unwrap();
    let log = fs::read(beside(&record, "-wal")).unwrap();
    let replacement = Replacement::begin(&record).unwrap();
    let new = make_new(&replacement).await;
    let aside = replacement.finish("one").await.unwrap().unwrap();
    assert!(fs::read(&aside).unwrap() == rubbish && fs::read(beside(&aside, "-wal")).unwrap() == log, "they are as they were");
    assert_eq!(incarnation(&record).await, new);
    assert_eq!(names(&folder), ["record.db", "record.db.before-one", "record.db.before-one-wal", "record.db.lock"]);
}

#[tokio::test]
async fn a_record_that_somebody_has_open_stays() {
    let (_folder, record, old) = killed().await;
    assert_eq!(incarnation(&record).await, old);
    let mut shell = SqliteConnection::connect(&format!("sqlite://{}", record.display())).await.unwrap();
    let mut transaction = shell.begin().await.unwrap();
    let _: i64 = sqlx::query_scalar("SELECT last_revision FROM meta").fetch_one(&mut *transaction).await.unwrap();
    let replacement = Replacement::begin(&record).unwrap();
    let coordinator = SqliteEngine::open(&record).await.unwrap_err();
    assert!(matches!(coordinator, OpenError::Locked { .. }), "{coordinator}");
    make_new(&replacement).await;
    let refused = replacement.finish("one").await.unwrap_err();
    assert!(refused.to_string().contains("locked"), "{refused}");
    transaction.rollback().await.unwrap();
    shell.close().await.unwrap();
    assert_eq!(incarnation(&record).await, old);
}
