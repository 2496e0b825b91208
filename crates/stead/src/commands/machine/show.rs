//! `stead machine show`: who a machine is, and who else says so.

use jiff::Timestamp;
use stead_model::{ConditionStatus, DuplicateKey, Kind as _, Machine, MachineStatus, Presented, age};
use stead_trust::MachineKey;

use super::Context;
use crate::Outcome;
use crate::aligned::{aligned, indented};
use crate::cli::MachineShowArgs;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::kind_word::info;
use crate::output::{Format, json, yaml};

pub(super) async fn run(context: &Context, args: MachineShowArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let name = args.name.rsplit('/').next().unwrap_or_default();
    let object = client.object(info(Machine::KIND)?, "", name).await?;
    let text = match context.settings.output() {
        Format::Json => json(&object)?,
        Format::Yaml => yaml(&object)?,
        Format::Name => format!("machine.stead.dev/{name}\n"),
        _ => {
            let machine: Machine = serde_json::from_value(object).map_err(|error| Failure::of(FailureKind::Internal, error))?;
            text(&machine, Timestamp::now())
        }
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

fn fingerprint(key: &str) -> String {
    key.parse::<MachineKey>().map_or_else(|_| key.to_owned(), |key| key.to_public_key().fingerprint())
}

fn text(machine: &Machine, now: Timestamp) -> String {
    let (spec, name) = (&machine.spec, &machine.metadata.name);
    let status = machine.status.clone().unwrap_or_default();
    let service = match &spec.decommissioned {
        None => "in service".to_owned(),
        Some(out) if out.reason.is_empty() => "decommissioned".to_owned(),
        Some(out) => format!("decommissioned: {}", out.reason),
    };
    let labels: Vec<String> = machine.metadata.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut head = vec![
        vec!["Machine:".to_owned(), name.clone()],
        vec!["Service:".to_owned(), service],
        vec!["Key:".to_owned(), format!("{} ({})", fingerprint(&spec.key), spec.key)],
        vec!["Labels:".to_owned(), labels.join(", ")],
    ];
    head.extend(
        spec.former_keys.iter().rev().map(|key| vec!["Former key:".to_owned(), format!("{}, refused", fingerprint(key))]),
    );
    for kind in ["Ready", "DuplicateKey", "Refused"] {
        if let Some(condition) = status.conditions.iter().find(|condition| condition.kind == kind) {
            let reason = format!("{:?}, {}", condition.status, condition.reason);
            head.push(vec![format!("{kind}:"), reason]);
        }
    }
    let mut out = aligned(&[], head);
    if let Some(presented) = &status.presented {
        let rows = facts(presented, now).into_iter().map(|(name, value)| vec![format!("{name}:"), value]).collect();
        let current = if presented.key == spec.key { "" } else { " (with a former key)" };
        out.push_str(&format!("Presented last{current} by:\n{}", indented(2, &aligned(&[], rows))));
    }
    if let Some(duplicate) = &status.duplicate {
        out.push_str(&both(name, duplicate, &status, now));
    }
    out
}

fn facts(presented: &Presented, now: Timestamp) -> Vec<(&'static str, String)> {
    let since = presented.since.map_or_else(String::new, |since| format!("{since} ({} ago)", age(since, now)));
    vec![
        ("host name", presented.hostname.clone()),
        ("address", presented.address.clone()),
        ("serial number", presented.serial.clone()),
        ("boot id", presented.boot_id.clone()),
        ("machine id", presented.machine_id.clone()),
        ("agent", presented.agent_version.clone()),
        ("start", format!("{} {}", presented.start, presented.start_mark)),
        ("coordinator", presented.coordinator.clone()),
        ("since", since),
    ]
}

/// Two that present one key, side by side; what differs is marked.
fn both(name: &str, duplicate: &DuplicateKey, status: &MachineStatus, now: Timestamp) -> String {
    let goes_on =
        status.conditions.iter().any(|condition| condition.kind == "DuplicateKey" && condition.status == ConditionStatus::True);
    let noticed = duplicate.noticed.map_or_else(String::new, |noticed| format!(", noticed {} ago", age(noticed, now)));
    let heading = if goes_on { "TWO PRESENT THIS KEY" } else { "Two presented this key" };
    let pairs = facts(&duplicate.one, now).into_iter().zip(facts(&duplicate.other, now));
    let rows = pairs.map(|((what, one), (_, other))| {
        let differs = if one == other { "" } else { "*" };
        vec![what.to_owned(), one, other, differs.to_owned()]
    });
    let table = indented(2, &aligned(&["", "the one", "the other", "differs"], rows.collect()));
    let advice = format!(
        "  Find out which one is the copy, and switch it off. Then `stead machine rotate-key {name}` gives the other one a key that the copy\n  \
           has not; or, where nobody knows which is which: `stead machine decommission {name}`, and let both join anew.\n"
    );
    format!("{heading} ({}{noticed}):\n{table}{}", duplicate.how, if goes_on { advice } else { String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::set_condition;

    #[test]
    fn both_sides_stand_beside_each_other() {
        let now = Timestamp::from_second(1_000).unwrap();
        let mut machine = Machine::default();
        machine.metadata.name = "web".to_owned();
        let side = |hostname: &str, address: &str| Presented {
            hostname: hostname.to_owned(),
            address: address.to_owned(),
            machine_id: "same".to_owned(),
            ..Presented::default()
        };
        let duplicate = DuplicateKey {
            noticed: Timestamp::from_second(940).ok(),
            how: "BothConnected".to_owned(),
            one: side("left", "192.0.2.1:1"),
            other: side("right", "192.0.2.2:1"),
        };
        let mut status = MachineStatus { duplicate: Some(duplicate), ..MachineStatus::default() };
        set_condition(&mut status.conditions, "DuplicateKey", ConditionStatus::True, "TwoMachines", "", now);
        machine.status = Some(status);
        let shown = text(&machine, now);
        assert!(
            shown.contains("TWO PRESENT THIS KEY (BothConnected, noticed 60s ago)") || shown.contains("noticed 1m ago"),
            "{shown}"
        );
        let line = shown.lines().find(|line| line.contains("host name")).unwrap();
        assert!(line.contains("left") && line.contains("right") && line.ends_with('*'), "{shown}");
        let line = shown.lines().find(|line| line.contains("machine id")).unwrap();
        assert!(!line.ends_with('*'), "{shown}");
        assert!(shown.contains("stead machine rotate-key web"), "{shown}");
    }
}
