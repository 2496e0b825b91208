//! Freshness: an owner's word that the fleet's owners are still there, and which trust root is theirs. A machine that hears none for
//! longer than the root allows says that it is stale: somebody may keep things from it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::Digest;

use crate::document::{self, Document, DocumentError, seconds, whole_seconds};
use crate::key::PublicKey;
use crate::receipt::AUTHOR_AHEAD_SECONDS_MAX;
use crate::root::{Root, SignDocumentError};
use crate::signature::{Signature, SignatureNamespace, verify_with};
use crate::signer::Signer;
use crate::statement::VerifyError;

/// The longest statement with its signature, in bytes: a few names and one signature, with room for the largest keys.
pub const FRESHNESS_BYTES_MAX: usize = 32 * 1024;
/// What a statement is preceded by on its way to a machine, where a machine of an earlier version finds no request that it knows.
pub const FRESHNESS_PREFIX: &[u8] = b"stead/fresh/1\n";

/// A machine's answer where it has no trust root yet and has to be told again.
pub const FRESHNESS_LATER: &[u8] = b"later";

/// A freshness statement (`stead.dev/fresh/v1`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freshness {
    /// The fleet.
    pub fleet: Digest,
    /// When it was signed, by its author's clock.
    #[serde(with = "seconds")]
    pub time: Timestamp,
    /// The newest version of the trust root that its author knew.
    pub root_version: u64,
    /// Its author: any owner.
    pub author: PublicKey,
}

impl Document for Freshness {
    const TYPE: &'static str = "stead.dev/fresh/v1";

    fn check(&self) -> Result<(), DocumentError> {
        if self.root_version == 0 {
            return Err(DocumentError::Value { field: "rootVersion", message: "counts from 1".to_owned() });
        }
        Ok(())
    }
}

/// A freshness statement and its author's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedFreshness {
    /// The canonical bytes.
    #[serde(with = "crate::bytes_text")]
    pub document: Vec<u8>,
    /// The author's signature.
    pub signature: Signature,
}

/// Why a freshness statement is refused.
#[derive(Debug, thiserror::Error)]
pub enum FreshnessError {
    /// The signature does not fit, or the document is not well-formed.
    #[error("the freshness statement: {0}")]
    Verify(#[from] VerifyError),
    /// For another fleet.
    #[error("the freshness statement is for the fleet {found}, and this is {expected}; sign it for this fleet")]
    Fleet {
        /// This fleet.
        expected: Digest,
        /// The statement's.
        found: Digest,
    },
    /// Another than its author signed it.
    #[error("the freshness statement names {author}, and {signer} signed it")]
    Author {
        /// Whom it names.
        author: String,
        /// Who signed.
        signer: String,
    },
    /// Not an owner.
    #[error("{author} is no owner of version {version} of the trust root; any owner of it may sign")]
    NoOwner {
        /// The author.
        author: String,
        /// The version.
        version: u64,
    },
    /// The author's clock is ahead.
    #[error(
        "the freshness statement is of {time}, and it is {now} here: more than {AUTHOR_AHEAD_SECONDS_MAX} s ahead; set the clock"
    )]
    Ahead {
        /// The statement's time.
        time: Timestamp,
        /// The time here.
        now: Timestamp,
    },
    /// It cannot be read.
    #[error("the freshness statement cannot be read: {0}")]
    Format(String),
}

impl SignedFreshness {
    /// Signs a statement.
    ///
    /// # Errors
    ///
    /// [`SignDocumentError`] where the owner does not sign.
    pub fn sign(fleet: Digest, root_version: u64, time: Timestamp, owner: &dyn Signer) -> Result<Self, SignDocumentError> {
        let author = owner.public_key().clone();
        let document = document::write(&Freshness { fleet, time: whole_seconds(time), root_version, author })?;
        let signature = owner.sign(SignatureNamespace::Fresh, &document)?;
        Ok(Self { document, signature })
    }

    /// Verifies that an owner of this root signed it for this fleet, then reads it.
    ///
    /// # Errors
    ///
    /// [`FreshnessError`] says what is wrong.
    pub fn verify(&self, fleet: &Digest, root: &Root) -> Result<Freshness, FreshnessError> {
        let signer = verify_with(SignatureNamespace::Fresh, &self.document, &self.signature, root.user_presence());
        let signer = signer.map_err(VerifyError::from)?;
        let fresh: Freshness = document::read(&self.document).map_err(VerifyError::from)?;
        if fresh.fleet != *fleet {
            return Err(FreshnessError::Fleet { expected: *fleet, found: fresh.fleet });
        }
        if fresh.author != signer {
            return Err(FreshnessError::Author { author: fresh.author.fingerprint(), signer: signer.fingerprint() });
        }
        if !root.owners.keys.contains(&signer) {
            return Err(FreshnessError::NoOwner { author: signer.fingerprint(), version: root.version });
        }
        Ok(fresh)
    }

