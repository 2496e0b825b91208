//! What admission counts: who was let into the record, who was not and why, and how long it took.

use std::time::Duration;

use iroh_metrics::{Counter, EncodeLabelSet, Family, Histogram, MetricsGroup};
use stead_store::CommitError;
use stead_trust::AdmissionError;

use crate::error::WriteError;
use crate::proposal::ProposalError;

/// Upper bounds of the buckets, in seconds: from a commit that others share, over the budget of a write (20 ms), to a client's patience.
const BUCKETS_SECONDS: [f64; 9] = [0.001, 0.002, 0.005, 0.010, 0.020, 0.050, 0.200, 1.0, 10.0];

/// Whose signature a write stands on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct SignerLabels {
    /// `owners`, or `coordinator` for what was asked for without a signature of the author's.
    pub signer: &'static str,
}

/// Why a write was refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct RefusalLabels {
    /// One word.
    pub reason: &'static str,
}

/// The numbers of admission.
#[derive(Debug, MetricsGroup)]
#[metrics(default, name = "admission")]
pub struct AdmissionMetrics {
    /// Writes that entered the record, by whose signature they stand on: owners or coordinator.
    pub admitted: Family<SignerLabels, Counter>,
    /// Writes that were refused, by reason; RecordFails means that the record's database could not be read or written.
    pub refused: Family<RefusalLabels, Counter>,
    /// Seconds from a write's arrival until it is on record.
    #[default(Family::with_constructor(|| Histogram::new(BUCKETS_SECONDS.to_vec())))]
    pub seconds: Family<SignerLabels, Histogram>,
    /// Signatures of owners that were verified.
    pub signatures_verified: Counter,
    /// Writes that were signed anew because another one of the same object came first.
    pub overtaken: Counter,
    /// Versions of the trust root that were admitted.
    pub roots: Counter,
}

/// A write that owners signed.
pub(crate) const OWNERS: SignerLabels = SignerLabels { signer: "owners" };
/// A write that the coordinator signs, or that needs no signature.
pub(crate) const COORDINATOR: SignerLabels = SignerLabels { signer: "coordinator" };

impl AdmissionMetrics {
    /// Numbers that are there from the start, so that the first refusal is seen as a rise.
    pub(crate) fn new() -> Self {
        let metrics = Self::default();
        for signer in [OWNERS, COORDINATOR] {
            metrics.admitted.get_or_create(&signer);
            metrics.seconds.get_or_create(&signer);
        }
        for reason in REASONS {
            metrics.refused.get_or_create(&RefusalLabels { reason });
        }
        metrics
    }

    pub(crate) fn ended<T>(&self, signer: &SignerLabels, took: Duration, result: &Result<T, WriteError>) {
        match result {
            Ok(_) => {
                self.admitted.get_or_create(signer).inc();
                self.seconds.get_or_create(signer).observe(took.as_secs_f64());
            }
            Err(error) => {
                self.refused.get_or_create(&RefusalLabels { reason: reason(error) }).inc();
            }
        }
    }
}

/// Every reason.
const REASONS: [&str; 14] = [
    "Conflict",
    "Contended",
    "Expired",
    "Invalid",
    "NamespaceMissing",
    "NeedsSignature",
    "NeedsSigning",
    "NotFound",
    "ReadOnly",
    "RecordFails",
    "Signature",
    "Statement",
    "TooLarge",
    "Unauthorised",
];

/// Why, in a word of few.
pub(crate) fn reason(error: &WriteError) -> &'static str {
    match error {
        WriteError::NeedsSignature { .. } => "NeedsSignature",
        WriteError::ReadOnly { .. } | WriteError::Root { .. } => "ReadOnly",
        WriteError::NamespaceMissing { .. } => "NamespaceMissing",
        WriteError::Contended { .. } => "Contended",
        WriteError::RootRefused(_) => "Statement",
        WriteError::Refused(refused) => match refused {
            AdmissionError::Verify(_) => "Signature",
            AdmissionError::Unauthorised { .. } => "Unauthorised",
            AdmissionError::Expired { .. } => "Expired",
            AdmissionError::NeedsSigning { .. } => "NeedsSigning",
            _ => "Statement",
        },
        WriteError::Commit(refused) => match refused {
            CommitError::NotFound { .. } => "NotFound",
            CommitError::TooLarge { .. } => "TooLarge",
            CommitError::SequenceTaken { .. } => "NeedsSigning",
            CommitError::Engine(_) | CommitError::Closed | CommitError::Unknown(_) => "RecordFails",
            CommitError::InvalidKey { .. } | CommitError::Object(_) | CommitError::Seal { .. } => "Invalid",
            _ => "Conflict",
        },
        WriteError::Engine(_) | WriteError::Record(_) | WriteError::Proposal(ProposalError::Unknown { .. }) => "RecordFails",
        _ => "Invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_number_from_the_start() {
        let metrics = AdmissionMetrics::new();
        let refused: Result<(), _> = Err(WriteError::Contended { attempts: 1 });
        metrics.ended(&OWNERS, Duration::ZERO, &refused);
        assert_eq!(metrics.refused.len(), REASONS.len(), "a reason is not in the list");
        assert_eq!(metrics.refused.get(&RefusalLabels { reason: "Contended" }).map(|number| number.get()), Some(1));
        metrics.ended(&OWNERS, Duration::ZERO, &Ok(()));
        assert_eq!(metrics.admitted.get(&OWNERS).map(|number| number.get()), Some(1));
    }
}
