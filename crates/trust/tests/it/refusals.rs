//! The machine's refusals: each check, alone and in its order.

use serde_json::json;
use stead_model::{Digest, Revision};
use stead_trust::{
    Authorship, Bundle, Check, MachineMemory, Op, Salt, SignatureNamespace, SignedReceipt, Signer, StatementBuilder, judge,
};

use crate::fleet::{Fleet, ID, at, key, minutes, noon, object, profile, profile_key};

fn check_of(memory: &MachineMemory, bundle: &Bundle) -> Check {
    let refusal = judge(memory, bundle).unwrap_err();
    assert!(!refusal.message.is_empty());
    refusal.check
}

#[test]
fn what_owners_signed_is_accepted() {
    let fleet = Fleet::new();
    let mut memory = fleet.memory(Some("graz"));
    let bundle = fleet.bundle(&[(&profile("web-1"), 1), (&profile("web-2"), 5)], &[&fleet.owner]);
    let accepted = judge(&memory, &bundle).unwrap();
    assert_eq!(accepted.len(), 2);
    assert_eq!(accepted[0].object.as_ref().unwrap(), &profile("web-1"));
    assert_eq!(accepted[0].revision, Revision(7));
    memory.accept(&bundle, &accepted);
    assert_eq!(memory.now(), noon() + minutes(1));
    assert!(judge(&memory, &bundle).unwrap().is_empty(), "sent again, it is nothing new");
    let both = fleet.bundle(&[(&profile("pair-1"), 1)], &[&fleet.owner, &fleet.second]);
    assert_eq!(judge(&memory, &both).unwrap().len(), 1);
}

#[test]
fn a_deletion_is_accepted_and_remembered() {
    let fleet = Fleet::new();
    let mut memory = fleet.memory(Some("graz"));
    let mut builder = fleet.builder();
    builder.delete("stead.dev/v1", &profile_key("web-1"), 2, Salt::from_bytes([1; 32])).unwrap();
    let bundle = fleet.bundle_of(&builder.build().unwrap().sign(&[&fleet.owner]).unwrap());
    let accepted = judge(&memory, &bundle).unwrap();
    assert_eq!((accepted[0].op, accepted[0].object.is_none()), (Op::Delete, true));
    memory.accept(&bundle, &accepted);
    for sequence in [1, 2] {
        let again = fleet.bundle(&[(&profile("web-1"), sequence)], &[&fleet.owner]);
        assert_eq!(check_of(&memory, &again), Check::Sequence, "sequence {sequence} after the tombstone");
    }
    assert_eq!(judge(&memory, &fleet.bundle(&[(&profile("web-1"), 3)], &[&fleet.owner])).unwrap().len(), 1);
}

fn for_another_fleet(fleet: &Fleet) -> Bundle {
    let author = Authorship::Person { author: fleet.owner.public_key().clone() };
    let mut builder = StatementBuilder::new(Digest::of(b"another"), ID, noon(), noon() + minutes(1), "", author);
    builder.put(&profile("web-2"), 1, Salt::from_bytes([0; 32])).unwrap();
    fleet.bundle_of(&builder.build().unwrap().sign(&[&fleet.owner]).unwrap())
}

/// A machine that holds `web-1` at sequence 3.
fn holding(fleet: &Fleet) -> MachineMemory {
    let mut memory = fleet.memory(Some("graz"));
    let held = fleet.bundle(&[(&profile("web-1"), 3)], &[&fleet.owner]);
    let accepted = judge(&memory, &held).unwrap();
    memory.accept(&held, &accepted);
    memory
}

fn good(fleet: &Fleet) -> Bundle {
    fleet.bundle(&[(&profile("web-1"), 4), (&profile("web-2"), 1)], &[&fleet.owner])
}

fn altered_in(fleet: &Fleet, change: &dyn Fn(&mut Bundle)) -> Bundle {
    let mut bundle = good(fleet);
    change(&mut bundle);
    bundle
}

