//! Random transactions against the simplest model of the record that could be right.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use stead_model::{Object, Revision, Selector};
use stead_store::{CommitError, EventKind, Expect, List, Op, Store, WatchScope};

use crate::support::{Record, commit, key, widget, widget_kind};

const NAMES: [&str; 3] = ["a", "b", "c"];
const SITES: [&str; 3] = ["graz", "linz", "wien"];

#[derive(Clone, Debug)]
enum Step {
    Put { name: usize, size: u8, site: usize, held: bool, expect: Wanted },
    Status { name: usize, value: u8, expect: Wanted },
    Delete { name: usize, expect: Wanted },
}

/// Preconditions; revisions are relative to what the model has.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Any,
    Absent,
    Exists,
    Current,
    Stale,
}

#[derive(Clone, Debug, PartialEq)]
struct Modelled {
    born: (u64, usize),
    revision: u64,
    generation: i64,
    size: u8,
    site: usize,
    held: bool,
    status: Option<u8>,
    deleting: bool,
}

type Model = BTreeMap<&'static str, Modelled>;

fn step() -> impl Strategy<Value = Step> {
    let expect = || {
        prop_oneof![
            4 => Just(Wanted::Any),
            1 => Just(Wanted::Absent),
            1 => Just(Wanted::Exists),
            2 => Just(Wanted::Current),
            1 => Just(Wanted::Stale),
        ]
    };
    let name = 0..NAMES.len();
    prop_oneof![
        3 => (name.clone(), 0..3_u8, 0..SITES.len(), prop::bool::weighted(0.3), expect())
            .prop_map(|(name, size, site, held, expect)| Step::Put { name, size, site, held, expect }),
        1 => (name.clone(), 0..2_u8, expect()).prop_map(|(name, value, expect)| Step::Status { name, value, expect }),
        1 => (name, expect()).prop_map(|(name, expect)| Step::Delete { name, expect }),
    ]
}

fn expectation(wanted: Wanted, there: Option<&Modelled>) -> (Expect, bool) {
    let revision = there.map_or(0, |there| there.revision);
    match wanted {
        Wanted::Any => (Expect::Any, true),
        Wanted::Absent => (Expect::Absent, there.is_none()),
        Wanted::Exists => (Expect::Exists, there.is_some()),
        Wanted::Current => (Expect::Revision(Revision(revision)), there.is_some()),
        Wanted::Stale => (Expect::Revision(Revision(revision + 1_000)), false),
    }
}

/// What the model says of one step; `None` where it is refused.
fn model_step(model: &mut Model, step: &Step, revision: u64, place: usize) -> Option<()> {
    match *step {
        Step::Put { name, size, site, held, .. } => {
            let Some(old) = model.get_mut(NAMES[name]) else {
                let new = Modelled {
                    born: (revision, place),
                    revision,
                    generation: 1,
                    size,
                    site,
                    held,
                    status: None,
                    deleting: false,
                };
                model.insert(NAMES[name], new);
                return Some(());
            };
            if (old.size, old.site, old.held) == (size, site, held) {
                return Some(());
            }
            if old.deleting && held && !old.held {
                return None;
            }
            if old.deleting && !held {
                model.remove(NAMES[name]);
                return Some(());
            }
            old.generation += i64::from(old.size != size);
            (old.size, old.site, old.held, old.revision) = (size, site, held, revision);
        }
        Step::Status { name, value, .. } => {
            let old = model.get_mut(NAMES[name])?;
            if old.status != Some(value) {
                (old.status, old.revision) = (Some(value), revision);
            }
        }
        Step::Delete { name, .. } => {
            let old = model.get_mut(NAMES[name])?;
            if !old.held {
                model.remove(NAMES[name]);
            } else if !old.deleting {
                (old.deleting, old.revision) = (true, revision);
            }
        }
    }
    Some(())
}

/// The operations of a transaction, and the model after it where it is to succeed.
fn plan(model: &Model, steps: &[Step], revision: u64) -> (Vec<Op>, Option<Model>) {
    let mut after = Some(model.clone());
    let mut ops = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        let (Step::Put { name, expect, .. } | Step::Status { name, expect, .. } | Step::Delete { name, expect }) = step;
        let (expect, holds) = expectation(*expect, after.as_ref().and_then(|after| after.get(NAMES[*name])));
        ops.push(match *step {
            Step::Put { name, size, site, held, .. } => {
                let mut object = widget(NAMES[name], json!({"size": size}));
                object.metadata.labels.insert("site".into(), SITES[site].into());
                object.metadata.finalizers = if held { vec!["stead.dev/held".into()] } else { vec![] };
                Op::Put { object: Box::new(object), expect }
            }
            Step::Status { name, value, .. } => {
                Op::PutStatus { key: key(NAMES[name]), status: json!({"value": value}), managed_fields: None, expect }
            }
            Step::Delete { name, .. } => Op::Delete { key: key(NAMES[name]), expect },
        });
        after = after.filter(|_| holds).and_then(|mut after| model_step(&mut after, step, revision, place).map(|()| after));
    }
    (ops, after)
}

