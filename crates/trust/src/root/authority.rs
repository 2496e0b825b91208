//! Who may write what: the one place that says yes or no, for a coordinator and for a machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use stead_model::{FACT_LABEL_PREFIX, Object, ObjectKey, Selector};

use super::{Role, Root};
use crate::enrolment::{self, EnrolmentError};
use crate::key::PublicKey;
use crate::leaf::Op;
use crate::statement::Authorship;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// What gave a write its right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// A role of the root, by name.
    Role {
        /// Its name.
        name: String,
        /// Whether its selectors may look at labels under `facts.stead.dev/`.
        fact_labels: bool,
    },
    /// The root leaves the kind to the online keys.
    Online,
    /// An owners' delegation, and the machine's own request under it.
    Delegation,
}

impl Authority {
    /// Whether selectors of what was written may look at labels under `facts.stead.dev/`.
    pub fn fact_labels(&self) -> bool {
        matches!(self, Self::Role { fact_labels: true, .. })
    }
}

/// Why a write has no right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorised {
    /// None of the keys has a role that covers the object.
    #[error("no role of {signers} in the trust root covers it; a key of {roles} must sign")]
    NoRole {
        /// The fingerprints of who signed.
        signers: String,
        /// The roles that would.
        roles: String,
    },
    /// A role covers the object, and too few of its keys signed.
    #[error(
        "the role {role} covers it, with {found} of the {needed} different keys that must sign; collect the other signatures"
    )]
    TooFew {
        /// The role.
        role: String,
        /// How many of its keys signed.
        found: usize,
        /// How many must.
        needed: u32,
    },
    /// The author named in the statement did not sign it.
    #[error("the statement names {author} as its author, whose signature is not there")]
    AuthorMissing {
        /// The fingerprint.
        author: String,
    },
    /// Written by a coordinator, where a person must.
    #[error("{signer} wrote the statement as a coordinator; a proposal is written by a person")]
    NotAPersons {
        /// The fingerprint.
        signer: String,
    },
    /// Written by a key that is no coordinator's.
    #[error("{signer} is no online key of the trust root")]
    NotOnline {
        /// The fingerprint.
        signer: String,
    },
    /// The kind is an owner's.
    #[error("the trust root leaves {kind} to its owners: `stead apply` signs it; a key of {roles} must sign")]
    OwnersKind {
        /// The kind.
        kind: String,
        /// The roles that would.
        roles: String,
    },
    /// Put by an online key without an enrolment that holds.
    #[error("the machine's enrolment does not hold: {0}")]
    Enrolment(String),
}

/// The labels that a role's machine selector is held against.
pub(crate) enum Reach<'a> {
    /// Machines evaluate it themselves.
    Elsewhere,
    /// The machine does not know its labels yet.
    Unknown,
    /// All of these must match: what is, and what would be.
    All(Vec<&'a Labels>),
}

/// One write, as authority is asked for it.
pub(crate) struct Write<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) op: Op,
    pub(crate) sequence: u64,
    /// The object, where its digest is known to fit.
    pub(crate) object: Option<&'a Object>,
    pub(crate) reach: Reach<'a>,
    /// What the machine itself makes of its facts, under `facts.stead.dev/`.
    pub(crate) facts: &'a Labels,
    /// When it was (or would be) admitted; unknown where the receipt does not hold.
    pub(crate) admitted: Option<jiff::Timestamp>,
}

/// Who wrote a statement, and whose signatures were verified.
pub(crate) struct Author<'a> {
    pub(crate) authorship: &'a Authorship,
    pub(crate) signers: &'a BTreeSet<PublicKey>,
}

/// Says what gives a write its right, or why nothing does.
pub(crate) fn authorise(root: &Root, author: &Author<'_>, write: &Write<'_>) -> Result<Authority, Unauthorised> {
    match author.authorship {
        Authorship::Person { author: key } => {
            if !author.signers.contains(key) {
                return Err(Unauthorised::AuthorMissing { author: key.fingerprint() });
            }
            by_role(root, author.signers, write)
        }
        Authorship::Online { signer, .. } => {
            if !author.signers.contains(signer) || !root.is_online_key(signer) {
                return Err(Unauthorised::NotOnline { signer: signer.fingerprint() });
            }
            by_online_key(root, write)
        }
    }
}

fn by_online_key(root: &Root, write: &Write<'_>) -> Result<Authority, Unauthorised> {
    if root.is_left_to_online_keys(&write.key.kind) {
        return Ok(Authority::Online);
    }
    let first_put = write.op == Op::Put && write.sequence == 1;
    match write.object {
        Some(object) if first_put && enrolment::is_enrolled_machine(object) => {
            let verified = enrolment::verify_enrolment(root, object, write.admitted);
            verified.map(|()| Authority::Delegation).map_err(|error: EnrolmentError| Unauthorised::Enrolment(error.to_string()))
        }
        _ => Err(Unauthorised::OwnersKind { kind: write.key.kind.to_string(), roles: covering(root, write) }),
    }
}

