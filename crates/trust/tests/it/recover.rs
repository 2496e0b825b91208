//! What a machine gives back: what a record may take in again, each refusal, and the questions and answers around it.

use proptest::prelude::*;
use serde_json::json;
use stead_model::{Digest, ObjectKey, Revision};
use stead_trust::{
    Authority, Bundle, Check, Credential, Current, GIVE_BACK_ANSWER_BYTES_MAX, GIVE_BACK_NAMES_MAX, GiveBackAnswer, GiveBackAsk,
    GiveBackError, Leaf, MachineMemory, RecoveredStanding, RootChain, Salt, SignatureNamespace, SignedReceipt, SignedRoot,
    Signer, given_back, judge, recover,
};

use crate::fleet::{Fleet, key, minutes, noon, nothing, object, profile, profile_key, root_of};

/// A change of two profiles, which a machine holds.
fn good(fleet: &Fleet) -> Bundle {
    fleet.bundle(&[(&profile("web-1"), 4), (&profile("web-2"), 2)], &[&fleet.owner])
}

/// One that has only the second of its entries, as a machine holds it that the first is not for.
fn partial(fleet: &Fleet) -> Bundle {
    let mut bundle = good(fleet);
    bundle.entries.remove(0);
    bundle
}

#[test]
fn a_part_of_a_change_comes_back_as_it_was() {
    let fleet = Fleet::new();
    let recovered = recover(&fleet.roots, &partial(&fleet), &nothing).unwrap();
    assert_eq!((recovered.statement.statement.count, recovered.receipt.revision), (2, Revision(7)));
    let [entry] = recovered.entries.as_slice() else { panic!("{recovered:?}") };
    assert_eq!((entry.key.clone(), entry.leaf.sequence, entry.entry.index), (profile_key("web-2"), 2, 1));
    assert_eq!(entry.object.as_ref(), Some(&profile("web-2")));
    assert_eq!(entry.standing, RecoveredStanding::Above);
    assert!(matches!(&entry.authority, Authority::Role { name, .. } if name == "profiles"));
}

#[test]
fn a_deletion_comes_back() {
    let fleet = Fleet::new();
    let mut builder = fleet.builder();
    builder.delete("stead.dev/v1", &profile_key("web-1"), 9, Salt::from_bytes([1; 32])).unwrap();
    let bundle = fleet.bundle_of(&builder.build().unwrap().sign(&[&fleet.owner]).unwrap());
    let recovered = recover(&fleet.roots, &bundle, &nothing).unwrap();
    assert!(recovered.entries[0].object.is_none());
}

#[test]
fn how_it_stands_to_the_record() {
    let fleet = Fleet::new();
    let bundle = fleet.bundle(&[(&profile("web-1"), 4)], &[&fleet.owner]);
    let own = Digest::of(&bundle.statement);
    for (sequence, statement, expected) in [
        (0, None, RecoveredStanding::Above),
        (3, Some(Digest::of(b"other")), RecoveredStanding::Above),
        (4, Some(own), RecoveredStanding::Known),
        (4, None, RecoveredStanding::Known),
        (4, Some(Digest::of(b"other")), RecoveredStanding::Conflict),
        (5, Some(own), RecoveredStanding::Below),
    ] {
        let current = |_: &ObjectKey| Current { sequence, statement, ..Current::default() };
        assert_eq!(recover(&fleet.roots, &bundle, &current).unwrap().entries[0].standing, expected, "{sequence} {statement:?}");
    }
}

fn refuses(fleet: &Fleet, what: &str, bundle: &Bundle, expected: Check) {
    let refusal = recover(&fleet.roots, bundle, &nothing).expect_err(what);
    assert_eq!(refusal.check, expected, "{what}: {refusal}");
}

