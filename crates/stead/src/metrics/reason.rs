//! Why somebody was turned away, counted.

use std::collections::BTreeMap;

use iroh_metrics::{Counter, EncodeLabelSet, Family};

/// Why somebody was turned away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct Reason {
    pub(super) reason: String,
}

impl Reason {
    pub(super) fn of(reason: &impl std::fmt::Debug) -> Self {
        Self { reason: format!("{reason:?}") }
    }
}

/// A reason to refuse somebody: as a label, in words, and how often it was one.
pub(super) type Refused = (String, String, u64);

pub(super) fn refusals<R: std::fmt::Debug + std::fmt::Display>(refused: &BTreeMap<R, u64>) -> Vec<Refused> {
    refused.iter().map(|(reason, number)| (format!("{reason:?}"), reason.to_string(), *number)).collect()
}

pub(super) fn count(family: &Family<Reason, Counter>, refused: Vec<Refused>) {
    for (reason, _, number) in refused {
        family.get_or_create(&Reason { reason }).set(number);
    }
}
