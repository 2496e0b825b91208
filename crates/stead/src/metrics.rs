//! Metrics: what coordinator and agent count and measure, in the OpenMetrics text format that Prometheus reads.
//!
//! Numbers that grow with every request live where they are counted. Everything else is read off when somebody asks.

pub(crate) mod agent;
mod backup;
pub(crate) mod coordinator;
pub(crate) mod machines;
pub(crate) mod server;

use std::fmt;
use std::sync::Arc;

use iroh_metrics::{Counter, Gauge, MetricsGroup, MetricsSource as _, Registry};

/// What every name begins with.
const PREFIX: &str = "stead";

/// All metrics of one process, and how those that do not move by themselves are brought up to date.
pub(crate) struct Metrics {
    registry: Registry,
    refresh: Vec<Box<dyn Fn() + Send + Sync>>,
    port: Arc<MetricsPort>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self { registry: Registry::default(), refresh: Vec::new(), port: Arc::default() };
        metrics.add(metrics.port(), |_| {});
        metrics
    }

    /// Takes in a group; `refresh` brings it up to date before it is read.
    pub(crate) fn add<G: MetricsGroup + 'static>(&mut self, group: Arc<G>, refresh: impl Fn(&G) + Send + Sync + 'static) {
        self.registry.sub_registry_with_prefix(PREFIX).register(Arc::clone(&group) as Arc<dyn MetricsGroup>);
        self.refresh.push(Box::new(move || refresh(&group)));
    }

    /// What is counted of the port for metrics itself.
    pub(crate) fn port(&self) -> Arc<MetricsPort> {
        Arc::clone(&self.port)
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

/// The port for metrics itself.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "metrics_port")]
pub(crate) struct MetricsPort {
    /// Connections that the port for metrics took.
    pub(crate) connections: Counter,
    /// Connections that the port for metrics refused, because there were too many at once.
    pub(crate) refused_full: Counter,
    /// Connections to the port for metrics cut off because their bytes were no HTTP, or their head was too long.
    pub(crate) refused_malformed: Counter,
    /// Connections to the port for metrics cut off because they took too long.
    pub(crate) refused_too_slow: Counter,
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
    /// File descriptors that may be open at once.
    open_files_max: Gauge,
    /// When the process started, in seconds of Unix time.
    start_time_seconds: Gauge,
    /// Seconds of processor time that the process has used, by user and system together.
    cpu_seconds: Counter,
    /// Threads.
    threads: Gauge,
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
        let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse::<i64>().ok());
        set(&self.threads, threads.unwrap_or_default());
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let open_files = open_files.and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok());
        set(&self.open_files_max, open_files.unwrap_or(i64::MAX));
        self.refresh_times();
    }

    /// Reads `/proc/self/stat` (proc(5)): its times are in ticks, of which Linux has 100 in a second for every program.
    fn refresh_times(&self) {
        const TICKS_PER_SECOND: u64 = 100;
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name of the program is in brackets and may hold anything; what follows is numbers.
        let numbers: Vec<&str> = stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split_whitespace().collect());
        let number =
            |field: usize| numbers.get(field.saturating_sub(3)).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let [user, system, start] = [14, 15, 22].map(number);
        self.cpu_seconds.set(user.saturating_add(system) / TICKS_PER_SECOND);
        let booted = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let booted = booted.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
        set(&self.start_time_seconds, booted.unwrap_or_default().saturating_add(start / TICKS_PER_SECOND));
    }
}
