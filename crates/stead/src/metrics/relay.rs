//! The metrics of a relay, in a coordinator or alone.

use std::sync::Arc;

use iroh_metrics::{Counter, Family, Gauge, MetricsGroup};
use stead_wire::{RelayCounters, RelayRefusal, RollKeeper};

use super::reason::{Reason, count, refusals};
use super::{Metrics, ProcessMetrics, set};

/// The relay.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "relay")]
pub(crate) struct RelayMetrics {
    /// Connections open now.
    open: Gauge,
    /// Connections of clients that were let in.
    established: Gauge,
    /// Connections that were taken.
    connections: Counter,
    /// Connections turned away or cut off, by reason.
    refused: Family<Reason, Counter>,
    /// Bytes sent to clients.
    bytes_sent: Counter,
    /// Bytes received from clients.
    bytes_received: Counter,
    /// Packets for clients that were not there.
    packets_dropped: Counter,
}

impl RelayMetrics {
    pub(crate) fn read(&self, counters: &RelayCounters) {
        set(&self.open, counters.open);
        set(&self.established, counters.established);
        self.connections.set(counters.connections);
        self.bytes_sent.set(counters.bytes_sent);
        self.bytes_received.set(counters.bytes_received);
        self.packets_dropped.set(counters.packets_dropped);
        for refusal in RelayRefusal::ALL {
            self.refused.get_or_create(&Reason::of(&refusal));
        }
        count(&self.refused, refusals(&counters.refused));
    }
}

/// The roll of a relay that runs alone.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "roll")]
struct RollMetrics {
    /// The newest version of the trust root that coordinators brought; 0 for none.
    root_version: Gauge,
    /// Members whom the relay that runs alone admits.
    members: Gauge,
    /// Passes of tickets whose tokens it admits.
    passes: Gauge,
}

/// All metrics of a relay that runs alone.
pub(crate) fn metrics(counters: Arc<dyn Fn() -> RelayCounters + Send + Sync>, keeper: Arc<RollKeeper>) -> Metrics {
    let mut metrics = Metrics::new();
    metrics.add(Arc::<RelayMetrics>::default(), move |group| group.read(&counters()));
    metrics.add(Arc::<RollMetrics>::default(), move |group| {
        let standing = keeper.standing();
        set(&group.root_version, standing.root_version);
        set(&group.members, standing.count);
        set(&group.passes, standing.marks.len());
    });
    metrics.add(Arc::<ProcessMetrics>::default(), ProcessMetrics::refresh);
    metrics
}
