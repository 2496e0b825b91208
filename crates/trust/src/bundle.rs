//! The bundle: what a coordinator sends of one Change to one machine, with everything needed to check it.

use serde::{Deserialize, Serialize};
use stead_model::Digest;

use crate::admit::is_ahead;
use crate::document::{DOCUMENT_BYTES_MAX, SIGNATURES_MAX};
use crate::key::PublicKey;
use crate::leaf::{LEAF_BYTES_MAX, OBJECT_BYTES_MAX};
use crate::merkle::{PROOF_DIGESTS_MAX, Tree};
use crate::receipt::{Receipt, SignedReceipt, verify_receipt};
use crate::signature::Signature;
use crate::statement::{ChangeStatement, SignedStatement, Submission};

/// The longest encoded bundle in bytes: several large objects, and still something a small board can hold twice.
pub const BUNDLE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most entries of a bundle: what one Change can mean for one machine.
pub const BUNDLE_ENTRIES_MAX: usize = 1024;

/// One Change's entries for one machine, with proofs, signatures and the receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The statement's canonical bytes.
    #[serde(with = "crate::bytes_text")]
    pub statement: Vec<u8>,
    /// The signatures over them.
    pub signatures: Vec<Signature>,
    /// The entries for this machine.
    pub entries: Vec<BundleEntry>,
    /// The receipt's canonical bytes.
    #[serde(with = "crate::bytes_text")]
    pub receipt: Vec<u8>,
    /// The coordinator's signature over them.
    pub receipt_signature: Signature,
}

/// One entry of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleEntry {
    /// The leaf's canonical bytes.
    #[serde(with = "crate::bytes_text")]
    pub leaf: Vec<u8>,
    /// The inclusion proof: digests of 32 bytes, from the leaf up.
    pub proof: Vec<[u8; 32]>,
    /// The leaf's place in the tree.
    pub index: u64,
    /// The object as sent; none for a deletion.
    #[serde(with = "crate::bytes_text::optional")]
    pub object: Option<Vec<u8>>,
}

impl BundleEntry {
    /// The proof as digests.
    pub fn proof_digests(&self) -> Vec<Digest> {
        self.proof.iter().copied().map(Digest::from_bytes).collect()
    }
}

/// Why the bytes of a bundle are refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Too long.
    #[error("the bundle has {bytes} bytes; at most {BUNDLE_BYTES_MAX} are read")]
    Length {
        /// How long it is.
        bytes: usize,
    },
    /// Not a bundle.
    #[error("the bundle cannot be read: {0}")]
    Format(#[from] postcard::Error),
    /// Something follows it.
    #[error("{bytes} bytes follow the bundle")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A part of it is too large.
    #[error("the bundle has {found} of {what}; at most {max} are read")]
    Limit {
        /// The part.
        what: &'static str,
        /// How large it is.
        found: usize,
        /// How large it may be.
        max: usize,
    },
    /// An entry was asked for that the Change does not have.
    #[error("the Change has no entry {index}")]
    NoEntry {
        /// Its index.
        index: u64,
    },
}

impl Bundle {
    /// The bundle with some entries of a Change. `tree` is [`Submission::tree`], made once for all machines.
    ///
    /// # Errors
    ///
    /// [`BundleError::NoEntry`] for an index that the Change does not have, [`BundleError::Limit`] for too many.
    pub fn assemble(submission: &Submission, tree: &Tree, indices: &[u64], receipt: &SignedReceipt) -> Result<Self, BundleError> {
        let entry = |index: &u64| {
            let found = usize::try_from(*index).ok().and_then(|place| submission.entries.get(place)).zip(tree.proof(*index));
            let (entry, proof) = found.ok_or(BundleError::NoEntry { index: *index })?;
            let proof = proof.iter().map(|digest| *digest.as_bytes()).collect();
            Ok(BundleEntry { leaf: entry.leaf.clone(), proof, index: *index, object: entry.object.clone() })
        };
        let bundle = Self {
            statement: submission.statement.document.clone(),
            signatures: submission.statement.signatures.clone(),
            entries: indices.iter().map(entry).collect::<Result<_, BundleError>>()?,
            receipt: receipt.document.clone(),
            receipt_signature: receipt.signature.clone(),
        };
        bundle.check_limits()?;
        Ok(bundle)
    }

    /// The statement with its signatures.
    pub fn signed_statement(&self) -> SignedStatement {
        SignedStatement { document: self.statement.clone(), signatures: self.signatures.clone() }
    }

    /// The bytes for the wire.
    ///
    /// # Errors
    ///
    /// [`BundleError`] for one that is too large to be read back.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
        self.check_limits()?;
        let bytes = postcard::to_stdvec(self)?;
        if bytes.len() > BUNDLE_BYTES_MAX { Err(BundleError::Length { bytes: bytes.len() }) } else { Ok(bytes) }
    }

    /// Reads the bytes from the wire. Nothing in them is trusted yet.
    ///
    /// # Errors
    ///
    /// [`BundleError`] says what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::Length { bytes: bytes.len() });
        }
        let (bundle, rest): (Self, &[u8]) = postcard::take_from_bytes(bytes)?;
        if !rest.is_empty() {
            return Err(BundleError::Trailing { bytes: rest.len() });
        }
        bundle.check_limits()?;
        Ok(bundle)
    }

    pub(crate) fn check_limits(&self) -> Result<(), BundleError> {
        let within = |what, found, max| if found > max { Err(BundleError::Limit { what, found, max }) } else { Ok(()) };
        within("bytes of statement", self.statement.len(), DOCUMENT_BYTES_MAX)?;
        within("bytes of receipt", self.receipt.len(), DOCUMENT_BYTES_MAX)?;
        within("signatures", self.signatures.len(), SIGNATURES_MAX)?;
        within("entries", self.entries.len(), BUNDLE_ENTRIES_MAX)?;
        for entry in &self.entries {
            within("bytes of leaf", entry.leaf.len(), LEAF_BYTES_MAX)?;
            within("digests of proof", entry.proof.len(), PROOF_DIGESTS_MAX)?;
            within("bytes of object", entry.object.as_ref().map_or(0, Vec::len), OBJECT_BYTES_MAX)?;
        }
        Ok(())
    }
}

/// Whether a bundle's receipt is that of its statement, admitted in time, by a key that `signed_by` lets sign it; or why not, in words.
pub(crate) fn check_receipt(
    bundle: &Bundle,
    statement: &ChangeStatement,
    digest: &Digest,
    signed_by: impl FnOnce(&PublicKey) -> Result<(), String>,
) -> Result<Receipt, String> {
    let receipt = verify_receipt(&bundle.receipt, &bundle.receipt_signature).map_err(|error| error.to_string())?;
    if receipt.fleet != statement.fleet {
        return Err(format!("it is for the fleet {}", receipt.fleet));
    }
    signed_by(&receipt.online_key)?;
    if receipt.statement != *digest {
        return Err(format!("it is for the statement {}, not {digest}", receipt.statement));
    }
    if receipt.time > statement.admit_before {
        return Err(format!(
            "admitted at {}, after the deadline {}; its author has to sign it again",
            receipt.time, statement.admit_before
        ));
    }
    if is_ahead(statement.time, receipt.time) {
        return Err(format!("admitted at {}, long before it was written at {}", receipt.time, statement.time));
    }
    Ok(receipt)
}
