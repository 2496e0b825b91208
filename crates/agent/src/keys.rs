//! The key that a machine is, and the one that it is to be: where they are kept is for whoever runs the agent to say.

use std::sync::Arc;

use stead_trust::{MachineKey, PublicKeyError, SigningKey};

/// A machine's keys on its disk. A machine that is killed at any moment finds the key that it has, the next one, or both.
pub trait Keys: Send + Sync {
    /// The key that the machine has.
    ///
    /// # Errors
    ///
    /// In words.
    fn current(&self) -> Result<SigningKey, String>;

    /// The key that was made ready to take its place, where there is one.
    ///
    /// # Errors
    ///
    /// In words.
    fn next(&self) -> Result<Option<SigningKey>, String>;

    /// Makes that key, durably, or gives the one that is there.
    ///
    /// # Errors
    ///
    /// In words; such as that the key is somebody else's to change.
    fn make_next(&self) -> Result<SigningKey, String>;

    /// The next key is the machine's from now on.
    ///
    /// # Errors
    ///
    /// In words; then both are there still.
    fn adopt_next(&self) -> Result<(), String>;
}

/// The keys beside the one that a machine has. Without any, its key is not its agent's to change.
#[derive(Default)]
pub struct KeysAtHand {
    /// Where they are kept.
    pub kept: Option<Arc<dyn Keys>>,
    /// The key that was made ready to take the place of the one that it has.
    pub next: Option<SigningKey>,
    /// Whether that one is spoken with.
    pub speaks_as_next: bool,
}

impl KeysAtHand {
    /// The public half of the key that was made ready.
    pub(crate) fn next_key(&self) -> Result<Option<MachineKey>, PublicKeyError> {
        self.next.as_ref().map(SigningKey::machine_key).transpose()
    }

    /// The key that was made ready, made now where there is none.
    pub(crate) fn make_next(&mut self) -> Result<&SigningKey, String> {
        let made = match self.next.take() {
            Some(next) => next,
            None => self.kept.as_ref().ok_or("its key is not its agent's to change")?.make_next()?,
        };
        Ok(self.next.insert(made))
    }
}

/// A key that the agent was given and does not change, such as a host key.
pub struct GivenKey {
    key: SigningKey,
    /// Where it is, for people.
    place: String,
}

impl GivenKey {
    /// An ed25519 key from a place.
    pub const fn new(key: SigningKey, place: String) -> Self {
        Self { key, place }
    }
}

impl Keys for GivenKey {
    fn current(&self) -> Result<SigningKey, String> {
        let seed = self.key.seed().ok_or("the machine's key is no ed25519 key")?;
        Ok(SigningKey::from_seed(&seed))
    }

    fn next(&self) -> Result<Option<SigningKey>, String> {
        Ok(None)
    }

    fn make_next(&self) -> Result<SigningKey, String> {
        Err(format!(
            "its key is {}, which its agent was given and may not change; give it another one, and let it join again in its place",
            self.place
        ))
    }

    fn adopt_next(&self) -> Result<(), String> {
        Err("there is no next key".to_owned())
    }
}
