//! From the converger's report to what the machine says of itself. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use stead_model::{Condition, ConditionStatus, MachineStatus, UnitState, UnitStatus, set_condition};
use stead_trust::Outcome;
use stead_unit::{Goal, Report, UnitId, UnitReport, UnitState as State};
use stead_wire::FRAME_BYTES_MAX_UP;

use crate::claims::parse_by;
use crate::stale::Freshness;

/// The most units that a status lists; those in trouble come first.
pub const UNITS_LISTED_MAX: usize = 500;
/// The longest encoded status: what fits a frame, with room for its header.
const STATUS_BYTES_MAX: usize = FRAME_BYTES_MAX_UP - 4 * 1024;
/// The longest message of a unit, in characters: the last lines of a command are among it.
const MESSAGE_CHARACTERS_MAX: usize = 2_000;

/// The units of a report, those in trouble first.
pub(crate) fn units(report: &Report) -> Vec<UnitStatus> {
    let mut units: Vec<UnitStatus> = report.units.iter().map(|(id, unit)| unit_status(id, unit, report.at)).collect();
    units.sort_by_key(|unit| (matches!(unit.state, UnitState::Converged), unit.unit.clone()));
    units.truncate(UNITS_LISTED_MAX);
    units
}

fn unit_status(id: &UnitId, unit: &UnitReport, at: Duration) -> UnitStatus {
    let mut sources: Vec<&str> = unit.by.iter().filter_map(|by| parse_by(by)).map(|(object, _)| object).collect();
    sources.dedup();
    let sequence = unit.by.iter().filter_map(|by| parse_by(by)).map(|(_, sequence)| sequence).max();
    let (state, message, attempts) = match &unit.state {
        State::Converged => (UnitState::Converged, String::new(), None),
        State::Converging => (UnitState::Converging, String::new(), None),
        State::Failed { reason, attempts, next_try } => {
            let seconds = next_try.saturating_sub(at).as_secs();
            (UnitState::Failed, format!("{reason} (next try in {seconds} s)"), Some(*attempts))
        }
        State::Blocked { on } => {
            let names: Vec<String> = on.iter().map(ToString::to_string).collect();
            (UnitState::Blocked, format!("waits for {}", names.join(", ")), None)
        }
        State::Conflict { reason } => (UnitState::Conflict, reason.clone(), None),
        State::Removing => (UnitState::Removing, String::new(), None),
        State::Kept { reason } => (UnitState::Kept, reason.clone(), None),
    };
    UnitStatus {
        unit: id.to_string(),
        source: sources.join(", "),
        sequence: sequence.unwrap_or(0),
        state,
        message: message.chars().take(MESSAGE_CHARACTERS_MAX).collect(),
        attempts,
    }
}

/// The status as bytes that fit a message. Where there is too much to say, the units in the least trouble go first, then the last of the
/// acknowledgements: a status that leaves something out is better than none.
pub(crate) fn encode(mut status: MachineStatus) -> serde_json::Result<Vec<u8>> {
    loop {
        let body = serde_json::to_vec(&status)?;
        let (units, words) = (status.units.len(), status.acknowledgements.len());
        if body.len() <= STATUS_BYTES_MAX || units + words == 0 {
            return Ok(body);
        }
        tracing::warn!(bytes = body.len(), units, words, "there is too much to say in one status; half of it is left out");
        if units * 2 > words {
            status.units.truncate(units / 2);
        } else {
            status.acknowledgements.truncate(words / 2);
        }
    }
}

/// What became of one object on this machine; none while it is under way.
///
/// `wanted` are the units that the object makes here: none where it does not mean this machine, or is deleted.
pub(crate) fn outcome(object: &str, sequence: u64, wanted: &BTreeSet<UnitId>, report: &Report) -> Option<(Outcome, String)> {
    let mut failures = Vec::new();
    let mut underway = false;
    let own =
        |unit: &UnitReport| unit.by.iter().filter_map(|by| parse_by(by)).find(|(name, _)| *name == object).map(|(_, at)| at);
    for (id, unit) in &report.units {
        let Some(at) = own(unit) else { continue };
        match &unit.state {
            // A unit of an earlier sequence that is still there is on its way out, or was not looked at since.
            State::Converged | State::Failed { .. } if at < sequence && unit.goal == Goal::Present => underway = true,
            State::Converged | State::Kept { .. } => {}
            State::Failed { reason, .. } | State::Conflict { reason } => failures.push(format!("{id}: {reason}")),
            State::Converging | State::Blocked { .. } | State::Removing => underway = true,
        }
    }
    let missing = wanted.iter().any(|id| report.units.get(id).and_then(own) != Some(sequence));
    if missing {
        return None;
    }
    match (failures.first(), underway) {
        (Some(first), _) => Some((Outcome::Failed, detail(first, failures.len()))),
        (None, true) => None,
        (None, false) => Some((Outcome::Applied, String::new())),
    }
}

