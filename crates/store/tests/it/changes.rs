//! Signed Changes: sequences, seals, roots, and what is read back of them.

use serde_json::json;
use stead_model::Revision;
use stead_store::{ChangeReference, CommitError, Op, Operation, Retention, RootDocument, Sequence, Transaction};

use crate::support::{Record, commit, entry, key, on_every_engine, put, signed, time, widget};

async fn a_change_is_kept_with_its_receipt_and_entries(record: Record) {
    let store = record.open().await;
    put(&store, widget("unsigned", json!({}))).await;
    let entries = vec![entry("a", 1, Operation::Put), entry("b", 1, Operation::Put)];
    let ops = vec![Op::put(widget("a", json!({}))), Op::put(widget("b", json!({})))];
    let committed = store.commit(signed("01A", entries, ops)).await.unwrap();
    assert_eq!(committed.revision, Revision(2));

    let change = store.change(ChangeReference::Id("01A".into())).await.unwrap().unwrap();
    assert_eq!(change.receipt, b"receipt 2");
    assert_eq!(change.statement, b"statement 01A");
    assert_eq!((change.message.as_str(), change.time), ("because", time(0)));
    assert_eq!(store.change(ChangeReference::Revision(Revision(2))).await.unwrap(), Some(change.clone()));
    assert_eq!(store.change(ChangeReference::Revision(Revision(1))).await.unwrap(), None);
    let kept = store.entries(Revision(2)).await.unwrap();
    assert_eq!(kept.iter().map(|entry| (entry.index, entry.key.clone())).collect::<Vec<_>>(), [(0, key("a")), (1, key("b"))]);

    let tombstone = signed("01B", vec![entry("a", 2, Operation::Delete)], vec![Op::delete(key("a"))]);
    store.commit(tombstone).await.unwrap();
    let newest = store.newest_entries(vec![key("a"), key("b"), key("unsigned")]).await.unwrap();
    let seen: Vec<_> =
        newest.iter().map(|(change, entry)| (change.id.as_str(), entry.key.name.as_str(), entry.sequence)).collect();
    assert_eq!(seen, [("01A", "b", 1), ("01B", "a", 2)]);
    assert_eq!(newest[1].1.object, None);

    let ids = |changes: Vec<stead_store::Change>| changes.into_iter().map(|change| change.id).collect::<Vec<_>>();
    assert_eq!(ids(store.changes(None, 10).await.unwrap()), ["01B", "01A"]);
    assert_eq!(ids(store.changes(None, 1).await.unwrap()), ["01B"]);
    assert_eq!(ids(store.changes(Some(Revision(3)), 10).await.unwrap()), ["01A"]);
}

async fn what_was_signed_before_is_found(record: Record) {
    let store = record.open().await;
    let put = |name: &str| vec![Op::put(widget(name, json!({})))];
    store.commit(signed("01AX", vec![entry("a", 1, Operation::Put)], put("a"))).await.unwrap();
    store.commit(signed("01AY", vec![entry("a", 2, Operation::Put), entry("b", 1, Operation::Put)], put("b"))).await.unwrap();
    store.commit(signed("01B", vec![entry("a", 3, Operation::Delete)], vec![Op::delete(key("a"))])).await.unwrap();
    let wanted = vec![(key("a"), 1), (key("a"), 3), (key("b"), 1), (key("a"), 9), (key("c"), 1)];
    let mut found: Vec<_> = store.entries_at(wanted).await.unwrap();
    found.sort_by_key(|(_, entry)| (entry.key.clone(), entry.sequence));
    let seen: Vec<_> =
        found.iter().map(|(change, entry)| (change.id.as_str(), entry.key.name.as_str(), entry.sequence)).collect();
    assert_eq!(seen, [("01AX", "a", 1), ("01B", "a", 3), ("01AY", "b", 1)]);
    for (prefix, limit, expected) in [("01A", 9, 2), ("01A", 1, 1), ("01AX", 9, 1), ("01", 9, 3), ("02", 9, 0), ("01AXX", 9, 0)] {
        let found = store.changes_named(prefix, limit).await.unwrap();
        assert_eq!(found.len(), expected, "{prefix}");
        assert!(found.iter().all(|change| change.id.starts_with(prefix)), "{prefix}");
    }
}

async fn sequences_go_up_by_one_and_outlive_deletion(record: Record) {
    let store = record.open().await;
    let put_a = || vec![Op::put(widget("a", json!({})))];
    for wrong in [0, 2] {
        let refused = store.commit(signed("01X", vec![entry("a", wrong, Operation::Put)], put_a())).await;
        assert!(matches!(refused, Err(CommitError::SequenceTaken { current: 0, .. })), "{wrong}");
    }
    store.commit(signed("01A", vec![entry("a", 1, Operation::Put)], put_a())).await.unwrap();
    store.commit(signed("01B", vec![entry("a", 2, Operation::Delete)], vec![Op::delete(key("a"))])).await.unwrap();
    let tombstone = Sequence { sequence: 2, revision: Revision(2), deleted: true };
    assert_eq!(store.snapshot().sequence(&key("a")), Some(tombstone));
    store.close().await;

    let store = record.open().await;
    assert_eq!(store.snapshot().sequence(&key("a")), Some(tombstone));
    assert_eq!(store.snapshot().sequences(&crate::support::widget_kind()), [(key("a"), tombstone)]);
    let replay = store.commit(signed("01C", vec![entry("a", 1, Operation::Put)], put_a())).await;
    assert!(matches!(replay, Err(CommitError::SequenceTaken { current: 2, signed: 1, .. })));
    store.commit(signed("01D", vec![entry("a", 3, Operation::Put)], put_a())).await.unwrap();
}

