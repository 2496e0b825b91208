//! The roll: whom a relay that runs alone admits, in a coordinator's word.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::Digest;

use crate::document::{self, Document, DocumentError, seconds};
use crate::key::PublicKey;
use crate::root::SignDocumentError;
use crate::signature::{Signature, SignatureNamespace, verify};
use crate::signer::Signer;
use crate::statement::VerifyError;

/// Marks of tickets' relay tokens in one roll: as many as coordinators are known, and some that went.
pub const ROLL_MARKS_MAX: usize = 64;

/// Characters of a mark: a SHA-256 in hexadecimal digits.
const MARK_CHARACTERS: usize = 64;

/// A roll (`stead.dev/roll/v1`). The keys themselves go beside it: they are many, and only their digest is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Roll {
    /// The fleet.
    pub fleet: Digest,
    /// When it was signed, by the coordinator's clock.
    #[serde(with = "seconds")]
    pub time: Timestamp,
    /// The coordinator's online key, which signs this.
    pub coordinator: PublicKey,
    /// Higher than that of every roll before, whichever coordinator signed it: an older one is never taken again.
    pub sequence: u64,
    /// The incarnation of the coordinator's record.
    pub record: String,
    /// The revision of the record that the members are of.
    pub revision: u64,
    /// The digest of the members' keys, 32 bytes each, in ascending order.
    pub members: Digest,
    /// How many they are.
    pub count: u64,
    /// What the relay tokens of good tickets are known by.
    pub marks: Vec<String>,
}

impl Document for Roll {
    const TYPE: &'static str = "stead.dev/roll/v1";

    fn check(&self) -> Result<(), DocumentError> {
        let spelled = |mark: &String| mark.len() == MARK_CHARACTERS && mark.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.marks.len() > ROLL_MARKS_MAX || !self.marks.iter().all(spelled) {
            let message = format!("{} marks; at most {ROLL_MARKS_MAX} of {MARK_CHARACTERS} hexadecimal digits", self.marks.len());
            return Err(DocumentError::Value { field: "marks", message });
        }
        Ok(())
    }
}

/// A roll and the coordinator's signature over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRoll {
    /// The canonical bytes.
    #[serde(with = "crate::bytes_text")]
    pub document: Vec<u8>,
    /// The coordinator's signature.
    pub signature: Signature,
}

/// Why a roll is refused.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// The signature does not fit, or the document is not well-formed.
    #[error("the roll: {0}")]
    Verify(#[from] VerifyError),
    /// Of another fleet.
    #[error("the roll is of the fleet {found}, and this relay serves {expected}")]
    OtherFleet {
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
}

impl SignedRoll {
    /// Signs a roll.
    ///
    /// # Errors
    ///
    /// [`SignDocumentError`] where it is not well-formed or the key does not sign.
    pub fn sign(roll: &Roll, coordinator: &dyn Signer) -> Result<Self, SignDocumentError> {
        let document = document::write(roll)?;
        let signature = coordinator.sign(SignatureNamespace::Roll, &document)?;
        Ok(Self { document, signature })
    }

    /// Verifies the signature and the fleet. Whether the key that signed is a coordinator's is for the root to say
    /// ([`crate::Root::is_online_key`]), and whether the roll is newer than the last, for whoever keeps that.
    ///
    /// # Errors
    ///
    /// [`RollError`] says what is wrong.
    pub fn verify(&self, fleet: &Digest) -> Result<Roll, RollError> {
        let signer = verify(SignatureNamespace::Roll, &self.document, &self.signature).map_err(VerifyError::from)?;
        let roll: Roll = document::read(&self.document).map_err(VerifyError::from)?;
        if roll.coordinator != signer {
            let message = format!("the roll names {}, and {} signed it", roll.coordinator.fingerprint(), signer.fingerprint());
            return Err(VerifyError::from(DocumentError::Value { field: "coordinator", message }).into());
        }
        if roll.fleet != *fleet {
            return Err(RollError::OtherFleet { expected: *fleet, found: roll.fleet });
        }
        Ok(roll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::SigningKey;

    fn roll(key: &SigningKey) -> Roll {
        Roll {
            fleet: Digest::of(b"fleet"),
            time: Timestamp::from_second(1_000).unwrap(),
            coordinator: key.public_key().clone(),
            sequence: 7,
            record: "r".to_owned(),
            revision: 3,
            members: Digest::of(b""),
            count: 0,
            marks: vec!["0".repeat(64)],
        }
    }

    #[test]
    fn a_roll_is_its_coordinators_word_and_nobody_elses() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let signed = SignedRoll::sign(&roll(&key), &key).unwrap();
        assert_eq!(signed.verify(&Digest::of(b"fleet")).unwrap(), roll(&key));
        assert!(matches!(signed.verify(&Digest::of(b"other")), Err(RollError::OtherFleet { .. })));
        let in_its_name = SignedRoll::sign(&roll(&key), &other).unwrap();
        assert!(in_its_name.verify(&Digest::of(b"fleet")).unwrap_err().to_string().contains("signed it"));
        let mut altered = signed;
        altered.document[20] ^= 1;
        assert!(matches!(altered.verify(&Digest::of(b"fleet")), Err(RollError::Verify(_))));
    }

    #[test]
    fn marks_are_bounded() {
        let key = SigningKey::from_seed(&[1; 32]);
        for marks in [vec!["0".repeat(64); ROLL_MARKS_MAX + 1], vec!["0".repeat(63)], vec!["x".repeat(64)]] {
            assert!(SignedRoll::sign(&Roll { marks, ..roll(&key) }, &key).is_err());
        }
    }
}
