//! `stead status`: how the coordinator is doing, and whom it turned away.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use stead_trust::PublicKey;

use super::Context;
use crate::Outcome;
use crate::aligned::{aligned, indented};
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Format, json, yaml};

/// Seconds of an hour and of a day.
const HOUR_SECONDS: u64 = 3_600;
const DAY_SECONDS: u64 = 24 * HOUR_SECONDS;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    version: String,
    fleet: String,
    coordinator: String,
    uptime_seconds: u64,
    revision: u64,
    root_version: u64,
    #[serde(default)]
    restored: Option<Restored>,
    leads: bool,
    coordinators: Vec<Coordinator>,
    standbys: Option<Standbys>,
    #[serde(default)]
    relays: Vec<Relay>,
    machines: Machines,
    ports: BTreeMap<String, Option<Port>>,
}

/// The standbys of the record's PostgreSQL server.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Standbys {
    servers: u64,
    timeline: u32,
    connected: u64,
    lag_bytes: Option<u64>,
    slots_inactive: u64,
}

impl Standbys {
    /// Nothing where there is one server and nobody ever meant to have another.
    fn line(&self) -> Option<String> {
        if self.servers < 2 && self.connected == 0 && self.slots_inactive == 0 {
            return None;
        }
        let lag = self.lag_bytes.map_or_else(String::new, |bytes| format!(", {bytes} bytes behind"));
        let inactive =
            if self.slots_inactive > 0 { format!(", {} slots without one", self.slots_inactive) } else { String::new() };
        Some(format!("{} connected{lag}{inactive}; timeline {}", self.connected, self.timeline))
    }
}

/// A relay that runs alone, as the coordinator finds it.
#[derive(Deserialize)]
struct Relay {
    url: String,
    standing: Option<stead_wire::RelayStanding>,
    error: Option<String>,
}

impl Relay {
    fn row(&self) -> Vec<String> {
        let state = match (&self.error, &self.standing) {
            (Some(error), _) => format!("not told whom to admit: {error}"),
            (None, Some(standing)) => {
                format!("admits {} members, {} connected, {} refused", standing.count, standing.established, standing.refused)
            }
            (None, None) => "not asked yet".to_owned(),
        };
        vec![self.url.clone(), state]
    }
}

/// How the record came to begin anew.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Restored {
    at: jiff::Timestamp,
    revision: u64,
    machines_not_yet: u64,
}

/// A coordinator of the fleet, as it last said.
#[derive(Deserialize)]
pub(super) struct Coordinator {
    pub(super) key: PublicKey,
    pub(super) api: Vec<String>,
    pub(super) authority: String,
    there: bool,
}

