//! `stead show`: a change, what it did, whose signatures it has, and which machines have it; all of it checked here.

mod machines;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};
use stead_model::Object;
use stead_trust::{Authorship, Leaf};

use self::machines::Word;
pub(super) use self::machines::verified;
use super::Context;
use crate::aligned::{aligned, indented};
use crate::cli::ShowArgs;
use crate::client::Client;
use crate::difference::{text_of, unified};
use crate::duration::whole_seconds;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::history::{Evidence, Signed, Step};
use crate::keyring::Keyring;
use crate::output::{Format, json, yaml};
use crate::terminal::{Style, Terminal};
use crate::{Outcome, history, proposal};

/// Machines that are listed one by one; `-o wide` lists all.
const MACHINES_LISTED_MAX: usize = 20;

/// All that is shown.
struct Shown {
    evidence: Evidence,
    /// What was signed of each object before.
    before: BTreeMap<Step, Signed>,
    machines: Vec<Word>,
}

pub(super) async fn run(context: &Context, args: ShowArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let keyring = Keyring::fetch(&client, &context.settings).await?;
    let change = match history::find(&client, &args.change).await {
        Ok(change) => change,
        Err(failure) => return show_proposal(context, &client, &keyring, &args.change, failure).await,
    };
    let bundle = history::bundle(&client, &change.metadata.name).await?;
    let evidence = history::check(&bundle, &keyring)?;
    let wants_before = !args.no_diff || !args.no_machines;
    let steps: BTreeSet<Step> = evidence.entries.iter().map(|(leaf, _)| (leaf.key(), leaf.sequence.saturating_sub(1))).collect();
    let before = if wants_before { history::signed(&client, &keyring, &steps).await? } else { BTreeMap::new() };
    let machines = if args.no_machines { Vec::new() } else { machines::words(&client, &keyring, &evidence, &before).await? };
    let shown = Shown { evidence, before, machines };
    let text = match context.settings.output() {
        Format::Json => json(&shown.to_value(&keyring)?)?,
        Format::Yaml => yaml(&shown.to_value(&keyring)?)?,
        Format::Name => format!("change.stead.dev/{}\n", change.metadata.name),
        format => shown.text(context.terminal, &keyring, &args, format == Format::Wide)?,
    };
    context.print(&text)?;
    let mut problems = shown.evidence.problems.into_iter();
    match problems.next() {
        None => Ok(ExitCode::Success),
        Some(first) => Err(problems.fold(Failure::refused(first), Failure::hint)),
    }
}

/// A change that waits for signatures has its name already.
async fn show_proposal(context: &Context, client: &Client, keyring: &Keyring, reference: &str, failure: Failure) -> Outcome {
    let Some(found) = proposal::find(client, reference).await? else { return Err(failure) };
    let object = Object::from_typed(&found).map_err(|error| Failure::of(FailureKind::Internal, error))?;
    let value = serde_json::to_value(&object).map_err(|error| Failure::internal(error.to_string()))?;
    let text = match context.settings.output() {
        Format::Json => json(&value)?,
        Format::Yaml => yaml(&value)?,
        Format::Name => format!("proposal.stead.dev/{}\n", found.metadata.name),
        _ => proposal::text(client, keyring, &found, context.terminal).await?,
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

/// The object that was signed before an entry of a change; none where there was none, or a deletion.
pub(super) fn object_before<'a>(before: &'a BTreeMap<Step, Signed>, leaf: &Leaf) -> Option<&'a Object> {
    before.get(&(leaf.key(), leaf.sequence.saturating_sub(1))).and_then(|signed| signed.object.as_ref())
}

/// The difference that an entry of a change makes.
pub(super) fn difference(
    before: Option<&Object>,
    leaf: &Leaf,
    after: Option<&Object>,
    terminal: Terminal,
) -> Result<String, Failure> {
    let (key, sequence) = (leaf.key(), leaf.sequence);
    let (old, new) = (text_of(before)?, text_of(after)?);
    let old_name =
        if before.is_none() { "/dev/null".to_owned() } else { format!("{key} (sequence {})", sequence.saturating_sub(1)) };
    let new_name = if after.is_none() { "/dev/null".to_owned() } else { format!("{key} (sequence {sequence})") };
    Ok(unified(&old_name, &new_name, &old, &new, terminal))
}

