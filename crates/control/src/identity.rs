//! Whether whoever presents a machine's key goes on from where it was last seen, or is another one with a copy of it. Pure.
//!
//! Each start of an agent gets a number above all before it and a random mark, on the machine's disk before it is said; each session of a
//! start gets the next number and the moment of its connection. So the starts and sessions of one machine are one line. A copied disk
//! carries the line up to the copy, and then there are two branches: whoever comes with a branch that does not hold the step that was
//! last seen is another machine, or the same one whose disk was put back to an earlier state.

use jiff::Timestamp;
use stead_model::{DuplicateKey, Presented};
use stead_wire::{Hello, LineageStep, PeerKey, Presenter};

/// The longest text that is kept of what a presenter says, in characters: a host name (RFC 1123 section 2.1).
const TEXT_CHARACTERS_MAX: usize = 253;

/// How one that comes stands to the one that was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descent {
    /// It goes on from there, as far as can be told.
    Follows,
    /// Its connection is older than what was last seen: it was only let in late.
    Late,
    /// It is on another branch.
    TakingTurns,
    /// It is before what was last seen.
    WentBack,
}

/// How two that present one key were noticed.
pub(crate) const BOTH_CONNECTED: &str = "BothConnected";
pub(crate) const TWO_COORDINATORS: &str = "TwoCoordinators";

/// Compares who comes with who was last seen. `connected` is when the connection of the one that comes was made.
pub fn descent(last: &Presented, presenter: &Presenter, connected: Timestamp) -> Descent {
    let (starts, sessions) = (&presenter.starts, &presenter.sessions);
    let (Some(start), true) = (starts.last(), last.start != 0) else { return Descent::Follows };
    let seen = LineageStep { number: last.start, mark: mark(&last.start_mark) };
    let verdict = if start.number == seen.number && start.mark == seen.mark {
        along(sessions, LineageStep { number: last.session, mark: mark(&last.session_mark) })
    } else {
        along(starts, seen)
    };
    match verdict {
        Descent::Follows => Descent::Follows,
        _ if last.since.is_some_and(|since| connected <= since) => Descent::Late,
        verdict => verdict,
    }
}

/// Whether a line, oldest step first, holds a step, or may have held it before its oldest one.
fn along(line: &[LineageStep], seen: LineageStep) -> Descent {
    let (Some(oldest), Some(newest)) = (line.first(), line.last()) else { return Descent::Follows };
    if newest.number < seen.number {
        return Descent::WentBack;
    }
    if seen.number < oldest.number || line.contains(&seen) { Descent::Follows } else { Descent::TakingTurns }
}

impl Descent {
    /// One word, as a status has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Follows => "Follows",
            Self::Late => "Late",
            Self::TakingTurns => "TakingTurns",
            Self::WentBack => "WentBack",
        }
    }
}

fn mark(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or_default()
}

/// Who presents a key, as a status has it.
pub fn presented(peer: &PeerKey, hello: &Hello, address: &str, coordinator: &str, now: Timestamp) -> Presented {
    let text = |text: &str| text.chars().filter(|character| !character.is_control()).take(TEXT_CHARACTERS_MAX).collect();
    let step = |steps: &[LineageStep]| steps.last().copied().unwrap_or_default();
    let (start, session) = (step(&hello.presenter.starts), step(&hello.presenter.sessions));
    Presented {
        since: Timestamp::from_second(now.as_second()).ok(),
        key: peer.to_string(),
        coordinator: coordinator.to_owned(),
        address: text(address),
        hostname: text(&hello.presenter.hostname),
        machine_id: text(&hello.machine_id),
        boot_id: text(&hello.presenter.boot_id),
        serial: text(&hello.presenter.serial),
        agent_version: text(&hello.agent_version),
        start: start.number,
        start_mark: format!("{:016x}", start.mark),
        session: session.number,
        session_mark: format!("{:016x}", session.mark),
    }
}

/// Whether a version such as `1.2.3` is older than another one. Of what is no version nothing is said.
pub fn is_older(version: &str, than: &str) -> bool {
    let numbers =
        |text: &str| text.split(['-', '+']).next()?.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>();
    matches!((numbers(version), numbers(than)), (Some(version), Some(than)) if version < than)
}

/// One side, in words.
pub(crate) fn side(presented: &Presented) -> String {
    let named = |name: &str, value: &str| if value.is_empty() { None } else { Some(format!("{name} {value}")) };
    let parts = [
        named("host name", &presented.hostname),
        named("at", &presented.address),
        named("serial", &presented.serial),
        named("boot id", &presented.boot_id),
        named("machine id", &presented.machine_id),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "a machine that says nothing of itself".to_owned() } else { parts.join(", ") }
}

