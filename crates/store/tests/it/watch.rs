//! Watches: everything, in order, once; or Gone.

use serde_json::json;
use stead_model::Revision;
use stead_store::{EventKind, Op, Options, Retention, Store, WatchError, WatchGroup, WatchScope, Watcher};

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

async fn everything(watcher: &mut Watcher) -> Vec<Told> {
    let mut all: Vec<Told> = Vec::new();
    loop {
        match watcher.try_next().unwrap() {
            // Where it is read from the database, a revision may come in parts.
            Some(group) if all.last().is_some_and(|(last, _)| *last == group.revision.0) => {
                all.last_mut().unwrap().1.extend(told(&group).1);
            }
            Some(group) => all.push(told(&group)),
            None if watcher.is_behind() => watcher.read_on().await.unwrap(),
            None => return all,
        }
    }
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

/// What a watcher is told of it.
fn told_of_a_life() -> Vec<Told> {
    use EventKind::{Added, Deleted, Modified};
    let event = |kind, name: &str, revision: u64| (kind, name.to_owned(), revision.to_string());
    vec![
        (1, vec![event(Added, "a", 1)]),
        (2, vec![event(Modified, "a", 2)]),
        (3, vec![event(Modified, "a", 3)]),
        (4, vec![event(Modified, "a", 4)]),
        (5, vec![event(Modified, "a", 5)]),
        (6, vec![event(Added, "b", 6), event(Deleted, "a", 6)]),
        (7, vec![event(Deleted, "b", 7), event(Added, "b", 7)]),
    ]
}

async fn events_are_the_same_live_and_after_a_restart(record: Record) {
    let store = record.open().await;
    let mut live = store.watch(Revision(0), WatchScope::kind(widget_kind()));
    a_life(&store).await;
    let expected = told_of_a_life();
    assert_eq!(everything(&mut live).await, expected);
    assert_eq!(live.revision(), Revision(7));
    store.close().await;
    let store = record.open().await;
    assert_eq!(everything(&mut store.watch(Revision(0), WatchScope::default())).await, expected);
    assert_eq!(everything(&mut store.watch(Revision(5), WatchScope::default())).await, expected[5..]);
}

/// Whoever comes back has perhaps taken one of several events of a revision, and not the others; whether memory has them or not.
async fn what_may_have_been_told_by_half_is_told_again(record: Record) {
    for ring_events_max in [1, 2, 3, 100] {
        let store = record.open_with(Options { ring_events_max, ..Options::default() }).await;
        if store.revision() == Revision(0) {
            a_life(&store).await;
        }
        let all = everything(&mut store.watch(Revision(0), WatchScope::default())).await;
        let of_b = WatchScope { fields: Some(std::sync::Arc::new(|stored| stored.name() == "b")), ..WatchScope::default() };
        for (revision, scope, told) in [
            (4, WatchScope::default(), &all[4..]),
            (6, WatchScope::default(), &all[5..]),
            (6, of_b, &all[6..]),
            (7, WatchScope::default(), &all[6..]),
        ] {
            let mut watcher = store.watch(Revision(revision), scope).telling_again();
            assert_eq!(everything(&mut watcher).await, told, "from {revision} with {ring_events_max} in memory");
        }
        store.close().await;
    }
    // It has yet to happen here: another coordinator has told of it.
    let store = record.open().await;
    let mut ahead = store.watch(Revision(8), WatchScope::default()).telling_again();
    assert_eq!(everything(&mut ahead).await, []);
    commit(&store, vec![Op::put(widget("c", json!({}))), Op::put(widget("d", json!({})))]).await.unwrap();
    put(&store, widget("e", json!({}))).await;
    let told = everything(&mut ahead).await;
    assert_eq!(told.iter().map(|(revision, events)| (*revision, events.len())).collect::<Vec<_>>(), [(8, 2), (9, 1)]);
    // What happened at the revision itself is forgotten: it cannot be told again, but the watch goes on from there.
    store.compact(stead_store::Retention { revisions_max: 1, bytes_max: u64::MAX }).await.unwrap();
    store.close().await;
    let store = record.open_with(Options { ring_events_max: 1, ..Options::default() }).await;
    let mut watcher = store.watch(Revision(8), WatchScope::default()).telling_again();
    assert_eq!(everything(&mut watcher).await, told[1..]);
}

async fn selectors_turn_changes_into_comings_and_goings(record: Record) {
    use EventKind::{Added, Deleted, Modified};
    let store = record.open().await;
    a_life(&store).await;
    let event = |kind, revision: u64| (revision, vec![(kind, "a".to_owned(), revision.to_string())]);
    let scope = WatchScope { selector: "site=graz".parse().unwrap(), ..WatchScope::default() };
    let expected = [event(Added, 1), event(Modified, 2), event(Deleted, 3), event(Added, 5), event(Deleted, 6)];
    assert_eq!(everything(&mut store.watch(Revision(0), scope)).await, expected);

    let wide = |stored: &stead_store::Stored| stored.to_object().is_ok_and(|object| object.spec()["size"] == 2);
    let scope = WatchScope { fields: Some(std::sync::Arc::new(wide)), ..WatchScope::default() };
    assert_eq!(everything(&mut store.watch(Revision(0), scope)).await, [event(Added, 2), event(Modified, 3), event(Deleted, 4)]);
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

/// Few events in memory, and small pages of the rest.
fn forgetful() -> Options {
    Options { ring_events_max: 4, history_page_steps_max: 3, ..Options::default() }
}

async fn a_watcher_that_falls_behind_is_told_from_the_database_until_that_forgets(record: Record) {
    let store = record.open_with(forgetful()).await;
    let mut slow = store.watch(Revision(0), WatchScope::default());
    let mut picky = store.watch(Revision(0), WatchScope::default());
    for size in 0..4 {
        put(&store, widget("a", json!({"size": size}))).await;
    }
    for watcher in [&mut slow, &mut picky] {
        assert_eq!(watcher.next().await.unwrap().revision, Revision(1));
    }
    put(&store, widget("a", json!({"size": 4}))).await;
    assert_eq!(slow.next().await.unwrap().revision, Revision(2), "what it needs next is still there");
    for size in 5..12 {
        put(&store, widget("a", json!({"size": size}))).await;
    }
    assert!(picky.next_at_hand().await.unwrap().is_none(), "who does not want to wait for the database is told so");
    assert!(slow.is_behind() && slow.try_next().unwrap().is_none());
    for revision in 3..=5 {
        let group = slow.next().await.unwrap();
        assert_eq!((group.revision, group.shared), (Revision(revision), false));
        assert_eq!(slow.revision(), Revision(revision));
    }
    store.compact(Retention { revisions_max: 5, bytes_max: u64::MAX }).await.unwrap();
    assert_eq!(slow.next().await.unwrap().revision, Revision(6), "what it has read already it tells");
    let gone = WatchError::Gone { revision: Revision(6), oldest: Revision(8) };
    assert_eq!(slow.next().await.unwrap_err(), gone);
    assert_eq!(slow.next().await.unwrap_err(), gone, "and it stays so");
    let mut kept = store.watch(Revision(7), WatchScope::default());
    for (revision, shared) in [(8, false), (9, true), (10, true), (11, true), (12, true)] {
        let group = kept.next().await.unwrap();
        assert_eq!((group.revision, group.shared), (Revision(revision), shared));
    }
    store.close().await;

    let store = record.open_with(forgetful()).await;
    let forgotten = store.watch(Revision(6), WatchScope::default()).next().await.unwrap_err();
    assert!(matches!(forgotten, WatchError::Gone { revision: Revision(6), .. }), "{forgotten}");
    assert_eq!(store.watch(Revision(7), WatchScope::default()).next().await.unwrap().revision, Revision(8));
    let mut late = store.watch(Revision(7), WatchScope::default());
    store.close().await;
    assert_eq!(late.next().await.unwrap_err(), WatchError::Closed);
}

async fn what_is_read_from_the_database_is_what_was_told_live(record: Record) {
    let store = record.open_with(Options { ring_events_max: 1, history_page_steps_max: 2, ..Options::default() }).await;
    a_life(&store).await;
    for after in 0..7 {
        let told = everything(&mut store.watch(Revision(after), WatchScope::kind(widget_kind()))).await;
        assert_eq!(told, told_of_a_life()[after as usize..], "after {after}");
    }
    let event = |kind, revision: u64| (revision, vec![(kind, "a".to_owned(), revision.to_string())]);
    let selected = WatchScope { selector: "site=graz".parse().unwrap(), ..WatchScope::default() };
    let expected = [event(EventKind::Added, 1), event(EventKind::Modified, 2), event(EventKind::Deleted, 3)];
    assert_eq!(everything(&mut store.watch(Revision(0), selected)).await[..3], expected);
    let elsewhere = WatchScope { namespace: Some("other".into()), ..WatchScope::default() };
    let mut elsewhere = store.watch(Revision(0), elsewhere);
    elsewhere.read_on().await.unwrap();
    assert_eq!((elsewhere.try_next().unwrap().is_none(), elsewhere.revision()), (true, Revision(1)), "a bookmark moves on");
    assert!(everything(&mut elsewhere).await.is_empty());
    assert_eq!(elsewhere.revision(), Revision(7));
}

async fn a_revision_of_many_events_is_not_told_before_its_last(record: Record) {
    let store = record.open_with(Options { ring_events_max: 1, history_page_steps_max: 4, ..Options::default() }).await;
    put(&store, widget("a", json!({}))).await;
    let many = (0..9).map(|number| Op::put(widget(&format!("w{number}"), json!({}))));
    // One that goes and comes within it is told of twice.
    let again = [Op::delete(key("a")), Op::create(widget("a", json!({"again": true})))];
    commit(&store, many.chain(again).collect()).await.unwrap();
    put(&store, widget("b", json!({}))).await;
    put(&store, widget("c", json!({}))).await;
    let mut watcher = store.watch(Revision(1), WatchScope::default());
    let mut names = Vec::new();
    while names.len() < 11 {
        assert_eq!(watcher.revision(), Revision(1), "after {names:?}");
        let group = watcher.next().await.unwrap();
        assert_eq!(group.revision, Revision(2));
        names.extend(group.events.iter().map(|event| (event.kind, event.object.name().to_owned())));
    }
    let again = [EventKind::Deleted, EventKind::Added].map(|kind| (kind, "a".to_owned()));
    let expected = (0..9).map(|number| (EventKind::Added, format!("w{number}"))).chain(again);
    assert_eq!(names, expected.collect::<Vec<_>>());
    assert_eq!(watcher.next().await.unwrap().revision, Revision(3));
    assert_eq!(watcher.next().await.unwrap().revision, Revision(4));
}

async fn a_page_ends_with_its_bytes(record: Record) {
    let options = Options { ring_events_max: 1, history_page_bytes_max: 12_000, ..Options::default() };
    let store = record.open_with(options).await;
    for (name, bytes) in [("a", 100), ("b", 20_000), ("c", 100), ("a", 9_000), ("a", 100), ("d", 100)] {
        put(&store, widget(name, json!({"text": "x".repeat(bytes)}))).await;
    }
    let mut watcher = store.watch(Revision(0), WatchScope::default());
    let mut pages = Vec::new();
    while watcher.is_behind() {
        watcher.read_on().await.unwrap();
        let mut page = Vec::new();
        while let Some(group) = watcher.try_next().unwrap() {
            page.push(group.revision.0);
        }
        pages.push(page);
    }
    assert_eq!(pages, [vec![1], vec![2], vec![3, 4], vec![5, 6]], "what goes past the limit has a page of its own");
}

async fn the_ring_is_bounded_by_bytes_too(record: Record) {
    let store = record.open_with(Options { ring_bytes_max: 10_000, ..Options::default() }).await;
    for round in 0..10 {
        put(&store, widget("a", json!({"text": "x".repeat(1_000), "round": round}))).await;
    }
    assert!(store.watch(Revision(5), WatchScope::default()).is_behind());
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
    a_watcher_that_falls_behind_is_told_from_the_database_until_that_forgets,
    what_is_read_from_the_database_is_what_was_told_live,
    a_revision_of_many_events_is_not_told_before_its_last,
    a_page_ends_with_its_bytes,
    the_ring_is_bounded_by_bytes_too,
    a_revision_without_events_moves_bookmarks,
    what_may_have_been_told_by_half_is_told_again,
}
