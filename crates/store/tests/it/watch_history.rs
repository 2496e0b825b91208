//! Watches from any revision that is kept, whatever is written and forgotten meanwhile: what somebody saw who was there from the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use stead_model::{Object, Revision};
use stead_peers::Shutdown;
use stead_store::{List, Op, Options, Retention, Snapshot, Store, Stored, WatchError, WatchGroup, WatchScope, Watcher};

use crate::support::{Record, commit, key, labelled, on_every_engine, put, widget, widget_kind};

const NAMES: [&str; 3] = ["a", "b", "c"];
const SITES: [&str; 3] = ["graz", "linz", "wien"];

/// One event as text, with everything that a watcher can see of it.
type Told = (Revision, String);

fn told(group: WatchGroup) -> impl Iterator<Item = Told> {
    let text = |stored: &Stored| String::from_utf8(stored.json().to_vec()).unwrap();
    let revision = group.revision;
    group.events.into_iter().map(move |event| {
        let labels: Vec<_> = event.object.labels().collect();
        let (uid, revision_of) = (event.object.uid(), event.object.revision());
        let previous = event.previous.as_deref().map(text);
        (revision, format!("{:?} {uid} {revision_of} {labels:?} {} before {previous:?}", event.kind, text(&event.object)))
    })
}

/// Everything up to a revision.
async fn until(watcher: &mut Watcher, last: Revision) -> Result<Vec<Told>, WatchError> {
    let mut all = Vec::new();
    while watcher.revision() < last {
        match watcher.try_next()? {
            Some(group) => all.extend(told(group)),
            None if watcher.is_behind() => watcher.read_on().await?,
            None if watcher.revision() < last => all.extend(told(watcher.next().await?)),
            None => {}
        }
    }
    Ok(all)
}

/// A scope of each kind that watches have.
fn scopes() -> Vec<WatchScope> {
    let small = |stored: &Stored| stored.to_object().is_ok_and(|object| object.spec()["size"].as_u64() < Some(2));
    vec![
        WatchScope::default(),
        WatchScope { selector: "site=graz".parse().unwrap(), ..WatchScope::default() },
        WatchScope { selector: "site!=wien".parse().unwrap(), fields: Some(Arc::new(small)), ..WatchScope::default() },
        WatchScope { namespace: Some("tenant".to_owned()), ..WatchScope::default() },
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Put { name: usize, site: usize, size: u8, tenant: bool },
    Delete { name: usize },
}

fn transactions() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let name = 0..NAMES.len();
    let step = prop_oneof![
        4 => (name.clone(), 0..SITES.len(), 0..4_u8, prop::bool::weighted(0.2))
            .prop_map(|(name, site, size, tenant)| Step::Put { name, site, size, tenant }),
        1 => name.prop_map(|name| Step::Delete { name }),
    ];
    prop::collection::vec(prop::collection::vec(step, 1..5), 1..25)
}

#[derive(Clone, Debug)]
struct Case {
    transactions: Vec<Vec<Step>>,
    ring_events_max: usize,
    history_page_steps_max: usize,
    /// How many revisions are kept.
    kept: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    (transactions(), 1..6_usize, 1..8_usize, 1..40_u64).prop_map(
        |(transactions, ring_events_max, history_page_steps_max, kept)| Case {
            transactions,
            ring_events_max,
            history_page_steps_max,
            kept,
        },
    )
}

fn put_op(name: &str, site: &str, size: u8, tenant: bool) -> Op {
    let mut object: Object = labelled(name, json!({"size": size}), &[("site", site)]);
    object.metadata.namespace = if tenant { "tenant".to_owned() } else { String::new() };
    Op::put(object)
}

