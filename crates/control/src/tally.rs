//! How many machines are how: the fleet in a few numbers.

use stead_model::{ConditionStatus, MachineStatus, UnitState};

/// The fleet in a few numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Machines that the owners let in.
    pub machines: u64,
    /// Of these, heard from within their limit.
    pub ready: u64,
    /// Of these, the ones that speak later than they should.
    pub slow: u64,
    /// Of these, not heard of within their limit.
    pub silent: u64,
    /// Of these, that have not heard of their owners for longer than those said.
    pub stale: u64,
    /// Of these, whose events find no room to wait for the coordinator.
    pub outbox_full: u64,
    /// Of these, as they were told.
    pub converged: u64,
    /// Of these, with a unit whose last try failed.
    pub failing: u64,
    /// Of these, with two profiles that claim one thing.
    pub in_conflict: u64,
    /// Of these, whose key another machine presents as well.
    pub duplicate_keys: u64,
    /// Of these, that refused something they were sent.
    pub refusing: u64,
    /// Things that machines look after.
    pub units: u64,
}

/// Counts machines by what each says of itself; `None` for one that has said nothing yet.
pub fn tally<'a>(machines: impl IntoIterator<Item = Option<&'a MachineStatus>>) -> Tally {
    let mut tally = Tally::default();
    for status in machines {
        tally.machines = tally.machines.saturating_add(1);
        let Some(status) = status else { continue };
        let holds = |kind: &str| {
            status.conditions.iter().any(|condition| condition.kind == kind && condition.status == ConditionStatus::True)
        };
        let failing = status.units.iter().any(|unit| unit.state == UnitState::Failed);
        let ready = status.conditions.iter().find(|condition| condition.kind == "Ready");
        for (count, counts) in [
            (&mut tally.ready, holds("Ready")),
            (&mut tally.slow, ready.is_some_and(|ready| ready.reason == "Slow")),
            (&mut tally.silent, ready.is_some_and(|ready| ready.status == ConditionStatus::Unknown)),
            (&mut tally.stale, holds("Stale")),
            (&mut tally.outbox_full, holds("OutboxFull")),
            (&mut tally.converged, holds("Converged")),
            (&mut tally.failing, failing),
            (&mut tally.in_conflict, holds("Conflict")),
            (&mut tally.duplicate_keys, holds("DuplicateKey")),
            (&mut tally.refusing, holds("Refused")),
        ] {
            *count = count.saturating_add(u64::from(counts));
        }
        tally.units = tally.units.saturating_add(status.units.len() as u64);
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::{Condition, UnitStatus};

    fn status(conditions: &[(&str, ConditionStatus)], unit: UnitState) -> MachineStatus {
        let condition = |(kind, status): &(&str, ConditionStatus)| Condition {
            kind: (*kind).to_owned(),
            status: *status,
            reason: String::new(),
            message: String::new(),
            last_transition_time: jiff::Timestamp::UNIX_EPOCH,
        };
        MachineStatus {
            conditions: conditions.iter().map(condition).collect(),
            units: vec![UnitStatus { state: unit, ..UnitStatus::default() }],
            ..MachineStatus::default()
        }
    }

    #[test]
    fn each_machine_counts_where_it_belongs() {
        use ConditionStatus::{False, True, Unknown};
        let well = status(&[("Ready", True), ("Converged", True), ("Stale", True)], UnitState::Converged);
        let ill = status(&[("Ready", True), ("Converged", False), ("DuplicateKey", True)], UnitState::Failed);
        let silent =
            status(&[("Ready", Unknown), ("Converged", True), ("Conflict", True), ("Refused", True)], UnitState::Conflict);
        let expected = Tally {
            machines: 4,
            ready: 2,
            slow: 0,
            silent: 1,
            stale: 1,
            outbox_full: 0,
            converged: 2,
            failing: 1,
            in_conflict: 1,
            duplicate_keys: 1,
            refusing: 1,
            units: 3,
        };
        assert_eq!(tally([Some(&well), Some(&ill), Some(&silent), None]), expected);
    }
}
