//! Fuzz harnesses for every decoder of bytes that a stranger may send.

use stead_model::{Digest, Revision};
use stead_trust::{
    Bundle, ChangeStatement, Credential, Delegation, GiveBackAnswer, GiveBackAsk, Labels, Leaf, MachineKey, PublicKey, RootChain,
    Signature, SignatureNamespace, SignedAck, SignedDelegation, SignedLogin, SignedReceipt, SignedRoot, SignedStatement, Signer,
    SigningKey, Submission, UserPresence, given_back, judge, matches_pattern, recover, verify, verify_enrolment,
};

use crate::fleet::{Fleet, key, noon, profile};

/// Something valid with the bytes written over it, from the place that the first two of them name.
fn spliced(valid: &[u8], bytes: &[u8]) -> Vec<u8> {
    let [high, low, rest @ ..] = bytes else { return valid.to_vec() };
    let start = usize::from(u16::from_be_bytes([*high, *low])) % valid.len();
    let mut spliced = valid.to_vec();
    spliced.splice(start..valid.len().min(start + rest.len()), rest.iter().copied());
    spliced
}

#[test]
fn fuzz_statement() {
    let fleet = Fleet::new();
    let valid = fleet.submission(&[(&profile("web-1"), 1)], &[&fleet.owner]).statement.document;
    bolero::check!().for_each(|bytes: &[u8]| {
        for document in [bytes.to_vec(), spliced(&valid, bytes)] {
            let _ = ChangeStatement::from_document(&document);
            // Signed by a key that anybody may have made: the parser is all that stands in the way.
            let signatures = vec![fleet.grazer.sign(SignatureNamespace::Change, &document).unwrap()];
            let _ = SignedStatement { document, signatures }.verify(UserPresence::Required);
        }
    });
}

#[test]
fn fuzz_root() {
    let (fleet, stranger) = (Fleet::new(), key(99));
    let valid = fleet.roots.newest().next_version(noon()).unwrap().to_document().unwrap();
    bolero::check!().for_each(|bytes: &[u8]| {
        for document in [bytes.to_vec(), spliced(&valid, bytes)] {
            let signatures = vec![stranger.sign(SignatureNamespace::Root, &document).unwrap()];
            let signed = SignedRoot { document, signatures };
            assert!(fleet.roots.extend(&signed).is_err());
            let _ = RootChain::verify(&signed.digest(), &[signed]);
        }
    });
}

#[test]
fn fuzz_receipt() {
    let signer = key(3);
    let digest = Digest::of(b"x");
    let valid = SignedReceipt::sign(digest, digest, Revision(1), noon(), &signer).unwrap().document;
    bolero::check!().for_each(|bytes: &[u8]| {
        for document in [bytes.to_vec(), spliced(&valid, bytes)] {
            let signature = signer.sign(SignatureNamespace::Receipt, &document).unwrap();
            let _ = SignedReceipt { document, signature }.verify();
        }
    });
}

#[test]
fn fuzz_ack_and_login() {
    let (fleet, nonce) = (Fleet::new(), "ab".repeat(32));
    bolero::check!().for_each(|bytes: &[u8]| {
        let signature = fleet.machine.sign(SignatureNamespace::Ack, bytes).unwrap();
        let _ = SignedAck { document: bytes.to_vec(), signature }.verify(&fleet.id(), &fleet.machine_key());
        let signature = fleet.owner.sign(SignatureNamespace::Login, bytes).unwrap();
        let signed = SignedLogin { document: bytes.to_vec(), signature };
        let _ = signed.verify(&fleet.id(), fleet.online.public_key(), &nonce, crate::fleet::noon(), UserPresence::Required);
    });
}

#[test]
fn fuzz_bundle() {
    let fleet = Fleet::new();
    let memory = fleet.memory(Some("graz"));
    let original = fleet.bundle(&[(&profile("web-1"), 1)], &[&fleet.owner]);
    let valid = original.to_bytes().unwrap();
    bolero::check!().for_each(|bytes: &[u8]| {
        for bytes in [bytes.to_vec(), spliced(&valid, bytes)] {
            if let Ok(bundle) = Bundle::from_bytes(&bytes) {
                assert!(bundle == original || judge(&memory, &bundle).is_err());
            }
        }
    });
}