/// What is told of two that present one key: both sides, and what to do.
pub fn told(machine: &str, duplicate: &DuplicateKey) -> String {
    let DuplicateKey { how, one, other, .. } = duplicate;
    let how = match how.as_str() {
        BOTH_CONNECTED => "both are connected at once",
        TWO_COORDINATORS => "they are connected to two coordinators at once",
        "WentBack" => "one goes on from an earlier moment than was seen; it may also be a disk that was put back",
        _ => "they take turns",
    };
    format!(
        "two present the key of {machine} ({how}): {}; and {}. Find out which one is the copy, and switch it off; then `stead machine \
         rotate-key {machine}` gives the other one a key that the copy has not",
        side(one),
        side(other)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn hello(starts: &[(u64, u64)], sessions: &[(u64, u64)]) -> Hello {
        let steps =
            |steps: &[(u64, u64)]| steps.iter().map(|(number, mark)| LineageStep { number: *number, mark: *mark }).collect();
        let mut hello = Hello::new([1; 32], [2; 16]);
        (hello.presenter.starts, hello.presenter.sessions) = (steps(starts), steps(sessions));
        hello
    }

    #[test]
    fn one_machine_is_one_line_and_a_copy_another_branch() {
        let peer = PeerKey([3; 32]);
        let seen = |hello: &Hello| presented(&peer, hello, "192.0.2.1:1", "c", at(100));
        let last = seen(&hello(&[(10, 1), (20, 2)], &[(1, 71), (2, 72)]));
        for (name, comes, connected, expected) in [
            ("the same start's next session", hello(&[(10, 1), (20, 2)], &[(1, 71), (2, 72), (3, 73)]), 101, Descent::Follows),
            ("sessions that led nowhere in between", hello(&[(20, 2)], &[(8, 1), (9, 2)]), 101, Descent::Follows),
            ("a restart", hello(&[(10, 1), (20, 2), (30, 3)], &[(1, 80)]), 101, Descent::Follows),
            ("many starts without a session", hello(&[(40, 4), (50, 5)], &[(1, 80)]), 101, Descent::Follows),
            ("a machine set up anew with its key", hello(&[(99, 9)], &[(1, 80)]), 101, Descent::Follows),
            ("an agent that says nothing", hello(&[], &[]), 101, Descent::Follows),
            ("a copy that started by itself", hello(&[(10, 1), (20, 7)], &[(1, 80)]), 101, Descent::TakingTurns),
            ("a copy that started later", hello(&[(10, 1), (15, 7), (30, 8)], &[(1, 80)]), 101, Descent::TakingTurns),
            ("the original of a copy that has started", hello(&[(10, 1)], &[(5, 90)]), 101, Descent::WentBack),
            ("the same, whose connection is older", hello(&[(10, 1)], &[(5, 90)]), 99, Descent::Late),
            ("a running machine that was copied", hello(&[(10, 1), (20, 2)], &[(1, 71), (2, 99)]), 101, Descent::TakingTurns),
            ("a session of before", hello(&[(10, 1), (20, 2)], &[(1, 71)]), 101, Descent::WentBack),
        ] {
            assert_eq!(descent(&last, &comes.presenter, at(connected)), expected, "{name}");
        }
    }

    #[test]
    fn an_older_agent_is_told_by_its_version() {
        for (version, than, older) in [
            ("0.1.0", "0.2.0", true),
            ("0.9.0", "0.10.0", true),
            ("0.2.0", "0.2.0", false),
            ("1.0.0", "0.9.9", false),
            ("test", "0.1.0", false),
            ("", "0.1.0", false),
        ] {
            assert_eq!(is_older(version, than), older, "{version} {than}");
        }
    }

    #[test]
    fn both_sides_are_told() {
        let mut one = Hello::new([1; 32], [2; 16]);
        one.presenter.hostname = "left\n".to_owned();
        one.presenter.serial = "S1".to_owned();
        let one = presented(&PeerKey([3; 32]), &one, "192.0.2.1:1", "c", at(1));
        let duplicate = DuplicateKey { noticed: None, how: BOTH_CONNECTED.to_owned(), one, other: Presented::default() };
        let told = told("web", &duplicate);
        assert!(told.contains("host name left, at 192.0.2.1:1, serial S1") && told.contains("says nothing of itself"), "{told}");
        assert!(told.contains("rotate-key web"), "{told}");
    }
}
