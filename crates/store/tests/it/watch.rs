//! Watches: everything, in order, once; or Gone.

use serde_json::json;
use stead_model::Revision;
use stead_store::{EventKind, Op, Options, Store, WatchError, WatchGroup, WatchScope, Watcher};

use crate::support::{Record, commit, entry, key, labelled, on_every_engine, put, signed, widget, widget_kind};

/// A revision, and of each of its events the kind, the name and the object's revision.
type Told = (u64, Vec<(EventKind, String, String)>);

fn told(group: &WatchGroup) -> Told {
    let told = group.events.iter().map(|event| {
        let object = event.object.to_object().unwrap();
        (event.kind, object.metadata.name, object.metadata.resource_version)
    });
    (group.revision.0, told.collect())
}

fn everything(watcher: &mut Watcher) -> Vec<Told> {
    std::iter::from_fn(|| watcher.try_next().unwrap()).map(|group| told(&group)).collect()
}

async fn a_life(store: &Store) {
    put(store, labelled("a", json!({"size": 1}), &[("site", "graz")])).await;
    put(store, labelled("a", json!({"size": 2}), &[("site", "graz")])).await;
    put(store, labelled("a", json!({"size": 2}), &[("site", "wien")])).await;
    put(store, labelled("a", json!({"size": 3}), &[("site", "wien")])).await;
    put(store, labelled("a", json!({"size": 3}), &[("site", "graz")])).await;
    commit(store, vec![Op::put(widget("b", json!({}))), Op::delete(key("a"))]).await.unwrap();
    commit(store, vec![Op::delete(key("b")), Op::create(widget("b", json!({})))]).await.unwrap();
}

async fn events_are_the_same_live_and_after_a_restart(record: Record) {
    use EventKind::{Added, Deleted, Modified};
    let store = record.open().await;
    let mut live = store.watch(Revision(0), WatchScope::kind(widget_kind()));
    a_life(&store).await;
    let event = |kind, name: &str, revision: u64| (kind, name.to_owned(), revision.to_string());
    let expected = vec![
        (1, vec![event(Added, "a", 1)]),
        (2, vec![event(Modified, "a", 2)]),
        (3, vec![event(Modified, "a", 3)]),
        (4, vec![event(Modified, "a", 4)]),
        (5, vec![event(Modified, "a", 5)]),
        (6, vec![event(Added, "b", 6), event(Deleted, "a", 6)]),
        (7, vec![event(Deleted, "b", 7), event(Added, "b", 7)]),
    ];
    assert_eq!(everything(&mut live), expected);
    assert_eq!(live.revision(), Revision(7));
    store.close().await;
    let store = record.open().await;
    assert_eq!(everything(&mut store.watch(Revision(0), WatchScope::default())), expected);
    assert_eq!(everything(&mut store.watch(Revision(5), WatchScope::default())), expected[5..]);
}

/// Whoever comes back has perhaps taken one of several events of a revision, and not the others.
async fn what_may_have_been_told_by_half_is_told_again(record: Record) {
    let store = record.open().await;
    a_life(&store).await;
    let from = |revision: u64, scope| everything(&mut store.watch(Revision(revision), scope).telling_again());
    let all = everything(&mut store.watch(Revision(0), WatchScope::default()));
    let of_b = WatchScope { fields: Some(std::sync::Arc::new(|stored| stored.name() == "b")), ..WatchScope::default() };
    assert_eq!(from(4, WatchScope::default()), all[4..], "one event is not told by half");
    assert_eq!(from(6, WatchScope::default()), all[5..]);
    assert_eq!(from(6, of_b), all[6..], "one event in the scope");
    assert_eq!(from(7, WatchScope::default()), all[6..]);
    // It has yet to happen here: another coordinator has told of it.
    let mut ahead = store.watch(Revision(8), WatchScope::default()).telling_again();
    let mut once = store.watch(Revision(8), WatchScope::default());
    assert_eq!((everything(&mut ahead), everything(&mut once)), (Vec::new(), Vec::new()));
    commit(&store, vec![Op::put(widget("c", json!({}))), Op::put(widget("d", json!({})))]).await.unwrap();
    put(&store, widget("e", json!({}))).await;
    let revisions = |watcher: &mut Watcher| everything(watcher).iter().map(|(revision, _)| *revision).collect::<Vec<_>>();
    assert_eq!((revisions(&mut ahead), revisions(&mut once)), (vec![8, 9], vec![9]));
}

