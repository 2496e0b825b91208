//! What enters the record, and what a machine makes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use jiff::Timestamp;
use serde_json::json;
use stead_admission::{Admission, Environment, Rule, Write, WriteError, bundle_rows};
use stead_model::{GroupKind, ObjectKey, Revision};
use stead_store::{CommitError, Expect};
use stead_trust::{Clock, MachineMemory, judge};

use crate::fleet::{Fleet, caller, environment, now, object, online, profile};

#[tokio::test]
async fn what_owners_signed_enters_and_a_machine_verifies_it() {
    let fleet = Fleet::new().await;
    let web = profile("hello\n");
    let submitted = fleet.admission.submit(&caller(), &fleet.signed(&fleet.owner, &web, 1), false).await.unwrap();
    let change = submitted.change.unwrap();
    assert_eq!(change.spec()["entries"][0]["object"], "Profile/web");
    assert_eq!(fleet.stored(&web.key()).unwrap().spec(), web.spec());

    let rows = fleet.admission.store().newest_entries(vec![web.key()]).await.unwrap();
    let (bundles, malformed) = bundle_rows(rows);
    assert!(malformed.is_empty());
    let machine = stead_trust::SigningKey::from_seed(&[9; 32]).machine_key().unwrap();
    let memory = MachineMemory::join(&fleet.admission.fleet(), 1, machine, std::slice::from_ref(&fleet.root)).unwrap();
    let accepted = judge(&memory, &bundles[0]).unwrap();
    assert_eq!((accepted.len(), accepted[0].sequence), (1, 1));
    assert_eq!(accepted[0].object.as_ref().unwrap().spec(), web.spec());
}

#[tokio::test]
async fn online_keys_write_what_is_left_to_them_and_owners_kinds_need_signing() {
    let fleet = Fleet::new().await;
    let namespace = object("Namespace", "lab", serde_json::Value::Null);
    assert_eq!(fleet.admission.rule(&namespace.group_kind()), Rule::Online);
    fleet.put_online(namespace.clone()).await;
    let changes = fleet.admission.store().changes(None, 10).await.unwrap();
    assert_eq!(changes[0].author, "somebody");

    let write = Write::Put { object: profile("x"), expect: Expect::Any };
    let error = fleet.admission.write(&caller(), "", vec![write], false).await.unwrap_err();
    let WriteError::NeedsSignature { keys, command, .. } = error else { panic!("{error}") };
    assert_eq!((keys[0].to_string().as_str(), command.as_str()), ("Profile/web", "stead apply -f FILE"));
    assert!(fleet.stored(&profile("x").key()).is_none());
}

/// A clock that somebody sets back by half an hour once it has been armed and looked at.
#[derive(Default)]
struct SetBack(AtomicU8);

impl SetBack {
    const ARMED: u8 = 1;
    const BACK: u8 = 2;
}

impl Clock for SetBack {
    fn now(&self) -> Timestamp {
        if self.0.load(Ordering::Relaxed) == Self::BACK {
            return now() - jiff::SignedDuration::from_mins(30);
        }
        let _looked_at = self.0.compare_exchange(Self::ARMED, Self::BACK, Ordering::Relaxed, Ordering::Relaxed);
        now()
    }
}

/// Where it said what the clock says when it is written, machines would take it to be admitted long before it was signed.
#[tokio::test]
async fn a_receipt_says_when_the_change_was_judged() {
    let fleet = Fleet::new().await;
    let clock = Arc::new(SetBack::default());
    let environment = Environment { clock: Arc::<SetBack>::clone(&clock), ..environment() };
    let store = fleet.admission.store().clone();
    let admission = Admission::open(store, fleet.root.digest(), Arc::new(online()), environment).unwrap();
    clock.0.store(SetBack::ARMED, Ordering::Relaxed);
    admission.submit(&caller(), &fleet.signed(&fleet.owner, &profile("hello\n"), 1), false).await.unwrap();
    assert_eq!(clock.0.load(Ordering::Relaxed), SetBack::BACK);

    let rows = fleet.admission.store().newest_entries(vec![profile("").key()]).await.unwrap();
    let machine = stead_trust::SigningKey::from_seed(&[9; 32]).machine_key().unwrap();
    let memory = MachineMemory::join(&fleet.admission.fleet(), 1, machine, std::slice::from_ref(&fleet.root)).unwrap();
    judge(&memory, &bundle_rows(rows).0[0]).unwrap();
}

/// A signed change says nothing of annotations that are not signed: those that come in between its check and the record stay.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_is_never_lost_to_a_change_at_the_same_time() {
    const WRITERS: usize = 8;
    const NOTES: usize = 12;
    let fleet = Arc::new(Fleet::new().await);
    let key = profile("").key();
    fleet.admission.submit(&caller(), &fleet.signed(&fleet.owner, &profile("start"), 1), false).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let fleet = Arc::clone(&fleet);
        writers.spawn(async move {
            for note in 0..NOTES {
                annotate(&fleet, &format!("example.com/{writer}-{note}")).await;
            }
        });
    }
    for sequence in 2..30 {
        let signed = fleet.signed(&fleet.owner, &profile(&sequence.to_string()), sequence);
        fleet.admission.submit(&caller(), &signed, false).await.unwrap();
    }
    writers.join_all().await;
    let stored = fleet.stored(&key).unwrap();
    assert_eq!(stored.metadata.annotations.len(), WRITERS * NOTES);
    assert_eq!(stored.spec()["files"][0]["content"], "29");
}

