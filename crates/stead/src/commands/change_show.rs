//! `stead change show`: a change, with its signatures checked on this machine.

use serde_json::json;
use stead_trust::{Authorship, Bundle, ChangeStatement, Leaf, SignatureNamespace, UserPresence, verify_inclusion, verify_with};

use super::Context;
use crate::Outcome;
use crate::aligned::{aligned, indented};
use crate::cli::ChangeShowArgs;
use crate::client::{Client, collection};
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::kind_word::info;
use crate::output::{Format, json, yaml};
use crate::root_file::FleetDocument;
use crate::terminal::Style;

/// The bundle of a whole change.
pub(super) async fn fetch(client: &Client, id: &str) -> Result<Bundle, Failure> {
    let id = id.to_ascii_lowercase();
    let id = id.rsplit('/').next().unwrap_or_default();
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if id.is_empty() || !plain {
        return Err(Failure::user(format!("{id:?} is no id of a change")).hint("`stead get changes` lists them."));
    }
    Ok(client.get(&format!("{}/{id}/bundle", collection(info("change")?, ""))).await?)
}

pub(super) async fn run(context: &Context, args: ChangeShowArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let bundle = fetch(&client, &args.id).await?;
    let chain = FleetDocument::fetch(&client).await?.verify_or_trust(context.settings.fleet())?;
    let refused = |error| Failure::of(FailureKind::Refused, error);
    let statement = ChangeStatement::from_document(&bundle.statement).map_err(refused)?;
    let mut problems = Vec::new();
    if statement.fleet != *chain.fleet() {
        problems.push(format!("it was signed for the fleet {}", statement.fleet));
    }
    let mut signatures = Vec::new();
    for signature in &bundle.signatures {
        let verdict = verify_with(SignatureNamespace::Change, &bundle.statement, signature, UserPresence::NotRequired);
        let key = signature.claimed_key();
        let who = match (chain.newest().is_persons_key(key), chain.newest().is_online_key(key)) {
            (true, _) => "a person of the trust root",
            (_, true) => "a coordinator",
            _ => "not in the newest trust root",
        };
        match &verdict {
            Ok(_) => signatures.push(vec![key.fingerprint(), "good".to_owned(), who.to_owned()]),
            Err(error) => {
                problems.push(error.to_string());
                signatures.push(vec![key.fingerprint(), "BAD".to_owned(), who.to_owned()]);
            }
        }
    }
    let mut entries = Vec::new();
    for entry in &bundle.entries {
        let leaf = Leaf::from_bytes(&entry.leaf).map_err(|error| Failure::of(FailureKind::Refused, error))?;
        if !verify_inclusion(&statement.entries_root, statement.count, entry.index, &entry.leaf, &entry.proof_digests()) {
            problems.push(format!("{} is not in the tree that was signed", leaf.key()));
        }
        if !leaf.commits_to(entry.object.as_deref()) {
            problems.push(format!("{} is not the object that was signed", leaf.key()));
        }
        entries.push((leaf.key().to_string(), leaf.op.to_string(), leaf.sequence));
    }
    let format = context.settings.output();
    if matches!(format, Format::Json | Format::Yaml) {
        let statement = serde_json::to_value(&statement).map_err(|error| Failure::internal(error.to_string()))?;
        let entries: Vec<_> = entries
            .iter()
            .map(|(object, op, sequence)| json!({"object": object, "operation": op, "sequence": sequence}))
            .collect();
        let value = json!({"statement": statement, "signatures": signatures, "entries": entries, "problems": problems});
        context.print(&if format == Format::Json { json(&value)? } else { yaml(&value)? })?;
    } else {
        let author = match &statement.authorship {
            Authorship::Person { author } => author.fingerprint(),
            Authorship::Online { signer, requested_by } => format!("{}, a coordinator, for {requested_by}", signer.fingerprint()),
        };
        let rows = vec![
            vec!["Change:".to_owned(), statement.id.clone()],
            vec!["Author:".to_owned(), author],
            vec!["Message:".to_owned(), statement.message.clone()],
            vec!["Time:".to_owned(), statement.time.to_string()],
            vec!["Admit before:".to_owned(), statement.admit_before.to_string()],
            vec!["Statement:".to_owned(), stead_model::Digest::of(&bundle.statement).to_string()],
        ];
        let rows_of_entries = entries.into_iter().map(|(object, op, sequence)| vec![object, op, sequence.to_string()]);
        let verdict = if problems.is_empty() {
            context.terminal.on_stdout(Style::Good, "Everything fits what was signed.")
        } else {
            context.terminal.on_stdout(Style::Bad, "THIS CHANGE WAS ALTERED, or is not what it claims to be.")
        };
        context.print(&format!(
            "{}Signatures:\n{}Objects:\n{}{verdict}\n",
            aligned(&[], rows),
            indented(2, &aligned(&["key", "signature", "who"], signatures)),
            indented(2, &aligned(&["object", "operation", "sequence"], rows_of_entries.collect())),
        ))?;
    }
    match problems.split_first() {
        None => Ok(ExitCode::Success),
        Some((first, rest)) => Err(rest.iter().fold(Failure::refused(first), |failure, problem| failure.hint(problem))),
    }
}