async fn selectors_turn_changes_into_comings_and_goings(record: Record) {
    use EventKind::{Added, Deleted, Modified};
    let store = record.open().await;
    a_life(&store).await;
    let event = |kind, revision: u64| (revision, vec![(kind, "a".to_owned(), revision.to_string())]);
    let scope = WatchScope { selector: "site=graz".parse().unwrap(), ..WatchScope::default() };
    let expected = [event(Added, 1), event(Modified, 2), event(Deleted, 3), event(Added, 5), event(Deleted, 6)];
    assert_eq!(everything(&mut store.watch(Revision(0), scope)), expected);

    let wide = |stored: &stead_store::Stored| stored.to_object().is_ok_and(|object| object.spec()["size"] == 2);
    let scope = WatchScope { fields: Some(std::sync::Arc::new(wide)), ..WatchScope::default() };
    assert_eq!(everything(&mut store.watch(Revision(0), scope)), [event(Added, 2), event(Modified, 3), event(Deleted, 4)]);
    let elsewhere = WatchScope { namespace: Some("other".into()), ..WatchScope::default() };
    let mut elsewhere = store.watch(Revision(0), elsewhere);
    assert!(elsewhere.try_next().unwrap().is_none());
    assert_eq!(elsewhere.revision(), Revision(7), "a bookmark moves on where nothing is told");
}

async fn a_watch_waits_and_is_woken(record: Record) {
    let store = record.open().await;
    let mut watcher = store.watch(Revision(2), WatchScope::default());
    let waiting = tokio::spawn(async move { watcher.next().await.map(|group| group.revision) });
    for size in 0..3 {
        put(&store, widget("a", json!({"size": size}))).await;
    }
    assert_eq!(waiting.await.unwrap().unwrap(), Revision(3), "a future revision is waited for, and its past not told");

    let mut watcher = store.watch(store.revision(), WatchScope::default());
    store.close().await;
    assert_eq!(watcher.next().await.unwrap_err(), WatchError::Closed);
}

async fn a_watcher_that_falls_behind_is_told_so_and_never_skips(record: Record) {
    let store = record.open_with(Options { ring_events_max: 4, ..Options::default() }).await;
    let mut slow = store.watch(Revision(0), WatchScope::default());
    for size in 0..4 {
        put(&store, widget("a", json!({"size": size}))).await;
    }
    assert_eq!(slow.next().await.unwrap().revision, Revision(1));
    put(&store, widget("a", json!({"size": 4}))).await;
    assert_eq!(slow.next().await.unwrap().revision, Revision(2), "what it needs next is still there");
    for size in 5..8 {
        put(&store, widget("a", json!({"size": size}))).await;
    }
    let gone = WatchError::Gone { revision: Revision(2), oldest: Revision(4) };
    assert_eq!(slow.next().await.unwrap_err(), gone);
    assert_eq!(slow.next().await.unwrap_err(), gone, "and it stays so");
    store.close().await;

    let store = record.open_with(Options { ring_events_max: 4, ..Options::default() }).await;
    assert!(matches!(store.watch(Revision(3), WatchScope::default()).try_next(), Err(WatchError::Gone { .. })));
    assert_eq!(store.watch(Revision(4), WatchScope::default()).try_next().unwrap().unwrap().revision, Revision(5));
}

async fn the_ring_is_bounded_by_bytes_too(record: Record) {
    let store = record.open_with(Options { ring_bytes_max: 10_000, ..Options::default() }).await;
    for round in 0..10 {
        put(&store, widget("a", json!({"text": "x".repeat(1_000), "round": round}))).await;
    }
    assert!(matches!(store.watch(Revision(5), WatchScope::default()).try_next(), Err(WatchError::Gone { .. })));
    assert!(store.watch(Revision(7), WatchScope::default()).try_next().unwrap().is_some());
    put(&store, widget("b", json!({"text": "x".repeat(20_000)}))).await;
    let newest = store.watch(Revision(10), WatchScope::default()).try_next().unwrap();
    assert_eq!(newest.unwrap().revision, Revision(11), "the newest group is kept, however large");
}

async fn a_revision_without_events_moves_bookmarks(record: Record) {
    let store = record.open().await;
    store.commit(signed("01A", vec![entry("a", 1, stead_store::Operation::Put)], vec![])).await.unwrap();
    let mut watcher = store.watch(Revision(0), WatchScope::default());
    assert!(watcher.try_next().unwrap().is_none());
    assert_eq!(watcher.revision(), Revision(1));
}

on_every_engine! {
    events_are_the_same_live_and_after_a_restart,
    selectors_turn_changes_into_comings_and_goings,
    a_watch_waits_and_is_woken,
    a_watcher_that_falls_behind_is_told_so_and_never_skips,
    the_ring_is_bounded_by_bytes_too,
    a_revision_without_events_moves_bookmarks,
    what_may_have_been_told_by_half_is_told_again,
}
