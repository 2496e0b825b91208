//! Why something is not yet as it is waited for: what each machine says is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stead_model::{Kind as _, KindInfo, Machine, Profile, UnitState, UnitStatus};

use super::Awaited;
use crate::client::{Client, ClientError};
use crate::failure::Failure;
use crate::kind_word::info;
use crate::output::name_of;

/// Characters of a reason: a line, whatever a command wrote to its standard error.
const REASON_CHARACTERS_MAX: usize = 200;
/// Units of one machine that are named; the first ones show what is wrong.
const UNITS_MAX: usize = 3;
/// Objects that a failure names; the rest are counted.
const LISTED_MAX: usize = 10;
/// Lines that are said while it waits; who waits for thousands of machines is told of these.
const SAID_MAX: usize = 50;
/// What stands between a profile and the machine that says something of it.
pub(super) const ON: &str = " on ";
/// Reasons of conditions that say how far something is, and not that anything is wrong.
const PROGRESS: [&str; 3] = ["Converging", "SomeFail", "Underway"];
/// Machines that are looked at for a profile.
const MACHINES_MAX: usize = 200;

/// What stands in the way of each object: by the object's (or machine's) name, in the order of the names.
pub(super) type Reasons = BTreeMap<String, Vec<String>>;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// What goes wrong: what somebody who waits should hear of at once.
    Wrong,
    /// And how far it is, which changes all the time.
    All,
}

/// What an object says of why it is not yet there.
pub(super) fn reasons(info: &KindInfo, object: &Value, awaited: &Awaited, depth: Depth) -> Vec<String> {
    let units = if info.kind == Machine::KIND { failing(object, None) } else { Vec::new() };
    if !units.is_empty() && !matches!(awaited, Awaited::Condition { kind, .. } if kind == "Ready") {
        return units;
    }
    match awaited {
        Awaited::Deleted => held(object),
        Awaited::Condition { kind, .. } => condition(object, kind, depth).into_iter().collect(),
        Awaited::Field { .. } => Vec::new(),
    }
}

/// What keeps an object that is being deleted.
fn held(object: &Value) -> Vec<String> {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = finalizers.filter_map(Value::as_str).collect();
    if names.is_empty() { Vec::new() } else { vec![line(&format!("held by {}", names.join(", ")))] }
}

fn condition(object: &Value, kind: &str, depth: Depth) -> Option<String> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array)?;
    let found = conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))?;
    let text = |member: &str| found.get(member).and_then(Value::as_str).unwrap_or_default();
    let (status, reason, message) = (text("status"), text("reason"), text("message"));
    if depth == Depth::Wrong && PROGRESS.contains(&reason) {
        return None;
    }
    let said: Vec<&str> = [reason, message].into_iter().filter(|part| !part.is_empty()).collect();
    let tail = if said.is_empty() { String::new() } else { format!(": {}", said.join(": ")) };
    Some(line(&format!("{kind} is {status}{tail}")))
}

/// The units of a machine that fail, wait or are claimed twice; of one object's where one is named.
fn failing(machine: &Value, source: Option<&str>) -> Vec<String> {
    let units = machine.pointer("/status/units").cloned();
    let units: Vec<UnitStatus> = units.and_then(|units| serde_json::from_value(units).ok()).unwrap_or_default();
    let wrong = |unit: &&UnitStatus| {
        let state = matches!(unit.state, UnitState::Failed | UnitState::Blocked | UnitState::Conflict);
        state && source.is_none_or(|source| unit.source == source)
    };
    let mut wrong: Vec<&UnitStatus> = units.iter().filter(wrong).collect();
    // What fails comes before what waits for it.
    wrong.sort_by_key(|unit| unit.state != UnitState::Failed);
    let more = wrong.len().saturating_sub(UNITS_MAX);
    let mut lines: Vec<String> = wrong.into_iter().take(UNITS_MAX).map(unit_line).collect();
    if more > 0 {
        lines.push(format!("and {more} more units"));
    }
    lines
}

/// Without the count of attempts, which moves all the time.
fn unit_line(unit: &UnitStatus) -> String {
    let state = match unit.state {
        UnitState::Blocked => "waits",
        UnitState::Conflict => "is claimed twice",
        _ => "fails",
    };
    let message = if unit.message.is_empty() { String::new() } else { format!(": {}", unit.message) };
    line(&format!("{} {state}{message}", unit.unit))
}

/// One line, and nothing that moves a terminal's cursor: it is a machine's word.
fn line(text: &str) -> String {
    let shown = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    let mut line: String = shown.take(REASON_CHARACTERS_MAX).collect();
    if text.chars().count() > REASON_CHARACTERS_MAX {
        line.push('…');
    }
    line
}

