//! The chain of root versions, from the one whose digest is the fleet's id to the newest.

use std::collections::BTreeSet;

use stead_model::Digest;

use super::{KeySet, Root, SignedRoot};
use crate::document::{self, DocumentError, Signers};
use crate::key::PublicKey;
use crate::signature::{SignatureError, SignatureNamespace};

/// The most versions of a chain: a rotation a day for years.
pub const ROOT_VERSIONS_MAX: usize = 4096;

/// A verified chain of root versions. It is never empty, and only ever grows.
#[derive(Clone, Debug)]
pub struct RootChain {
    fleet: Digest,
    signed: Vec<SignedRoot>,
    newest: Root,
    newest_digest: Digest,
}

/// Why a root, or a chain of them, is refused.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// No version at all, or more than are read.
    #[error("{count} versions of the trust root; expected 1 to {ROOT_VERSIONS_MAX}")]
    Count {
        /// How many there are.
        count: usize,
    },
    /// Version 1 is another fleet's.
    #[error(
        "the trust root belongs to the fleet {found}, not to {expected}; ask who gave you the fleet id, and join with a ticket of the right fleet"
    )]
    Fleet {
        /// The fleet that was meant.
        expected: Digest,
        /// Whose root it is.
        found: Digest,
    },
    /// A signature does not verify.
    #[error("version {version} of the trust root: {source}")]
    Signature {
        /// The version that was expected.
        version: u64,
        /// What is wrong.
        source: SignatureError,
    },
    /// The document is not well-formed.
    #[error("version {version} of the trust root: {source}")]
    Document {
        /// The version that was expected.
        version: u64,
        /// What is wrong.
        source: DocumentError,
    },
    /// It does not follow the newest version.
    #[error("version {found} of the trust root does not follow version {newest}; the next one is {expected}")]
    Version {
        /// The newest version that is held.
        newest: u64,
        /// What would follow it.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// It names another predecessor.
    #[error(
        "version {version} of the trust root follows {found:?}, not the version before that is held ({expected}): somebody made two chains"
    )]
    Previous {
        /// The version.
        version: u64,
        /// The digest of the version before.
        expected: Digest,
        /// The digest that it names.
        found: Option<Digest>,
    },
    /// Too few signatures.
    #[error(
        "version {version} of the trust root has {found} of the {needed} signatures that the owners of version {of_version} must make; collect the others with `stead trust rotate`"
    )]
    Threshold {
        /// The version.
        version: u64,
        /// Whose owners are missing.
        of_version: u64,
        /// How many of their keys signed.
        found: usize,
        /// How many are needed.
        needed: u32,
    },
    /// Two documents, both signed, with one version.
    #[error(
        "ALARM: two different documents are signed as version {version} of the trust root ({held} is held, {other} came); an owner's key is in wrong hands, or two owners made a version at once"
    )]
    TwoDocuments {
        /// The version.
        version: u64,
        /// The digest of the one that is held.
        held: Digest,
        /// The digest of the other.
        other: Digest,
    },
    /// The chain ends before the version that was promised.
    #[error(
        "the chain of trust roots ends at version {newest}, and version {needed} is known to exist; whoever serves it holds back the newer ones"
    )]
    TooShort {
        /// Where it ends.
        newest: u64,
        /// Where it should end, at least.
        needed: u64,
    },
}

impl RootChain {
    /// Verifies a chain from version 1, whose digest must be the fleet's id.
    ///
    /// # Errors
    ///
    /// [`RootError`] says which version is wrong, and how.
    pub fn verify(fleet: &Digest, versions: &[SignedRoot]) -> Result<Self, RootError> {
        let (first, rest) = versions.split_first().ok_or(RootError::Count { count: 0 })?;
        if versions.len() > ROOT_VERSIONS_MAX {
            return Err(RootError::Count { count: versions.len() });
        }
        let found = first.digest();
        if found != *fleet {
            return Err(RootError::Fleet { expected: *fleet, found });
        }
        let mut chain = Self::start(first)?;
        for signed in rest {
            chain.push(signed)?;
        }
        Ok(chain)
    }

    /// As [`RootChain::verify`], for a chain that is known to reach a version.
    ///
    /// # Errors
    ///
    /// [`RootError::TooShort`] where it does not.
    pub fn verify_up_to(fleet: &Digest, versions: &[SignedRoot], needed: u64) -> Result<Self, RootError> {
        let chain = Self::verify(fleet, versions)?;
        let newest = chain.newest.version;
        if newest < needed { Err(RootError::TooShort { newest, needed }) } else { Ok(chain) }
    }

