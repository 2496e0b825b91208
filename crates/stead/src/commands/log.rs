//! `stead log`: who changed what, when and why, newest first.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;
use stead_model::{Change, ObjectKey};
use stead_trust::PublicKey;

use super::Context;
use crate::aligned::aligned;
use crate::cli::LogArgs;
use crate::client::Client;
use crate::duration::whole_seconds;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::keyring::Keyring;
use crate::kind_word::{info, namespace_of, wanted};
use crate::output::{Format, json, qualified_name, yaml};
use crate::{Outcome, history};

/// Changes of one page: the memory that the command needs, however many there are.
const PAGE_CHANGES: u64 = 100;
/// Steps of an object's history that are asked for at once.
const STEPS_AT_ONCE: u64 = 25;
/// Objects of a change that a line names; more are only counted.
const OBJECTS_NAMED_MAX: usize = 2;

/// Which changes are shown.
struct Filter {
    author: Option<String>,
    since: Option<Timestamp>,
    grep: Option<String>,
}

pub(super) async fn run(context: &Context, args: LogArgs) -> Outcome {
    let object = object(&args)?;
    let client = Client::connect(&context.settings).await?;
    let keyring = Keyring::fetch(&client, &context.settings).await?;
    let now = Timestamp::now();
    let lower = |text: String| text.to_lowercase();
    let filter =
        Filter { author: args.author.map(lower), since: args.since.map(|since| since.moment(now)), grep: args.grep.map(lower) };
    let restored = if filter.since.is_some() { super::restore::restored_revision(&client).await? } else { None };
    let mut log = Log { context, keyring, filter, left: args.limit, shown: 0, now, restored };
    match object {
        Some(key) => log.of_object(&client, &key).await?,
        None => log.of_all(&client).await?,
    }
    log.end()?;
    Ok(ExitCode::Success)
}

fn object(args: &LogArgs) -> Result<Option<ObjectKey>, Failure> {
    let Some(kind) = &args.kind else { return Ok(None) };
    let names: Vec<String> = args.name.iter().cloned().collect();
    let wanted = wanted(kind, &names)?;
    match wanted.names.as_slice() {
        [name] => Ok(Some(ObjectKey::new(wanted.info.group_kind(), namespace_of(wanted.info, &args.namespace), name))),
        [] => Err(Failure::user(format!("which {}? The log is of one object, or of all", wanted.info.singular))),
        _ => Err(Failure::user("the log is of one object at a time, or of all")),
    }
}

struct Log<'a> {
    context: &'a Context,
    keyring: Keyring,
    filter: Filter,
    left: Option<u64>,
    shown: u64,
    now: Timestamp,
    /// The newest revision that the record had when it was restored from a backup.
    restored: Option<u64>,
}

