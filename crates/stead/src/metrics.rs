//! Metrics: what coordinator and agent count and measure, in the OpenMetrics text format that Prometheus reads.
//!
//! Numbers that grow with every request live where they are counted. Everything else is read off when somebody asks.

pub(crate) mod agent;
pub(crate) mod coordinator;
pub(crate) mod server;

use std::fmt;
use std::sync::Arc;

use iroh_metrics::{Gauge, MetricsGroup, MetricsSource as _, Registry};

/// What every name begins with.
const PREFIX: &str = "stead";

/// All metrics of one process, and how those that do not move by themselves are brought up to date.
pub(crate) struct Metrics {
    registry: Registry,
    refresh: Vec<Box<dyn Fn() + Send + Sync>>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self { registry: Registry::default(), refresh: Vec::new() }
    }

    /// Takes in a group; `refresh` brings it up to date before it is read.
    pub(crate) fn add<G: MetricsGroup + 'static>(&mut self, group: Arc<G>, refresh: impl Fn(&G) + Send + Sync + 'static) {
        self.registry.sub_registry_with_prefix(PREFIX).register(Arc::clone(&group) as Arc<dyn MetricsGroup>);
        self.refresh.push(Box::new(move || refresh(&group)));
    }

    /// Everything, as text.
    pub(crate) fn text(&self) -> String {
        self.refresh.iter().for_each(|refresh| refresh());
        self.registry.encode_openmetrics_to_string().unwrap_or_default()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics")
    }
}

/// A count as a gauge takes it; no count of ours comes near the difference.
pub(crate) fn set(gauge: &Gauge, number: impl TryInto<i64>) {
    gauge.set(number.try_into().unwrap_or(i64::MAX));
}

/// The program itself.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "process")]
pub(crate) struct ProcessMetrics {
    /// Bytes of memory that are resident.
    resident_bytes: Gauge,
    /// Bytes of memory that are this process's alone and not of any file.
    anonymous_bytes: Gauge,
    /// File descriptors that are open.
    open_files: Gauge,
}

impl ProcessMetrics {
    /// Reads `/proc/self`.
    pub(crate) fn refresh(&self) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").trim().parse::<i64>().ok().map(|kibibytes| kibibytes.saturating_mul(1024))
        };
        set(&self.resident_bytes, bytes("VmRSS:").unwrap_or_default());
        set(&self.anonymous_bytes, bytes("RssAnon:").unwrap_or_default());
        set(&self.open_files, std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count));
    }
}
