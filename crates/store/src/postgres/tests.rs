//! How a database is opened: the schema, its steps, and who does them.

use sqlx::Connection;
use sqlx::postgres::PgConnection;
use stead_peers::{Shutdown, TempPostgres};

use super::*;

async fn open_with(url: &str, steps: &[&'static str]) -> Result<PostgresEngine, OpenError> {
    PostgresEngine::open_server(Server::parse(url, None, SESSION_NAME)?, steps).await
}

const LATER_STEPS: [&str; 2] = ["ALTER TABLE stead.roots ADD COLUMN note TEXT", "CREATE TABLE stead.more (thing TEXT)"];

fn steps(later: &[&'static str]) -> Vec<&'static str> {
    migration::STEPS.iter().chain(later).copied().collect()
}

async fn execute(url: &str, sql: &'static str) {
    let mut shell = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut shell).await.unwrap();
}

async fn scalar(url: &str, sql: &'static str) -> Result<i64, sqlx::Error> {
    let mut shell = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut shell).await
}

#[tokio::test]
async fn an_older_record_is_brought_up_to_date() {
    let server = TempPostgres::start();
    let url = server.url();
    let engine = PostgresEngine::open(&url).await.unwrap();
    let meta = engine.meta().await.unwrap();
    let newer = open_with(&url, &steps(&LATER_STEPS)).await.unwrap();
    assert_eq!(newer.meta().await.unwrap(), meta, "it is still the same record");
    newer.close().await;
    let version = steps(&LATER_STEPS).len() as i64;
    assert_eq!(scalar(&url, "SELECT version FROM stead.schema_version").await.unwrap(), version);
    assert_eq!(scalar(&url, "SELECT count(*) FROM stead.more").await.unwrap(), 0);

    let again = PostgresEngine::open(&url).await.unwrap_err();
    assert!(matches!(again, OpenError::Newer { found, supported, .. } if found == supported + 2), "{again}");
    let late = engine.turn().await.err().unwrap();
    assert!(matches!(late, EngineError::Newer { .. }), "who was there before does not write into what it does not know: {late}");
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_version_before_it() {
    let server = TempPostgres::start();
    let url = server.url();
    let broken = steps(&[LATER_STEPS[1], "CREATE TABLE stead.half (thing TEXT); INSERT INTO nowhere VALUES (1)"]);
    let error = open_with(&url, &broken).await.unwrap_err();
    let before_it = migration::STEPS.len() as i64 + 1;
    assert!(matches!(error, OpenError::Migration { from, .. } if from == before_it), "{error}");
    assert_eq!(scalar(&url, "SELECT version FROM stead.schema_version").await.unwrap(), before_it);
    assert!(scalar(&url, "SELECT count(*) FROM stead.half").await.is_err());
    open_with(&url, &steps(&[LATER_STEPS[1]])).await.unwrap();
}

#[tokio::test]
async fn coordinators_that_start_at_once_make_one_record() {
    let server = TempPostgres::start();
    let url = server.url();
    let opened = futures::future::join_all((0..8).map(|_| PostgresEngine::open(&url))).await;
    let mut incarnations = std::collections::BTreeSet::new();
    for engine in opened {
        incarnations.insert(engine.unwrap().meta().await.unwrap().incarnation);
    }
    assert_eq!(incarnations.len(), 1);
}

#[tokio::test]
async fn a_role_that_owns_no_more_than_the_schema_is_enough() {
    let server = TempPostgres::start();
    execute(&server.url(), "CREATE ROLE coordinator LOGIN; CREATE SCHEMA stead AUTHORIZATION coordinator").await;
    let engine = PostgresEngine::open(&server.url().replace("//stead@", "//coordinator@")).await.unwrap();
    assert_eq!(engine.meta().await.unwrap().last, Revision(0));
    engine.turn().await.unwrap().end().await;
}

#[tokio::test]
async fn what_is_no_record_is_refused() {
    let server = TempPostgres::start();
    execute(&server.url(), "CREATE SCHEMA stead; CREATE TABLE stead.theirs (thing TEXT)").await;
    let error = PostgresEngine::open(&server.url()).await.unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    let error = PostgresEngine::open(&server.url().replace("/stead?", "/nothing?")).await.unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error}");
    assert!(error.to_string().contains("nothing"), "{error}");
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let server = TempPostgres::start();
    server.run_sql("CREATE DATABASE narrow ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let error = PostgresEngine::open(&server.url().replace("/stead?", "/narrow?")).await.unwrap_err();
    assert!(matches!(&error, OpenError::Encoding { encoding, .. } if encoding == "LATIN1"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_away_is_told_from_one_that_refuses() {
    let mut server = TempPostgres::start();
    let url = server.url();
    server.stop(Shutdown::Fast);
    let error = PostgresEngine::open(&url).await.unwrap_err();
    assert!(error.is_away() && error.to_string().contains("PostgreSQL database stead"), "{error}");
    server.start_again();
    PostgresEngine::open(&url).await.unwrap();
    let stranger = PostgresEngine::open(&url.replace("//stead@", "//stranger@")).await.unwrap_err();
    assert!(!stranger.is_away(), "{stranger}");
}

/// A role whose commits do not wait for the disk: a session of ours does, all the same.
#[tokio::test]
async fn a_commit_waits_for_the_disk_whatever_the_role_is_set_to() {
    let server = TempPostgres::start();
    execute(&server.url(), "ALTER ROLE stead SET synchronous_commit = off").await;
    let engine = PostgresEngine::open(&server.url()).await.unwrap();
    let mut session = engine.server.connect("testing").await.unwrap().connection;
    let set: String = sqlx::query_scalar("SHOW synchronous_commit").fetch_one(&mut session).await.unwrap();
    assert_eq!(set, "on");
}

/// A coordinator that stops in the middle of its turn (a paused machine, say) does not stop the others.
#[tokio::test]
async fn a_turn_that_nobody_ends_is_taken_away() {
    let server = TempPostgres::start();
    let (first, second) =
        (PostgresEngine::open(&server.url()).await.unwrap(), PostgresEngine::open(&server.url()).await.unwrap());
    let stuck = first.turn().await.unwrap();
    second.turn().await.unwrap().end().await;
    let batch = crate::Batch { last: Revision(1), token: "t".into(), ..crate::Batch::default() };
    assert!(stuck.commit(&batch).await.is_err());
    assert_eq!(second.meta().await.unwrap().last, Revision(0));
    first.turn().await.unwrap().end().await;
}

/// Both servers in one URL.
fn both(primary: &TempPostgres, standby: &TempPostgres) -> String {
    format!("{},{}", primary.url(), standby.socket_folder().display())
}

/// A session that was lost is made anew on the server that was promoted, although the old primary answers as before.
#[tokio::test]
async fn who_connects_asks_every_server() {
    let primary = TempPostgres::start();
    let standby = primary.standby("second");
    let server = Server::parse(&both(&primary, &standby), None, SESSION_NAME).unwrap();
    let before = server.connect("testing").await.unwrap();
    assert_eq!((server.current(), server.timeline()), (Some(0), Some(1)));
    standby.run_sql("SELECT pg_promote()");
    let after = server.connect("testing").await.unwrap();
    assert_eq!((server.current(), server.timeline()), (Some(1), Some(2)));
    assert!(server.is_superseded(before.generation) && !server.is_superseded(after.generation));
}

/// A batch that was begun on the old primary is not committed once the newer one is followed.
#[tokio::test]
async fn a_batch_is_not_committed_on_a_server_that_is_followed_no_more() {
    let primary = TempPostgres::start();
    let standby = primary.standby("second");
    let engine = PostgresEngine::open(&both(&primary, &standby)).await.unwrap();
    let turn = engine.turn().await.unwrap();
    standby.run_sql("SELECT pg_promote()");
    while engine.server.timeline() != Some(2) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let batch = crate::Batch { last: Revision(1), token: "t".into(), ..crate::Batch::default() };
    let failure = turn.commit(&batch).await.unwrap_err();
    assert!(matches!(failure, crate::engine::CommitFailure::Refused(EngineError::Away { .. })), "{failure:?}");
    assert_eq!(scalar(&primary.url(), "SELECT last_revision FROM stead.meta").await.unwrap(), 0);
}

/// A server that accepts connections and says nothing holds nobody up for long.
#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let primary = TempPostgres::start();
    let silent = tempfile::tempdir().unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(silent.path().join(".s.PGSQL.5432")).unwrap();
    let url = format!("{},{}", primary.url(), silent.path().display());
    let server = Server::parse(&url, None, SESSION_NAME).unwrap();
    let waiting =
        tokio::time::timeout(std::time::Duration::from_secs(connection::CONNECT_SECONDS_MAX), server.connect("testing"));
    waiting.await.expect("the silent one is given a second").unwrap();
}
