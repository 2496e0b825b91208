//! Whom a relay that runs alone admits. Coordinators say it, each in a signed roll; the owners' trust root says who is a coordinator.
//!
//! The relay is told one thing, the fleet's id. From whoever sends it, it takes the chain of trust roots that begins there, and then
//! rolls signed by a key that the newest root names. Both are kept: after a restart, and while no coordinator is there, it goes on with
//! what it has. It never goes back, neither in the roots nor in the rolls' sequence, so that what a passer-by recorded of the plain
//! HTTP brings no member back that was struck off.

use std::{
    collections::{BTreeSet, HashSet},
    io,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use serde::{Deserialize, Serialize};
use stead_model::Digest;
use stead_trust::{MachineKey, Roll, RollError, RootChain, RootError, SignedRoll, SignedRoot};

use crate::{PEER_KEY_BYTES, PeerKey, hub::SESSIONS_MAX, relay_token_mark};

/// Members of one roll: as many as a coordinator has sessions.
pub const ROLL_MEMBERS_MAX: usize = SESSIONS_MAX;

/// Bytes of one roll's members.
pub(super) const MEMBERS_BYTES_MAX: usize = ROLL_MEMBERS_MAX * PEER_KEY_BYTES;

/// Bytes of trust roots in one request: hundreds of versions, and those that are new only are sent.
pub(super) const ROOTS_BYTES_MAX: usize = 4 << 20;

/// Keeps what a relay must know after a restart, whole or not at all.
pub type KeepRoll = Box<dyn Fn(&[u8]) -> io::Result<()> + Send + Sync>;

/// How far a relay that runs alone is: what it answers to whoever asks, all of it public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelayStanding {
    /// The fleet that it serves.
    pub fleet: Digest,
    /// The newest version of the trust root that it has; 0 for none.
    pub root_version: u64,
    /// The sequence of its roll; 0 for none.
    pub sequence: u64,
    /// The incarnation of the record that it is of; empty for none.
    #[serde(default)]
    pub record: String,
    /// The record's revision that it is of.
    #[serde(default)]
    pub revision: u64,
    /// The digest of the members' keys in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Digest>,
    /// How many they are.
    pub count: u64,
    /// What the relay tokens of good tickets are known by: nobody gets in with it.
    pub marks: Vec<String>,
    /// Connections that were let in and are open.
    #[serde(default)]
    pub established: usize,
    /// Connections that were turned away or cut off since it started.
    #[serde(default)]
    pub refused: u64,
}

