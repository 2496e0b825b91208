//! A machine's change of its own key holds only as it was asked for, by who has both keys.

use serde_json::json;
use stead_model::{Digest, Object, RotationEvidence};
use stead_trust::{KeyRotation, SigningKey, check_rotation, sign_rotation, verify_rotation};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn evidence(old: u8, new: u8, signed_old: u8, signed_new: u8) -> RotationEvidence {
    let rotation = KeyRotation {
        fleet: Digest::of(b"fleet"),
        time: jiff::Timestamp::from_second(1).unwrap(),
        name: "web".to_owned(),
        machine: key(old).machine_key().unwrap(),
        next: key(new).machine_key().unwrap(),
    };
    sign_rotation(&rotation, &key(signed_old), &key(signed_new)).unwrap()
}

#[test]
fn only_who_has_both_keys_changes_one_for_the_other() {
    let (fleet, old) = (Digest::of(b"fleet"), key(1).machine_key().unwrap());
    let good = evidence(1, 2, 1, 2);
    assert_eq!(verify_rotation(&fleet, "web", &old, &good).unwrap(), key(2).machine_key().unwrap());
    for (what, fleet, name, old, evidence) in [
        ("another fleet", Digest::of(b"other"), "web", 1, good.clone()),
        ("another machine's name", fleet, "db", 1, good.clone()),
        ("another machine's key", fleet, "web", 3, good.clone()),
        ("the old key did not sign", fleet, "web", 1, evidence(1, 2, 3, 2)),
        ("the new key did not sign: whoever copied the request", fleet, "web", 1, evidence(1, 2, 1, 3)),
        ("no change at all", fleet, "web", 1, evidence(1, 1, 1, 1)),
        ("altered", fleet, "web", 1, RotationEvidence { request: good.request.replace("web", "wab"), ..good.clone() }),
    ] {
        let old = key(old).machine_key().unwrap();
        assert!(verify_rotation(&fleet, name, &old, &evidence).is_err(), "{what}");
    }
}

#[test]
fn the_object_names_the_keys_of_the_request() {
    let fleet = Digest::of(b"fleet");
    let hex = |seed| key(seed).machine_key().unwrap().to_string();
    let object = |current: u8, former: &[u8], evidence: &RotationEvidence| -> Object {
        let former: Vec<String> = former.iter().map(|seed| hex(*seed)).collect();
        let spec = json!({"key": hex(current), "formerKeys": former, "rotation": evidence});
        serde_json::from_value(
            json!({"apiVersion": "stead.dev/v1", "kind": "Machine", "metadata": {"name": "web"}, "spec": spec}),
        )
        .unwrap()
    };
    let good = evidence(1, 2, 1, 2);
    check_rotation(&fleet, &object(2, &[9, 1], &good)).unwrap();
    for (what, bad) in
        [("another key", object(3, &[1], &good)), ("another former key", object(2, &[9], &good)), ("none", object(2, &[], &good))]
    {
        assert!(check_rotation(&fleet, &bad).is_err(), "{what}");
    }
}
