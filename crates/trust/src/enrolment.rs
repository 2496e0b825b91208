//! Enrolment without a person: an owners' delegation, and the machine's own request under it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::{Digest, EnrolmentEvidence, GroupKind, Object, ObjectKey};

use crate::document::{self, Document, DocumentError, Signers, seconds};
use crate::key::{MachineKey, PublicKey};
use crate::leaf::Op;
use crate::root::authority::{Labels, Reach, Unauthorised, Write, by_role};
use crate::root::{Root, SignDocumentError};
use crate::signature::{Signature, SignatureError, SignatureNamespace};
use crate::signer::{SignError, Signer};

/// The longest name pattern, in bytes: that of a name.
pub const NAME_PATTERN_BYTES_MAX: usize = 253;
/// The most labels that a delegation gives.
pub const DELEGATION_LABELS_MAX: usize = 64;

/// What owners let a ticket do by itself (`stead.dev/delegation/v1`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delegation {
    /// The fleet.
    pub fleet: Digest,
    /// When it was written.
    #[serde(with = "seconds")]
    pub time: Timestamp,
    /// The labels that a machine gets by it.
    pub labels: Labels,
    /// What the names of the machines look like; `*` stands for any characters.
    pub name_pattern: String,
    /// How many machines it is good for. (Counted by the coordinator.)
    pub machines: u32,
    /// Until when it is good.
    #[serde(with = "seconds")]
    pub until: Timestamp,
}

impl Document for Delegation {
    const TYPE: &'static str = "stead.dev/delegation/v1";

    fn check(&self) -> Result<(), DocumentError> {
        let wrong = |field, message: &str| Err(DocumentError::Value { field, message: message.to_owned() });
        if self.name_pattern.is_empty() || self.name_pattern.len() > NAME_PATTERN_BYTES_MAX {
            return wrong("namePattern", "1 to 253 bytes, such as `branch-*`");
        }
        if self.labels.len() > DELEGATION_LABELS_MAX {
            return wrong("labels", "at most 64");
        }
        if self.machines == 0 {
            return wrong("machines", "at least 1");
        }
        Ok(())
    }
}

/// A delegation and the owners' signatures over it: what a ticket carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedDelegation {
    /// The canonical bytes.
    #[serde(with = "crate::bytes_text")]
    pub document: Vec<u8>,
    /// The owners' signatures.
    pub signatures: Vec<Signature>,
}

/// A machine's request to be enrolled under a delegation (`stead.dev/enrol/v1`), signed with its own key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrolmentRequest {
    /// The fleet.
    pub fleet: Digest,
    /// When it was written, by the machine's clock.
    #[serde(with = "seconds")]
    pub time: Timestamp,
    /// The digest of the delegation.
    pub delegation: Digest,
    /// The machine.
    pub machine: MachineKey,
    /// The name it is to have.
    pub name: String,
    /// The labels it is to have: those of the delegation.
    pub labels: Labels,
}

impl Document for EnrolmentRequest {
    const TYPE: &'static str = "stead.dev/enrol/v1";
}