/// Why a relay takes no roll, or no roots.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// What was sent is not what is expected.
    #[error("it cannot be read: {0}")]
    Format(String),
    /// The roots do not follow.
    #[error(transparent)]
    Roots(#[from] RootError),
    /// The roll does not hold.
    #[error(transparent)]
    Roll(#[from] RollError),
    /// The relay knows no trust root.
    #[error("this relay has no trust root yet; send it first")]
    NoRoot,
    /// The key that signed is no coordinator's.
    #[error("the key {key} is no coordinator's by version {version} of the trust root")]
    NotCoordinator {
        /// Its fingerprint.
        key: String,
        /// The newest version here.
        version: u64,
    },
    /// A newer roll is there already.
    #[error("the roll has the sequence {sequence}, and {held} is here already")]
    Old {
        /// Its sequence.
        sequence: u64,
        /// That of the roll here.
        held: u64,
    },
    /// The members are not those that were signed.
    #[error("the members' keys are not those of the roll")]
    OtherMembers,
    /// It could not be kept.
    #[error("it cannot be kept: {0}")]
    Keep(#[from] io::Error),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct KeptRoll {
    signed: SignedRoll,
    members: Vec<u8>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    roots: Vec<SignedRoot>,
    roll: Option<KeptRoll>,
}

#[derive(Default)]
struct Held {
    chain: Option<RootChain>,
    roll: Option<HeldRoll>,
}

struct HeldRoll {
    roll: Roll,
    kept: KeptRoll,
    members: HashSet<PeerKey>,
    marks: BTreeSet<String>,
}

/// The roll that a relay has.
pub struct RollKeeper {
    fleet: Digest,
    held: RwLock<Held>,
    keep: KeepRoll,
    /// Held while something is taken, which is written to disk: one after the other.
    taking: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for RollKeeper {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RollKeeper").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

impl RollKeeper {
    /// For a fleet, with what was kept before. Everything kept is verified again.
    ///
    /// # Errors
    ///
    /// [`TakeError`] where what was kept does not hold, or is another fleet's.
    pub fn open(fleet: Digest, kept: Option<&[u8]>, keep: KeepRoll) -> Result<Self, TakeError> {
        let kept: Kept = match kept {
            Some(bytes) => postcard::from_bytes(bytes).map_err(|error| TakeError::Format(error.to_string()))?,
            None => Kept::default(),
        };
        let mut held = Held::default();
        if !kept.roots.is_empty() {
            held.chain = Some(RootChain::verify(&fleet, &kept.roots)?);
        }
        if let Some(roll) = kept.roll {
            let signed = roll.signed.verify(&fleet)?;
            held.roll = Some(HeldRoll::read(signed, roll)?);
        }
        Ok(Self { fleet, held: RwLock::new(held), keep, taking: tokio::sync::Mutex::default() })
    }

    /// Whether somebody may use the relay: a coordinator, a member, or who shows the token of a good ticket.
    pub fn admits(&self, peer: &PeerKey, token: Option<&str>) -> bool {
        self.admits_marked(peer, token.map(relay_token_mark).as_deref())
    }

    /// The same for who showed a token known by this mark.
    pub(super) fn admits_marked(&self, peer: &PeerKey, mark: Option<&str>) -> bool {
        let held = self.held();
        let key = MachineKey::from_bytes(*peer.as_bytes()).to_public_key();
        if held.chain.as_ref().is_some_and(|chain| chain.newest().is_online_key(&key)) {
            return true;
        }
        let Some(roll) = &held.roll else { return false };
        roll.members.contains(peer) || mark.is_some_and(|mark| roll.marks.contains(mark))
    }

    /// How far it is.
    pub fn standing(&self) -> RelayStanding {
        let held = self.held();
        let roll = held.roll.as_ref().map(|held| &held.roll);
        RelayStanding {
            fleet: self.fleet,
            root_version: held.chain.as_ref().map_or(0, |chain| chain.newest().version),
            sequence: roll.map_or(0, |roll| roll.sequence),
            record: roll.map(|roll| roll.record.clone()).unwrap_or_default(),
            revision: roll.map_or(0, |roll| roll.revision),
            members: roll.map(|roll| roll.members),
            count: roll.map_or(0, |roll| roll.count),
            marks: roll.map(|roll| roll.marks.clone()).unwrap_or_default(),
            established: 0,
            refused: 0,
        }
    }

    /// Takes versions of the trust root: the whole chain, or those that follow. What is here already is passed over.
    pub(super) async fn take_roots(&self, body: &[u8]) -> Result<(), TakeError> {
        let roots: Vec<SignedRoot> = serde_json::from_slice(body).map_err(|error| TakeError::Format(error.to_string()))?;
        let _alone = self.taking.lock().await;
        let present = self.held().chain.clone();
        let chain = match present {
            None => RootChain::verify(&self.fleet, &roots)?,
            Some(chain) => {
                let known: HashSet<Vec<u8>> = chain.signed().iter().map(|signed| signed.document.clone()).collect();
                let new: Vec<&SignedRoot> = roots.iter().filter(|root| !known.contains(&root.document)).collect();
                if new.is_empty() {
                    // Roots are public: whoever repeats them must not make this relay write.
                    return Ok(());
                }
                new.into_iter().try_fold(chain, |chain, root| chain.extend(root))?
            }
        };
        let roll = self.held().roll.as_ref().map(|held| held.kept.clone());
        self.write(&Kept { roots: chain.signed().to_vec(), roll })?;
        tracing::info!(version = chain.newest().version, "the trust root is known");
        self.held.write().unwrap_or_else(PoisonError::into_inner).chain = Some(chain);
        Ok(())
    }

    /// Looks at a roll before its members are read: whether it is a coordinator's word, and newer than what is here.
    pub(super) fn look(&self, signed: &SignedRoll) -> Result<Roll, TakeError> {
        let roll = signed.verify(&self.fleet)?;
        let held = self.held();
        let chain = held.chain.as_ref().ok_or(TakeError::NoRoot)?;
        if !chain.newest().is_online_key(&roll.coordinator) {
            let key = roll.coordinator.fingerprint();
            return Err(TakeError::NotCoordinator { key, version: chain.newest().version });
        }
        // What a key signed that counts no more binds nobody: it may have signed any number.
        let before = held.roll.as_ref().map(|held| &held.roll).filter(|held| chain.newest().is_online_key(&held.coordinator));
        match before {
            Some(before) if roll.sequence <= before.sequence => {
                Err(TakeError::Old { sequence: roll.sequence, held: before.sequence })
            }
            _ => Ok(roll),
        }
    }

    /// Takes a roll and its members.
    pub(super) async fn take_roll(&self, signed: SignedRoll, members: Vec<u8>) -> Result<(), TakeError> {
        let _alone = self.taking.lock().await;
        let roll = self.look(&signed)?;
        let taken = HeldRoll::read(roll, KeptRoll { signed, members })?;
        let roots = self.held().chain.as_ref().map(|chain| chain.signed().to_vec()).unwrap_or_default();
        self.write(&Kept { roots, roll: Some(taken.kept.clone()) })?;
        tracing::info!(sequence = taken.roll.sequence, members = taken.roll.count, coordinator = %taken.roll.coordinator.fingerprint(), "a new roll");
        self.held.write().unwrap_or_else(PoisonError::into_inner).roll = Some(taken);
        Ok(())
    }

    fn write(&self, kept: &Kept) -> Result<(), TakeError> {
        let bytes = postcard::to_allocvec(kept).map_err(|error| TakeError::Format(error.to_string()))?;
        Ok((self.keep)(&bytes)?)
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        // Nothing in it is left half done by a panic.
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldRoll {
    fn read(roll: Roll, kept: KeptRoll) -> Result<Self, TakeError> {
        let keys = kept.members.chunks_exact(PEER_KEY_BYTES);
        let whole = keys.remainder().is_empty() && kept.members.len() <= MEMBERS_BYTES_MAX;
        if !whole || Digest::of(&kept.members) != roll.members {
            return Err(TakeError::OtherMembers);
        }
        let members = keys.filter_map(|key| key.try_into().ok().map(PeerKey)).collect();
        let marks = roll.marks.iter().cloned().collect();
        Ok(Self { roll, kept, members, marks })
    }
}

/// The members' keys as a roll has them: ascending, each once.
pub fn roll_members(keys: impl IntoIterator<Item = PeerKey>) -> Vec<u8> {
    let keys: BTreeSet<PeerKey> = keys.into_iter().collect();
    keys.iter().take(ROLL_MEMBERS_MAX).flat_map(|key| *key.as_bytes()).collect()
}

#[cfg(test)]
mod tests;
