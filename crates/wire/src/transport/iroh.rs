//! iroh as a [`Transport`]: no public servers, no published addresses, only what the configuration and the ticket name, and what is
//! found on the local network.

mod local;
mod paths;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use iroh::{
    Endpoint, EndpointAddr, PublicKey, RelayConfig, RelayMap, RelayMode, RelayUrl, SecretKey, TransportAddr, Watcher as _,
    endpoint::{
        self, ConnectingError, ConnectionError, NetReportConfig, PortmapperConfig, QuicTransportConfig, RelayStatus,
        TransportErrorCode, VarInt, presets,
    },
};

pub use self::local::LocalLookup;
use self::paths::IrohPaths;
use super::{Connection, Incoming, PeerAddress, Transport, TransportError};
use crate::{PeerKey, SESSION_ALPN, paths::Paths};

/// The TLS alert of a peer that speaks no protocol that we speak (RFC 7301 section 3.2).
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// How often an idle connection says that it lives: as often as iroh's paths do, and below what home routers forget.
const KEEP_ALIVE_SECONDS: u64 = 5;

/// A connection this long without a packet is dead: two keep-alives may be lost. A machine turns to another coordinator then.
const IDLE_MILLISECONDS_MAX: u32 = 12_000;

/// Streams that a peer may have open in one connection: the session needs one.
const STREAMS_MAX: u32 = 4;

/// Unread bytes a stream may hold at the receiver: enough for a distant machine, little enough for ten thousand of them.
const STREAM_WINDOW_BYTES: u32 = 512 << 10;

/// Bytes that may be unacknowledged at the sender.
const SEND_WINDOW_BYTES: u64 = 1 << 20;

/// A relay, and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayAddress {
    /// `http://…` or `https://…`.
    pub url: String,
    /// The token shown to the relay.
    pub token: Option<String>,
}

/// What an endpoint needs.
#[derive(Debug, Clone, Default)]
pub struct IrohConfig {
    /// The ed25519 secret key; its public half is the endpoint's identity.
    pub secret_key: [u8; 32],
    /// Addresses to bind; empty binds every interface on a free port.
    pub bind: Vec<SocketAddr>,
    /// Binds no address at all: every byte goes through the relay.
    pub relay_only: bool,
    /// The only relays ever used.
    pub relays: Vec<RelayAddress>,
    /// What it does on the local network. Where it is bound to loopback addresses only, or to none, it does nothing.
    pub local: LocalLookup,
}

/// A relay by which others can reach this endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayReached {
    /// Its URL.
    pub url: String,
    /// Whether there is a connection to it.
    pub connected: bool,
    /// What was wrong with the last try, where it failed.
    pub error: Option<String>,
}

/// Why an endpoint could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A relay's URL cannot be parsed.
    #[error("\"{url}\" is not a relay's URL; write http://HOST:PORT or https://HOST")]
    BadRelayUrl {
        /// As given.
        url: String,
    },
    /// An address cannot be used.
    #[error("{address} cannot be bound: {reason}; choose an address of this machine that is free")]
    BadAddress {
        /// As given.
        address: SocketAddr,
        /// What was wrong.
        reason: String,
    },
    /// The endpoint failed.
    #[error("the endpoint cannot be bound: {reason}; is another process on that port?")]
    Endpoint {
        /// What was wrong.
        reason: String,
    },
}

/// An iroh endpoint.
#[derive(Debug, Clone)]
pub struct IrohTransport {
    endpoint: Endpoint,
    /// The relays that it uses.
    relays: Arc<Mutex<BTreeSet<RelayUrl>>>,
}

impl IrohTransport {
    /// Binds an endpoint.
    pub async fn bind(config: IrohConfig) -> Result<Self, BindError> {
        let alone =
            config.relay_only || (!config.bind.is_empty() && config.bind.iter().all(|address| address.ip().is_loopback()));
        let local = if alone { LocalLookup::Off } else { config.local };
        let mut builder = Endpoint::builder(presets::Minimal)
            .secret_key(SecretKey::from_bytes(&config.secret_key))
            .alpns(vec![SESSION_ALPN.to_vec()])
            .portmapper_config(PortmapperConfig::Disabled)
            .net_report_config(net_report())
            .transport_config(transport_config())
            .relay_mode(relay_mode(&config.relays)?);
        if config.relay_only || !config.bind.is_empty() {
            builder = builder.clear_ip_transports();
        }
        if !config.relay_only {
            for address in config.bind.iter().copied() {
                builder =
                    builder.bind_addr(address).map_err(|error| BindError::BadAddress { address, reason: error.to_string() })?;
            }
        }
        let endpoint = builder.bind().await.map_err(|error| BindError::Endpoint { reason: format!("{error:#}") })?;
        local.begin(&endpoint);
        let relays = relay_configs(&config.relays)?.into_iter().map(|(url, _)| url).collect();
        Ok(Self { endpoint, relays: Arc::new(Mutex::new(relays)) })
    }

