//! The ways of an iroh connection.

use std::time::Duration;

use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use iroh::{
    Endpoint, TransportAddr,
    endpoint::{self, LocalTransportAddr, Side},
};
use stead_model::PathKind;
use tokio::time::Instant;

use crate::paths::{DeadPathWatch, Finding, PathSeen, Paths};

/// How often a connection is looked at for whether its way still answers, in milliseconds.
const LOOK_MILLISECONDS: u64 = 500;

/// The same while it does not.
const LOOK_CLOSELY_MILLISECONDS: u64 = 250;

/// The ways of a connection, which they do not keep open.
#[derive(Debug, Clone)]
pub(super) struct IrohPaths {
    connection: endpoint::WeakConnectionHandle,
    endpoint: Endpoint,
}

impl IrohPaths {
    pub(super) fn of(connection: &endpoint::Connection, endpoint: &Endpoint) -> Self {
        Self { connection: connection.weak_handle(), endpoint: endpoint.clone() }
    }

    fn is_client(&self) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.side() == Side::Client)
    }

    async fn watch(self) -> String {
        // The one that dialled opens ways; the other side asks nobody, since that would stir up all its connections.
        let asks = self.is_client();
        let (mut watch, start) = (DeadPathWatch::default(), Instant::now());
        loop {
            let seen = self.seen();
            let at = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            let pause = match watch.look(&seen, at) {
                Finding::Dead => return used(&seen),
                Finding::Ask if asks => {
                    tracing::info!(path = used(&seen), "nothing comes back by this path; all of them are asked");
                    // iroh takes the network for changed: it pings every path, and looks after its sockets and the relay.
                    self.endpoint.network_change().await;
                    LOOK_CLOSELY_MILLISECONDS
                }
                Finding::Ask | Finding::Waits => LOOK_CLOSELY_MILLISECONDS,
                Finding::Answers => LOOK_MILLISECONDS,
            };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

fn used(seen: &[PathSeen]) -> String {
    seen.iter().find(|path| path.in_use).map(|path| path.remote.clone()).unwrap_or_default()
}

impl Paths for IrohPaths {
    fn seen(&self) -> Vec<PathSeen> {
        let Some(connection) = self.connection.upgrade() else { return Vec::new() };
        let seen = |path: endpoint::Path<'_>| {
            let stats = path.stats();
            let (kind, remote) = match path.remote_addr() {
                TransportAddr::Ip(address) => (PathKind::Direct, address.to_string()),
                TransportAddr::Relay(url) => (PathKind::Relayed, url.to_string()),
                other => (PathKind::Direct, format!("{other:?}")),
            };
            let local = match path.local_addr() {
                LocalTransportAddr::Ip(ip) => ip.map(|ip| ip.to_canonical().to_string()),
                _ => None,
            };
            PathSeen {
                // iroh tells the number only in words.
                number: path.id().to_string().parse().unwrap_or(u32::MAX),
                kind,
                remote,
                local,
                in_use: path.is_selected(),
                round_trip: stats.rtt,
                sent: stats.udp_tx.datagrams,
                received: stats.udp_rx.datagrams,
            }
        };
        let mut paths: Vec<PathSeen> = connection.paths().iter().map(seen).collect();
        // iroh chooses one for all connections with a peer: of one that has not that path, packets go by the first that works.
        if paths.iter().all(|path| !path.in_use)
            && let Some(first) = paths.first_mut()
        {
            first.in_use = true;
        }
        paths
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        match self.connection.upgrade() {
            Some(connection) => Box::pin(connection.path_events().map(|_| ()).chain(futures::stream::pending())),
            None => Box::pin(futures::stream::pending()),
        }
    }

    fn dead(&self) -> BoxFuture<'static, String> {
        Box::pin(self.clone().watch())
    }
}
