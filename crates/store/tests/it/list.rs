//! Pages: order, selectors, counts, and the revision of page 1.

use serde_json::json;
use stead_model::{GroupKind, Object, Revision, Selector};
use stead_store::{Cursor, List, Op, Options, RETAINED_SECONDS_MAX, RETAINED_SNAPSHOTS_MAX, Snapshot, Store};

use crate::support::{Record, commit, key, labelled, on_every_engine, put, time, widget, widget_kind};

fn list<'a>(selector: &'a Selector, namespace: Option<&'a str>, limit: usize) -> List<'a> {
    List { kind: widget_kind(), namespace, selector, fields: None, after: None, limit }
}

/// All names, page by page, with what each page says remains.
fn pages(snapshot: &Snapshot, selector: &str, namespace: Option<&str>, limit: usize) -> (Vec<String>, Vec<Option<u64>>) {
    let selector = selector.parse().unwrap();
    let (mut names, mut remaining, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = snapshot.list(&List { after, ..list(&selector, namespace, limit) });
        names.extend(page.objects.iter().map(|stored| format!("{}/{}", stored.namespace(), stored.name())));
        remaining.push(page.remaining);
        after = page.next;
        if after.is_none() {
            return (names, remaining);
        }
    }
}

async fn filled(record: &Record) -> Store {
    let store = record.open_with(Options::default()).await;
    let mut ops = Vec::new();
    for (namespace, name, site, host) in [
        ("b", "y", "graz", "h1"),
        ("a", "z", "graz", "h2"),
        ("a", "x", "wien", "h3"),
        ("a-b", "x", "graz", "h4"),
        ("a", "y", "graz", "h5"),
    ] {
        let mut object: Object = labelled(name, json!({"host": host}), &[("site", site), ("host", host)]);
        object.metadata.namespace = namespace.into();
        ops.push(Op::create(object));
    }
    commit(&store, ops).await.unwrap();
    store
}

/// Selector, namespace, limit; the names on all pages, and what each page says remains.
type Case = (&'static str, Option<&'static str>, usize, &'static [&'static str], &'static [u64]);

async fn pages_are_ordered_and_counted(record: Record) {
    let snapshot = filled(&record).await.snapshot();
    let cases: [Case; 11] = [
        ("", None, 0, &["a/x", "a/y", "a/z", "a-b/x", "b/y"], &[0]),
        ("", None, 2, &["a/x", "a/y", "a/z", "a-b/x", "b/y"], &[3, 1, 0]),
        ("", Some("a"), 2, &["a/x", "a/y", "a/z"], &[1, 0]),
        ("", Some("nowhere"), 2, &[], &[0]),
        ("site=graz", None, 1, &["a/y", "a/z", "a-b/x", "b/y"], &[3, 2, 1, 0]),
        ("site=graz", Some("a"), 1, &["a/y", "a/z"], &[1, 0]),
        ("site=graz,host in (h4)", None, 1, &["a-b/x"], &[0]),
        ("site=graz,host!=h4", None, 1, &["a/y", "a/z", "b/y"], &[2, 1, 0]),
        ("host in (h1,h3)", None, 1, &["a/x", "b/y"], &[1, 0]),
        ("site=linz", None, 1, &[], &[0]),
        ("!rack,site", Some("a"), 2, &["a/x", "a/y", "a/z"], &[1, 0]),
    ];
    for (selector, namespace, limit, names, remaining) in cases {
        let expected = remaining.iter().map(|count| Some(*count)).collect::<Vec<_>>();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(pages(&snapshot, selector, namespace, limit), (names, expected), "{selector:?} {namespace:?} {limit}");
    }
}

async fn field_filters_are_not_counted_ahead(record: Record) {
    let snapshot = filled(&record).await.snapshot();
    let wanted = |stored: &stead_store::Stored| stored.name() == "x";
    let selector = Selector::default();
    let page = snapshot.list(&List { fields: Some(&wanted), ..list(&selector, None, 1) });
    assert_eq!((page.objects.len(), page.remaining), (1, None));
    let page = snapshot.list(&List { fields: Some(&wanted), after: page.next, ..list(&selector, None, 1) });
    assert_eq!((page.objects.len(), page.remaining), (1, Some(0)));
    assert!(page.next.is_none());
}