/// Of a profile on which something fails: what its machines say. Some of them, where there are very many.
pub(super) async fn of_profile(client: &Client, profile: &Value) -> Result<Reasons, Failure> {
    let failed = profile.pointer("/status/failed").and_then(Value::as_u64).unwrap_or_default();
    if failed == 0 {
        return Ok(Reasons::new());
    }
    let source = format!("{}/{}", Profile::KIND, name_of(profile));
    let machines = client.some(info(Machine::KIND)?, "status.conditions.Converged=False", MACHINES_MAX).await;
    let machines = match machines {
        Ok(machines) => machines,
        // The wait goes on, and looks again.
        Err(ClientError::Unreachable { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let said = machines.iter().map(|machine| (name_of(machine).to_owned(), failing(machine, Some(&source))));
    Ok(said.filter(|(_, lines)| !lines.is_empty()).collect())
}

/// Remembers what has been said, so that everything is said once.
#[derive(Default)]
pub(super) struct Said {
    lines: BTreeSet<String>,
    quiet: bool,
}

impl Said {
    /// The lines that are new.
    pub(super) fn news(&mut self, reasons: &Reasons) -> Vec<String> {
        let mut news = Vec::new();
        for (name, reason) in reasons.iter().flat_map(|(name, lines)| lines.iter().map(move |line| (name, line))) {
            let line = format!("{name}: {reason}");
            if self.quiet || self.lines.contains(&line) {
                continue;
            }
            if self.lines.len() >= SAID_MAX {
                self.quiet = true;
                news.push("and more, which is not said here".to_owned());
                continue;
            }
            self.lines.insert(line.clone());
            news.push(line);
        }
        news
    }
}

/// The objects that are not there yet, each with what is in its way, on lines of their own.
pub(super) fn listed(open: &[String], reasons: &Reasons) -> String {
    let mut text = String::new();
    // Those that say something come first.
    let speaks =
        |name: &str| reasons.keys().any(|key| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(ON)));
    let silent = open.iter().filter(|name| !speaks(name));
    let all: Vec<&String> = reasons.keys().chain(silent).collect();
    for name in all.iter().take(LISTED_MAX) {
        let said = reasons.get(*name).map(|lines| format!(": {}", lines.join("; ")));
        text.push_str(&format!("\n  {name}{}", said.unwrap_or_default()));
    }
    if all.len() > LISTED_MAX {
        text.push_str(&format!("\n  and {} more", all.len().saturating_sub(LISTED_MAX)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn unit(name: &str, state: &str, message: &str) -> Value {
        json!({"unit": name, "source": "Profile/web", "sequence": 1, "state": state, "message": message, "attempts": 3})
    }

    fn machine(units: &[Value]) -> Value {
        let conditions = json!([
            {"type": "Ready", "status": "Unknown", "reason": "Silent", "message": "not heard of for 40 s"},
            {"type": "Converged", "status": "False", "reason": "Converging", "message": "1 of 2 units are as they should be"},
        ]);
        json!({"metadata": {"name": "m1"}, "status": {"conditions": conditions, "units": units}})
    }

    #[test]
    fn what_is_wrong_is_said_by_unit_or_by_condition() {
        let info = info("machine").unwrap();
        let failing = machine(&[
            unit("file:/b", "Blocked", "waits for file:/a"),
            unit("file:/a", "Failed", "no space\nleft\u{1b}[2J on device"),
            unit("file:/c", "Converged", ""),
        ]);
        let of = |object: &Value, awaited: &str| reasons(info, object, &awaited.parse().unwrap(), Depth::All);
        let expected = ["file:/a fails: no space left [2J on device", "file:/b waits: waits for file:/a"];
        assert_eq!(of(&failing, "condition=Converged"), expected);
        assert_eq!(of(&failing, "condition=Ready"), ["Ready is Unknown: Silent: not heard of for 40 s"]);
        let converging = machine(&[unit("file:/a", "Converging", "")]);
        let expected = ["Converged is False: Converging: 1 of 2 units are as they should be"];
        assert_eq!(of(&converging, "condition=Converged"), expected);
        assert!(reasons(info, &converging, &"condition=Converged".parse().unwrap(), Depth::Wrong).is_empty());
        assert!(of(&converging, "condition=Other").is_empty() && of(&converging, "status.revision=7").is_empty());
        let kept = json!({"metadata": {"name": "m1", "finalizers": ["a/b"]}});
        assert_eq!(of(&kept, "delete"), ["held by a/b"]);
        let many: Vec<Value> = (0..9).map(|number| unit(&format!("file:/{number}"), "Failed", &"x".repeat(900))).collect();
        let many = of(&machine(&many), "condition=Converged");
        assert_eq!((many.len(), many[3].as_str()), (4, "and 6 more units"));
        assert_eq!(many[0].chars().count(), REASON_CHARACTERS_MAX + 1);
    }

    #[test]
    fn everything_is_said_once_and_not_without_end() {
        let mut said = Said::default();
        let one = |reason: &str| Reasons::from([("m1".to_owned(), vec![reason.to_owned()])]);
        assert_eq!(said.news(&one("a fails")), ["m1: a fails"]);
        assert!(said.news(&one("a fails")).is_empty());
        assert_eq!(said.news(&one("b fails")), ["m1: b fails"]);
        let many: Reasons = (0..1_000).map(|number| (format!("m{number:03}"), vec!["fails".to_owned()])).collect();
        let lines = said.news(&many);
        assert_eq!(lines.len(), SAID_MAX - 2 + 1);
        assert_eq!(lines.last().unwrap(), "and more, which is not said here");
        assert!(said.news(&one("c fails")).is_empty());
    }

    #[test]
    fn a_failure_names_some_and_counts_the_rest() {
        let reasons = Reasons::from([("m7".to_owned(), vec!["file:/a fails".to_owned(), "file:/b fails".to_owned()])]);
        let open = |count: usize| (0..count).map(|number| format!("m{number}")).collect::<Vec<_>>();
        assert_eq!(listed(&open(2), &Reasons::new()), "\n  m0\n  m1");
        let text = listed(&open(30), &reasons);
        assert!(text.starts_with("\n  m7: file:/a fails; file:/b fails\n  m0\n"), "{text}");
        assert!(text.ends_with("\n  and 20 more"), "{text}");
    }
}
