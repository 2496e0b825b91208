//! The simulated network as `stead-wire` knows one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use stead_wire::{Connection, Incoming, PeerAddress, PeerKey, Transport, TransportError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::pipe::{Found, Link, Way};
use super::{CONNECT, Net, pair};
use crate::liar::{Liar, Lying};
use crate::trace::Fault;

/// One endpoint.
pub struct SimTransport {
    net: Net,
    key: PeerKey,
    number: u64,
    knocks: Mutex<mpsc::Receiver<SimConnection>>,
    closed: CancellationToken,
}

impl SimTransport {
    pub(super) fn new(net: Net, key: PeerKey, number: u64, knocks: mpsc::Receiver<SimConnection>) -> Self {
        Self { net, key, number, knocks: Mutex::new(knocks), closed: CancellationToken::new() }
    }

    /// Whether it is still the one that is reached by its key.
    fn is_there(&self) -> bool {
        self.net.inner().endpoints.get(&self.key).is_some_and(|endpoint| endpoint.number == self.number)
    }
}

fn unreachable(peer: PeerKey, why: &'static str) -> TransportError {
    TransportError::Unreachable { peer, source: why.into() }
}

impl Transport for SimTransport {
    type Connection = SimConnection;
    type Incoming = SimConnection;

    fn local_key(&self) -> PeerKey {
        self.key
    }

    async fn connect(&self, address: &PeerAddress) -> Result<SimConnection, TransportError> {
        let peer = address.key;
        // There and back.
        let there = self.net.arrival().max(self.net.arrival());
        tokio::time::sleep_until(there).await;
        let knock = {
            let inner = self.net.inner();
            let cut = inner.cut.contains(&pair(self.key, peer));
            inner.endpoints.get(&peer).filter(|_| !cut).map(|endpoint| endpoint.knock.clone())
        };
        let Some(knock) = knock.filter(|_| self.is_there()) else {
            tokio::time::sleep(CONNECT).await;
            return Err(unreachable(peer, "nobody answers"));
        };
        let link = {
            let mut inner = self.net.inner();
            let number = inner.number();
            let link = Arc::new(Link::new(number, self.key, peer));
            inner.links.insert(number, Arc::clone(&link));
            let (from, to) = (inner.name(self.key), inner.name(peer));
            self.net.trace.note(format_args!("{from} connects to {to}: {number}"));
            link
        };
        let far = SimConnection { net: self.net.clone(), link: Arc::clone(&link), way: Way::Down };
        if knock.try_send(far).is_err() {
            link.end();
            return Err(unreachable(peer, "nobody listens"));
        }
        Ok(SimConnection { net: self.net.clone(), link, way: Way::Up })
    }

    async fn accept(&self) -> Option<SimConnection> {
        let mut knocks = self.knocks.lock().await;
        tokio::select! {
            biased;
            () = self.closed.cancelled() => None,
            knock = knocks.recv() => knock,
        }
    }

    async fn close(&self) {
        self.closed.cancel();
        if self.is_there() {
            self.net.kill(self.key, false);
        }
    }
}

/// One end of a connection. `way` is where its own bytes go.
pub struct SimConnection {
    net: Net,
    link: Arc<Link>,
    way: Way,
}

impl SimConnection {
    fn back(&self) -> Way {
        if self.way == Way::Up { Way::Down } else { Way::Up }
    }

    fn halves(&self) -> (SendHalf, ReceiveHalf) {
        let us = self.link.peer_of(self.way);
        let liar = self.net.inner().liars.get(&us).cloned();
        let liar = liar.filter(|_| self.way == Way::Down).map(|liar: Arc<Liar>| liar.session(self.link.peer_of(Way::Up)));
        let send = SendHalf { net: self.net.clone(), link: Arc::clone(&self.link), way: self.way, liar };
        (send, ReceiveHalf { link: Arc::clone(&self.link), way: self.back(), sleep: None })
    }
}

impl Incoming for SimConnection {
    type Connection = Self;

    async fn establish(self) -> Result<Self, TransportError> {
        Ok(self)
    }

    fn challenge(self) -> Option<Self> {
        Some(self)
    }

    fn refuse(self) {
        self.link.end();
    }
}

impl Connection for SimConnection {
    type Send = SendHalf;
    type Receive = ReceiveHalf;

    fn peer(&self) -> PeerKey {
        self.link.peer_of(self.back())
    }

    async fn open_stream(&self) -> Result<(SendHalf, ReceiveHalf), TransportError> {
        Ok(self.halves())
    }

    async fn accept_stream(&self) -> Result<(SendHalf, ReceiveHalf), TransportError> {
        Ok(self.halves())
    }

    async fn closed(&self) -> String {
        self.link.ended().await;
        "the connection was lost".to_owned()
    }

    fn close(&self, _reason: &str) {
        if !self.link.is_stalled() {
            self.link.end();
        }
    }
}

impl Drop for SimConnection {
    fn drop(&mut self) {
        // Who is dead says nothing any more.
        if !self.link.is_stalled() {
            self.link.end();
        }
    }
}

/// The sending half of a stream.
pub struct SendHalf {
    net: Net,
    link: Arc<Link>,
    way: Way,
    liar: Option<Lying>,
}

impl SendHalf {
    fn put(&self, bytes: Bytes) {
        let arrival = self.net.arrival();
        let way = if self.way == Way::Up { ">" } else { "<" };
        self.net.trace.note_with(format_args!("{}{way} {} bytes", self.link.number, bytes.len()), &bytes);
        if self.link.send(self.way, arrival, bytes) {
            self.net.trace.fault(Fault::Reorder);
        }
    }
}

impl AsyncWrite for SendHalf {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !ready!(self.link.poll_room(self.way, context)) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let frames = match &mut self.liar {
            Some(liar) => liar.say(bytes),
            None => vec![Bytes::copy_from_slice(bytes)],
        };
        frames.into_iter().for_each(|frame| self.put(frame));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.finish(self.way);
        Poll::Ready(Ok(()))
    }
}

/// The receiving half of a stream.
pub struct ReceiveHalf {
    link: Arc<Link>,
    way: Way,
    sleep: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl AsyncRead for ReceiveHalf {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.link.read(self.way, into, context) {
                Found::Read => return Poll::Ready(Ok(())),
                Found::Nothing => return Poll::Pending,
                Found::Over => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Found::At(at) => {
                    if self.sleep.as_ref().is_none_or(|(until, _)| *until != at) {
                        self.sleep = Some((at, Box::pin(tokio::time::sleep_until(at))));
                    }
                    let Some((_, sleep)) = &mut self.sleep else { return Poll::Pending };
                    ready!(sleep.as_mut().poll(context));
                    self.sleep = None;
                    if at > Instant::now() {
                        // The clock counts in milliseconds, and rounds up; this is only in case it should not.
                        self.sleep = Some((at, Box::pin(tokio::time::sleep(Duration::from_millis(1)))));
                    }
                }
            }
        }
    }
}
