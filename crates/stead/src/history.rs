//! What was signed of an object, and when: asked of the coordinator, and believed only where it holds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};
use stead_model::{Digest, Object, ObjectKey};
use stead_trust::{
    Bundle, ChangeStatement, Leaf, PublicKey, Receipt, SignatureNamespace, SignedReceipt, UserPresence, verify_inclusion,
    verify_with,
};

use crate::client::Client;
use crate::failure::Failure;
use crate::keyring::Keyring;

/// Entries of one question.
const ENTRIES_AT_ONCE: usize = 100;
/// Names whose sequences are asked for at once: as many as a change has entries.
const SEQUENCES_AT_ONCE: usize = 10_000;

/// One object at one sequence.
pub(crate) type Step = (ObjectKey, u64);

/// What was signed of one object at one sequence, verified.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    /// The change's id.
    pub(crate) change: String,
    /// The object; none for a deletion.
    pub(crate) object: Option<Object>,
}

/// What the checks of a bundle found.
pub(crate) struct Evidence {
    pub(crate) statement: ChangeStatement,
    /// The digest of the statement, by which machines acknowledge it.
    pub(crate) digest: Digest,
    /// The receipt, where it holds.
    pub(crate) receipt: Option<Receipt>,
    /// Who signed, and whether the signature fits.
    pub(crate) signatures: Vec<(PublicKey, bool)>,
    pub(crate) entries: Vec<(Leaf, Option<Object>)>,
    /// What does not hold, in sentences; empty where all is well.
    pub(crate) problems: Vec<String>,
}

/// Checks everything that a change claims, here and now; the coordinator's word counts for nothing.
pub(crate) fn check(bundle: &Bundle, keyring: &Keyring) -> Result<Evidence, Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::refused(error.to_string());
    let statement = ChangeStatement::from_document(&bundle.statement).map_err(|error| refused(&error))?;
    let digest = Digest::of(&bundle.statement);
    let mut problems = Vec::new();
    if statement.fleet != *keyring.chain().fleet() {
        problems.push(format!("it was signed for the fleet {}", statement.fleet));
    }
    let mut signatures = Vec::new();
    for signature in &bundle.signatures {
        let verdict = verify_with(SignatureNamespace::Change, &bundle.statement, signature, UserPresence::NotRequired);
        signatures.push((signature.claimed_key().clone(), verdict.is_ok()));
        problems.extend(verdict.err().map(|error| error.to_string()));
    }
    if !signatures.iter().any(|(key, good)| *good && keyring.is_known(key)) {
        problems.push("nobody whom a version of the trust root names has signed it".to_owned());
    }
    let receipt = receipt(bundle, keyring, &digest);
    if receipt.is_none() {
        problems.push("its receipt is no coordinator's of the trust root".to_owned());
    }
    let mut entries = Vec::new();
    for entry in &bundle.entries {
        let leaf = Leaf::from_bytes(&entry.leaf).map_err(|error| refused(&error))?;
        if !verify_inclusion(&statement.entries_root, statement.count, entry.index, &entry.leaf, &entry.proof_digests()) {
            problems.push(format!("{} is not in the tree that was signed", leaf.key()));
        }
        let object = entry.object.as_deref().map(|bytes| leaf.read_object(bytes)).transpose();
        if !leaf.commits_to(entry.object.as_deref()) || object.is_err() {
            problems.push(format!("{} is not the object that was signed", leaf.key()));
        }
        entries.push((leaf, object.unwrap_or_default()));
    }
    Ok(Evidence { statement, digest, receipt, signatures, entries, problems })
}

fn receipt(bundle: &Bundle, keyring: &Keyring, digest: &Digest) -> Option<Receipt> {
    let signed = SignedReceipt { document: bundle.receipt.clone(), signature: bundle.receipt_signature.clone() };
    let receipt = signed.verify().ok()?;
    (receipt.statement == *digest && receipt.fleet == *keyring.chain().fleet() && keyring.is_coordinators(&receipt.online_key))
        .then_some(receipt)
}

