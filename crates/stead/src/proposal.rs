//! A change that waits for signatures: read, checked here, and shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;
use stead_model::{Digest, Kind as _, Object, ObjectKey, Proposal, ProposalPhase, registry};
use stead_trust::{
    Authorship, ChangeStatement, Leaf, PublicKey, Signature, SignatureNamespace, SignedStatement, Submission, SubmittedEntry,
    UserPresence, verify_with,
};

use crate::aligned::{aligned, indented};
use crate::client::{Client, ClientError};
use crate::difference::{ThreeWay, text_of, unified};
use crate::failure::{Failure, FailureKind};
use crate::history::{self, Signed, Step};
use crate::keyring::Keyring;
use crate::kind_word::info;
use crate::private_file;
use crate::terminal::{Style, Terminal};

/// The largest file with a signed change, in bytes: what a coordinator takes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A change that may still need signatures, checked: its statement commits to its entries, and its signatures fit.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) submission: Submission,
    pub(crate) statement: ChangeStatement,
    pub(crate) entries: Vec<(Leaf, Option<Object>)>,
    pub(crate) signers: Vec<PublicKey>,
}

/// Reads a proposal; what the coordinator made of it counts for nothing here.
pub(crate) fn pending(proposal: &Proposal, fleet: &Digest) -> Result<Pending, Failure> {
    let signatures = proposal.spec.signatures.iter().map(|armor| Signature::from_armor(armor));
    let signatures = signatures.collect::<Result<Vec<_>, _>>().map_err(|error| Failure::of(FailureKind::Refused, error))?;
    let bytes = |text: &String| text.clone().into_bytes();
    let entries = proposal.spec.entries.iter();
    let entries = entries.map(|entry| SubmittedEntry { leaf: bytes(&entry.leaf), object: entry.object.as_ref().map(bytes) });
    let statement = SignedStatement { document: bytes(&proposal.spec.statement), signatures };
    let pending = check(Submission { statement, entries: entries.collect() }, fleet)?;
    if pending.statement.id.to_ascii_lowercase() == proposal.metadata.name {
        return Ok(pending);
    }
    Err(Failure::refused(format!("the proposal {} holds the change {}", proposal.metadata.name, pending.statement.id)))
}

/// Checks a change before anything of it is shown or signed.
pub(crate) fn check(submission: Submission, fleet: &Digest) -> Result<Pending, Failure> {
    let altered = |what: &str| {
        Failure::refused(format!("the change is not what its author signed: {what}"))
            .hint("Nothing was signed. Ask its author for it again.")
    };
    let statement = ChangeStatement::from_document(&submission.statement.document)
        .map_err(|error| Failure::of(FailureKind::Refused, error))?;
    if statement.fleet != *fleet {
        return Err(Failure::refused(format!("the change is for the fleet {}, and yours is {fleet}", statement.fleet)));
    }
    let mut signers = Vec::new();
    for signature in &submission.statement.signatures {
        let key = verify_with(SignatureNamespace::Change, &submission.statement.document, signature, UserPresence::NotRequired);
        signers.push(key.map_err(|error| altered(&error.to_string()))?);
    }
    if submission.entries.len() as u64 != statement.count || submission.tree().root() != statement.entries_root {
        return Err(altered("its statement does not commit to these objects"));
    }
    let mut entries = Vec::new();
    for entry in &submission.entries {
        let leaf = Leaf::from_bytes(&entry.leaf).map_err(|error| altered(&error.to_string()))?;
        let object = entry.object.as_deref().map(|bytes| leaf.read_object(bytes)).transpose();
        let object = object.map_err(|error| altered(&error.to_string()))?;
        if !leaf.commits_to(entry.object.as_deref()) {
            return Err(altered(&format!("{} is another object", leaf.key())));
        }
        if let Some(object) = &object {
            check_kind(object)?;
        }
        entries.push((leaf, object));
    }
    Ok(Pending { submission, statement, entries, signers })
}

