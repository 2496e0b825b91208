//! Statements altered at random in one place each: none is accepted, by machine or coordinator.

use proptest::prelude::RngExt as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::json;
use stead_trust::{Bundle, Salt, Signer, Submission, admit, judge};

use crate::fleet::{Fleet, noon, nothing, object, profile};

/// How many alterations each test makes.
const ALTERATIONS: usize = 1000;

fn random() -> TestRng {
    TestRng::deterministic_rng(RngAlgorithm::ChaCha)
}

/// One byte changed, put in, or taken out.
fn altered(bytes: &[u8], random: &mut TestRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let place = random.random_range(0..bytes.len());
    match random.random_range(0..4_u8) {
        0 => bytes.insert(place, random.random_range(0..=255_u8)),
        1 => drop(bytes.remove(place)),
        2 => bytes[place] ^= 1 << random.random_range(0..8_u8),
        _ => bytes[place] = random.random_range(0..=255_u8),
    }
    bytes
}

fn submissions(fleet: &Fleet) -> Vec<Submission> {
    let by_online = {
        let mut builder = fleet.online_builder();
        builder.put(&object("Instance", "vm", json!({}), json!({"memory": 1})), 1, Salt::from_bytes([3; 32])).unwrap();
        builder.build().unwrap().sign(&[&fleet.online as &dyn Signer]).unwrap()
    };
    vec![
        fleet.submission(&[(&profile("web-1"), 1)], &[&fleet.owner]),
        fleet.submission(&[(&profile("web-1"), 1), (&profile("web-2"), 1), (&profile("web-3"), 1)], &[&fleet.owner]),
        fleet.submission(&[(&profile("pair-1"), 1)], &[&fleet.owner, &fleet.second]),
        by_online,
    ]
}

#[test]
fn no_machine_accepts_an_altered_bundle() {
    let fleet = Fleet::new();
    let (memory, mut random) = (fleet.memory(Some("graz")), random());
    let bundles: Vec<Bundle> = submissions(&fleet).iter().map(|submission| fleet.bundle_of(submission)).collect();
    for bundle in &bundles {
        assert!(!judge(&memory, bundle).unwrap().is_empty());
    }
    let (mut made, mut decoded) = (0, 0);
    while made < ALTERATIONS {
        let original = &bundles[made % bundles.len()];
        let bytes = altered(&original.to_bytes().unwrap(), &mut random);
        match Bundle::from_bytes(&bytes) {
            Ok(bundle) if bundle == *original => continue,
            Ok(bundle) => {
                decoded += 1;
                assert!(judge(&memory, &bundle).is_err(), "accepted: {bytes:02x?}");
            }
            Err(_) => {}
        }
        made += 1;
    }
    assert!(decoded > ALTERATIONS / 4, "only {decoded} alterations reached the machine's checks");
}

#[test]
fn no_coordinator_admits_an_altered_submission() {
    let fleet = Fleet::new();
    let mut random = random();
    let originals = submissions(&fleet);
    let (mut made, mut decoded) = (0, 0);
    while made < ALTERATIONS {
        let original = &originals[made % originals.len()];
        let bytes = altered(&serde_json::to_vec(original).unwrap(), &mut random);
        match serde_json::from_slice::<Submission>(&bytes) {
            Ok(submission) if submission == *original => continue,
            Ok(submission) => {
                decoded += 1;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                assert!(admit(&fleet.roots, &submission, &nothing, noon()).is_err(), "admitted: {text}");
            }
            Err(_) => {}
        }
        made += 1;
    }
    assert!(decoded > ALTERATIONS / 10, "only {decoded} alterations reached the coordinator's checks");
}
