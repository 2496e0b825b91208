//! How a file is opened: the lock, the schema, the mode.

use std::os::unix::fs::PermissionsExt;

use sqlx::Connection;

use super::*;

const LATER_STEPS: [&str; 2] = ["ALTER TABLE roots ADD COLUMN note TEXT", "CREATE TABLE more (thing TEXT) STRICT"];

fn steps(later: &[&'static str]) -> Vec<&'static str> {
    migration::STEPS.iter().chain(later).copied().collect()
}

async fn scalar(path: &Path, sql: &'static str) -> Result<i64, sqlx::Error> {
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await?;
    sqlx::query_scalar(sql).fetch_one(&mut connection).await
}

#[tokio::test]
async fn an_older_record_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.db");
    let engine = SqliteEngine::open(&path).await.unwrap();
    let meta = engine.meta().await.unwrap();
    engine.close().await;
    let newer = SqliteEngine::open_with(&path, &steps(&LATER_STEPS)).await.unwrap();
    assert_eq!(newer.meta().await.unwrap(), meta, "it is still the same record");
    newer.close().await;
    assert_eq!(scalar(&path, "SELECT version FROM schema_version").await.unwrap(), steps(&LATER_STEPS).len() as i64);
    assert_eq!(scalar(&path, "SELECT count(*) FROM more").await.unwrap(), 0);
    assert_eq!(scalar(&path, "SELECT count(note) FROM roots").await.unwrap(), 0);

    let again = SqliteEngine::open(&path).await.unwrap_err();
    assert!(matches!(again, OpenError::Newer { found, supported, .. } if found == supported + 2), "{again}");
    assert!(again.to_string().contains("run the newer version"));
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_version_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.db");
    let broken = steps(&[LATER_STEPS[1], "CREATE TABLE half (thing TEXT) STRICT; INSERT INTO nowhere VALUES (1)"]);
    let error = SqliteEngine::open_with(&path, &broken).await.unwrap_err();
    let before_it = migration::STEPS.len() as i64 + 1;
    assert!(matches!(error, OpenError::Migration { from, .. } if from == before_it), "{error}");
    assert_eq!(scalar(&path, "SELECT version FROM schema_version").await.unwrap(), before_it);
    assert!(scalar(&path, "SELECT count(*) FROM half").await.is_err());
    SqliteEngine::open_with(&path, &steps(&[LATER_STEPS[1]])).await.unwrap();
}

#[tokio::test]
async fn a_second_coordinator_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.db");
    let first = SqliteEngine::open(&path).await.unwrap();
    let error = SqliteEngine::open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Locked { holder: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert!(error.to_string().contains(&format!("(process {})", std::process::id())));
    first.close().await;
    let second = SqliteEngine::open(&path).await.unwrap();
    assert!(matches!(first.compact(Revision(1)).await, Err(EngineError::Closed)), "a closed engine writes no more");
    drop(second);
    SqliteEngine::open(&path).await.unwrap();
}

#[tokio::test]
async fn only_the_owner_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.db");
    std::fs::write(&path, b"").unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let engine = SqliteEngine::open(&path).await.unwrap();
    engine.meta().await.unwrap();
    let mut seen = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        seen += 1;
    }
    assert_eq!(seen, 4, "database, log, shared memory, lock");
}

#[tokio::test]
async fn what_is_no_record_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.db");
    let mut foreign = SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
    sqlx::raw_sql("CREATE TABLE theirs (thing TEXT)").execute(&mut foreign).await.unwrap();
    foreign.close().await.unwrap();
    assert!(matches!(SqliteEngine::open(&path).await, Err(OpenError::Foreign { .. })));
    let text = folder.path().join("letter.txt");
    std::fs::write(&text, "Dear record, this is no database, however long it may be.".repeat(100)).unwrap();
    assert!(matches!(SqliteEngine::open(&text).await, Err(OpenError::Database { .. })));
    assert!(matches!(SqliteEngine::open(&folder.path().join("no/such/folder")).await, Err(OpenError::File { .. })));
}

