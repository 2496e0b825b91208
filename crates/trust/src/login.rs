//! Login: a person proves to one coordinator, once, that they hold a key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::Digest;

use crate::document::{self, Document, DocumentError, seconds, whole_seconds};
use crate::key::PublicKey;
use crate::root::SignDocumentError;
use crate::signature::{Signature, SignatureNamespace, UserPresence, verify_with};
use crate::signer::Signer;
use crate::statement::VerifyError;

/// How far, in seconds, the client's clock may be off the coordinator's: a minute for the network and a touch, the rest for clocks.
pub const LOGIN_SKEW_SECONDS_MAX: i64 = 5 * 60;
/// The length of a nonce in characters: 32 random bytes in lower-case hexadecimal.
pub const NONCE_CHARACTERS: usize = 64;

/// A login (`stead.dev/login/v1`). The client makes it up from what it knows; a server's only share is the nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    /// The fleet.
    pub fleet: Digest,
    /// When, by the client's clock.
    #[serde(with = "seconds")]
    pub time: Timestamp,
    /// The key of the coordinator that is logged in to.
    pub coordinator: PublicKey,
    /// What the coordinator asked for: 64 lower-case hexadecimal digits, good once.
    pub nonce: String,
}

impl Document for Login {
    const TYPE: &'static str = "stead.dev/login/v1";

    fn check(&self) -> Result<(), DocumentError> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if self.nonce.len() != NONCE_CHARACTERS || !self.nonce.bytes().all(digit) {
            return Err(DocumentError::Value { field: "nonce", message: "64 lower-case hexadecimal digits".to_owned() });
        }
        Ok(())
    }
}

/// A login and the person's signature over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedLogin {
    /// The canonical bytes.
    #[serde(with = "crate::bytes_text")]
    pub document: Vec<u8>,
    /// The person's signature.
    pub signature: Signature,
}

/// Why a login is refused.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The signature does not fit, or the document is not well-formed.
    #[error("the login: {0}")]
    Verify(#[from] VerifyError),
    /// For another fleet, coordinator or nonce.
    #[error("the login is for the {what} {found}, and this is {expected}; log in again")]
    Other {
        /// Fleet, coordinator or nonce.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The clocks differ too much.
    #[error(
        "the login is of {time}, and it is {now} here; set the clocks, at most {LOGIN_SKEW_SECONDS_MAX} s may be between them"
    )]
    Time {
        /// By the client.
        time: Timestamp,
        /// By the coordinator.
        now: Timestamp,
    },
}

impl SignedLogin {
    /// Signs a login.
    ///
    /// # Errors
    ///
    /// [`SignDocumentError`] where it is not well-formed or the key does not sign.
    pub fn sign(login: &Login, person: &dyn Signer) -> Result<Self, SignDocumentError> {
        let document = document::write(&Login { time: whole_seconds(login.time), ..login.clone() })?;
        let signature = person.sign(SignatureNamespace::Login, &document)?;
        Ok(Self { document, signature })
    }

    /// Verifies that the login is for this fleet, coordinator and nonce, and of now. Says whose it is; whether that key may
    /// log in is for the root to say ([`crate::Root::is_persons_key`]).
    ///
    /// # Errors
    ///
    /// [`LoginError`] says what is wrong.
    pub fn verify(
        &self,
        fleet: &Digest,
        coordinator: &PublicKey,
        nonce: &str,
        now: Timestamp,
        presence: UserPresence,
    ) -> Result<PublicKey, LoginError> {
        let verified = verify_with(SignatureNamespace::Login, &self.document, &self.signature, presence);
        let key = verified.map_err(VerifyError::from)?;
        let login: Login = document::read(&self.document).map_err(VerifyError::from)?;
        let other = |what, expected: String, found: String| Err(LoginError::Other { what, expected, found });
        if login.fleet != *fleet {
            return other("fleet", fleet.to_string(), login.fleet.to_string());
        }
        if login.coordinator != *coordinator {
            return other("coordinator", coordinator.fingerprint(), login.coordinator.fingerprint());
        }
        if login.nonce != nonce {
            return other("nonce", nonce.to_owned(), login.nonce);
        }
        if login.time.as_second().abs_diff(now.as_second()) > LOGIN_SKEW_SECONDS_MAX.unsigned_abs() {
            return Err(LoginError::Time { time: login.time, now });
        }
        Ok(key)
    }
}