/// Puts one annotation on the Profile, as often as somebody else comes first.
async fn annotate(fleet: &Fleet, name: &str) {
    loop {
        let mut object = fleet.stored(&profile("").key()).unwrap();
        object.metadata.annotations.insert(name.to_owned(), "x".to_owned());
        let expect = Expect::Revision(object.metadata.resource_version.parse().map(Revision).unwrap());
        match fleet.admission.write(&caller(), "", vec![Write::Put { object, expect }], false).await {
            Ok(_) => return,
            // It was read before somebody else's write, or before a signed change that it would undo.
            Err(WriteError::Commit(CommitError::Conflict { .. }) | WriteError::NeedsSignature { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn what_is_not_signed_may_be_edited_without_signing() {
    let fleet = Fleet::new().await;
    let web = profile("hello");
    fleet.admission.submit(&caller(), &fleet.signed(&fleet.owner, &web, 1), false).await.unwrap();
    let mut edited = fleet.stored(&web.key()).unwrap();
    edited.metadata.annotations.insert("example.com/note".to_owned(), "x".to_owned());
    edited.metadata.finalizers.push("example.com/hold".to_owned());
    let write = Write::Put { object: edited, expect: Expect::Exists };
    fleet.admission.write(&caller(), "", vec![write], false).await.unwrap();
    // The owner's next change says nothing of them, and they stay.
    fleet.admission.submit(&caller(), &fleet.signed(&fleet.owner, &profile("again"), 2), false).await.unwrap();
    let stored = fleet.stored(&web.key()).unwrap();
    let managed: Vec<_> = stored.metadata.managed_fields.iter().map(|entry| (&*entry.manager, &*entry.operation)).collect();
    assert_eq!(managed, [("stead", "Apply")]);
    let content = r#"{"f:spec":{"f:files":{"k:{\"path\":\"/etc/motd\"}":{".":{},"f:content":{},"f:path":{}}},"f:selector":{}}}"#;
    assert_eq!(stored.metadata.managed_fields[0].fields.as_ref().unwrap().json(), content);
    assert_eq!(stored.metadata.finalizers, ["example.com/hold"]);
    assert_eq!(stored.metadata.annotations.len(), 1);
    assert_eq!(stored.spec()["files"][0]["content"], "again");
}

#[tokio::test]
async fn a_dry_run_leaves_no_trace() {
    let fleet = Fleet::new().await;
    let revision = fleet.admission.store().revision();
    let submission = fleet.signed(&fleet.owner, &profile("x"), 1);
    let submitted = fleet.admission.submit(&caller(), &submission, true).await.unwrap();
    assert_eq!(submitted.outcomes.len(), 1);
    assert_eq!(fleet.admission.store().revision(), revision);
    fleet.admission.submit(&caller(), &submission, false).await.unwrap();
}

#[tokio::test]
async fn many_writers_of_one_object_each_have_their_turn() {
    let fleet = Fleet::new().await;
    fleet.put_online(object("Namespace", "busy", serde_json::Value::Null)).await;
    let key = ObjectKey::new(GroupKind::new("", "Namespace"), "", "busy");
    let writers = (0..32).map(|writer| {
        let admission = fleet.admission.clone();
        let mut object = fleet.stored(&key).unwrap();
        object.metadata.labels.insert("writer".to_owned(), writer.to_string());
        async move { admission.write(&caller(), "", vec![Write::Put { object, expect: Expect::Any }], false).await }
    });
    let mut tasks = tokio::task::JoinSet::new();
    writers.for_each(|writer| drop(tasks.spawn(writer)));
    for result in tasks.join_all().await {
        result.unwrap();
    }
    assert_eq!(fleet.admission.store().snapshot().sequence(&key).unwrap().sequence, 33);
}

#[tokio::test]
async fn a_machine_enters_by_its_owners_delegation_and_by_nothing_less() {
    let fleet = Fleet::new().await;
    let machine = stead_trust::SigningKey::from_seed(&[9; 32]);
    let delegation = stead_trust::Delegation {
        fleet: fleet.admission.fleet(),
        time: crate::fleet::now(),
        labels: [("role".to_owned(), "web".to_owned())].into(),
        name_pattern: "web-*".to_owned(),
        machines: 5,
        until: crate::fleet::now() + jiff::SignedDuration::from_hours(1),
    };
    for (signer, name, label, welcome) in [
        (&fleet.owner, "web-1", "web", true),
        (&fleet.owner, "db-1", "web", false),
        (&fleet.owner, "web-2", "db", false),
        (&machine, "web-3", "web", false),
    ] {
        let signed = stead_trust::SignedDelegation::sign(&delegation, &[signer]).unwrap();
        let evidence = signed.countersign(&machine, name, crate::fleet::now()).unwrap();
        let key = machine.machine_key().unwrap().to_string();
        let mut object = object("Machine", name, json!({"key": key, "enrolment": evidence}));
        object.metadata.labels.insert("role".to_owned(), label.to_owned());
        let write = Write::Put { object, expect: Expect::Absent };
        let result = fleet.admission.write(&caller(), "", vec![write], false).await;
        assert_eq!(result.is_ok(), welcome, "{name} {label}: {result:?}");
    }
}
