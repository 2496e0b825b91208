//! What the protocols need from a network: connect by key, accept, one byte stream each way.

mod iroh;
mod memory;

use std::{future::Future, net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};
use stead_model::PathKind;
use tokio::io::{AsyncRead, AsyncWrite};

pub use self::iroh::{
    BindError, IrohConfig, IrohConnection, IrohIncoming, IrohTransport, LocalLookup, RelayAddress, RelayReached,
};
pub use self::memory::{MemoryConnection, MemoryNetwork, MemoryTransport};
use crate::PeerKey;
use crate::paths::{NoPaths, Paths};

/// Where a peer can be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAddress {
    /// Who it is; whoever answers must prove this key.
    pub key: PeerKey,
    /// Direct addresses to try; may be empty.
    pub addresses: Vec<SocketAddr>,
    /// The relay it is reachable through.
    pub relay: Option<String>,
}

impl PeerAddress {
    /// The ways that are tried by it.
    pub fn ways(&self) -> impl Iterator<Item = (PathKind, String)> + '_ {
        let direct = self.addresses.iter().map(|address| (PathKind::Direct, address.to_string()));
        // As iroh spells it, so that it is known again when it is used.
        let spelled = |url: &String| url.parse().map_or_else(|_| url.clone(), |url: ::iroh::RelayUrl| url.to_string());
        direct.chain(self.relay.iter().map(move |url| (PathKind::Relayed, spelled(url))))
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The key is no point on the curve.
    #[error("{0} is not an ed25519 public key")]
    BadKey(PeerKey),
    /// The relay's address cannot be parsed.
    #[error("\"{url}\" is not a relay's URL; write http://HOST:PORT or https://HOST")]
    BadRelayUrl {
        /// As given.
        url: String,
    },
    /// Nobody answers.
    #[error("{peer} cannot be reached")]
    Unreachable {
        /// Who was wanted.
        peer: PeerKey,
        /// What the network said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke before it was of use.
    #[error("the connection broke while it was made")]
    Handshake(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The two sides speak no common version of a protocol.
    #[error("the peer speaks no version of the protocol that is spoken here")]
    Protocol,
    /// The transport was closed.
    #[error("the transport is closed")]
    Closed,
}

/// A network endpoint with a key.
pub trait Transport: Send + Sync + 'static {
    /// A connection to one peer.
    type Connection: Connection;
    /// Somebody who knocks.
    type Incoming: Incoming<Connection = Self::Connection>;

    /// Our own key.
    fn local_key(&self) -> PeerKey;

    /// Connects to the peer that holds `address.key`, and to nobody else.
    fn connect(&self, address: &PeerAddress) -> impl Future<Output = Result<Self::Connection, TransportError>> + Send;

    /// Waits for somebody to knock; `None` when the transport is closed.
    fn accept(&self) -> impl Future<Output = Option<Self::Incoming>> + Send;

    /// Uses these relays too, where it uses relays. What is no relay's URL is told of, and left out.
    fn add_relays(&self, _relays: &[RelayAddress]) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Closes every connection and the endpoint.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A peer that knocks, before its key is known.
pub trait Incoming: Send + 'static {
    /// What it becomes.
    type Connection: Connection;

    /// Finishes the handshake, which proves the peer's key.
    fn establish(self) -> impl Future<Output = Result<Self::Connection, TransportError>> + Send;

    /// Gives the peer back if its address is known to be real; else makes it knock again with a proof, at the cost of one packet.
    fn challenge(self) -> Option<Self>
    where
        Self: Sized;

    /// Turns it away as cheaply as possible.
    fn refuse(self);
}

/// An authenticated connection.
pub trait Connection: Send + Sync + 'static {
    /// The sending half of a stream.
    type Send: AsyncWrite + Unpin + Send + 'static;
    /// The receiving half of a stream.
    type Receive: AsyncRead + Unpin + Send + 'static;

    /// The key that the peer proved.
    fn peer(&self) -> PeerKey;

    /// Where the peer is, for a person: an address, a relay's URL, or nothing where nobody can tell.
    fn address(&self) -> String {
        String::new()
    }

    /// Opens a stream; the peer sees it when the first byte is sent.
    fn open_stream(&self) -> impl Future<Output = Result<(Self::Send, Self::Receive), TransportError>> + Send;

    /// Waits for the peer to open a stream.
    fn accept_stream(&self) -> impl Future<Output = Result<(Self::Send, Self::Receive), TransportError>> + Send;

    /// The ways by which its packets go.
    fn paths(&self) -> Arc<dyn Paths> {
        Arc::new(NoPaths)
    }

    /// Waits until the connection is gone, and says why.
    fn closed(&self) -> impl Future<Output = String> + Send;

    /// Closes at once; what was not yet acknowledged may be lost.
    fn close(&self, reason: &str);
}
