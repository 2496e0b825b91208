//! Receipts: a coordinator's word that it admitted a Change, and when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::{Digest, Revision};

use crate::document::{self, Document, seconds};
use crate::key::PublicKey;
use crate::root::SignDocumentError;
use crate::signature::{Signature, SignatureNamespace, verify};
use crate::signer::Signer;
use crate::statement::VerifyError;

/// How far, in seconds, an author's clock may be ahead of the coordinator's.
pub const AUTHOR_AHEAD_SECONDS_MAX: i64 = 5 * 60;

/// A receipt (`stead.dev/receipt/v1`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Receipt {
    /// The fleet.
    pub fleet: Digest,
    /// When the Change was admitted, by the coordinator's clock.
    #[serde(with = "seconds")]
    pub time: Timestamp,
    /// The digest of the statement.
    pub statement: Digest,
    /// The revision of the record that the Change was given.
    pub revision: Revision,
    /// The coordinator's online key, which signs this.
    pub online_key: PublicKey,
}

impl Document for Receipt {
    const TYPE: &'static str = "stead.dev/receipt/v1";
}

/// A receipt and the coordinator's signature over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReceipt {
    /// The canonical bytes.
    #[serde(with = "crate::bytes_text")]
    pub document: Vec<u8>,
    /// The coordinator's signature.
    pub signature: Signature,
}

impl SignedReceipt {
    /// Makes the receipt for a statement that was admitted, and signs it with the coordinator's online key.
    ///
    /// # Errors
    ///
    /// [`SignDocumentError`] where the key does not sign.
    pub fn sign(
        fleet: Digest,
        statement: Digest,
        revision: Revision,
        time: Timestamp,
        key: &dyn Signer,
    ) -> Result<Self, SignDocumentError> {
        let online_key = key.public_key().clone();
        let document = document::write(&Receipt { fleet, time, statement, revision, online_key })?;
        let signature = key.sign(SignatureNamespace::Receipt, &document)?;
        Ok(Self { document, signature })
    }

    /// Verifies the signature, then reads the receipt. Whether the key is a coordinator's is for the root to say.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says what is wrong.
    pub fn verify(&self) -> Result<Receipt, VerifyError> {
        verify_receipt(&self.document, &self.signature)
    }
}

pub(crate) fn verify_receipt(bytes: &[u8], signature: &Signature) -> Result<Receipt, VerifyError> {
    let signer = verify(SignatureNamespace::Receipt, bytes, signature)?;
    let receipt: Receipt = document::read(bytes)?;
    if receipt.online_key == signer {
        return Ok(receipt);
    }
    let message = format!("the receipt names {}, and {} signed it", receipt.online_key.fingerprint(), signer.fingerprint());
    Err(document::DocumentError::Value { field: "onlineKey", message }.into())
}
