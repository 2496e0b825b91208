//! The bytes under way on one connection.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};
use stead_wire::PeerKey;
use tokio::io::ReadBuf;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Bytes under way one way before the sender waits.
const WINDOW_BYTES: usize = 256 << 10;

/// A connection: who is at its ends, and what is on its way.
pub(super) struct Link {
    pub(super) number: u64,
    from: PeerKey,
    to: PeerKey,
    up: Mutex<Pipe>,
    down: Mutex<Pipe>,
    over: CancellationToken,
    stalled: AtomicBool,
    stalls: AtomicU64,
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From who connected.
    Up,
    /// To who connected.
    Down,
}

#[derive(Default)]
struct Pipe {
    chunks: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}

/// What a reader finds.
pub(super) enum Found {
    /// Bytes, or the end.
    Read,
    /// Bytes that arrive then.
    At(Instant),
    /// Nothing yet.
    Nothing,
    /// The connection is over.
    Over,
}

impl Link {
    pub(super) fn new(number: u64, from: PeerKey, to: PeerKey) -> Self {
        let (up, down) = (Mutex::default(), Mutex::default());
        let (over, stalled, stalls) = (CancellationToken::new(), AtomicBool::new(false), AtomicU64::new(0));
        Self { number, from, to, up, down, over, stalled, stalls }
    }

    pub(super) fn is_of(&self, key: PeerKey) -> bool {
        self.from == key || self.to == key
    }

    pub(super) fn peer_of(&self, way: Way) -> PeerKey {
        match way {
            Way::Up => self.from,
            Way::Down => self.to,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    pub(super) async fn ended(&self) {
        self.over.cancelled().await;
    }

    pub(super) fn end(&self) {
        self.over.cancel();
        self.wake();
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    pub(super) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// Nothing arrives any more, or again.
    pub(super) fn stall(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
        self.stalls.fetch_add(u64::from(stalled), Ordering::Relaxed);
        self.wake();
    }

    fn wake(&self) {
        self.pipe(Way::Up).wake();
        self.pipe(Way::Down).wake();
    }

    fn pipe(&self, way: Way) -> MutexGuard<'_, Pipe> {
        let pipe = match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        };
        pipe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts bytes on their way. Says whether they overtook others, which they then wait for.
    pub(super) fn send(&self, way: Way, arrival: Instant, bytes: Bytes) -> bool {
        let mut pipe = self.pipe(way);
        let before = pipe.chunks.back().map(|(at, _)| *at);
        let overtook = before.is_some_and(|before| arrival < before);
        let at = before.map_or(arrival, |before| before.max(arrival));
        pipe.bytes = pipe.bytes.saturating_add(bytes.len());
        pipe.chunks.push_back((at, bytes));
        pipe.reader.take().into_iter().for_each(Waker::wake);
        overtook
    }

    pub(super) fn finish(&self, way: Way) {
        let mut pipe = self.pipe(way);
        pipe.ended = true;
        pipe.wake();
    }

    /// Whether there is room for more.
    pub(super) fn poll_room(&self, way: Way, context: &Context<'_>) -> Poll<bool> {
        if self.is_over() {
            return Poll::Ready(false);
        }
        let mut pipe = self.pipe(way);
        if pipe.bytes < WINDOW_BYTES {
            return Poll::Ready(true);
        }
        pipe.writer = Some(context.waker().clone());
        Poll::Pending
    }

    pub(super) fn read(&self, way: Way, into: &mut ReadBuf<'_>, context: &Context<'_>) -> Found {
        if self.is_over() {
            return Found::Over;
        }
        let mut pipe = self.pipe(way);
        pipe.reader = Some(context.waker().clone());
        if self.is_stalled() {
            return Found::Nothing;
        }
        let Some((at, chunk)) = pipe.chunks.front_mut() else { return if pipe.ended { Found::Read } else { Found::Nothing } };
        if *at > Instant::now() {
            return Found::At(*at);
        }
        let length = chunk.len().min(into.remaining());
        into.put_slice(chunk.get(..length).unwrap_or_default());
        chunk.advance(length);
        let is_read = chunk.is_empty();
        if is_read {
            pipe.chunks.pop_front();
        }
        pipe.bytes = pipe.bytes.saturating_sub(length);
        pipe.writer.take().into_iter().for_each(Waker::wake);
        Found::Read
    }
}
