//! Bearer tokens: who logged in and until when, authenticated with a key that only this coordinator has.
//!
//! Nothing is kept of a token, so that it outlives a restart; a key that leaves the trust root makes its tokens worthless at once,
//! because every request asks the root again.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use stead_trust::PublicKey;

/// Seconds for which a token is good.
pub const TOKEN_SECONDS: i64 = 3_600;
/// Bytes of a token: the longest RSA key there is, and the rest.
const TOKEN_BYTES_MAX: usize = 4_096;
/// Says what a token is, to people and to scanners for leaked secrets, and sets its format apart from later ones.
const PREFIX: &str = "stead1";

/// The key that tokens are authenticated with: 32 random bytes of the data directory.
#[derive(Clone)]
pub struct TokenKey([u8; 32]);

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TokenKey")
    }
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token is none of this coordinator's; log in again")]
    Foreign,
    #[error("the token was good until {0}; log in again")]
    Expired(Timestamp),
}

impl TokenKey {
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A token for a key, good until a moment.
    pub(crate) fn issue(&self, key: &PublicKey, until: Timestamp) -> String {
        let payload = format!("{} {key}", until.as_second());
        let payload = URL_SAFE_NO_PAD.encode(payload);
        let tag = self.tag(&payload).finalize().into_bytes();
        format!("{PREFIX}.{payload}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Whose a token is.
    pub(crate) fn check(&self, token: &str, now: Timestamp) -> Result<PublicKey, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Foreign);
        }
        let mut parts = token.split('.');
        let (Some(PREFIX), Some(payload), Some(tag), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(TokenError::Foreign);
        };
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| TokenError::Foreign)?;
        // `verify_slice` takes the same time wherever the first difference is.
        self.tag(payload).verify_slice(&tag).map_err(|_| TokenError::Foreign)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let payload = payload.ok_or(TokenError::Foreign)?;
        let (seconds, key) = payload.split_once(' ').ok_or(TokenError::Foreign)?;
        let until = seconds.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).ok_or(TokenError::Foreign)?;
        if until <= now {
            return Err(TokenError::Expired(until));
        }
        key.parse().map_err(|_| TokenError::Foreign)
    }

    fn tag(&self, payload: &str) -> Hmac<Sha256> {
        // HMAC itself fills a short key up to SHA-256's block with zeros (RFC 2104 section 2).
        let mut block = [0_u8; 64];
        block.iter_mut().zip(self.0).for_each(|(place, byte)| *place = byte);
        let mut tag = Hmac::<Sha256>::new((&block).into());
        tag.update(PREFIX.as_bytes());
        tag.update(b".");
        tag.update(payload.as_bytes());
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_trust::{Signer, SigningKey};

    #[test]
    fn only_its_own_unaltered_fresh_tokens_pass() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let person = SigningKey::from_seed(&[1; 32]);
        let key = TokenKey::from_bytes([7; 32]);
        let token = key.issue(person.public_key(), at(100));
        assert_eq!(key.check(&token, at(99)).as_ref(), Ok(person.public_key()));
        assert_eq!(key.check(&token, at(100)), Err(TokenError::Expired(at(100))));
        assert_eq!(TokenKey::from_bytes([8; 32]).check(&token, at(0)), Err(TokenError::Foreign));
        for index in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[index] ^= 1;
            let Ok(altered) = String::from_utf8(altered) else { continue };
            assert!(key.check(&altered, at(0)).is_err(), "{altered}");
        }
        for text in ["", "stead1..", "stead1.a.b.c", &"x".repeat(5_000)] {
            assert_eq!(key.check(text, at(0)), Err(TokenError::Foreign));
        }
    }
}