/// The coordinators that a coordinator knows of.
pub(super) async fn coordinators(client: &Client) -> Result<Vec<Coordinator>, Failure> {
    /// The part of the answer that is asked for.
    #[derive(Deserialize)]
    struct Answer {
        coordinators: Vec<Coordinator>,
    }
    let answer: Answer = client.get("/stead/v1/status").await?;
    Ok(answer.coordinators)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Machines {
    total: u64,
    ready: u64,
    converged: u64,
    failing: u64,
    in_conflict: u64,
    duplicate_key: u64,
    refusing: u64,
    enrollments_pending: u64,
}

#[derive(Deserialize)]
struct Port {
    connections: u64,
    open: Option<u64>,
    refused: BTreeMap<String, u64>,
}

pub(super) async fn run(context: &Context) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let value: Value = client.get("/stead/v1/status").await?;
    let text = match context.settings.output() {
        Format::Json => json(&value)?,
        Format::Yaml => yaml(&value)?,
        _ => {
            let status = serde_json::from_value(value);
            render(&status.map_err(|error| Failure::internal(format!("the coordinator's answer cannot be read: {error}")))?)
        }
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

fn render(status: &Status) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut about = vec![
        row(
            "Coordinator:",
            format!("{}, version {}{}", status.coordinator, status.version, if status.leads { ", leads" } else { "" }),
        ),
        row("Fleet:", status.fleet.clone()),
        row("Up for:", up_for(status.uptime_seconds)),
        row("Record:", format!("revision {}, trust root version {}", status.revision, status.root_version)),
    ];
    about.extend(status.standbys.as_ref().and_then(Standbys::line).map(|line| row("Standbys:", line)));
    about.extend(status.restored.as_ref().map(|restored| {
        let Restored { at, revision, machines_not_yet } = restored;
        let not_yet = match machines_not_yet {
            0 => String::new(),
            number => format!("; {number} machines have not given back yet what they hold"),
        };
        row("Restored:", format!("at {at:.0}, to revision {revision}{not_yet} (`stead restore status`)"))
    }));
    let ports = status.ports.iter().filter_map(|(name, port)| Some((name, port.as_ref()?)));
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for (name, port) in ports {
        let open = port.open.map_or_else(|| "-".to_owned(), |open| open.to_string());
        let turned_away: u64 = port.refused.values().sum();
        taken.push(vec![name.clone(), port.connections.to_string(), open, turned_away.to_string()]);
        refused.extend(port.refused.iter().map(|(reason, number)| vec![name.clone(), number.to_string(), reason.clone()]));
    }
    let mut text = aligned(&[], about);
    if status.coordinators.len() > 1 {
        let rows = status.coordinators.iter().map(|coordinator| {
            let there = if coordinator.there { "there" } else { "away" };
            vec![coordinator.key.fingerprint(), there.to_owned(), coordinator.api.join(" ")]
        });
        text.push_str("\nCoordinators:\n");
        text.push_str(&indented(2, &aligned(&["key", "state", "api"], rows.collect())));
    }
    if !status.relays.is_empty() {
        text.push_str("\nRelays:\n");
        text.push_str(&indented(2, &aligned(&["url", "state"], status.relays.iter().map(Relay::row).collect())));
    }
    text.push_str(&format!("\nMachines: {}\n", machines(&status.machines)));
    text.push_str("\nPorts, since the start:\n");
    text.push_str(&indented(2, &aligned(&["port", "connections", "open", "refused"], taken)));
    if !refused.is_empty() {
        text.push_str("\nRefused:\n");
        text.push_str(&indented(2, &aligned(&["port", "times", "reason"], refused)));
    }
    text
}

/// What is well first; what is not only where there is some.
fn machines(machines: &Machines) -> String {
    let mut words = vec![
        format!("{} in all", machines.total),
        format!("{} ready", machines.ready),
        format!("{} converged", machines.converged),
    ];
    for (number, what) in [
        (machines.failing, "with a unit that fails"),
        (machines.in_conflict, "with profiles in conflict"),
        (machines.duplicate_key, "with a key that another one presents, too"),
        (machines.refusing, "that refused what they were sent"),
        (machines.enrollments_pending, "that ask to join (`stead approve`)"),
    ] {
        if number > 0 {
            words.push(format!("{number} {what}"));
        }
    }
    words.join(", ")
}

fn up_for(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS / HOUR_SECONDS, seconds % HOUR_SECONDS / 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_reads_first() {
        let machines = Machines {
            total: 5,
            ready: 4,
            converged: 4,
            failing: 1,
            in_conflict: 0,
            duplicate_key: 0,
            refusing: 0,
            enrollments_pending: 2,
        };
        let port = |open, refused: &[(&str, u64)]| {
            let refused = refused.iter().map(|(reason, number)| ((*reason).to_owned(), *number)).collect();
            Some(Port { connections: 12, open, refused })
        };
        let ports = [
            ("api".to_owned(), port(None, &[("a body was too large", 3)])),
            ("machines".to_owned(), port(Some(4), &[])),
            ("relay".to_owned(), None),
        ];
        let status = Status {
            version: "1.2.3".to_owned(),
            fleet: "f1ee7".to_owned(),
            coordinator: "SHA256:c".to_owned(),
            uptime_seconds: 90_061,
            revision: 17,
            root_version: 2,
            restored: None,
            leads: true,
            coordinators: Vec::new(),
            relays: Vec::new(),
            standbys: Some(Standbys { servers: 2, timeline: 3, connected: 1, lag_bytes: Some(16), slots_inactive: 0 }),
            machines,
            ports: ports.into(),
        };
        let expected = "Coordinator:   SHA256:c, version 1.2.3, leads\n\
                        Fleet:         f1ee7\n\
                        Up for:        1 d 1 h\n\
                        Record:        revision 17, trust root version 2\n\
                        Standbys:      1 connected, 16 bytes behind; timeline 3\n\
                        \n\
                        Machines: 5 in all, 4 ready, 4 converged, 1 with a unit that fails, 2 that ask to join (`stead approve`)\n\
                        \n\
                        Ports, since the start:\n  \
                          PORT       CONNECTIONS   OPEN   REFUSED\n  \
                          api        12            -      3\n  \
                          machines   12            4      0\n\
                        \n\
                        Refused:\n  \
                          PORT   TIMES   REASON\n  \
                          api    3       a body was too large\n";
        assert_eq!(render(&status), expected);
    }
}
