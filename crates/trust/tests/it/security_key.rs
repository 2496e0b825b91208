//! Keys in authenticators, with one made of software: application hash, flags and counter as a device makes them.

use rsa::signature::Signer as _;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::public::{KeyData, SkEcdsaSha2NistP256, SkEd25519};
use stead_model::Digest;
use stead_trust::{
    Check, PublicKey, RootChain, SignError, Signature, SignatureError, SignatureNamespace, SignedRoot, Signer, UserPresence,
    judge, signed_data, verify, verify_with,
};

use crate::fleet::{Fleet, key, profile, root_of};
use crate::openssh::{key_file, openssh_accepts};

const DOCUMENT: &[u8] = b"{}";
const APPLICATION: &str = "ssh:";

/// An authenticator without a device around it.
struct Authenticator {
    public: PublicKey,
    pair: KeypairData,
    flags: u8,
    counter: u32,
}

impl Authenticator {
    fn ed25519(flags: u8) -> Self {
        let pair = Ed25519Keypair::from_seed(&[42; 32]);
        let public = PublicKey::from_key_data(KeyData::SkEd25519(SkEd25519::new(pair.public, APPLICATION))).unwrap();
        Self { public, pair: KeypairData::Ed25519(pair), flags, counter: 7 }
    }

    fn ecdsa(flags: u8) -> Self {
        let folder = key_file(&["-t", "ecdsa", "-b", "256", "-N", ""]);
        let private = ssh_key::PrivateKey::read_openssh_file(&folder.path().join("key")).unwrap();
        let Some(ssh_key::public::EcdsaPublicKey::NistP256(point)) = private.public_key().key_data().ecdsa() else {
            panic!("p256")
        };
        let public =
            PublicKey::from_key_data(KeyData::SkEcdsaSha2NistP256(SkEcdsaSha2NistP256::new(*point, APPLICATION))).unwrap();
        Self { public, pair: private.key_data().clone(), flags, counter: 1 << 31 }
    }
}

impl Signer for Authenticator {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// PROTOCOL.u2f: the device signs SHA-256 of the application, flags, counter, SHA-256 of the message.
    fn sign(&self, namespace: SignatureNamespace, document: &[u8]) -> Result<Signature, SignError> {
        let trailer = [&[self.flags][..], &self.counter.to_be_bytes()].concat();
        let message = Digest::of(&signed_data(namespace, document));
        let data = [Digest::of(APPLICATION.as_bytes()).as_bytes(), &trailer[..], message.as_bytes()].concat();
        let mut signature = self.pair.try_sign(&data).unwrap().as_bytes().to_vec();
        signature.extend(trailer);
        let raw = ssh_key::Signature::new(self.public.as_ssh().algorithm(), signature).unwrap();
        Ok(Signature::from_raw(&self.public, namespace, &raw)?)
    }
}

const TOUCHED: u8 = 0x01;
const VERIFIED_AND_TOUCHED: u8 = 0x05;
const UNTOUCHED: u8 = 0x00;

#[test]
fn signatures_with_a_touch_hold_here_and_at_openssh() {
    for flags in [TOUCHED, VERIFIED_AND_TOUCHED] {
        for device in [Authenticator::ed25519(flags), Authenticator::ecdsa(flags)] {
            let signature = device.sign(SignatureNamespace::Change, DOCUMENT).unwrap();
            assert_eq!(verify(SignatureNamespace::Change, DOCUMENT, &signature).unwrap(), device.public);
            assert!(openssh_accepts(SignatureNamespace::Change, DOCUMENT, &signature), "{}", device.public);
            assert!(!openssh_accepts(SignatureNamespace::Change, b"other", &signature), "{}", device.public);
            assert!(verify(SignatureNamespace::Change, b"other", &signature).is_err());
            assert_eq!(Signature::from_armor(&signature.to_armor()).unwrap(), signature);
        }
    }
}

#[test]
fn without_a_touch_they_do_not_hold() {
    for device in [Authenticator::ed25519(UNTOUCHED), Authenticator::ecdsa(UNTOUCHED)] {
        let signature = device.sign(SignatureNamespace::Change, DOCUMENT).unwrap();
        assert!(matches!(verify(SignatureNamespace::Change, DOCUMENT, &signature), Err(SignatureError::UserAbsent { .. })));
        assert!(verify_with(SignatureNamespace::Change, DOCUMENT, &signature, UserPresence::NotRequired).is_ok());
    }
}

#[test]
fn flags_and_counter_are_signed() {
    let signature = Authenticator::ed25519(UNTOUCHED).sign(SignatureNamespace::Change, DOCUMENT).unwrap();
    let mut blob = signature.as_blob().to_vec();
    let flags = blob.len() - 5;
    blob[flags] = TOUCHED;
    let forged = Signature::from_blob(&blob).unwrap();
    assert!(matches!(verify(SignatureNamespace::Change, DOCUMENT, &forged), Err(SignatureError::Mismatch { .. })));
}

#[test]
fn the_root_says_whether_a_touch_is_needed() {
    for (required, touched, expected) in [(true, true, true), (true, false, false), (false, false, true)] {
        let fleet = Fleet::new();
        let device = Authenticator::ed25519(if touched { TOUCHED } else { UNTOUCHED });
        let mut root = root_of(&fleet.owner, &fleet.second, &fleet.online, &fleet.grazer);
        root.require_user_presence = required;
        root.roles[1].keys = vec![device.public.clone()];
        let signed = SignedRoot::sign(&root, &[&fleet.owner]).unwrap();
        let fleet = Fleet { roots: RootChain::verify(&signed.digest(), &[signed]).unwrap(), ..fleet };
        let verdict = judge(&fleet.memory(Some("graz")), &fleet.bundle(&[(&profile("web-1"), 1)], &[&device]));
        match verdict {
            Ok(_) => assert!(expected, "{required} {touched}"),
            Err(refusal) => assert_eq!((expected, refusal.check), (false, Check::Signature)),
        }
    }
}

#[test]
fn an_owner_may_be_an_authenticator() {
    let (device, fleet) = (Authenticator::ed25519(TOUCHED), Fleet::new());
    let mut root = root_of(&fleet.owner, &fleet.second, &fleet.online, &fleet.grazer);
    root.owners.keys = vec![device.public.clone()];
    let signed = SignedRoot::sign(&root, &[&device]).unwrap();
    RootChain::verify(&signed.digest(), std::slice::from_ref(&signed)).unwrap();
    let untouched = SignedRoot::sign(&root, &[&Authenticator::ed25519(UNTOUCHED)]).unwrap();
    assert!(RootChain::verify(&untouched.digest(), &[untouched]).is_err());
    let stranger = SignedRoot::sign(&root, &[&key(98)]).unwrap();
    assert!(RootChain::verify(&stranger.digest(), &[stranger]).is_err());
}