impl Log<'_> {
    async fn of_all(&mut self, client: &Client) -> Result<(), Failure> {
        let path = crate::client::collection(info("change")?, "");
        let mut more = String::new();
        loop {
            let query = crate::client::query(&[("limit", &PAGE_CHANGES.to_string()), ("continue", &more)]);
            let page: Value = client.get(&format!("{path}?{query}")).await?;
            let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            more = page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default().to_owned();
            if !self.page(items)? || more.is_empty() {
                return Ok(());
            }
        }
    }

    /// By the sequences of its name, from the newest back: nobody else's changes are read.
    async fn of_object(&mut self, client: &Client, key: &ObjectKey) -> Result<(), Failure> {
        let mut newest = history::sequences(client, std::slice::from_ref(key)).await?.get(key).copied().unwrap_or_default();
        if newest == 0 {
            let message = format!("no signed change ever touched {key}");
            return Err(Failure::new(crate::failure::FailureKind::NotFound, message));
        }
        while newest > 0 {
            let last = newest.saturating_sub(STEPS_AT_ONCE);
            let steps: BTreeSet<history::Step> = (last + 1..=newest).map(|sequence| (key.clone(), sequence)).collect();
            let signed = history::signed(client, &self.keyring, &steps).await?;
            let mut items = Vec::new();
            for step in signed.values().rev() {
                items.push(client.object(info("change")?, "", &step.change).await?);
            }
            if !self.page(items)? {
                return Ok(());
            }
            newest = last;
        }
        Ok(())
    }

    /// Prints what is wanted of a page; false where nothing older can be.
    fn page(&mut self, items: Vec<Value>) -> Result<bool, Failure> {
        let (mut wanted, mut goes_on) = (Vec::new(), true);
        for item in items {
            let change: Change = serde_json::from_value(item.clone())
                .map_err(|error| Failure::internal(format!("a change cannot be read: {error}")))?;
            let admitted = change.status.as_ref().map_or(change.spec.time, |status| status.admitted);
            let too_old = self.filter.since.is_some_and(|since| admitted < since);
            // What machines gave back to a record that was restored stands where it came back, however old it is.
            let came_back = change.status.as_ref().is_some_and(|status| self.restored.is_some_and(|at| status.revision > at));
            if self.left == Some(0) || (too_old && !came_back) {
                goes_on = false;
                break;
            }
            if too_old {
                continue;
            }
            if self.filter.fits(&change, &self.keyring) {
                self.left = self.left.map(|left| left.saturating_sub(1));
                wanted.push((item, change));
            }
        }
        self.print(&wanted)?;
        self.shown += wanted.len() as u64;
        Ok(goes_on && self.left != Some(0))
    }

    fn print(&self, changes: &[(Value, Change)]) -> Result<(), Failure> {
        let format = self.context.settings.output();
        let mut out = String::new();
        match format {
            Format::Json => {
                for (index, (item, _)) in changes.iter().enumerate() {
                    let first = self.shown == 0 && index == 0;
                    out.push_str(if first {
                        "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"metadata\":{},\"items\":[\n"
                    } else {
                        ",\n"
                    });
                    out.push_str(json(item)?.trim_end());
                }
            }
            Format::Yaml => {
                if self.shown == 0 && !changes.is_empty() {
                    out.push_str("apiVersion: v1\nkind: List\nmetadata: {}\nitems:\n");
                }
                for (item, _) in changes {
                    out.push_str(&yaml(&Value::Array(vec![item.clone()]))?);
                }
            }
            Format::Name => {
                for (item, _) in changes {
                    out.push_str(&format!("{}\n", qualified_name(info("change")?, item)));
                }
            }
            Format::Table | Format::Wide => out = self.table(changes, format == Format::Wide),
        }
        self.context.print(&out)
    }

    /// The lines of a page; only the first page has a heading.
    fn table(&self, changes: &[(Value, Change)], wide: bool) -> String {
        let narrow_heading = ["change", "age", "author", "objects", "message"];
        let wide_heading = ["change", "revision", "admitted", "author", "signatures", "objects", "message"];
        let rows: Vec<Vec<String>> = changes.iter().map(|(_, change)| self.row(change, wide)).collect();
        let heading: &[&str] = match (self.shown, rows.is_empty(), wide) {
            (0, false, true) => &wide_heading,
            (0, false, false) => &narrow_heading,
            _ => &[],
        };
        aligned(heading, rows)
    }

    fn row(&self, change: &Change, wide: bool) -> Vec<String> {
        let status = change.status.as_ref();
        let admitted = status.map_or(change.spec.time, |status| status.admitted);
        let message = change.spec.message.replace(['\n', '\r', '\t'], " ");
        let author = author(change, &self.keyring, wide);
        if !wide {
            let age = stead_model::age(admitted, self.now).to_string();
            return vec![change.metadata.name.clone(), age, author, objects(change, OBJECTS_NAMED_MAX), message];
        }
        let revision = status.map_or_else(String::new, |status| status.revision.to_string());
        let time = whole_seconds(admitted).to_string();
        let signatures = change.spec.signers.len().to_string();
        vec![change.metadata.name.clone(), revision, time, author, signatures, objects(change, usize::MAX), message]
    }

    /// What closes the document that the pages are part of.
    fn end(&self) -> Result<(), Failure> {
        match (self.context.settings.output(), self.shown) {
            (Format::Json, 0) => self.context.print("{\"apiVersion\":\"v1\",\"kind\":\"List\",\"metadata\":{},\"items\":[]}\n"),
            (Format::Json, _) => self.context.print("\n]}\n"),
            (Format::Yaml, 0) => self.context.print("apiVersion: v1\nkind: List\nmetadata: {}\nitems: []\n"),
            (Format::Table | Format::Wide, 0) => {
                self.context.say("There is no such change.");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Who wrote it, or for whom a coordinator did: the comment of their key where one is known, else its fingerprint.
fn author(change: &Change, keyring: &Keyring, whole: bool) -> String {
    let written = fingerprint(&change.spec.author);
    let (person, by) =
        if change.spec.requested_by.is_empty() { (written, "") } else { (change.spec.requested_by.clone(), " (online)") };
    let name = if whole { keyring.named(&person) } else { keyring.comment(&person).map_or(person.clone(), str::to_owned) };
    name + by
}

fn fingerprint(key: &str) -> String {
    key.parse::<PublicKey>().map_or_else(|_| key.to_owned(), |key| key.fingerprint())
}

fn objects(change: &Change, named_max: usize) -> String {
    let entries = &change.spec.entries;
    if entries.len() > named_max {
        return format!("{} objects", entries.len());
    }
    let sign = |operation: &str| if operation == "delete" { "-" } else { "" };
    entries.iter().map(|entry| format!("{}{}", sign(&entry.operation), entry.object)).collect::<Vec<_>>().join(" ")
}

impl Filter {
    fn fits(&self, change: &Change, keyring: &Keyring) -> bool {
        let holds = |text: &str, part: &str| text.to_lowercase().contains(part);
        let by = |part: &String| {
            let people = std::iter::once(fingerprint(&change.spec.author))
                .chain(change.spec.signers.iter().cloned())
                .chain(std::iter::once(change.spec.requested_by.clone()));
            people.into_iter().any(|key| holds(&key, part) || keyring.comment(&key).is_some_and(|comment| holds(comment, part)))
        };
        self.author.as_ref().is_none_or(by) && self.grep.as_ref().is_none_or(|part| holds(&change.spec.message, part))
    }
}
