//! What a machine keeps on disk of what it verified, as plain data that can be written piece by piece.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::{Digest, GroupKind, Object, ObjectKey, Selector};

use super::judge::AcceptedEntry;
use crate::bundle::{Bundle, BundleEntry};
use crate::key::MachineKey;
use crate::leaf::{Leaf, Op};
use crate::root::SignedRoot;
use crate::root::authority::{Labels, selects};
use crate::root::chain::{RootChain, RootError};
use crate::signature::Signature;
use crate::statement::ChangeStatement;

/// What a machine remembers: its fleet, the root chain, the newest signed change of every object name, its notion of now.
#[derive(Clone, Debug)]
pub struct MachineMemory {
    fleet: Digest,
    key: MachineKey,
    /// The key that the machine has made ready and asked its owners for.
    next: Option<MachineKey>,
    roots: RootChain,
    now: Timestamp,
    ack_sequence: u64,
    entries: BTreeMap<ObjectKey, HeldEntry>,
    statements: BTreeMap<Digest, StatementRow>,
    /// The name of the machine's own object, once it is held.
    machine: Option<String>,
    facts: Labels,
}

/// The newest signed change of one object name.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldEntry {
    /// Its sequence.
    pub sequence: u64,
    /// Whether it is put or deleted; the tombstone keeps the sequence.
    pub op: Op,
    /// The object; none for a deletion.
    pub object: Option<Object>,
    /// The digest of the statement that made it.
    pub statement: Digest,
    /// Whether its selectors may look at fact labels.
    pub fact_labels: bool,
    entry: BundleEntry,
}

impl HeldEntry {
    pub(super) fn is_same(&self, statement: &Digest, entry: &BundleEntry) -> bool {
        self.statement == *statement && self.entry == *entry
    }
}

/// One row: what there is once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryRow {
    /// The fleet's id.
    pub fleet: Digest,
    /// The machine's own key.
    pub key: MachineKey,
    /// Its notion of now: nothing that it verified is newer.
    pub now: Timestamp,
    /// The sequence of its last acknowledgement.
    pub ack_sequence: u64,
    /// The name of its own Machine object: the first one with its key that it accepted, until that goes.
    pub machine: Option<String>,
}

/// One row a root version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootRow {
    /// The version.
    pub version: u64,
    /// The document with its signatures.
    pub root: SignedRoot,
}

/// One row a statement that some entry comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRow {
    /// The statement's digest, which is the row's key.
    pub digest: Digest,
    /// The statement.
    #[serde(with = "crate::bytes_text")]
    pub statement: Vec<u8>,
    /// The signatures over it.
    pub signatures: Vec<Signature>,
    /// The receipt.
    #[serde(with = "crate::bytes_text")]
    pub receipt: Vec<u8>,
    /// The signature over it.
    pub receipt_signature: Signature,
}

/// One row an object name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRow {
    /// The name, which is the row's key.
    pub key: ObjectKey,
    /// The sequence.
    pub sequence: u64,
    /// The statement that it comes from.
    pub statement: Digest,
    /// Leaf, proof and object.
    pub entry: BundleEntry,
    /// Whether its selectors may look at fact labels.
    pub fact_labels: bool,
}

/// Why what is on disk cannot be what the machine wrote.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The root chain does not verify.
    #[error("the root chain on disk: {0}")]
    Roots(#[from] RootError),
    /// An entry was altered, or its statement is missing.
    #[error("what is on disk of {key} was altered or is incomplete: {what}; remove the machine's memory and let it join again")]
    Entry {
        /// The object.
        key: ObjectKey,
        /// What is wrong.
        what: String,
    },
}

