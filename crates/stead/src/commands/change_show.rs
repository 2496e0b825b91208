//! `stead change show`: a change, with its signatures checked on this machine.

use serde_json::{Value, json};
use stead_trust::{
    Authorship, Bundle, ChangeStatement, Leaf, RootChain, SignatureNamespace, UserPresence, verify_inclusion, verify_with,
};

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
use crate::terminal::{Style, Terminal};

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

/// What the check of a change found.
struct Checked {
    statement: ChangeStatement,
    /// Key, verdict, who it is.
    signatures: Vec<Vec<String>>,
    /// Object, operation, sequence.
    entries: Vec<Vec<String>>,
    problems: Vec<String>,
}

pub(super) async fn run(context: &Context, args: ChangeShowArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let bundle = fetch(&client, &args.id).await?;
    let chain = FleetDocument::fetch(&client).await?.verify_or_trust(context.settings.fleet())?;
    let checked = check(&bundle, &chain)?;
    let text = match context.settings.output() {
        Format::Json => json(&checked.to_value()?)?,
        Format::Yaml => yaml(&checked.to_value()?)?,
        _ => checked.text(context.terminal),
    };
    context.print(&text)?;
    match checked.problems.split_first() {
        None => Ok(ExitCode::Success),
        Some((first, rest)) => Err(rest.iter().fold(Failure::refused(first), |failure, problem| failure.hint(problem))),
    }
}

/// Checks everything that a change claims, here and now; the coordinator's word counts for nothing.
fn check(bundle: &Bundle, chain: &RootChain) -> Result<Checked, Failure> {
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
        let word = if verdict.is_ok() { "good" } else { "BAD" };
        signatures.push(vec![key.fingerprint(), word.to_owned(), who.to_owned()]);
        problems.extend(verdict.err().map(|error| error.to_string()));
    }
    let mut entries = Vec::new();
    for entry in &bundle.entries {
        let leaf = Leaf::from_bytes(&entry.leaf).map_err(refused)?;
        if !verify_inclusion(&statement.entries_root, statement.count, entry.index, &entry.leaf, &entry.proof_digests()) {
            problems.push(format!("{} is not in the tree that was signed", leaf.key()));
        }
        if !leaf.commits_to(entry.object.as_deref()) {
            problems.push(format!("{} is not the object that was signed", leaf.key()));
        }
        entries.push(vec![leaf.key().to_string(), leaf.op.to_string(), leaf.sequence.to_string()]);
    }
    Ok(Checked { statement, signatures, entries, problems })
}

impl Checked {
    fn to_value(&self) -> Result<Value, Failure> {
        let statement = serde_json::to_value(&self.statement).map_err(|error| Failure::internal(error.to_string()))?;
        let members = |names: [&str; 3], rows: &[Vec<String>]| {
            let row = |row: &Vec<String>| names.iter().map(ToString::to_string).zip(row.iter().map(|cell| json!(cell))).collect();
            rows.iter().map(row).map(Value::Object).collect::<Vec<_>>()
        };
        Ok(json!({
            "statement": statement,
            "signatures": members(["key", "signature", "who"], &self.signatures),
            "entries": members(["object", "operation", "sequence"], &self.entries),
            "problems": self.problems,
        }))
    }

    fn text(&self, terminal: Terminal) -> String {
        let statement = &self.statement;
        let author = match &statement.authorship {
            Authorship::Person { author } => author.fingerprint(),
            Authorship::Online { signer, requested_by } => format!("{}, a coordinator, for {requested_by}", signer.fingerprint()),
        };
        let head = [
            ("Change:", statement.id.clone()),
            ("Author:", author),
            ("Message:", statement.message.clone()),
            ("Time:", statement.time.to_string()),
            ("Admit before:", statement.admit_before.to_string()),
        ];
        let verdict = if self.problems.is_empty() {
            terminal.on_stdout(Style::Good, "Everything fits what was signed.")
        } else {
            terminal.on_stdout(Style::Bad, "THIS CHANGE WAS ALTERED, or is not what it claims to be.")
        };
        format!(
            "{}Signatures:\n{}Objects:\n{}{verdict}\n",
            aligned(&[], head.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()),
            indented(2, &aligned(&["key", "signature", "who"], self.signatures.clone())),
            indented(2, &aligned(&["object", "operation", "sequence"], self.entries.clone())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::change_export::tests::bundle;
    use stead_trust::{Root, SignedRoot, Signer, SigningKey};

    #[test]
    fn what_was_altered_is_found() {
        let key = SigningKey::from_seed(&[1; 32]);
        let root = Root::default_for(vec![key.public_key().clone()], Vec::new(), "2026-01-01T00:00:00Z".parse().unwrap());
        let signed = SignedRoot::sign(&root, &[&key]).unwrap();
        let chain = RootChain::verify(&signed.digest(), std::slice::from_ref(&signed)).unwrap();
        let good = bundle(signed.digest());
        let checked = check(&good, &chain).unwrap();
        assert_eq!(checked.problems, [""; 0]);
        assert!(checked.text(Terminal::plain()).ends_with("Everything fits what was signed.\n"));
        assert_eq!(checked.to_value().unwrap()["entries"][0]["object"], "Profile/web");

        let mut object = good.clone();
        object.entries[0].object = Some(b"{}".to_vec());
        let mut leaf = good.clone();
        leaf.entries[0].leaf = String::from_utf8(leaf.entries[0].leaf.clone()).unwrap().replace("web", "wob").into_bytes();
        let mut statement = good.clone();
        statement.statement = String::from_utf8(statement.statement.clone()).unwrap().replace("why", "wha").into_bytes();
        for (altered, expected) in [
            (object, "is not the object that was signed"),
            (leaf, "is not in the tree that was signed"),
            (statement, "does not fit the document"),
            (bundle(stead_model::Digest::of(b"other")), "it was signed for the fleet"),
        ] {
            let problems = check(&altered, &chain).unwrap().problems.join("; ");
            assert!(problems.contains(expected), "{problems}");
        }
    }
}