    /// The same where there is a clock that can be trusted: one that is dated ahead is refused.
    ///
    /// # Errors
    ///
    /// [`FreshnessError`] says what is wrong.
    pub fn verify_at(&self, fleet: &Digest, root: &Root, now: Timestamp) -> Result<Freshness, FreshnessError> {
        let fresh = self.verify(fleet, root)?;
        if fresh.time.as_second().saturating_sub(now.as_second()) > AUTHOR_AHEAD_SECONDS_MAX {
            return Err(FreshnessError::Ahead { time: fresh.time, now });
        }
        Ok(fresh)
    }

    /// As it goes to a machine.
    ///
    /// # Errors
    ///
    /// [`FreshnessError::Format`] where it has no such form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FreshnessError> {
        let mut bytes = FRESHNESS_PREFIX.to_vec();
        bytes.extend(serde_json::to_vec(self).map_err(|error| FreshnessError::Format(error.to_string()))?);
        Ok(bytes)
    }

    /// Reads what came to a machine; none where it is something else.
    ///
    /// # Errors
    ///
    /// [`FreshnessError::Format`] where it begins as one and is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Option<Self>, FreshnessError> {
        let Some(rest) = bytes.strip_prefix(FRESHNESS_PREFIX) else { return Ok(None) };
        if rest.len() > FRESHNESS_BYTES_MAX {
            return Err(FreshnessError::Format(format!("it has {} bytes; at most {FRESHNESS_BYTES_MAX} are read", rest.len())));
        }
        serde_json::from_slice(rest).map(Some).map_err(|error| FreshnessError::Format(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::SigningKey;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn any_owner_and_nobody_else_says_that_they_are_there() {
        let [owner, other, stranger, online] = [1, 2, 3, 4].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let keys = [&owner, &other].map(|key| key.public_key().clone()).to_vec();
        let root = Root::default_for(keys, vec![online.public_key().clone()], at("2026-01-01T00:00:00Z"));
        let (fleet, now) = (Digest::of(b"fleet"), at("2026-02-01T00:00:00Z"));
        for key in [&owner, &other] {
            let signed = SignedFreshness::sign(fleet, 1, now, key).unwrap();
            assert_eq!(signed.verify_at(&fleet, &root, now).unwrap().time, now);
            assert_eq!(SignedFreshness::from_bytes(&signed.to_bytes().unwrap()).unwrap(), Some(signed));
        }
        for key in [&stranger, &online] {
            let signed = SignedFreshness::sign(fleet, 1, now, key).unwrap();
            assert!(matches!(signed.verify(&fleet, &root), Err(FreshnessError::NoOwner { .. })));
        }
        let signed = SignedFreshness::sign(fleet, 1, now, &owner).unwrap();
        assert!(matches!(signed.verify(&Digest::of(b"other"), &root), Err(FreshnessError::Fleet { .. })));
        assert!(matches!(signed.verify_at(&fleet, &root, at("2026-01-31T23:54:59Z")), Err(FreshnessError::Ahead { .. })));
        let mut altered = signed.clone();
        altered.document = String::from_utf8(signed.document.clone()).unwrap().replace("2026-02-01", "2027-02-01").into_bytes();
        assert!(matches!(altered.verify(&fleet, &root), Err(FreshnessError::Verify(_))));
        let mut lent = SignedFreshness::sign(fleet, 1, now, &other).unwrap();
        lent.signature = owner.sign(SignatureNamespace::Fresh, &lent.document).unwrap();
        assert!(matches!(lent.verify(&fleet, &root), Err(FreshnessError::Author { .. })));
        // A signature for another purpose is none for this.
        let mut other_purpose = signed;
        other_purpose.signature = owner.sign(SignatureNamespace::Change, &other_purpose.document).unwrap();
        assert!(other_purpose.verify(&fleet, &root).is_err());
        assert_eq!(SignedFreshness::from_bytes(b"{}").unwrap(), None);
        assert!(SignedFreshness::from_bytes(b"stead/fresh/1\n{}").is_err());
    }
}
