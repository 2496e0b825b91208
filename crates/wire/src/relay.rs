//! The relay for machines to which no packet finds a direct way: a coordinator runs it itself, or it runs alone.

mod counters;
mod desk;
mod door;
mod roll;
mod serve;

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use iroh::EndpointId;
use iroh_relay::{
    KeyCache,
    server::{
        Access, AccessControl, ClientRequest, ConnectionId, Metrics,
        http_server::{Handlers, RelayService},
    },
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::counters::{RelayCounters, RelayRefusal};
pub use self::desk::{RELAY_PATH, RELAY_ROLL_HEADER, RELAY_ROLL_PATH, RELAY_ROOTS_PATH, relay_roll_header};
pub use self::roll::{KeepRoll, ROLL_MEMBERS_MAX, RelayStanding, RollKeeper, TakeError, roll_members};
use self::{desk::Desk, door::Door};
use crate::{PeerKey, relay_token_mark};

/// Decides who may use the relay: called with the key that the client proved and the token it showed.
pub type RelayAccess = Arc<dyn Fn(&PeerKey, Option<&str>) -> bool + Send + Sync>;

/// Keys whose parsed form the relay keeps; four times the machines that one coordinator is meant for would gain nothing.
const KEY_CACHE_ENTRIES: usize = 16_384;

/// How long the relay's port rests after the system could give it no connection, in milliseconds: it is out of file descriptors then.
const ACCEPT_PAUSE_MILLISECONDS: u64 = 100;

/// Connections at once: every machine of a coordinator at its limit, and as many again that are just coming back.
pub const RELAY_CONNECTIONS_MAX: usize = 40_000;
/// Connections at once that have not yet proved who they are; each may take up to [`RELAY_ESTABLISH_MILLISECONDS_MAX`].
pub const RELAY_ESTABLISHING_MAX: usize = 1_024;
/// Of these, from one address: a school behind one NAT that comes back after a power cut, and no more.
pub const RELAY_ESTABLISHING_PER_ADDRESS_MAX: usize = 256;
/// Connections of one key at once: the old one of a machine whose network has just changed, and one that comes of a restart.
pub const RELAY_CONNECTIONS_PER_KEY_MAX: usize = 4;
/// How long a connection may take to prove who it is, in milliseconds.
pub const RELAY_ESTABLISH_MILLISECONDS_MAX: u64 = 10_000;
/// Bytes of a request's head; iroh's own has about 500.
pub const RELAY_HEAD_BYTES_MAX: usize = 16 * 1024;

/// The relay's limits; [`Default`] is what a coordinator uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Connections at once.
    pub connections_max: usize,
    /// Connections at once that have not yet proved who they are.
    pub establishing_max: usize,
    /// Of these, from one address.
    pub establishing_per_address_max: usize,
    /// Connections of one key at once.
    pub connections_per_key_max: usize,
    /// How long a connection may take to prove who it is, in milliseconds.
    pub establish_milliseconds_max: u64,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            connections_max: RELAY_CONNECTIONS_MAX,
            establishing_max: RELAY_ESTABLISHING_MAX,
            establishing_per_address_max: RELAY_ESTABLISHING_PER_ADDRESS_MAX,
            connections_per_key_max: RELAY_CONNECTIONS_PER_KEY_MAX,
            establish_milliseconds_max: RELAY_ESTABLISH_MILLISECONDS_MAX,
        }
    }
}

/// Why the relay does not run.
#[derive(Debug, thiserror::Error)]
#[error("the relay cannot listen on {address}: {source}; choose an address of this machine that is free")]
pub struct RelayError {
    address: SocketAddr,
    source: io::Error,
}

/// A running relay; it stops when dropped.
///
/// It speaks plain HTTP: what goes through it is QUIC, encrypted from end to end, and a client proves its key by signing the relay's
/// challenge. The token it shows opens nothing but a relay (see [`crate::Ticket::relay_token`]).
///
/// iroh's relay service does the relaying; who gets as far as to speak to it is decided here: a client is counted, held to
/// [`RelayLimits`], and cut off where it does not prove its key in time.
pub struct Relay {
    service: RelayService,
    door: Arc<Door>,
    metrics: Arc<Metrics>,
    address: SocketAddr,
    stop: CancellationToken,
    connections: TaskTracker,
}

impl Relay {
    /// Starts a relay on `address`. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`RelayError`] where the address cannot be had.
    pub async fn spawn(address: SocketAddr, access: RelayAccess, limits: RelayLimits) -> Result<Self, RelayError> {
        Self::open(address, access, limits, None).await
    }

    /// Starts a relay that runs alone: it admits whom coordinators name, and its port takes their word. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// [`RelayError`] where the address cannot be had.
    pub async fn spawn_alone(address: SocketAddr, keeper: Arc<RollKeeper>, limits: RelayLimits) -> Result<Self, RelayError> {
        let admits = Arc::clone(&keeper);
        Self::open(address, Arc::new(move |peer, token| admits.admits(peer, token)), limits, Some(keeper)).await
    }