#[test]
fn every_refusal_is_named() {
    let fleet = Fleet::new();
    let altered = |alter: &dyn Fn(&mut Bundle)| {
        let mut bundle = good(&fleet);
        alter(&mut bundle);
        bundle
    };
    let receipt = |fleet_id, statement: &[u8], time, signer: &stead_trust::SigningKey| {
        let signed = SignedReceipt::sign(fleet_id, Digest::of(statement), Revision(7), time, signer).unwrap();
        altered(&|bundle| {
            bundle.receipt.clone_from(&signed.document);
            bundle.receipt_signature.clone_from(&signed.signature);
        })
    };
    let (id, statement, soon) = (fleet.id(), good(&fleet).statement, noon() + minutes(1));
    let swap = |bundle: &mut Bundle| bundle.entries[0].object = bundle.entries[1].object.clone();
    let login = |bundle: &mut Bundle| {
        bundle.signatures = vec![fleet.owner.sign(SignatureNamespace::Login, &bundle.statement).unwrap()];
    };
    let cases = [
        ("too many signatures", altered(&|bundle| bundle.signatures = vec![bundle.signatures[0].clone(); 33]), Check::Format),
        ("an altered statement", altered(&|bundle| bundle.statement[40] ^= 1), Check::Signature),
        ("a signature for a login", altered(&login), Check::Signature),
        ("signed by a stranger", fleet.bundle(&[(&profile("web-1"), 1)], &[&key(99)]), Check::Role),
        ("signed by an owner of another role", fleet.bundle(&[(&profile("web-1"), 1)], &[&fleet.grazer]), Check::Role),
        ("one of two signatures", fleet.bundle(&[(&profile("pair-1"), 1)], &[&fleet.owner]), Check::Threshold),
        ("an entry that was not signed", altered(&|bundle| bundle.entries[0].leaf[20] ^= 1), Check::Proof),
        ("an entry at another place", altered(&|bundle| bundle.entries[0].index = 1), Check::Proof),
        ("another object", altered(&swap), Check::Digest),
        ("no object", altered(&|bundle| bundle.entries[0].object = None), Check::Digest),
        ("an entry twice", altered(&|bundle| bundle.entries[1] = bundle.entries[0].clone()), Check::Sequence),
        ("no receipt", altered(&|bundle| bundle.receipt.clear()), Check::Receipt),
        ("a receipt of a stranger's", receipt(id, &statement, soon, &key(99)), Check::Receipt),
        ("a receipt of an owner's", receipt(id, &statement, soon, &fleet.owner), Check::Receipt),
        ("a receipt for another statement", receipt(id, b"other", soon, &fleet.online), Check::Receipt),
        ("a receipt of another fleet", receipt(Digest::of(b"x"), &statement, soon, &fleet.online), Check::Receipt),
        ("admitted too late", receipt(id, &statement, noon() + minutes(61), &fleet.online), Check::Receipt),
        ("admitted before it was written", receipt(id, &statement, noon() - minutes(6), &fleet.online), Check::Receipt),
    ];
    assert!(recover(&fleet.roots, &good(&fleet), &nothing).is_ok());
    for (what, bundle, expected) in cases {
        refuses(&fleet, what, &bundle, expected);
    }
    let other = root_of(&key(9), &fleet.second, &fleet.online, &fleet.grazer);
    let other = SignedRoot::sign(&other, &[&key(9)]).unwrap();
    let elsewhere = Fleet { roots: RootChain::verify(&other.digest(), &[other]).unwrap(), ..Fleet::new() };
    refuses(&elsewhere, "another fleet", &good(&fleet), Check::Fleet);
}

#[test]
fn what_a_coordinators_key_admitted_that_has_left_comes_back_and_what_an_owners_signed_that_has_left_does_not() {
    let fleet = Fleet::new();
    let mut next = fleet.roots.newest().next_version(noon()).unwrap();
    next.online.keys = vec![key(33).public_key().clone()];
    let roots = fleet.roots.extend(&SignedRoot::sign(&next, &[&fleet.owner]).unwrap()).unwrap();
    recover(&roots, &good(&fleet), &nothing).unwrap();
    let mut next = fleet.roots.newest().next_version(noon()).unwrap();
    next.roles.iter_mut().filter(|role| role.name == "profiles").for_each(|role| role.keys = vec![key(34).public_key().clone()]);
    let roots = fleet.roots.extend(&SignedRoot::sign(&next, &[&fleet.owner]).unwrap()).unwrap();
    assert_eq!(recover(&roots, &good(&fleet), &nothing).unwrap_err().check, Check::Role);
}

