//! What a coordinator and a machine say to each other when a record knows less than the machine: what is held, and what of it is wanted.
//!
//! The coordinator asks, and the machine only answers, so that the coordinator sets the pace, and a connection that breaks costs nothing
//! but the question at hand. Nothing here is believed: see [`crate::recover`].

use std::ops::Bound;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stead_model::{Digest, ObjectKey};

use crate::bundle::{BUNDLE_BYTES_MAX, Bundle};
use crate::machine::MachineMemory;

/// What every question and every answer begins with: the protocol and its version. A machine that does not know it answers something else.
pub const GIVE_BACK_PREFIX: &[u8] = b"stead/give-back/1\n";
/// Bytes of one answer, more or less: a machine's other words never wait long behind one on a slow link.
pub const GIVE_BACK_PART_BYTES: usize = 128 * 1024;
/// The longest answer in bytes: a part, with room for what is around it and for one long name more.
pub const GIVE_BACK_ANSWER_BYTES_MAX: usize = 160 * 1024;
/// The longest question in bytes: its names, and room for what is around them.
pub const GIVE_BACK_ASK_BYTES_MAX: usize = 64 * 1024;
/// Names of one question: with the longest names, it stays below its limit.
pub const GIVE_BACK_NAMES_MAX: usize = 64;
/// Bytes of bundles or root versions that one question brings, unless the first alone is longer.
pub const GIVEN_BACK_BYTES: usize = 1024 * 1024;
/// The most bundles or root versions that one question brings: an honest root version has more than 256 bytes. Ten million empty ones
/// would fit into as many bytes, and take a hundred times the memory.
pub const GIVEN_BACK_DOCUMENTS_MAX: usize = GIVEN_BACK_BYTES / 256;
/// The most bytes that one question may bring: those, and one bundle more.
pub const GIVEN_BACK_BYTES_MAX: usize = GIVEN_BACK_BYTES + BUNDLE_BYTES_MAX;

/// A coordinator's question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GiveBackAsk {
    /// What is held, after a name or from the first.
    Held {
        /// The last name of the answer before.
        after: Option<ObjectKey>,
    },
    /// The trust root's versions after one.
    Roots {
        /// The version that is known.
        after: u64,
        /// Bytes of the answer that have come already.
        skip: u64,
    },
    /// The bundles that these names are held by.
    Bundles {
        /// The names, at most [`GIVE_BACK_NAMES_MAX`].
        keys: Vec<ObjectKey>,
        /// Bytes of the answer that have come already.
        skip: u64,
    },
}

/// A machine's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GiveBackAnswer {
    /// What is held, by name.
    Held {
        /// The newest version of the trust root that is held.
        root_version: u64,
        /// Names, tombstones too.
        lines: Vec<HeldLine>,
        /// Whether there are more after the last of them.
        more: bool,
    },
    /// A part of what was asked for.
    Part {
        /// How many bytes all of it has.
        total: u64,
        /// The digest of all of it: parts of two different wholes do not go together.
        digest: [u8; 32],
        /// The part.
        bytes: Vec<u8>,
    },
}

/// One name that a machine holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLine {
    /// The name.
    pub key: ObjectKey,
    /// Its sequence.
    pub sequence: u64,
    /// The digest of the statement that it comes from.
    pub statement: [u8; 32],
}

/// Why bytes are no question, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum GiveBackError {
    /// They are of another protocol: the other side is older, or newer.
    #[error("the other side does not know how to give back what it holds")]
    Unknown,
    /// They are too long.
    #[error("{bytes} bytes came; at most {max} are read")]
    Length {
        /// How many came.
        bytes: usize,
        /// How many may.
        max: usize,
    },
    /// They are not well-formed.
    #[error("it cannot be read: {0}")]
    Format(#[from] postcard::Error),
    /// Something follows.
    #[error("{bytes} bytes follow it")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// More documents than one question may bring.
    #[error("{count} documents; at most {GIVEN_BACK_DOCUMENTS_MAX} are read")]
    Documents {
        /// How many.
        count: u64,
    },
    /// More names than one question may have.
    #[error("{count} names; at most {GIVE_BACK_NAMES_MAX} are answered")]
    Names {
        /// How many.
        count: usize,
    },
}

