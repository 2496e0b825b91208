//! Nonces of logins: single-use, bounded in number, good for a while.

use std::collections::VecDeque;

use jiff::Timestamp;

/// Nonces outstanding at once: a few hundred people who log in at the same moment; the oldest goes first.
const NONCES_MAX: usize = 1_024;
/// Seconds for which a nonce is good: time for a passphrase and a touch.
const NONCE_SECONDS_MAX: i64 = 120;

/// Nonces that were given out and not used yet, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Nonces(VecDeque<(String, Timestamp)>);

impl Nonces {
    pub(crate) fn add(&mut self, nonce: String, now: Timestamp) {
        self.expire(now);
        if self.0.len() >= NONCES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((nonce, now));
    }

    /// Whether a nonce was given out; it is gone then.
    pub(crate) fn take(&mut self, nonce: &str, now: Timestamp) -> bool {
        self.expire(now);
        let place = self.0.iter().position(|(given, _)| given == nonce);
        place.and_then(|place| self.0.remove(place)).is_some()
    }

    fn expire(&mut self, now: Timestamp) {
        self.0.retain(|(_, given)| now.as_second().abs_diff(given.as_second()) <= NONCE_SECONDS_MAX.unsigned_abs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_once_and_for_a_while() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut nonces = Nonces::default();
        nonces.add("a".into(), at(0));
        nonces.add("b".into(), at(0));
        assert!(nonces.take("a", at(1)) && !nonces.take("a", at(1)));
        assert!(!nonces.take("b", at(121)));
        for index in 0..2_000 {
            nonces.add(index.to_string(), at(0));
        }
        assert_eq!(nonces.0.len(), NONCES_MAX);
        assert!(!nonces.take("0", at(0)) && nonces.take("1999", at(0)));
    }
}
