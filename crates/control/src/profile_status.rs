//! What became of each profile, over the machines that it matches.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use stead_model::{
    Acknowledgement, ConditionStatus, Digest, MachineStatus, ProfileConflict, ProfileStatus, UnitState, set_condition,
};

/// The most conflicts that one profile's status lists; the condition tells how many there are.
pub const CONFLICTS_LISTED_MAX: usize = 20;

/// The status of a profile.
///
/// `machines` are those it is meant for, with what each says; `newest` is its newest statement by sequence, and by digest where another one
/// with that sequence may be about; `generation` is that of its spec.
pub fn plan<'a>(
    profile: &str,
    newest: (u64, Option<&Digest>),
    generation: i64,
    machines: impl IntoIterator<Item = (&'a str, Option<&'a MachineStatus>)>,
    present: &ProfileStatus,
    now: Timestamp,
) -> ProfileStatus {
    let (source, (sequence, _)) = (format!("Profile/{profile}"), newest);
    let mut status = ProfileStatus {
        sequence,
        observed_generation: generation,
        conditions: present.conditions.clone(),
        ..ProfileStatus::default()
    };
    let mut conflicts = BTreeSet::new();
    for (name, machine) in machines {
        status.machines = status.machines.saturating_add(1);
        let Some(machine) = machine else { continue };
        match standing(&source, newest, machine) {
            Standing::Converged => status.converged = status.converged.saturating_add(1),
            Standing::Failed => status.failed = status.failed.saturating_add(1),
            Standing::Underway => {}
        }
        for unit in machine.units.iter().filter(|unit| unit.state == UnitState::Conflict && names(&unit.source, &source)) {
            let path = unit.unit.split_once(':').map_or(unit.unit.as_str(), |(_, path)| path);
            let others = unit.source.split(',').map(str::trim).filter(|other| *other != source);
            for other in others {
                conflicts.insert((path.to_owned(), other.to_owned(), name.to_owned()));
            }
        }
    }
    let (in_conflict, count) = (!conflicts.is_empty(), conflicts.len());
    let listed = conflicts.into_iter().take(CONFLICTS_LISTED_MAX);
    status.conflicts = listed.map(|(path, with, machine)| ProfileConflict { path, with, machine }).collect();
    conditions(&mut status, in_conflict, count, now);
    status
}

enum Standing {
    Converged,
    Failed,
    Underway,
}

fn names(sources: &str, source: &str) -> bool {
    sources.split(',').any(|name| name.trim() == source)
}

/// Where a machine stands with a profile: by its own signed word on the newest statement.
fn standing(source: &str, (sequence, statement): (u64, Option<&Digest>), machine: &MachineStatus) -> Standing {
    let is_newest = |word: &Acknowledgement| {
        word.sequence > sequence || (word.sequence == sequence && statement.is_none_or(|statement| word.statement == *statement))
    };
    let word = machine.acknowledgements.iter().find(|word| word.object == source && is_newest(word));
    match word.map(|word| word.outcome.as_str()) {
        Some("Applied") => Standing::Converged,
        Some(_) => Standing::Failed,
        None => Standing::Underway,
    }
}

fn conditions(status: &mut ProfileStatus, in_conflict: bool, count: usize, now: Timestamp) {
    let (truth, reason, message) = if in_conflict {
        let first =
            status.conflicts.first().map(|conflict| format!("{} with {} on {}", conflict.path, conflict.with, conflict.machine));
        (ConditionStatus::True, "PathClaimedTwice", format!("{count} in all: {}", first.unwrap_or_default()))
    } else {
        (ConditionStatus::False, "NoConflict", String::new())
    };
    set_condition(&mut status.conditions, "Conflict", truth, reason, &message, now);
    let (converged, machines, failed) = (status.converged, status.machines, status.failed);
    let (truth, reason) = if converged == machines && !in_conflict {
        (ConditionStatus::True, "EveryMachine")
    } else if failed > 0 {
        (ConditionStatus::False, "SomeFail")
    } else {
        (ConditionStatus::False, "Underway")
    };
    set_condition(&mut status.conditions, "Converged", truth, reason, &format!("{converged} of {machines} machines"), now);
}

