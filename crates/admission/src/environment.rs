//! What admission needs of the world: the time, and random bytes.

use std::sync::Arc;

use jiff::Timestamp;
use stead_trust::{Clock, Salt};

/// Fills a slice with random bytes that nobody can foresee.
pub type RandomSource = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// The world, as admission sees it. A simulation hands in its own.
#[derive(Clone)]
pub struct Environment {
    /// Tells the time.
    pub clock: Arc<dyn Clock + Send + Sync>,
    /// Gives random bytes.
    pub random: RandomSource,
}

impl Environment {
    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn salt(&self) -> Salt {
        let mut bytes = [0; 32];
        (self.random)(&mut bytes);
        Salt::from_bytes(bytes)
    }

    /// A ULID of this moment, in upper case.
    pub fn new_id(&self) -> String {
        let mut bytes = [0; 16];
        (self.random)(&mut bytes);
        let milliseconds = u64::try_from(self.now().as_millisecond()).unwrap_or_default();
        ulid::Ulid::from_parts(milliseconds, u128::from_be_bytes(bytes)).to_string()
    }
}