/// Why a machine does not join.
#[derive(Debug, thiserror::Error)]
#[error("the fleet's root chain does not fit the ticket: {0}")]
pub struct JoinError(#[from] RootError);

/// New root versions that a machine may take, and what they make of its notion of now.
#[derive(Clone, Debug)]
pub struct Adoption {
    roots: RootChain,
    now: Timestamp,
    /// The rows that are new.
    pub rows: Vec<RootRow>,
}

/// Says whether root versions may follow those that a machine holds. Versions that it has already are left out.
///
/// # Errors
///
/// [`RootError`] says why not; [`RootError::TwoDocuments`] is an alarm.
pub fn adopt_roots(memory: &MachineMemory, versions: &[SignedRoot]) -> Result<Adoption, RootError> {
    let (mut roots, mut now) = (memory.roots.clone(), memory.now);
    let mut rows = Vec::new();
    for signed in versions {
        let before = roots.newest().version;
        roots = roots.extend(signed)?;
        let newest = roots.newest();
        if newest.version > before {
            now = if newest.resets_clock { newest.time } else { now.max(newest.time) };
            rows.push(RootRow { version: newest.version, root: signed.clone() });
        }
    }
    Ok(Adoption { roots, now, rows })
}

impl MachineMemory {
    /// A machine that joins: the chain must start at the ticket's fleet id and reach the ticket's root version.
    ///
    /// # Errors
    ///
    /// [`JoinError`] says what does not fit.
    pub fn join(fleet: &Digest, root_version: u64, key: MachineKey, versions: &[SignedRoot]) -> Result<Self, JoinError> {
        let roots = RootChain::verify_up_to(fleet, versions, root_version)?;
        let row = MemoryRow { fleet: *fleet, key, now: roots.newest().time, ack_sequence: 0, machine: None };
        Ok(Self::empty(row, roots))
    }

    fn empty(row: MemoryRow, roots: RootChain) -> Self {
        let MemoryRow { fleet, key, now, ack_sequence, machine } = row;
        let (entries, statements) = (BTreeMap::new(), BTreeMap::new());
        Self { fleet, key, next: None, roots, now, ack_sequence, entries, statements, machine, facts: Labels::new() }
    }

    /// What was on disk. The chain, and every object against its leaf and statement, are checked again.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] for what this machine did not write.
    pub fn load(
        row: MemoryRow,
        roots: &[RootRow],
        statements: Vec<StatementRow>,
        entries: Vec<EntryRow>,
    ) -> Result<Self, MemoryError> {
        let versions: Vec<SignedRoot> = roots.iter().map(|row| row.root.clone()).collect();
        let chain = RootChain::verify(&row.fleet, &versions)?;
        let mut memory = Self::empty(row, chain);
        memory.statements = statements.into_iter().map(|row| (row.digest, row)).collect();
        for row in entries {
            let key = row.key.clone();
            let held = memory.read_row(row).map_err(|what| MemoryError::Entry { key: key.clone(), what })?;
            memory.entries.insert(key, held);
        }
        Ok(memory)
    }

    fn read_row(&self, row: EntryRow) -> Result<HeldEntry, String> {
        let leaf = Leaf::from_bytes(&row.entry.leaf).map_err(|error| error.to_string())?;
        let statement = self.statements.get(&row.statement).ok_or("its statement is missing")?;
        if Digest::of(&statement.statement) != row.statement {
            return Err("its statement does not have its digest".to_owned());
        }
        if leaf.key() != row.key || leaf.sequence != row.sequence || !leaf.commits_to(row.entry.object.as_deref()) {
            return Err("leaf, object and row differ".to_owned());
        }
        let document =
            crate::statement::ChangeStatement::from_document(&statement.statement).map_err(|error| error.to_string())?;
        let proof = row.entry.proof_digests();
        if !crate::merkle::verify_inclusion(&document.entries_root, document.count, row.entry.index, &row.entry.leaf, &proof) {
            return Err("it is not in its statement".to_owned());
        }
        let object =
            row.entry.object.as_deref().map(|bytes| leaf.read_object(bytes)).transpose().map_err(|error| error.to_string())?;
        let EntryRow { sequence, statement, entry, fact_labels, .. } = row;
        Ok(HeldEntry { sequence, op: leaf.op, object, statement, fact_labels, entry })
    }

    /// Takes what [`super::judge`] accepted of a bundle, and answers with the rows to write, in one transaction, before anything acts on it.
    pub fn accept(&mut self, bundle: &Bundle, accepted: &[AcceptedEntry]) -> (MemoryRow, Option<StatementRow>, Vec<EntryRow>) {
        let Some(first) = accepted.first() else { return (self.row(), None, Vec::new()) };
        let statement = StatementRow {
            digest: first.statement,
            statement: bundle.statement.clone(),
            signatures: bundle.signatures.clone(),
            receipt: bundle.receipt.clone(),
            receipt_signature: bundle.receipt_signature.clone(),
        };
        self.now = self.now.max(first.admitted);
        self.statements.insert(statement.digest, statement.clone());
        let rows: Vec<EntryRow> = accepted.iter().filter_map(|entry| self.take(entry)).collect();
        let needed: std::collections::BTreeSet<Digest> = self.entries.values().map(|held| held.statement).collect();
        self.statements.retain(|digest, _| needed.contains(digest));
        (self.row(), Some(statement), rows)
    }

    fn take(&mut self, accepted: &AcceptedEntry) -> Option<EntryRow> {
        if self.entries.get(&accepted.key).is_some_and(|held| held.sequence >= accepted.sequence) {
            // Judged before something newer was accepted: no name ever goes back.
            return None;
        }
        let fact_labels = accepted.authority.fact_labels();
        let held = HeldEntry {
            sequence: accepted.sequence,
            op: accepted.op,
            object: accepted.object.clone(),
            statement: accepted.statement,
            fact_labels,
            entry: accepted.entry.clone(),
        };
        self.entries.insert(accepted.key.clone(), held);
        self.change_key(&accepted.key);
        let own = self.own_object().is_some_and(|object| self.is_own(object));
        if !own {
            self.machine =
                accepted.object.as_ref().filter(|object| self.is_own(object)).map(|object| object.metadata.name.clone());
        }
        Some(EntryRow {
            key: accepted.key.clone(),
            sequence: accepted.sequence,
            statement: accepted.statement,
            entry: accepted.entry.clone(),
            fact_labels,
        })
    }

    /// Where owners have given the machine's own object the key that it asked for, that is its key from now on: it is written with the
    /// object, so that the machine has the one or the other.
    fn change_key(&mut self, name: &ObjectKey) {
        if name.kind != machine_kind() || Some(name.name.as_str()) != self.machine.as_deref() {
            return;
        }
        let key = self.own_object().and_then(|object| object.spec().get("key")).and_then(serde_json::Value::as_str);
        if let Some(next) = self.next.filter(|next| key == Some(next.to_string().as_str())) {
            self.key = next;
            self.next = None;
        }
    }

    /// The key that the machine has made ready, where it has one.
    pub fn set_next_key(&mut self, next: Option<MachineKey>) {
        self.next = next.filter(|next| *next != self.key);
    }

    /// Whether owners have said that this machine is out of service for ever.
    pub fn is_decommissioned(&self) -> bool {
        self.own_object().is_some_and(|object| object.spec().get("decommissioned").is_some_and(|said| !said.is_null()))
    }

    /// Takes root versions that [`adopt_roots`] passed; [`Adoption::rows`] and [`MachineMemory::row`] are to be written.
    pub fn install(&mut self, adoption: Adoption) {
        self.roots = adoption.roots;
        self.now = adoption.now;
    }

    /// The sequence for the next acknowledgement; [`MachineMemory::row`] is to be written before it is sent.
    pub fn next_ack_sequence(&mut self) -> u64 {
        self.ack_sequence = self.ack_sequence.saturating_add(1);
        self.ack_sequence
    }

    /// What the machine's facts make, under `facts.stead.dev/`.
    pub fn set_facts(&mut self, facts: Labels) {
        self.facts = facts;
    }

    /// Whether an object is a Machine with this machine's key.
    pub(super) fn is_own(&self, object: &Object) -> bool {
        let key = object.spec().get("key").and_then(serde_json::Value::as_str);
        object.group_kind() == machine_kind() && key == Some(self.key.to_string().as_str())
    }

    fn own_object(&self) -> Option<&Object> {
        let key = ObjectKey::new(machine_kind(), "", self.machine.as_deref()?);
        self.entries.get(&key)?.object.as_ref()
    }

    /// Whether a selector of something that is held (or was accepted) matches this machine. Never before it knows its own labels.
    pub fn is_selected(&self, selector: &Selector, fact_labels: bool) -> bool {
        self.own_labels().is_some_and(|labels| selects(selector, labels, &self.facts, fact_labels))
    }

    /// The id of the Change that an object held comes from.
    pub fn change_of(&self, key: &ObjectKey) -> Option<String> {
        let row = self.statements.get(&self.entries.get(key)?.statement)?;
        ChangeStatement::from_document(&row.statement).ok().map(|statement| statement.id)
    }

    /// The bundle that an entry came with: what `stead restore` asks machines for.
    pub fn bundle_of(&self, key: &ObjectKey) -> Option<Bundle> {
        let held = self.entries.get(key)?;
        let row = self.statements.get(&held.statement)?.clone();
        let StatementRow { statement, signatures, receipt, receipt_signature, .. } = row;
        Some(Bundle { statement, signatures, entries: vec![held.entry.clone()], receipt, receipt_signature })
    }

    /// The row of what there is once.
    pub fn row(&self) -> MemoryRow {
        MemoryRow {
            fleet: self.fleet,
            key: self.key,
            now: self.now,
            ack_sequence: self.ack_sequence,
            machine: self.machine.clone(),
        }
    }

    /// The rows of the root chain.
    pub fn root_rows(&self) -> Vec<RootRow> {
        (1..).zip(self.roots.signed()).map(|(version, root)| RootRow { version, root: root.clone() }).collect()
    }

    /// The fleet's id.
    pub fn fleet(&self) -> &Digest {
        &self.fleet
    }

    /// The machine's own key.
    pub fn key(&self) -> &MachineKey {
        &self.key
    }

    /// The root chain.
    pub fn roots(&self) -> &RootChain {
        &self.roots
    }

    /// The machine's notion of now: at or after every receipt and root version that it verified.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What is held of a name.
    pub fn held(&self, key: &ObjectKey) -> Option<&HeldEntry> {
        self.entries.get(key)
    }

    /// Everything that is held, tombstones too.
    pub fn entries(&self) -> impl Iterator<Item = (&ObjectKey, &HeldEntry)> {
        self.entries.iter()
    }

    /// What is held from a name on, tombstones too, by name.
    pub fn entries_from(&self, from: std::ops::Bound<&ObjectKey>) -> impl Iterator<Item = (&ObjectKey, &HeldEntry)> {
        self.entries.range::<ObjectKey, _>((from, std::ops::Bound::Unbounded))
    }

    /// The statements that held entries come from: rows for others may be removed from disk.
    pub fn statement_digests(&self) -> impl Iterator<Item = &Digest> {
        self.statements.keys()
    }

    /// The machine's own owner-signed labels; none before its Machine object came.
    pub fn own_labels(&self) -> Option<&Labels> {
        self.own_object().map(|object| &object.metadata.labels)
    }

    /// The name of the machine's own object; none before it came.
    pub fn machine(&self) -> Option<&str> {
        self.machine.as_deref()
    }

    pub(super) fn facts(&self) -> &Labels {
        &self.facts
    }

    pub(super) fn labels_of(&self, key: &ObjectKey) -> Option<&Labels> {
        self.entries.get(key)?.object.as_ref().map(|object| &object.metadata.labels)
    }
}

pub(crate) fn machine_kind() -> GroupKind {
    GroupKind::new(stead_model::GROUP, "Machine")
}
