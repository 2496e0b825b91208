//! Why a write is refused.

use crate::proposal::ProposalError;
use stead_model::{ObjectError, ObjectKey};
use stead_store::{CommitError, EngineError};
use stead_trust::{AdmissionError, BuildError, RootError, SignDocumentError};

/// Why a write is refused. Nothing of it has happened, but for [`CommitError::Unknown`] and [`ProposalError::Unknown`].
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Owners must sign it, and did not.
    #[error("{} must be signed by {roles}: {command}", .keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    NeedsSignature {
        /// The objects.
        keys: Vec<ObjectKey>,
        /// The roles that may.
        roles: String,
        /// The command that would sign it.
        command: String,
    },
    /// The kind is only read.
    #[error("{key} is written by the coordinator alone")]
    ReadOnly {
        /// The object.
        key: ObjectKey,
    },
    /// Versions of the trust root are objects that carry their own signatures.
    #[error("{key}: a trust root is submitted with `stead trust rotate`, and never altered")]
    Root {
        /// The object.
        key: ObjectKey,
    },
    /// The namespace that the object should live in is not there.
    #[error("{key}: there is no namespace {namespace:?}; create it first")]
    NamespaceMissing {
        /// The object.
        key: ObjectKey,
        /// The namespace.
        namespace: String,
    },
    /// The object is not of a kind that is served, or not as its kind should be.
    #[error("{key}: {reason}")]
    Invalid {
        /// The object.
        key: ObjectKey,
        /// What is wrong.
        reason: String,
    },
    /// The signatures, the roles, or the statement say no.
    #[error(transparent)]
    Refused(#[from] AdmissionError),
    /// It cannot be done with this proposal.
    #[error(transparent)]
    Proposal(#[from] ProposalError),
    /// The new version of the trust root does not follow from the last.
    #[error(transparent)]
    RootRefused(#[from] RootError),
    /// The owners' freshness statement does not hold, or there is a newer one.
    #[error(transparent)]
    Freshness(Box<crate::freshness::FreshnessRefused>),
    /// What the author made the Change depend on does not hold.
    #[error("what the change depends on does not hold: {source}")]
    Precondition {
        /// The object.
        key: ObjectKey,
        /// What does not hold.
        source: CommitError,
    },
    /// The record says no, or could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The record could not be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The object has no form that can be signed.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The statement that the online key would sign could not be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The online key did not sign.
    #[error(transparent)]
    Sign(#[from] SignDocumentError),
    /// Others changed the object again and again.
    #[error("{attempts} attempts met a change of somebody else's each; try again")]
    Contended {
        /// How many.
        attempts: usize,
    },
    /// What the record keeps cannot be read.
    #[error(transparent)]
    Record(#[from] crate::encoding::MalformedRecord),
}

impl WriteError {
    /// Whether the record, and not what was written, is the reason, so that it may be tried again.
    pub(crate) const fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Engine(_)
                | Self::Contended { .. }
                | Self::Commit(CommitError::Engine(_) | CommitError::Unknown(_) | CommitError::Closed)
        )
    }
}
