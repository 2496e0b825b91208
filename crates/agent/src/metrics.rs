//! What an agent counts: what it was told, what it did about it, and what it could not do.

use std::time::Duration;

use iroh_metrics::{Counter, EncodeLabelSet, Family, Gauge, Histogram, MetricsGroup};
use stead_trust::Check;
use stead_unit::{Report, UnitId, UnitState};

/// Upper bounds of the buckets, in seconds: from a small file to a command that installs something.
const ACT_BUCKETS_SECONDS: [f64; 9] = [0.001, 0.005, 0.020, 0.100, 0.500, 2.0, 10.0, 60.0, 600.0];
/// Upper bounds of the buckets, in seconds: from one rack to a satellite.
const ROUND_TRIP_BUCKETS_SECONDS: [f64; 9] = [0.001, 0.005, 0.020, 0.050, 0.100, 0.250, 0.600, 2.0, 10.0];

/// Units of one kind that are equally far.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct UnitLabels {
    /// `file`, `directory`, `link` or `command`.
    pub kind: &'static str,
    /// How far they are.
    pub state: &'static str,
}

/// Runs of units.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct ActLabels {
    /// The kind of unit.
    pub kind: &'static str,
    /// `done` or `failed`.
    pub outcome: &'static str,
}

/// Runs of units of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct KindLabels {
    /// The kind of unit.
    pub kind: &'static str,
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct CheckLabels {
    /// The check that failed.
    pub check: &'static str,
}

/// How something ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// `ok` or `failed`.
    pub outcome: &'static str,
}

/// The numbers of one agent.
#[derive(Debug, MetricsGroup)]
#[metrics(default, name = "agent")]
pub struct AgentMetrics {
    /// Things that the machine looks after, by kind and by how far they are.
    pub units: Family<UnitLabels, Gauge>,
    /// Runs that changed something, and runs that failed, by kind of thing.
    pub acts: Family<ActLabels, Counter>,
    /// Seconds that such a run took, from looking to looking again.
    #[default(Family::with_constructor(|| Histogram::new(ACT_BUCKETS_SECONDS.to_vec())))]
    pub act_seconds: Family<KindLabels, Histogram>,
    /// Objects accepted: verified, and on this machine's disk.
    pub accepted: Counter,
    /// Changes, objects and versions of the trust root refused, by the check that failed.
    pub refused: Family<CheckLabels, Counter>,
    /// Words of owners that they are there, which were not an owner's.
    pub freshness_refused: Counter,
    /// Acknowledgements signed.
    pub acknowledgements: Counter,
    /// Answers given to a coordinator whose record knew less than this machine.
    pub give_back_answers: Counter,
    /// Older states that came from a record that knows less than this machine, and were passed over.
    pub older_passed_over: Counter,
    /// Events and samples of vitals that the coordinator has not taken yet.
    pub outbox_items: Gauge,
    /// Their bytes.
    pub outbox_bytes: Gauge,
    /// Samples of vitals that went because the outbox was full, the oldest first.
    pub outbox_vitals_gone: Counter,
    /// Events that found no room in the outbox, where only events were left; they are told of in one when there is room again.
    pub outbox_held_back: Counter,
    /// Writes to the machine's memory on disk, by outcome: ok, failed.
    pub memory_writes: Family<OutcomeLabels, Counter>,
    /// Seconds from a sign of life to the coordinator's answer.
    #[default(Histogram::new(ROUND_TRIP_BUCKETS_SECONDS.to_vec()))]
    pub round_trip_seconds: Histogram,
}

/// The kinds of units that there are; others count as `other`.
const KINDS: [&str; 5] = ["file", "directory", "link", "command", "other"];
/// How far a unit may be.
const STATES: [&str; 7] = ["Converged", "Converging", "Failed", "Blocked", "Conflict", "Removing", "Kept"];
/// What may be refused beyond the checks of `trust`.
const OTHER_CHECKS: [&str; 1] = ["feasibility"];