#[derive(Deserialize)]
struct Answer {
    change: String,
    bundle: Bundle,
}

/// What was signed at these steps; a step that there never was is left out. One that does not hold is an error: what comes of this
/// is shown as history, or signed again.
pub(crate) async fn signed(
    client: &Client,
    keyring: &Keyring,
    steps: &BTreeSet<Step>,
) -> Result<BTreeMap<Step, Signed>, Failure> {
    bundles(client, keyring, steps, |_, _, _| Ok(())).await
}

/// The same; each bundle that holds is also given to `keep`, with its step and its change's id.
pub(crate) async fn bundles(
    client: &Client,
    keyring: &Keyring,
    steps: &BTreeSet<Step>,
    mut keep: impl FnMut(&Step, &str, &Bundle) -> Result<(), Failure>,
) -> Result<BTreeMap<Step, Signed>, Failure> {
    let mut found = BTreeMap::new();
    let mut open: Vec<&Step> = steps.iter().filter(|(_, sequence)| *sequence > 0).collect();
    while !open.is_empty() {
        let asked: Vec<&Step> = open.iter().take(ENTRIES_AT_ONCE).copied().collect();
        let names: Vec<Value> = asked.iter().map(|(key, sequence)| name(key, Some(*sequence))).collect();
        let answers: Vec<Option<Answer>> = client.post("/stead/v1/entries", &names).await?;
        if answers.is_empty() || answers.len() > asked.len() {
            return Err(Failure::internal(format!("{} entries were asked for and {} came", asked.len(), answers.len())));
        }
        open.drain(..answers.len());
        for (step, answer) in asked.into_iter().zip(answers) {
            if let Some(Answer { change, bundle }) = answer {
                let signed = believed(step, change, &bundle, keyring)?;
                keep(step, &signed.change, &bundle)?;
                found.insert(step.clone(), signed);
            }
        }
    }
    Ok(found)
}

/// What a bundle says of an object, where it holds and is that object's at that sequence.
pub(crate) fn believed(step: &Step, change: String, bundle: &Bundle, keyring: &Keyring) -> Result<Signed, Failure> {
    let (key, sequence) = step;
    let wrong = |what: &str| {
        Failure::refused(format!("what the coordinator gives as {key} at sequence {sequence} is not what was signed: {what}"))
            .hint("Somebody altered the record, or the coordinator is in wrong hands. Nothing was done.")
    };
    let mut evidence = check(bundle, keyring)?;
    if let Some(problem) = evidence.problems.first() {
        return Err(wrong(problem));
    }
    match (evidence.entries.pop(), evidence.entries.pop()) {
        (Some((leaf, object)), None) if leaf.key() == *key && leaf.sequence == *sequence => Ok(Signed { change, object }),
        _ => Err(wrong("it is another object's")),
    }
}

/// A name as the coordinator is asked for it.
fn name(key: &ObjectKey, sequence: Option<u64>) -> Value {
    let version = stead_model::registry()
        .by_group_kind(&key.kind)
        .map_or_else(|| format!("{}/{}", key.kind.group(), stead_model::VERSION), stead_model::KindInfo::api_version);
    let mut name = json!({"apiVersion": version, "kind": key.kind.kind(), "namespace": key.namespace, "name": key.name});
    if let (Some(sequence), Some(members)) = (sequence, name.as_object_mut()) {
        members.insert("sequence".to_owned(), sequence.into());
    }
    name
}

/// The sequence of each name's last signed change, 0 where there was none.
pub(crate) async fn sequences(client: &Client, keys: &[ObjectKey]) -> Result<BTreeMap<ObjectKey, u64>, Failure> {
    #[derive(Deserialize)]
    struct Sequence {
        sequence: u64,
    }
    let mut found = BTreeMap::new();
    for keys in keys.chunks(SEQUENCES_AT_ONCE) {
        let names: Vec<Value> = keys.iter().map(|key| name(key, None)).collect();
        let answers: Vec<Sequence> = client.post("/stead/v1/sequences", &names).await?;
        if answers.len() != keys.len() {
            return Err(Failure::internal(format!("{} sequences were asked for and {} came", keys.len(), answers.len())));
        }
        found.extend(keys.iter().cloned().zip(answers.into_iter().map(|answer| answer.sequence)));
    }
    Ok(found)
}

