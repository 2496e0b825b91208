//! The verdict on what a machine gives back: may a record that knows less than the machine take it in again?
//!
//! What a machine says is worth nothing by itself. Everything that admission and [`crate::judge`] look at is looked at again, under the
//! newest trust root, and nothing is taken in place of a receipt: what no coordinator of the fleet ever admitted stays out.

use std::collections::BTreeSet;

use stead_model::{Digest, Object, ObjectKey};

use crate::admit::{Current, reach};
use crate::bundle::{Bundle, BundleEntry, check_receipt};
use crate::leaf::Leaf;
use crate::machine::{Check, Refusal};
use crate::merkle::verify_inclusion;
use crate::receipt::Receipt;
use crate::root::authority::{Author, Authority, Labels, Unauthorised, Write, authorise};
use crate::root::chain::RootChain;
use crate::statement::{VerifiedStatement, verify_statement};

/// How an entry stands to what the record knows of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecoveredStanding {
    /// The record is behind: it may be taken in.
    Above,
    /// The record has it.
    Known,
    /// The record has something newer.
    Below,
    /// The record has another statement with the same sequence: owners signed anew meanwhile, and machines that hold this one will not
    /// take the other.
    Conflict,
}

/// A part of a Change that a machine gave back, every check passed. Nothing else makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recovered {
    /// The statement, verified.
    pub statement: VerifiedStatement,
    /// Its receipt, verified.
    pub receipt: Receipt,
    /// The entries that came, in the statement's order.
    pub entries: Vec<RecoveredEntry>,
}

/// One entry of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecoveredEntry {
    /// The object's name.
    pub key: ObjectKey,
    /// Its leaf.
    pub leaf: Leaf,
    /// The object; none for a deletion.
    pub object: Option<Object>,
    /// What gave the write its right.
    pub authority: Authority,
    /// How it stands to the record.
    pub standing: RecoveredStanding,
    /// The entry as it came, with its proof.
    pub entry: BundleEntry,
}

/// Judges what a machine gives back: all of it holds, or none. `current` says what the record holds of a name, and its statement, where
/// two of one sequence are to be told apart.
///
/// # Errors
///
/// [`Refusal`] names the first check that failed.
pub fn recover(roots: &RootChain, bundle: &Bundle, current: &dyn Fn(&ObjectKey) -> Current) -> Result<Recovered, Refusal> {
    bundle.check_limits().map_err(|error| Refusal::new(Check::Format, None, error))?;
    let presence = roots.newest().user_presence();
    let statement = verify_statement(&bundle.statement, &bundle.signatures, presence)
        .map_err(|error| Refusal::new(Check::Signature, None, error))?;
    let (found, fleet) = (statement.statement.fleet, *roots.fleet());
    if found != fleet {
        return Err(Refusal::new(Check::Fleet, None, format!("it is for the fleet {found}, and this is {fleet}")));
    }
    // The key may have left since: what it admitted then was in the record, and is what machines still hold.
    let receipt = check_receipt(bundle, &statement.statement, &statement.digest, |key| match roots.was_online_key(key) {
        true => Ok(()),
        false => Err(format!("{} is an online key of no version of the trust root", key.fingerprint())),
    });
    let receipt = receipt.map_err(|message| Refusal::new(Check::Receipt, None, message))?;
    let mut keys = BTreeSet::new();
    let mut entries = Vec::with_capacity(bundle.entries.len());
    for entry in &bundle.entries {
        let recovered = check_entry(roots, &statement, &receipt, entry, current)?;
        if !keys.insert(recovered.key.clone()) {
            return Err(Refusal::new(Check::Sequence, Some(&recovered.key), "it is in the Change twice"));
        }
        entries.push(recovered);
    }
    entries.sort_by_key(|entry| entry.entry.index);
    Ok(Recovered { statement, receipt, entries })
}

fn check_entry(
    roots: &RootChain,
    verified: &VerifiedStatement,
    receipt: &Receipt,
    entry: &BundleEntry,
    current: &dyn Fn(&ObjectKey) -> Current,
) -> Result<RecoveredEntry, Refusal> {
    // Hash first, parse after.
    let statement = &verified.statement;
    if !verify_inclusion(&statement.entries_root, statement.count, entry.index, &entry.leaf, &entry.proof_digests()) {
        let message = format!("it is not entry {} of the statement {}", entry.index, verified.digest);
        return Err(Refusal::new(Check::Proof, None, message));
    }
    let leaf = Leaf::from_bytes(&entry.leaf).map_err(|error| Refusal::new(Check::Format, None, error))?;
    let key = leaf.key();
    if !leaf.commits_to(entry.object.as_deref()) {
        return Err(Refusal::new(Check::Digest, Some(&key), "the object is not the one that was signed"));
    }
    let object = entry.object.as_deref().map(|bytes| leaf.read_object(bytes)).transpose();
    let object = object.map_err(|error| Refusal::new(Check::Digest, Some(&key), error))?;
    let held = current(&key);
    let write = Write {
        key: &key,
        op: leaf.op,
        sequence: leaf.sequence,
        object: object.as_ref(),
        reach: reach(&key, &held, object.as_ref()),
        facts: &Labels::new(),
        admitted: Some(receipt.time),
    };
    let author = Author { authorship: &statement.authorship, signers: &verified.signers };
    let authority = authorise(roots.newest(), &author, &write).map_err(|error| {
        let check = if matches!(error, Unauthorised::TooFew { .. }) { Check::Threshold } else { Check::Role };
        Refusal::new(check, Some(&key), error)
    })?;
    let standing = standing(&leaf, &verified.digest, &held);
    Ok(RecoveredEntry { key, leaf, object, authority, standing, entry: entry.clone() })
}

fn standing(leaf: &Leaf, statement: &Digest, held: &Current) -> RecoveredStanding {
    match leaf.sequence.cmp(&held.sequence) {
        std::cmp::Ordering::Greater => RecoveredStanding::Above,
        std::cmp::Ordering::Less => RecoveredStanding::Below,
        std::cmp::Ordering::Equal if held.statement.is_none_or(|held| held == *statement) => RecoveredStanding::Known,
        std::cmp::Ordering::Equal => RecoveredStanding::Conflict,
    }
}
