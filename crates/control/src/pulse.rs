//! The fleet's pulse: how each machine is doing, in the few numbers that a person looks at first. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::{Condition, ConditionStatus, Digest, MachineStatus, UnitState};

/// How a machine stands: the first of these that is true of it, so that what needs a person most comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MachineState {
    /// Another machine presents its key as well.
    DuplicateKey,
    /// It was sent something that it may not obey.
    Refusing,
    /// Two profiles claim one thing on it.
    Conflict,
    /// The last try of one of its units failed.
    Failing,
    /// Nothing was heard of it within its limit.
    Silent,
    /// It has not said anything yet.
    New,
    /// It is being brought to what it was told.
    Converging,
    /// It is as it was told.
    Converged,
}

impl MachineState {
    /// All of them, those that need a person first.
    pub const ALL: [Self; 8] = [
        Self::DuplicateKey,
        Self::Refusing,
        Self::Conflict,
        Self::Failing,
        Self::Silent,
        Self::New,
        Self::Converging,
        Self::Converged,
    ];

    /// Its name, as conditions and metrics have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::DuplicateKey => "DuplicateKey",
            Self::Refusing => "Refusing",
            Self::Conflict => "Conflict",
            Self::Failing => "Failing",
            Self::Silent => "Silent",
            Self::New => "New",
            Self::Converging => "Converging",
            Self::Converged => "Converged",
        }
    }
}

/// A version of the program, and the binary that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binary {
    /// Its version.
    pub version: String,
    /// The architecture that it was built for, such as `x86_64`.
    pub architecture: String,
    /// The digest of the file.
    pub digest: Option<Digest>,
}

/// An object that is meant for a machine, as far as its newest statement goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meant {
    /// The object, such as `Profile/web`, as acknowledgements name it.
    pub object: String,
    /// The sequence of its newest statement.
    pub sequence: u64,
    /// The revision at which that entered the record.
    pub revision: u64,
}

/// How one machine is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachinePulse {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: MachineState,
    /// Since when, where its conditions say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What is wrong, or what it is doing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When the coordinator last heard from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// Objects meant for it whose newest statement it has not acknowledged.
    pub behind: u64,
    /// The revision of the newest statement that is meant for it.
    pub wanted_revision: u64,
    /// The revision of the record up to which it has what is meant for it, by its own word.
    pub revision: u64,
    /// Load average of one minute, times 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_percent: Option<u64>,
    /// Logical processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_count: Option<u32>,
    /// Bytes of memory in use, and of all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Filled>,
    /// Bytes in use on the disk where the machine keeps its state, and of all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Filled>,
    /// The hottest sensor in thousandths of a degree Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_millicelsius: Option<i64>,
    /// By how many milliseconds its clock is ahead of the coordinator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_milliseconds: Option<i64>,
    /// Packages with a newer version at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates_pending: Option<u32>,
    /// Seconds since it booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<u64>,
    /// The version of the agent that it runs; empty where it never said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// Whether that is the binary which is wanted; unknown where it never said which it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_as_wanted: Option<bool>,
}

/// How full something is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filled {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes of all of it.
    pub total_bytes: u64,
}

impl Filled {
    /// From what is free; nothing where the machine could not measure it.
    fn of(available_bytes: u64, total_bytes: u64) -> Option<Self> {
        (total_bytes > 0).then(|| Self { used_bytes: total_bytes.saturating_sub(available_bytes), total_bytes })
    }

    /// Hundredths that are in use.
    pub const fn percent(self) -> u64 {
        let total = if self.total_bytes == 0 { 1 } else { self.total_bytes };
        self.used_bytes.saturating_mul(100) / total
    }
}