/// Says which role gives a write its right.
pub(crate) fn by_role(root: &Root, signers: &BTreeSet<PublicKey>, write: &Write<'_>) -> Result<Authority, Unauthorised> {
    let mut too_few = None;
    for role in root.roles.iter().filter(|role| role.covers(write)) {
        let found = role.keys.iter().filter(|key| signers.contains(*key)).count();
        if found >= role.threshold as usize {
            return Ok(Authority::Role { name: role.name.clone(), fact_labels: role.fact_labels });
        }
        if found > 0 && too_few.is_none() {
            too_few = Some(Unauthorised::TooFew { role: role.name.clone(), found, needed: role.threshold });
        }
    }
    Err(too_few.unwrap_or_else(|| {
        let signers = signers.iter().map(PublicKey::fingerprint).collect::<Vec<_>>().join(", ");
        Unauthorised::NoRole { signers, roles: covering(root, write) }
    }))
}

/// How many keys of a role have signed, and how many must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatures {
    /// The role.
    pub role: String,
    /// How many of its keys have signed.
    pub had: u32,
    /// How many must.
    pub needed: u32,
}

impl Signatures {
    /// Whether they are enough.
    pub fn suffice(&self) -> bool {
        self.had >= self.needed
    }
}

impl fmt::Display for Signatures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} of {}", self.role, self.had, self.needed)
    }
}

/// The signatures of the role that lacks the fewest for a write. An error where no role covers it.
pub(crate) fn missing(root: &Root, signers: &BTreeSet<PublicKey>, write: &Write<'_>) -> Result<Signatures, Unauthorised> {
    let of = |role: &Role| {
        let had = role.keys.iter().filter(|key| signers.contains(*key)).count();
        Signatures { role: role.name.clone(), had: u32::try_from(had).unwrap_or(u32::MAX), needed: role.threshold }
    };
    let covering_roles = root.roles.iter().filter(|role| role.covers(write)).map(of);
    covering_roles.min_by_key(|signatures| signatures.needed.saturating_sub(signatures.had)).ok_or_else(|| {
        let signers = signers.iter().map(PublicKey::fingerprint).collect::<Vec<_>>().join(", ");
        Unauthorised::NoRole { signers, roles: covering(root, write) }
    })
}

fn covering(root: &Root, write: &Write<'_>) -> String {
    let names: Vec<&str> = root.roles.iter().filter(|role| role.covers(write)).map(|role| role.name.as_str()).collect();
    if names.is_empty() {
        "a role that the trust root does not have yet".to_owned()
    } else {
        format!("the role {}", names.join(" or "))
    }
}

impl Role {
    fn covers(&self, write: &Write<'_>) -> bool {
        self.kinds.contains(&write.key.kind) && self.covers_name(write.key) && self.reaches(write)
    }

    fn covers_name(&self, key: &ObjectKey) -> bool {
        self.covers_place(Some(&key.namespace), Some(&key.name))
    }

    /// Whether it covers a namespace (empty for cluster scope; all of them, and cluster scope, for `None`) and a name (every name for
    /// `None`), whatever the kind. Which machines it reaches is another question.
    pub fn covers_place(&self, namespace: Option<&str>, name: Option<&str>) -> bool {
        let in_namespace = self.namespaces.iter().any(|covered| covered == "*" || Some(covered.as_str()) == namespace);
        let in_cluster_scope = namespace.is_none_or(str::is_empty);
        let begins = |prefix: &String| name.is_some_and(|name| name.starts_with(prefix));
        in_namespace && self.name_prefix.as_ref().is_none_or(|prefix| !in_cluster_scope || begins(prefix))
    }

    fn reaches(&self, write: &Write<'_>) -> bool {
        let Some(selector) = &self.machine_selector else { return true };
        match &write.reach {
            Reach::Elsewhere => true,
            Reach::Unknown => false,
            // Of nothing, nothing is known: a role may not bury the name of a machine that it has never reached.
            Reach::All(sets) => {
                !sets.is_empty() && sets.iter().all(|labels| selects(selector, labels, write.facts, self.fact_labels))
            }
        }
    }
}

/// Whether a selector matches a machine: its owner-signed labels, and those made of facts only where they count.
pub fn selects(selector: &Selector, signed: &Labels, facts: &Labels, fact_labels: bool) -> bool {
    let is_fact = |name: &String| name.starts_with(FACT_LABEL_PREFIX);
    let signed = signed.iter().filter(|(name, _)| !is_fact(name));
    let facts = facts.iter().filter(|(name, _)| fact_labels && is_fact(name));
    selector.matches(&signed.chain(facts).map(|(name, value)| (name.clone(), value.clone())).collect())
}
