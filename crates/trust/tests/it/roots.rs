//! Root chains: how they grow, and every way in which they do not.

use stead_trust::{Check, MachineMemory, Refusal, Root, RootChain, RootError, SignedRoot, Signer, adopt_roots};

use crate::fleet::{Fleet, key, minutes, noon, root_of};

fn name_of(error: &RootError) -> &'static str {
    match error {
        RootError::Count { .. } => "count",
        RootError::Fleet { .. } => "fleet",
        RootError::Signature { .. } => "signature",
        RootError::Document { .. } => "document",
        RootError::Version { .. } => "version",
        RootError::Previous { .. } => "previous",
        RootError::Threshold { .. } => "threshold",
        RootError::TwoDocuments { .. } => "two documents",
        RootError::TooShort { .. } => "too short",
    }
}

fn next(chain: &RootChain, change: impl FnOnce(&mut Root), signers: &[&dyn Signer]) -> SignedRoot {
    let mut root = chain.newest().next_version(noon() + minutes(10)).unwrap();
    change(&mut root);
    SignedRoot::sign(&root, signers).unwrap()
}

#[test]
fn owners_hand_over() {
    let fleet = Fleet::new();
    let hand_over = |root: &mut Root| root.owners.keys = vec![fleet.second.public_key().clone()];
    for (what, signers, expected) in [
        ("the new owner alone", vec![&fleet.second as &dyn Signer], false),
        ("the old owner alone", vec![&fleet.owner], false),
        ("both", vec![&fleet.owner, &fleet.second], true),
    ] {
        let signed = next(&fleet.roots, hand_over, &signers);
        assert_eq!(fleet.roots.extend(&signed).is_ok(), expected, "{what}");
    }
    let second = fleet.roots.extend(&next(&fleet.roots, hand_over, &[&fleet.owner, &fleet.second])).unwrap();
    let third = second.extend(&next(&second, |_| {}, &[&fleet.second])).unwrap();
    assert_eq!(third.newest().version, 3);
    assert_eq!(third.fleet(), fleet.roots.fleet());
    assert_eq!(RootChain::verify(&fleet.id(), third.signed()).unwrap().newest(), third.newest());
    assert!(
        matches!(second.extend(&next(&second, |_| {}, &[&fleet.owner])), Err(RootError::Threshold { .. })),
        "who left is out"
    );
    assert_eq!(third.extend(&third.signed()[1]).unwrap().newest().version, 3, "what is held changes nothing");
}

#[test]
fn every_refusal() {
    let fleet = Fleet::new();
    let by_owner = |change: &dyn Fn(&mut Root)| next(&fleet.roots, change, &[&fleet.owner]);
    let mut altered = by_owner(&|_| {});
    altered.document[40] ^= 1;
    let mut spaced = by_owner(&|_| {});
    spaced.document.push(b' ');
    spaced.signatures.clear();
    spaced.add_signature(&fleet.owner).unwrap();
    let unsigned = SignedRoot { signatures: vec![], ..by_owner(&|_| {}) };
    let cases = [
        ("altered", altered, "signature"),
        ("unsigned", unsigned, "signature"),
        ("not canonical", spaced, "document"),
        ("a version left out", by_owner(&|root| root.version = 3), "version"),
        ("another predecessor", by_owner(&|root| root.previous = root.fleet.map(|_| stead_model::Digest::of(b"x"))), "previous"),
        ("another fleet", by_owner(&|root| root.fleet = Some(stead_model::Digest::of(b"x"))), "fleet"),
        ("a stranger", next(&fleet.roots, |_| {}, &[&key(99)]), "threshold"),
        (
            "more owners than signed",
            by_owner(&|root| {
                root.owners.keys.push(fleet.second.public_key().clone());
                root.owners.threshold = 2;
            }),
            "threshold",
        ),
    ];
    for (what, signed, expected) in cases {
        let error = fleet.roots.extend(&signed).expect_err(what);
        assert_eq!(name_of(&error), expected, "{what}: {error}");
    }
    let root = root_of(&fleet.owner, &fleet.second, &fleet.online, &fleet.grazer);
    let other = SignedRoot::sign(&Root { time: noon() + minutes(1), ..root }, &[&fleet.owner]).unwrap();
    assert_eq!(name_of(&RootChain::verify(&fleet.id(), &[other]).unwrap_err()), "fleet");
    assert_eq!(name_of(&RootChain::verify(&fleet.id(), &[]).unwrap_err()), "count");
    assert_eq!(name_of(&RootChain::verify_up_to(&fleet.id(), fleet.roots.signed(), 2).unwrap_err()), "too short");
}

