//! ssh-agent: the two messages that signing needs (draft-miller-ssh-agent sections 3.5 and 3.6).
//!
//! A key that this crate does not know (a certificate, an old algorithm) is passed over rather than spoiling the list, which is
//! why the protocol is spoken here.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use stead_trust::{PublicKey, SignError, Signature, SignatureNamespace, Signer, signed_data};

use super::ssh_wire::{Reader, put_string};

/// The longest message that OpenSSH's agent sends or takes.
const MESSAGE_BYTES_MAX: u32 = 256 * 1024;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// Asks for SHA-512 of an RSA key; other keys do not look at it.
const FLAG_RSA_SHA2_512: u32 = 4;

/// Why ssh-agent is of no help.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    #[error("there is no ssh-agent: SSH_AUTH_SOCK is not set")]
    NoSocket,
    #[error("ssh-agent at {} does not answer", socket.display())]
    Io {
        socket: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("ssh-agent refused to sign; was the question denied, the authenticator not touched, or the agent locked?")]
    Refused,
    #[error("ssh-agent sent something that is not in its protocol: {what}")]
    Protocol { what: &'static str },
}

/// An agent, by its socket. Every request is a connection of its own.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    socket: PathBuf,
}

impl Agent {
    /// The agent of `SSH_AUTH_SOCK`.
    pub(super) fn from_environment() -> Result<Self, AgentError> {
        let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()).ok_or(AgentError::NoSocket)?;
        Ok(Self { socket: PathBuf::from(socket) })
    }

    /// The keys it holds that `trust` trusts.
    pub(super) fn keys(&self) -> Result<Vec<PublicKey>, AgentError> {
        let answer = self.ask(&[REQUEST_IDENTITIES])?;
        let mut reader = Reader(&answer);
        if reader.byte() != Some(IDENTITIES_ANSWER) {
            return Err(AgentError::Protocol { what: "no list of keys" });
        }
        let short = || AgentError::Protocol { what: "a list of keys that is cut off" };
        let mut keys = Vec::new();
        for _ in 0..reader.uint32().ok_or_else(short)? {
            let blob = reader.string().ok_or_else(short)?;
            reader.string().ok_or_else(short)?;
            let key = ssh_key::PublicKey::from_bytes(blob).ok().and_then(|key| PublicKey::from_ssh(&key).ok());
            keys.extend(key);
        }
        Ok(keys)
    }

    fn sign(&self, key: &PublicKey, data: &[u8]) -> Result<ssh_key::Signature, AgentError> {
        let blob = key.as_ssh().to_bytes().map_err(|_| AgentError::Protocol { what: "a key without an encoding" })?;
        let mut request = vec![SIGN_REQUEST];
        put_string(&mut request, &blob);
        put_string(&mut request, data);
        request.extend_from_slice(&FLAG_RSA_SHA2_512.to_be_bytes());
        let answer = self.ask(&request)?;
        let mut reader = Reader(&answer);
        if reader.byte() != Some(SIGN_RESPONSE) {
            return Err(AgentError::Refused);
        }
        let signature = reader.string().and_then(|blob| ssh_key::Signature::try_from(blob).ok());
        signature.ok_or(AgentError::Protocol { what: "a signature that cannot be read" })
    }

    fn ask(&self, request: &[u8]) -> Result<Vec<u8>, AgentError> {
        let failed = |source| AgentError::Io { socket: self.socket.clone(), source };
        let mut message = Vec::new();
        put_string(&mut message, request);
        // No deadline: a person may be looking for the authenticator.
        let mut stream = UnixStream::connect(&self.socket).map_err(failed)?;
        stream.write_all(&message).map_err(failed)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length).map_err(failed)?;
        let length = u32::from_be_bytes(length);
        if length > MESSAGE_BYTES_MAX {
            return Err(AgentError::Protocol { what: "an answer that is too long" });
        }
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer).map_err(failed)?;
        Ok(answer)
    }
}

/// A key in ssh-agent.
#[derive(Debug)]
pub(super) struct AgentSigner {
    agent: Agent,
    key: PublicKey,
}

impl AgentSigner {
    pub(super) const fn new(agent: Agent, key: PublicKey) -> Self {
        Self { agent, key }
    }
}

impl Signer for AgentSigner {
    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&self, namespace: SignatureNamespace, document: &[u8]) -> Result<Signature, SignError> {
        if self.key.is_security_key() {
            eprintln!("Touch the authenticator of {} to sign for {namespace}.", self.key.fingerprint());
        }
        let failed = |error: AgentError| SignError::Key { key: self.key.fingerprint(), message: error.to_string() };
        let raw = self.agent.sign(&self.key, &signed_data(namespace, document)).map_err(failed)?;
        Ok(Signature::from_raw(&self.key, namespace, &raw)?)
    }
}