fn check_kind(object: &Object) -> Result<(), Failure> {
    let key = object.key();
    let info = registry().by_group_kind(&key.kind).ok_or_else(|| Failure::refused(format!("{key}: there is no such kind")))?;
    let value = serde_json::to_value(object).map_err(|error| Failure::internal(error.to_string()))?;
    info.parse(value).map(drop).map_err(|error| Failure::of(FailureKind::Refused, error))
}

/// A change in a file.
pub(crate) fn read_file(path: &Path, fleet: &Digest) -> Result<Pending, Failure> {
    let wrong = |what: String| Failure::user(format!("{} holds no signed change: {what}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(wrong(format!("it has {length} bytes, and {FILE_BYTES_MAX} is the limit")));
    }
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let submission = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    check(submission, fleet)
}

/// Writes a change to a file.
pub(crate) fn write_file(path: &Path, submission: &Submission) -> Result<(), Failure> {
    let mut text = serde_json::to_vec_pretty(submission).map_err(|error| Failure::internal(error.to_string()))?;
    text.push(b'\n');
    private_file::write(path, &text).map_err(|error| Failure::of(FailureKind::User, error))
}

/// The proposal of a name, or of an unambiguous beginning of one; none where there is no such proposal.
pub(crate) async fn find(client: &Client, reference: &str) -> Result<Option<Proposal>, Failure> {
    let name = reference.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let info = info(Proposal::KIND)?;
    match client.find(info, "", &name).await {
        Ok(Some(object)) => return typed(&object).map(Some),
        Ok(None) => {}
        Err(ClientError::Status(status)) if status.code == reqwest::StatusCode::BAD_REQUEST => {}
        Err(error) => return Err(error.into()),
    }
    let mut found: Vec<Value> = client.list(info, "", "", "").await?.items;
    found.retain(|item| crate::output::name_of(item).starts_with(&name));
    match (found.pop(), found.pop()) {
        (Some(one), None) if !name.is_empty() => {
            let object: Object = serde_json::from_value(one).map_err(|error| Failure::internal(error.to_string()))?;
            typed(&object).map(Some)
        }
        (Some(_), Some(_)) => Err(Failure::user(format!("{reference:?} is the beginning of several proposals; give more of it"))),
        _ => Ok(None),
    }
}

/// The same where there must be one.
pub(crate) async fn must_find(client: &Client, reference: &str) -> Result<Proposal, Failure> {
    find(client, reference).await?.ok_or_else(|| {
        Failure::new(FailureKind::NotFound, format!("there is no proposal {reference:?}"))
            .hint("`stead get proposals` lists them.")
    })
}

pub(crate) fn typed(object: &Object) -> Result<Proposal, Failure> {
    object.to_typed().map_err(|error| Failure::of(FailureKind::Internal, error))
}

/// What the record holds of the objects of a change that waits.
pub(crate) struct Ground {
    pub(crate) sequences: BTreeMap<ObjectKey, u64>,
    /// What was signed at the sequence before each entry, and at the newest one.
    signed: BTreeMap<Step, Signed>,
}

impl Ground {
    pub(crate) async fn of(client: &Client, keyring: &Keyring, pending: &Pending) -> Result<Self, Failure> {
        let keys: Vec<ObjectKey> = pending.entries.iter().map(|(leaf, _)| leaf.key()).collect();
        let sequences = history::sequences(client, &keys).await?;
        let steps: BTreeSet<Step> = pending
            .entries
            .iter()
            .flat_map(|(leaf, _)| {
                let key = leaf.key();
                let newest = sequences.get(&key).copied().unwrap_or_default();
                [(key.clone(), leaf.sequence.saturating_sub(1)), (key, newest)]
            })
            .collect();
        Ok(Self { signed: history::signed(client, keyring, &steps).await?, sequences })
    }

    /// What was last seen, where nobody can be asked: each object at the sequence that a change was signed on top of.
    pub(crate) fn as_seen(objects: BTreeMap<Step, Option<Object>>) -> Self {
        let sequences = objects.keys().cloned().collect();
        let signed = objects.into_iter().map(|(step, object)| (step, Signed { change: String::new(), object })).collect();
        Self { sequences, signed }
    }

    /// The object when the change was written.
    pub(crate) fn base(&self, leaf: &Leaf) -> Option<&Object> {
        self.signed.get(&(leaf.key(), leaf.sequence.saturating_sub(1)))?.object.as_ref()
    }

    /// The object as it was signed last.
    pub(crate) fn now(&self, leaf: &Leaf) -> Option<&Object> {
        let newest = self.sequences.get(&leaf.key()).copied().unwrap_or_default();
        self.signed.get(&(leaf.key(), newest))?.object.as_ref()
    }

    /// Whether another change took the entry's sequence.
    pub(crate) fn is_taken(&self, leaf: &Leaf) -> bool {
        self.sequences.get(&leaf.key()).is_some_and(|newest| *newest >= leaf.sequence)
    }

    /// The entries that were overtaken.
    pub(crate) fn taken<'a>(&self, pending: &'a Pending) -> Vec<&'a (Leaf, Option<Object>)> {
        pending.entries.iter().filter(|(leaf, _)| self.is_taken(leaf)).collect()
    }
}

