//! Key files: private ones, opened with a passphrase where they are encrypted, and `.pub` files.

use std::path::{Path, PathBuf};

use stead_trust::{KEY_FILE_BYTES_MAX, KeyFileError, PublicKey, SigningKey};
use zeroize::Zeroizing;

use super::KeyError;
use crate::config::home;

/// How often the terminal is asked for a passphrase before the command gives up.
const PASSPHRASE_ATTEMPTS_MAX: usize = 3;

/// What a word that is no fingerprint means.
pub(super) enum KeyText {
    Public(PublicKey),
    Private { path: PathBuf, text: Zeroizing<String> },
}

/// What opening a private key file gave.
pub(super) enum Opened {
    Key(SigningKey),
    Authenticator { fingerprint: String },
}

/// Reads the file that a word names, or the public key that it is.
pub(super) fn read(word: &str) -> Result<KeyText, KeyError> {
    let public = |text: &str| text.parse::<PublicKey>().map_err(|source| KeyError::PublicKey { word: word.to_owned(), source });
    let first = word.split_whitespace().next().unwrap_or_default();
    if word.contains(' ') && (first.starts_with("ssh-") || first.starts_with("ecdsa-") || first.starts_with("sk-")) {
        return public(word).map(KeyText::Public);
    }
    let path = match (word.strip_prefix("~/"), home()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(word),
    };
    let text = read_text(&path).map_err(|source| {
        let is_a_path = word.contains(['/', '.']) || source.kind() != std::io::ErrorKind::NotFound;
        if is_a_path { KeyError::Read { path: path.clone(), source } } else { KeyError::Unknown { word: word.to_owned() } }
    })?;
    if text.contains("PRIVATE KEY-----") { Ok(KeyText::Private { path, text }) } else { public(&text).map(KeyText::Public) }
}

fn read_text(path: &Path) -> std::io::Result<Zeroizing<String>> {
    use std::io::Read as _;
    let mut text = Zeroizing::new(String::new());
    let limit = KEY_FILE_BYTES_MAX as u64 + 1;
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

/// Opens a private key, with the passphrase file's first line or the terminal where it is encrypted.
pub(super) fn open(path: &Path, text: &str, passphrase_file: Option<&Path>) -> Result<Opened, KeyError> {
    let file = |source| KeyError::File { path: path.to_owned(), source };
    match SigningKey::from_openssh(text, None) {
        Ok(key) => return Ok(Opened::Key(key)),
        Err(KeyFileError::Authenticator { key }) => return Ok(Opened::Authenticator { fingerprint: key }),
        Err(KeyFileError::NeedsPassphrase) => {}
        Err(error) => return Err(file(error)),
    }
    if let Some(passphrase_file) = passphrase_file {
        let read = |source| KeyError::PassphraseFile { path: passphrase_file.to_owned(), source };
        let content = Zeroizing::new(std::fs::read_to_string(passphrase_file).map_err(read)?);
        let passphrase = content.lines().next().unwrap_or_default();
        return SigningKey::from_openssh(text, Some(passphrase)).map(Opened::Key).map_err(file);
    }
    let mut attempts = 1;
    loop {
        let prompt = format!("Passphrase of {}: ", path.display());
        let asked = rpassword::prompt_password(prompt).map(Zeroizing::new);
        let passphrase = asked.map_err(|source| KeyError::Passphrase { path: path.to_owned(), source })?;
        match SigningKey::from_openssh(text, Some(&passphrase)) {
            Ok(key) => return Ok(Opened::Key(key)),
            Err(KeyFileError::WrongPassphrase) if attempts < PASSPHRASE_ATTEMPTS_MAX => attempts += 1,
            Err(error) => return Err(file(error)),
        }
    }
}

/// The public key of a private key file, which stands in it in the clear even where the rest is encrypted.
pub(super) fn public_key(path: &Path, text: &str) -> Result<PublicKey, KeyError> {
    let format = |error: ssh_key::Error| KeyFileError::Format { message: error.to_string() };
    let key = ssh_key::PrivateKey::from_openssh(text.trim()).map_err(format);
    let key = key.and_then(|key| PublicKey::from_ssh(key.public_key()).map_err(KeyFileError::from));
    key.map_err(|source| KeyError::File { path: path.to_owned(), source })
}