async fn a_made_up_cursor_does_no_harm(record: Record) {
    let snapshot = filled(&record).await.snapshot();
    for selector in ["", "site=graz", "host=h1"] {
        let selector: Selector = selector.parse().unwrap();
        for namespace in [None, Some("a"), Some("zz")] {
            for (cursor_namespace, name) in
                [("", ""), ("zzz", "zzz"), ("a", "\u{10ffff}"), ("a\0", "\0"), ("a\u{1}", ""), ("b", "a")]
            {
                let after = Some(Cursor { namespace: cursor_namespace.into(), name: name.into(), passed: u64::MAX });
                let page = snapshot.list(&List { after, ..list(&selector, namespace, 1) });
                assert!(page.objects.iter().all(|stored| namespace.is_none_or(|namespace| namespace == stored.namespace())));
            }
        }
    }
}

async fn labels_that_change_move_in_the_index(record: Record) {
    let store = record.open().await;
    put(&store, labelled("a", json!({}), &[("role", "web"), ("site", "graz")])).await;
    put(&store, labelled("b", json!({}), &[("role", "web")])).await;
    put(&store, labelled("a", json!({}), &[("role", "db")])).await;
    commit(&store, vec![Op::delete(key("b"))]).await.unwrap();
    for (selector, expected) in [("role=web", 0), ("role=db", 1), ("site=graz", 0)] {
        assert_eq!(pages(&store.snapshot(), selector, None, 0).0.len(), expected, "{selector}");
    }
    store.close().await;
    assert_eq!(pages(&record.open().await.snapshot(), "role=db", None, 0).0, ["/a"]);
}

async fn kinds_of_one_name_in_two_groups_are_two(record: Record) {
    let store = record.open().await;
    put(&store, widget("a", json!({}))).await;
    let mut other = widget("a", json!({}));
    other.api_version = "v1".into();
    put(&store, other).await;
    store.close().await;
    let kinds = record.open().await.snapshot().kinds();
    assert_eq!(kinds, [(GroupKind::new("", "Widget"), 1), (widget_kind(), 1)]);
}

async fn later_pages_come_from_the_first_ones_revision(record: Record) {
    let store = record.open().await;
    for name in ["a", "b", "c"] {
        put(&store, widget(name, json!({"size": 1}))).await;
    }
    let snapshot = store.snapshot();
    store.retain(&snapshot, time(0));
    commit(&store, vec![Op::delete(key("b")), Op::put(widget("c", json!({"size": 2})))]).await.unwrap();
    let kept = store.snapshot_at(Revision(3), time(RETAINED_SECONDS_MAX)).unwrap();
    assert_eq!(pages(&kept, "", None, 1).0, ["/a", "/b", "/c"]);
    assert_eq!(store.snapshot_at(Revision(4), time(1)).unwrap().revision(), Revision(4));
    let expired = store.snapshot_at(Revision(3), time(2 * RETAINED_SECONDS_MAX + 1)).err().unwrap();
    assert_eq!((expired.revision, expired.current), (Revision(3), Revision(4)));
    assert!(store.snapshot_at(Revision(2), time(1)).is_err());
}

async fn retained_snapshots_are_bounded(record: Record) {
    let store = record.open().await;
    let count = i64::try_from(RETAINED_SNAPSHOTS_MAX).unwrap() + 1;
    for second in 0..count {
        put(&store, widget("a", json!({"second": second}))).await;
        store.retain(&store.snapshot(), time(second));
    }
    put(&store, widget("a", json!({"second": -1}))).await;
    assert!(store.snapshot_at(Revision(1), time(count)).is_err());
    assert!(store.snapshot_at(Revision(2), time(count)).is_ok());
}

on_every_engine! {
    pages_are_ordered_and_counted,
    field_filters_are_not_counted_ahead,
    a_made_up_cursor_does_no_harm,
    labels_that_change_move_in_the_index,
    kinds_of_one_name_in_two_groups_are_two,
    later_pages_come_from_the_first_ones_revision,
    retained_snapshots_are_bounded,
}
