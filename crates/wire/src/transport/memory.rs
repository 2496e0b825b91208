//! A network in memory, for tests and simulation: it runs under a paused clock, and connections can be cut.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{DuplexStream, ReadHalf, WriteHalf},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{Connection, Incoming, PeerAddress, Transport, TransportError};
use crate::PeerKey;

/// Bytes that one direction of a stream holds before its sender waits.
const STREAM_BYTES: usize = 64 << 10;

/// Peers that may wait to be accepted.
const BACKLOG: usize = 1_024;

type Knock = mpsc::Sender<MemoryConnection>;

#[derive(Debug, Default)]
struct Wires {
    endpoints: HashMap<PeerKey, Knock>,
    connections: Vec<(PeerKey, PeerKey, CancellationToken)>,
}

/// The network.
#[derive(Debug, Clone, Default)]
pub struct MemoryNetwork(Arc<Mutex<Wires>>);

impl MemoryNetwork {
    /// A network with nobody in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new endpoint. One with the same key is no longer reached from now on, though its connections live: two machines may present one key.
    pub fn endpoint(&self, key: PeerKey) -> MemoryTransport {
        let (knock, knocks) = mpsc::channel(BACKLOG);
        self.wires(|wires| wires.endpoints.insert(key, knock.clone()));
        MemoryTransport {
            network: self.clone(),
            key,
            knock,
            knocks: tokio::sync::Mutex::new(knocks),
            closed: CancellationToken::new(),
        }
    }

    /// Cuts every connection from or to `key`; gives how many there were. Bytes under way are lost.
    pub fn cut(&self, key: PeerKey) -> usize {
        self.wires(|wires| {
            let before = wires.connections.len();
            wires.connections.retain(|(from, to, token)| {
                let keep = *from != key && *to != key;
                if !keep {
                    token.cancel();
                }
                keep && !token.is_cancelled()
            });
            before - wires.connections.len()
        })
    }

    fn wires<T>(&self, act: impl FnOnce(&mut Wires) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One endpoint of the network.
#[derive(Debug)]
pub struct MemoryTransport {
    network: MemoryNetwork,
    key: PeerKey,
    knock: Knock,
    knocks: tokio::sync::Mutex<mpsc::Receiver<MemoryConnection>>,
    closed: CancellationToken,
}

impl Transport for MemoryTransport {
    type Connection = MemoryConnection;
    type Incoming = MemoryConnection;

    fn local_key(&self) -> PeerKey {
        self.key
    }

    async fn connect(&self, address: &PeerAddress) -> Result<MemoryConnection, TransportError> {
        let unreachable = || TransportError::Unreachable { peer: address.key, source: "nobody listens with that key".into() };
        if self.closed.is_cancelled() {
            return Err(TransportError::Closed);
        }
        let knock = self.network.wires(|wires| wires.endpoints.get(&address.key).cloned()).ok_or_else(unreachable)?;
        let (near, far) = tokio::io::duplex(STREAM_BYTES);
        let token = CancellationToken::new();
        let connection = |peer, stream| MemoryConnection { peer, stream: Mutex::new(Some(stream)), token: token.clone() };
        knock.try_send(connection(self.key, far)).map_err(|_| unreachable())?;
        self.network.wires(|wires| {
            wires.connections.retain(|(_, _, token)| !token.is_cancelled());
            wires.connections.push((self.key, address.key, token.clone()));
        });
        Ok(connection(address.key, near))
    }

    async fn accept(&self) -> Option<MemoryConnection> {
        let mut knocks = self.knocks.lock().await;
        tokio::select! {
            biased;
            () = self.closed.cancelled() => None,
            knock = knocks.recv() => knock,
        }
    }

    async fn close(&self) {
        self.closed.cancel();
        self.network.cut(self.key);
        self.network.wires(|wires| {
            if wires.endpoints.get(&self.key).is_some_and(|knock| knock.same_channel(&self.knock)) {
                wires.endpoints.remove(&self.key);
            }
        });
    }
}

/// One end of a connection, with its one stream.
#[derive(Debug)]
pub struct MemoryConnection {
    peer: PeerKey,
    stream: Mutex<Option<DuplexStream>>,
    token: CancellationToken,
}

impl Incoming for MemoryConnection {
    type Connection = Self;

    async fn establish(self) -> Result<Self, TransportError> {
        Ok(self)
    }

    fn challenge(self) -> Option<Self> {
        Some(self)
    }

    fn refuse(self) {
        self.token.cancel();
    }
}

impl MemoryConnection {
    fn stream(&self) -> Result<(WriteHalf<DuplexStream>, ReadHalf<DuplexStream>), TransportError> {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (receive, send) = tokio::io::split(stream.ok_or(TransportError::Closed)?);
        Ok((send, receive))
    }
}

impl Connection for MemoryConnection {
    type Send = WriteHalf<DuplexStream>;
    type Receive = ReadHalf<DuplexStream>;

    fn peer(&self) -> PeerKey {
        self.peer
    }

    async fn open_stream(&self) -> Result<(Self::Send, Self::Receive), TransportError> {
        self.stream()
    }

    async fn accept_stream(&self) -> Result<(Self::Send, Self::Receive), TransportError> {
        self.stream()
    }

    async fn closed(&self) -> String {
        self.token.cancelled().await;
        "the connection was closed".to_owned()
    }

    fn close(&self, _reason: &str) {
        self.token.cancel();
    }
}

impl Drop for MemoryConnection {
    fn drop(&mut self) {
        self.token.cancel();
    }
}
