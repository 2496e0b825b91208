//! Acknowledgements: a machine's signed word on what became of an object it was sent.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::{Digest, ObjectKey};

use crate::document::{self, Document, DocumentError, seconds};
use crate::key::{MachineKey, PublicKeyError};
use crate::root::SignDocumentError;
use crate::signature::{Signature, SignatureNamespace, verify};
use crate::signer::Signer;
use crate::statement::VerifyError;

/// The longest detail of an acknowledgement in bytes: one line for a person.
pub const ACK_DETAIL_BYTES_MAX: usize = 1024;

/// What became of an object on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The machine is as the object says.
    Applied,
    /// It tried and is not; it goes on trying.
    Failed,
    /// It may not obey it.
    Refused,
}

/// An acknowledgement (`stead.dev/ack/v1`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ack {
    /// The fleet.
    pub fleet: Digest,
    /// When, by the machine's clock.
    #[serde(with = "seconds")]
    pub time: Timestamp,
    /// The machine, whose key signs this.
    pub machine: MachineKey,
    /// The digest of the statement.
    pub statement: Digest,
    /// The object.
    pub object: ObjectKey,
    /// The object's sequence.
    pub object_sequence: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// A line for a person; may be empty.
    pub detail: String,
    /// Counts the machine's acknowledgements, from 1.
    pub sequence: u64,
}

impl Document for Ack {
    const TYPE: &'static str = "stead.dev/ack/v1";

    fn check(&self) -> Result<(), DocumentError> {
        if self.detail.len() > ACK_DETAIL_BYTES_MAX {
            return Err(DocumentError::Value { field: "detail", message: "at most 1,024 bytes".to_owned() });
        }
        Ok(())
    }
}

/// An acknowledgement and the machine's signature over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedAck {
    /// The canonical bytes.
    #[serde(with = "crate::bytes_text")]
    pub document: Vec<u8>,
    /// The machine's signature.
    pub signature: Signature,
}

impl SignedAck {
    /// Signs an acknowledgement with the machine's key.
    ///
    /// # Errors
    ///
    /// [`SignDocumentError`] where it is not well-formed or the key does not sign.
    pub fn sign(ack: &Ack, machine: &dyn Signer) -> Result<Self, SignDocumentError> {
        let document = document::write(ack)?;
        let signature = machine.sign(SignatureNamespace::Ack, &document)?;
        Ok(Self { document, signature })
    }

    /// Verifies that this machine signed it, then reads it.
    ///
    /// # Errors
    ///
    /// [`AckError`] says what is wrong.
    pub fn verify(&self, fleet: &Digest, machine: &MachineKey) -> Result<Ack, AckError> {
        let signer = verify(SignatureNamespace::Ack, &self.document, &self.signature).map_err(VerifyError::from)?;
        let signer = MachineKey::try_from(&signer)?;
        let ack: Ack = document::read(&self.document).map_err(VerifyError::from)?;
        if signer != *machine || ack.machine != *machine {
            return Err(AckError::Machine { expected: *machine, found: signer });
        }
        if ack.fleet != *fleet {
            return Err(AckError::Fleet { expected: *fleet, found: ack.fleet });
        }
        Ok(ack)
    }
}

/// Why an acknowledgement is refused.
#[derive(Debug, thiserror::Error)]
pub enum AckError {
    /// A signature does not fit, or the document is not well-formed.
    #[error("the acknowledgement: {0}")]
    Verify(#[from] VerifyError),
    /// Signed by a key that no machine has.
    #[error("the acknowledgement: {0}")]
    Key(#[from] PublicKeyError),
    /// Another machine's.
    #[error("the acknowledgement is of the machine {found}, and {expected} sent it")]
    Machine {
        /// Who sent it.
        expected: MachineKey,
        /// Who signed it.
        found: MachineKey,
    },
    /// Another fleet's.
    #[error("the acknowledgement is for the fleet {found}, not {expected}")]
    Fleet {
        /// This fleet.
        expected: Digest,
        /// Whose it is.
        found: Digest,
    },
}
