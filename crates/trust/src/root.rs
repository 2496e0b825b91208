//! The trust root: whose keys may say what, one version at a time.

pub(crate) mod authority;
pub(crate) mod chain;
mod defaults;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::{Digest, GroupKind, Selector};

use crate::document::{self, Document, DocumentError, seconds};
use crate::key::PublicKey;
use crate::signature::{Signature, SignatureNamespace, UserPresence};
use crate::signer::{SignError, Signer};

/// The most roles in a root: every one is looked at for every change.
pub const ROLES_MAX: usize = 128;
/// The most keys in a role, and the most online keys.
pub const KEYS_MAX: usize = 128;

/// One version of the trust root (`stead.dev/root/v1`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Root {
    /// The fleet's id: the digest of version 1, which for that reason has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Digest>,
    /// When it was made.
    #[serde(with = "seconds")]
    pub time: Timestamp,
    /// Counts the versions, from 1.
    pub version: u64,
    /// The digest of the version before; none for version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// The root role: who signs versions of the root.
    pub owners: KeySet,
    /// Who may write what.
    pub roles: Vec<Role>,
    /// The coordinators, and what they may write by themselves.
    pub online: Online,
    /// How long statements are good for.
    pub expiry: ExpiryPolicy,
    /// Whether a person must touch the authenticator for every signature of an `sk-` key.
    pub require_user_presence: bool,
    /// Whether machines set their notion of now to this version's time, even where that sets it back.
    pub resets_clock: bool,
}

/// Some keys, and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeySet {
    /// The keys, each once.
    pub keys: Vec<PublicKey>,
    /// How many different ones must sign.
    pub threshold: u32,
}

/// Who may write some kinds, where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    /// What people call it.
    pub name: String,
    /// The keys, each once.
    pub keys: Vec<PublicKey>,
    /// How many different ones must sign.
    pub threshold: u32,
    /// The kinds, such as `Machine.stead.dev`.
    #[serde(with = "kind_names")]
    pub kinds: Vec<GroupKind>,
    /// The namespaces; `*` is every one and cluster scope too, the empty one is cluster scope.
    pub namespaces: Vec<String>,
    /// For objects of cluster scope: how their names begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_prefix: Option<String>,
    /// The machines that the role reaches; all where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_selector: Option<Selector>,
    /// Whether selectors may look at labels under `facts.stead.dev/`.
    pub fact_labels: bool,
}

/// The coordinators' keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Online {
    /// One key a coordinator.
    pub keys: Vec<PublicKey>,
    /// The kinds that they may write, such as `Instance.stead.dev`.
    #[serde(with = "kind_names")]
    pub kinds: Vec<GroupKind>,
}

/// How long statements are good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpiryPolicy {
    /// How far, in seconds, a Change's `admitBefore` may be behind its time.
    pub admit_within_seconds: u64,
    /// Every how many days owners say that they are still there; none where they don't. A machine that hears nothing for longer says that
    /// it is stale, and goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness_days: Option<u32>,
}

/// Kinds as `Kind.group`, the core group's as `Kind`.
mod kind_names {
    use serde::{Deserialize, Deserializer, Serializer};
    use stead_model::GroupKind;