/// The profiles whose numbers an update of a machine's status may move: those it speaks of before and after.
pub fn touched(before: Option<&MachineStatus>, after: Option<&MachineStatus>) -> BTreeSet<String> {
    let words = |status: Option<&MachineStatus>| -> BTreeMap<String, (u64, String)> {
        let words = status.into_iter().flat_map(|status| &status.acknowledgements);
        words.map(|word| (word.object.clone(), (word.sequence, word.outcome.clone()))).collect()
    };
    let conflicts = |status: Option<&MachineStatus>| -> BTreeSet<String> {
        let units = status.into_iter().flat_map(|status| &status.units).filter(|unit| unit.state == UnitState::Conflict);
        units.flat_map(|unit| unit.source.split(',').map(|name| name.trim().to_owned())).collect()
    };
    let (words_before, words_after) = (words(before), words(after));
    let changed = words_before.iter().filter(|(name, word)| words_after.get(*name) != Some(word)).map(|(name, _)| name);
    let new = words_after.iter().filter(|(name, word)| words_before.get(*name) != Some(word)).map(|(name, _)| name);
    let (conflicts_before, conflicts_after) = (conflicts(before), conflicts(after));
    let conflicting = conflicts_before.symmetric_difference(&conflicts_after);
    changed.chain(new).chain(conflicting).filter_map(|name| name.strip_prefix("Profile/")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::UnitStatus;

    fn word(sequence: u64, outcome: &str) -> Acknowledgement {
        Acknowledgement {
            object: "Profile/web".to_owned(),
            sequence,
            statement: Digest::of(b""),
            outcome: outcome.to_owned(),
            document: String::new(),
            signature: String::new(),
        }
    }

    #[test]
    fn counts_and_conflicts() {
        let at = Timestamp::from_second(1).unwrap();
        let done = MachineStatus { acknowledgements: vec![word(2, "Applied")], ..MachineStatus::default() };
        let old = MachineStatus { acknowledgements: vec![word(1, "Applied")], ..MachineStatus::default() };
        let unit = UnitStatus {
            unit: "file:/a".to_owned(),
            source: "Profile/db, Profile/web".to_owned(),
            state: UnitState::Conflict,
            ..UnitStatus::default()
        };
        let failed = MachineStatus { acknowledgements: vec![word(2, "Failed")], units: vec![unit], ..MachineStatus::default() };
        let machines = [("a", Some(&done)), ("b", Some(&old)), ("c", Some(&failed)), ("d", None)];
        let status = plan("web", (2, None), 7, machines, &ProfileStatus::default(), at);
        assert_eq!((status.machines, status.converged, status.failed, status.observed_generation), (4, 1, 1, 7));
        assert_eq!(status.conflicts, [ProfileConflict { path: "/a".into(), with: "Profile/db".into(), machine: "c".into() }]);
        assert_eq!(touched(Some(&old), Some(&done)), ["web".to_owned()].into());
        assert_eq!(touched(Some(&done), Some(&failed)), ["db".to_owned(), "web".to_owned()].into());
        assert!(touched(Some(&done), Some(&done)).is_empty());
        let status = plan("web", (2, Some(&Digest::of(b""))), 7, [("a", Some(&done))], &status, at);
        assert!(
            status.conditions.iter().any(|condition| condition.kind == "Converged" && condition.status == ConditionStatus::True)
        );
        let other = plan("web", (2, Some(&Digest::of(b"another"))), 7, [("a", Some(&done))], &status, at);
        assert_eq!((other.machines, other.converged), (1, 0), "it holds what somebody else signed with that sequence");
    }
}