impl GiveBackAsk {
    /// The bytes of the question.
    ///
    /// # Errors
    ///
    /// [`GiveBackError`] where it has too many names.
    pub fn to_bytes(&self) -> Result<Vec<u8>, GiveBackError> {
        self.check()?;
        encode(self)
    }

    /// Reads a question.
    ///
    /// # Errors
    ///
    /// [`GiveBackError`] says what is wrong; [`GiveBackError::Unknown`] for what is no question at all.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GiveBackError> {
        let ask: Self = decode(bytes, GIVE_BACK_ASK_BYTES_MAX)?;
        ask.check()?;
        Ok(ask)
    }

    fn check(&self) -> Result<(), GiveBackError> {
        match self {
            Self::Bundles { keys, .. } if keys.len() > GIVE_BACK_NAMES_MAX => Err(GiveBackError::Names { count: keys.len() }),
            _ => Ok(()),
        }
    }

    /// What a machine answers, out of its memory.
    pub fn answer(&self, memory: &MachineMemory) -> GiveBackAnswer {
        match self {
            Self::Held { after } => held(memory, after.as_ref()),
            Self::Roots { after, skip } => {
                let versions = memory.root_rows().into_iter().filter(|row| row.version > *after);
                part(whole(versions.filter_map(|row| serde_json::to_vec(&row.root).ok())), *skip)
            }
            Self::Bundles { keys, skip } => {
                let bundle = |key| memory.bundle_of(key).and_then(|bundle| bundle.to_bytes().ok()).unwrap_or_default();
                part(whole(keys.iter().map(bundle)), *skip)
            }
        }
    }
}

impl GiveBackAnswer {
    /// The bytes of the answer.
    ///
    /// # Errors
    ///
    /// [`GiveBackError`] where it has no form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, GiveBackError> {
        encode(self)
    }

    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// [`GiveBackError`] says what is wrong; [`GiveBackError::Unknown`] for a machine that does not know the question.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GiveBackError> {
        decode(bytes, GIVE_BACK_ANSWER_BYTES_MAX)
    }
}

/// Takes apart what parts were put together to: documents in the order in which they were asked for, perhaps not all of them; empty for
/// one that is not there.
///
/// # Errors
///
/// [`GiveBackError`] says what is wrong.
pub fn given_back(whole: &[u8]) -> Result<Vec<Vec<u8>>, GiveBackError> {
    if whole.len() > GIVEN_BACK_BYTES_MAX {
        return Err(GiveBackError::Length { bytes: whole.len(), max: GIVEN_BACK_BYTES_MAX });
    }
    // A list begins with its length.
    let (count, _) = postcard::take_from_bytes::<u64>(whole)?;
    if count > GIVEN_BACK_DOCUMENTS_MAX as u64 {
        return Err(GiveBackError::Documents { count });
    }
    unpack(whole)
}

fn held(memory: &MachineMemory, after: Option<&ObjectKey>) -> GiveBackAnswer {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let (mut lines, mut bytes, mut more) = (Vec::new(), 0_usize, false);
    for (key, held) in memory.entries_from(from) {
        if bytes >= GIVE_BACK_PART_BYTES {
            more = true;
            break;
        }
        /// A sequence, a digest, and the lengths of four strings.
        const AROUND_BYTES: usize = 64;
        let name = key.kind.group().len() + key.kind.kind().len() + key.namespace.len() + key.name.len();
        bytes = bytes.saturating_add(name).saturating_add(AROUND_BYTES);
        lines.push(HeldLine { key: key.clone(), sequence: held.sequence, statement: *held.statement.as_bytes() });
    }
    GiveBackAnswer::Held { root_version: memory.roots().newest().version, lines, more }
}

