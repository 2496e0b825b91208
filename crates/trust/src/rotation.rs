//! A machine's change of its own key: asked for by the machine with both keys, and made by its owners' word.
//!
//! The request shows that who has the old key has the new one too. It changes nothing by itself: a machine's key stands in its Machine
//! object, which owners sign, and whoever signs checks this first, so that no coordinator can slip in a key of its own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::{Digest, GroupKind, MachineSpec, Object, RotationEvidence};

use crate::document::{self, Document, DocumentError, seconds};
use crate::key::{MachineKey, PublicKeyError};
use crate::root::SignDocumentError;
use crate::signature::{Signature, SignatureError, SignatureNamespace, verify};
use crate::signer::Signer;

/// What a question for a machine's next key is: the protocol and its version. An agent that does not know it answers something else.
pub const NEXT_KEY_ASK: &[u8] = b"stead/next-key/1\n";

/// A machine's request for another key of its own (`stead.dev/rotation/v1`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRotation {
    /// The fleet.
    pub fleet: Digest,
    /// When it was written, by the machine's clock.
    #[serde(with = "seconds")]
    pub time: Timestamp,
    /// The machine's name.
    pub name: String,
    /// The key that it has.
    pub machine: MachineKey,
    /// The key that it is to have.
    pub next: MachineKey,
}

impl Document for KeyRotation {
    const TYPE: &'static str = "stead.dev/rotation/v1";
}

/// Why a change of key does not hold.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// A signature does not fit.
    #[error("the signature of the {which} key: {source}")]
    Signature {
        /// `old` or `new`.
        which: &'static str,
        /// What is wrong.
        source: SignatureError,
    },
    /// A key is no machine's.
    #[error("the change of key: {0}")]
    Key(#[from] PublicKeyError),
    /// The request is not well-formed.
    #[error("the change of key: {0}")]
    Document(#[from] DocumentError),
    /// Something that must agree does not.
    #[error("the change of key: {what} differ: {left} and {right}")]
    Differ {
        /// What.
        what: &'static str,
        /// On the one side.
        left: String,
        /// On the other.
        right: String,
    },
    /// The object cannot be read.
    #[error("spec.rotation: {0}")]
    Evidence(#[from] serde_json::Error),
}

/// Signs a machine's request with both of its keys.
///
/// # Errors
///
/// [`SignDocumentError`] where a key does not sign.
pub fn sign_rotation(rotation: &KeyRotation, old: &dyn Signer, new: &dyn Signer) -> Result<RotationEvidence, SignDocumentError> {
    let document = document::write(rotation)?;
    let sign = |key: &dyn Signer| key.sign(SignatureNamespace::Enrol, &document).map(|signature| signature.to_armor());
    let (old_signature, new_signature) = (sign(old)?, sign(new)?);
    Ok(RotationEvidence { request: String::from_utf8_lossy(&document).into_owned(), old_signature, new_signature })
}

/// Verifies that one who has both keys asks for the second in place of the first, for this machine of this fleet; gives the second.
///
/// # Errors
///
/// [`RotationError`] says what does not hold.
pub fn verify_rotation(
    fleet: &Digest,
    name: &str,
    old: &MachineKey,
    evidence: &RotationEvidence,
) -> Result<MachineKey, RotationError> {
    let signer = |which, armor: &str| {
        let failed = |source| RotationError::Signature { which, source };
        let signature = Signature::from_armor(armor).map_err(failed)?;
        let key = verify(SignatureNamespace::Enrol, evidence.request.as_bytes(), &signature).map_err(failed)?;
        MachineKey::try_from(&key).map_err(RotationError::from)
    };
    let (signed_old, signed_new) = (signer("old", &evidence.old_signature)?, signer("new", &evidence.new_signature)?);
    let rotation: KeyRotation = document::read(evidence.request.as_bytes())?;
    same("the fleets", &rotation.fleet, fleet)?;
    same("the machines' names", &rotation.name.as_str(), &name)?;
    same("the machine's key and that of the request", &rotation.machine, old)?;
    same("the old key and who signed as that", &rotation.machine, &signed_old)?;
    same("the new key and who signed as that", &rotation.next, &signed_new)?;
    if rotation.machine == rotation.next {
        let key = rotation.next.to_string();
        return Err(RotationError::Differ {
            what: "the old key has to differ from the new one; they do not",
            left: key.clone(),
            right: key,
        });
    }
    Ok(rotation.next)
}

/// Checks a Machine object that says that the machine changed its key by itself: its request names the key that it has now, and the last
/// one that it had before. Other objects pass.
///
/// # Errors
///
/// [`RotationError`] says what does not hold.
pub fn check_rotation(fleet: &Digest, object: &Object) -> Result<(), RotationError> {
    if object.group_kind() != GroupKind::new(stead_model::GROUP, "Machine") || object.spec().get("rotation").is_none() {
        return Ok(());
    }
    let spec: MachineSpec = serde_json::from_value(object.spec().clone())?;
    let Some(evidence) = &spec.rotation else { return Ok(()) };
    let key = |text: &str| text.parse::<MachineKey>();
    let differ = |left: &str| RotationError::Differ { what: "keys", left: left.to_owned(), right: "a machine's key".to_owned() };
    let last = spec.former_keys.last().map(String::as_str).unwrap_or_default();
    let old = key(last).map_err(|_| differ(last))?;
    let next = verify_rotation(fleet, &object.metadata.name, &old, evidence)?;
    same("spec.key and the new key of the request", &spec.key, &next.to_string())
}

fn same<T: PartialEq + std::fmt::Display>(what: &'static str, left: &T, right: &T) -> Result<(), RotationError> {
    if left == right { Ok(()) } else { Err(RotationError::Differ { what, left: left.to_string(), right: right.to_string() }) }
}
