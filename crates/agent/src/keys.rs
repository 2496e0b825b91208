//! The key that a machine is, and the one that it is to be: where they are kept is for whoever runs the agent to say.

use stead_trust::SigningKey;

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