/// How a machine is doing: by its status, by what is `meant` for it, and by the binary that is `wanted`.
pub fn plan(name: &str, status: &MachineStatus, meant: &[Meant], wanted: &Binary) -> MachinePulse {
    let (state, condition) = standing(status);
    let lacks = |meant: &&Meant| !has(status, &meant.object, meant.sequence);
    let vitals = status.vitals.as_ref();
    let facts = status.facts.as_ref();
    let failing = status.units.iter().find(|unit| unit.state == UnitState::Failed).filter(|_| state == MachineState::Failing);
    MachinePulse {
        name: name.to_owned(),
        state,
        since: condition.map(|condition| condition.last_transition_time),
        message: match failing {
            Some(unit) => format!("{}: {}", unit.unit, unit.message),
            None => condition.map(|condition| condition.message.clone()).unwrap_or_default(),
        },
        last_seen: status.last_seen,
        behind: meant.iter().filter(lacks).count() as u64,
        wanted_revision: meant.iter().map(|meant| meant.revision).max().unwrap_or_default(),
        revision: status.revision.unwrap_or_default(),
        load_percent: vitals.map(|vitals| vitals.load_percent),
        cpu_count: facts.map(|facts| facts.cpu_count),
        memory: vitals.and_then(|vitals| Filled::of(vitals.memory_available_bytes, vitals.memory_total_bytes)),
        disk: vitals.and_then(|vitals| Filled::of(vitals.disk_available_bytes, vitals.disk_total_bytes)),
        temperature_millicelsius: vitals.and_then(|vitals| vitals.temperature_millicelsius),
        clock_offset_milliseconds: vitals.and_then(|vitals| vitals.clock_offset_milliseconds),
        updates_pending: vitals.and_then(|vitals| vitals.updates_pending),
        uptime_seconds: vitals.map(|vitals| vitals.uptime_seconds),
        agent_version: facts.map(|facts| facts.agent_version.clone()).unwrap_or_default(),
        agent_as_wanted: as_wanted(status, wanted),
    }
}

/// Whether a machine's own word on an object is of its newest statement.
pub(crate) fn has(status: &MachineStatus, object: &str, sequence: u64) -> bool {
    status.acknowledgements.iter().any(|word| word.object == object && word.sequence >= sequence)
}

/// How it stands, and the condition that says so.
fn standing(status: &MachineStatus) -> (MachineState, Option<&Condition>) {
    let condition = |kind: &str| status.conditions.iter().find(|condition| condition.kind == kind);
    let holds = |kind: &str| condition(kind).filter(|condition| condition.status == ConditionStatus::True);
    let failing = status.units.iter().any(|unit| unit.state == UnitState::Failed);
    let (ready, converged) = (condition("Ready"), condition("Converged"));
    let troubles =
        [("DuplicateKey", MachineState::DuplicateKey), ("Refused", MachineState::Refusing), ("Conflict", MachineState::Conflict)];
    if let Some((condition, state)) = troubles.iter().find_map(|(kind, state)| Some((holds(kind)?, *state))) {
        return (state, Some(condition));
    }
    match (ready, converged) {
        (None, None) => (MachineState::New, None),
        // What a machine last said of itself stands until it says more, but nobody knows whether it is still so.
        (Some(ready), _) if ready.status != ConditionStatus::True => (MachineState::Silent, Some(ready)),
        _ if failing => (MachineState::Failing, converged),
        (_, Some(converged)) if converged.status == ConditionStatus::True => (MachineState::Converged, Some(converged)),
        (_, converged) => (MachineState::Converging, converged),
    }
}

