//! The verdict: a pure function of what the machine remembers and what it was sent.

use std::collections::BTreeSet;

use jiff::Timestamp;
use stead_model::{Digest, Object, ObjectKey, Revision};

use super::memory::{HeldEntry, MachineMemory, machine_kind};
use super::refusal::{Check, Refusal};
use crate::bundle::{Bundle, BundleEntry, check_receipt};
use crate::document::{self, Signers};
use crate::key::PublicKey;
use crate::leaf::{Leaf, Op};
use crate::merkle::verify_inclusion;
use crate::receipt::Receipt;
use crate::root::authority::{Author, Authority, Reach, Unauthorised, Write, authorise};
use crate::signature::SignatureNamespace;
use crate::statement::ChangeStatement;

/// An entry that passed every check. Nothing else makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AcceptedEntry {
    /// The object's name.
    pub key: ObjectKey,
    /// The sequence of this change.
    pub sequence: u64,
    /// Whether it is put or deleted.
    pub op: Op,
    /// The object; none for a deletion.
    pub object: Option<Object>,
    /// The digest of the statement, for the acknowledgement.
    pub statement: Digest,
    /// The id of the Change.
    pub change: String,
    /// The revision that the receipt names.
    pub revision: Revision,
    /// When it was admitted, by the receipt.
    pub admitted: Timestamp,
    /// What gave the write its right; its selectors look at fact labels only where this says so.
    pub authority: Authority,
    pub(super) entry: BundleEntry,
}

/// What the checks of one bundle share.
struct Judged<'a> {
    memory: &'a MachineMemory,
    statement: ChangeStatement,
    digest: Digest,
    signers: BTreeSet<PublicKey>,
    receipt: Result<Receipt, String>,
}

/// Judges a bundle: all of it is accepted, or none. An entry that the machine holds already, from the same statement, is left out of
/// the answer: a coordinator may send again what it does not know to have arrived.
///
/// # Errors
///
/// [`Refusal`] names the first check that failed, in the order of [`Check`].
pub fn judge(memory: &MachineMemory, bundle: &Bundle) -> Result<Vec<AcceptedEntry>, Refusal> {
    let judged = check_statement(memory, bundle)?;
    let mut keys = BTreeSet::new();
    let mut accepted = Vec::with_capacity(bundle.entries.len());
    for entry in &bundle.entries {
        let Some(entry) = check_entry(&judged, entry)? else { continue };
        if !keys.insert(entry.key.clone()) {
            return Err(Refusal::new(Check::Sequence, Some(&entry.key), "it is in the bundle twice"));
        }
        accepted.push(entry);
    }
    Ok(accepted)
}

fn check_statement<'a>(memory: &'a MachineMemory, bundle: &Bundle) -> Result<Judged<'a>, Refusal> {
    bundle.check_limits().map_err(|error| Refusal::new(Check::Format, None, error))?;
    let root = memory.roots().newest();
    let signers = Signers::verify(SignatureNamespace::Change, &bundle.statement, &bundle.signatures)
        .and_then(|signers| signers.all_keys(root.user_presence()))
        .map_err(|error| Refusal::new(Check::Signature, None, error))?;
    let statement: ChangeStatement =
        document::read(&bundle.statement).map_err(|error| Refusal::new(Check::Format, None, error))?;
    let fleet = memory.fleet();
    if statement.fleet != *fleet {
        let message = format!("it is for the fleet {}, and this machine belongs to {fleet}", statement.fleet);
        return Err(Refusal::new(Check::Fleet, None, message));
    }
    // The root chain comes next, and was verified when the memory took it: a `RootChain` cannot be wrong.
    let digest = Digest::of(&bundle.statement);
    // The receipt is looked at first and reported last: who may write can depend on when it was admitted.
    let receipt = check_receipt(bundle, &statement, &digest, |key| match root.is_online_key(key) {
        true => Ok(()),
        false => Err(format!("{} is no online key of the trust root", key.fingerprint())),
    });
    Ok(Judged { memory, statement, digest, signers, receipt })
}

