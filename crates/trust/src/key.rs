//! Public keys: which algorithms are trusted, and how a key is written.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ssh_key::public::{Ed25519PublicKey, KeyData, RsaPublicKey};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg};

/// The shortest RSA modulus that is trusted, in bits.
pub const RSA_BITS_MIN: usize = 3072;
/// The longest RSA modulus that is read, in bits: longer ones make a verifier slow and no signature safer.
pub const RSA_BITS_MAX: usize = 4096;
/// The longest text of a public key in bytes; RSA of 4096 bits takes some 720, and a comment may follow.
pub const PUBLIC_KEY_BYTES_MAX: usize = 2048;

/// An OpenSSH public key without its comment, in text `ssh-ed25519 AAAA…`. Cheap to clone.
///
/// Only keys of a trusted algorithm can be held: ed25519, ecdsa-p256, the `sk-` forms of both, RSA of 3072 to 4096 bits.
#[derive(Clone)]
pub struct PublicKey {
    inner: Arc<Inner>,
}

struct Inner {
    text: String,
    key: ssh_key::PublicKey,
}

/// Why a public key is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// The text is no OpenSSH public key.
    #[error("{text:?} is no OpenSSH public key: expected `ALGORITHM BASE64`, as in a .pub file")]
    Format {
        /// The text, shortened.
        text: String,
    },
    /// The algorithm is not trusted.
    #[error("keys of {algorithm} are not trusted; use ed25519, ecdsa of nistp256, the `sk-` form of either, or RSA")]
    Algorithm {
        /// The algorithm.
        algorithm: String,
    },
    /// The RSA modulus is too short or too long.
    #[error("an RSA key of {bits} bits is not trusted; use one of {RSA_BITS_MIN} to {RSA_BITS_MAX} bits")]
    RsaBits {
        /// Its length.
        bits: usize,
    },
    /// The text is not the key's one spelling.
    #[error("{text:?} is not how this key is written in a signed document; expected {expected:?}, without a comment")]
    Spelling {
        /// The text, shortened.
        text: String,
        /// How the key is written.
        expected: String,
    },
    /// Not an ed25519 key.
    #[error("{key} cannot be a machine's key; a machine is an ed25519 key")]
    NotEd25519 {
        /// The key.
        key: String,
    },
}

impl PublicKey {
    /// A key that was read by `ssh_key`; its comment is dropped.
    ///
    /// # Errors
    ///
    /// [`PublicKeyError::Algorithm`] and [`PublicKeyError::RsaBits`] for a key that is not trusted.
    pub fn from_ssh(key: &ssh_key::PublicKey) -> Result<Self, PublicKeyError> {
        Self::from_key_data(key.key_data().clone())
    }

    /// A key from its parts.
    ///
    /// # Errors
    ///
    /// As [`PublicKey::from_ssh`].
    pub fn from_key_data(data: KeyData) -> Result<Self, PublicKeyError> {
        check_algorithm(&data)?;
        let key = ssh_key::PublicKey::new(data, "");
        let text = key.to_openssh().map_err(|_| PublicKeyError::Format { text: String::new() })?;
        Ok(Self { inner: Arc::new(Inner { text, key }) })
    }

    /// The text without a comment, as in a signed document.
    pub fn as_str(&self) -> &str {
        &self.inner.text
    }

    /// `SHA256:…`, as OpenSSH shows keys to people.
    pub fn fingerprint(&self) -> String {
        self.inner.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The key as `ssh_key` has it, for those who speak with an agent or a device.
    pub fn as_ssh(&self) -> &ssh_key::PublicKey {
        &self.inner.key
    }

    /// Whether the secret lives in a FIDO authenticator.
    pub fn is_security_key(&self) -> bool {
        matches!(self.inner.key.algorithm(), Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256)
    }
}

fn check_algorithm(data: &KeyData) -> Result<(), PublicKeyError> {
    match data.algorithm() {
        Algorithm::Ed25519
        | Algorithm::SkEd25519
        | Algorithm::SkEcdsaSha2NistP256
        | Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 } => Ok(()),
        Algorithm::Rsa { .. } => {
            let bits = data.rsa().map_or(0, rsa_bits);
            if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) { Ok(()) } else { Err(PublicKeyError::RsaBits { bits }) }
        }
        other => Err(PublicKeyError::Algorithm { algorithm: other.to_string() }),
    }
}