    async fn open(
        address: SocketAddr,
        access: RelayAccess,
        limits: RelayLimits,
        keeper: Option<Arc<RollKeeper>>,
    ) -> Result<Self, RelayError> {
        let failed = |source| RelayError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let door = Arc::new(Door::new(limits));
        let metrics = Arc::new(Metrics::default());
        let gate = Gate { access, door: Arc::clone(&door) };
        let cache = KeyCache::new(KEY_CACHE_ENTRIES);
        let service = RelayService::new(handlers(), http::HeaderMap::new(), None, cache, Arc::new(gate), Arc::clone(&metrics));
        let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
        let relay = Self { service, door, metrics, address, stop, connections };
        let port = serve::Port {
            service: relay.service.clone(),
            door: Arc::clone(&relay.door),
            desk: keeper.map(|keeper| Arc::new(relay.desk(keeper))),
        };
        tokio::spawn(accept(listener, port, relay.stop.clone(), relay.connections.clone()));
        Ok(relay)
    }

    fn desk(&self, keeper: Arc<RollKeeper>) -> Desk {
        let (door, reviewed, service, roll) =
            (Arc::clone(&self.door), Arc::clone(&self.door), self.service.clone(), Arc::clone(&keeper));
        let counts = move || {
            let counters = door.counters();
            (counters.established, counters.refused.values().sum())
        };
        let review = move || {
            for (key, mark) in reviewed.inside() {
                let id = EndpointId::from_bytes(key.as_bytes());
                if !roll.admits_marked(&key, mark.as_deref())
                    && let Ok(id) = id
                    && service.clients().disconnect(id, None)
                {
                    tracing::info!(%key, "no member any more; cut off from the relay");
                    reviewed.struck_off();
                }
            }
        };
        Desk::new(keeper, Box::new(counts), Box::new(review))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL for whoever reaches it at the address it listens on.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has seen and refused since the start.
    pub fn counters(&self) -> RelayCounters {
        (self.counter())()
    }

    /// Tells [`Relay::counters`] for as long as somebody asks.
    pub fn counter(&self) -> Arc<dyn Fn() -> RelayCounters + Send + Sync> {
        let (door, metrics) = (Arc::clone(&self.door), Arc::clone(&self.metrics));
        Arc::new(move || RelayCounters {
            bytes_sent: metrics.bytes_sent.get(),
            bytes_received: metrics.bytes_recv.get(),
            packets_dropped: metrics.send_packets_dropped.get(),
            ..door.counters()
        })
    }

    /// Stops it: no connection is taken any more, and those that are open are closed.
    pub async fn stop(self) {
        self.stop.cancel();
        self.connections.close();
        self.service.shutdown().await;
        self.connections.wait().await;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Relay").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What the port answers beside the relaying: clients measure how far away it is.
fn handlers() -> Handlers {
    let mut handlers = Handlers::default();
    let probe = |_, response: http::response::Builder| {
        let body: Box<http_body_util::Full<bytes::Bytes>> = Box::default();
        Ok(response.body(body as _)?)
    };
    handlers.insert((http::Method::GET, iroh_relay::http::RELAY_PROBE_PATH), Box::new(probe));
    handlers
}

async fn accept(listener: TcpListener, port: serve::Port, stop: CancellationToken, connections: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(stream, peer)| twin(stream).map(|(stream, twin)| (stream, twin, peer))) {
            Ok((stream, twin, peer)) => {
                // Whoever is refused is closed by being dropped.
                let Ok(number) = port.door.enter(peer.ip(), twin) else { continue };
                connections.spawn(serve::connection(stream, number, port.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the relay could not take a connection");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MILLISECONDS)).await;
            }
        }
    }
}

/// A second handle of a socket, with which it can be cut off when the first has been given away.
fn twin(stream: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream)> {
    let stream = stream.into_std()?;
    let twin = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, twin))
}

/// Who is let through, once the key is proved.
struct Gate {
    access: RelayAccess,
    door: Arc<Door>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Gate")
    }
}

impl AccessControl for Gate {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        let key = PeerKey(*request.endpoint_id().as_bytes());
        let number = serve::number(request.headers());
        let token = request.auth_token();
        let member = (self.access)(&key, token.as_deref());
        let mark = token.as_deref().map(relay_token_mark);
        match self.door.admit(number, key, request.connection_id(), mark, member) {
            Ok(()) => Access::Allow,
            Err(refusal) => {
                tracing::info!(%key, %refusal, "refused at the relay");
                Access::Deny { reason: Some(refusal.to_string()) }
            }
        }
    }

    fn on_disconnect(&self, _: EndpointId, connection: ConnectionId) {
        self.door.left(connection);
    }
}