/// The change that a person means, as the coordinator shows it: `object` of the kind Change.
pub(crate) async fn find(client: &Client, reference: &str) -> Result<Object, Failure> {
    let reference = reference.rsplit('/').next().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b':' || byte == b'@';
    if reference.is_empty() || !reference.bytes().all(plain) {
        return Err(Failure::user(format!("{reference:?} is no id of a change")).hint("`stead log` lists them."));
    }
    Ok(client.get(&format!("/stead/v1/changes/{reference}")).await?)
}

/// The bundle of a whole change.
pub(crate) async fn bundle(client: &Client, id: &str) -> Result<Bundle, Failure> {
    let path = crate::client::object_path(crate::kind_word::info("change")?, "", &id.to_ascii_lowercase());
    Ok(client.get(&format!("{path}/bundle")).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::change_export::tests::bundle;
    use stead_trust::{Root, RootChain, SignedRoot, Signer, SigningKey};

    /// A keyring of a root whose one owner, and whose coordinator, is the key that signs the test's bundle.
    fn keyring(seed: u8) -> Keyring {
        let key = SigningKey::from_seed(&[seed; 32]);
        let keys = || vec![key.public_key().clone()];
        let root = Root::default_for(keys(), keys(), "2026-01-01T00:00:00Z".parse().unwrap());
        let signed = SignedRoot::sign(&root, &[&key]).unwrap();
        Keyring::of(RootChain::verify(&signed.digest(), std::slice::from_ref(&signed)).unwrap(), BTreeMap::new())
    }

    #[test]
    fn what_was_altered_is_found() {
        let keyring_of_one = keyring(1);
        let good = bundle(*keyring_of_one.chain().fleet());
        let evidence = check(&good, &keyring_of_one).unwrap();
        assert_eq!(evidence.problems, [""; 0]);
        assert_eq!(evidence.entries[0].0.key().to_string(), "Profile/web");

        let mut object = good.clone();
        object.entries[0].object = Some(b"{}".to_vec());
        let mut leaf = good.clone();
        leaf.entries[0].leaf = String::from_utf8(leaf.entries[0].leaf.clone()).unwrap().replace("web", "wob").into_bytes();
        let mut statement = good.clone();
        statement.statement = String::from_utf8(statement.statement.clone()).unwrap().replace("why", "wha").into_bytes();
        let mut receipt = good.clone();
        receipt.receipt =
            String::from_utf8(receipt.receipt.clone()).unwrap().replace("\"revision\":1", "\"revision\":2").into_bytes();
        for (altered, expected) in [
            (object, "is not the object that was signed"),
            (leaf, "is not in the tree that was signed"),
            (statement, "does not fit the document"),
            (receipt, "its receipt is no coordinator's"),
            (bundle(Digest::of(b"other")), "it was signed for the fleet"),
        ] {
            let problems = check(&altered, &keyring_of_one).unwrap().problems.join("; ");
            assert!(problems.contains(expected), "{problems}");
        }
        let strangers = check(&good, &keyring(2)).unwrap().problems.join("; ");
        assert!(strangers.contains("nobody whom a version of the trust root names has signed it"), "{strangers}");
    }

    #[test]
    fn another_objects_entry_is_not_believed() {
        let keyring = keyring(1);
        let bundle = bundle(*keyring.chain().fleet());
        let believe = |step: &Step| believed(step, "01".to_owned(), &bundle, &keyring);
        let kind = crate::kind_word::info("profile").unwrap().group_kind();
        let step = |name: &str, sequence: u64| (ObjectKey::new(kind.clone(), "", name), sequence);
        assert!(believe(&step("web", 1)).unwrap().object.is_some());
        for (name, sequence) in [("db", 1), ("web", 2)] {
            assert!(believe(&step(name, sequence)).is_err(), "{name} {sequence}");
        }
    }
}
