//! An agent's metrics.

use std::sync::Arc;

use iroh_metrics::{Counter, EncodeLabelSet, Family, Gauge, MetricsGroup};
use stead_agent::{AgentMetrics as Counted, Told};
use stead_model::{ConditionStatus, Vitals};
use tokio::sync::watch;

use super::{Metrics, ProcessMetrics, set};
use crate::trace::TraceMetrics;

/// One condition of the machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Condition {
    condition: String,
}

/// The agent of one machine.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "agent")]
struct AgentMetrics {
    /// 1 where the coordinator is reached, else 0.
    connected: Gauge,
    /// Times the connection was made.
    connections: Counter,
    /// Conditions: 1 where it holds, 0 where it does not, -1 where nobody can tell.
    condition: Family<Condition, Gauge>,
    /// The revision of the record up to which the machine has what is meant for it.
    revision: Gauge,
    /// Load average of one minute, times 100.
    load_percent: Gauge,
    /// Bytes of memory that are free for use.
    memory_available_bytes: Gauge,
    /// Bytes of memory.
    memory_total_bytes: Gauge,
    /// Bytes free where the machine keeps its state.
    disk_available_bytes: Gauge,
    /// Bytes of that disk.
    disk_total_bytes: Gauge,
    /// The hottest sensor, in thousandths of a degree Celsius; 0 where there is none.
    temperature_millicelsius: Gauge,
    /// Seconds since the machine booted.
    uptime_seconds: Gauge,
    /// By how many milliseconds the machine's clock is ahead of the coordinator's.
    clock_offset_milliseconds: Gauge,
    /// Packages with a newer version at hand.
    updates_pending: Gauge,
}

/// All metrics of an agent that tells what it does.
pub(crate) fn metrics(told: watch::Receiver<Told>, counted: Arc<Counted>, traces: Arc<TraceMetrics>) -> Metrics {
    let mut metrics = Metrics::new();
    metrics.add(counted, |_| {});
    metrics.add(Arc::<AgentMetrics>::default(), move |group| refresh(group, &told.borrow()));
    metrics.add(traces, |_| {});
    metrics.add(Arc::<ProcessMetrics>::default(), ProcessMetrics::refresh);
    metrics
}

fn refresh(group: &AgentMetrics, told: &Told) {
    set(&group.connected, u8::from(told.connected));
    group.connections.set(told.connections);
    for condition in &told.status.conditions {
        let number = match condition.status {
            ConditionStatus::True => 1,
            ConditionStatus::False => 0,
            ConditionStatus::Unknown => -1,
        };
        set(&group.condition.get_or_create(&Condition { condition: condition.kind.clone() }), number);
    }
    set(&group.revision, told.status.revision.unwrap_or_default());
    let none = Vitals::default();
    let vitals = told.status.vitals.as_ref().unwrap_or(&none);
    for (gauge, number) in [
        (&group.load_percent, vitals.load_percent),
        (&group.memory_available_bytes, vitals.memory_available_bytes),
        (&group.memory_total_bytes, vitals.memory_total_bytes),
        (&group.disk_available_bytes, vitals.disk_available_bytes),
        (&group.disk_total_bytes, vitals.disk_total_bytes),
        (&group.uptime_seconds, vitals.uptime_seconds),
        (&group.updates_pending, u64::from(vitals.updates_pending.unwrap_or_default())),
    ] {
        set(gauge, number);
    }
    set(&group.temperature_millicelsius, vitals.temperature_millicelsius.unwrap_or_default());
    set(&group.clock_offset_milliseconds, vitals.clock_offset_milliseconds.unwrap_or_default());
}
