//! What is shown of the machines, in which order, and in which words. Pure.

use std::cmp::{Ordering, Reverse};

use jiff::Timestamp;
use stead_control::pulse::{Filled, MachinePulse, MachineState};
use stead_model::age;

use crate::cli::TopColumn as Column;

/// The heads of the columns.
pub(super) const HEADING: [&str; 12] =
    ["name", "state", "for", "seen", "behind", "load", "mem", "disk", "temp", "clock", "updates", "agent"];

/// The columns in the order in which they are shown; `for` belongs to the state.
pub(super) const COLUMNS: [Column; 11] = [
    Column::Name,
    Column::State,
    Column::Seen,
    Column::Behind,
    Column::Load,
    Column::Memory,
    Column::Disk,
    Column::Temperature,
    Column::Clock,
    Column::Updates,
    Column::Agent,
];

/// The machines, sorted and filtered.
pub(super) struct View {
    machines: Vec<MachinePulse>,
    shown: Vec<MachinePulse>,
    pub(super) sort: Column,
    pub(super) reverse: bool,
    filter: String,
}

impl View {
    pub(super) fn new(sort: Column, reverse: bool, filter: String) -> Self {
        Self { machines: Vec::new(), shown: Vec::new(), sort, reverse, filter }
    }

    /// Takes in how all machines are now.
    pub(super) fn take(&mut self, machines: Vec<MachinePulse>) {
        self.machines = machines;
        self.arrange();
    }

    /// Sorts by another column; by the same one the other way round.
    pub(super) fn sort_by(&mut self, column: Column) {
        self.reverse = if self.sort == column { !self.reverse } else { false };
        self.sort = column;
        self.arrange();
    }

    /// Sorts by the column to the left or to the right.
    pub(super) fn sort_beside(&mut self, right: bool) {
        let place = COLUMNS.iter().position(|column| *column == self.sort).unwrap_or_default();
        let next = if right { (place + 1) % COLUMNS.len() } else { (place + COLUMNS.len() - 1) % COLUMNS.len() };
        if let Some(column) = COLUMNS.get(next) {
            (self.sort, self.reverse) = (*column, false);
        }
        self.arrange();
    }

    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    pub(super) fn set_filter(&mut self, filter: String) {
        self.filter = filter;
        self.arrange();
    }

    /// Those that the filter lets through, in order.
    pub(super) fn shown(&self) -> &[MachinePulse] {
        &self.shown
    }

    /// How many there are in all.
    pub(super) fn count(&self) -> usize {
        self.machines.len()
    }

    /// How many are in each state, trouble first; states that none is in are left out.
    pub(super) fn states(&self) -> Vec<(MachineState, usize)> {
        let count = |state: MachineState| self.machines.iter().filter(|machine| machine.state == state).count();
        MachineState::ALL.into_iter().map(|state| (state, count(state))).filter(|(_, number)| *number > 0).collect()
    }

    /// How many have yet to acknowledge something that is meant for them, and how many run another binary than is wanted.
    pub(super) fn arrears(&self) -> (usize, usize) {
        let behind = self.machines.iter().filter(|machine| machine.behind > 0).count();
        (behind, self.machines.iter().filter(|machine| machine.agent_as_wanted == Some(false)).count())
    }

    fn arrange(&mut self) {
        let wanted = self.filter.to_lowercase();
        let has = |machine: &&MachinePulse| {
            let texts = [machine.name.as_str(), machine.state.word(), &machine.agent_version, &machine.message];
            texts.iter().any(|text| text.to_lowercase().contains(&wanted))
        };
        self.shown = self.machines.iter().filter(has).cloned().collect();
        let (column, reverse) = (self.sort, self.reverse);
        self.shown.sort_by(|left, right| {
            let order = compare(column, left, right);
            // Names stay in order among equals, whichever way the column runs.
            (if reverse { order.reverse() } else { order }).then_with(|| left.name.cmp(&right.name))
        });
    }
}

/// What is first of two machines by a column. What is not known comes last.
fn compare(column: Column, left: &MachinePulse, right: &MachinePulse) -> Ordering {
    fn most<T: Ord>(left: T, right: T) -> Ordering {
        Reverse(left).cmp(&Reverse(right))
    }
    match column {
        Column::Name => left.name.cmp(&right.name),
        Column::State => left.state.cmp(&right.state).then_with(|| most(left.since, right.since)),
        Column::Seen => left.last_seen.is_none().cmp(&right.last_seen.is_none()).then(left.last_seen.cmp(&right.last_seen)),
        Column::Behind => most(left.behind, right.behind),
        Column::Load => most(load(left), load(right)),
        Column::Memory => most(left.memory.map(Filled::percent), right.memory.map(Filled::percent)),
        Column::Disk => most(left.disk.map(Filled::percent), right.disk.map(Filled::percent)),
        Column::Temperature => most(left.temperature_millicelsius, right.temperature_millicelsius),
        Column::Clock => most(clock_off(left), clock_off(right)),
        Column::Updates => most(left.updates_pending, right.updates_pending),
        Column::Agent => most(left.agent_as_wanted.map(|wanted| !wanted), right.agent_as_wanted.map(|wanted| !wanted))
            .then_with(|| left.agent_version.cmp(&right.agent_version)),
    }
}

/// Load for each processor, times 100: machines of all sizes compare by it.
fn load(machine: &MachinePulse) -> Option<u64> {
    let cpus = u64::from(machine.cpu_count.unwrap_or(1).max(1));
    machine.load_percent.map(|load| load / cpus)
}

