//! The verdict on a Change that waits for signatures: what it has, what it lacks, and whether it can still be admitted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stead_model::ObjectKey;

use crate::admit::{AdmissionError, Current, Taken, check_entries, check_statement, check_tree};
use crate::root::authority::{Signatures, Unauthorised, missing};
use crate::root::chain::RootChain;
use crate::statement::{Authorship, Submission, VerifiedStatement};

/// What stands between a proposal and its admission.
#[derive(Debug)]
pub enum Standing {
    /// Nothing: it may be admitted.
    Ready,
    /// Signatures are missing.
    Waiting,
    /// Sequences were taken meanwhile; no signature helps any more.
    NeedsSigning {
        /// What was taken, and what is there.
        taken: Vec<Taken>,
    },
    /// Its deadline has passed.
    Expired,
}

/// A proposal, looked at under a root and a record.
#[derive(Debug)]
pub struct Assessment {
    /// The statement, with the keys that signed it.
    pub statement: VerifiedStatement,
    /// The objects that it would change.
    pub objects: Vec<ObjectKey>,
    /// The signatures that it has and needs, by role; for each object the role that lacks the fewest.
    pub signatures: Vec<Signatures>,
    /// What stands between it and its admission.
    pub standing: Standing,
}

/// Looks at a Change that waits for signatures. `current` says what the record holds of a name.
///
/// # Errors
///
/// [`AdmissionError`] for what no further signature could mend.
pub fn assess(
    roots: &RootChain,
    submission: &Submission,
    current: &dyn Fn(&ObjectKey) -> Current,
    now: Timestamp,
) -> Result<Assessment, AdmissionError> {
    let root = roots.newest();
    let statement = submission.statement.verify(root.user_presence())?;
    let expired = match check_statement(roots, &statement, now) {
        Err(AdmissionError::Expired { .. }) => true,
        other => other.map(|()| false)?,
    };
    check_tree(submission, &statement)?;
    check_author(&statement)?;
    let (mut by_role, mut objects) = (BTreeMap::new(), Vec::new());
    let taken = check_entries(
        submission,
        current,
        now,
        |write| missing(root, &statement.signers, write),
        |key, _, _, signatures| {
            by_role.insert(signatures.role.clone(), signatures);
            objects.push(key);
        },
    )?;
    let signatures: Vec<Signatures> = by_role.into_values().collect();
    let standing = match (taken.is_empty(), expired, signatures.iter().all(Signatures::suffice)) {
        (false, ..) => Standing::NeedsSigning { taken },
        (true, true, _) => Standing::Expired,
        (true, false, true) => Standing::Ready,
        (true, false, false) => Standing::Waiting,
    };
    Ok(Assessment { statement, objects, signatures, standing })
}