#[test]
fn two_documents_with_one_version_are_an_alarm() {
    let fleet = Fleet::new();
    let one = next(&fleet.roots, |_| {}, &[&fleet.owner]);
    let two = next(&fleet.roots, |root| root.expiry.freshness_days = Some(7), &[&fleet.owner]);
    let chain = fleet.roots.extend(&one).unwrap();
    assert_eq!(name_of(&chain.extend(&two).unwrap_err()), "two documents");
    let longer = chain.extend(&next(&chain, |_| {}, &[&fleet.owner])).unwrap();
    assert_eq!(name_of(&longer.extend(&two).unwrap_err()), "two documents");
    // Anybody can make a document; that is no alarm.
    let forged = next(&fleet.roots, |root| root.expiry.freshness_days = Some(7), &[&key(99)]);
    assert_eq!(name_of(&chain.extend(&forged).unwrap_err()), "version");
}

/// What is changed, and how.
type Case = (&'static str, &'static dyn Fn(&mut Root));

#[test]
fn roots_that_say_what_they_may_not_are_not_made() {
    let fleet = Fleet::new();
    let good = root_of(&fleet.owner, &fleet.second, &fleet.online, &fleet.grazer);
    assert!(good.to_document().is_ok());
    let cases: [Case; 8] = [
        ("version 0", &|root| root.version = 0),
        ("version 2 without a predecessor", &|root| root.version = 2),
        ("no owners", &|root| root.owners.keys.clear()),
        ("threshold 0", &|root| root.owners.threshold = 0),
        ("threshold above the keys", &|root| root.roles[0].threshold = 9),
        ("a key twice", &|root| root.roles[0].keys = vec![root.owners.keys[0].clone(), root.owners.keys[0].clone()]),
        ("two roles of one name", &|root| root.roles[1].name = root.roles[0].name.clone()),
        ("the root left to online keys", &|root| root.online.kinds.push(stead_model::GroupKind::new("stead.dev", "TrustRoot"))),
    ];
    for (what, change) in cases {
        let mut root = good.clone();
        change(&mut root);
        assert!(root.to_document().is_err(), "{what}");
    }
}

#[test]
fn a_machine_adopts_and_keeps_its_now() {
    let fleet = Fleet::new();
    let mut memory = fleet.memory(None);
    assert_eq!(memory.now(), noon());
    let second = next(&fleet.roots, |_| {}, &[&fleet.owner]);
    let adoption = adopt_roots(&memory, &[fleet.roots.signed()[0].clone(), second.clone()]).unwrap();
    assert_eq!(adoption.rows.len(), 1);
    memory.install(adoption);
    assert_eq!((memory.now(), memory.roots().newest().version), (noon() + minutes(10), 2));

    let earlier = next(memory.roots(), |root| root.time = noon() - minutes(60), &[&fleet.owner]);
    assert_eq!(
        adopt_roots(&memory, &[earlier])
            .map(|adoption| {
                memory.clone().install(adoption.clone());
                adoption.rows.len()
            })
            .unwrap(),
        1
    );
    let set_back = next(memory.roots(), |root| (root.time, root.resets_clock) = (noon() - minutes(60), true), &[&fleet.owner]);
    memory.install(adopt_roots(&memory, &[set_back]).unwrap());
    assert_eq!(memory.now(), noon() - minutes(60));

    let forged = next(memory.roots(), |_| {}, &[&key(99)]);
    let error = adopt_roots(&memory, &[forged]).unwrap_err();
    assert_eq!(Refusal::from(&error).check, Check::RootChain);
    assert!(
        MachineMemory::join(&fleet.id(), 2, fleet.machine_key(), fleet.roots.signed()).is_err(),
        "a chain that ends too early"
    );
}

#[test]
fn a_key_that_left_is_obeyed_no_more() {
    let fleet = Fleet::new();
    let mut memory = fleet.memory(Some("graz"));
    let profile = crate::fleet::profile("web-1");
    let bundle = fleet.bundle(&[(&profile, 1)], &[&fleet.owner]);
    let accepted = stead_trust::judge(&memory, &bundle).unwrap();
    memory.accept(&bundle, &accepted);
    let leave = |root: &mut Root| {
        for role in &mut root.roles[..2] {
            role.keys = vec![fleet.second.public_key().clone()];
        }
    };
    memory.install(adopt_roots(&memory, &[next(&fleet.roots, leave, &[&fleet.owner])]).unwrap());
    assert!(memory.held(&crate::fleet::profile_key("web-1")).is_some(), "what is held stays");
    assert!(stead_trust::judge(&memory, &bundle).unwrap().is_empty(), "and may be sent again");
    let more = fleet.bundle(&[(&profile, 2)], &[&fleet.owner]);
    assert_eq!(stead_trust::judge(&memory, &more).unwrap_err().check, Check::Role);
}
