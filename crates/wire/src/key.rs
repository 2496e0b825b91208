//! The name of a peer: its ed25519 public key, as the connection proved it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Bytes of an ed25519 public key.
pub const PEER_KEY_BYTES: usize = 32;

/// The ed25519 public key that a peer proved it holds when the connection was made.
///
/// It is the only identity that this crate knows; no message carries one. `Display` and `FromStr` are 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerKey(pub [u8; PEER_KEY_BYTES]);

impl PeerKey {
    /// The key's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; PEER_KEY_BYTES] {
        &self.0
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PeerKey({self})")
    }
}

/// A text that is no peer key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{text}\" is not a peer key: write its 32 bytes as 64 hex digits")]
pub struct PeerKeyError {
    text: String,
}

impl FromStr for PeerKey {
    type Err = PeerKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; PEER_KEY_BYTES];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| PeerKeyError { text: text.chars().take(PEER_KEY_BYTES * 2).collect() })?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_both_ways_and_bad_text_is_named() {
        let key = PeerKey([0xa5; 32]);
        assert_eq!(key.to_string().parse(), Ok(key));
        for bad in ["", "a5", "zz", &"a5".repeat(33)] {
            let error = bad.parse::<PeerKey>().unwrap_err();
            assert!(error.to_string().contains("64 hex digits"), "{error}");
        }
    }
}
