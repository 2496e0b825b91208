//! The relay that a coordinator runs itself, for machines to which no packet finds a direct way.

use std::{fmt, net::SocketAddr, sync::Arc};

use iroh_relay::server::{Access, AccessControl, ClientRequest, RelayConfig, Server, ServerConfig};

use crate::PeerKey;

/// Decides who may use the relay: called with the key that the client proved and the token it showed.
pub type RelayAccess = Arc<dyn Fn(&PeerKey, Option<&str>) -> bool + Send + Sync>;

/// Keys whose parsed form the relay keeps; four times the machines that one coordinator is meant for would gain nothing.
const KEY_CACHE_ENTRIES: usize = 16_384;

/// Why the relay does not run.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// It could not start.
    #[error("the relay cannot listen on {address}: {reason}; choose an address of this machine that is free")]
    Start {
        /// As given.
        address: SocketAddr,
        /// What was wrong.
        reason: String,
    },
    /// It did not stop cleanly.
    #[error("the relay did not stop cleanly: {reason}")]
    Stop {
        /// What was wrong.
        reason: String,
    },
}

/// A running relay; it stops when dropped.
///
/// It speaks plain HTTP: what goes through it is QUIC, encrypted from end to end, and a client proves its key by signing the relay's
/// challenge. The token it shows opens nothing but a relay (see [`crate::Ticket::relay_token`]).
#[derive(Debug)]
pub struct Relay {
    server: Server,
    address: SocketAddr,
}

impl Relay {
    /// Starts a relay on `address`.
    pub async fn spawn(address: SocketAddr, access: RelayAccess) -> Result<Self, RelayError> {
        let mut relay = RelayConfig::new(address);
        relay.key_cache_capacity = Some(KEY_CACHE_ENTRIES);
        relay.access = Arc::new(Gate(access));
        let mut config = ServerConfig::default();
        config.relay = Some(relay);
        let failed = |reason: String| RelayError::Start { address, reason };
        let server = Server::spawn(config).await.map_err(|error| failed(format!("{error:#}")))?;
        let address = server.http_addr().ok_or_else(|| failed("it has no address".to_owned()))?;
        Ok(Self { server, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL for whoever reaches it at the address it listens on.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops it.
    pub async fn stop(self) -> Result<(), RelayError> {
        self.server.shutdown().await.map_err(|error| RelayError::Stop { reason: format!("{error:#}") })
    }
}

struct Gate(RelayAccess);

impl fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Gate")
    }
}

impl AccessControl for Gate {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        let key = PeerKey(*request.endpoint_id().as_bytes());
        if (self.0)(&key, request.auth_token().as_deref()) {
            Access::Allow
        } else {
            tracing::info!(%key, "refused at the relay");
            Access::Deny { reason: Some("this relay serves its fleet only".to_owned()) }
        }
    }
}
