//! What writes do to objects: server-filled metadata, preconditions, finalizers, atomicity.

use serde_json::json;
use stead_model::Revision;
use stead_store::{Anew, CommitError, Expect, Op, Operation, Outcome};

use crate::support::{Record, commit, entry, key, object, on_every_engine, put, signed, time, widget};

async fn the_store_fills_in_what_is_its_own(record: Record) {
    let store = record.open().await;
    let mut sent = widget("a", json!({"size": 1}));
    sent.metadata.uid = "forged".into();
    sent.metadata.generation = 99;
    sent.metadata.resource_version = "77".into();
    sent.metadata.deletion_timestamp = Some(time(5));
    sent.fields.insert("status".into(), json!({"forged": true}));
    assert_eq!(put(&store, sent).await, Revision(1));
    let kept = object(&store, "a").unwrap();
    assert_eq!(kept.metadata.uid.len(), 36);
    assert_eq!(kept.metadata.generation, 1);
    assert_eq!(kept.metadata.resource_version, "1");
    assert_eq!(kept.metadata.creation_timestamp, Some(time(0)));
    assert_eq!(kept.metadata.deletion_timestamp, None);
    assert!(kept.status().is_null());
}

async fn a_transaction_can_depend_on_what_it_does_not_write(record: Record) {
    let store = record.open().await;
    put(&store, widget("a", json!({}))).await;
    let change = signed("01A", vec![entry("b", 1, Operation::Put)], vec![Op::put(widget("b", json!({})))]);
    store.commit(change).await.unwrap();
    let check = |name: &str, expect: Expect| Op::Check { key: key(name), expect };
    let cases = [
        (check("a", Expect::Revision(Revision(1))), true),
        (check("a", Expect::Revision(Revision(2))), false),
        (check("a", Expect::Absent), false),
        (check("c", Expect::Absent), true),
        (check("c", Expect::Exists), false),
        (check("b", Expect::Sequence(1)), true),
        (check("b", Expect::Sequence(2)), false),
        (check("a", Expect::Sequence(0)), true),
    ];
    for (number, (check, holds)) in cases.into_iter().enumerate() {
        let shown = format!("{check:?}");
        let outcome = commit(&store, vec![check, Op::put(widget("d", json!({"number": number})))]).await;
        assert_eq!(outcome.is_ok(), holds, "{shown}: {outcome:?}");
        assert!(outcome.is_err() || outcome.unwrap().objects.len() == 1, "a check has no outcome");
    }
}

async fn generation_counts_changes_of_spec_only(record: Record) {
    let store = record.open().await;
    put(&store, widget("a", json!({"size": 1}))).await;
    let created = object(&store, "a").unwrap();

    let mut labelled = widget("a", json!({"size": 1}));
    labelled.metadata.labels.insert("site".into(), "graz".into());
    assert_eq!(put(&store, labelled.clone()).await, Revision(2));
    assert_eq!(object(&store, "a").unwrap().metadata.generation, 1);

    commit(&store, vec![Op::put_status(key("a"), json!({"ready": true}))]).await.unwrap();
    assert_eq!(object(&store, "a").unwrap().metadata.generation, 1);

    labelled.fields.insert("spec".into(), json!({"size": 2}));
    put(&store, labelled).await;
    let now = object(&store, "a").unwrap();
    assert_eq!(now.metadata.generation, 2);
    assert_eq!(now.metadata.resource_version, "4");
    assert_eq!(now.metadata.uid, created.metadata.uid);
    assert_eq!(*now.status(), json!({"ready": true}), "a put leaves status alone");
}

async fn a_write_that_changes_nothing_takes_no_revision(record: Record) {
    let store = record.open().await;
    put(&store, widget("a", json!({"size": 1}))).await;
    commit(&store, vec![Op::put_status(key("a"), json!({"ready": true}))]).await.unwrap();
    let again = commit(&store, vec![Op::put(widget("a", json!({"size": 1})))]).await.unwrap();
    assert_eq!(again.revision, Revision(2));
    assert!(matches!(again.objects.as_slice(), [Outcome::Unchanged(stored)] if stored.revision() == Revision(2)));
    let status = commit(&store, vec![Op::put_status(key("a"), json!({"ready": true}))]).await.unwrap();
    assert!(matches!(status.objects.as_slice(), [Outcome::Unchanged(_)]));
    assert_eq!(store.revision(), Revision(2));
}