/// A proposal is a person's, and its author is the first to sign it.
fn check_author(statement: &VerifiedStatement) -> Result<(), AdmissionError> {
    let source = match &statement.statement.authorship {
        Authorship::Person { author } if statement.signers.contains(author) => return Ok(()),
        Authorship::Person { author } => Unauthorised::AuthorMissing { author: author.fingerprint() },
        Authorship::Online { signer, .. } => Unauthorised::NotAPersons { signer: signer.fingerprint() },
    };
    Err(AdmissionError::Author { source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf::Salt;
    use crate::root::{Role, Root, SignedRoot};
    use crate::signer::{Signer, SigningKey};
    use crate::statement::StatementBuilder;
    use stead_model::{Digest, Object};

    const NOW: &str = "2026-01-01T12:00:00Z";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    /// Two of the keys 1, 2 and 3 sign Profiles, and key 4 alone signs Machines.
    fn roots() -> RootChain {
        let public = |seeds: &[u8]| seeds.iter().map(|seed| key(*seed).public_key().clone()).collect::<Vec<_>>();
        let mut root = Root::default_for(public(&[1]), Vec::new(), NOW.parse().unwrap());
        let role = |name: &str, seeds: &[u8], threshold: u32, kind: &str| Role {
            name: name.to_owned(),
            keys: public(seeds),
            threshold,
            kinds: vec![stead_model::GroupKind::new("stead.dev", kind)],
            ..root.roles[0].clone()
        };
        root.roles = vec![role("pairs", &[1, 2, 3], 2, "Profile"), role("hosts", &[4], 1, "Machine")];
        let signed = SignedRoot::sign(&root, &[&key(1)]).unwrap();
        RootChain::verify(&signed.digest(), &[signed]).unwrap()
    }

    fn object(kind: &str) -> Object {
        let mut object = Object { api_version: "stead.dev/v1".into(), kind: kind.into(), ..Object::default() };
        object.metadata.name = "web".into();
        object
    }

    fn proposal(fleet: Digest, author: u8, kinds: &[&str], sequence: u64) -> Submission {
        let now: Timestamp = NOW.parse().unwrap();
        let authorship = Authorship::Person { author: key(author).public_key().clone() };
        let later = now.checked_add(jiff::SignedDuration::from_hours(1)).unwrap();
        let mut builder = StatementBuilder::new(fleet, "01ARZ3NDEKTSV4RRFFQ69G5FAV", now, later, "", authorship);
        for kind in kinds {
            builder.put(&object(kind), sequence, Salt::from_bytes([1; 32])).unwrap();
        }
        builder.build().unwrap()
    }

    fn look(signers: &[u8], kinds: &[&str], sequence: u64, hours: i64) -> String {
        let roots = roots();
        let mut submission = proposal(*roots.fleet(), 1, kinds, sequence);
        for seed in signers {
            submission.statement.add_signature(&key(*seed)).unwrap();
        }
        let now = NOW.parse::<Timestamp>().unwrap().checked_add(jiff::SignedDuration::from_hours(hours)).unwrap();
        let current = |_: &ObjectKey| Current { sequence: 4, ..Current::default() };
        match assess(&roots, &submission, &current, now) {
            Ok(found) => {
                let said: Vec<String> = found.signatures.iter().map(ToString::to_string).collect();
                let standing = format!("{:?}", found.standing);
                format!("{}: {}", standing.split(' ').next().unwrap(), said.join(", "))
            }
            Err(error) => format!("refused: {error}"),
        }
    }

    #[test]
    fn what_is_there_and_what_is_missing() {
        type Case<'a> = (&'a [u8], &'a [&'a str], u64, i64, &'a str);
        let cases: &[Case<'_>] = &[
            (&[1], &["Profile"], 5, 0, "Waiting: pairs 1 of 2"),
            (&[1, 2], &["Profile"], 5, 0, "Ready: pairs 2 of 2"),
            (&[1, 1], &["Profile"], 5, 0, "Waiting: pairs 1 of 2"),
            (&[1, 9], &["Profile"], 5, 0, "Waiting: pairs 1 of 2"),
            (&[1, 2], &["Profile", "Machine"], 5, 0, "Waiting: hosts 0 of 1, pairs 2 of 2"),
            (&[1, 2, 4], &["Profile", "Machine"], 5, 0, "Ready: hosts 1 of 1, pairs 2 of 2"),
            (&[1], &["Profile"], 4, 0, "NeedsSigning: pairs 1 of 2"),
            (&[1, 2], &["Profile"], 5, 2, "Expired: pairs 2 of 2"),
            // What was overtaken has to be looked at, whether it is late as well or not.
            (&[1], &["Profile"], 4, 2, "NeedsSigning: pairs 1 of 2"),
        ];
        for (signers, kinds, sequence, hours, expected) in cases {
            assert_eq!(look(signers, kinds, *sequence, *hours), *expected, "{signers:?} {kinds:?} {sequence} {hours}");
        }
        for (signers, kinds, sequence, expected) in [
            (&[2][..], &["Profile"][..], 5, "whose signature is not there"),
            (&[1], &["Enrollment"], 5, "no role"),
            (&[1], &["Profile"], 9, "the next one is 5"),
        ] {
            let found = look(signers, kinds, sequence, 0);
            assert!(found.starts_with("refused: ") && found.contains(expected), "{found}");
        }
    }

    #[test]
    fn what_was_altered_is_refused() {
        let roots = roots();
        let mut signed = proposal(*roots.fleet(), 1, &["Profile"], 5);
        signed.statement.add_signature(&key(1)).unwrap();
        let mut object = signed.clone();
        object.entries[0].object = Some(b"{}".to_vec());
        let mut entry = signed.clone();
        entry.entries.clear();
        let mut statement = signed.clone();
        statement.statement.document.push(b' ');
        let other = proposal(Digest::of(b"other"), 1, &["Profile"], 5).sign(&[&key(1)]).unwrap();
        let current = |_: &ObjectKey| Current { sequence: 4, ..Current::default() };
        for altered in [object, entry, statement, other] {
            assert!(assess(&roots, &altered, &current, NOW.parse().unwrap()).is_err());
        }
        assert!(assess(&roots, &signed, &current, NOW.parse().unwrap()).is_ok());
    }
}
