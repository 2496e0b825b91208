//! The coordinator's verdict: what is admitted, and each way not to be.

use serde_json::json;
use stead_model::{Digest, ObjectKey};
use stead_trust::{
    AdmissionError, Authority, Authorship, Current, Salt, SignatureNamespace, Signer, StatementBuilder, Submission,
    SubmittedEntry, Unauthorised, admit,
};

use crate::fleet::{Fleet, ID, key, minutes, noon, nothing, object, profile, profile_key};

#[test]
fn admits_what_is_signed_by_a_role() {
    let fleet = Fleet::new();
    let submission = fleet.submission(&[(&profile("web-1"), 1), (&profile("web-2"), 1)], &[&fleet.owner]);
    let admitted = admit(&fleet.roots, &submission, &nothing, noon()).unwrap();
    assert_eq!(admitted.entries.len(), 2);
    assert!(matches!(&admitted.entries[0].authority, Authority::Role { name, .. } if name == "profiles"));
    assert_eq!(admitted.statement.digest, submission.statement.digest());
    let json = serde_json::to_string(&submission).unwrap();
    assert_eq!(serde_json::from_str::<Submission>(&json).unwrap(), submission);
}

#[test]
fn a_taken_sequence_needs_signing_and_loses_nothing() {
    let fleet = Fleet::new();
    let submission = fleet.submission(&[(&profile("web-1"), 4), (&profile("web-2"), 1)], &[&fleet.owner]);
    let there = Current { sequence: 4, statement: Some(Digest::of(b"other")), ..Current::default() };
    let current = |key: &ObjectKey| if key.name == "web-1" { there.clone() } else { Current::default() };
    match admit(&fleet.roots, &submission, &current, noon()) {
        Err(AdmissionError::NeedsSigning { taken }) => {
            assert_eq!(taken.len(), 1);
            assert_eq!((&taken[0].key, taken[0].sequence, &taken[0].current), (&profile_key("web-1"), 4, &there));
        }
        other => panic!("{other:?}"),
    }
}

fn name_of(error: &AdmissionError) -> &'static str {
    match error {
        AdmissionError::Verify(_) => "verify",
        AdmissionError::Fleet { .. } => "fleet",
        AdmissionError::AuthorAhead { .. } => "ahead",
        AdmissionError::Expired { .. } => "expired",
        AdmissionError::DeadlineTooFar { .. } => "deadline",
        AdmissionError::Entries { .. } => "entries",
        AdmissionError::Leaf { .. } => "leaf",
        AdmissionError::Object { .. } => "object",
        AdmissionError::Twice { .. } => "twice",
        AdmissionError::Unauthorised { source, .. } => match source {
            Unauthorised::NoRole { .. } => "no role",
            Unauthorised::TooFew { .. } => "too few",
            Unauthorised::AuthorMissing { .. } => "author missing",
            Unauthorised::NotOnline { .. } => "not online",
            Unauthorised::OwnersKind { .. } => "owners' kind",
            Unauthorised::Enrolment(_) => "enrolment",
            Unauthorised::NotAPersons { .. } => "not a person's",
        },
        AdmissionError::SequenceAhead { .. } => "sequence ahead",
        AdmissionError::NeedsSigning { .. } => "needs signing",
        AdmissionError::Author { .. } => "author",
    }
}

fn good(fleet: &Fleet) -> Submission {
    fleet.submission(&[(&profile("web-1"), 1), (&profile("web-2"), 1)], &[&fleet.owner])
}

fn altered_in(fleet: &Fleet, change: &dyn Fn(&mut Submission)) -> Submission {
    let mut submission = good(fleet);
    change(&mut submission);
    submission
}

fn refuses(fleet: &Fleet, cases: impl IntoIterator<Item = (&'static str, Submission, &'static str)>) {
    assert!(admit(&fleet.roots, &good(fleet), &nothing, noon()).is_ok());
    for (what, submission, expected) in cases {
        let error = admit(&fleet.roots, &submission, &nothing, noon()).expect_err(what);
        assert_eq!(name_of(&error), expected, "{what}: {error}");
    }
}

#[test]
fn every_refusal_of_statement_and_entries() {
    let fleet = Fleet::new();
    let altered = |change: &dyn Fn(&mut Submission)| altered_in(&fleet, change);
    let timed = |id: Digest, time, admit_before| {
        let author = Authorship::Person { author: fleet.owner.public_key().clone() };
        let mut builder = StatementBuilder::new(id, ID, time, admit_before, "", author);
        builder.put(&profile("web-1"), 1, Salt::from_bytes([2; 32])).unwrap();
        builder.build().unwrap().sign(&[&fleet.owner]).unwrap()
    };
    let cases = [
        ("an altered statement", altered(&|change| change.statement.document[30] ^= 1), "verify"),
        (
            "a signature for a login",
            altered(&|change| {
                change.statement.signatures =
                    vec![fleet.owner.sign(SignatureNamespace::Login, &change.statement.document).unwrap()];
            }),
            "verify",
        ),
        ("another fleet", timed(Digest::of(b"x"), noon(), noon() + minutes(9)), "fleet"),
        (
            "five minutes and a second ahead",
            timed(fleet.id(), noon() + jiff::SignedDuration::from_secs(301), noon() + minutes(9)),
            "ahead",
        ),
        ("past its deadline", timed(fleet.id(), noon() - minutes(9), noon() - minutes(1)), "expired"),
        ("a deadline in a year", timed(fleet.id(), noon(), noon() + minutes(365 * 24 * 60)), "deadline"),
        (
            "an entry left out",
            altered(&|change| {
                change.entries.pop();
            }),
            "entries",
        ),
        ("entries in another order", altered(&|change| change.entries.swap(0, 1)), "entries"),
        (
            "an entry added",
            altered(&|change| {
                let entry = change.entries[0].clone();
                change.entries.push(entry);
            }),
            "entries",
        ),
        ("another object", altered(&|change| change.entries[0].object = Some(b"{}".to_vec())), "entries"),
        ("no object", altered(&|change| change.entries[0].object = None), "entries"),
    ];
    refuses(&fleet, cases);
}