/// Each case breaks one thing; the check that is named is the one for it.
fn refuses(fleet: &Fleet, cases: impl IntoIterator<Item = (&'static str, Bundle, Check)>) {
    let memory = holding(fleet);
    assert!(judge(&memory, &good(fleet)).is_ok());
    for (what, bundle, expected) in cases {
        assert_eq!(check_of(&memory, &bundle), expected, "{what}");
    }
}

#[test]
fn every_check_of_who_signed_refuses() {
    let fleet = Fleet::new();
    let altered = |change: &dyn Fn(&mut Bundle)| altered_in(&fleet, change);
    let by = |signers: &[&dyn Signer], name: &str| fleet.bundle(&[(&profile(name), 1)], signers);
    let cases = [
        ("a byte of the statement", altered(&|bundle| bundle.statement[20] ^= 1), Check::Signature),
        ("no signature", altered(&|bundle| bundle.signatures.clear()), Check::Signature),
        (
            "a signature for another purpose",
            altered(&|bundle| {
                bundle.signatures = vec![fleet.owner.sign(SignatureNamespace::Login, &bundle.statement).unwrap()];
            }),
            Check::Signature,
        ),
        (
            "white space, signed",
            altered(&|bundle| {
                bundle.statement.push(b' ');
                bundle.signatures = vec![fleet.owner.sign(SignatureNamespace::Change, &bundle.statement).unwrap()];
            }),
            Check::Format,
        ),
        ("another fleet", for_another_fleet(&fleet), Check::Fleet),
        ("a stranger", by(&[&key(99)], "web-2"), Check::Role),
        ("a name outside the role", by(&[&fleet.owner], "db-1"), Check::Role),
        ("an online key as an author", by(&[&fleet.online], "web-2"), Check::Role),
        (
            "an author who did not sign",
            altered(&|bundle| {
                bundle.signatures = vec![fleet.second.sign(SignatureNamespace::Change, &bundle.statement).unwrap()];
            }),
            Check::Role,
        ),
        ("one of two", by(&[&fleet.owner], "pair-1"), Check::Threshold),
        ("one of two, twice", by(&[&fleet.owner, &fleet.owner], "pair-1"), Check::Threshold),
    ];
    refuses(&fleet, cases);
}

#[test]
fn every_check_of_what_was_signed_refuses() {
    let fleet = Fleet::new();
    let altered = |change: &dyn Fn(&mut Bundle)| altered_in(&fleet, change);
    let received =
        |time, online| fleet.bundle_received(&fleet.submission(&[(&profile("web-2"), 1)], &[&fleet.owner]), time, online);
    let other_receipt = |digest| SignedReceipt::sign(fleet.id(), digest, Revision(1), noon(), &fleet.online).unwrap();
    let cases = [
        ("another place", altered(&|bundle| bundle.entries[0].index = 1), Check::Proof),
        ("a place outside", altered(&|bundle| bundle.entries[0].index = 2), Check::Proof),
        ("an altered proof", altered(&|bundle| bundle.entries[0].proof[0][0] ^= 1), Check::Proof),
        (
            "exchanged objects",
            altered(&|bundle| {
                let object = bundle.entries[0].object.take();
                bundle.entries[0].object = std::mem::replace(&mut bundle.entries[1].object, object);
            }),
            Check::Digest,
        ),
        ("no object", altered(&|bundle| bundle.entries[0].object = None), Check::Digest),
        ("an older sequence", fleet.bundle(&[(&profile("web-1"), 2)], &[&fleet.owner]), Check::Sequence),
        (
            "the same sequence, other content",
            {
                let other = object("Profile", "web-1", json!({}), json!({"selector": {}}));
                fleet.bundle(&[(&other, 3)], &[&fleet.owner])
            },
            Check::Sequence,
        ),
        (
            "twice in one bundle",
            altered(&|bundle| {
                let entry = bundle.entries[0].clone();
                bundle.entries.push(entry);
            }),
            Check::Sequence,
        ),
        ("a receipt after the deadline", received(noon() + minutes(61), &fleet.online), Check::Receipt),
        ("a receipt before it was written", received(noon() - minutes(6), &fleet.online), Check::Receipt),
        ("a receipt by a stranger", received(noon(), &key(99)), Check::Receipt),
        (
            "a receipt for another statement",
            altered(&|bundle| {
                let other = other_receipt(Digest::of(b"another"));
                (bundle.receipt, bundle.receipt_signature) = (other.document, other.signature);
            }),
            Check::Receipt,
        ),
        ("an altered receipt", altered(&|bundle| bundle.receipt[30] ^= 1), Check::Receipt),
    ];
    refuses(&fleet, cases);
}

/// With everything broken from one check on, that check is the one that is named.
#[test]
fn the_first_check_that_fails_is_named() {
    let fleet = Fleet::new();
    let mut memory = fleet.memory(Some("graz"));
    let held = fleet.bundle(&[(&profile("web-1"), 3)], &[&fleet.owner]);
    let accepted = judge(&memory, &held).unwrap();
    memory.accept(&held, &accepted);
    let broken = |signers: &[&dyn Signer], name: &str, proof: bool, digest: bool, receipt: bool| {
        let mut bundle = fleet.bundle(&[(&profile(name), 3), (&profile("web-9"), 1)], signers);
        if proof {
            bundle.entries[0].proof[0][5] ^= 1;
        }
        if digest {
            bundle.entries[0].object = Some(b"{}".to_vec());
        }
        if receipt {
            bundle.receipt[30] ^= 1;
        }
        bundle
    };
    let all = [
        (broken(&[&key(99)], "pair-1", true, true, true), Check::Role),
        (broken(&[&fleet.owner], "pair-1", true, true, true), Check::Threshold),
        (broken(&[&fleet.owner], "web-1", true, true, true), Check::Proof),
        (broken(&[&fleet.owner], "web-1", false, true, true), Check::Digest),
        (
            {
                let mut bundle = broken(&[&fleet.owner], "web-1", false, false, true);
                bundle.entries.truncate(1);
                bundle
            },
            // The same content under another statement.
            Check::Sequence,
        ),
        (broken(&[&fleet.owner], "web-2", false, false, true), Check::Receipt),
    ];
    for (bundle, expected) in all {
        assert_eq!(check_of(&memory, &bundle), expected);
    }
}

#[test]
fn a_role_with_a_selector_reaches_only_matching_machines() {
    let fleet = Fleet::new();
    let bundle = fleet.bundle(&[(&profile("grazer-1"), 1)], &[&fleet.grazer]);
    assert!(judge(&fleet.memory(Some("graz")), &bundle).is_ok());
    assert_eq!(check_of(&fleet.memory(Some("wien")), &bundle), Check::Role);
    assert_eq!(check_of(&fleet.memory(None), &bundle), Check::Role, "a machine that does not know its labels yet");
}

#[test]
fn a_machine_cannot_be_pulled_into_a_roles_reach() {
    let fleet = Fleet::new();
    let mut memory = fleet.memory(None);
    let there = fleet.machine_object("grazer-m", json!({"site": "wien"}));
    let first = fleet.bundle(&[(&there, 1)], &[&fleet.owner]);
    let accepted = judge(&memory, &first).unwrap();
    memory.accept(&first, &accepted);
    let pulled = fleet.machine_object("grazer-m", json!({"site": "graz"}));
    assert_eq!(check_of(&memory, &fleet.bundle(&[(&pulled, 2)], &[&fleet.grazer])), Check::Role);
    assert!(judge(&memory, &fleet.bundle(&[(&pulled, 2)], &[&fleet.owner])).is_ok());
}

#[test]
fn a_second_object_with_the_machines_key_does_not_change_its_masters() {
    let fleet = Fleet::new();
    let mut memory = fleet.memory(Some("wien"));
    let claim = fleet.machine_object("grazer-a", json!({"site": "graz"}));
    for owner in [&fleet.grazer, &fleet.owner] {
        assert_eq!(check_of(&memory, &fleet.bundle(&[(&claim, 1)], &[owner])), Check::Role);
    }
    // Only after its own object went may another name take its place.
    let mut builder = fleet.builder();
    let own = stead_model::ObjectKey::new(stead_model::GroupKind::new("stead.dev", "Machine"), "", "m1");
    builder.delete("stead.dev/v1", &own, 2, Salt::from_bytes([1; 32])).unwrap();
    let bundle = fleet.bundle_of(&builder.build().unwrap().sign(&[&fleet.owner]).unwrap());
    let accepted = judge(&memory, &bundle).unwrap();
    memory.accept(&bundle, &accepted);
    assert_eq!((memory.machine(), memory.own_labels()), (None, None));
    let bundle = fleet.bundle(&[(&claim, 1)], &[&fleet.owner]);
    let accepted = judge(&memory, &bundle).unwrap();
    memory.accept(&bundle, &accepted);
    assert_eq!(memory.machine(), Some("grazer-a"));
}

#[test]
fn a_role_cannot_bury_the_name_of_a_machine_it_never_reached() {
    let fleet = Fleet::new();
    let grazer = Authorship::Person { author: fleet.grazer.public_key().clone() };
    let mut builder = StatementBuilder::new(fleet.id(), ID, noon(), noon() + minutes(1), "", grazer);
    let name = stead_model::ObjectKey::new(stead_model::GroupKind::new("stead.dev", "Machine"), "", "grazer-m");
    builder.delete("stead.dev/v1", &name, 1000, Salt::from_bytes([1; 32])).unwrap();
    let bundle = fleet.bundle_of(&builder.build().unwrap().sign(&[&fleet.grazer]).unwrap());
    assert_eq!(check_of(&fleet.memory(None), &bundle), Check::Role);
}

#[test]
fn what_was_judged_before_something_newer_came_is_not_taken() {
    let fleet = Fleet::new();
    let mut memory = fleet.memory(Some("graz"));
    let old = fleet.bundle(&[(&profile("web-1"), 1)], &[&fleet.owner]);
    let new = fleet.bundle(&[(&profile("web-1"), 2)], &[&fleet.owner]);
    let (judged_old, judged_new) = (judge(&memory, &old).unwrap(), judge(&memory, &new).unwrap());
    memory.accept(&new, &judged_new);
    assert!(memory.accept(&old, &judged_old).2.is_empty());
    assert_eq!(memory.held(&profile_key("web-1")).unwrap().sequence, 2);
}

#[test]
fn fact_labels_count_only_where_the_root_says_so() {
    let fleet = Fleet::new();
    let mut memory = fleet.memory(Some("graz"));
    memory.set_facts([("facts.stead.dev/arch".to_owned(), "arm64".to_owned()), ("site".to_owned(), "wien".to_owned())].into());
    let by_fact = "facts.stead.dev/arch=arm64".parse().unwrap();
    assert!(memory.is_selected(&by_fact, true));
    assert!(!memory.is_selected(&by_fact, false));
    assert!(memory.is_selected(&"site=graz".parse().unwrap(), true), "facts cannot overrule signed labels");
}

#[test]
fn online_keys_write_what_is_left_to_them_only() {
    let fleet = Fleet::new();
    let memory = fleet.memory(Some("graz"));
    let build = |object: &stead_model::Object, signer: &dyn Signer| {
        let mut builder = fleet.online_builder();
        builder.put(object, 1, Salt::from_bytes([3; 32])).unwrap();
        fleet.bundle_of(&builder.build().unwrap().sign(&[signer]).unwrap())
    };
    let instance = object("Instance", "vm", json!({}), json!({}));
    assert!(judge(&memory, &build(&instance, &fleet.online)).is_ok());
    assert_eq!(check_of(&memory, &build(&profile("web-1"), &fleet.online)), Check::Role);
    assert_eq!(check_of(&memory, &build(&instance, &fleet.owner)), Check::Role);
}

#[test]
fn memory_comes_back_from_its_rows() {
    let fleet = Fleet::new();
    let mut memory = fleet.memory(Some("graz"));
    let bundle = fleet.bundle(&[(&profile("web-1"), 3)], &[&fleet.owner]);
    let (row, statement, entries) = memory.accept(&bundle, &judge(&memory.clone(), &bundle).unwrap());
    let machine =
        memory.bundle_of(&stead_model::ObjectKey::new(stead_model::GroupKind::new("stead.dev", "Machine"), "", "m1")).unwrap();
    assert_eq!(machine.entries.len(), 1);

    // Through bytes and back, as a database has it.
    let through = |entries: &Vec<stead_trust::EntryRow>| -> Vec<stead_trust::EntryRow> {
        serde_json::from_slice(&serde_json::to_vec(entries).unwrap()).unwrap()
    };
    let statement = statement.unwrap();
    let load = |entries| MachineMemory::load(row.clone(), &memory.root_rows(), vec![statement.clone()], entries);
    let again = load(through(&entries)).unwrap();
    assert_eq!(again.held(&profile_key("web-1")), memory.held(&profile_key("web-1")));
    assert_eq!(again.now(), noon() + minutes(1));
    assert_eq!(again.bundle_of(&profile_key("web-1")).unwrap().entries, bundle.entries);

    let mut altered = through(&entries);
    altered[0].entry.object = Some(profile("web-2").to_signed_bytes().unwrap());
    assert!(load(altered).is_err());
    assert!(MachineMemory::load(row.clone(), &memory.root_rows(), vec![], entries).is_err());
    assert!(at("2026-01-01T00:00:00Z") < again.now());
}
