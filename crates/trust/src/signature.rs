//! SSH signatures (SSHSIG): made, read strictly, and verified.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ssh_key::{Algorithm, HashAlg, SshSig};

use crate::armor;
use crate::key::{PublicKey, PublicKeyError};
use crate::sshwire::{Reader, put_string};

/// The longest SSH signature in bytes before armor: an RSA key and signature of 4096 bits take some 1,150.
pub const SIGNATURE_BYTES_MAX: usize = 2048;

const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
/// What an authenticator adds to its signature: a byte of flags and a counter of 32 bits.
const SECURITY_KEY_TRAILER_BYTES: usize = 5;
/// Set in the flags when a person touched the authenticator (PROTOCOL.u2f).
const FLAG_USER_PRESENT: u8 = 0x01;

/// What a signature is for. A signature made for one purpose is worth nothing for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureNamespace {
    /// A Change statement.
    Change,
    /// A version of the trust root.
    Root,
    /// A delegation to enrol machines, or a machine's request under one.
    Enrol,
    /// A login.
    Login,
    /// A coordinator's receipt for an admitted Change.
    Receipt,
    /// A machine's acknowledgement.
    Ack,
    /// A request for a plan.
    Plan,
    /// A coordinator's word that somebody has logged in.
    Token,
    /// An owner's word that the owners are still there.
    Fresh,
}

impl SignatureNamespace {
    /// The namespace of the SSH signature, such as `change@stead.dev`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change@stead.dev",
            Self::Root => "root@stead.dev",
            Self::Enrol => "enrol@stead.dev",
            Self::Login => "login@stead.dev",
            Self::Receipt => "receipt@stead.dev",
            Self::Ack => "ack@stead.dev",
            Self::Plan => "plan@stead.dev",
            Self::Token => "token@stead.dev",
            Self::Fresh => "fresh@stead.dev",
        }
    }
}

impl fmt::Display for SignatureNamespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Whether a person must have touched the authenticator that made a signature; other keys are not concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserPresence {
    /// A signature without the touch is refused.
    Required,
    /// The trust root lets such signatures pass.
    NotRequired,
}

/// Why a signature is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The text is not the armor that `ssh-keygen -Y sign` writes.
    #[error("not an armored SSH signature: expected the text that `ssh-keygen -Y sign` writes")]
    Armor,
    /// The bytes are no SSH signature.
    #[error("not an SSH signature: {what} is wrong")]
    Format {
        /// The part that is wrong.
        what: &'static str,
    },
    /// The key in the signature is not trusted, whoever holds it.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
    /// Made with an algorithm that is not trusted for this key.
    #[error("a signature of {algorithm} by a key of {key_algorithm} is not trusted; sign again with a current OpenSSH")]
    Algorithm {
        /// The algorithm of the signature.
        algorithm: String,
        /// The algorithm of the key.
        key_algorithm: String,
    },
    /// Made for another purpose.
    #[error("the signature was made for {found:?}, and {expected:?} is needed; sign with `-n {expected}`")]
    Namespace {
        /// What is needed.
        expected: &'static str,
        /// What the signature is for.
        found: String,
    },
    /// It does not fit the document.
    #[error("the signature by {key} does not fit the document: one of the two was altered, or belongs elsewhere")]
    Mismatch {
        /// The fingerprint of the key.
        key: String,
    },
    /// Nobody touched the authenticator.
    #[error(
        "the signature by {key} was made without a touch of the authenticator, which the trust root requires; sign again and touch it"
    )]
    UserAbsent {
        /// The fingerprint of the key.
        key: String,
    },
    /// No signature at all, or more than are read.
    #[error("{count} signatures; expected 1 to {max}")]
    Count {
        /// How many there are.
        count: usize,
        /// How many are read.
        max: usize,
    },
}

/// An SSH signature (SSHSIG version 1). In text the armor that `ssh-keygen -Y sign` writes; in binary formats its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    blob: Vec<u8>,
    key: PublicKey,
    parsed: SshSig,
}