impl Shown {
    fn text(&self, terminal: Terminal, keyring: &Keyring, args: &ShowArgs, wide: bool) -> Result<String, Failure> {
        let mut out = self.head(keyring);
        let rows = self.evidence.signatures.iter().map(|(key, good)| {
            vec![keyring.named(&key.fingerprint()), if *good { "good" } else { "BAD" }.to_owned(), keyring.who(key)]
        });
        out.push_str(&format!("Signatures:\n{}", indented(2, &aligned(&["key", "signature", "who"], rows.collect()))));
        let rows = self
            .evidence
            .entries
            .iter()
            .map(|(leaf, _)| vec![leaf.key().to_string(), leaf.op.to_string(), leaf.sequence.to_string()]);
        out.push_str(&format!("Objects:\n{}", indented(2, &aligned(&["object", "operation", "sequence"], rows.collect()))));
        if !args.no_diff {
            for (leaf, object) in &self.evidence.entries {
                out.push_str(&difference(object_before(&self.before, leaf), leaf, object.as_ref(), terminal)?);
            }
        }
        if !args.no_machines {
            let listed_max = if wide { usize::MAX } else { MACHINES_LISTED_MAX };
            out.push_str(&machines::text(&self.machines, listed_max, terminal, Timestamp::now()));
        }
        let verdict = if self.evidence.problems.is_empty() {
            terminal.on_stdout(Style::Good, "Everything fits what was signed.")
        } else {
            terminal.on_stdout(Style::Bad, "THIS CHANGE WAS ALTERED, or is not what it claims to be.")
        };
        Ok(out + &verdict + "\n")
    }

    fn head(&self, keyring: &Keyring) -> String {
        let statement = &self.evidence.statement;
        let author = match &statement.authorship {
            Authorship::Person { author } => keyring.named(&author.fingerprint()),
            Authorship::Online { signer, requested_by } => {
                format!("{}, a coordinator, for {}", signer.fingerprint(), keyring.named(requested_by))
            }
        };
        let mut head = vec![
            ("Change:", statement.id.to_ascii_lowercase()),
            ("Author:", author),
            ("Message:", statement.message.clone()),
            ("Written:", statement.time.to_string()),
            ("Admit before:", statement.admit_before.to_string()),
        ];
        if let Some(receipt) = &self.evidence.receipt {
            let by = receipt.online_key.fingerprint();
            head.push((
                "Admitted:",
                format!("{}, at revision {}, by the coordinator {by}", whole_seconds(receipt.time), receipt.revision),
            ));
        }
        aligned(&[], head.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect())
    }

    fn to_value(&self, keyring: &Keyring) -> Result<Value, Failure> {
        let evidence = &self.evidence;
        let value = |result: Result<Value, serde_json::Error>| result.map_err(|error| Failure::internal(error.to_string()));
        let signatures: Vec<Value> = evidence
            .signatures
            .iter()
            .map(|(key, good)| {
                let fingerprint = key.fingerprint();
                json!({"key": fingerprint, "comment": keyring.comment(&fingerprint), "good": good, "who": keyring.who(key)})
            })
            .collect();
        let mut entries = Vec::new();
        for (leaf, object) in &evidence.entries {
            entries.push(json!({
                "object": leaf.key().to_string(), "operation": leaf.op.to_string(), "sequence": leaf.sequence,
                "before": value(serde_json::to_value(object_before(&self.before, leaf)))?,
                "after": value(serde_json::to_value(object))?,
            }));
        }
        Ok(json!({
            "statement": value(serde_json::to_value(&evidence.statement))?,
            "receipt": value(serde_json::to_value(&evidence.receipt))?,
            "signatures": signatures,
            "entries": entries,
            "machines": self.machines.iter().map(Word::to_value).collect::<Vec<_>>(),
            "problems": evidence.problems,
        }))
    }
}