async fn of_two_changes_for_one_sequence_one_wins(record: Record) {
    let store = record.open().await;
    let change = |id: &str| signed(id, vec![entry("a", 1, Operation::Put)], vec![Op::put(widget("a", json!({"by": id})))]);
    let (first, second) = tokio::join!(store.commit(change("01A")), store.commit(change("01B")));
    assert!(first.is_ok());
    assert!(matches!(second, Err(CommitError::SequenceTaken { current: 1, .. })));
    assert_eq!(store.revision(), Revision(1));
}

async fn a_change_is_committed_once(record: Record) {
    let store = record.open().await;
    let change = || signed("01A", vec![], vec![Op::put(widget("a", json!({})))]);
    let (first, second) = tokio::join!(store.commit(change()), store.commit(change()));
    assert_eq!(first.unwrap().revision, Revision(1));
    assert!(matches!(second, Err(CommitError::ChangeExists { revision: Revision(1), .. })));
    assert!(matches!(store.commit(change()).await, Err(CommitError::ChangeExists { revision: Revision(1), .. })));
}

async fn a_change_without_effect_on_objects_still_has_a_revision(record: Record) {
    let store = record.open().await;
    let ops = || vec![Op::put(widget("a", json!({})))];
    store.commit(signed("01A", vec![entry("a", 1, Operation::Put)], ops())).await.unwrap();
    let again = store.commit(signed("01B", vec![entry("a", 2, Operation::Put)], ops())).await.unwrap();
    assert_eq!(again.revision, Revision(2));
    // Whoever follows the object hears that it has a new sequence.
    assert_eq!(store.snapshot().get(&key("a")).unwrap().revision(), Revision(2));
    store.close().await;
    assert_eq!(record.open().await.revision(), Revision(2));
}

async fn a_seal_that_fails_refuses_the_change(record: Record) {
    let store = record.open().await;
    let mut transaction = signed("01A", vec![entry("a", 1, Operation::Put)], vec![Op::put(widget("a", json!({})))]);
    transaction.change.as_mut().unwrap().seal = Box::new(|_| Err("the key is away".into()));
    let refused = store.commit(transaction).await.unwrap_err();
    assert!(refused.to_string().contains("the key is away"), "{refused}");
    assert!(store.snapshot().get(&key("a")).is_none());
    assert_eq!(store.snapshot().sequence(&key("a")), None);
    assert_eq!(put(&store, widget("a", json!({}))).await, Revision(1));
}

async fn roots_are_a_chain(record: Record) {
    let store = record.open().await;
    let root = |version: u64| RootDocument { version, document: vec![1], signatures: vec![2] };
    let transaction = |version| Transaction { root: Some(root(version)), ..Transaction::unsigned(time(0), vec![]) };
    assert!(matches!(store.commit(transaction(2)).await, Err(CommitError::RootVersion { given: 2, current: 0 })));
    store.commit(transaction(1)).await.unwrap();
    store.commit(transaction(2)).await.unwrap();
    assert!(matches!(store.commit(transaction(2)).await, Err(CommitError::RootVersion { given: 2, current: 2 })));
    store.close().await;
    let snapshot = record.open().await.snapshot();
    assert_eq!(snapshot.newest_root().as_deref(), Some(&root(2)));
    assert_eq!(snapshot.root(1).as_deref(), Some(&root(1)));
    assert_eq!(snapshot.roots_after(0).len(), 2);
    assert_eq!(snapshot.roots_after(2).len(), 0);
}

async fn compaction_leaves_changes_and_tombstones_alone(record: Record) {
    let store = record.open().await;
    store.commit(signed("01A", vec![entry("a", 1, Operation::Put)], vec![Op::put(widget("a", json!({})))])).await.unwrap();
    store.commit(signed("01B", vec![entry("a", 2, Operation::Delete)], vec![Op::delete(key("a"))])).await.unwrap();
    for size in 0..20 {
        commit(&store, vec![Op::put(widget("b", json!({"size": size})))]).await.unwrap();
    }
    let kept = Retention { revisions_max: 5, bytes_max: u64::MAX };
    assert_eq!(store.compact(kept).await.unwrap(), Revision(17));
    assert_eq!(store.compact(kept).await.unwrap(), Revision(17));
    store.close().await;
    let store = record.open().await;
    assert_eq!(store.changes(None, 10).await.unwrap().len(), 2);
    assert_eq!(store.snapshot().sequence(&key("a")).unwrap().sequence, 2);
    let mut watcher = store.watch(Revision(16), stead_store::WatchScope::default());
    assert_eq!(watcher.next().await.unwrap_err(), stead_store::WatchError::Gone { revision: Revision(16), oldest: Revision(17) });
    let mut watcher = store.watch(Revision(17), stead_store::WatchScope::default());
    assert_eq!(watcher.try_next().unwrap().unwrap().revision, Revision(18));
    let by_bytes = store.compact(Retention { revisions_max: 100, bytes_max: 0 }).await.unwrap();
    assert_eq!(by_bytes, Revision(22));
}

on_every_engine! {
    a_change_is_kept_with_its_receipt_and_entries,
    what_was_signed_before_is_found,
    sequences_go_up_by_one_and_outlive_deletion,
    of_two_changes_for_one_sequence_one_wins,
    a_change_is_committed_once,
    a_change_without_effect_on_objects_still_has_a_revision,
    a_seal_that_fails_refuses_the_change,
    roots_are_a_chain,
    compaction_leaves_changes_and_tombstones_alone,
}