/// Why an enrolment by delegation does not hold.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// The evidence in `spec.enrolment` cannot be read.
    #[error("spec.enrolment: {0}")]
    Evidence(#[from] serde_json::Error),
    /// A signature does not fit.
    #[error("the {what}: {source}")]
    Signature {
        /// The document it is over.
        what: &'static str,
        /// What is wrong.
        source: SignatureError,
    },
    /// A document is not well-formed.
    #[error("the {what}: {source}")]
    Document {
        /// The document.
        what: &'static str,
        /// What is wrong.
        source: DocumentError,
    },
    /// Those who signed the delegation may not write such a machine.
    #[error("the delegation: {0}")]
    Unauthorised(#[from] Unauthorised),
    /// It is too late.
    #[error("the delegation was good until {until}, and the machine was admitted at {admitted}; ask an owner for a new ticket")]
    Expired {
        /// Until when it was good.
        until: Timestamp,
        /// When the machine was admitted.
        admitted: Timestamp,
    },
    /// Something that must agree does not.
    #[error("{what} differ: {left} and {right}")]
    Differ {
        /// What.
        what: &'static str,
        /// On the one side.
        left: String,
        /// On the other.
        right: String,
    },
    /// The object holds more than the delegation gives.
    #[error("the machine carries {what}, which a delegation cannot give; an owner has to sign it")]
    TooMuch {
        /// What is too much.
        what: String,
    },
}

impl SignedDelegation {
    /// Signs a delegation.
    ///
    /// # Errors
    ///
    /// [`SignDocumentError`] where it is not well-formed or a signer does not sign.
    pub fn sign(delegation: &Delegation, signers: &[&dyn Signer]) -> Result<Self, SignDocumentError> {
        let document = document::write(delegation)?;
        let signatures =
            signers.iter().map(|signer| signer.sign(SignatureNamespace::Enrol, &document)).collect::<Result<_, SignError>>()?;
        Ok(Self { document, signatures })
    }

    /// Reads the delegation after its signatures were verified; whether those may give it is for the root to say.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError`] says what is wrong.
    pub fn read(&self) -> Result<Delegation, EnrolmentError> {
        self.verified().map(|(delegation, _)| delegation)
    }

    fn verified(&self) -> Result<(Delegation, Signers), EnrolmentError> {
        let what = "delegation";
        let signers = Signers::verify(SignatureNamespace::Enrol, &self.document, &self.signatures);
        let signers = signers.map_err(|source| EnrolmentError::Signature { what, source })?;
        let delegation = document::read(&self.document).map_err(|source| EnrolmentError::Document { what, source })?;
        Ok((delegation, signers))
    }

    /// Countersigns the delegation as a machine: the evidence that goes into `spec.enrolment` of its Machine object.
    ///
    /// # Errors
    ///
    /// [`CountersignError`] where the delegation does not hold or the key does not sign.
    pub fn countersign(&self, machine: &dyn Signer, name: &str, now: Timestamp) -> Result<EnrolmentEvidence, CountersignError> {
        let delegation = self.read()?;
        let request = EnrolmentRequest {
            fleet: delegation.fleet,
            time: document::whole_seconds(now),
            delegation: Digest::of(&self.document),
            machine: MachineKey::try_from(machine.public_key())?,
            name: name.to_owned(),
            labels: delegation.labels,
        };
        let request = document::write(&request)?;
        let signature = machine.sign(SignatureNamespace::Enrol, &request)?;
        Ok(EnrolmentEvidence {
            delegation: String::from_utf8_lossy(&self.document).into_owned(),
            delegation_signatures: self.signatures.iter().map(Signature::to_armor).collect(),
            request: String::from_utf8_lossy(&request).into_owned(),
            request_signature: signature.to_armor(),
        })
    }
}

/// Why a machine could not countersign a delegation.
#[derive(Debug, thiserror::Error)]
pub enum CountersignError {
    /// The delegation does not hold.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    /// The key is no machine's.
    #[error(transparent)]
    Key(#[from] crate::key::PublicKeyError),
    /// The request is not well-formed.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Whether an object is a Machine that says it was enrolled by a delegation.
pub(crate) fn is_enrolled_machine(object: &Object) -> bool {
    object.group_kind() == GroupKind::new("stead.dev", "Machine") && object.spec().get("enrolment").is_some()
}

/// Verifies the evidence in a Machine object: that owners who may write it gave the delegation, that it covers the machine,
/// and that the machine asked for it. `admitted` is the receipt's time; the coordinator's own when it admits.
///
/// # Errors
///
/// [`EnrolmentError`] says what does not hold.
pub fn verify_enrolment(root: &Root, object: &Object, admitted: Option<Timestamp>) -> Result<(), EnrolmentError> {
    let evidence: EnrolmentEvidence = serde_json::from_value(object.spec().get("enrolment").cloned().unwrap_or_default())?;
    let delegation_signatures = armored("delegation", &evidence.delegation_signatures)?;
    let signed = SignedDelegation { document: evidence.delegation.into_bytes(), signatures: delegation_signatures };
    let (delegation, signers) = signed.verified()?;
    let (request, requester) = verified_request(&evidence.request, &evidence.request_signature)?;

    may_give(root, &delegation, &signers.keys(root.user_presence()), &object.key(), admitted)?;
    if let Some(admitted) = admitted.filter(|admitted| *admitted > delegation.until) {
        return Err(EnrolmentError::Expired { until: delegation.until, admitted });
    }
    let key = object.spec().get("key").and_then(serde_json::Value::as_str).unwrap_or_default();
    same("the fleets of delegation and request", &delegation.fleet, &request.fleet)?;
    same("the delegation and the one that the request names", &signed_digest(&signed), &request.delegation)?;
    same("the machine in the request and who signed it", &request.machine.to_public_key(), &requester)?;
    same("spec.key and the machine in the request", &key.to_owned(), &request.machine.to_string())?;
    same("the names of machine and request", &object.metadata.name, &request.name)?;
    same("the labels of delegation and request", &text(&delegation.labels), &text(&request.labels))?;
    same("the labels of delegation and machine", &text(&delegation.labels), &text(&object.metadata.labels))?;
    if !matches_pattern(&delegation.name_pattern, &request.name) {
        let (left, right) = (delegation.name_pattern, request.name);
        return Err(EnrolmentError::Differ { what: "the delegation's name pattern and the name", left, right });
    }
    nothing_more(object)
}

fn armored(what: &'static str, signatures: &[String]) -> Result<Vec<Signature>, EnrolmentError> {
    let read = |text: &String| Signature::from_armor(text).map_err(|source| EnrolmentError::Signature { what, source });
    signatures.iter().take(document::SIGNATURES_MAX + 1).map(read).collect()
}

fn verified_request(text: &str, signature: &str) -> Result<(EnrolmentRequest, PublicKey), EnrolmentError> {
    let what = "machine's request";
    let signature_error = |source| EnrolmentError::Signature { what, source };
    let signature = Signature::from_armor(signature).map_err(signature_error)?;
    let key = crate::signature::verify(SignatureNamespace::Enrol, text.as_bytes(), &signature).map_err(signature_error)?;
    let request = document::read(text.as_bytes()).map_err(|source| EnrolmentError::Document { what, source })?;
    Ok((request, key))
}

fn signed_digest(signed: &SignedDelegation) -> Digest {
    Digest::of(&signed.document)
}

/// Whether those who signed the delegation may themselves write such a machine.
fn may_give(
    root: &Root,
    delegation: &Delegation,
    signers: &BTreeSet<PublicKey>,
    key: &ObjectKey,
    admitted: Option<Timestamp>,
) -> Result<(), Unauthorised> {
    let no_facts = Labels::new();
    let reach = Reach::All(vec![&delegation.labels]);
    let write = Write { key, op: Op::Put, sequence: 1, object: None, reach, facts: &no_facts, admitted };
    by_role(root, signers, &write).map(|_| ())
}

fn same<T: PartialEq + std::fmt::Display>(what: &'static str, left: &T, right: &T) -> Result<(), EnrolmentError> {
    if left == right { Ok(()) } else { Err(EnrolmentError::Differ { what, left: left.to_string(), right: right.to_string() }) }
}

fn text(labels: &Labels) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

/// A coordinator writes this object, so it may hold nothing that owners did not give and the machine did not ask for.
fn nothing_more(object: &Object) -> Result<(), EnrolmentError> {
    let spec = object.spec().as_object().into_iter().flat_map(|spec| spec.keys());
    let fields = object.fields.keys().filter(|field| *field != "spec" && *field != "status");
    let more =
        spec.filter(|field| *field != "key" && *field != "enrolment").chain(fields).chain(object.metadata.annotations.keys());
    let more: Vec<&str> = more.map(String::as_str).collect();
    if more.is_empty() { Ok(()) } else { Err(EnrolmentError::TooMuch { what: more.join(", ") }) }
}

/// Whether a name fits a pattern in which `*` stands for any characters.
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(head) else { return false };
    let mut pieces: Vec<&str> = tail.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        // The first place that fits leaves most for the pieces that follow.
        match rest.find(piece).and_then(|at| rest.get(at + piece.len()..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("web-1", "web-1", true),
            ("web-1", "web-10", false),
            ("web-*", "web-", true),
            ("web-*", "web-10", true),
            ("web-*", "db-10", false),
            ("*", "", true),
            ("*-graz", "a-graz", true),
            ("*-graz", "a-graz-b", false),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("a**c", "ac", true),
            ("aa*aa", "aaa", false),
        ] {
            assert_eq!(matches_pattern(pattern, name), expected, "{pattern} {name}");
        }
    }
}