async fn run(record: &Record, case: Case) {
    let options = || Options {
        ring_events_max: case.ring_events_max,
        history_page_steps_max: case.history_page_steps_max,
        ..Options::default()
    };
    let store = record.open_with(options()).await;
    let mut states = vec![(Revision(0), contents(&store.snapshot()))];
    let mut live: Vec<(WatchScope, Watcher, Vec<Told>)> =
        scopes().into_iter().map(|scope| (scope.clone(), store.watch(Revision(0), scope), Vec::new())).collect();
    for steps in &case.transactions {
        let ops = steps.iter().map(|step| match *step {
            Step::Put { name, site, size, tenant } => put_op(NAMES[name], SITES[site], size, tenant),
            Step::Delete { name } => Op::delete(key(NAMES[name])),
        });
        // A deletion of what is not there is refused; that is not what is looked at here.
        let _ = commit(&store, ops.collect()).await;
        states.push((store.revision(), contents(&store.snapshot())));
        for (_, watcher, seen) in &mut live {
            while let Some(group) = watcher.try_next().unwrap() {
                assert!(group.shared, "it was there when it happened");
                seen.extend(told(group));
            }
        }
    }
    let last = store.revision();
    let compacted = store.compact(Retention { revisions_max: case.kept, bytes_max: u64::MAX }).await.unwrap();
    assert_from_every_revision(&store, &live, compacted, last).await;
    assert_rewinds(&store, &states);
    store.close().await;
    // Memory begins anew with what the database has.
    let store = record.open_with(options()).await;
    assert_from_every_revision(&store, &live, compacted, last).await;
    store.close().await;
}

async fn assert_from_every_revision(
    store: &Store,
    live: &[(WatchScope, Watcher, Vec<Told>)],
    compacted: Revision,
    last: Revision,
) {
    for after in (0..=last.0).map(Revision) {
        for (scope, _, seen) in live {
            let mut watcher = store.watch(after, scope.clone());
            let found = until(&mut watcher, last).await;
            let expected: Vec<Told> = seen.iter().filter(|(revision, _)| *revision > after).cloned().collect();
            match found {
                Ok(found) => assert_eq!(found, expected, "{scope:?} after {after}"),
                Err(error) => assert!(after < compacted, "{scope:?} after {after}, with {compacted} compacted: {error}"),
            }
        }
    }
}

/// The objects by every index there is of them.
fn contents(snapshot: &Snapshot) -> Vec<Vec<String>> {
    let listed = |namespace: Option<&str>, selector: &str| -> Vec<String> {
        let selector = selector.parse().unwrap();
        let page =
            snapshot.list(&List { kind: widget_kind(), namespace, selector: &selector, fields: None, after: None, limit: 0 });
        let first =
            snapshot.list(&List { kind: widget_kind(), namespace, selector: &selector, fields: None, after: None, limit: 1 });
        let counted = [format!("{} in all", first.objects.len() as u64 + first.remaining.unwrap())];
        page.objects.iter().map(|stored| String::from_utf8(stored.json().to_vec()).unwrap()).chain(counted).collect()
    };
    let labels = SITES.map(|site| format!("site={site}"));
    let selectors = labels.iter().map(String::as_str).chain(["", "site!=graz"]);
    selectors.flat_map(|selector| [None, Some(""), Some("tenant")].map(|namespace| listed(namespace, selector))).collect()
}

/// As far as memory reaches back, the record is shown as it was.
fn assert_rewinds(store: &Store, states: &[(Revision, Vec<Vec<String>>)]) {
    let mut reached = 0;
    for (revision, expected) in states {
        match store.rewound(*revision) {
            Ok(snapshot) => {
                assert_eq!((snapshot.revision(), &contents(&snapshot)), (*revision, expected));
                reached += 1;
            }
            Err(_) => assert_eq!(reached, 0, "{revision}"),
        }
    }
    assert!(reached > 0);
    assert!(store.rewound(Revision(store.revision().0 + 1)).is_err());
}

fn block_on(run: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn every_kept_revision_tells_what_was_told_live(case in cases()) {
        block_on(run(&Record::sqlite(), case));
    }
}

