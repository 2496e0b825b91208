//! Bearer tokens: who logged in and until when, signed by the coordinator that was logged in to, and taken by every coordinator of
//! the fleet.
//!
//! Nothing is kept of a token but a bounded memory of those that were checked, so that it outlives a restart; a key that leaves the
//! trust root, a person's or a coordinator's, makes its tokens worthless at once, because every request asks the root again.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use stead_model::Digest;
use stead_trust::{PublicKey, Signature, SignedToken, TokenError};

/// Seconds for which a token is good.
pub const TOKEN_SECONDS: i64 = 3_600;
/// Characters of a token: two of the longest RSA keys there are, a signature, and the rest.
const TOKEN_CHARACTERS_MAX: usize = 16 * 1024;
/// Says what a token is, to people and to scanners for leaked secrets, and sets its format apart from other ones.
const PREFIX: &str = "stead2";
/// Tokens whose signature need not be looked at again; checking one costs about as much as serving a small object.
const CHECKED_MAX: usize = 1_024;

/// Why a token is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the token is no token of a coordinator's; log in again")]
    Malformed,
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// A token, as it is sent.
pub(crate) fn encode(token: &SignedToken) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!("{PREFIX}.{}.{}", part(&token.document), part(token.signature.as_blob()))
}

fn decode(text: &str) -> Option<SignedToken> {
    let mut parts = text.split('.');
    let (Some(PREFIX), Some(document), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    Some(SignedToken { document: part(document)?, signature: Signature::from_blob(&part(signature)?).ok()? })
}

/// Whose a token is, and which coordinator gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) person: PublicKey,
    pub(crate) coordinator: PublicKey,
}

/// The tokens that were checked lately, by their digest: a copy of this memory opens nothing.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    bearers: BTreeMap<Digest, (Timestamp, Bearer)>,
}

impl Checked {
    /// Checks a token, with what is remembered of it.
    pub(crate) fn check(&mut self, text: &str, fleet: &Digest, now: Timestamp) -> Result<Bearer, Refused> {
        if text.len() > TOKEN_CHARACTERS_MAX {
            return Err(Refused::Malformed);
        }
        let digest = Digest::of(text.as_bytes());
        if let Some((until, bearer)) = self.bearers.get(&digest)
            && *until > now
        {
            return Ok(bearer.clone());
        }
        let token = decode(text).ok_or(Refused::Malformed)?.verify(fleet, now)?;
        if self.bearers.len() >= CHECKED_MAX {
            self.bearers.retain(|_, (until, _)| *until > now);
        }
        if self.bearers.len() >= CHECKED_MAX {
            self.bearers.clear();
        }
        let bearer = Bearer { person: token.person, coordinator: token.coordinator };
        self.bearers.insert(digest, (token.until, bearer.clone()));
        Ok(bearer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_trust::{Signer, SigningKey};

    #[test]
    fn only_unaltered_fresh_tokens_of_this_fleet_pass() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (person, coordinator) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let fleet = Digest::of(b"fleet");
        let signed = SignedToken::sign(fleet, person.public_key(), at(0), at(100), &coordinator).unwrap();
        let token = encode(&signed);
        let bearer = Bearer { person: person.public_key().clone(), coordinator: coordinator.public_key().clone() };
        let mut checked = Checked::default();
        // The second time from memory.
        for _ in 0..2 {
            assert_eq!(checked.check(&token, &fleet, at(99)).unwrap(), bearer);
        }
        let refused = |text: &str, fleet: &Digest, now| Checked::default().check(text, fleet, now).unwrap_err().to_string();
        assert!(checked.check(&token, &fleet, at(100)).unwrap_err().to_string().contains("good until"), "also from memory");
        assert!(refused(&token, &fleet, at(100)).contains("good until"));
        assert!(refused(&token, &Digest::of(b"another"), at(0)).contains("of the fleet"));
        for index in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[index] ^= 1;
            let Ok(altered) = String::from_utf8(altered) else { continue };
            assert!(Checked::default().check(&altered, &fleet, at(0)).is_err(), "{altered}");
        }
        for text in ["", "stead2..", "stead2.a.b.c", &"x".repeat(TOKEN_CHARACTERS_MAX + 1)] {
            assert_eq!(refused(text, &fleet, at(0)), Refused::Malformed.to_string());
        }
    }

    #[test]
    fn the_memory_of_tokens_is_bounded() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (person, coordinator, fleet) =
            (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]), Digest::of(b"fleet"));
        let mut checked = Checked::default();
        for second in 0..CHECKED_MAX as i64 + 10 {
            let signed = SignedToken::sign(fleet, person.public_key(), at(0), at(10_000 + second), &coordinator).unwrap();
            checked.check(&encode(&signed), &fleet, at(1)).unwrap();
            assert!(checked.bearers.len() <= CHECKED_MAX);
        }
    }
}
