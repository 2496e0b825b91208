//! Finding a coordinator on the local network (multicast DNS, RFC 6762): it announces itself, and machines ask only while they look
//! for it.
//!
//! iroh has a lookup of its own for this, which speaks by the interface of the default route alone; a network without a way out has
//! none, so what is spoken here is spoken by every IPv4 interface that the endpoint knows.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::stream::BoxStream;
use iroh::{
    Endpoint, EndpointId, TransportAddr,
    address_lookup::{AddressLookup, EndpointData, EndpointInfo, Error, Item},
    endpoint::TransportAddrUsage,
};
use swarm_discovery::{Discoverer, DropGuard, Peer};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

/// The service's name: a coordinator is `KEY._stead._udp.local`, its key in z-base-32.
const SERVICE: &str = "stead";

/// What the lookup calls itself.
const NAME: &str = "local network";

/// How long the known addresses have to answer before the network is asked, in milliseconds: most machines never ask.
const PATIENCE_MILLISECONDS: u64 = 1_000;

/// For how long one dial asks, in seconds; the next one asks again.
const ASK_SECONDS: u64 = 10;

/// Answers that may wait to be taken in: a coordinator says the same thing over and over.
const ANSWERS_WAITING_MAX: usize = 8;

/// What an endpoint does on the local network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LocalLookup {
    /// Nothing.
    #[default]
    Off,
    /// It asks for those that it wants to reach and has not reached yet. It says nothing of itself.
    Ask,
    /// It announces its key and its addresses.
    Announce,
}

impl LocalLookup {
    /// Begins to. A network without multicast is no reason not to run.
    pub(super) fn begin(self, endpoint: &Endpoint) {
        let Ok(services) = endpoint.address_lookup() else { return };
        match self {
            Self::Off => {}
            Self::Ask => services.add(Asking { endpoint: endpoint.clone() }),
            Self::Announce => services.add(Announcing { own: endpoint.id(), announced: Mutex::default() }),
        }
    }
}

/// The addresses by whose interfaces the network is spoken to.
fn interfaces(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<Ipv4Addr> {
    let local = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        _ => None,
    };
    addresses.into_iter().filter_map(local).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Announces this endpoint, at the addresses that it has now.
struct Announcing {
    own: EndpointId,
    announced: Mutex<Option<(BTreeSet<SocketAddr>, DropGuard)>>,
}

impl std::fmt::Debug for Announcing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Announcing")
    }
}

impl AddressLookup for Announcing {
    fn publish(&self, data: &EndpointData) {
        let addresses: BTreeSet<SocketAddr> = data.ip_addrs().copied().filter(|address| !address.ip().is_loopback()).collect();
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        if announced.as_ref().is_some_and(|(before, _)| *before == addresses) {
            return;
        }
        // What was said before is no longer true.
        announced.take();
        if addresses.is_empty() {
            return;
        }
        let mut discoverer = Discoverer::new(SERVICE.to_owned(), self.own.to_z32());
        discoverer = discoverer.with_multicast_interfaces_v4(interfaces(addresses.iter().copied()));
        for address in &addresses {
            discoverer = discoverer.with_addrs(address.port(), [address.ip()]);
        }
        match discoverer.spawn(&tokio::runtime::Handle::current()) {
            Ok(guard) => *announced = Some((addresses, guard)),
            Err(error) => tracing::warn!(%error, "machines on the local network will not find this coordinator by multicast"),
        }
    }
}

/// Asks the network, only while somebody is looked for.
#[derive(Debug)]
struct Asking {
    endpoint: Endpoint,
}

impl AddressLookup for Asking {
    fn resolve(&self, wanted: EndpointId) -> Option<BoxStream<'static, Result<Item, Error>>> {
        let (answers, mut taken) = mpsc::channel(ANSWERS_WAITING_MAX);
        tokio::spawn(ask(self.endpoint.clone(), wanted, answers));
        Some(Box::pin(futures::stream::poll_fn(move |context| taken.poll_recv(context))))
    }
}

async fn ask(endpoint: Endpoint, wanted: EndpointId, answers: mpsc::Sender<Result<Item, Error>>) {
    sleep(Duration::from_millis(PATIENCE_MILLISECONDS)).await;
    if answers.is_closed() || is_reached(&endpoint, wanted).await {
        return;
    }
    let (heard, mut hears) = mpsc::channel::<Vec<SocketAddr>>(ANSWERS_WAITING_MAX);
    let name = wanted.to_z32();
    let callback = move |who: &str, peer: &Peer| {
        if who == name && !peer.is_expiry() {
            // One that finds no room is heard again.
            let _ = heard.try_send(peer.addrs().iter().map(|(ip, port)| SocketAddr::new(*ip, *port)).collect());
        }
    };
    let discoverer = Discoverer::new_interactive(SERVICE.to_owned(), endpoint.id().to_z32()).with_callback(callback);
    let discoverer = discoverer.with_multicast_interfaces_v4(interfaces(endpoint.addr().ip_addrs().copied()));
    let asking = match discoverer.spawn(&tokio::runtime::Handle::current()) {
        Ok(asking) => asking,
        Err(error) => return tracing::debug!(%error, "multicast DNS cannot be spoken here"),
    };
    let until = Instant::now() + Duration::from_secs(ASK_SECONDS);
    let mut found = BTreeSet::new();
    while let Ok(Some(addresses)) = timeout_at(until, hears.recv()).await {
        if addresses.iter().all(|address| found.contains(address)) {
            continue;
        }
        found.extend(addresses.iter().copied());
        tracing::info!(coordinator = %wanted, ?addresses, "found on the local network");
        let data = addresses.into_iter().map(TransportAddr::Ip).collect();
        if answers.send(Ok(Item::new(EndpointInfo::from_parts(wanted, data), NAME, None))).await.is_err() {
            break;
        }
    }
    drop(asking);
}

/// Whether one of the other side's addresses is in use: then nobody needs to be asked.
async fn is_reached(endpoint: &Endpoint, wanted: EndpointId) -> bool {
    let info = endpoint.remote_info(wanted).await;
    info.is_some_and(|info| info.addrs().any(|address| matches!(address.usage(), TransportAddrUsage::Active)))
}