/// The same with one server for all cases.
#[test]
fn every_kept_revision_tells_what_was_told_live_on_postgres() {
    let server = Record::postgres();
    let mut runner = TestRunner::new(ProptestConfig { cases: 12, ..ProptestConfig::default() });
    let databases = std::cell::Cell::new(0);
    let outcome = runner.run(&cases(), |case| {
        databases.set(databases.get() + 1);
        block_on(run(&server.beside(&format!("case{}", databases.get())), case));
        Ok(())
    });
    outcome.unwrap();
}

/// Small enough that every watch has to read from the database, and large enough that some get back into memory.
fn forgetful() -> Options {
    Options { ring_events_max: 40, history_page_steps_max: 25, ..Options::default() }
}

const WRITES: u64 = 400;

/// Writes through a store until it has done its share.
async fn write(store: Store, writer: usize) {
    for round in 0..WRITES {
        let name = format!("w{}", (round as usize * 7 + writer) % 11);
        if round % 9 == 8 {
            // Somebody else may have deleted it.
            let _ = commit(&store, vec![Op::delete(key(&name))]).await;
        } else {
            let site = SITES[round as usize % SITES.len()];
            let second = widget(&format!("own{writer}"), json!({"round": round}));
            commit(
                &store,
                vec![Op::put(labelled(&name, json!({"by": writer, "round": round}), &[("site", site)])), Op::put(second)],
            )
            .await
            .unwrap();
        }
    }
}

/// Watches from older and older revisions while others write and forget; gives back what each was told.
async fn look_back(store: Store, done: Arc<AtomicBool>, step: u64) -> Vec<(Revision, Vec<Told>, Option<WatchError>)> {
    let mut looks = Vec::new();
    while !done.load(Ordering::SeqCst) {
        let now = store.revision();
        let after = Revision(now.0.saturating_sub(step * (looks.len() as u64 % 12)));
        let mut watcher = store.watch(after, WatchScope::default());
        let (mut seen, mut end) = (Vec::new(), None);
        while watcher.revision() < now && end.is_none() {
            match watcher.next().await {
                Ok(group) => seen.extend(told(group)),
                Err(error) => end = Some(error),
            }
        }
        looks.push((after, seen, end));
        tokio::task::yield_now().await;
    }
    looks
}

/// Everybody who looked back was told what the one saw who was there all the time: from its place, without gap or repetition.
fn assert_told(live: &[Told], looks: Vec<(Revision, Vec<Told>, Option<WatchError>)>) -> usize {
    let mut told_by_the_database = 0;
    for (after, seen, end) in looks {
        let from = live.partition_point(|(revision, _)| *revision <= after);
        assert_eq!(seen[..], live[from..from + seen.len()], "after {after}");
        match end {
            None => told_by_the_database += usize::from(seen.len() > 40),
            Some(WatchError::Gone { revision, oldest }) => assert!(revision < oldest, "{revision} {oldest}"),
            Some(other) => panic!("{other}"),
        }
    }
    told_by_the_database
}

