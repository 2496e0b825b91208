//! Who signs: the traits that files, agents and devices fill, and the key in memory.

use jiff::Timestamp;
use rsa::pkcs1v15;
use rsa::sha2::Sha512;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use ssh_key::private::{Ed25519Keypair, KeypairData, RsaKeypair};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};
use zeroize::Zeroizing;

use crate::key::{MachineKey, PublicKey, PublicKeyError};
use crate::signature::{Signature, SignatureError, SignatureNamespace, signed_data};

/// The longest private key file in bytes: RSA of 4096 bits takes some 3,400.
pub const KEY_FILE_BYTES_MAX: usize = 16 * 1024;

/// Someone who can sign: a key in memory, an agent, a device.
pub trait Signer {
    /// The key whose signatures it makes.
    fn public_key(&self) -> &PublicKey;

    /// Signs a document for one purpose.
    ///
    /// # Errors
    ///
    /// [`SignError`] where there is no signature to be had.
    fn sign(&self, namespace: SignatureNamespace, document: &[u8]) -> Result<Signature, SignError>;
}

/// Someone who knows the time. Nothing in this crate asks; those who call it do.
pub trait Clock {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// Why no signature was made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key could not sign.
    #[error("the key {key} could not sign: {message}")]
    Key {
        /// Its fingerprint.
        key: String,
        /// What the key, the agent or the device said.
        message: String,
    },
    /// What the signer gave back is no signature that would be accepted.
    #[error("the signer gave a signature that nobody would accept")]
    Signature(#[from] SignatureError),
}

/// Why a private key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Not an OpenSSH private key.
    #[error("not an OpenSSH private key file: {message}; `ssh-keygen -p -f FILE` rewrites an older format")]
    Format {
        /// What is wrong.
        message: String,
    },
    /// Encrypted, and no passphrase was given.
    #[error("the private key is encrypted; give its passphrase")]
    NeedsPassphrase,
    /// The passphrase does not open it.
    #[error("the passphrase does not open the private key")]
    WrongPassphrase,
    /// The file only points to a device.
    #[error("the secret of {key} is in an authenticator; add it to ssh-agent and sign through that")]
    Authenticator {
        /// Its fingerprint.
        key: String,
    },
    /// The key is not trusted, whoever holds it.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
}

/// A private key in memory. It is wiped when dropped, and has no printable form but the key file's.
pub struct SigningKey {
    public: PublicKey,
    private: PrivateKey,
    /// The same key, where it is ed25519, with its public half worked out: `ssh_key` works that out anew for each signature, which takes
    /// as long as the signature.
    ed25519: Option<ed25519_dalek::SigningKey>,
}

impl SigningKey {
    /// The ed25519 key of a 32-byte seed; 32 random bytes make a new key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519Keypair::from_seed(seed);
        let public = MachineKey::from_bytes(pair.public.0).to_public_key();
        let ed25519 = Some(ed25519_dalek::SigningKey::from_bytes(seed));
        Self { public, private: PrivateKey::from(pair), ed25519 }
    }

    /// Reads the text of an OpenSSH private key file, such as `id_ed25519` or `ssh_host_ed25519_key`.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::NeedsPassphrase`] for an encrypted file without a passphrase; the other variants for what can't be used.
    pub fn from_openssh(text: &str, passphrase: Option<&str>) -> Result<Self, KeyFileError> {
        if text.len() > KEY_FILE_BYTES_MAX {
            return Err(KeyFileError::Format { message: format!("longer than {KEY_FILE_BYTES_MAX} bytes") });
        }
        let format = |error: ssh_key::Error| KeyFileError::Format { message: error.to_string() };
        let mut private = PrivateKey::from_openssh(text.trim()).map_err(format)?;
        let public = PublicKey::from_ssh(private.public_key())?;
        if private.is_encrypted() {
            let passphrase = passphrase.ok_or(KeyFileError::NeedsPassphrase)?;
            private = private.decrypt(passphrase).map_err(|_| KeyFileError::WrongPassphrase)?;
        }
        if public.is_security_key() {
            return Err(KeyFileError::Authenticator { key: public.fingerprint() });
        }
        let ed25519 = private.key_data().ed25519().map(ed25519_dalek::SigningKey::try_from).transpose().map_err(format)?;
        Ok(Self { public, private, ed25519 })
    }

    /// The text of an OpenSSH private key file, not encrypted.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::Format`] for a key that OpenSSH has no file format for; none that this type holds is such.
    pub fn to_openssh(&self) -> Result<Zeroizing<String>, KeyFileError> {
        self.private.to_openssh(LineEnding::LF).map_err(|error| KeyFileError::Format { message: error.to_string() })
    }

    /// The 32-byte seed of an ed25519 key, which makes a machine's identity; none for other algorithms.
    pub fn seed(&self) -> Option<Zeroizing<[u8; 32]>> {
        let pair = self.private.key_data().ed25519()?;
        Some(Zeroizing::new(pair.private.to_bytes()))
    }

    /// The machine that this key makes, where it is an ed25519 key.
    ///
    /// # Errors
    ///
    /// [`PublicKeyError::NotEd25519`] for other algorithms.
    pub fn machine_key(&self) -> Result<MachineKey, PublicKeyError> {
        MachineKey::try_from(&self.public)
    }
}

impl Signer for SigningKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, namespace: SignatureNamespace, document: &[u8]) -> Result<Signature, SignError> {
        let failed = |message: String| SignError::Key { key: self.public.fingerprint(), message };
        let raw = match (&self.ed25519, self.private.key_data()) {
            (Some(key), _) => sign_ed25519(key, &signed_data(namespace, document)).map_err(|error| failed(error.to_string()))?,
            (None, KeypairData::Rsa(pair)) => {
                sign_rsa(pair, &signed_data(namespace, document)).map_err(|error| failed(error.to_string()))?
            }
            (None, _) => {
                let signature = self.private.sign(namespace.as_str(), HashAlg::Sha512, document);
                signature.map_err(|error| failed(error.to_string()))?.signature().clone()
            }
        };
        Ok(Signature::from_raw(&self.public, namespace, &raw)?)
    }
}

/// Ed25519 (RFC 8032, RFC 8709).
fn sign_ed25519(key: &ed25519_dalek::SigningKey, data: &[u8]) -> Result<ssh_key::Signature, ssh_key::Error> {
    ssh_key::Signature::new(Algorithm::Ed25519, key.sign(data).to_vec())
}

/// RSASSA-PKCS1-v1_5 with SHA-512 (RFC 8332). `ssh_key` 0.6 hands one prime twice to `rsa`, which refuses it; so it is done here.
fn sign_rsa(pair: &RsaKeypair, data: &[u8]) -> Result<ssh_key::Signature, Box<dyn std::error::Error + Send + Sync>> {
    let number = |value: &ssh_key::Mpint| {
        value.as_positive_bytes().map(rsa::BigUint::from_bytes_be).ok_or("a number in the RSA key is negative")
    };
    let (public, private) = (&pair.public, &pair.private);
    let primes = vec![number(&private.p)?, number(&private.q)?];
    let key = rsa::RsaPrivateKey::from_components(number(&public.n)?, number(&public.e)?, number(&private.d)?, primes)?;
    let signature = pkcs1v15::SigningKey::<Sha512>::new(key).try_sign(data)?;
    Ok(ssh_key::Signature::new(Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, signature.to_vec())?)
}