async fn preconditions(record: Record) {
    let store = record.open().await;
    put(&store, widget("there", json!({}))).await;
    let uid = object(&store, "there").unwrap().metadata.uid;
    let cases = [
        ("there", Expect::Any, "ok"),
        ("there", Expect::Exists, "ok"),
        ("there", Expect::Revision(Revision(1)), "ok"),
        ("there", Expect::Uid(uid), "ok"),
        ("there", Expect::Absent, "exists"),
        ("there", Expect::Revision(Revision(2)), "conflict"),
        ("there", Expect::Uid("other".into()), "uid"),
        ("away", Expect::Any, "ok"),
        ("away", Expect::Absent, "ok"),
        ("away", Expect::Exists, "not found"),
        ("away", Expect::Revision(Revision(1)), "not found"),
        ("away", Expect::Uid("any".into()), "not found"),
    ];
    for (name, expect, expected) in cases {
        let op = Op::Put { object: Box::new(widget(name, json!({"new": true}))), expect: expect.clone() };
        let result = store.preview(stead_store::Transaction::unsigned(time(0), vec![op]));
        let got = match result {
            Ok(_) => "ok",
            Err(CommitError::AlreadyExists { .. }) => "exists",
            Err(CommitError::Conflict { .. }) => "conflict",
            Err(CommitError::OtherUid { .. }) => "uid",
            Err(CommitError::NotFound { .. }) => "not found",
            Err(error) => panic!("{error}"),
        };
        assert_eq!(got, expected, "{name} {expect:?}");
    }
    assert_eq!(store.revision(), Revision(1), "a preview writes nothing");
}

async fn a_put_over_what_moved_on_is_made_anew(record: Record) {
    let store = record.open().await;
    put(&store, widget("a", json!({"by": "first"}))).await;
    let over = |name: &'static str, seen: Option<Revision>| Op::PutOver {
        object: Box::new(widget(name, json!({"over": "what was seen"}))),
        seen,
        anew: Anew::new(move |present| {
            let found = present.map_or(json!("nothing"), |present| present.spec().clone());
            widget(name, json!({"over": found}))
        }),
    };
    let spec = |name: &str| object(&store, name).unwrap().spec()["over"].clone();
    commit(&store, vec![over("a", Some(Revision(1)))]).await.unwrap();
    assert_eq!(spec("a"), "what was seen");
    commit(&store, vec![over("a", Some(Revision(1)))]).await.unwrap();
    assert_eq!(spec("a"), json!({"over": "what was seen"}));
    commit(&store, vec![over("b", Some(Revision(1))), over("c", None)]).await.unwrap();
    assert_eq!((spec("b"), spec("c")), (json!("nothing"), json!("what was seen")));
    commit(&store, vec![over("c", None)]).await.unwrap();
    assert_eq!(spec("c"), json!({"over": "what was seen"}));
}

async fn a_transaction_happens_whole_or_not_at_all_and_alone(record: Record) {
    let store = record.open().await;
    put(&store, widget("a", json!({}))).await;
    let bad = commit(&store, vec![Op::create(widget("b", json!({}))), Op::create(widget("a", json!({})))]);
    let good = commit(&store, vec![Op::create(widget("c", json!({})))]);
    let (bad, good) = tokio::join!(bad, good);
    assert!(matches!(bad, Err(CommitError::AlreadyExists { .. })));
    assert_eq!(good.unwrap().revision, Revision(2));
    assert!(object(&store, "b").is_none());
    assert!(object(&store, "c").is_some());
}

