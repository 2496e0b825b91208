//! `stead status`: how the coordinator is doing, and whom it turned away.

mod probe;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use stead_model::human_bytes;
use stead_store::BackupNote;
use stead_trust::PublicKey;

use self::probe::Voices;

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
    freshness: Freshness,
    #[serde(default)]
    restored: Option<Restored>,
    leads: bool,
    coordinators: Vec<Coordinator>,
    standbys: Option<Standbys>,
    #[serde(default)]
    archive: Option<Archive>,
    #[serde(default)]
    backups: BTreeMap<String, BackupNote>,
    machines: Machines,
    ports: BTreeMap<String, Option<Port>>,
}

/// When owners last said that they are there, and every how many days they do.
#[derive(Default, Deserialize)]
struct Freshness {
    last: Option<Timestamp>,
    days: Option<u32>,
}

impl Freshness {
    fn line(&self, now: Timestamp) -> Option<String> {
        let last = self.last?;
        let age = stead_model::age(last, now);
        let days = self.days.map(u64::from);
        let seconds = u64::try_from(now.as_second().saturating_sub(last.as_second())).unwrap_or_default();
        let every = days.map_or_else(String::new, |days| format!(", every {days} days"));
        let overdue = days.is_some_and(|days| seconds > days.saturating_mul(DAY_SECONDS));
        Some(format!("said that they are there {age} ago{every}{}", if overdue { ": OVERDUE (`stead trust fresh`)" } else { "" }))
    }
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

/// The archive of the log of the record's PostgreSQL server.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Archive {
    on: bool,
    failing: bool,
    lag_bytes: Option<u64>,
    last: Option<jiff::Timestamp>,
}

impl Archive {
    /// Nothing where there is none.
    fn line(&self) -> Option<String> {
        if !self.on {
            return None;
        }
        let failing = if self.failing { "FAILING; " } else { "" };
        let lag = self.lag_bytes.map_or_else(String::new, |bytes| format!("{} are not in it, ", human_bytes(bytes)));
        let last = self.last.map_or_else(|| "nothing was archived yet".to_owned(), |last| format!("the last segment at {last}"));
        Some(format!("{failing}{lag}{last}"))
    }
}