/// A machine that holds its own object and many profiles.
fn holding(fleet: &Fleet, count: usize, content: usize) -> MachineMemory {
    let mut memory = fleet.memory(Some("graz"));
    let files = json!([{"path": "/etc/motd", "content": "x".repeat(content)}]);
    let spec = json!({"selector": {}, "files": files});
    let profiles: Vec<_> =
        (0..count).map(|number| object("Profile", &format!("web-{number:05}"), json!({}), spec.clone())).collect();
    for chunk in profiles.chunks(500) {
        let objects: Vec<_> = chunk.iter().map(|profile| (profile, 3)).collect();
        let bundle = fleet.bundle(&objects, &[&fleet.owner]);
        let accepted = judge(&memory, &bundle).unwrap();
        memory.accept(&bundle, &accepted);
    }
    memory
}

/// Asks as a coordinator does, over bytes.
fn asked(memory: &MachineMemory, ask: &GiveBackAsk) -> GiveBackAnswer {
    let ask = GiveBackAsk::from_bytes(&ask.to_bytes().unwrap()).unwrap();
    let bytes = ask.answer(memory).to_bytes().unwrap();
    assert!(bytes.len() <= GIVE_BACK_ANSWER_BYTES_MAX, "{}", bytes.len());
    GiveBackAnswer::from_bytes(&bytes).unwrap()
}

fn whole(memory: &MachineMemory, ask: impl Fn(u64) -> GiveBackAsk) -> Vec<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let GiveBackAnswer::Part { total, digest, bytes } = asked(memory, &ask(whole.len() as u64)) else { panic!() };
        assert!(!bytes.is_empty());
        whole.extend_from_slice(&bytes);
        if whole.len() as u64 >= total {
            assert_eq!(Digest::of(&whole).as_bytes(), &digest);
            return given_back(&whole).unwrap();
        }
    }
}

#[test]
fn everything_that_is_held_is_listed_page_by_page_and_comes_part_by_part() {
    let fleet = Fleet::new();
    let memory = holding(&fleet, 3_000, 10);
    let (mut after, mut listed, mut pages) = (None, Vec::new(), 0);
    loop {
        let GiveBackAnswer::Held { root_version, lines, more } = asked(&memory, &GiveBackAsk::Held { after }) else { panic!() };
        assert_eq!(root_version, 1);
        after = lines.last().map(|line| line.key.clone());
        listed.extend(lines);
        pages += 1;
        if !more {
            break;
        }
    }
    assert!(pages > 1, "one page says nothing of the next");
    let held: Vec<_> = memory.entries().map(|(key, held)| (key.clone(), held.sequence, *held.statement.as_bytes())).collect();
    assert_eq!(listed.into_iter().map(|line| (line.key, line.sequence, line.statement)).collect::<Vec<_>>(), held);

    let large = holding(&fleet, 3, 700_000);
    let names = ["web-00000", "nobody", "web-00001", "web-00002"].map(profile_key);
    let documents = whole(&large, |skip| GiveBackAsk::Bundles { keys: names.to_vec(), skip });
    assert!(documents.len() < names.len(), "what does not fit into one answer is left for the next");
    assert!(documents[1].is_empty(), "what is not held has no bundle");
    let bundle = Bundle::from_bytes(&documents[0]).unwrap();
    assert_eq!(Leaf::from_bytes(&bundle.entries[0].leaf).unwrap().key(), names[0]);
    recover(&fleet.roots, &bundle, &nothing).unwrap();
    assert!(whole(&large, |skip| GiveBackAsk::Roots { after: 1, skip }).is_empty());
    assert_eq!(whole(&large, |skip| GiveBackAsk::Roots { after: 0, skip }).len(), 1);
}

