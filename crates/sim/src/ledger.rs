//! What owners signed, what was acknowledged to whom, and how far each machine has come: what the models are held to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt as _;
use stead_agent::{Claim, claims};
use stead_model::{Digest, GROUP, GroupKind, Machine, ObjectKey, Profile, Revision};
use stead_store::{Engine as _, MemoryRecord};
use stead_trust::{EntryRow, Leaf, Submission};

use crate::trace::Trace;

/// A Change that the record acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// Its id.
    pub id: String,
    /// Its revision, where that was told.
    pub revision: Option<Revision>,
    /// What it made of which names.
    pub sequences: Vec<(ObjectKey, u64)>,
}

#[derive(Default)]
struct MachineLedger {
    reached: BTreeMap<ObjectKey, (u64, Digest)>,
    /// Claims that the machine had accepted and on disk, as text, with the newest sequence that makes them.
    accepted: BTreeMap<String, u64>,
    /// The sequence that each unit was last made from, since it was last put back.
    acted: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Inner {
    signed: BTreeMap<Digest, BTreeSet<Vec<u8>>>,
    acknowledged: Vec<Acknowledged>,
    /// Acknowledged Changes that a lying disk lost.
    lost: Vec<Acknowledged>,
    machines: BTreeMap<String, MachineLedger>,
}

/// The ledger. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    record: MemoryRecord,
    inner: Arc<Mutex<Inner>>,
    trace: Trace,
}

impl Ledger {
    /// An empty ledger, which tells the trace of what must never be.
    pub fn new(record: MemoryRecord, trace: Trace) -> Self {
        Self { record, inner: Arc::default(), trace }
    }

    /// Owners signed this.
    pub fn signed(&self, submission: &Submission) {
        let leaves = submission.entries.iter().map(|entry| entry.leaf.clone()).collect();
        self.inner().signed.insert(submission.statement.digest(), leaves);
    }

    /// The record acknowledged it.
    pub fn acknowledged(&self, change: Acknowledged) {
        self.trace.note(format_args!("acknowledged {} {:?}", change.id, change.sequences));
        self.inner().acknowledged.push(change);
    }

    /// What was acknowledged, and has to be there.
    pub fn to_be_there(&self) -> Vec<Acknowledged> {
        self.inner().acknowledged.clone()
    }

    /// Whether a lying disk made the record lose what it had acknowledged.
    pub fn record_lost(&self) -> bool {
        !self.inner().lost.is_empty()
    }

    /// The record's disk lost what it had said to have, and the record is at this revision.
    pub fn lose(&self, at: Revision) {
        let mut inner = self.inner();
        let (kept, lost) = std::mem::take(&mut inner.acknowledged)
            .into_iter()
            .partition(|change| change.revision.is_some_and(|revision| revision <= at));
        inner.acknowledged = kept;
        inner.lost.extend::<Vec<_>>(lost);
        inner.lost.push(Acknowledged { id: "a lie".to_owned(), revision: None, sequences: Vec::new() });
    }

    /// A machine has these entries on disk from now on.
    pub fn accepted(&self, machine: &str, entries: &[EntryRow]) {
        for entry in entries {
            if let Err(what) = self.accept(machine, entry) {
                self.trace.violation(format!("{machine}: {what}"));
            }
        }
    }

    fn accept(&self, machine: &str, entry: &EntryRow) -> Result<(), String> {
        let mut inner = self.inner();
        let (key, sequence) = (&entry.key, entry.sequence);
        let leaf = Leaf::from_bytes(&entry.entry.leaf).map_err(|error| format!("accepted {key}: {error}"))?;
        let signed = inner.signed.get(&entry.statement).is_some_and(|leaves| leaves.contains(&entry.entry.leaf));
        if !signed || !leaf.commits_to(entry.entry.object.as_deref()) || leaf.key() != *key || leaf.sequence != sequence {
            return Err(format!("accepted {key} at {sequence}, which no owner signed"));
        }
        let ledger = inner.machines.entry(machine.to_owned()).or_default();
        if let Some((reached, statement)) = ledger.reached.get(key)
            && (sequence < *reached || (sequence == *reached && *statement != entry.statement))
        {
            return Err(format!("went from {key} at {reached} to {sequence}"));
        }
        ledger.reached.insert(key.clone(), (sequence, entry.statement));
        let object = entry.entry.object.as_deref().and_then(|bytes| leaf.read_object(bytes).ok());
        let profile = object.filter(|_| key.kind.kind() == "Profile").and_then(|object| object.to_typed::<Profile>().ok());
        let claimed = profile.and_then(|profile| claims(&key.name, sequence, &profile.spec).ok());
        for claimed in claimed.into_iter().flat_map(|claims| claims.claims) {
            ledger.accepted.insert(format!("{:?}", claimed.claim), sequence);
        }
        Ok(())
    }

    /// A machine's disk lost what it had said to have: it is where these entries say.
    pub fn fell_back(&self, machine: &str, entries: &[EntryRow]) {
        let mut inner = self.inner();
        let reached = entries.iter().map(|entry| (entry.key.clone(), (entry.sequence, entry.statement))).collect();
        let ledger = inner.machines.entry(machine.to_owned()).or_default();
        ledger.reached = reached;
        ledger.acted.clear();
    }

    /// A machine is told that the record has its events up to a sequence: they must be there, and not only on their way.
    pub async fn told_taken(&self, machine: &str, sequence: u64) {
        let key = ObjectKey::new(GroupKind::new(GROUP, "Machine"), "", machine);
        let engine = self.record.engine();
        let Ok(mut reading) = engine.reading().await else { return };
        let found = reading.objects_named(vec![key]).try_next().await.ok().flatten();
        let typed = found.and_then(|stored| stored.to_object().ok()?.to_typed::<Machine>().ok());
        let taken = typed.and_then(|typed| typed.status?.events_taken).unwrap_or(0);
        if taken < sequence && !self.record_lost() {
            self.trace.violation(format!("{machine} lets go of its events up to {sequence}, and the record has taken {taken}"));
        }
    }

    /// A machine carries out a claim; gives the sequence that it comes from.
    pub fn acts(&self, machine: &str, claim: &Claim) -> u64 {
        let id = claim.id().to_string();
        let mut inner = self.inner();
        let ledger = inner.machines.entry(machine.to_owned()).or_default();
        let Some(sequence) = ledger.accepted.get(&format!("{claim:?}")).copied() else {
            drop(inner);
            self.trace.violation(format!("{machine} acts on {id}, which it did not verify and keep first"));
            return 0;
        };
        let before = ledger.acted.insert(id.clone(), sequence).unwrap_or(0);
        drop(inner);
        if sequence < before {
            self.trace.violation(format!("{machine} makes {id} of {sequence}, after {before}"));
        }
        sequence
    }

    /// A machine has put back what a unit replaced.
    pub fn puts_back(&self, machine: &str, id: &str) {
        if let Some(ledger) = self.inner().machines.get_mut(machine) {
            ledger.acted.remove(id);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