/// A record as the first version of the schema left it, with something in every table.
const FIRST_RECORD: &str = "
    UPDATE meta SET incarnation = 'first', last_revision = 3, compacted_revision = 1;
    INSERT INTO objects VALUES
        ('Widget.test.example', '', 'a', 'uid-a', 2, '{\"apiVersion\":\"test.example/v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"a\"}}');
    INSERT INTO history VALUES (2, 0, 'Widget.test.example', '', 'a', 'put', NULL, NULL, NULL);
    INSERT INTO changes VALUES (2, '01A', x'01', x'02', x'03', x'04', 'author', 'message', '2026-01-01T00:00:00Z');
    INSERT INTO entries VALUES (2, 0, 'Widget.test.example', '', 'a', 1, 'put', x'05', x'06', x'07');
    INSERT INTO sequences VALUES ('Widget.test.example', '', 'a', 1, 2, 0);
    INSERT INTO roots VALUES (1, x'08', x'09');
";

#[tokio::test]
async fn a_record_of_the_first_schema_is_as_it_was_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.db");
    let first = SqliteEngine::open_with(&path, &migration::STEPS[..1]).await;
    assert!(matches!(first, Err(OpenError::Record { .. })), "the first version of Stead would have read it");
    let mut shell = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::raw_sql(FIRST_RECORD).execute(&mut shell).await.unwrap();
    shell.close().await.unwrap();

    let engine = SqliteEngine::open(&path).await.unwrap();
    let meta = engine.meta().await.unwrap();
    assert_eq!((meta.incarnation.as_str(), meta.last, meta.compacted), ("first", Revision(3), Revision(1)));
    assert_eq!((meta.leader_term, meta.batch.as_str()), (0, ""));
    let store = crate::Store::open(engine, crate::Options::default()).await.unwrap();
    let key = ObjectKey::new(stead_model::GroupKind::new("test.example", "Widget"), "", "a");
    let snapshot = store.snapshot();
    assert_eq!(snapshot.get(&key).unwrap().uid(), "uid-a");
    assert_eq!(snapshot.sequence(&key).unwrap().sequence, 1);
    assert_eq!(snapshot.newest_root().unwrap().document, [8]);
    assert_eq!(store.change(ChangeReference::Revision(Revision(2))).await.unwrap().unwrap().receipt, [3]);
    assert_eq!(store.newest_entries(vec![key.clone()]).await.unwrap()[0].1.object, Some(vec![7]));
    let mut watcher = store.watch(Revision(1), crate::WatchScope::default());
    assert_eq!(watcher.next().await.unwrap().revision, Revision(2));
    let lead = crate::Transaction {
        lead: Some(1),
        ..crate::Transaction::unsigned("2026-01-01T00:00:00Z".parse().unwrap(), vec![crate::Op::delete(key)])
    };
    assert_eq!(store.commit(lead).await.unwrap().revision, Revision(4));
    store.close().await;
    assert_eq!(SqliteEngine::open(&path).await.unwrap().meta().await.unwrap().leader_term, 1);
}

/// However much history there is, a step's next one is sought among those that replaced its revision.
#[tokio::test]
async fn the_next_step_is_found_by_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let engine = SqliteEngine::open(&folder.path().join("record.db")).await.unwrap();
    let mut connection = engine.readers.acquire().await.unwrap();
    let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", forward::SELECT_STEPS));
    let plan = sqlx::query(sql).bind(0).bind(0).bind(9).bind(9).fetch_all(&mut *connection).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| sqlx::Row::get(row, 3)).collect();
    let searches = |what: &str| plan.iter().any(|step| step.contains(what));
    assert!(searches("SEARCH x USING INDEX history_by_before (before_revision=? AND name=?)"), "{plan:#?}");
    assert!(searches("SEARCH n USING INTEGER PRIMARY KEY") && searches("SEARCH o USING INDEX"), "{plan:#?}");
    assert!(searches("SEARCH h USING INDEX sqlite_autoindex_history_1 ((revision,position)>(?,?)"), "{plan:#?}");
}