    pub(super) fn serialize<S: Serializer>(kinds: &[GroupKind], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(kinds.iter().map(GroupKind::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<GroupKind>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Ok(names.iter().map(|name| super::kind_named(name)).collect())
    }
}

pub(crate) fn kind_named(name: &str) -> GroupKind {
    let (kind, group) = name.split_once('.').unwrap_or((name, ""));
    GroupKind::new(group, kind)
}

impl Document for Root {
    const TYPE: &'static str = "stead.dev/root/v1";

    fn check(&self) -> Result<(), DocumentError> {
        let first = self.version == 1;
        if self.version == 0 || self.fleet.is_none() != first || self.previous.is_none() != first {
            return wrong("version", "counts from 1; `fleet` and `previous` are in every version but the first");
        }
        check_keys("owners", &self.owners.keys, self.owners.threshold)?;
        let names: BTreeSet<&str> = self.roles.iter().map(|role| role.name.as_str()).collect();
        if self.roles.len() > ROLES_MAX || names.len() != self.roles.len() || names.contains("") {
            return wrong("roles", "at most 128, each with a name of its own");
        }
        for role in &self.roles {
            check_keys("roles", &role.keys, role.threshold)?;
        }
        check_keys("online", &self.online.keys, 0)?;
        if self.online.kinds.contains(&GroupKind::new("stead.dev", "TrustRoot")) {
            return wrong("online.kinds", "TrustRoot cannot be left to online keys");
        }
        Ok(())
    }
}

fn wrong(field: &'static str, message: &str) -> Result<(), DocumentError> {
    Err(DocumentError::Value { field, message: message.to_owned() })
}

fn check_keys(field: &'static str, keys: &[PublicKey], threshold: u32) -> Result<(), DocumentError> {
    let distinct = keys.iter().collect::<BTreeSet<_>>().len();
    if distinct != keys.len() || keys.len() > KEYS_MAX {
        return wrong(field, "at most 128 keys, each once");
    }
    let needs_keys = field != "online";
    if needs_keys && (threshold == 0 || threshold as usize > distinct) {
        return wrong(field, "the threshold is at least 1 and at most the number of keys");
    }
    Ok(())
}

impl Root {
    /// The canonical bytes, which are signed. The digest of those of version 1 is the fleet's id.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] where it says something that a root may not say.
    pub fn to_document(&self) -> Result<Vec<u8>, DocumentError> {
        document::write(self)
    }

    /// What this root says of authenticators.
    pub fn user_presence(&self) -> UserPresence {
        if self.require_user_presence { UserPresence::Required } else { UserPresence::NotRequired }
    }

    /// Whether a key belongs to a person: an owner's, or one of a role's. These may log in.
    pub fn is_persons_key(&self, key: &PublicKey) -> bool {
        self.owners.keys.contains(key) || self.roles.iter().any(|role| role.keys.contains(key))
    }

    /// Whether a key is a coordinator's.
    pub fn is_online_key(&self, key: &PublicKey) -> bool {
        self.online.keys.contains(key)
    }

    /// Whether the online keys may write a kind by themselves.
    pub fn is_left_to_online_keys(&self, kind: &GroupKind) -> bool {
        self.online.kinds.contains(kind)
    }

    /// The version after this one, to be edited and signed: numbered, dated and chained.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] where this version has no canonical form.
    pub fn next_version(&self, time: Timestamp) -> Result<Self, DocumentError> {
        let previous = Digest::of(&self.to_document()?);
        let fleet = self.fleet.unwrap_or(previous);
        let version = self.version.saturating_add(1);
        Ok(Self { fleet: Some(fleet), time, version, previous: Some(previous), resets_clock: false, ..self.clone() })
    }
}

/// A version of the root as it was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedRoot {
    /// The canonical bytes.
    #[serde(with = "crate::bytes_text")]
    pub document: Vec<u8>,
    /// The owners' signatures, of the version before and of this one.
    pub signatures: Vec<Signature>,
}

impl SignedRoot {
    /// Signs a version; more signatures can be added with [`SignedRoot::add_signature`].
    ///
    /// # Errors
    ///
    /// [`SignDocumentError`] where the root is not well-formed or a signer does not sign.
    pub fn sign(root: &Root, signers: &[&dyn Signer]) -> Result<Self, SignDocumentError> {
        let document = root.to_document()?;
        let mut signed = Self { document, signatures: Vec::new() };
        for signer in signers {
            signed.add_signature(*signer)?;
        }
        Ok(signed)
    }

    /// Adds the signature of one more key.
    ///
    /// # Errors
    ///
    /// [`SignError`] where the signer does not sign.
    pub fn add_signature(&mut self, signer: &dyn Signer) -> Result<(), SignError> {
        self.signatures.push(signer.sign(SignatureNamespace::Root, &self.document)?);
        Ok(())
    }

    /// The digest of the document.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.document)
    }
}

/// Why a document was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignDocumentError {
    /// It says something that such a document may not say.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A signer did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}
