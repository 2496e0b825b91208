//! Connections that break around a commit: who wrote is told the truth, and what is not known is found out.

use serde_json::json;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use stead_model::Revision;
use stead_peers::{Passage, PostgresProxy};
use stead_store::{Batch, CommitError, CommitFailure, Engine, Op, PostgresEngine, Store, WatchScope};

use crate::coordinators::{assert_truthful, contents, follow};
use crate::support::{Record, commit, object, put, widget};

fn proxy(record: &Record) -> PostgresProxy {
    PostgresProxy::new(record.postgres.as_ref().unwrap().socket_folder())
}

async fn try_create(store: &Store, name: &str) -> Result<Revision, CommitError> {
    commit(store, vec![Op::create(widget(name, json!({})))]).await.map(|committed| committed.revision)
}

#[tokio::test]
async fn a_lost_commit_is_refused_and_a_lost_answer_is_an_acknowledgement() {
    let record = Record::postgres();
    let proxy = proxy(&record);
    let store = record.open_through(&proxy).await;
    assert_eq!(try_create(&store, "a").await.unwrap(), Revision(1));
    proxy.set(Passage::LosesCommit);
    let refused = try_create(&store, "b").await.unwrap_err();
    assert!(matches!(refused, CommitError::Engine(_)), "{refused}");
    proxy.set(Passage::LosesAnswer);
    assert_eq!(try_create(&store, "c").await.unwrap(), Revision(2), "it is there, and was found");
    assert_eq!(try_create(&store, "d").await.unwrap(), Revision(3));
    let followed = follow(store.watch(Revision(0), WatchScope::default()), 3).await;
    assert_eq!(followed, contents(&record.open().await.snapshot()));
    assert_eq!(followed.into_keys().collect::<Vec<_>>(), ["a", "c", "d"]);
}

/// Waits until somebody waits for the turn.
async fn somebody_waits(record: &Record) {
    let mut shell = PgConnection::connect(record.url()).await.unwrap();
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut shell).await.unwrap() == 0 {}
}

#[tokio::test]
async fn another_coordinators_batch_does_not_pass_for_the_lost_one() {
    let record = Record::postgres();
    let proxy = proxy(&record);
    let engine = PostgresEngine::open(&proxy.url(record.url())).await.unwrap();
    let other = record.open().await;
    for (base, mode, committed) in [(0, Passage::LosesCommit, false), (1, Passage::LosesAnswer, true)] {
        let turn = engine.turn().await.unwrap();
        // The other's batch follows at once: it has the very revision of the lost one, or the next.
        let writer = other.clone();
        let following = tokio::spawn(async move { try_create(&writer, &format!("b{mode:?}")).await.unwrap() });
        somebody_waits(&record).await;
        proxy.set(mode);
        let batch = Batch { base: Revision(base), last: Revision(base + 1), token: format!("t{mode:?}"), ..Batch::default() };
        assert!(matches!(turn.commit(&batch).await, Err(CommitFailure::Unsure(_))));
        assert_eq!(following.await.unwrap(), Revision(if committed { base + 2 } else { base + 1 }));
        let mut turn = engine.turn().await.unwrap();
        assert_eq!(turn.reading().await.unwrap().holds(&batch.mark()).await.unwrap(), Some(committed));
        turn.end().await;
    }
}

#[tokio::test]
async fn a_batch_of_which_nothing_is_heard_is_found_out_when_the_server_is_back() {
    let record = Record::postgres();
    let proxy = proxy(&record);
    let (store, other) = (record.open_through(&proxy).await, record.open().await);
    proxy.set(Passage::LosesAnswerAndAll);
    let unknown = try_create(&store, "a").await.unwrap_err();
    assert!(matches!(unknown, CommitError::Unknown(_)), "{unknown}");
    assert!(object(&store, "a").is_none(), "what may not be there is not shown");
    let refused = try_create(&store, "b").await.unwrap_err();
    assert!(matches!(&refused, CommitError::Engine(error) if error.is_away()), "{refused}");
    put(&other, widget("c", json!({}))).await;
    let mut watcher = store.watch(Revision(0), WatchScope::default());
    proxy.set(Passage::Sound);
    // Nobody writes here: it is found out all the same.
    assert_eq!(watcher.next().await.unwrap().revision, Revision(1));
    assert_eq!(watcher.next().await.unwrap().revision, Revision(2));
    assert!(object(&store, "a").is_some());
    assert_eq!(try_create(&store, "b").await.unwrap(), Revision(3));
}

/// Cut after any number of bytes, either way, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_cut_anywhere_lose_nothing_and_invent_nothing() {
    const CUTS: usize = 150;
    let record = Record::postgres();
    let proxy = proxy(&record);
    let (store, other) = (record.open_through(&proxy).await, record.open().await);
    let mut told = Vec::new();
    for cut in 0..CUTS {
        let mut random = [0; 2];
        getrandom::fill(&mut random).unwrap();
        proxy.cut_after(i64::from(u16::from_le_bytes(random) % 4_000));
        let names = [format!("w{cut:03}-a"), format!("w{cut:03}-b"), format!("w{cut:03}-c")];
        let (first, second, third) =
            tokio::join!(try_create(&store, &names[0]), try_create(&store, &names[1]), try_create(&other, &names[2]));
        told.extend(names.into_iter().zip([first, second, third]));
    }
    proxy.cut_after(-1);
    let last = put(&other, widget("last", json!({}))).await;
    let loaded = contents(&record.open().await.snapshot());
    assert!(assert_truthful(&told, &loaded) > 0, "no cut hit a write");
    assert_eq!(loaded.len() as u64, last.0, "each revision made one object");
    for store in [store, other] {
        assert_eq!(follow(store.watch(Revision(0), WatchScope::default()), last.0).await, loaded);
    }
}
