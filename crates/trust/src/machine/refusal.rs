//! Why a machine refuses a bundle: which check failed, on what, in words.

use std::fmt;

use serde::{Deserialize, Serialize};
use stead_model::ObjectKey;

use crate::root::chain::RootError;

/// The checks, in the order in which they are made. The first that fails is the one that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// Every signature fits the statement. This comes first, since nothing is parsed before.
    Signature,
    /// The statement and its entries are well-formed and within limits.
    Format,
    /// It is for this fleet.
    Fleet,
    /// The root chain starts at the fleet's id and every version follows the one before. Checked when versions are adopted.
    RootChain,
    /// One of those who signed has a role that covers the object and reaches this machine.
    Role,
    /// Enough different keys of that role signed.
    Threshold,
    /// The entry is one of those that were signed.
    Proof,
    /// The object is the one that was signed.
    Digest,
    /// The object's sequence is above the one that the machine has.
    Sequence,
    /// A coordinator of the fleet admitted the Change in time.
    Receipt,
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Signature => "signature",
            Self::Format => "format",
            Self::Fleet => "fleet",
            Self::RootChain => "root chain",
            Self::Role => "role",
            Self::Threshold => "threshold",
            Self::Proof => "proof",
            Self::Digest => "digest",
            Self::Sequence => "sequence",
            Self::Receipt => "receipt",
        })
    }
}

/// A machine's refusal of a bundle. It keeps the state that it had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// The first check that failed.
    pub check: Check,
    /// The object, where it is about one.
    pub object: Option<ObjectKey>,
    /// What was wrong, with what value, and what to do.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) => write!(formatter, "{object} was refused at the check of its {}: {}", self.check, self.message),
            None => write!(formatter, "a Change was refused at the check of its {}: {}", self.check, self.message),
        }
    }
}

impl Refusal {
    pub(crate) fn new(check: Check, object: Option<&ObjectKey>, message: impl fmt::Display) -> Self {
        Self { check, object: object.cloned(), message: message.to_string() }
    }
}

/// What a machine reports of root versions that it does not adopt.
impl From<&RootError> for Refusal {
    fn from(error: &RootError) -> Self {
        Self::new(Check::RootChain, None, error)
    }
}
