//! What the controllers count: who was sent what, what machines said, and what was written of it.

use iroh_metrics::{Counter, EncodeLabelSet, Family, Gauge, Histogram, MetricsGroup};
use stead_admission::RecoveryError;

use crate::identity::{BOTH_CONNECTED, Descent, TWO_COORDINATORS};

/// Upper bounds of the buckets, in machines: up to what one transaction takes.
const BATCH_MACHINES: [f64; 7] = [1.0, 4.0, 16.0, 64.0, 128.0, 192.0, 256.0];

/// By what two machines with one key are noticed.
const DUPLICATE_HOWS: [&str; 4] = [BOTH_CONNECTED, TWO_COORDINATORS, Descent::TakingTurns.word(), Descent::WentBack.word()];

/// How something ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// One word.
    pub outcome: &'static str,
}

/// By what two machines with one key were noticed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct HowLabels {
    /// `BothConnected`, `TwoCoordinators`, `TakingTurns` or `WentBack`.
    pub how: &'static str,
}

/// What became known of a machine's voice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct MarkLabels {
    /// `Silent`, `Slow` or `Ready`.
    pub mark: &'static str,
}

/// Why something that a machine gave back was not taken in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    /// One word.
    pub reason: &'static str,
}

/// The numbers of what machines give back to a record that knows less than they do.
#[derive(Debug, MetricsGroup)]
#[metrics(default, name = "giveback")]
pub struct GiveBackMetrics {
    /// Machines that wait to be asked for what they hold.
    pub waiting: Gauge,
    /// Times that a machine was asked for what it holds.
    pub asked: Counter,
    /// Times that a machine gave back all of it that the record lacked.
    pub answered: Counter,
    /// Times that a machine left or answered something else before it was done; it is asked again when it comes back.
    pub broken: Counter,
    /// Times that a machine's agent was too old to be asked.
    pub too_old: Counter,
    /// Statements, or parts of them, that machines gave.
    pub given: Counter,
    /// Objects, deletions included, that the record took in from them.
    pub imported: Counter,
    /// Versions of the trust root that the record took in from machines.
    pub roots: Counter,
    /// Objects that owners had signed anew before a machine gave back another change of them.
    pub conflicts: Counter,
    /// Statements, or parts of them, that were given back and not taken in, by the check that failed.
    pub refused: Family<ReasonLabels, Counter>,
    /// Machines that the record did not know and that came back in by their own papers.
    pub strangers_let_in: Counter,
    /// Machines whose own papers did not hold.
    pub strangers_refused: Counter,
}

impl GiveBackMetrics {
    /// Numbers that are there from the start.
    pub(crate) fn new() -> Self {
        let metrics = Self::default();
        for reason in RecoveryError::REASONS {
            metrics.refused.get_or_create(&ReasonLabels { reason });
        }
        metrics
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }
}

/// The numbers of the controllers.
#[derive(Debug, MetricsGroup)]
#[metrics(default, name = "control")]
pub struct ControlMetrics {
    /// Machines with something to be written of them, such as a status.
    pub news_waiting: Gauge,
    /// States sent to machines.
    pub states_sent: Counter,
    /// Objects sent with them, each with its Change.
    pub objects_sent: Counter,
    /// Machines that could not be told because the record could not be read; they are told again.
    pub send_failures: Counter,
    /// Statuses of machines received.
    pub statuses_received: Counter,
    /// Statuses of machines written to the record; those that say nothing new are not.
    pub statuses_written: Counter,
    /// Machines whose news were written together.
    #[default(Histogram::new(BATCH_MACHINES.to_vec()))]
    pub batch_machines: Histogram,
    /// Times that news could not be written to the record; they are tried again.
    pub write_failures: Counter,
    /// Signed acknowledgements of machines taken, by outcome: Applied, Failed, Refused.
    pub acknowledgements: Family<OutcomeLabels, Counter>,
    /// Acknowledgements left out because they were not the machine's own words.
    pub acknowledgements_forged: Counter,
    /// Plans asked of machines, by outcome: answered, unavailable, failed.
    pub plans: Family<OutcomeLabels, Counter>,
    /// Times that two were found to present one machine's key, by what it was noticed.
    pub duplicate_keys: Family<HowLabels, Counter>,
    /// Times that a refused key of a machine was presented, by what it is: FormerKey, Decommissioned.
    pub refused_keys: Family<ReasonLabels, Counter>,
    /// Times that a machine came with an older agent than before.
    pub agents_older: Counter,
    /// Machines marked as silent, as slow, and as ready again.
    pub liveness_marks: Family<MarkLabels, Counter>,
}

impl ControlMetrics {
    /// Numbers that are there from the start.
    pub(crate) fn new() -> Self {
        let metrics = Self::default();
        for outcome in ["Applied", "Failed", "Refused"] {
            metrics.acknowledgements.get_or_create(&OutcomeLabels { outcome });
        }
        for outcome in ["answered", "unavailable", "failed"] {
            metrics.plans.get_or_create(&OutcomeLabels { outcome });
        }
        for how in DUPLICATE_HOWS {
            metrics.duplicate_keys.get_or_create(&HowLabels { how });
        }
        for reason in ["FormerKey", "Decommissioned"] {
            metrics.refused_keys.get_or_create(&ReasonLabels { reason });
        }
        for mark in ["Silent", "Slow", "Ready"] {
            metrics.liveness_marks.get_or_create(&MarkLabels { mark });
        }
        metrics
    }

    pub(crate) fn acknowledged(&self, outcome: &str) {
        let outcome = match outcome {
            "Applied" => "Applied",
            "Failed" => "Failed",
            _ => "Refused",
        };
        self.acknowledgements.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn duplicated(&self, how: &str) {
        let how = DUPLICATE_HOWS.into_iter().find(|word| *word == how).unwrap_or("TakingTurns");
        self.duplicate_keys.get_or_create(&HowLabels { how }).inc();
    }

    pub(crate) fn planned(&self, outcome: &'static str) {
        self.plans.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}