/// Digests are compared where both are for one architecture, and versions where they are not.
fn as_wanted(status: &MachineStatus, wanted: &Binary) -> Option<bool> {
    let facts = status.facts.as_ref().filter(|facts| !facts.agent_version.is_empty())?;
    Some(match (&facts.agent_digest, &wanted.digest) {
        (Some(runs), Some(wants)) if facts.architecture == wanted.architecture => runs == wants,
        _ => facts.agent_version == wanted.version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::{Acknowledgement, Facts, UnitStatus, Vitals};

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn condition(kind: &str, status: ConditionStatus) -> Condition {
        let message = format!("{kind} it is");
        Condition { kind: kind.to_owned(), status, reason: String::new(), message, last_transition_time: AT }
    }

    fn status(conditions: &[(&str, ConditionStatus)]) -> MachineStatus {
        let conditions = conditions.iter().map(|(kind, status)| condition(kind, *status)).collect();
        MachineStatus { conditions, ..MachineStatus::default() }
    }

    fn state(status: &MachineStatus) -> MachineState {
        plan("m", status, &[], &Binary::default()).state
    }

    #[test]
    fn what_needs_a_person_most_is_told_first() {
        use ConditionStatus::{False, True, Unknown};
        let well = [("Ready", True), ("Converged", True)];
        assert_eq!(state(&MachineStatus::default()), MachineState::New);
        assert_eq!(state(&status(&well)), MachineState::Converged);
        assert_eq!(state(&status(&[("Ready", True), ("Converged", False)])), MachineState::Converging);
        assert_eq!(state(&status(&[("Ready", Unknown), ("Converged", True)])), MachineState::Silent);
        let with = |kind: &'static str| status(&[well.as_slice(), &[(kind, True)]].concat());
        assert_eq!(state(&with("Conflict")), MachineState::Conflict);
        assert_eq!(state(&with("Refused")), MachineState::Refusing);
        assert_eq!(state(&with("DuplicateKey")), MachineState::DuplicateKey);
        let mut failing = status(&[("Ready", True), ("Converged", False)]);
        let unit = "file:/a".to_owned();
        failing.units = vec![UnitStatus { unit, state: UnitState::Failed, message: "no".to_owned(), ..UnitStatus::default() }];
        let pulse = plan("m", &failing, &[], &Binary::default());
        assert_eq!((pulse.state, pulse.message.as_str(), pulse.since), (MachineState::Failing, "file:/a: no", Some(AT)));
        failing.conditions = vec![condition("Ready", Unknown)];
        assert_eq!(state(&failing), MachineState::Silent, "nobody knows whether it still fails");
        assert!(MachineState::ALL.is_sorted() && MachineState::DuplicateKey < MachineState::Converged);
    }

    #[test]
    fn a_machine_is_behind_by_what_it_has_not_acknowledged() {
        let word = |object: &str, sequence| Acknowledgement {
            object: object.to_owned(),
            sequence,
            statement: Digest::of(b""),
            outcome: "Failed".to_owned(),
            document: String::new(),
            signature: String::new(),
        };
        let acknowledgements = vec![word("Machine/m", 1), word("Profile/a", 2)];
        let status = MachineStatus { acknowledgements, revision: Some(7), ..MachineStatus::default() };
        let meant = |object: &str, sequence, revision| Meant { object: object.to_owned(), sequence, revision };
        let all = [meant("Machine/m", 1, 3), meant("Profile/a", 3, 9), meant("Profile/b", 1, 4)];
        let pulse = plan("m", &status, &all, &Binary::default());
        assert_eq!((pulse.behind, pulse.wanted_revision, pulse.revision), (2, 9, 7));
    }

    #[test]
    fn vitals_and_the_binary_that_runs() {
        let facts = |version: &str, architecture: &str, digest: &[u8]| Facts {
            cpu_count: 4,
            agent_version: version.to_owned(),
            architecture: architecture.to_owned(),
            agent_digest: Some(Digest::of(digest)),
            ..Facts::default()
        };
        let vitals = Vitals { memory_available_bytes: 25, memory_total_bytes: 100, load_percent: 150, ..Vitals::default() };
        let wanted = Binary { version: "2".to_owned(), architecture: "x86_64".to_owned(), digest: Some(Digest::of(b"two")) };
        let pulse = |facts: Option<Facts>| {
            plan("m", &MachineStatus { facts, vitals: Some(vitals.clone()), ..MachineStatus::default() }, &[], &wanted)
        };
        let well = pulse(Some(facts("2", "x86_64", b"two")));
        assert_eq!((well.agent_as_wanted, well.load_percent, well.cpu_count), (Some(true), Some(150), Some(4)));
        assert_eq!((well.memory.map(Filled::percent), well.disk), (Some(75), None), "a disk of no bytes was not measured");
        assert_eq!(pulse(Some(facts("2", "x86_64", b"other"))).agent_as_wanted, Some(false));
        assert_eq!(
            pulse(Some(facts("2", "aarch64", b"other"))).agent_as_wanted,
            Some(true),
            "another architecture's binary differs"
        );
        assert_eq!(pulse(Some(facts("1", "aarch64", b"other"))).agent_as_wanted, Some(false));
        assert_eq!(pulse(None).agent_as_wanted, None);
    }
}