/// What a change does to each object: the difference it makes, or all three ways where another one came between.
pub(crate) fn differences(pending: &Pending, ground: Option<&Ground>, terminal: Terminal) -> Result<String, Failure> {
    let mut out = String::new();
    for (leaf, object) in &pending.entries {
        let key = leaf.key();
        let Some(ground) = ground else {
            out.push_str(&unified(
                "/dev/null (what is there is not known)",
                &format!("{key} (proposed)"),
                "",
                &text_of(object.as_ref())?,
                terminal,
            ));
            if object.is_none() {
                out.push_str(&format!("--- {key}\n+++ /dev/null (proposed)\n"));
            }
            continue;
        };
        if ground.is_taken(leaf) {
            let difference = ThreeWay {
                name: key.to_string(),
                base: ("when it was proposed", ground.base(leaf)),
                theirs: ("as it is now", ground.now(leaf)),
                yours: ("as proposed", object.as_ref()),
            };
            out.push_str(&difference.text(terminal)?);
        } else {
            let (old, new) = (text_of(ground.now(leaf))?, text_of(object.as_ref())?);
            let new_name = if object.is_none() { "/dev/null (proposed)".to_owned() } else { format!("{key} (proposed)") };
            out.push_str(&unified(&format!("{key} (now)"), &new_name, &old, &new, terminal));
        }
    }
    Ok(out)
}

/// Who proposes what until when, and who has signed.
pub(crate) fn head(pending: &Pending, keyring: Option<&Keyring>) -> String {
    let statement = &pending.statement;
    let named = |key: &PublicKey| {
        let fingerprint = key.fingerprint();
        keyring.map_or(fingerprint.clone(), |keyring| keyring.named(&fingerprint))
    };
    let author = match &statement.authorship {
        Authorship::Person { author } => named(author),
        Authorship::Online { signer, .. } => format!("{}, a coordinator", named(signer)),
    };
    let head = [
        ("Proposal:", statement.id.to_ascii_lowercase()),
        ("Author:", author),
        ("Message:", statement.message.clone()),
        ("Written:", statement.time.to_string()),
        ("Expires:", statement.admit_before.to_string()),
    ];
    let who = |key: &PublicKey| keyring.map_or_else(|| "not looked up".to_owned(), |keyring| keyring.who(key));
    let signatures = pending.signers.iter().map(|key| vec![named(key), who(key)]).collect();
    let objects =
        pending.entries.iter().map(|(leaf, _)| vec![leaf.key().to_string(), leaf.op.to_string(), leaf.sequence.to_string()]);
    format!(
        "{}Signatures:\n{}Objects:\n{}",
        aligned(&[], head.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()),
        indented(2, &aligned(&["key", "who"], signatures)),
        indented(2, &aligned(&["object", "operation", "sequence"], objects.collect())),
    )
}

