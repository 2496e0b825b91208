//! A public key that somebody names: a `.pub` file, a key file, the key itself, a machine's 64 digits, a fingerprint.

use stead_trust::{MachineKey, PublicKey};

use crate::failure::Failure;
use crate::signer;

/// The public key that a word means.
pub(crate) fn read(word: &str) -> Result<PublicKey, Failure> {
    match word.parse::<MachineKey>() {
        Ok(machine) => Ok(machine.to_public_key()),
        Err(_) => signer::public_key(word),
    }
}

/// The one of some keys that a word means, which may be its fingerprint as well.
pub(crate) fn among<'a>(word: &str, keys: &'a [PublicKey], whose: &str) -> Result<&'a PublicKey, Failure> {
    let found = if word.starts_with("SHA256:") {
        keys.iter().find(|key| key.fingerprint() == word)
    } else {
        let wanted = read(word)?;
        keys.iter().find(|key| **key == wanted)
    };
    found.ok_or_else(|| {
        let held: Vec<String> = keys.iter().map(PublicKey::fingerprint).collect();
        Failure::user(format!("{word} is not among the keys of {whose}: {}", held.join(", ")))
    })
}