fn check_entry(judged: &Judged<'_>, entry: &BundleEntry) -> Result<Option<AcceptedEntry>, Refusal> {
    let statement = &judged.statement;
    // Hash first, parse after; what the hashes said is reported in its turn.
    let proven = verify_inclusion(&statement.entries_root, statement.count, entry.index, &entry.leaf, &entry.proof_digests());
    let leaf = Leaf::from_bytes(&entry.leaf).map_err(|error| {
        let check = if proven { Check::Format } else { Check::Proof };
        Refusal::new(check, None, format!("entry {}: {error}", entry.index))
    })?;
    let key = leaf.key();
    if judged.memory.held(&key).is_some_and(|held| held.is_same(&judged.digest, entry)) {
        return Ok(None);
    }
    let refuse = |check, message: String| Refusal::new(check, Some(&key), message);
    let committed = leaf.commits_to(entry.object.as_deref());
    let object = if committed { entry.object.as_deref().map(|bytes| leaf.read_object(bytes)).transpose() } else { Ok(None) };

    let authority = check_authority(judged, &leaf, &key, object.as_ref().ok().and_then(Option::as_ref));
    let authority = authority.map_err(|error| match (&error, committed) {
        // Whether an enrolment holds cannot be said of an object that is not the one that was signed.
        (Unauthorised::OwnersKind { .. }, false) if is_first_machine(&leaf, &key) => refuse(Check::Digest, NOT_SIGNED.to_owned()),
        (Unauthorised::TooFew { .. }, _) => refuse(Check::Threshold, error.to_string()),
        _ => refuse(Check::Role, error.to_string()),
    })?;
    if let Some(other) = other_own_name(judged.memory, &key, object.as_ref().ok().and_then(Option::as_ref)) {
        let message =
            format!("this machine is Machine/{other} already, and two objects with one key are an alarm; delete that one first");
        return Err(refuse(Check::Role, message));
    }
    if !proven {
        return Err(refuse(Check::Proof, format!("it is not entry {} of the statement {}", entry.index, judged.digest)));
    }
    if !committed {
        return Err(refuse(Check::Digest, NOT_SIGNED.to_owned()));
    }
    let object = object.map_err(|error| refuse(Check::Digest, error.to_string()))?;
    if let Some(held) = judged.memory.held(&key).filter(|held| held.sequence >= leaf.sequence) {
        return Err(refuse(Check::Sequence, replayed(held, &leaf)));
    }
    let receipt = judged.receipt.as_ref().map_err(|message| refuse(Check::Receipt, message.clone()))?;
    Ok(Some(AcceptedEntry {
        key,
        sequence: leaf.sequence,
        op: leaf.op,
        object,
        statement: judged.digest,
        change: judged.statement.id.clone(),
        revision: receipt.revision,
        admitted: receipt.time,
        authority,
        entry: entry.clone(),
    }))
}

const NOT_SIGNED: &str = "the object is not the one that was signed; it was altered or exchanged on its way";

fn replayed(held: &HeldEntry, leaf: &Leaf) -> String {
    format!(
        "sequence {} came, and sequence {} is held; an older state, or another one with the same number",
        leaf.sequence, held.sequence
    )
}

fn is_machine(key: &ObjectKey) -> bool {
    key.kind == machine_kind()
}

/// The machine's own name, where an object of another name claims its key: with it would come other labels, and other masters.
fn other_own_name<'a>(memory: &'a MachineMemory, key: &ObjectKey, object: Option<&Object>) -> Option<&'a str> {
    let claims = object.is_some_and(|object| memory.is_own(object));
    memory.machine().filter(|name| claims && *name != key.name)
}

fn is_first_machine(leaf: &Leaf, key: &ObjectKey) -> bool {
    is_machine(key) && leaf.sequence == 1 && leaf.op == Op::Put
}

fn check_authority(
    judged: &Judged<'_>,
    leaf: &Leaf,
    key: &ObjectKey,
    object: Option<&Object>,
) -> Result<Authority, Unauthorised> {
    let memory = judged.memory;
    let reach = if is_machine(key) {
        let held = memory.labels_of(key);
        Reach::All(held.into_iter().chain(object.map(|object| &object.metadata.labels)).collect())
    } else {
        memory.own_labels().map_or(Reach::Unknown, |labels| Reach::All(vec![labels]))
    };
    let write = Write {
        key,
        op: leaf.op,
        sequence: leaf.sequence,
        object,
        reach,
        facts: memory.facts(),
        admitted: judged.receipt.as_ref().ok().map(|receipt| receipt.time),
    };
    let author = Author { authorship: &judged.statement.authorship, signers: &judged.signers };
    authorise(memory.roots().newest(), &author, &write)
}