/// A proposal, with where it stands by the coordinator's word, and what it does by what was signed.
pub(crate) async fn text(client: &Client, keyring: &Keyring, proposal: &Proposal, terminal: Terminal) -> Result<String, Failure> {
    let status = proposal.status.clone().unwrap_or_default();
    let phase =
        if status.message.is_empty() { format!("{:?}", status.phase) } else { format!("{:?}: {}", status.phase, status.message) };
    let rows = [("Phase:", phase), ("Signed:", status.signed.clone()), ("Change:", status.change.clone())];
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| vec![name.to_owned(), value]);
    let standing = aligned(&[], rows.collect());
    if status.phase == ProposalPhase::Admitted {
        return Ok(format!("Proposal: {}\n{standing}`stead show {}` shows the change.\n", proposal.metadata.name, status.change));
    }
    let pending = pending(proposal, keyring.chain().fleet())?;
    let ground = Ground::of(client, keyring, &pending).await?;
    let mut out = head(&pending, Some(keyring)) + &standing + &differences(&pending, Some(&ground), terminal)?;
    if status.phase == ProposalPhase::NeedsSigning || !ground.taken(&pending).is_empty() {
        let advice = format!(
            "Another change came between. To propose it on top of that: stead propose --again {}",
            proposal.metadata.name
        );
        out.push_str(&format!("{}\n", terminal.on_stdout(Style::Strong, &advice)));
    } else if status.phase == ProposalPhase::Waiting {
        let left = stead_model::age(Timestamp::now(), pending.statement.admit_before);
        out.push_str(&format!("It waits for {left} more. To sign it: stead sign {}\n", proposal.metadata.name));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use stead_trust::{Salt, Signer as _, SigningKey, StatementBuilder};

    fn profile(name: &str, content: &str) -> Object {
        let value = json!({
            "apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": name},
            "spec": {"selector": {}, "files": [{"path": "/a", "content": content}]},
        });
        info("profile").unwrap().parse(value).unwrap()
    }

    fn submission(objects: &[Object]) -> Submission {
        let key = SigningKey::from_seed(&[1; 32]);
        let time = "2026-01-01T00:00:00Z".parse().unwrap();
        let authorship = Authorship::Person { author: key.public_key().clone() };
        let mut builder =
            StatementBuilder::new(Digest::of(b"fleet"), "01ARZ3NDEKTSV4RRFFQ69G5FAV", time, time, "why", authorship);
        for object in objects {
            builder.put(object, 1, Salt::from_bytes([2; 32])).unwrap();
        }
        builder.build().unwrap().sign(&[&key]).unwrap()
    }

    /// Each of these is well-formed by itself; only what it is held against tells that it was altered.
    #[test]
    fn a_change_is_shown_only_where_its_statement_commits_to_it() {
        let fleet = Digest::of(b"fleet");
        let good = submission(&[profile("a", "1"), profile("b", "1")]);
        assert_eq!(check(good.clone(), &fleet).unwrap().entries.len(), 2);

        let mut others = good.clone();
        others.entries = submission(&[profile("a", "evil"), profile("b", "1")]).entries;
        let mut fewer = good.clone();
        fewer.entries.pop();
        let mut swapped = good.clone();
        swapped.entries.swap(0, 1);
        let mut object = good.clone();
        object.entries[0].object = submission(&[profile("a", "evil")]).entries[0].object.clone();
        let mut signature = good.clone();
        signature.statement.signatures = submission(&[profile("c", "1")]).statement.signatures;
        for (altered, expected) in [
            (others, "does not commit to these objects"),
            (fewer, "does not commit to these objects"),
            (swapped, "does not commit to these objects"),
            (object, "is another object"),
            (signature, "not what its author signed"),
        ] {
            let said = check(altered, &fleet).err().unwrap().render(Terminal::plain());
            assert!(said.contains(expected), "{expected}: {said}");
        }
        assert!(check(good, &Digest::of(b"other")).err().unwrap().render(Terminal::plain()).contains("is for the fleet"));
    }
}
