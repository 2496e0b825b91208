//! Nonces of logins: good once, for a while, at this start of this coordinator.
//!
//! A nonce carries its own time and a tag that only this process can make, so that giving one out takes no memory: whoever asks for
//! many of them takes none from others. Only those that an owner has used are remembered, until they would be too old anyway.

use std::collections::VecDeque;

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use stead_trust::NONCE_CHARACTERS;

/// Seconds for which a nonce is good: time for a passphrase and a touch.
const NONCE_SECONDS_MAX: i64 = 120;
/// Used nonces that are remembered: more logins within that time are refused.
const USED_NONCES_MAX: usize = 4_096;
/// Bytes of a nonce before its tag: seconds, and as many random bytes.
const HEAD_BYTES: usize = 16;

/// Gives out nonces, and knows those that were used.
#[derive(Debug)]
pub(crate) struct Nonces {
    key: [u8; 64],
    used: VecDeque<(String, Timestamp)>,
}

impl Nonces {
    /// With a random key.
    pub(crate) const fn new(key: [u8; 64]) -> Self {
        Self { key, used: VecDeque::new() }
    }

    /// A new nonce.
    pub(crate) fn give(&self, random: [u8; 8], now: Timestamp) -> String {
        let mut head = now.as_second().to_be_bytes().to_vec();
        head.extend_from_slice(&random);
        let tag = self.tag(&head).finalize().into_bytes();
        let mut nonce = hex::encode(&head);
        nonce.push_str(&hex::encode(tag));
        nonce.truncate(NONCE_CHARACTERS);
        nonce
    }

    /// Whether a nonce was given out here, a short while ago, and not used since.
    pub(crate) fn is_fresh(&self, nonce: &str, now: Timestamp) -> bool {
        let Ok(bytes) = hex::decode(nonce) else { return false };
        let Some((head, tag)) = bytes.split_at_checked(HEAD_BYTES) else { return false };
        let whole = nonce.len() == NONCE_CHARACTERS && self.tag(head).verify_truncated_left(tag).is_ok();
        let Some(seconds) = head.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes)) else { return false };
        whole && is_recent(seconds, now) && !self.used.iter().any(|(used, _)| used == nonce)
    }

    /// Uses a nonce up; false where it was used meanwhile, or too many were.
    pub(crate) fn use_up(&mut self, nonce: &str, now: Timestamp) -> bool {
        self.used.retain(|(_, used)| is_recent(used.as_second(), now));
        if !self.is_fresh(nonce, now) || self.used.len() >= USED_NONCES_MAX {
            return false;
        }
        self.used.push_back((nonce.to_owned(), now));
        true
    }

    fn tag(&self, head: &[u8]) -> Hmac<Sha256> {
        let mut tag = Hmac::<Sha256>::new((&self.key).into());
        tag.update(head);
        tag
    }
}

fn is_recent(seconds: i64, now: Timestamp) -> bool {
    now.as_second().abs_diff(seconds) <= NONCE_SECONDS_MAX.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_nonce_is_good_once_and_for_a_while() {
        let mut nonces = Nonces::new([1; 64]);
        let (first, second) = (nonces.give([1; 8], at(0)), nonces.give([2; 8], at(0)));
        assert_eq!(first.len(), NONCE_CHARACTERS);
        assert!(nonces.is_fresh(&first, at(1)) && nonces.use_up(&first, at(1)));
        assert!(!nonces.is_fresh(&first, at(1)) && !nonces.use_up(&first, at(1)));
        assert!(nonces.is_fresh(&second, at(120)) && !nonces.is_fresh(&second, at(121)));
        assert!(!Nonces::new([2; 64]).is_fresh(&second, at(0)));
        for index in 0..second.len() {
            let mut altered = second.clone().into_bytes();
            altered[index] = if altered[index] == b'0' { b'1' } else { b'0' };
            assert!(!nonces.is_fresh(std::str::from_utf8(&altered).unwrap(), at(0)));
        }
        assert!(!nonces.is_fresh("", at(0)) && !nonces.is_fresh(&second[..62], at(0)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut nonces = Nonces::new([1; 64]);
        for index in 0..USED_NONCES_MAX as u64 {
            let nonce = nonces.give(index.to_be_bytes(), at(0));
            assert!(nonces.use_up(&nonce, at(0)));
        }
        let over = nonces.give([255; 8], at(0));
        assert!(!nonces.use_up(&over, at(0)));
        let later = nonces.give([255; 8], at(1_000));
        assert!(nonces.use_up(&later, at(1_000)));
        assert_eq!(nonces.used.len(), 1);
    }
}