    fn start(first: &SignedRoot) -> Result<Self, RootError> {
        // Only a digest that the caller trusts leads here, so the document may say itself whether a touch is needed.
        let document = |source| RootError::Document { version: 1, source };
        let root: Root = document::read(&first.document).map_err(document)?;
        if root.version != 1 {
            return Err(RootError::Version { newest: 0, expected: 1, found: root.version });
        }
        check_threshold(&root.owners, &signers(first, 1)?.keys(root.user_presence()), 1, 1)?;
        let fleet = first.digest();
        Ok(Self { fleet, signed: vec![first.clone()], newest: root, newest_digest: fleet })
    }

    /// The chain with a new version at its end. A version that is held already changes nothing.
    ///
    /// # Errors
    ///
    /// [`RootError`] says why it cannot follow; [`RootError::TwoDocuments`] is the alarm.
    pub fn extend(&self, signed: &SignedRoot) -> Result<Self, RootError> {
        let mut chain = self.clone();
        chain.push(signed)?;
        Ok(chain)
    }

    fn push(&mut self, signed: &SignedRoot) -> Result<(), RootError> {
        if self.signed.iter().any(|held| held.document == signed.document) {
            return Ok(());
        }
        let (newest, expected) = (self.newest.version, self.newest.version.saturating_add(1));
        if self.signed.len() >= ROOT_VERSIONS_MAX {
            return Err(RootError::Count { count: self.signed.len() + 1 });
        }
        // Hash first, parse after.
        let signers = signers(signed, expected)?;
        let document = |source| RootError::Document { version: expected, source };
        let root: Root = document::read(&signed.document).map_err(document)?;
        if root.version != expected {
            return Err(self.other_version(signed, &root, &signers.keys(self.newest.user_presence())));
        }
        if root.fleet != Some(self.fleet) {
            return Err(RootError::Fleet { expected: self.fleet, found: root.fleet.unwrap_or_else(|| signed.digest()) });
        }
        if root.previous != Some(self.newest_digest) {
            return Err(RootError::Previous { version: expected, expected: self.newest_digest, found: root.previous });
        }
        check_threshold(&self.newest.owners, &signers.keys(self.newest.user_presence()), expected, newest)?;
        check_threshold(&root.owners, &signers.keys(root.user_presence()), expected, expected)?;
        self.newest_digest = signed.digest();
        self.signed.push(signed.clone());
        self.newest = root;
        Ok(())
    }

    /// What is wrong with a version that is not the next one: an alarm, if it was really signed.
    fn other_version(&self, signed: &SignedRoot, root: &Root, signers: &BTreeSet<PublicKey>) -> RootError {
        let (newest, found) = (self.newest.version, root.version);
        let signed_by = |owners: &KeySet| check_threshold(owners, signers, found, found).is_ok();
        let held = self.version(found);
        let before = found.checked_sub(1).and_then(|version| self.owners_of(version));
        if let (Some(held), Some(before)) = (held, before)
            && signed_by(&before)
            && signed_by(&root.owners)
        {
            return RootError::TwoDocuments { version: found, held: held.digest(), other: signed.digest() };
        }
        RootError::Version { newest, expected: newest.saturating_add(1), found }
    }

    fn version(&self, version: u64) -> Option<&SignedRoot> {
        self.signed.get(usize::try_from(version.checked_sub(1)?).ok()?)
    }

    fn owners_of(&self, version: u64) -> Option<KeySet> {
        document::read::<Root>(&self.version(version)?.document).ok().map(|root| root.owners)
    }

    /// Whether a key is, or was in some version, a coordinator's.
    pub(crate) fn was_online_key(&self, key: &PublicKey) -> bool {
        let in_version = |signed: &SignedRoot| document::read::<Root>(&signed.document).is_ok_and(|root| root.is_online_key(key));
        self.newest.is_online_key(key) || self.signed.iter().rev().any(in_version)
    }

    /// The fleet's id: the digest of version 1.
    pub fn fleet(&self) -> &Digest {
        &self.fleet
    }

    /// The newest version, which is the one that counts.
    pub fn newest(&self) -> &Root {
        &self.newest
    }

    /// The digest of the newest version.
    pub fn newest_digest(&self) -> &Digest {
        &self.newest_digest
    }

    /// Every version as it was signed, from the first.
    pub fn signed(&self) -> &[SignedRoot] {
        &self.signed
    }
}

fn signers(signed: &SignedRoot, version: u64) -> Result<Signers, RootError> {
    let signers = Signers::verify(SignatureNamespace::Root, &signed.document, &signed.signatures);
    signers.map_err(|source| RootError::Signature { version, source })
}

fn check_threshold(owners: &KeySet, signers: &BTreeSet<PublicKey>, version: u64, of_version: u64) -> Result<(), RootError> {
    let found = owners.keys.iter().filter(|key| signers.contains(*key)).count();
    if found < owners.threshold as usize {
        return Err(RootError::Threshold { version, of_version, found, needed: owners.threshold });
    }
    Ok(())
}
