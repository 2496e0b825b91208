//! `stead machine path`: by which way a machine reaches its coordinator, and what else was tried.

use jiff::Timestamp;
use stead_model::{Kind as _, Machine, MachinePath, MachinePaths, PathKind, PathResult, registry};

use crate::Outcome;
use crate::aligned::{aligned, indented};
use crate::cli::MachinePathArgs;
use crate::client::{Client, object_path};
use crate::commands::Context;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Format, json, yaml};

pub(super) async fn run(context: &Context, args: MachinePathArgs) -> Outcome {
    let info = registry().by_word(Machine::SINGULAR).ok_or_else(|| Failure::internal("there is no kind Machine"))?;
    let path = format!("{}/path", object_path(info, "", &args.name));
    let client = Client::connect(&context.settings).await?;
    let mut paths: MachinePaths = client.get(&path).await?;
    // Each coordinator sees the machines that are connected to it.
    if let (false, Some(place)) = (paths.connected, paths.elsewhere.first().cloned()) {
        match client.get_from::<MachinePaths>(&place, &path).await {
            Ok(seen) if seen.connected => paths = seen,
            Ok(_) => {}
            Err(error) => tracing::warn!(place, %error, "the coordinator that the machine is connected to could not be asked"),
        }
    }
    let value = || serde_json::to_value(&paths).map_err(|error| Failure::internal(error.to_string()));
    let text = match context.settings.output() {
        Format::Json => json(&value()?)?,
        Format::Yaml => yaml(&value()?)?,
        _ => render(&paths),
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

fn render(paths: &MachinePaths) -> String {
    let seen = paths.last_seen.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let state = match (paths.connected, paths.elsewhere.first()) {
        (true, _) => "connected".to_owned(),
        (false, Some(place)) => format!("connected to another coordinator, {place}; last seen {seen}"),
        (false, None) => format!("off line, last seen {seen}"),
    };
    let mut about = vec![vec!["Machine:".to_owned(), paths.machine.clone()], vec!["State:".to_owned(), state]];
    about.extend(paths.coordinator.as_ref().map(|key| vec!["Coordinator:".to_owned(), key.clone()]));
    let mut text = aligned(&[], about);
    let last = if paths.connected { "" } else { ", last" };
    for (side, path) in [("the coordinator sees it", &paths.coordinator_side), ("the machine says", &paths.machine_side)] {
        if let Some(path) = path {
            text.push_str(&format!("\nAs {side}{last}:\n"));
            text.push_str(&indented(2, &side_of(path)));
        }
    }
    if paths.coordinator_side.is_none() && paths.machine_side.is_none() {
        text.push_str("\nNo path to it is known: it has not been connected since its agent began to say.\n");
    }
    text
}

fn side_of(path: &MachinePath) -> String {
    let way = format!("{} {}", word(path.kind), path.remote);
    let mut rows = vec![vec!["Path:".to_owned(), way]];
    rows.extend(path.local.as_ref().map(|local| vec!["From:".to_owned(), local.clone()]));
    if path.round_trip_microseconds > 0 {
        rows.push(vec!["Round trip:".to_owned(), milliseconds(path.round_trip_microseconds)]);
    }
    rows.push(vec!["Since:".to_owned(), whole(path.since)]);
    let mut text = aligned(&[], rows);
    let tried = path.tried.iter().map(|tried| {
        let result = match tried.result {
            PathResult::InUse => "in use",
            PathResult::Ready => "works, kept ready",
            PathResult::Closed => "worked, closed since",
            PathResult::NoAnswer => "no answer",
        };
        vec![word(tried.kind).to_owned(), tried.remote.clone(), result.to_owned(), whole(tried.time)]
    });
    let tried: Vec<Vec<String>> = tried.collect();
    if !tried.is_empty() {
        text.push_str(&aligned(&["tried", "address", "result", "at"], tried));
    }
    text
}

fn word(kind: PathKind) -> &'static str {
    match kind {
        PathKind::Direct => "direct",
        PathKind::Relayed => "relay",
    }
}

/// With one digit after the point: a hundredth of a millisecond says nothing about a network.
fn milliseconds(microseconds: u64) -> String {
    format!("{}.{} ms", microseconds / 1_000, microseconds % 1_000 / 100)
}

fn whole(at: Timestamp) -> String {
    format!("{at:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_operator_reads_of_a_path() {
        let paths: MachinePaths = serde_json::from_value(json!({
            "machine": "web-1", "connected": true, "coordinator": "c0",
            "coordinatorSide": {"kind": "Direct", "remote": "192.0.2.7:5000", "roundTripMicroseconds": 12_340, "since": "2026-01-01T00:00:00.5Z"},
            "machineSide": {
                "kind": "Relayed", "remote": "http://192.0.2.9:6445/", "local": "10.0.0.2", "roundTripMicroseconds": 0,
                "since": "2026-01-01T00:00:00Z",
                "tried": [
                    {"kind": "Direct", "remote": "10.1.1.1:6444", "result": "NoAnswer", "time": "2026-01-01T00:00:00Z"},
                    {"kind": "Relayed", "remote": "http://192.0.2.9:6445/", "result": "InUse", "time": "2026-01-01T00:00:01Z"}
                ]
            }
        }))
        .unwrap();
        let expected = "Machine:       web-1\n\
                        State:         connected\n\
                        Coordinator:   c0\n\
                        \n\
                        As the coordinator sees it:\n  \
                          Path:         direct 192.0.2.7:5000\n  \
                          Round trip:   12.3 ms\n  \
                          Since:        2026-01-01T00:00:00Z\n\
                        \n\
                        As the machine says:\n  \
                          Path:    relay http://192.0.2.9:6445/\n  \
                          From:    10.0.0.2\n  \
                          Since:   2026-01-01T00:00:00Z\n  \
                          TRIED    ADDRESS                  RESULT      AT\n  \
                          direct   10.1.1.1:6444            no answer   2026-01-01T00:00:00Z\n  \
                          relay    http://192.0.2.9:6445/   in use      2026-01-01T00:00:01Z\n";
        assert_eq!(render(&paths), expected);
        let gone = MachinePaths { machine: "web-2".to_owned(), ..MachinePaths::default() };
        assert!(render(&gone).contains("off line, last seen never") && render(&gone).contains("No path to it is known"));
        let elsewhere = MachinePaths { elsewhere: vec!["https://c2:6443".to_owned()], ..gone };
        assert!(render(&elsewhere).contains("another coordinator, https://c2:6443"));
    }
}
