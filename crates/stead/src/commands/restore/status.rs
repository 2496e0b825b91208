//! `stead restore status`: what machines have given back to a record that was restored, and what owners have to sign again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stead_model::{Change, Kind, Machine, Revision};

use crate::Outcome;
use crate::aligned::{aligned, indented};
use crate::client::{self, Client};
use crate::commands::Context;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::kind_word::info;
use crate::output::{Format, json, yaml};

/// Changes of one page: the memory that the command needs, however many there are.
const PAGE_CHANGES: u64 = 100;

/// The part of the coordinator's status that is asked for.
#[derive(Deserialize)]
struct Answer {
    restored: Option<Restored>,
}

/// How the record came to begin anew.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Restored {
    at: Timestamp,
    revision: Revision,
    record: String,
}

/// All that is said.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    restored: Option<Restored>,
    machines: Machines,
    /// Statements, or parts of them, that machines gave.
    statements: u64,
    /// Objects that the record took in from them.
    objects: u64,
    /// Changes of which objects are missing.
    incomplete: Vec<Incomplete>,
    /// What has to be looked at, and signed again where it is still wanted.
    to_sign: Vec<ToSign>,
    /// How many more of those there were than are listed.
    omitted: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Machines {
    known: u64,
    given_back: u64,
    not_yet: Vec<NotYet>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NotYet {
    machine: String,
    last_seen: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Incomplete {
    change: String,
    missing: u64,
    /// How many objects it has in all.
    objects: u64,
    author: String,
    time: Timestamp,
    message: String,
}

#[derive(Debug, Serialize)]
struct ToSign {
    machine: String,
    object: String,
    change: String,
    reason: String,
    message: String,
}

pub(super) async fn run(context: &Context) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let answer: Answer = client.get("/stead/v1/status").await?;
    let mut report = Report { restored: answer.restored, ..Report::default() };
    if let Some(restored) = report.restored.clone() {
        for item in client.list(info(Machine::KIND)?, "", "", "").await?.items {
            let machine: Machine =
                serde_json::from_value(item).map_err(|error| Failure::internal(format!("a machine cannot be read: {error}")))?;
            report.machine(machine, &restored.record);
        }
        report.incomplete = incomplete(&client, restored.revision).await?;
    }
    let text = match context.settings.output() {
        Format::Json => json(&value(&report)?)?,
        Format::Yaml => yaml(&value(&report)?)?,
        _ => report.text(),
    };
    context.print(&text)?;
    if !context.settings.output().is_for_programs()
        && let Some(hint) = report.hint()
    {
        context.say(hint);
    }
    Ok(ExitCode::Success)
}

fn value(report: &Report) -> Result<Value, Failure> {
    serde_json::to_value(report).map_err(|error| Failure::internal(error.to_string()))
}

/// The newest revision that the record had when it was restored, where it was.
pub(in crate::commands) async fn restored_revision(client: &Client) -> Result<Option<u64>, Failure> {
    let answer: Answer = client.get("/stead/v1/status").await?;
    Ok(answer.restored.map(|restored| restored.revision.0))
}

/// Changes that came into the record since it was restored and lack objects, newest first.
async fn incomplete(client: &Client, restored: Revision) -> Result<Vec<Incomplete>, Failure> {
    let path = client::collection(info(Change::KIND)?, "");
    let (mut found, mut more) = (Vec::new(), String::new());
    loop {
        let query = client::query(&[("limit", &PAGE_CHANGES.to_string()), ("continue", &more)]);
        let page: Value = client.get(&format!("{path}?{query}")).await?;
        for item in page.get("items").and_then(Value::as_array).into_iter().flatten() {
            let change: Change = serde_json::from_value(item.clone())
                .map_err(|error| Failure::internal(format!("a change cannot be read: {error}")))?;
            let Some(status) = &change.status else { continue };
            if status.revision <= restored.0 {
                return Ok(found);
            }
            found.extend(status.missing.map(|missing| lacking(&change, missing)));
        }
        more = page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default().to_owned();
        if more.is_empty() {
            return Ok(found);
        }
    }
}

fn lacking(change: &Change, missing: u64) -> Incomplete {
    Incomplete {
        change: change.metadata.name.clone(),
        missing,
        objects: missing.saturating_add(change.spec.entries.len() as u64),
        author: change
            .spec
            .author
            .parse::<stead_trust::PublicKey>()
            .map_or_else(|_| change.spec.author.clone(), |key| key.fingerprint()),
        time: change.spec.time,
        message: change.spec.message.clone(),
    }
}

impl Report {
    fn machine(&mut self, machine: Machine, record: &str) {
        self.machines.known = self.machines.known.saturating_add(1);
        let (name, status) = (machine.metadata.name, machine.status.unwrap_or_default());
        let Some(given) = status.given_back.filter(|given| given.record == record) else {
            self.machines.not_yet.push(NotYet { machine: name, last_seen: status.last_seen });
            return;
        };
        self.machines.given_back = self.machines.given_back.saturating_add(1);
        self.statements = self.statements.saturating_add(given.statements);
        self.objects = self.objects.saturating_add(given.objects);
        self.omitted = self.omitted.saturating_add(given.omitted);
        self.to_sign.extend(given.not_taken.into_iter().map(|one| ToSign {
            machine: name.clone(),
            object: one.object,
            change: one.change,
            reason: one.reason,
            message: one.message,
        }));
    }

    fn text(&self) -> String {
        let Some(restored) = &self.restored else {
            return "This record was never restored from a backup: it has everything that it ever had.\n".to_owned();
        };
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let machines = &self.machines;
        let about = vec![
            row("Restored:", format!("at {:.0}, to revision {}", restored.at, restored.revision)),
            row(
                "Machines:",
                format!(
                    "{} known, {} of them gave back what they hold, {} not yet",
                    machines.known,
                    machines.given_back,
                    machines.not_yet.len()
                ),
            ),
            row("Given back:", format!("{} statements or parts of them, {} objects taken in", self.statements, self.objects)),
        ];
        let mut text = aligned(&[], about);
        let mut table = |title: &str, head: &[&str], rows: Vec<Vec<String>>| {
            if !rows.is_empty() {
                text.push_str(&format!("\n{title}:\n"));
                text.push_str(&indented(2, &aligned(head, rows)));
            }
        };
        let seen = |machine: &NotYet| machine.last_seen.map_or_else(|| "never".to_owned(), |seen| seen.to_string());
        let rows = machines.not_yet.iter().map(|machine| vec![machine.machine.clone(), seen(machine)]);
        table("Not yet", &["machine", "last seen"], rows.collect());
        let rows = self.incomplete.iter().map(|one| {
            let missing = format!("{} of {}", one.missing, one.objects);
            vec![one.change.clone(), missing, one.time.to_string(), one.author.clone(), first_line(&one.message)]
        });
        table("Changes of which objects are missing", &["change", "missing", "time", "author", "message"], rows.collect());
        let rows = self.to_sign.iter().map(|one| {
            vec![one.object.clone(), one.machine.clone(), one.reason.clone(), one.change.clone(), first_line(&one.message)]
        });
        table("Not taken in", &["object", "machine", "reason", "change", "message"], rows.collect());
        if self.omitted > 0 {
            text.push_str(&format!("  and {} more\n", self.omitted));
        }
        text
    }

    /// What to do about it.
    fn hint(&self) -> Option<&'static str> {
        self.restored.as_ref()?;
        if !self.incomplete.is_empty() || !self.to_sign.is_empty() {
            return Some(
                "Look at the changes with `stead log` and `stead show CHANGE`, and sign again what is still wanted: `stead apply -f FILE`.",
            );
        }
        (!self.machines.not_yet.is_empty())
            .then_some("Machines give back what they hold when they come. Until then, a change may meet what only they know of.")
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::{GivenBack, MachineStatus, NotGivenBack, ObjectMeta};

    fn machine(name: &str, given_back: Option<GivenBack>) -> Machine {
        let status = MachineStatus { given_back, ..MachineStatus::default() };
        let metadata = ObjectMeta { name: name.to_owned(), ..ObjectMeta::default() };
        Machine { metadata, status: Some(status), ..Machine::default() }
    }

    #[test]
    fn what_is_missing_and_what_to_do_about_it() {
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let restored = Restored { at, revision: Revision(4711), record: "r2".to_owned() };
        let mut report = Report { restored: Some(restored), ..Report::default() };
        assert_eq!(Report::default().hint(), None);
        let given = |record: &str, not_taken| GivenBack {
            record: record.to_owned(),
            time: at,
            statements: 2,
            objects: 3,
            not_taken,
            omitted: 0,
        };
        let conflict = NotGivenBack {
            object: "Profile/web".to_owned(),
            change: "01b".to_owned(),
            reason: "Conflict".to_owned(),
            message: "signed anew".to_owned(),
        };
        report.machine(machine("m1", Some(given("r2", vec![conflict]))), "r2");
        report.machine(machine("m2", Some(given("r1", Vec::new()))), "r2");
        report.machine(machine("m3", None), "r2");
        report.incomplete.push(Incomplete {
            change: "01a".to_owned(),
            missing: 2,
            objects: 5,
            author: "SHA256:a".to_owned(),
            time: at,
            message: "all of it\nand why".to_owned(),
        });
        let expected = "Restored:     at 2026-01-31T12:00:00Z, to revision 4711\n\
                        Machines:     3 known, 1 of them gave back what they hold, 2 not yet\n\
                        Given back:   2 statements or parts of them, 3 objects taken in\n\
                        \n\
                        Not yet:\n  \
                          MACHINE   LAST SEEN\n  \
                          m2        never\n  \
                          m3        never\n\
                        \n\
                        Changes of which objects are missing:\n  \
                          CHANGE   MISSING   TIME                   AUTHOR     MESSAGE\n  \
                          01a      2 of 5    2026-01-31T12:00:00Z   SHA256:a   all of it\n\
                        \n\
                        Not taken in:\n  \
                          OBJECT        MACHINE   REASON     CHANGE   MESSAGE\n  \
                          Profile/web   m1        Conflict   01b      signed anew\n";
        assert_eq!(report.text(), expected);
        assert!(report.hint().unwrap().contains("stead apply"));
    }
}