    /// Waits until a relay is connected, so that peers can be reached through it. Without relays it waits for ever.
    pub async fn online(&self) {
        self.endpoint.online().await;
    }

    /// The relays by which others can reach this endpoint.
    pub fn relays(&self) -> Vec<RelayReached> {
        reached(&self.endpoint.home_relay_status().get())
    }

    /// Calls `told` whenever this endpoint thinks that it can be found elsewhere than before, for as long as it is open.
    pub async fn follow_address(&self, mut told: impl FnMut(PeerAddress) + Send) {
        let mut address = self.endpoint.watch_addr();
        while address.updated().await.is_ok() {
            told(self.address());
        }
    }

    /// The addresses that were bound.
    pub fn bound_addresses(&self) -> Vec<SocketAddr> {
        self.endpoint.bound_sockets()
    }

    /// Where this endpoint thinks it can be found: for a ticket.
    pub fn address(&self) -> PeerAddress {
        let address = self.endpoint.addr();
        PeerAddress {
            key: self.local_key(),
            addresses: address.ip_addrs().copied().collect(),
            relay: address.relay_urls().next().map(ToString::to_string),
        }
    }

    /// Connects to a peer with a protocol, named as in its ALPN.
    ///
    /// # Errors
    ///
    /// [`TransportError`] where the peer is not reached, or does not speak it.
    pub async fn connect_with(&self, address: &PeerAddress, protocol: &[u8]) -> Result<IrohConnection, TransportError> {
        let connection = self
            .endpoint
            .connect(endpoint_address(address)?, protocol)
            .await
            .map_err(|error| TransportError::Unreachable { peer: address.key, source: format!("{error:#}").into() })?;
        Ok(IrohConnection::new(connection, &self.endpoint))
    }

    /// The endpoint, for protocols other than the session.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

fn net_report() -> NetReportConfig {
    // Relays are found by HTTP; there is no captive portal check to spend packets on.
    let mut config = NetReportConfig::minimal();
    config.https_probes = true;
    config
}

fn transport_config() -> QuicTransportConfig {
    QuicTransportConfig::builder()
        .keep_alive_interval(Duration::from_secs(KEEP_ALIVE_SECONDS))
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_MILLISECONDS_MAX).into()))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None)
        .build()
}

fn relay_mode(relays: &[RelayAddress]) -> Result<RelayMode, BindError> {
    let map = RelayMap::empty();
    for (url, config) in relay_configs(relays)? {
        map.insert(url, config);
    }
    // Also an empty map: relays may be told of later.
    Ok(RelayMode::Custom(map))
}

fn relay_configs(relays: &[RelayAddress]) -> Result<Vec<(RelayUrl, Arc<RelayConfig>)>, BindError> {
    let config = |relay: &RelayAddress| {
        let url: RelayUrl = relay.url.parse().map_err(|_| BindError::BadRelayUrl { url: relay.url.clone() })?;
        // The relay answers no QUIC address discovery: the coordinator's own connections tell addresses.
        let mut config = RelayConfig::new(url.clone(), None);
        if let Some(token) = &relay.token {
            config = config.with_auth_token(token.clone());
        }
        Ok((url, Arc::new(config)))
    };
    relays.iter().map(config).collect()
}

fn reached(relays: &[RelayStatus]) -> Vec<RelayReached> {
    let reached = |relay: &RelayStatus| RelayReached {
        url: relay.url().to_string(),
        connected: relay.is_connected(),
        error: relay.last_error().map(|error| format!("{error:#}")),
    };
    relays.iter().map(reached).collect()
}

fn endpoint_address(address: &PeerAddress) -> Result<EndpointAddr, TransportError> {
    let key = PublicKey::from_bytes(address.key.as_bytes()).map_err(|_| TransportError::BadKey(address.key))?;
    let mut found = EndpointAddr::from_parts(key, address.addresses.iter().copied().map(TransportAddr::Ip));
    if let Some(url) = &address.relay {
        let url = url.parse().map_err(|_| TransportError::BadRelayUrl { url: url.clone() })?;
        found = found.with_relay_url(url);
    }
    Ok(found)
}