#[test]
fn other_bytes_are_no_question() {
    assert!(matches!(GiveBackAsk::from_bytes(br#"{"put": []}"#), Err(GiveBackError::Unknown)));
    assert!(matches!(GiveBackAnswer::from_bytes(br#"{"error": "x"}"#), Err(GiveBackError::Unknown)));
    let many = GiveBackAsk::Bundles { keys: vec![profile_key("a"); GIVE_BACK_NAMES_MAX + 1], skip: 0 };
    assert!(matches!(many.to_bytes(), Err(GiveBackError::Names { .. })));
    let mut bytes = GiveBackAsk::Held { after: None }.to_bytes().unwrap();
    bytes.push(0);
    assert!(matches!(GiveBackAsk::from_bytes(&bytes), Err(GiveBackError::Trailing { bytes: 1 })));
}

#[test]
fn a_machines_own_papers_lead_from_an_older_root_to_its_object() {
    let fleet = Fleet::new();
    assert!(Credential::of(&fleet.memory(None)).is_none(), "it was never a member");
    let mut memory = fleet.memory(Some("graz"));
    let mut next = fleet.roots.newest().next_version(noon()).unwrap();
    next.online.keys.push(key(33).public_key().clone());
    let next = SignedRoot::sign(&next, &[&fleet.owner]).unwrap();
    let adoption = stead_trust::adopt_roots(&memory, &[next]).unwrap();
    memory.install(adoption);
    let papers = Credential::of(&memory).unwrap();
    let papers = Credential::from_bytes(&papers.to_bytes().unwrap()).unwrap();
    let roots: Vec<SignedRoot> = papers.roots.iter().map(|bytes| serde_json::from_slice(bytes).unwrap()).collect();
    let chain = roots.iter().fold(fleet.roots.clone(), |chain, root| chain.extend(root).unwrap());
    assert_eq!(chain.newest().version, 2);
    let recovered = recover(&chain, &papers.read_bundle().unwrap(), &nothing).unwrap();
    assert_eq!(recovered.entries[0].key.name, "m1");
}

proptest! {
    /// Whatever one bit of it is made another: nothing that its owners did not sign, or no coordinator admitted, comes back.
    #[test]
    fn one_bit_is_enough(place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let fleet = Fleet::new();
        let original = good(&fleet);
        let mut bytes = original.to_bytes().unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        if let Ok(bundle) = Bundle::from_bytes(&bytes) && bundle != original {
            prop_assert!(recover(&fleet.roots, &bundle, &nothing).is_err());
        }
    }

    /// What a machine holds, a record that knows nothing may take in, in any cut.
    #[test]
    fn every_part_of_what_was_admitted_comes_back(kept in prop::collection::btree_set(0..9_usize, 1..9)) {
        let fleet = Fleet::new();
        let profiles: Vec<_> = (0..9).map(|number| profile(&format!("web-{number}"))).collect();
        let mut bundle = fleet.bundle(&profiles.iter().map(|profile| (profile, 1)).collect::<Vec<_>>(), &[&fleet.owner]);
        bundle.entries = kept.iter().map(|index| bundle.entries[*index].clone()).collect();
        let recovered = recover(&fleet.roots, &bundle, &nothing).unwrap();
        let found: Vec<_> = recovered.entries.iter().map(|entry| entry.key.name.clone()).collect();
        prop_assert_eq!(found, kept.iter().map(|index| format!("web-{index}")).collect::<Vec<_>>());
    }
}

/// Ten million empty documents fit into as many bytes, and would take a hundred times the memory.
#[test]
fn a_flood_of_empty_documents_is_not_read() {
    let at_most = postcard::to_stdvec(&vec![Vec::<u8>::new(); stead_trust::GIVEN_BACK_DOCUMENTS_MAX]).unwrap();
    assert_eq!(given_back(&at_most).unwrap().len(), stead_trust::GIVEN_BACK_DOCUMENTS_MAX);
    let flood = postcard::to_stdvec(&vec![Vec::<u8>::new(); stead_trust::GIVEN_BACK_DOCUMENTS_MAX + 1]).unwrap();
    let refused = given_back(&flood).unwrap_err();
    assert!(matches!(refused, stead_trust::GiveBackError::Documents { .. }), "{refused}");
}