#[test]
fn fuzz_give_back() {
    let fleet = Fleet::new();
    let memory = fleet.memory(Some("graz"));
    let original = fleet.bundle(&[(&profile("web-1"), 1)], &[&fleet.owner]);
    let bundle = original.to_bytes().unwrap();
    let ask = GiveBackAsk::Held { after: Some(crate::fleet::profile_key("web-1")) };
    let answer = ask.answer(&memory);
    let papers = Credential::of(&memory).unwrap();
    let (asked, answered, shown) = (ask.to_bytes().unwrap(), answer.to_bytes().unwrap(), papers.to_bytes().unwrap());
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(ask) = GiveBackAsk::from_bytes(&spliced(&asked, bytes)) {
            assert_eq!(GiveBackAsk::from_bytes(&ask.to_bytes().unwrap()).unwrap(), ask);
            let _ = ask.answer(&memory);
        }
        if let Ok(answer) = GiveBackAnswer::from_bytes(&spliced(&answered, bytes)) {
            let _ = answer.to_bytes();
        }
        let _ = given_back(bytes);
        if let Ok(papers) = Credential::from_bytes(&spliced(&shown, bytes)) {
            let _ = papers.read_bundle();
        }
        if let Ok(bundle) = Bundle::from_bytes(&spliced(&bundle, bytes)) {
            assert!(bundle == original || recover(&fleet.roots, &bundle, &crate::fleet::nothing).is_err());
        }
    });
}

#[test]
fn fuzz_submission() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let _ = serde_json::from_slice::<Submission>(bytes);
    });
}

#[test]
fn fuzz_signature() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(signature) = Signature::from_blob(bytes) {
            assert_eq!(signature.as_blob(), bytes);
            assert_eq!(Signature::from_armor(&signature.to_armor()).unwrap(), signature);
            let _ = verify(SignatureNamespace::Change, b"document", &signature);
        }
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = Signature::from_armor(text);
        }
    });
}

#[test]
fn fuzz_leaf() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(leaf) = Leaf::from_bytes(bytes) {
            assert_eq!(leaf.to_bytes().unwrap(), bytes);
            let _ = leaf.read_object(bytes);
        }
    });
}

#[test]
fn fuzz_enrolment() {
    let (fleet, labels) = (Fleet::new(), Labels::new());
    let (time, until, name_pattern) = (noon(), noon(), "a-*".to_owned());
    let valid = Delegation { fleet: fleet.id(), time, labels, name_pattern, machines: 1, until };
    let valid = SignedDelegation::sign(&valid, &[&fleet.owner]).unwrap();
    let mut evidence = valid.countersign(&fleet.machine, "a-1", noon()).unwrap();
    bolero::check!().for_each(|bytes: &[u8]| {
        let document = spliced(&valid.document, bytes);
        let signatures = vec![fleet.grazer.sign(SignatureNamespace::Enrol, &document).unwrap()];
        let _ = SignedDelegation { document, signatures }.read();
        let request = spliced(evidence.request.as_bytes(), bytes);
        evidence.request_signature = fleet.machine.sign(SignatureNamespace::Enrol, &request).unwrap().to_armor();
        let mut evidence = evidence.clone();
        evidence.request = String::from_utf8_lossy(&request).into_owned();
        let spec = serde_json::json!({"key": fleet.machine_key().to_string(), "enrolment": evidence});
        let machine = crate::fleet::object("Machine", "a-2", serde_json::json!({}), spec);
        assert!(verify_enrolment(fleet.roots.newest(), &machine, None).is_err() || request.windows(3).any(|name| name == b"a-2"));
    });
}

#[test]
fn fuzz_keys() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(key) = text.parse::<PublicKey>() {
            assert_eq!(key.as_str().parse::<PublicKey>().unwrap(), key);
        }
        let _ = text.parse::<MachineKey>();
        let _ = SigningKey::from_openssh(text, None);
        if let Some((pattern, name)) = text.split_once(' ') {
            let _ = matches_pattern(pattern, name);
        }
    });
}
