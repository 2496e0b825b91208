//! Who signs: a key file, or a key in ssh-agent, behind the one trait that `trust` knows.

mod agent;
mod key_file;
mod ssh_wire;

use std::path::{Path, PathBuf};

use stead_trust::{PublicKey, Signer};

pub(crate) use self::agent::AgentError;
use self::agent::{Agent, AgentSigner};
use self::key_file::KeyText;
use crate::config::Settings;
use crate::failure::{Failure, FailureKind};

/// A signer of either sort.
pub(crate) type BoxSigner = Box<dyn Signer>;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("cannot read the key {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the key {}: {source}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: stead_trust::KeyFileError,
    },
    #[error("cannot ask for the passphrase of {}", path.display())]
    Passphrase {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the passphrase file {} cannot be read", path.display())]
    PassphraseFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the key {word:?} is neither a file, nor a fingerprint `SHA256:…`, nor `agent`")]
    Unknown { word: String },
    #[error("ssh-agent does not hold the key {fingerprint}; it holds {held}")]
    NotInAgent { fingerprint: String, held: String },
    #[error("ssh-agent holds {count} keys that Stead can use, not one: {held}")]
    NotOne { count: usize, held: String },
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error("{word}: {source}")]
    PublicKey {
        word: String,
        #[source]
        source: stead_trust::PublicKeyError,
    },
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let hint = match &error {
            KeyError::Passphrase { .. } => {
                Some("Without a terminal, name a file that holds the passphrase with STEAD_PASSPHRASE_FILE.")
            }
            KeyError::Unknown { .. } | KeyError::NotOne { .. } => {
                Some("Name the key with --key: its file, its .pub file, or its fingerprint as `ssh-add -l` shows it.")
            }
            KeyError::NotInAgent { .. } => Some("Add it with `ssh-add FILE`; `ssh-add -l` lists what the agent holds."),
            KeyError::Agent(AgentError::NoSocket) => {
                Some("Start one with `eval $(ssh-agent)` and `ssh-add`, or name a key file with --key.")
            }
            KeyError::Read { .. } => Some("Name the key that signs with --key, STEAD_KEY, or `key` in the configuration file."),
            _ => None,
        };
        let failure = Self::of(FailureKind::User, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// The signers of the settings, in their order. Encrypted files ask for their passphrase here.
pub(crate) fn load_all(settings: &Settings) -> Result<Vec<BoxSigner>, Failure> {
    settings.keys().iter().map(|word| load(word, settings)).collect()
}

/// The first signer of the settings: the one who logs in, and who is the author of a change.
pub(crate) fn load_first(settings: &Settings) -> Result<BoxSigner, Failure> {
    let word = settings.keys().first().map_or("agent", String::as_str);
    load(word, settings)
}

/// The signer that a word means.
fn load(word: &str, settings: &Settings) -> Result<BoxSigner, Failure> {
    Ok(find(word, settings.passphrase_file().as_deref())?)
}

fn find(word: &str, passphrase_file: Option<&Path>) -> Result<BoxSigner, KeyError> {
    if word == "agent" {
        return Ok(Box::new(only_key(Agent::from_environment()?)?));
    }
    if word.starts_with("SHA256:") {
        return Ok(Box::new(key_in_agent(|key| key.fingerprint() == word, word)?));
    }
    match key_file::read(word)? {
        KeyText::Public(key) => Ok(Box::new(key_in_agent(|held| *held == key, &key.fingerprint())?)),
        KeyText::Private { path, text } => match key_file::open(&path, &text, passphrase_file)? {
            key_file::Opened::Key(key) => Ok(Box::new(key)),
            // The file of an authenticator's key only points to the device; the agent speaks with that.
            key_file::Opened::Authenticator { fingerprint } => {
                Ok(Box::new(key_in_agent(|held| held.fingerprint() == fingerprint, &fingerprint)?))
            }
        },
    }
}

/// The public key that a word means, without opening anything that is encrypted; for lists of owners.
pub(crate) fn public_key(word: &str) -> Result<PublicKey, Failure> {
    if word == "agent" || word.starts_with("SHA256:") {
        return Ok(find(word, None)?.public_key().clone());
    }
    Ok(match key_file::read(word)? {
        KeyText::Public(key) => key,
        KeyText::Private { path, text } => key_file::public_key(&path, &text)?,
    })
}

/// A signer where the secret is at hand, nothing where only the public key is.
pub(crate) fn load_if_at_hand(word: &str, settings: &Settings) -> Result<Option<BoxSigner>, Failure> {
    match find(word, settings.passphrase_file().as_deref()) {
        Ok(signer) => Ok(Some(signer)),
        Err(KeyError::NotInAgent { .. } | KeyError::Agent(AgentError::NoSocket)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn only_key(agent: Agent) -> Result<AgentSigner, KeyError> {
    let mut keys = agent.keys()?;
    match (keys.len(), keys.pop()) {
        (1, Some(key)) => Ok(AgentSigner::new(agent, key)),
        (count, last) => Err(KeyError::NotOne { count, held: list(keys.iter().chain(&last)) }),
    }
}

fn key_in_agent(wanted: impl Fn(&PublicKey) -> bool, fingerprint: &str) -> Result<AgentSigner, KeyError> {
    let agent = Agent::from_environment()?;
    let keys = agent.keys()?;
    match keys.iter().find(|key| wanted(key)) {
        Some(key) => Ok(AgentSigner::new(agent, key.clone())),
        None => Err(KeyError::NotInAgent { fingerprint: fingerprint.to_owned(), held: list(keys.iter()) }),
    }
}

fn list<'a>(keys: impl Iterator<Item = &'a PublicKey>) -> String {
    let fingerprints: Vec<String> = keys.map(PublicKey::fingerprint).collect();
    if fingerprints.is_empty() { "none".to_owned() } else { fingerprints.join(", ") }
}
