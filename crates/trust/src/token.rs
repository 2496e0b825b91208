//! Tokens: a coordinator's word that somebody has logged in, which every coordinator of the fleet can check.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::Digest;

use crate::document::{self, Document, seconds, whole_seconds};
use crate::key::PublicKey;
use crate::root::SignDocumentError;
use crate::signature::{Signature, SignatureNamespace, verify};
use crate::signer::Signer;
use crate::statement::VerifyError;

/// A token (`stead.dev/token/v1`). It opens the API to whoever shows it, so it is short-lived and never logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    /// The fleet.
    pub fleet: Digest,
    /// When it was given, by the coordinator's clock.
    #[serde(with = "seconds")]
    pub time: Timestamp,
    /// Until when it is good.
    #[serde(with = "seconds")]
    pub until: Timestamp,
    /// Who logged in.
    pub person: PublicKey,
    /// The coordinator's online key, which signs this.
    pub coordinator: PublicKey,
}

impl Document for Token {
    const TYPE: &'static str = "stead.dev/token/v1";
}

/// A token and the coordinator's signature over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedToken {
    /// The canonical bytes.
    pub document: Vec<u8>,
    /// The coordinator's signature.
    pub signature: Signature,
}

/// Why a token is refused.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The signature does not fit, or the document is not well-formed.
    #[error("the token: {0}")]
    Verify(#[from] VerifyError),
    /// Of another fleet.
    #[error("the token is of the fleet {found}, and this is {expected}; log in again")]
    OtherFleet {
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// Too old.
    #[error("the token was good until {0}; log in again")]
    Expired(Timestamp),
}

impl SignedToken {
    /// Makes a token for somebody who has logged in.
    ///
    /// # Errors
    ///
    /// [`SignDocumentError`] where the key does not sign.
    pub fn sign(
        fleet: Digest,
        person: &PublicKey,
        now: Timestamp,
        until: Timestamp,
        coordinator: &dyn Signer,
    ) -> Result<Self, SignDocumentError> {
        let token = Token {
            fleet,
            time: whole_seconds(now),
            until: whole_seconds(until),
            person: person.clone(),
            coordinator: coordinator.public_key().clone(),
        };
        let document = document::write(&token)?;
        let signature = coordinator.sign(SignatureNamespace::Token, &document)?;
        Ok(Self { document, signature })
    }

    /// Verifies the signature, the fleet and the time. Whether the key that signed is a coordinator's, and whether the person may
    /// still log in, is for the root to say ([`crate::Root::is_online_key`], [`crate::Root::is_persons_key`]).
    ///
    /// # Errors
    ///
    /// [`TokenError`] says what is wrong.
    pub fn verify(&self, fleet: &Digest, now: Timestamp) -> Result<Token, TokenError> {
        let signer = verify(SignatureNamespace::Token, &self.document, &self.signature).map_err(VerifyError::from)?;
        let token: Token = document::read(&self.document).map_err(VerifyError::from)?;
        if token.coordinator != signer {
            let message = format!("the token names {}, and {} signed it", token.coordinator.fingerprint(), signer.fingerprint());
            return Err(VerifyError::from(document::DocumentError::Value { field: "coordinator", message }).into());
        }
        if token.fleet != *fleet {
            return Err(TokenError::OtherFleet { expected: *fleet, found: token.fleet });
        }
        if token.until <= now {
            return Err(TokenError::Expired(token.until));
        }
        Ok(token)
    }
}
