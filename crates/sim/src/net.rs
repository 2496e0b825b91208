//! The network of a simulation: connections by key, whose bytes are late, overtaken, lost on the way or cut off.
//!
//! A connection is what QUIC makes of datagrams: one reliable stream each way. Of a datagram that is lost, doubled or overtaken the
//! peers see that bytes come late; of a path that is cut for long, that the connection ends with bytes under way.

mod pipe;
mod transport;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stead_wire::PeerKey;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::pipe::Link;
pub use self::transport::{SimConnection, SimTransport};
use crate::chance::Chance;
use crate::liar::Liar;
use crate::trace::{Fault, Trace};

/// How long a path may be cut before its connections end: QUIC's idle time.
const IDLE: Duration = Duration::from_secs(15);
/// How long until somebody notices that nobody answers.
const CONNECT: Duration = Duration::from_secs(5);
/// The first pause before what was lost is sent again; it doubles.
const RESEND_MILLISECONDS: u64 = 200;
/// Peers that may wait to be accepted.
const BACKLOG: usize = 1_024;

/// What the network is like, in thousandths of its datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The least time under way, in milliseconds.
    pub latency_least: u64,
    /// The most, but for what is delayed.
    pub latency_most: u64,
    /// Lost, and sent again.
    pub drop: u64,
    /// Seconds late.
    pub delay: u64,
    /// Doubled.
    pub duplicate: u64,
}

impl Weather {
    /// A network on which nothing goes wrong.
    pub const CALM: Self = Self { latency_least: 1, latency_most: 20, drop: 0, delay: 0, duplicate: 0 };
}

struct Endpoint {
    number: u64,
    knock: mpsc::Sender<SimConnection>,
}

struct Inner {
    chance: Chance,
    weather: Weather,
    endpoints: BTreeMap<PeerKey, Endpoint>,
    links: BTreeMap<u64, Arc<Link>>,
    next: u64,
    cut: BTreeSet<(PeerKey, PeerKey)>,
    liars: BTreeMap<PeerKey, Arc<Liar>>,
    names: BTreeMap<PeerKey, String>,
}

/// The network. Cheap to clone.
#[derive(Clone)]
pub struct Net {
    inner: Arc<Mutex<Inner>>,
    trace: Trace,
}

fn pair(one: PeerKey, other: PeerKey) -> (PeerKey, PeerKey) {
    if one <= other { (one, other) } else { (other, one) }
}

impl Net {
    /// A network with nobody in it.
    pub fn new(chance: Chance, trace: Trace) -> Self {
        let inner = Inner {
            chance,
            weather: Weather::CALM,
            endpoints: BTreeMap::new(),
            links: BTreeMap::new(),
            next: 1,
            cut: BTreeSet::new(),
            liars: BTreeMap::new(),
            names: BTreeMap::new(),
        };
        Self { inner: Arc::new(Mutex::new(inner)), trace }
    }

    /// From now on it is like this.
    pub fn set_weather(&self, weather: Weather) {
        self.inner().weather = weather;
    }

    /// What a key is called in the trace.
    pub fn name(&self, key: PeerKey, name: &str) {
        self.inner().names.insert(key, name.to_owned());
    }

    /// What a coordinator with this key sends goes through a liar, or no longer.
    pub fn set_liar(&self, key: PeerKey, liar: Option<Arc<Liar>>) {
        match liar {
            Some(liar) => self.inner().liars.insert(key, liar),
            None => self.inner().liars.remove(&key),
        };
    }

    /// A new endpoint. One with the same key is no longer reached.
    pub fn endpoint(&self, key: PeerKey) -> SimTransport {
        let (knock, knocks) = mpsc::channel(BACKLOG);
        let mut inner = self.inner();
        let number = inner.number();
        inner.endpoints.insert(key, Endpoint { number, knock });
        SimTransport::new(self.clone(), key, number, knocks)
    }

    /// Whoever has this key is dead. Its peers notice at once, or, where it went silently, when they have heard nothing for long.
    pub fn kill(&self, key: PeerKey, silently: bool) {
        let links = {
            let mut inner = self.inner();
            inner.endpoints.remove(&key);
            inner.links_of(key)
        };
        for link in links {
            if silently {
                link.stall(true);
                self.end_later(link);
            } else {
                link.end();
            }
        }
    }

    /// Cuts the path between two.
    pub fn cut(&self, one: PeerKey, other: PeerKey) {
        self.trace.fault(Fault::Partition);
        let links = {
            let mut inner = self.inner();
            inner.cut.insert(pair(one, other));
            inner.links_of(one).into_iter().filter(|link| link.is_of(other)).collect::<Vec<_>>()
        };
        for link in links {
            link.stall(true);
            self.end_later(link);
        }
    }

    /// The path between two is there again.
    pub fn heal(&self, one: PeerKey, other: PeerKey) {
        let links = {
            let mut inner = self.inner();
            inner.cut.remove(&pair(one, other));
            inner.links_of(one).into_iter().filter(|link| link.is_of(other)).collect::<Vec<_>>()
        };
        links.iter().for_each(|link| link.stall(false));
    }

    fn end_later(&self, link: Arc<Link>) {
        let trace = self.trace.clone();
        tokio::spawn(async move {
            let stalls = link.stalls();
            tokio::time::sleep(IDLE).await;
            if link.is_stalled() && link.stalls() == stalls && !link.is_over() {
                trace.fault(Fault::ConnectionLost);
                link.end();
            }
        });
    }

    /// When a datagram that is sent now arrives, as far as it depends on nothing else.
    fn arrival(&self) -> Instant {
        let mut inner = self.inner();
        let weather = inner.weather;
        let chance = &mut inner.chance;
        let latency = |chance: &mut Chance| chance.between(weather.latency_least, weather.latency_most);
        let mut late = latency(chance);
        let mut pause = RESEND_MILLISECONDS;
        while chance.permille(weather.drop) {
            self.trace.fault(Fault::Drop);
            late = late.saturating_add(pause);
            pause = pause.saturating_mul(2);
        }
        if chance.permille(weather.delay) {
            self.trace.fault(Fault::Delay);
            late = late.saturating_add(chance.between(500, 5_000));
        }
        if chance.permille(weather.duplicate) {
            self.trace.fault(Fault::Duplicate);
            late = late.min(latency(chance));
        }
        Instant::now() + Duration::from_millis(late)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next = number.saturating_add(1);
        number
    }

    fn links_of(&mut self, key: PeerKey) -> Vec<Arc<Link>> {
        self.links.retain(|_, link| !link.is_over());
        self.links.values().filter(|link| link.is_of(key)).cloned().collect()
    }

    fn name(&self, key: PeerKey) -> String {
        self.names.get(&key).cloned().unwrap_or_else(|| key.to_string())
    }
}