async fn watches_look_back_while_others_write_and_forget(record: Record) {
    let (writing, looking) = (record.open_with(forgetful()).await, Options::default());
    // Where several can, another coordinator forgets, and another is looked at.
    let shared = record.postgres.is_some();
    let other = if shared { record.open_with(forgetful()).await } else { writing.clone() };
    let witness = if shared { record.open_with(looking).await } else { writing.clone() };
    let mut live = witness.watch(Revision(0), WatchScope::default());
    let (done, witnessed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let lookers: Vec<_> = [(&writing, 30), (&other, 45), (&other, 5)]
        .into_iter()
        .map(|(store, step)| tokio::spawn(look_back(store.clone(), Arc::clone(&done), step)))
        .collect();
    let forgetting = {
        let (store, done, witnessed) = (other.clone(), Arc::clone(&done), Arc::clone(&witnessed));
        tokio::spawn(async move {
            while !done.load(Ordering::SeqCst) {
                // Nothing that the witness has yet to see.
                let kept = store.revision().0.saturating_sub(witnessed.load(Ordering::SeqCst)).max(100) + 200;
                store.compact(Retention { revisions_max: kept, bytes_max: u64::MAX }).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    let finish = Arc::new(AtomicBool::new(false));
    let seeing = {
        let finish = Arc::clone(&finish);
        tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                witnessed.store(live.revision().0, Ordering::SeqCst);
                // Asked before the watch is: what was there when the end was called is told first.
                let last = finish.load(Ordering::SeqCst);
                match live.try_next().unwrap() {
                    Some(group) => seen.extend(told(group)),
                    None if live.is_behind() => live.read_on().await.unwrap(),
                    None if last => return (live.revision(), seen),
                    None => tokio::task::yield_now().await,
                }
            }
        })
    };
    let writers = [(0, &writing), (1, &other), (2, &writing)].map(|(writer, store)| tokio::spawn(write(store.clone(), writer)));
    for writer in writers {
        writer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    forgetting.await.unwrap();
    let last = writing.revision().max(other.revision());
    if witness.revision() < last {
        witness.past(Revision(last.0 - 1)).await.unwrap();
    }
    finish.store(true, Ordering::SeqCst);
    let (end, live) = seeing.await.unwrap();
    assert_eq!(end, last);
    let mut from_the_database = 0;
    for looker in lookers {
        from_the_database += assert_told(&live, looker.await.unwrap());
    }
    assert!(from_the_database > 0, "nobody read from the database");
}

async fn a_record_that_begins_anew_is_another(record: Record) {
    let engine = record.engine().await;
    let store = Store::open_on(Arc::clone(&engine), forgetful()).await.unwrap();
    for size in 0..100 {
        put(&store, widget("a", json!({"size": size}))).await;
    }
    let mut behind = store.watch(Revision(10), WatchScope::default());
    assert_eq!(behind.next().await.unwrap().revision, Revision(11));
    engine.begin_anew(&store.incarnation(), crate::support::time(0)).await.unwrap();
    let gone = loop {
        match behind.next().await {
            // What it has read already is true of the record that it watches.
            Ok(group) => assert!(group.revision <= Revision(35), "{group:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(gone, WatchError::Gone { .. }), "{gone}");
}

on_every_engine! {
    4:
    watches_look_back_while_others_write_and_forget,
    a_record_that_begins_anew_is_another,
}

/// A page that one coordinator began is shown by another, as it was then.
#[tokio::test]
async fn another_coordinator_shows_the_record_as_it_was() {
    let record = Record::postgres();
    let (first, second) = (record.open().await, record.open().await);
    let mut states = Vec::new();
    for round in 0..30 {
        commit(&first, vec![put_op(NAMES[round % 3], SITES[round % 2], (round % 4) as u8, round % 5 == 0)]).await.unwrap();
        states.push((first.revision(), contents(&first.snapshot())));
    }
    second.past(Revision(first.revision().0 - 1)).await.unwrap();
    for (revision, expected) in states {
        assert_eq!(contents(&second.rewound(revision).unwrap()), expected, "{revision}");
    }
}

/// The database goes away in the middle of it, and comes back.
#[tokio::test]
async fn a_watch_goes_on_where_the_database_left_it() {
    let mut record = Record::postgres();
    let store = record.open_with(forgetful()).await;
    for size in 0..100 {
        put(&store, widget("a", json!({"size": size}))).await;
    }
    let mut watcher = store.watch(Revision(0), WatchScope::default());
    let first = until(&mut watcher, Revision(20)).await.unwrap();
    record.postgres.as_mut().unwrap().stop(Shutdown::Fast);
    let mut rest = Vec::new();
    let error = loop {
        match watcher.next().await {
            Ok(group) => rest.extend(told(group)),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, WatchError::Unread { revision, away: true, .. } if *revision == watcher.revision()), "{error}");
    record.postgres.as_mut().unwrap().start_again();
    rest.extend(until(&mut watcher, Revision(100)).await.unwrap());
    let revisions: Vec<u64> = first.iter().chain(&rest).map(|(revision, _)| revision.0).collect();
    assert_eq!(revisions, (1..=100).collect::<Vec<_>>());
}