fn clock_off(machine: &MachinePulse) -> Option<u64> {
    machine.clock_offset_milliseconds.map(i64::unsigned_abs)
}

/// What is shown of a machine, a text for each head.
pub(super) fn cells(machine: &MachinePulse, now: Timestamp) -> [String; 12] {
    let since = |moment: Option<Timestamp>| moment.map_or_else(unknown, |moment| age(moment, now).to_string());
    let percent = |number: Option<u64>| number.map_or_else(unknown, |number| format!("{number}%"));
    [
        machine.name.clone(),
        machine.state.word().to_owned(),
        since(machine.since),
        since(machine.last_seen),
        machine.behind.to_string(),
        percent(load(machine)),
        percent(machine.memory.map(Filled::percent)),
        percent(machine.disk.map(Filled::percent)),
        machine
            .temperature_millicelsius
            .map_or_else(unknown, |milli| format!("{}°C", milli.saturating_add(500).div_euclid(1_000))),
        machine.clock_offset_milliseconds.map_or_else(unknown, offset),
        machine.updates_pending.map_or_else(unknown, |number| number.to_string()),
        agent(machine),
    ]
}

fn unknown() -> String {
    "-".to_owned()
}

fn offset(milliseconds: i64) -> String {
    match milliseconds.unsigned_abs() {
        0..10_000 => format!("{milliseconds:+}ms"),
        size => format!("{}{}s", if milliseconds < 0 { '-' } else { '+' }, size / 1_000),
    }
}

/// The version that runs, marked where it is not the binary that is wanted.
fn agent(machine: &MachinePulse) -> String {
    match (machine.agent_version.as_str(), machine.agent_as_wanted) {
        ("", _) => unknown(),
        (version, Some(false)) => format!("{version} (other)"),
        (version, _) => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn machine(name: &str, more: serde_json::Value) -> MachinePulse {
        let mut value = json!({"name": name, "state": "Converged", "behind": 0, "wantedRevision": 3, "revision": 3});
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn view() -> View {
        let mut view = View::new(Column::State, false, String::new());
        view.take(vec![
            machine("a", json!({"cpuCount": 4, "loadPercent": 200, "clockOffsetMilliseconds": -30, "agentVersion": "1", "agentAsWanted": true})),
            machine("b", json!({"state": "Failing", "message": "file:/etc/motd: no", "cpuCount": 1, "loadPercent": 90, "behind": 2,
                "memory": {"usedBytes": 3, "totalBytes": 4}, "agentVersion": "0", "agentAsWanted": false})),
            machine("c", json!({"state": "Silent", "clockOffsetMilliseconds": 20, "lastSeen": "2026-01-01T00:00:00Z"})),
            machine("d", json!({"temperatureMillicelsius": 41_600, "updatesPending": 4, "lastSeen": "2026-01-01T00:00:05Z"})),
        ]);
        view
    }

    fn names(view: &View) -> String {
        view.shown().iter().map(|machine| machine.name.as_str()).collect()
    }

    #[test]
    fn each_column_sorts_with_what_matters_first_and_the_unknown_last() {
        let mut view = view();
        assert_eq!(names(&view), "bcad");
        for (column, expected) in [
            (Column::Name, "abcd"),
            (Column::Seen, "cdab"),
            (Column::Behind, "bacd"),
            (Column::Load, "bacd"),
            (Column::Memory, "bacd"),
            (Column::Temperature, "dabc"),
            (Column::Clock, "acbd"),
            (Column::Updates, "dabc"),
            (Column::Agent, "bacd"),
        ] {
            view.sort_by(column);
            assert_eq!(names(&view), expected, "{column:?}");
        }
        view.sort_by(Column::Name);
        view.sort_by(Column::Name);
        assert_eq!(names(&view), "dcba");
        view.sort_beside(false);
        assert_eq!((view.sort, view.reverse), (Column::Agent, false));
        view.sort_beside(true);
        assert_eq!(names(&view), "abcd");
    }

    #[test]
    fn a_filter_looks_at_what_is_read() {
        let mut view = view();
        for (text, expected) in [("silent", "c"), ("MOTD", "b"), ("", "bcad"), ("nothing of it", "")] {
            view.set_filter(text.to_owned());
            assert_eq!(names(&view), expected, "{text}");
        }
        assert_eq!((view.count(), view.arrears()), (4, (1, 1)));
        let expected = [(MachineState::Failing, 1), (MachineState::Silent, 1), (MachineState::Converged, 2)];
        assert_eq!(view.states(), expected);
    }

    #[test]
    fn numbers_are_short_and_have_their_unit() {
        let mut view = view();
        view.sort_by(Column::Name);
        let now = "2026-01-01T00:01:05Z".parse().unwrap();
        let lines: Vec<String> = view.shown().iter().map(|machine| cells(machine, now).join(" ")).collect();
        assert_eq!(
            lines,
            [
                "a Converged - - 0 50% - - - -30ms - 1",
                "b Failing - - 2 90% 75% - - - - 0 (other)",
                "c Silent - 65s 0 - - - - +20ms - -",
                "d Converged - 60s 0 - - - 42°C - 4 -"
            ]
        );
        assert_eq!((offset(-12_345), offset(9_999)), ("-12s".to_owned(), "+9999ms".to_owned()));
    }
}