/// The newest backups, a line for each way that is used.
fn backups(notes: &BTreeMap<String, BackupNote>) -> Option<String> {
    let one = |(way, note): (&String, &BackupNote)| {
        let taken = note.taken.map_or_else(|| "none".to_owned(), |taken| format!("{taken:.0}, {}", human_bytes(note.bytes)));
        let verified = match (note.damaged, note.verified) {
            (true, _) => "NOT WHOLE when it was last verified".to_owned(),
            (false, Some(verified)) => format!("verified {verified:.0}"),
            (false, None) => "never verified".to_owned(),
        };
        format!("{way} {taken}, {verified}")
    };
    let lines: Vec<String> = notes.iter().map(one).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
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
    #[serde(default)]
    relay: Option<String>,
    there: bool,
    #[serde(default)]
    voice: String,
    #[serde(default)]
    renewed: Option<Timestamp>,
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

impl Coordinator {
    /// One that is alone with its record says only once that it is there.
    fn row(&self, voices: &Voices, alone: bool, now: Timestamp) -> Vec<String> {
        let ago = self.renewed.map_or_else(String::new, |renewed| format!("{} ago", stead_model::age(renewed, now)));
        let says = match self.voice.as_str() {
            _ if alone => "alone".to_owned(),
            "InTime" => "in time".to_owned(),
            "Late" => format!("late: {ago}"),
            _ if self.there => "there".to_owned(),
            _ => format!("silent: {ago}"),
        };
        let relay = self.relay.clone().unwrap_or_else(|| "none".to_owned());
        vec![self.key.fingerprint(), says, self.api.join(" "), voices.api.to_string(), relay, voices.relay.to_string()]
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Machines {
    total: u64,
    ready: u64,
    #[serde(default)]
    slow: u64,
    #[serde(default)]
    silent: u64,
    #[serde(default)]
    stale: u64,
    #[serde(default)]
    outbox_full: u64,
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
            let status: Status =
                status.map_err(|error| Failure::internal(format!("the coordinator's answer cannot be read: {error}")))?;
            let voices = probe::all(&status.coordinators).await;
            render(&status, &voices, Timestamp::now())
        }
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

fn render(status: &Status, voices: &[Voices], now: Timestamp) -> String {
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
    about.extend(status.freshness.line(now).map(|line| row("Owners:", line)));
    about.extend(status.standbys.as_ref().and_then(Standbys::line).map(|line| row("Standbys:", line)));
    about.extend(status.archive.as_ref().and_then(Archive::line).map(|line| row("Archive:", line)));
    about.extend(backups(&status.backups).map(|line| row("Backups:", line)));
    about.extend(status.restored.as_ref().map(|restored| {
        let Restored { at, revision, machines_not_yet } = restored;
        let not_yet = match machines_not_yet {
            0 => String::new(),
            1 => "; 1 machine has not given back yet what it holds, and a change may have to be signed again".to_owned(),
            number => {
                format!("; {number} machines have not given back yet what they hold, and a change may have to be signed again")
            }
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
    if !status.coordinators.is_empty() {
        let alone = status.coordinators.len() == 1;
        let rows = status.coordinators.iter().zip(voices).map(|(coordinator, voices)| coordinator.row(voices, alone, now));
        text.push_str("\nCoordinators:\n");
        let heading = ["key", "says that it is there", "api", "answers", "relay", "answers"];
        text.push_str(&indented(2, &aligned(&heading, rows.collect())));
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
        (machines.slow, "slow"),
        (machines.silent, "silent"),
        (machines.stale, "stale (they have not heard of their owners for too long)"),
        (machines.outbox_full, "whose events find no room to wait"),
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
        let taken = "2026-01-01T00:00:00Z".parse().ok();
        let note = BackupNote { taken, bytes: 2_048, ..BackupNote::default() };
        let machines = Machines {
            total: 5,
            ready: 4,
            slow: 1,
            silent: 1,
            stale: 0,
            outbox_full: 0,
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
            freshness: Freshness { last: "2026-01-01T00:00:00Z".parse().ok(), days: Some(7) },
            restored: None,
            leads: true,
            coordinators: Vec::new(),
            standbys: Some(Standbys { servers: 2, timeline: 3, connected: 1, lag_bytes: Some(16), slots_inactive: 0 }),
            archive: Some(Archive { on: true, failing: true, lag_bytes: Some(1 << 20), last: None }),
            backups: [("portable".to_owned(), note)].into(),
            machines,
            ports: ports.into(),
        };
        let expected = "Coordinator:   SHA256:c, version 1.2.3, leads\n\
                        Fleet:         f1ee7\n\
                        Up for:        1 d 1 h\n\
                        Record:        revision 17, trust root version 2\n\
                        Owners:        said that they are there 9d ago, every 7 days: OVERDUE (`stead trust fresh`)\n\
                        Standbys:      1 connected, 16 bytes behind; timeline 3\n\
                        Archive:       FAILING; 1.0 MiB are not in it, nothing was archived yet\n\
                        Backups:       portable 2026-01-01T00:00:00Z, 2.0 KiB, never verified\n\
                        \n\
                        Machines: 5 in all, 4 ready, 4 converged, 1 slow, 1 silent, 1 with a unit that fails, 2 that ask to join (`stead approve`)\n\
                        \n\
                        Ports, since the start:\n  \
                          PORT       CONNECTIONS   OPEN   REFUSED\n  \
                          api        12            -      3\n  \
                          machines   12            4      0\n\
                        \n\
                        Refused:\n  \
                          PORT   TIMES   REASON\n  \
                          api    3       a body was too large\n";
        assert_eq!(render(&status, &[], "2026-01-10T00:00:00Z".parse().unwrap()), expected);
    }
}
