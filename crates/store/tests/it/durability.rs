//! SIGKILL at random moments: what was acknowledged is there when the record is opened again.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use stead_model::Revision;
use stead_store::{ChangeReference, Engine, Op, Operation, PostgresEngine, SqliteEngine, Store, WatchScope};

use crate::support::{Record, entry, key, on_every_database, signed, widget};

const CUTS: usize = 30;
const CHANGES: u64 = 40;

const RECORD_VARIABLE: &str = "STEAD_STORE_TEST_RECORD";
const ROUND_VARIABLE: &str = "STEAD_STORE_TEST_ROUND";
const KILLS: u64 = 20;
const WRITERS: u64 = 8;

/// The child: writes until it is killed, and says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by acknowledged_writes_survive_sigkill, in a process of its own"]
async fn writes_until_killed() {
    let (Ok(place), Ok(round)) = (std::env::var(RECORD_VARIABLE), std::env::var(ROUND_VARIABLE)) else {
        panic!("{RECORD_VARIABLE} and {ROUND_VARIABLE} are set by the test that runs this one");
    };
    let engine: Arc<dyn Engine> = if place.starts_with("postgres://") {
        Arc::new(PostgresEngine::open(&place).await.unwrap())
    } else {
        Arc::new(SqliteEngine::open(Path::new(&place)).await.unwrap())
    };
    let store = Store::open_on(engine, stead_store::Options::default()).await.unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let (store, round) = (store.clone(), round.clone());
        tokio::spawn(async move {
            for number in 1_u64.. {
                let name = format!("r{round}-w{writer}");
                let id = format!("{name}-{number}");
                let ops = vec![Op::put(widget(&name, json!({"number": number})))];
                let revision = store.commit(signed(&id, vec![entry(&name, number, Operation::Put)], ops)).await.unwrap().revision;
                let mut out = std::io::stdout().lock();
                writeln!(out, "acknowledged {name} {number} {revision}").unwrap();
                out.flush().unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

fn spawn_child(record: &Record, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["durability::writes_until_killed", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(RECORD_VARIABLE, record.place())
        .env(ROUND_VARIABLE, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// The acknowledgements of a child that is killed after so many of them.
fn acknowledged_before_kill(record: &Record, round: u64, kill_after: usize) -> Vec<(String, u64, u64)> {
    let mut child = spawn_child(record, round);
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, told)) = line.split_once("acknowledged ") else { continue };
        // The kill may have cut the last line short.
        let parts: Vec<&str> = told.split(' ').collect();
        let [name, number, revision] = parts.as_slice() else { continue };
        let Ok(revision) = revision.parse() else { continue };
        acknowledged.push(((*name).to_owned(), number.parse().unwrap(), revision));
        if acknowledged.len() == kill_after {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success());
    assert!(acknowledged.len() >= kill_after, "the child ended by itself");
    acknowledged
}

async fn acknowledged_writes_survive_sigkill(record: Record) {
    let mut last = Revision(0);
    for round in 0..KILLS {
        let mut random = [0_u8; 1];
        getrandom::fill(&mut random).unwrap();
        let acknowledged = acknowledged_before_kill(&record, round, 1 + usize::from(random[0]));
        let store = record.open().await;
        for (name, number, revision) in &acknowledged {
            let change = store.change(ChangeReference::Id(format!("{name}-{number}"))).await.unwrap();
            let change = change.unwrap_or_else(|| panic!("{name}-{number} was acknowledged and is not there"));
            assert_eq!(change.revision, Revision(*revision));
            assert_eq!(change.receipt, format!("receipt {revision}").into_bytes());
            let stored = store.snapshot().get(&key(name)).unwrap();
            let newest = stored.to_object().unwrap().spec()["number"].as_u64().unwrap();
            assert!(newest >= *number, "{name} went back from {number} to {newest}");
            assert_eq!(store.snapshot().sequence(&key(name)).unwrap().sequence, newest);
        }
        assert!(store.revision() > last);
        let mut watcher = store.watch(last, WatchScope::default());
        while let Some(group) = watcher.try_next().unwrap() {
            last = last.next();
            assert_eq!(group.revision, last, "the history has no gap");
        }
        assert_eq!(last, store.revision());
        store.close().await;
    }
}

on_every_database! { acknowledged_writes_survive_sigkill }

fn random_below(limit: usize) -> usize {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).unwrap();
    usize::try_from(u64::from_le_bytes(random) % limit as u64).unwrap()
}

/// As a power cut may leave it: the log ends anywhere, or holds a block of rubbish.
#[tokio::test]
async fn a_log_cut_anywhere_leaves_the_record_as_it_was_at_some_revision() {
    let record = Record::sqlite();
    let store = record.open().await;
    for number in 1..=CHANGES {
        let ops = vec![Op::put(widget("a", json!({"number": number}))), Op::put(widget(&format!("b{number}"), json!({})))];
        store.commit(signed(&number.to_string(), vec![entry("a", number, Operation::Put)], ops)).await.unwrap();
    }
    let beside = |suffix: &str| format!("{}{suffix}", record.path().display());
    let (database, log) = (std::fs::read(beside("")).unwrap(), std::fs::read(beside("-wal")).unwrap());
    store.close().await;
    let mut seen = std::collections::BTreeSet::new();
    for cut in 0..CUTS {
        let copy = Record::sqlite();
        let mut log = log.clone();
        let place = random_below(log.len());
        if cut % 2 == 0 {
            log.truncate(place);
        } else {
            log.iter_mut().skip(place).take(512).for_each(|byte| *byte ^= 0x55);
        }
        std::fs::write(copy.path(), &database).unwrap();
        std::fs::write(format!("{}-wal", copy.path().display()), &log).unwrap();
        let store = copy.open().await;
        let revision = store.revision();
        seen.insert(revision);
        assert_eq!(store.changes(None, usize::MAX).await.unwrap().len() as u64, revision.0);
        let number = |stored: std::sync::Arc<stead_store::Stored>| stored.to_object().unwrap().spec()["number"].as_u64().unwrap();
        assert_eq!(store.snapshot().get(&key("a")).map_or(0, number), revision.0);
        assert_eq!(store.snapshot().sequence(&key("a")).map_or(0, |sequence| sequence.sequence), revision.0);
        let mut watcher = store.watch(Revision(0), WatchScope::default());
        let told = std::iter::from_fn(|| watcher.try_next().unwrap()).map(|group| group.revision.0).collect::<Vec<_>>();
        assert_eq!(told, (1..=revision.0).collect::<Vec<_>>());
        store.close().await;
    }
    assert!(seen.len() > 1, "the cuts made no difference: {seen:?}");
}