fn detail(first: &str, count: usize) -> String {
    /// Fits into an acknowledgement with room to spare, whatever the characters.
    const DETAIL_CHARACTERS_MAX: usize = 200;
    let first: String = first.chars().take(DETAIL_CHARACTERS_MAX).collect();
    if count > 1 { format!("{first} (and {} more)", count - 1) } else { first }
}

/// What is known besides the report.
#[derive(Clone, Debug, Default)]
pub(crate) struct Concerns {
    /// What was refused, by object or statement, in words.
    pub(crate) refusals: BTreeMap<String, String>,
    /// Why the machine's memory cannot be written.
    pub(crate) memory: Option<String>,
    /// What found no room in the outbox, in words.
    pub(crate) outbox: Option<String>,
    /// Whether what an earlier process saved could not be read.
    pub(crate) unswept: bool,
    /// Why the wishes as a whole cannot be carried out.
    pub(crate) impossible: Option<String>,
}

/// The machine's own conditions.
pub(crate) fn conditions(present: &mut Vec<Condition>, report: &Report, concerns: &Concerns, now: Timestamp) {
    let count = |fits: fn(&State) -> bool| report.units.values().filter(|unit| fits(&unit.state)).count();
    let failed = count(|state| matches!(state, State::Failed { .. }));
    let conflicts = count(|state| matches!(state, State::Conflict { .. }));
    let total = report.units.len();
    let converged = count(|state| matches!(state, State::Converged | State::Kept { .. }));
    let (status, reason, message) = if let Some(memory) = &concerns.memory {
        (ConditionStatus::False, "MemoryFails", memory.clone())
    } else if let Some(impossible) = &concerns.impossible {
        (ConditionStatus::False, "Impossible", impossible.clone())
    } else if failed > 0 {
        (ConditionStatus::False, "UnitsFail", format!("{failed} of {total} units fail; they are tried again"))
    } else if conflicts > 0 {
        (ConditionStatus::False, "Conflict", format!("{conflicts} of {total} units are claimed twice"))
    } else if converged < total {
        (ConditionStatus::False, "Converging", format!("{converged} of {total} units are as they should be"))
    } else {
        (ConditionStatus::True, "AsSigned", format!("{total} units are as they should be"))
    };
    set_condition(present, "Converged", status, reason, &message, now);
    let (status, reason) =
        if conflicts > 0 { (ConditionStatus::True, "PathClaimedTwice") } else { (ConditionStatus::False, "NoConflict") };
    let message = if conflicts > 0 { format!("{conflicts} units are claimed by two profiles") } else { String::new() };
    set_condition(present, "Conflict", status, reason, &message, now);
    let refused: Vec<&str> = concerns.refusals.values().map(String::as_str).collect();
    let (status, reason) =
        if refused.is_empty() { (ConditionStatus::False, "AllVerified") } else { (ConditionStatus::True, "NotVerified") };
    let message: String = refused.join("; ").chars().take(MESSAGE_CHARACTERS_MAX).collect();
    set_condition(present, "Refused", status, reason, &message, now);
    // Nobody is told that a trouble is over that there never was.
    let was_full = present.iter().any(|condition| condition.kind == "OutboxFull");
    if let Some(message) = &concerns.outbox {
        set_condition(present, "OutboxFull", ConditionStatus::True, "EventsHeldBack", message, now);
    } else if was_full {
        set_condition(present, "OutboxFull", ConditionStatus::False, "Room", "", now);
    }
}