impl Signature {
    /// Reads the armored text.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] says what is wrong with it; whether it fits a document is for [`verify`] to say.
    pub fn from_armor(text: &str) -> Result<Self, SignatureError> {
        if text.len() > SIGNATURE_BYTES_MAX * 2 {
            return Err(SignatureError::Armor);
        }
        Self::from_blob(&armor::decode(text).ok_or(SignatureError::Armor)?)
    }

    /// Reads the bytes within the armor.
    ///
    /// # Errors
    ///
    /// As [`Signature::from_armor`].
    pub fn from_blob(blob: &[u8]) -> Result<Self, SignatureError> {
        let format = |what| SignatureError::Format { what };
        if blob.len() > SIGNATURE_BYTES_MAX {
            return Err(format("its length"));
        }
        let mut reader = Reader::new(blob);
        if reader.take(MAGIC.len()) != Some(MAGIC) || reader.uint32() != Some(VERSION) {
            return Err(format("the preamble"));
        }
        let key = read_key(reader.string().ok_or_else(|| format("the public key"))?)?;
        let namespace = reader.text().filter(|text| !text.is_empty()).ok_or_else(|| format("the namespace"))?;
        if reader.string() != Some(b"") {
            return Err(format("the reserved field"));
        }
        let hash = reader.text().and_then(|name| HashAlg::new(name).ok()).ok_or_else(|| format("the hash algorithm"))?;
        let signature = read_signature(&key, reader.string().ok_or_else(|| format("the signature"))?)?;
        if !reader.is_empty() {
            return Err(format("what follows the signature"));
        }
        let parsed =
            SshSig::new(key.as_ssh().key_data().clone(), namespace, hash, signature).map_err(|_| format("the namespace"))?;
        Ok(Self { blob: blob.to_vec(), key, parsed })
    }

    /// Wraps what a key, an agent or a device made of [`signed_data`].
    ///
    /// # Errors
    ///
    /// [`SignatureError::Algorithm`] for a signature that is not trusted of this key, such as RSA with SHA-1.
    pub fn from_raw(key: &PublicKey, namespace: SignatureNamespace, raw: &ssh_key::Signature) -> Result<Self, SignatureError> {
        let format = |what| SignatureError::Format { what };
        let mut inner = Vec::new();
        put_string(&mut inner, raw.algorithm().as_str().as_bytes());
        // An authenticator's flags and counter stand behind the string, not in it.
        let trailer_bytes = if key.is_security_key() { SECURITY_KEY_TRAILER_BYTES } else { 0 };
        let split = raw.as_bytes().len().checked_sub(trailer_bytes).ok_or_else(|| format("the signature"))?;
        let (data, trailer) = raw.as_bytes().split_at_checked(split).ok_or_else(|| format("the signature"))?;
        put_string(&mut inner, data);
        inner.extend_from_slice(trailer);

        let mut blob = MAGIC.to_vec();
        blob.extend_from_slice(&VERSION.to_be_bytes());
        put_string(&mut blob, &key.as_ssh().to_bytes().map_err(|_| format("the public key"))?);
        put_string(&mut blob, namespace.as_str().as_bytes());
        put_string(&mut blob, b"");
        put_string(&mut blob, HashAlg::Sha512.as_str().as_bytes());
        put_string(&mut blob, &inner);
        Self::from_blob(&blob)
    }

    /// The armored text.
    pub fn to_armor(&self) -> String {
        armor::encode(&self.blob)
    }

    /// The bytes within the armor.
    pub fn as_blob(&self) -> &[u8] {
        &self.blob
    }

    /// The key that the signature claims; nothing is known before [`verify`] has said so.
    pub fn claimed_key(&self) -> &PublicKey {
        &self.key
    }

    fn user_present(&self) -> bool {
        let bytes = self.parsed.signature_bytes();
        let flags = bytes.len().checked_sub(SECURITY_KEY_TRAILER_BYTES).and_then(|index| bytes.get(index));
        flags.is_some_and(|flags| flags & FLAG_USER_PRESENT != 0)
    }
}