async fn finalizers_hold_an_object_until_the_last_is_gone(record: Record) {
    let store = record.open().await;
    let mut held = widget("a", json!({}));
    held.metadata.finalizers = vec!["stead.dev/first".into(), "stead.dev/second".into()];
    put(&store, held.clone()).await;
    let marked = store.commit(stead_store::Transaction::unsigned(time(9), vec![Op::delete(key("a"))])).await.unwrap();
    assert!(matches!(marked.objects.as_slice(), [Outcome::Written(_)]));
    let deleting = object(&store, "a").unwrap();
    assert_eq!(deleting.metadata.deletion_timestamp, Some(time(9)));
    assert_eq!(deleting.metadata.deletion_grace_period_seconds, Some(0));
    let again = commit(&store, vec![Op::delete(key("a"))]).await.unwrap();
    assert!(matches!(again.objects.as_slice(), [Outcome::Unchanged(_)]));

    held.metadata.finalizers.push("stead.dev/late".into());
    let refused = commit(&store, vec![Op::put(held.clone())]).await;
    assert!(matches!(refused, Err(CommitError::FinalizerWhileDeleting { .. })));
    held.metadata.finalizers = vec!["stead.dev/second".into()];
    put(&store, held.clone()).await;
    assert!(object(&store, "a").is_some());
    held.metadata.finalizers.clear();
    let gone = commit(&store, vec![Op::put(held)]).await.unwrap();
    assert!(matches!(gone.objects.as_slice(), [Outcome::Deleted(last)] if last.revision() == gone.revision));
    assert!(object(&store, "a").is_none());
    assert!(matches!(commit(&store, vec![Op::delete(key("a"))]).await, Err(CommitError::NotFound { .. })));
}

async fn a_name_made_anew_has_a_new_uid(record: Record) {
    let store = record.open().await;
    put(&store, widget("a", json!({}))).await;
    let before = object(&store, "a").unwrap().metadata.uid;
    commit(&store, vec![Op::delete(key("a")), Op::create(widget("a", json!({})))]).await.unwrap();
    assert_ne!(object(&store, "a").unwrap().metadata.uid, before);
}

async fn what_the_record_cannot_hold_is_refused(record: Record) {
    let store = record.open().await;
    for name in ["", "a\0b"] {
        let refused = commit(&store, vec![Op::put(widget(name, json!({})))]).await;
        assert!(matches!(refused, Err(CommitError::InvalidKey { .. })), "{name:?}");
    }
    let large = widget("large", json!({"text": "x".repeat(stead_store::OBJECT_BYTES_MAX)}));
    assert!(matches!(commit(&store, vec![Op::put(large)]).await, Err(CommitError::TooLarge { .. })));
    let many = (0..=stead_store::OPERATIONS_PER_TRANSACTION_MAX).map(|_| Op::put(widget("a", json!({})))).collect();
    assert!(matches!(commit(&store, many).await, Err(CommitError::TooLarge { .. })));
    assert_eq!(store.revision(), Revision(0));
}

async fn everything_is_there_after_a_restart(record: Record) {
    let store = record.open().await;
    let incarnation = store.incarnation();
    put(&store, widget("a", json!({"size": 1}))).await;
    put(&store, widget("b", json!({"size": 2}))).await;
    commit(&store, vec![Op::delete(key("a"))]).await.unwrap();
    let kept = object(&store, "b");
    store.close().await;
    assert!(matches!(commit(&store, vec![Op::delete(key("b"))]).await, Err(CommitError::Closed)));
    let store = record.open().await;
    assert_eq!(store.revision(), Revision(3));
    assert_eq!(store.incarnation(), incarnation);
    assert_eq!(object(&store, "b"), kept);
    assert!(object(&store, "a").is_none());
    assert_eq!(store.snapshot().kinds(), [(crate::support::widget_kind(), 1)]);
}

on_every_engine! {
    the_store_fills_in_what_is_its_own,
    a_transaction_can_depend_on_what_it_does_not_write,
    generation_counts_changes_of_spec_only,
    a_write_that_changes_nothing_takes_no_revision,
    preconditions,
    a_put_over_what_moved_on_is_made_anew,
    a_transaction_happens_whole_or_not_at_all_and_alone,
    finalizers_hold_an_object_until_the_last_is_gone,
    a_name_made_anew_has_a_new_uid,
    what_the_record_cannot_hold_is_refused,
    everything_is_there_after_a_restart,
}
