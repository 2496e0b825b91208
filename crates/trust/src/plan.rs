//! A request for a plan (`stead.dev/plan/v1`): who asks machines what they would do, and about what.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::{Digest, GroupKind, Object, ObjectKey, canonical};

use crate::document::{self, Document, DocumentError, Signers, seconds, whole_seconds};
use crate::leaf::Op;
use crate::machine::MachineMemory;
use crate::root::SignDocumentError;
use crate::root::authority::{Labels, Reach, Unauthorised, Write, by_role};
use crate::signature::{Signature, SignatureNamespace};
use crate::signer::{SignError, Signer};
use crate::statement::VerifyError;

/// How old a request may be, in seconds, by the machine's clock, and how far ahead: a person's command and the clocks of two machines.
pub const PLAN_SKEW_SECONDS_MAX: u64 = 15 * 60;

/// A request for a plan. It changes nothing, and is worth nothing as a Change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PlanDocument {
    fleet: Digest,
    #[serde(with = "seconds")]
    time: Timestamp,
    /// The digest of what would be put and deleted.
    wishes: Digest,
}

impl Document for PlanDocument {
    const TYPE: &'static str = "stead.dev/plan/v1";
}

/// Why a machine does not plan for somebody.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The wishes have no canonical form.
    #[error("the wishes have no canonical form: {0}")]
    Canonical(#[from] canonical::CanonicalError),
    /// A signature does not fit, or the document is not well-formed.
    #[error("the request for a plan: {0}")]
    Verify(#[from] VerifyError),
    /// For another fleet, or about other wishes.
    #[error("the request for a plan names {what} {found}, and not {expected}")]
    Other {
        /// What differs.
        what: &'static str,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// Too old, or from the future.
    #[error("the request for a plan was made at {time}, and this machine's clock says {now}; ask again, or set the clocks")]
    Time {
        /// When it was made.
        time: Timestamp,
        /// The machine's time.
        now: Timestamp,
    },
    /// Those who signed may not change this on this machine.
    #[error("{key}: {source}")]
    Unauthorised {
        /// The object.
        key: ObjectKey,
        /// Why not.
        source: Unauthorised,
    },
}

fn digest(put: &[Object], delete: &[String]) -> Result<Digest, PlanError> {
    let put: Vec<Object> = put.iter().map(Object::as_sent).collect();
    Ok(Digest::of(&canonical::of(&serde_json::json!({"put": put, "delete": delete}))?))
}

/// Signs a request for a plan: the document, and its signatures.
///
/// # Errors
///
/// [`SignDocumentError`] where a signer does not sign, or the wishes have no form that can be signed.
pub fn sign_plan(
    fleet: Digest,
    put: &[Object],
    delete: &[String],
    now: Timestamp,
    signers: &[&dyn Signer],
) -> Result<(Vec<u8>, Vec<Signature>), SignDocumentError> {
    let unsignable = |error: PlanError| DocumentError::Value { field: "wishes", message: error.to_string() };
    let wishes = digest(put, delete).map_err(unsignable)?;
    let document = document::write(&PlanDocument { fleet, time: whole_seconds(now), wishes })?;
    let signatures =
        signers.iter().map(|signer| signer.sign(SignatureNamespace::Plan, &document)).collect::<Result<_, SignError>>()?;
    Ok((document, signatures))
}

/// Whether a machine may tell these signers what it would do: only those whom the root lets change it.
///
/// # Errors
///
/// [`PlanError`] says why not.
pub fn may_plan(
    memory: &MachineMemory,
    document: &[u8],
    signatures: &[Signature],
    put: &[Object],
    delete: &[String],
    now: Timestamp,
) -> Result<(), PlanError> {
    let root = memory.roots().newest();
    let signers = Signers::verify(SignatureNamespace::Plan, document, signatures)
        .and_then(|signers| signers.all_keys(root.user_presence()))
        .map_err(VerifyError::from)?;
    let request: PlanDocument = document::read(document).map_err(VerifyError::from)?;
    let same = |what, expected: Digest, found: Digest| {
        if expected == found { Ok(()) } else { Err(PlanError::Other { what, expected, found }) }
    };
    same("the fleet", *memory.fleet(), request.fleet)?;
    same("wishes with the digest", digest(put, delete)?, request.wishes)?;
    if request.time.as_second().abs_diff(now.as_second()) > PLAN_SKEW_SECONDS_MAX {
        return Err(PlanError::Time { time: request.time, now });
    }
    let deleted =
        delete.iter().map(|name| (ObjectKey::new(GroupKind::new(stead_model::GROUP, "Profile"), "", name), Op::Delete, None));
    for (key, op, object) in put.iter().map(|object| (object.key(), Op::Put, Some(object))).chain(deleted) {
        authorised(memory, &signers, &key, op, object).map_err(|source| PlanError::Unauthorised { key, source })?;
    }
    Ok(())
}

fn authorised(
    memory: &MachineMemory,
    signers: &BTreeSet<crate::PublicKey>,
    key: &ObjectKey,
    op: Op,
    object: Option<&Object>,
) -> Result<(), Unauthorised> {
    let reach = memory.own_labels().map_or(Reach::Unknown, |labels| Reach::All(vec![labels]));
    let write = Write { key, op, sequence: 1, object, reach, facts: &Labels::new(), admitted: None };
    by_role(memory.roots().newest(), signers, &write).map(drop)
}