#[test]
fn every_refusal_of_who_signed() {
    let fleet = Fleet::new();
    let altered = |change: &dyn Fn(&mut Submission)| altered_in(&fleet, change);
    let online = |object: &stead_model::Object, signer: &dyn Signer| {
        let mut builder = fleet.online_builder();
        builder.put(object, 1, Salt::from_bytes([2; 32])).unwrap();
        builder.build().unwrap().sign(&[signer]).unwrap()
    };
    let by = |signers: &[&dyn Signer], name: &str| fleet.submission(&[(&profile(name), 1)], signers);
    let instance = object("Instance", "vm", json!({}), json!({}));
    let cases = [
        ("a stranger", by(&[&key(99)], "web-1"), "no role"),
        ("one of two", by(&[&fleet.owner], "pair-1"), "too few"),
        (
            "the author did not sign",
            altered(&|change| {
                change.statement.signatures =
                    vec![fleet.second.sign(SignatureNamespace::Change, &change.statement.document).unwrap()];
            }),
            "author missing",
        ),
        ("an owner writes as an online key", online(&instance, &fleet.owner), "not online"),
        ("an online key writes an owner's kind", online(&profile("web-1"), &fleet.online), "owners' kind"),
        ("a sequence ahead", fleet.submission(&[(&profile("web-1"), 2)], &[&fleet.owner]), "sequence ahead"),
    ];
    assert!(admit(&fleet.roots, &by(&[&fleet.owner, &fleet.second], "pair-1"), &nothing, noon()).is_ok());
    assert!(admit(&fleet.roots, &online(&instance, &fleet.online), &nothing, noon()).is_ok());
    refuses(&fleet, cases);
}

#[test]
fn an_object_that_is_not_as_sent_is_refused() {
    let fleet = Fleet::new();
    let mut submission = fleet.submission(&[(&profile("web-1"), 1)], &[&fleet.owner]);
    // An author's own tool that signs a status, too.
    let mut leaf = stead_trust::Leaf::from_bytes(&submission.entries[0].leaf).unwrap();
    let mut bytes = submission.entries[0].object.clone().unwrap();
    bytes.pop();
    bytes.extend_from_slice(br#","status":{}}"#);
    leaf.digest = leaf.salt.digest(&bytes);
    submission.entries = vec![SubmittedEntry { leaf: leaf.to_bytes().unwrap(), object: Some(bytes) }];
    let document = String::from_utf8(submission.statement.document.clone()).unwrap();
    let old = fleet.submission(&[(&profile("web-1"), 1)], &[&fleet.owner]).tree().root().to_string();
    submission.statement.document = document.replace(&old, &submission.tree().root().to_string()).into_bytes();
    submission.statement.signatures.clear();
    submission.statement.add_signature(&fleet.owner).unwrap();
    let error = admit(&fleet.roots, &submission, &nothing, noon()).unwrap_err();
    assert_eq!(name_of(&error), "object", "{error}");
}

#[test]
fn builders_refuse_what_nobody_would_accept() {
    let fleet = Fleet::new();
    let salt = Salt::from_bytes([2; 32]);
    let mut builder = fleet.builder();
    builder.put(&profile("web-1"), 1, salt).unwrap();
    assert!(builder.put(&profile("web-1"), 2, salt).is_err(), "twice");
    assert!(builder.delete("stead.dev/v1", &profile_key("web-1"), 2, salt).is_err(), "twice");
    assert!(builder.put(&profile("web-2"), 0, salt).is_err(), "sequences count from 1");
    assert!(builder.put(&object("Profile", "f", json!({}), json!({"n": 1.5})), 1, salt).is_err(), "a float");
    assert!(fleet.builder().build().is_err(), "no entries");
    let person = Authorship::Person { author: fleet.owner.public_key().clone() };
    for id in ["", "01jabcdefghjkmnpqrstvwxyz0", "81JABCDEFGHJKMNPQRSTVWXYZ0", "01JABCDEFGHJKMNPQRSTVWXYZU"] {
        let mut builder = StatementBuilder::new(fleet.id(), id, noon(), noon(), "", person.clone());
        builder.put(&profile("web-1"), 1, salt).unwrap();
        assert!(builder.build().is_err(), "{id}");
    }
}
