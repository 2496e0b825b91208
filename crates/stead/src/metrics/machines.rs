//! The metrics of each machine, as the coordinator knows them: for machines that no Prometheus reaches. They grow with the fleet, so
//! they have a path of their own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use iroh_metrics::{EncodeLabelSet, Family, Gauge, MetricsGroup, MetricsSource as _, Registry};
use stead_control::pulse::{MachinePulse, MachineState};

use super::{PREFIX, set};

/// Which machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Name {
    machine: String,
}

/// Which machine, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct State {
    machine: String,
    state: &'static str,
}

/// Which machine, and which version it runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Agent {
    machine: String,
    version: String,
}

/// One machine. What it could not measure is 0.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "machine")]
struct Group {
    /// How the machine stands: 1 for the state that it is in.
    state: Family<State, Gauge>,
    /// When the coordinator last heard from it, in seconds of Unix time.
    last_seen_seconds: Family<Name, Gauge>,
    /// Objects meant for it whose newest statement it has not acknowledged.
    behind_objects: Family<Name, Gauge>,
    /// The revision of the newest statement that is meant for it.
    wanted_revision: Family<Name, Gauge>,
    /// The revision of the record up to which it has what is meant for it.
    revision: Family<Name, Gauge>,
    /// Load average of one minute, times 100.
    load_percent: Family<Name, Gauge>,
    /// Logical processors.
    cpus: Family<Name, Gauge>,
    /// Bytes of memory in use.
    memory_used_bytes: Family<Name, Gauge>,
    /// Bytes of memory.
    memory_total_bytes: Family<Name, Gauge>,
    /// Bytes in use on the disk where it keeps its state.
    disk_used_bytes: Family<Name, Gauge>,
    /// Bytes of that disk.
    disk_total_bytes: Family<Name, Gauge>,
    /// The hottest sensor, in thousandths of a degree Celsius; 0 where there is none.
    temperature_millicelsius: Family<Name, Gauge>,
    /// By how many milliseconds its clock is ahead of the coordinator's; 0 where that is not known yet.
    clock_offset_milliseconds: Family<Name, Gauge>,
    /// Packages with a newer version at hand; 0 where nobody can tell.
    updates_pending: Family<Name, Gauge>,
    /// Seconds since it booted.
    uptime_seconds: Family<Name, Gauge>,
    /// The version of the agent that it runs: 1 where that is the coordinator's own binary, as is wanted, else 0.
    agent_as_wanted: Family<Agent, Gauge>,
}

impl Group {
    fn fill(&self, machines: &[MachinePulse]) {
        self.clear();
        for pulse in machines {
            let machine = pulse.name.clone();
            for state in MachineState::ALL {
                let labels = State { machine: machine.clone(), state: state.word() };
                set(&self.state.get_or_create(&labels), i64::from(state == pulse.state));
            }
            let agent = Agent { machine: machine.clone(), version: pulse.agent_version.clone() };
            set(&self.agent_as_wanted.get_or_create(&agent), i64::from(pulse.agent_as_wanted == Some(true)));
            let name = Name { machine };
            let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            let numbers = [
                (&self.last_seen_seconds, pulse.last_seen.map(jiff::Timestamp::as_second)),
                (&self.behind_objects, Some(whole(pulse.behind))),
                (&self.wanted_revision, Some(whole(pulse.wanted_revision))),
                (&self.revision, Some(whole(pulse.revision))),
                (&self.load_percent, pulse.load_percent.map(whole)),
                (&self.cpus, pulse.cpu_count.map(i64::from)),
                (&self.memory_used_bytes, pulse.memory.map(|memory| whole(memory.used_bytes))),
                (&self.memory_total_bytes, pulse.memory.map(|memory| whole(memory.total_bytes))),
                (&self.disk_used_bytes, pulse.disk.map(|disk| whole(disk.used_bytes))),
                (&self.disk_total_bytes, pulse.disk.map(|disk| whole(disk.total_bytes))),
                (&self.temperature_millicelsius, pulse.temperature_millicelsius),
                (&self.clock_offset_milliseconds, pulse.clock_offset_milliseconds),
                (&self.updates_pending, pulse.updates_pending.map(i64::from)),
                (&self.uptime_seconds, pulse.uptime_seconds.map(whole)),
            ];
            for (family, number) in numbers {
                set(&family.get_or_create(&name), number.unwrap_or_default());
            }
        }
    }

    /// A machine that has gone must not keep its numbers.
    fn clear(&self) {
        self.state.clear();
        self.agent_as_wanted.clear();
        for family in [
            &self.last_seen_seconds,
            &self.behind_objects,
            &self.wanted_revision,
            &self.revision,
            &self.load_percent,
            &self.cpus,
            &self.memory_used_bytes,
            &self.memory_total_bytes,
            &self.disk_used_bytes,
            &self.disk_total_bytes,
            &self.temperature_millicelsius,
            &self.clock_offset_milliseconds,
            &self.updates_pending,
            &self.uptime_seconds,
        ] {
            family.clear();
        }
    }
}

/// The metrics of each machine.
pub(crate) struct MachinesMetrics {
    registry: Registry,
    /// Held while they are filled and read, so that two who ask at once do not see half of them.
    group: Mutex<Arc<Group>>,
}

impl MachinesMetrics {
    pub(crate) fn new() -> Self {
        let group = Arc::<Group>::default();
        let mut registry = Registry::default();
        registry.sub_registry_with_prefix(PREFIX).register(Arc::clone(&group) as Arc<dyn MetricsGroup>);
        Self { registry, group: Mutex::new(group) }
    }

    /// Everything, as text.
    pub(crate) fn text(&self, machines: &[MachinePulse]) -> String {
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        group.fill(machines);
        self.registry.encode_openmetrics_to_string().unwrap_or_default()
    }
}

impl fmt::Debug for MachinesMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MachinesMetrics")
    }
}
