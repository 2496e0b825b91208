//! `stead restore status`: what machines have given back to a record that was restored, and what owners have to sign again.

mod since;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stead_model::{Kind, Machine, ObjectKey, Revision};

use crate::Outcome;
use crate::aligned::{aligned, indented};
use crate::client::Client;
use crate::commands::Context;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::kind_word::info;
use crate::output::{Format, json, yaml};
use crate::{history, resign};
use since::Since;

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
    /// How many of those there were that have been signed again since.
    settled: u64,
    /// How many more of those there were than machines listed.
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
    /// Why it was asked and did not give all; none where it has not come since.
    why: Option<String>,
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
    /// What the object's next signed change has to be above.
    sequence: Option<u64>,
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
        let since = Since::read(&client, restored.revision, restored.at).await?;
        report.overtaken(&since);
        report.incomplete = since.incomplete;
        report.settle(&sequences(&client, &report).await?);
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
        context.say(&hint);
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

/// The sequences that the objects have that were not taken in.
async fn sequences(client: &Client, report: &Report) -> Result<BTreeMap<ObjectKey, u64>, Failure> {
    let mut keys: Vec<ObjectKey> = report.to_sign.iter().filter_map(|one| resign::key_of(&one.object)).collect();
    keys.sort();
    keys.dedup();
    history::sequences(client, &keys).await
}

impl Report {
    fn machine(&mut self, machine: Machine, record: &str) {
        self.machines.known = self.machines.known.saturating_add(1);
        let (name, status) = (machine.metadata.name, machine.status.unwrap_or_default());
        let given = status.given_back.filter(|given| given.record == record);
        match given.as_ref().map(|given| given.unfinished.clone()) {
            Some(None) => self.machines.given_back = self.machines.given_back.saturating_add(1),
            why => {
                let not_yet = NotYet { machine: name.clone(), last_seen: status.last_seen, why: why.flatten() };
                self.machines.not_yet.push(not_yet);
            }
        }
        let Some(given) = given else { return };
        self.statements = self.statements.saturating_add(given.statements);
        self.objects = self.objects.saturating_add(given.objects);
        self.omitted = self.omitted.saturating_add(given.omitted);
        self.to_sign.extend(given.not_taken.into_iter().map(|one| ToSign {
            machine: name.clone(),
            object: one.object,
            change: one.change,
            sequence: one.sequence,
            reason: one.reason,
            message: one.message,
        }));
    }

    /// What came back over something that was signed anew, as the record tells it: the coordinator that noted it for a machine may have
    /// been killed before it could.
    fn overtaken(&mut self, since: &Since) {
        for one in since.overtaken() {
            let same = |listed: &&ToSign| listed.reason == one.reason && listed.object == one.object;
            if self.to_sign.iter().find(same).is_none() {
                self.to_sign.push(one);
            }
        }
    }

    /// Leaves out what has been signed again above what the machine holds.
    fn settle(&mut self, sequences: &BTreeMap<ObjectKey, u64>) {
        let before = self.to_sign.len();
        self.to_sign.retain(|one| {
            let now = resign::key_of(&one.object).and_then(|key| sequences.get(&key));
            now.is_none() || one.sequence.is_none() || now.copied() <= one.sequence
        });
        self.settled = before.saturating_sub(self.to_sign.len()) as u64;
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
        let why = |machine: &NotYet| machine.why.clone().unwrap_or_else(|| "it has not come yet".to_owned());
        let rows = machines.not_yet.iter().map(|machine| vec![machine.machine.clone(), seen(machine), first_line(&why(machine))]);
        table("Not yet", &["machine", "last seen", "why"], rows.collect());
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
            text.push_str(&format!("  and {} more, which machines did not list\n", self.omitted));
        }
        if self.settled > 0 {
            text.push_str(&format!("\nSettled:      {} that have been signed again since\n", self.settled));
        }
        text
    }

    /// What to do about it.
    fn hint(&self) -> Option<String> {
        self.restored.as_ref()?;
        let mut said = Vec::new();
        if !self.incomplete.is_empty() || !self.to_sign.is_empty() {
            said.push(
                "Look at the changes with `stead show CHANGE`, and sign again what is still wanted: `stead apply -f FILE`, until it is listed \
                 here no more.",
            );
        }
        if self.machines.not_yet.iter().any(|machine| machine.why.is_none()) {
            said.push(
                "Machines give back what they hold when they come. Until then, a change may meet what only they know of, and has to be signed \
                 again. One that will never come again is waited for until you remove it: `stead delete machine NAME`.",
            );
        }
        (!said.is_empty()).then(|| said.join("\n"))
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
            unfinished: None,
            omitted: 0,
        };
        let conflict = NotGivenBack {
            object: "Profile/web".to_owned(),
            change: "01b".to_owned(),
            sequence: Some(4),
            reason: "Conflict".to_owned(),
            message: "signed anew".to_owned(),
        };
        report.machine(machine("m1", Some(given("r2", vec![conflict]))), "r2");
        report.machine(machine("m2", Some(given("r1", Vec::new()))), "r2");
        report.machine(machine("m3", None), "r2");
        let broken = GivenBack { unfinished: Some("it left".to_owned()), ..given("r2", Vec::new()) };
        report.machine(machine("m4", Some(broken)), "r2");
        report.incomplete.push(Incomplete {
            change: "01a".to_owned(),
            missing: 2,
            objects: 5,
            author: "SHA256:a".to_owned(),
            time: at,
            message: "all of it\nand why".to_owned(),
        });
        let expected = "Restored:     at 2026-01-31T12:00:00Z, to revision 4711\n\
                        Machines:     4 known, 1 of them gave back what they hold, 3 not yet\n\
                        Given back:   4 statements or parts of them, 6 objects taken in\n\
                        \n\
                        Not yet:\n  \
                          MACHINE   LAST SEEN   WHY\n  \
                          m2        never       it has not come yet\n  \
                          m3        never       it has not come yet\n  \
                          m4        never       it left\n\
                        \n\
                        Changes of which objects are missing:\n  \
                          CHANGE   MISSING   TIME                   AUTHOR     MESSAGE\n  \
                          01a      2 of 5    2026-01-31T12:00:00Z   SHA256:a   all of it\n\
                        \n\
                        Not taken in:\n  \
                          OBJECT        MACHINE   REASON     CHANGE   MESSAGE\n  \
                          Profile/web   m1        Conflict   01b      signed anew\n";
        assert_eq!(report.text(), expected);
        let hint = report.hint().unwrap();
        assert!(hint.contains("stead apply") && hint.contains("stead delete machine"), "{hint}");

        // What was signed again above the machine's sequence is settled; with the same, it is not.
        let key = resign::key_of("Profile/web").unwrap();
        report.settle(&[(key.clone(), 4)].into());
        assert_eq!((report.to_sign.len(), report.settled), (1, 0));
        report.settle(&[(key, 5)].into());
        assert_eq!((report.to_sign.len(), report.settled), (0, 1));
        assert!(report.text().contains("Settled:      1"), "{}", report.text());
    }
}
