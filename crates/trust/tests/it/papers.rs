//! Receipts, acknowledgements and logins: signed, verified, and refused when anything differs.

use stead_model::{Digest, Revision};
use stead_trust::{Ack, Bundle, Login, Outcome, PublicKey, SignedAck, SignedLogin, SignedReceipt, Signer, UserPresence};

use crate::fleet::{Fleet, key, minutes, noon, profile, profile_key};

#[test]
fn receipts() {
    let fleet = Fleet::new();
    let signed = SignedReceipt::sign(fleet.id(), Digest::of(b"s"), Revision(3), noon(), &fleet.online).unwrap();
    let receipt = signed.verify().unwrap();
    assert_eq!((receipt.revision, receipt.time, &receipt.online_key), (Revision(3), noon(), fleet.online.public_key()));
    let by_another = SignedReceipt::sign(fleet.id(), Digest::of(b"s"), Revision(3), noon(), &key(99)).unwrap();
    assert!(SignedReceipt { signature: by_another.signature, ..signed.clone() }.verify().is_err());
    let mut altered = signed;
    altered.document[30] ^= 1;
    assert!(altered.verify().is_err());
}

#[test]
fn acknowledgements() {
    let fleet = Fleet::new();
    let machine = fleet.machine_key();
    let ack = Ack {
        fleet: fleet.id(),
        time: noon(),
        machine,
        statement: Digest::of(b"s"),
        object: profile_key("web-1"),
        object_sequence: 3,
        outcome: Outcome::Failed,
        detail: "disk full".to_owned(),
        sequence: 1,
    };
    let signed = SignedAck::sign(&ack, &fleet.machine).unwrap();
    assert_eq!(signed.verify(&fleet.id(), &machine).unwrap(), ack);
    assert!(signed.verify(&Digest::of(b"x"), &machine).is_err(), "another fleet");
    assert!(signed.verify(&fleet.id(), &key(99).machine_key().unwrap()).is_err(), "another machine");
    assert!(SignedAck::sign(&ack, &key(99)).unwrap().verify(&fleet.id(), &machine).is_err(), "signed by another");
    let other = Ack { machine: key(99).machine_key().unwrap(), ..ack.clone() };
    assert!(SignedAck::sign(&other, &fleet.machine).unwrap().verify(&fleet.id(), &machine).is_err(), "in another's name");
    assert!(SignedAck::sign(&Ack { detail: "x".repeat(2000), ..ack }, &fleet.machine).is_err());
}

#[test]
fn logins() {
    let fleet = Fleet::new();
    let (nonce, coordinator) = ("ab".repeat(32), fleet.online.public_key().clone());
    let login = Login { fleet: fleet.id(), time: noon(), coordinator: coordinator.clone(), nonce: nonce.clone() };
    let signed = SignedLogin::sign(&login, &fleet.owner).unwrap();
    let verify = |fleet: Digest, coordinator: &PublicKey, nonce: &str, now| {
        signed.verify(&fleet, coordinator, nonce, now, UserPresence::Required)
    };
    let key_of_person = verify(fleet.id(), &coordinator, &nonce, noon() + minutes(5)).unwrap();
    assert!(fleet.roots.newest().is_persons_key(&key_of_person));
    assert!(!fleet.roots.newest().is_persons_key(&coordinator));
    assert!(verify(Digest::of(b"x"), &coordinator, &nonce, noon()).is_err(), "fleet");
    assert!(verify(fleet.id(), key(99).public_key(), &nonce, noon()).is_err(), "coordinator");
    assert!(verify(fleet.id(), &coordinator, &"cd".repeat(32), noon()).is_err(), "nonce");
    assert!(verify(fleet.id(), &coordinator, &nonce, noon() + minutes(6)).is_err(), "late");
    assert!(verify(fleet.id(), &coordinator, &nonce, noon() - minutes(6)).is_err(), "early");
    assert!(SignedLogin::sign(&Login { nonce: "short".to_owned(), ..login }, &fleet.owner).is_err());
}

#[test]
fn bundles_are_bounded() {
    let fleet = Fleet::new();
    let bundle = fleet.bundle(&[(&profile("web-1"), 1)], &[&fleet.owner]);
    let bytes = bundle.to_bytes().unwrap();
    assert_eq!(Bundle::from_bytes(&bytes).unwrap(), bundle);
    assert!(Bundle::from_bytes(&[&bytes[..], b"x"].concat()).is_err(), "trailing");
    assert!(Bundle::from_bytes(&vec![0xff; 9 << 20]).is_err(), "length");
    let with = |change: &dyn Fn(&mut Bundle)| {
        let mut bundle = bundle.clone();
        change(&mut bundle);
        bundle.to_bytes()
    };
    assert!(with(&|bundle| bundle.statement = vec![b' '; 300_000]).is_err());
    assert!(with(&|bundle| bundle.signatures = vec![bundle.signatures[0].clone(); 33]).is_err());
    assert!(with(&|bundle| bundle.entries = vec![bundle.entries[0].clone(); 1025]).is_err());
    assert!(with(&|bundle| bundle.entries[0].proof = vec![[0; 32]; 33]).is_err());
    assert!(with(&|bundle| bundle.entries[0].leaf = vec![b' '; 5000]).is_err());
}