/// As many documents as one question brings: the first, and what fits beside it.
fn whole(documents: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let (mut taken, mut bytes) = (Vec::new(), 0_usize);
    for document in documents.take(GIVEN_BACK_DOCUMENTS_MAX) {
        bytes = bytes.saturating_add(document.len());
        if bytes > GIVEN_BACK_BYTES && !taken.is_empty() {
            break;
        }
        taken.push(document);
    }
    // A list of byte strings always has a form; an empty answer would end the asking.
    postcard::to_stdvec(&taken).unwrap_or_default()
}

fn part(whole: Vec<u8>, skip: u64) -> GiveBackAnswer {
    let rest = usize::try_from(skip).ok().and_then(|skip| whole.get(skip..)).unwrap_or_default();
    let bytes = rest.get(..GIVE_BACK_PART_BYTES.min(rest.len())).unwrap_or_default().to_vec();
    GiveBackAnswer::Part { total: whole.len() as u64, digest: *Digest::of(&whole).as_bytes(), bytes }
}

fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, GiveBackError> {
    Ok(postcard::to_extend(message, GIVE_BACK_PREFIX.to_vec())?)
}

fn decode<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, GiveBackError> {
    let body = bytes.strip_prefix(GIVE_BACK_PREFIX).ok_or(GiveBackError::Unknown)?;
    if bytes.len() > max {
        return Err(GiveBackError::Length { bytes: bytes.len(), max });
    }
    unpack(body)
}

fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, GiveBackError> {
    let (message, rest) = postcard::take_from_bytes(bytes)?;
    if rest.is_empty() { Ok(message) } else { Err(GiveBackError::Trailing { bytes: rest.len() }) }
}

/// What a machine shows to a record that does not know it: the bundle that its own name is held by, and the root versions that lead to
/// who signed it. At most this many bytes of them, the newest ones.
pub const CREDENTIAL_ROOTS_BYTES_MAX: usize = 128 * 1024;
/// The longest bundle that is shown: a machine's own object is small.
pub const CREDENTIAL_BUNDLE_BYTES_MAX: usize = 384 * 1024;

/// A machine's own papers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Root versions, oldest first, as JSON; the last ones that there are.
    pub roots: Vec<Vec<u8>>,
    /// The bundle that the machine's own name is held by.
    pub bundle: Vec<u8>,
}

impl Credential {
    /// The papers of a machine that has been a member; none before that.
    pub fn of(memory: &MachineMemory) -> Option<Self> {
        let key = ObjectKey::new(crate::machine::machine_kind(), "", memory.machine()?);
        let bundle = memory.bundle_of(&key)?.to_bytes().ok().filter(|bytes| bytes.len() <= CREDENTIAL_BUNDLE_BYTES_MAX)?;
        let (mut roots, mut bytes) = (Vec::new(), 0_usize);
        // The first version is the fleet's id, which whoever asks has.
        for row in memory.root_rows().into_iter().skip(1).rev() {
            let Ok(document) = serde_json::to_vec(&row.root) else { break };
            bytes = bytes.saturating_add(document.len());
            if bytes > CREDENTIAL_ROOTS_BYTES_MAX {
                break;
            }
            roots.push(document);
        }
        roots.reverse();
        Some(Self { roots, bundle })
    }

    /// The bytes of the papers.
    ///
    /// # Errors
    ///
    /// [`GiveBackError`] where they have no form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, GiveBackError> {
        encode(self)
    }

    /// Reads a machine's papers.
    ///
    /// # Errors
    ///
    /// [`GiveBackError`] says what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GiveBackError> {
        /// Room for the lengths of the parts.
        const AROUND_BYTES: usize = 32 * 1024;
        decode(bytes, CREDENTIAL_ROOTS_BYTES_MAX + CREDENTIAL_BUNDLE_BYTES_MAX + AROUND_BYTES)
    }

    /// The bundle.
    ///
    /// # Errors
    ///
    /// [`crate::BundleError`] says what is wrong.
    pub fn read_bundle(&self) -> Result<Bundle, crate::BundleError> {
        Bundle::from_bytes(&self.bundle)
    }
}