fn rsa_bits(key: &RsaPublicKey) -> usize {
    let Some((first, rest)) = key.n.as_positive_bytes().and_then(<[u8]>::split_first) else { return 0 };
    let leading_zeros = first.leading_zeros() as usize;
    (rest.len() + 1) * 8 - leading_zeros
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Reads a line of a `.pub` file; a comment is dropped.
impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let format = || PublicKeyError::Format { text: shortened(text) };
        if text.len() > PUBLIC_KEY_BYTES_MAX {
            return Err(format());
        }
        let key = ssh_key::PublicKey::from_openssh(text.trim()).map_err(|_| format())?;
        Self::from_ssh(&key)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.inner.text)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.inner.text)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.inner.text == other.inner.text
    }
}

impl Eq for PublicKey {}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.inner.text.cmp(&other.inner.text)
    }
}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.text.hash(state);
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.inner.text)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let key: Self = text.parse().map_err(serde::de::Error::custom)?;
        if key.as_str() == text {
            Ok(key)
        } else {
            let error = PublicKeyError::Spelling { text: shortened(&text), expected: key.as_str().to_owned() };
            Err(serde::de::Error::custom(error))
        }
    }
}

/// A machine: its 32-byte ed25519 public key, in text 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineKey([u8; 32]);

/// Why a text is no machine key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no machine key: expected 64 lower-case hexadecimal digits")]
pub struct MachineKeyError {
    text: String,
}

impl MachineKey {
    /// A key from its 32 bytes, such as a connection's identity.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The same key as OpenSSH writes it.
    pub fn to_public_key(&self) -> PublicKey {
        let key = ssh_key::PublicKey::new(KeyData::Ed25519(Ed25519PublicKey(self.0)), "");
        // An ed25519 key always has a text; were it not so, the empty one equals no key that was ever read.
        let text = key.to_openssh().unwrap_or_default();
        PublicKey { inner: Arc::new(Inner { text, key }) }
    }
}

impl From<MachineKey> for PublicKey {
    fn from(key: MachineKey) -> Self {
        key.to_public_key()
    }
}

impl TryFrom<&PublicKey> for MachineKey {
    type Error = PublicKeyError;

    fn try_from(key: &PublicKey) -> Result<Self, PublicKeyError> {
        match key.as_ssh().key_data().ed25519() {
            Some(ed25519) => Ok(Self(ed25519.0)),
            None => Err(PublicKeyError::NotEd25519 { key: key.as_str().to_owned() }),
        }
    }
}

impl FromStr for MachineKey {
    type Err = MachineKeyError;

    fn from_str(text: &str) -> Result<Self, MachineKeyError> {
        let error = || MachineKeyError { text: shortened(text) };
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(error());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| error())?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for MachineKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for MachineKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for MachineKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MachineKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    #[test]
    fn text_and_back() {
        let key: PublicKey = format!("{ED25519} someone@somewhere\n").parse().unwrap();
        assert_eq!(key.as_str(), ED25519);
        assert_eq!(serde_json::to_string(&key).unwrap(), format!("{ED25519:?}"));
        assert!(key.fingerprint().starts_with("SHA256:"));
        assert_eq!(serde_json::from_str::<PublicKey>(&format!("{ED25519:?}")).unwrap(), key);
        assert!(serde_json::from_str::<PublicKey>(&format!("\"{ED25519} comment\"")).is_err());
    }

    #[test]
    fn a_machine_key_is_an_ed25519_key() {
        let key: PublicKey = ED25519.parse().unwrap();
        let machine = MachineKey::try_from(&key).unwrap();
        assert_eq!(machine.to_public_key(), key);
        assert_eq!(machine.to_string().parse::<MachineKey>().unwrap(), machine);
        assert!(machine.to_string().to_uppercase().parse::<MachineKey>().is_err());
        assert!("00".parse::<MachineKey>().is_err());
    }

    #[test]
    fn refuses_what_is_not_trusted() {
        for text in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBBbQGh6Xbpw4MlwdPTISXuRtjkvzHeRGwvQdnWRGKtUNr6LKbyTkGTuvlaZFBJqHGzjTNQjOZVgVyzcoCbKIgBFnJzEXIPmVGDsLpDPrqpYAgRi5LUrBBX8cMwNfJvFkOA==",
        ] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
    }
}
