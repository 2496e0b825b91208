//! Which of several coordinators leads: the one that holds a Lease in the record, under a term that only ever grows.
//!
//! The leader alone does what must not be done twice. Each of its writes carries its term, and the record refuses those of an older one:
//! a coordinator that was held up, and does not know yet that another leads, can do no harm.
//!
//! Clocks are not compared between machines: how long a lease has stood still is measured by each coordinator for itself, from the
//! moment at which it saw it move last.

use std::time::Duration;

use stead_model::{Lease, LeaseSpec, ObjectMeta};

use crate::presence::SYSTEM_NAMESPACE;

/// The name of the lease.
pub const LEADER_LEASE: &str = "leader";
/// How long a lease may stand still before another coordinator takes it, in seconds: three renewals and the time one may take.
pub const LEASE_SECONDS: u64 = 15;
/// How often the leader renews it, in seconds.
pub const RENEW_SECONDS: u64 = 3;
/// How long a leader that cannot renew goes on leading, in seconds: less than another one waits before it takes over.
pub const LEAD_UNRENEWED_SECONDS_MAX: u64 = 10;

/// The lease, as it is seen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<'a> {
    /// Who holds it; empty where it was given up.
    pub holder: &'a str,
    /// For how long it has stood still, by the own clock.
    pub still_for: Duration,
}

/// How the one who asks stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Another may lead.
    Following,
    /// It leads, and renewed the lease so long ago.
    Leading {
        /// Since the last renewal that the record took.
        renewed_for: Duration,
    },
}

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing now.
    Wait,
    /// Take it, and begin the next term.
    Take,
    /// Renew it.
    Renew,
    /// Renew it if that goes, and lead no more until it has.
    StepDown,
}

/// What to do about the lease; `me` is the one who asks.
pub fn plan(me: &str, standing: Standing, lease: Option<Held<'_>>) -> Step {
    let Some(lease) = lease else { return Step::Take };
    match standing {
        Standing::Leading { renewed_for } if lease.holder == me => {
            if renewed_for >= Duration::from_secs(LEAD_UNRENEWED_SECONDS_MAX) {
                Step::StepDown
            } else if renewed_for >= Duration::from_secs(RENEW_SECONDS) {
                Step::Renew
            } else {
                Step::Wait
            }
        }
        // The lease of an earlier life, with this key: whoever has the key is this coordinator.
        Standing::Following if lease.holder == me || lease.holder.is_empty() => Step::Take,
        _ if lease.still_for >= Duration::from_secs(LEASE_SECONDS) => Step::Take,
        Standing::Leading { .. } => Step::StepDown,
        Standing::Following => Step::Wait,
    }
}

/// The lease as its holder writes it. `micro_time` is the present moment to the microsecond, as Kubernetes has it.
pub fn lease(holder: &str, term: u64, acquired: &str, micro_time: &str) -> Lease {
    let metadata = ObjectMeta { name: LEADER_LEASE.to_owned(), namespace: SYSTEM_NAMESPACE.to_owned(), ..ObjectMeta::default() };
    let spec = LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: i64::try_from(LEASE_SECONDS).ok(),
        acquire_time: Some(acquired.to_owned()),
        renew_time: Some(micro_time.to_owned()),
        lease_transitions: i64::try_from(term).ok(),
        ..LeaseSpec::default()
    };
    Lease { metadata, spec }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_changes_hands_only_when_its_holder_is_silent() {
        let seconds = Duration::from_secs;
        let held = |holder, still_seconds| Some(Held { holder, still_for: seconds(still_seconds) });
        let leading = |since| Standing::Leading { renewed_for: seconds(since) };
        let following = Standing::Following;
        let cases = [
            ("nobody ever led", following, None, Step::Take),
            ("given up", following, held("", 0), Step::Take),
            ("of an earlier life", following, held("me", 1), Step::Take),
            ("another leads", following, held("you", 14), Step::Wait),
            ("another is silent", following, held("you", 15), Step::Take),
            ("just renewed", leading(2), held("me", 2), Step::Wait),
            ("to be renewed", leading(3), held("me", 3), Step::Renew),
            ("renewing fails", leading(9), held("me", 9), Step::Renew),
            ("renewing has failed for too long", leading(10), held("me", 10), Step::StepDown),
            ("another has taken it", leading(1), held("you", 0), Step::StepDown),
            ("another took it and is silent", leading(1), held("you", 15), Step::Take),
            ("somebody removed it", leading(1), None, Step::Take),
        ];
        for (case, standing, lease, expected) in cases {
            assert_eq!(plan("me", standing, lease), expected, "{case}");
        }
    }

    #[test]
    fn a_leader_stops_before_another_one_begins() {
        const { assert!(LEAD_UNRENEWED_SECONDS_MAX + RENEW_SECONDS < LEASE_SECONDS) };
    }
}