impl AgentMetrics {
    /// Numbers that are there from the start, so that the first of a kind is seen as a rise.
    pub fn new() -> Self {
        let metrics = Self::default();
        for kind in KINDS {
            metrics.act_seconds.get_or_create(&KindLabels { kind });
            for outcome in ["done", "failed"] {
                metrics.acts.get_or_create(&ActLabels { kind, outcome });
            }
            for state in STATES {
                metrics.units.get_or_create(&UnitLabels { kind, state });
            }
        }
        for check in CHECKS.into_iter().map(check_word).chain(OTHER_CHECKS) {
            metrics.refused.get_or_create(&CheckLabels { check });
        }
        for outcome in ["ok", "failed"] {
            metrics.memory_writes.get_or_create(&OutcomeLabels { outcome });
        }
        metrics
    }

    pub(crate) fn acted(&self, unit: &UnitId, failed: bool, took: Duration) {
        let kind = kind_of(unit);
        let outcome = if failed { "failed" } else { "done" };
        self.acts.get_or_create(&ActLabels { kind, outcome }).inc();
        self.act_seconds.get_or_create(&KindLabels { kind }).observe(took.as_secs_f64());
    }

    pub(crate) fn refused(&self, check: &'static str) {
        self.refused.get_or_create(&CheckLabels { check }).inc();
    }

    pub(crate) fn written(&self, ok: bool) {
        let outcome = if ok { "ok" } else { "failed" };
        self.memory_writes.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts the units of a report anew.
    pub(crate) fn count(&self, report: &Report) {
        for kind in KINDS {
            for state in STATES {
                let fits =
                    |(id, unit): &(&UnitId, &stead_unit::UnitReport)| kind_of(id) == kind && state_word(&unit.state) == state;
                let number = report.units.iter().filter(fits).count();
                self.units.get_or_create(&UnitLabels { kind, state }).set(i64::try_from(number).unwrap_or(i64::MAX));
            }
        }
    }
}

fn kind_of(unit: &UnitId) -> &'static str {
    KINDS.into_iter().find(|kind| *kind == unit.kind()).unwrap_or("other")
}

const fn state_word(state: &UnitState) -> &'static str {
    match state {
        UnitState::Converged => "Converged",
        UnitState::Converging => "Converging",
        UnitState::Failed { .. } => "Failed",
        UnitState::Blocked { .. } => "Blocked",
        UnitState::Conflict { .. } => "Conflict",
        UnitState::Removing => "Removing",
        UnitState::Kept { .. } => "Kept",
    }
}

/// The checks of `trust`.
const CHECKS: [Check; 10] = [
    Check::Signature,
    Check::Format,
    Check::Fleet,
    Check::RootChain,
    Check::Role,
    Check::Threshold,
    Check::Proof,
    Check::Digest,
    Check::Sequence,
    Check::Receipt,
];

/// A check as a label.
pub(crate) const fn check_word(check: Check) -> &'static str {
    match check {
        Check::Signature => "signature",
        Check::Format => "format",
        Check::Fleet => "fleet",
        Check::RootChain => "root_chain",
        Check::Role => "role",
        Check::Threshold => "threshold",
        Check::Proof => "proof",
        Check::Digest => "digest",
        Check::Sequence => "sequence",
        Check::Receipt => "receipt",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_counted_by_kind_and_state_and_anew_each_time() {
        let metrics = AgentMetrics::new();
        let unit = |state| stead_unit::UnitReport {
            goal: stead_unit::Goal::Present,
            state,
            running: false,
            by: Vec::new(),
            last_change: None,
        };
        let units = [("file:/a", UnitState::Converged), ("file:/b", UnitState::Converged), ("link:/c", UnitState::Removing)];
        let units = units.into_iter().map(|(id, state)| (id.parse().unwrap(), unit(state))).collect();
        let number = |kind, state| metrics.units.get(&UnitLabels { kind, state }).map(|gauge| gauge.get());
        metrics.count(&Report { at: Duration::ZERO, units });
        assert_eq!((number("file", "Converged"), number("link", "Removing")), (Some(2), Some(1)));
        metrics.count(&Report::default());
        assert_eq!((number("file", "Converged"), metrics.units.len()), (Some(0), KINDS.len() * STATES.len()));
    }
}