/// Whether the machine has heard of its owners in time.
pub(crate) fn freshness(present: &mut Vec<Condition>, freshness: &Freshness, now: Timestamp) {
    let asked = present.iter().any(|condition| condition.kind == "Stale");
    let (status, reason, message) = match freshness {
        // Nobody is told of what nobody asks for.
        Freshness::NotAsked if !asked => return,
        Freshness::NotAsked => (ConditionStatus::False, "NotAsked", String::new()),
        Freshness::Fresh { at } => (ConditionStatus::False, "Fresh", format!("its owners were heard of at {at:.0}")),
        Freshness::Stale { message } => (ConditionStatus::True, "Overdue", message.clone()),
        Freshness::RootKeptBack { message } => (ConditionStatus::True, "RootKeptBack", message.clone()),
    };
    set_condition(present, "Stale", status, reason, &message, now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::{Acknowledgement, Digest};

    fn report(units: &[(&str, &str, State)]) -> Report {
        let unit = |by: &str, state: &State| UnitReport {
            goal: Goal::Present,
            state: state.clone(),
            running: false,
            by: vec![by.to_owned()],
            last_change: None,
        };
        let units = units.iter().map(|(id, by, state)| (id.parse().unwrap(), unit(by, state))).collect();
        Report { at: Duration::from_secs(1), units }
    }

    fn failed() -> State {
        State::Failed { reason: "no space".to_owned(), attempts: 2, next_try: Duration::from_secs(5) }
    }

    #[test]
    fn an_object_is_applied_when_all_of_it_is() {
        let a = "file:/a";
        let wanted: BTreeSet<UnitId> = [a.parse().unwrap()].into();
        let none = BTreeSet::new();
        let cases = [
            (report(&[(a, "Profile/web@2", State::Converged)]), &wanted, Some(Outcome::Applied)),
            (report(&[(a, "Profile/web@1", State::Converged)]), &wanted, None),
            (report(&[(a, "Profile/web@2", State::Converging)]), &wanted, None),
            (report(&[(a, "Profile/web@2", failed())]), &wanted, Some(Outcome::Failed)),
            (report(&[]), &wanted, None),
            (report(&[(a, "Profile/web@2", State::Converged), ("file:/old", "Profile/web@1", State::Removing)]), &wanted, None),
            (report(&[(a, "Profile/web@1", State::Removing)]), &none, None),
            (report(&[("file:/z", "Profile/db@1", failed())]), &none, Some(Outcome::Applied)),
        ];
        for (index, (report, wanted, expected)) in cases.into_iter().enumerate() {
            let found = outcome("Profile/web", 2, wanted, &report).map(|(outcome, _)| outcome);
            assert_eq!(found, expected, "case {index}");
        }
    }

    #[test]
    fn a_status_with_too_much_to_say_still_fits() {
        let unit = |number: usize| UnitStatus {
            unit: format!("file:/{number}"),
            message: "\u{1}".repeat(MESSAGE_CHARACTERS_MAX),
            ..UnitStatus::default()
        };
        let word = |number: usize| Acknowledgement {
            object: number.to_string(),
            document: "x".repeat(1_500),
            sequence: 1,
            statement: Digest::of(b""),
            outcome: "Applied".to_owned(),
            signature: String::new(),
        };
        for (units, words) in [(0, 0), (UNITS_LISTED_MAX, 0), (UNITS_LISTED_MAX, 2_000), (3, 2_000)] {
            let units: Vec<UnitStatus> = (0..units).map(unit).collect();
            let status = MachineStatus { units, acknowledgements: (0..words).map(word).collect(), ..MachineStatus::default() };
            let body = encode(status.clone()).unwrap();
            assert!(body.len() <= STATUS_BYTES_MAX);
            let said: MachineStatus = serde_json::from_slice(&body).unwrap();
            assert_eq!(said.units.first(), status.units.first());
            assert_eq!(said.acknowledgements.first(), status.acknowledgements.first());
        }
    }

    #[test]
    fn trouble_comes_first_and_is_named() {
        let report = report(&[("file:/a", "Profile/web@2", State::Converged), ("file:/b", "Profile/web@2", failed())]);
        let units = units(&report);
        assert_eq!((units[0].unit.as_str(), units[0].state, units[0].attempts), ("file:/b", UnitState::Failed, Some(2)));
        assert_eq!((units[0].source.as_str(), units[0].sequence), ("Profile/web", 2));
        let mut present = Vec::new();
        let now = Timestamp::from_second(1).unwrap();
        conditions(&mut present, &report, &Concerns::default(), now);
        assert_eq!((present[0].kind.as_str(), present[0].reason.as_str()), ("Converged", "UnitsFail"));
    }
}
