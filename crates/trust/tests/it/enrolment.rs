//! Enrolment by delegation: a coordinator puts what owners and the machine signed together, and nothing else.

use serde_json::json;
use stead_model::Object;
use stead_trust::{Check, Delegation, Labels, Salt, SignedDelegation, Signer, SigningKey, admit, judge, verify_enrolment};

use crate::fleet::{Fleet, key, minutes, noon, nothing, object};

fn labels() -> Labels {
    [("site".to_owned(), "graz".to_owned())].into()
}

fn delegation(fleet: &Fleet) -> Delegation {
    Delegation {
        fleet: fleet.id(),
        time: noon() - minutes(10),
        labels: labels(),
        name_pattern: "branch-*".to_owned(),
        machines: 5,
        until: noon() + minutes(30),
    }
}

fn enrolled(fleet: &Fleet, delegation: &Delegation, owner: &dyn Signer, machine: &SigningKey, name: &str) -> Object {
    let evidence = SignedDelegation::sign(delegation, &[owner]).unwrap().countersign(machine, name, noon()).unwrap();
    let spec = json!({"key": fleet.machine_key().to_string(), "enrolment": serde_json::to_value(evidence).unwrap()});
    object("Machine", name, json!(labels()), spec)
}

#[test]
fn a_delegated_machine_is_admitted_and_accepts_itself() {
    let fleet = Fleet::new();
    let machine = enrolled(&fleet, &delegation(&fleet), &fleet.owner, &fleet.machine, "branch-7");
    let mut builder = fleet.online_builder();
    builder.put(&machine, 1, Salt::from_bytes([1; 32])).unwrap();
    let submission = builder.build().unwrap().sign(&[&fleet.online]).unwrap();
    admit(&fleet.roots, &submission, &nothing, noon()).unwrap();
    let mut memory = fleet.memory(None);
    let bundle = fleet.bundle_of(&submission);
    let accepted = judge(&memory, &bundle).unwrap();
    memory.accept(&bundle, &accepted);
    assert_eq!(memory.own_labels(), Some(&labels()));

    let late = fleet.bundle_received(&submission, noon() + minutes(31), &fleet.online);
    assert_eq!(judge(&fleet.memory(None), &late).unwrap_err().check, Check::Role, "after `until`, by the receipt");

    let mut builder = fleet.online_builder();
    builder.put(&machine, 2, Salt::from_bytes([1; 32])).unwrap();
    let second = fleet.bundle_of(&builder.build().unwrap().sign(&[&fleet.online]).unwrap());
    assert_eq!(judge(&memory, &second).unwrap_err().check, Check::Role, "a delegation is good for the first put only");

    let mut exchanged = bundle.clone();
    exchanged.entries[0].object = Some(b"{}".to_vec());
    assert_eq!(judge(&fleet.memory(None), &exchanged).unwrap_err().check, Check::Digest);
}

#[test]
fn every_way_in_which_it_does_not_hold() {
    let fleet = Fleet::new();
    let given = delegation(&fleet);
    let good = || enrolled(&fleet, &given, &fleet.owner, &fleet.machine, "branch-7");
    let edited = |edit: &dyn Fn(&mut Object)| {
        let mut machine = good();
        edit(&mut machine);
        machine
    };
    let spec = |machine: &mut Object, pointer: &str, value: serde_json::Value| {
        *machine.fields["spec"].pointer_mut(pointer).unwrap() = value;
    };
    let other = Delegation { machines: 6, ..given.clone() };
    let cases = [
        ("given by a stranger", enrolled(&fleet, &given, &key(99), &fleet.machine, "branch-7")),
        ("given by the coordinator", enrolled(&fleet, &given, &fleet.online, &fleet.machine, "branch-7")),
        ("given by a role for other names", enrolled(&fleet, &given, &fleet.grazer, &fleet.machine, "branch-7")),
        ("a name outside the pattern", enrolled(&fleet, &given, &fleet.owner, &fleet.machine, "head-7")),
        ("asked for by another machine", enrolled(&fleet, &given, &fleet.owner, &key(77), "branch-7")),
        (
            "past",
            enrolled(
                &fleet,
                &Delegation { until: noon() - minutes(1), ..given.clone() },
                &fleet.owner,
                &fleet.machine,
                "branch-7",
            ),
        ),
        ("another name", edited(&|machine| machine.metadata.name = "branch-8".to_owned())),
        ("more labels", edited(&|machine| drop(machine.metadata.labels.insert("role".to_owned(), "db".to_owned())))),
        ("fewer labels", edited(&|machine| machine.metadata.labels.clear())),
        (
            "more in its spec",
            edited(&|machine| {
                machine.fields["spec"].as_object_mut().unwrap().insert("silentAfterSeconds".to_owned(), 9.into());
            }),
        ),
        ("an annotation", edited(&|machine| drop(machine.metadata.annotations.insert("stead.dev/x".to_owned(), String::new())))),
        ("another key", edited(&|machine| spec(machine, "/key", key(78).machine_key().unwrap().to_string().into()))),
        ("no signatures", edited(&|machine| spec(machine, "/enrolment/delegationSignatures", json!([])))),
        (
            "another delegation",
            edited(&|machine| {
                let signed = SignedDelegation::sign(&other, &[&fleet.owner]).unwrap();
                spec(machine, "/enrolment/delegation", String::from_utf8(signed.document.clone()).unwrap().into());
                spec(machine, "/enrolment/delegationSignatures", json!(signed.signatures));
            }),
        ),
        ("no evidence", edited(&|machine| spec(machine, "/enrolment", json!({})))),
    ];
    let root = fleet.roots.newest();
    verify_enrolment(root, &good(), Some(noon())).unwrap();
    for (what, machine) in cases {
        assert!(verify_enrolment(root, &machine, Some(noon())).is_err(), "{what}");
        let mut builder = fleet.online_builder();
        builder.put(&machine, 1, Salt::from_bytes([1; 32])).unwrap();
        let submission = builder.build().unwrap().sign(&[&fleet.online]).unwrap();
        assert!(admit(&fleet.roots, &submission, &nothing, noon()).is_err(), "{what}");
        assert_eq!(judge(&fleet.memory(None), &fleet.bundle_of(&submission)).unwrap_err().check, Check::Role, "{what}");
    }
}

#[test]
fn a_role_with_a_prefix_may_delegate_under_it() {
    let fleet = Fleet::new();
    let given = Delegation { name_pattern: "grazer-*".to_owned(), ..delegation(&fleet) };
    let machine = enrolled(&fleet, &given, &fleet.grazer, &fleet.machine, "grazer-1");
    verify_enrolment(fleet.roots.newest(), &machine, Some(noon())).unwrap();
    let elsewhere = Delegation { labels: [("site".to_owned(), "wien".to_owned())].into(), ..given };
    let mut machine = enrolled(&fleet, &elsewhere, &fleet.grazer, &fleet.machine, "grazer-1");
    machine.metadata.labels = elsewhere.labels;
    assert!(verify_enrolment(fleet.roots.newest(), &machine, Some(noon())).is_err(), "labels outside the role's reach");
}
