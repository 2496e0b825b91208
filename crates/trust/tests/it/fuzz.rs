//! Fuzz harnesses for every decoder of bytes that a stranger may send.

use stead_trust::{
    Bundle, ChangeStatement, Leaf, MachineKey, PublicKey, RootChain, Signature, SignatureNamespace, SignedAck, SignedLogin, SignedReceipt,
    SignedRoot, SignedStatement, Signer, SigningKey, Submission, UserPresence, judge, matches_pattern, verify,
};

use crate::fleet::{Fleet, key};

#[test]
fn fuzz_statement() {
    let signer = key(1);
    bolero::check!().for_each(|bytes: &[u8]| {
        let _ = ChangeStatement::from_document(bytes);
        // Signed by a key that anybody may have made: the parser is all that stands in the way.
        let signatures = vec![signer.sign(SignatureNamespace::Change, bytes).unwrap()];
        let _ = SignedStatement { document: bytes.to_vec(), signatures }.verify(UserPresence::Required);
    });
}

#[test]
fn fuzz_root() {
    let (fleet, stranger) = (Fleet::new(), key(99));
    bolero::check!().for_each(|bytes: &[u8]| {
        let signatures = vec![stranger.sign(SignatureNamespace::Root, bytes).unwrap()];
        let signed = SignedRoot { document: bytes.to_vec(), signatures };
        assert!(fleet.roots.extend(&signed).is_err());
        let _ = RootChain::verify(&signed.digest(), &[signed]);
    });
}

#[test]
fn fuzz_receipt() {
    let signer = key(3);
    bolero::check!().for_each(|bytes: &[u8]| {
        let signature = signer.sign(SignatureNamespace::Receipt, bytes).unwrap();
        let _ = SignedReceipt { document: bytes.to_vec(), signature }.verify();
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
    let memory = Fleet::new().memory(Some("graz"));
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(bundle) = Bundle::from_bytes(bytes) {
            assert!(judge(&memory, &bundle).is_err());
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