fn seen(object: &Object) -> (u64, i64, u64, String, bool, Option<u64>, bool) {
    let metadata = &object.metadata;
    (
        metadata.resource_version.parse().unwrap(),
        metadata.generation,
        object.spec()["size"].as_u64().unwrap(),
        metadata.labels["site"].clone(),
        !metadata.finalizers.is_empty(),
        object.status()["value"].as_u64(),
        metadata.deletion_timestamp.is_some(),
    )
}

fn assert_agrees(store: &Store, model: &Model) {
    let snapshot = store.snapshot();
    let listed = |selector: &str| {
        let selector: Selector = selector.parse().unwrap();
        let list = List { kind: widget_kind(), namespace: None, selector: &selector, fields: None, after: None, limit: 0 };
        snapshot.list(&list).objects
    };
    let there: Vec<_> = listed("").iter().map(|stored| (stored.name().to_owned(), seen(&stored.to_object().unwrap()))).collect();
    let modelled = |name: &str, is: &Modelled| {
        let site = SITES[is.site].to_owned();
        (name.to_owned(), (is.revision, is.generation, u64::from(is.size), site, is.held, is.status.map(u64::from), is.deleting))
    };
    assert_eq!(there, model.iter().map(|(name, is)| modelled(name, is)).collect::<Vec<_>>());
    for (index, site) in SITES.iter().enumerate() {
        let names: Vec<_> = listed(&format!("site={site}")).iter().map(|stored| stored.name().to_owned()).collect();
        let expected: Vec<_> = model.iter().filter(|(_, is)| is.site == index).map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names, expected, "the index of site={site}");
    }
}

/// Every event there was, as text.
fn events(store: &Store) -> Vec<String> {
    let mut watcher = store.watch(Revision(0), WatchScope::default());
    let groups = std::iter::from_fn(|| watcher.try_next().unwrap());
    let text = |stored: &stead_store::Stored| String::from_utf8(stored.json().to_vec()).unwrap();
    groups
        .flat_map(|group| group.events.into_iter().map(move |event| (group.revision, event)))
        .map(|(revision, event)| {
            let previous = event.previous.as_deref().map(text);
            assert_eq!(previous.is_none(), event.kind == EventKind::Added);
            format!("{revision} {:?} {} {previous:?}", event.kind, text(&event.object))
        })
        .collect()
}

async fn run(record: &Record, transactions: Vec<Vec<Step>>) {
    let store = record.open().await;
    let mut model = Model::new();
    for steps in transactions {
        let revision = store.revision();
        let (ops, after) = plan(&model, &steps, revision.0 + 1);
        match (commit(&store, ops).await, after) {
            (Ok(committed), Some(after)) => {
                let changed = after != model;
                // A name that came and went within the transaction is no change; one that went and came is.
                assert_eq!(committed.revision, if changed { revision.next() } else { revision });
                model = after;
            }
            (Err(error), None) => assert!(!matches!(error, CommitError::Engine(_) | CommitError::Unknown(_)), "{error}"),
            (got, expected) => panic!("{steps:?}: {got:?}, and the model says {expected:?}"),
        }
        assert_agrees(&store, &model);
    }
    let told = events(&store);
    store.close().await;
    let store = record.open().await;
    assert_agrees(&store, &model);
    assert_eq!(events(&store), told, "history tells what was told live");
}

fn transactions() -> impl Strategy<Value = Vec<Vec<Step>>> {
    prop::collection::vec(prop::collection::vec(step(), 1..4), 1..30)
}

fn block_on(run: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_store_agrees_with_the_model(transactions in transactions()) {
        block_on(run(&Record::sqlite(), transactions));
    }
}

/// The same with one server for all cases: starting one takes longer than a case does.
#[test]
fn the_store_agrees_with_the_model_on_postgres() {
    let server = Record::postgres();
    let mut runner = TestRunner::new(ProptestConfig { cases: 16, ..ProptestConfig::default() });
    let databases = std::cell::Cell::new(0);
    let outcome = runner.run(&transactions(), |transactions| {
        databases.set(databases.get() + 1);
        block_on(run(&server.beside(&format!("case{}", databases.get())), transactions));
        Ok(())
    });
    outcome.unwrap();
}
