//! What the controllers count: who was sent what, what machines said, and what was written of it.

use iroh_metrics::{Counter, EncodeLabelSet, Family, Gauge, Histogram, MetricsGroup};

/// Upper bounds of the buckets, in machines: up to what one transaction takes.
const BATCH_MACHINES: [f64; 7] = [1.0, 4.0, 16.0, 64.0, 128.0, 192.0, 256.0];

/// How something ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// One word.
    pub outcome: &'static str,
}

/// What became known of a machine's voice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct MarkLabels {
    /// `Silent` or `Ready`.
    pub mark: &'static str,
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
    /// Machines marked as silent, and as ready again.
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
        for mark in ["Silent", "Ready"] {
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

    pub(crate) fn planned(&self, outcome: &'static str) {
        self.plans.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}