fn read_key(blob: &[u8]) -> Result<PublicKey, SignatureError> {
    let format = || SignatureError::Format { what: "the public key" };
    let key = ssh_key::PublicKey::from_bytes(blob).map_err(|_| format())?;
    // One key has one encoding.
    if key.to_bytes().map_err(|_| format())? != blob {
        return Err(format());
    }
    Ok(PublicKey::from_ssh(&key)?)
}

fn read_signature(key: &PublicKey, blob: &[u8]) -> Result<ssh_key::Signature, SignatureError> {
    let format = || SignatureError::Format { what: "the signature" };
    let mut reader = Reader::new(blob);
    let name = reader.text().ok_or_else(format)?;
    let key_algorithm = key.as_ssh().algorithm();
    let expected = match &key_algorithm {
        Algorithm::Rsa { .. } => Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        other => other.clone(),
    };
    if name != expected.as_str() {
        let algorithm = name.chars().take(80).collect();
        return Err(SignatureError::Algorithm { algorithm, key_algorithm: key_algorithm.as_str().to_owned() });
    }
    let mut data = reader.string().ok_or_else(format)?.to_vec();
    if key.is_security_key() {
        data.extend_from_slice(reader.take(SECURITY_KEY_TRAILER_BYTES).ok_or_else(format)?);
    }
    if !reader.is_empty() {
        return Err(format());
    }
    ssh_key::Signature::new(expected, data).map_err(|_| format())
}

/// The bytes that a key, an agent or a device signs for a document: PROTOCOL.sshsig's, with SHA-512.
pub fn signed_data(namespace: SignatureNamespace, document: &[u8]) -> Vec<u8> {
    let mut data = MAGIC.to_vec();
    put_string(&mut data, namespace.as_str().as_bytes());
    put_string(&mut data, b"");
    put_string(&mut data, HashAlg::Sha512.as_str().as_bytes());
    put_string(&mut data, &HashAlg::Sha512.digest(document));
    data
}

/// Verifies a signature over a document, and says whose it is. A touch is required of authenticators.
///
/// # Errors
///
/// [`SignatureError`] says why the signature is worth nothing.
pub fn verify(namespace: SignatureNamespace, document: &[u8], signature: &Signature) -> Result<PublicKey, SignatureError> {
    verify_with(namespace, document, signature, UserPresence::Required)
}

/// As [`verify`], with what the trust root says of authenticators.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_with(
    namespace: SignatureNamespace,
    document: &[u8],
    signature: &Signature,
    presence: UserPresence,
) -> Result<PublicKey, SignatureError> {
    let made = verify_fit(namespace, document, signature)?;
    if presence == UserPresence::Required && !made.by_a_person {
        return Err(SignatureError::UserAbsent { key: made.key.fingerprint() });
    }
    Ok(made.key)
}

/// Whose a signature that fits its document is.
pub(crate) struct Made {
    /// The key.
    pub(crate) key: PublicKey,
    /// False for an authenticator that nobody touched.
    pub(crate) by_a_person: bool,
}

/// Verifies that a signature fits a document.
pub(crate) fn verify_fit(namespace: SignatureNamespace, document: &[u8], signature: &Signature) -> Result<Made, SignatureError> {
    let key = &signature.key;
    let expected = namespace.as_str();
    if signature.parsed.namespace() != expected {
        let found = signature.parsed.namespace().chars().take(80).collect();
        return Err(SignatureError::Namespace { expected, found });
    }
    let mismatch = |_| SignatureError::Mismatch { key: key.fingerprint() };
    key.as_ssh().verify(expected, document, &signature.parsed).map_err(mismatch)?;
    Ok(Made { key: key.clone(), by_a_person: !key.is_security_key() || signature.user_present() })
}

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Signature({} by {})", self.parsed.namespace(), self.key.fingerprint())
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.serialize_str(&self.to_armor()) } else { self.blob.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let signature = if deserializer.is_human_readable() {
            Self::from_armor(&String::deserialize(deserializer)?)
        } else {
            Self::from_blob(&Vec::<u8>::deserialize(deserializer)?)
        };
        signature.map_err(serde::de::Error::custom)
    }
}
