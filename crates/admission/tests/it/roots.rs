//! Versions of the trust root.

use stead_admission::WriteError;
use stead_store::{Options, PostgresEngine, Store};
use stead_trust::{RootError, SignedRoot, Signer as _, SigningKey};

use crate::fleet::{Fleet, caller, now, profile};

#[tokio::test]
async fn a_rotation_counts_at_once_and_survives_a_restart() {
    let fleet = Fleet::new().await;
    let new_owner = SigningKey::from_seed(&[5; 32]);
    let mut next = fleet.admission.root().next_version(now()).unwrap();
    next.owners.keys = vec![new_owner.public_key().clone()];
    for role in &mut next.roles {
        role.keys = vec![new_owner.public_key().clone()];
    }
    let half = SignedRoot::sign(&next, &[&new_owner]).unwrap();
    let error = fleet.admission.submit_root(half.document.clone(), half.signatures.clone()).await.unwrap_err();
    assert!(matches!(error, WriteError::RootRefused(RootError::Threshold { .. })), "{error}");

    let whole = SignedRoot::sign(&next, &[&fleet.owner, &new_owner]).unwrap();
    let object = fleet.admission.submit_root(whole.document, whole.signatures).await.unwrap();
    assert_eq!(object.metadata.name, "v2");
    let old = fleet.admission.submit(&caller(), &fleet.signed(&fleet.owner, &profile("x"), 1), false).await;
    assert!(old.is_err(), "the key that left writes nothing new");
    fleet.admission.submit(&caller(), &fleet.signed(&new_owner, &profile("x"), 1), false).await.unwrap();

    let store = fleet.admission.store().clone();
    let online = std::sync::Arc::new(SigningKey::from_seed(&[2; 32]));
    let again =
        stead_admission::Admission::open(store, fleet.admission.fleet(), online, fleet.admission.environment().clone()).unwrap();
    assert_eq!(again.root().version, 2);
}

#[tokio::test]
async fn what_is_admitted_under_a_root_is_on_record_before_the_next() {
    let fleet = Fleet::new().await;
    let new_owner = SigningKey::from_seed(&[5; 32]);
    let mut next = fleet.admission.root().next_version(now()).unwrap();
    next.owners.keys = vec![new_owner.public_key().clone()];
    for role in &mut next.roles {
        role.keys = vec![new_owner.public_key().clone()];
    }
    let root = SignedRoot::sign(&next, &[&fleet.owner, &new_owner]).unwrap();
    let submit = |name: &str| {
        let mut wanted = profile("x");
        wanted.metadata.name = name.to_owned();
        let (admission, submission) = (fleet.admission.clone(), fleet.signed(&fleet.owner, &wanted, 1));
        tokio::spawn(async move { admission.submit(&caller(), &submission, false).await })
    };
    // All are on their way at once, in this order.
    let before = submit("before");
    let admission = fleet.admission.clone();
    let rotation = tokio::spawn(async move { admission.submit_root(root.document, root.signatures).await });
    let after = submit("after");
    before.await.unwrap().unwrap();
    rotation.await.unwrap().unwrap();
    let error = after.await.unwrap().unwrap_err();
    assert!(matches!(error, WriteError::Refused(_)), "{error}");
}

#[tokio::test]
async fn a_rotation_by_one_coordinator_counts_at_the_other_at_once() {
    let server = stead_peers::TempPostgres::start();
    let open = || async {
        let engine = PostgresEngine::open(&server.url()).await.unwrap();
        Store::open(engine, Options::default()).await.unwrap()
    };
    let fleet = Fleet::on(open().await).await;
    let online = std::sync::Arc::new(crate::fleet::online());
    let other =
        stead_admission::Admission::open(open().await, fleet.admission.fleet(), online, crate::fleet::environment()).unwrap();
    let old = fleet.signed(&fleet.owner, &profile("old"), 1);
    let new_owner = SigningKey::from_seed(&[5; 32]);
    let mut next = fleet.admission.root().next_version(now()).unwrap();
    next.owners.keys = vec![new_owner.public_key().clone()];
    for role in &mut next.roles {
        role.keys = vec![new_owner.public_key().clone()];
    }
    let root = SignedRoot::sign(&next, &[&fleet.owner, &new_owner]).unwrap();
    fleet.admission.submit_root(root.document, root.signatures).await.unwrap();
    // Whether the other has heard of it or not.
    let error = other.submit(&caller(), &old, false).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused(_)), "{error}");
    assert_eq!(other.root().version, 2);
    other.submit(&caller(), &fleet.signed(&new_owner, &profile("new"), 1), false).await.unwrap();
}