impl Transport for IrohTransport {
    type Connection = IrohConnection;
    type Incoming = IrohIncoming;

    fn local_key(&self) -> PeerKey {
        PeerKey(*self.endpoint.id().as_bytes())
    }

    async fn connect(&self, address: &PeerAddress) -> Result<IrohConnection, TransportError> {
        self.connect_with(address, SESSION_ALPN).await
    }

    async fn accept(&self) -> Option<IrohIncoming> {
        let incoming = self.endpoint.accept().await?;
        Some(IrohIncoming { incoming, endpoint: self.endpoint.clone() })
    }

    async fn add_relays(&self, relays: &[RelayAddress]) {
        for relay in relays {
            let configs = relay_configs(std::slice::from_ref(relay));
            let configs = configs.inspect_err(|error| tracing::warn!(%error, "a relay that the coordinator names is not used"));
            for (url, config) in configs.unwrap_or_default() {
                let new = self.relays.lock().unwrap_or_else(PoisonError::into_inner).insert(url.clone());
                if new {
                    self.endpoint.insert_relay(url, config).await;
                }
            }
        }
    }

    async fn close(&self) {
        self.endpoint.close().await;
    }
}

/// A peer that knocks.
#[derive(Debug)]
pub struct IrohIncoming {
    incoming: endpoint::Incoming,
    endpoint: Endpoint,
}

impl Incoming for IrohIncoming {
    type Connection = IrohConnection;

    async fn establish(self) -> Result<IrohConnection, TransportError> {
        let connection = self.incoming.await.map_err(|error| match &error {
            ConnectingError::ConnectionError { source: ConnectionError::TransportError(fault), .. }
                if fault.code == TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL) =>
            {
                TransportError::Protocol
            }
            _ => TransportError::Handshake(format!("{error:#}").into()),
        })?;
        Ok(IrohConnection::new(connection, &self.endpoint))
    }

    fn challenge(self) -> Option<Self> {
        if self.incoming.remote_addr_validated() {
            return Some(self);
        }
        // It fails only for a validated address, and then the peer may come in.
        self.incoming.retry().err().map(|error| Self { incoming: error.into_incoming(), endpoint: self.endpoint })
    }

    fn refuse(self) {
        self.incoming.refuse();
    }
}

/// A QUIC connection.
#[derive(Debug)]
pub struct IrohConnection {
    connection: endpoint::Connection,
    paths: IrohPaths,
}

impl IrohConnection {
    fn new(connection: endpoint::Connection, endpoint: &Endpoint) -> Self {
        let paths = IrohPaths::of(&connection, endpoint);
        Self { connection, paths }
    }

    /// The connection itself: its paths and statistics.
    pub fn inner(&self) -> &endpoint::Connection {
        &self.connection
    }
}

impl Connection for IrohConnection {
    type Send = endpoint::SendStream;
    type Receive = endpoint::RecvStream;

    fn peer(&self) -> PeerKey {
        PeerKey(*self.connection.remote_id().as_bytes())
    }

    fn address(&self) -> String {
        let paths = self.connection.paths();
        let chosen = paths.iter().find(|path| path.is_selected()).or_else(|| paths.iter().next());
        chosen
            .map(|path| match path.remote_addr() {
                TransportAddr::Ip(address) => address.to_string(),
                TransportAddr::Relay(url) => format!("through the relay {url}"),
                other => format!("{other:?}"),
            })
            .unwrap_or_default()
    }

    async fn open_stream(&self) -> Result<(Self::Send, Self::Receive), TransportError> {
        let stream = self.connection.open_bi().await;
        stream.map_err(|error| TransportError::Handshake(Box::new(error)))
    }

    async fn accept_stream(&self) -> Result<(Self::Send, Self::Receive), TransportError> {
        let stream = self.connection.accept_bi().await;
        stream.map_err(|error| TransportError::Handshake(Box::new(error)))
    }

    fn paths(&self) -> Arc<dyn Paths> {
        Arc::new(self.paths.clone())
    }

    async fn closed(&self) -> String {
        self.connection.closed().await.to_string()
    }

    fn close(&self, reason: &str) {
        self.connection.close(VarInt::from_u32(0), reason.as_bytes());
    }
}
