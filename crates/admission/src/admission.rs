//! The one way by which anything enters the record.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use serde_json::Value;
use stead_model::{Digest, GroupKind, ManagedFields, Object, ObjectKey};
use stead_store::{
    Anew, CommitError, Committed, Entering, Expect, Op, Outcome, RootDocument, SealedChange, SignedChange, SignedEntry, Snapshot,
    Store, Transaction,
};
use stead_trust::{
    Admitted, AdmittedEntry, Authorship, Current, PublicKey, Roll, Root, RootChain, RootError, SignDocumentError, Signature,
    SignedReceipt, SignedRoll, SignedRoot, SignedToken, Signer, StatementBuilder, Submission, SubmittedEntry, Tree,
};
use tracing::{Instrument as _, Span};

use crate::change_object::Committing;
use crate::encoding::{MalformedRecord, decode_signatures, encode_proof, encode_signatures};
use crate::environment::Environment;
use crate::error::WriteError;
use crate::metrics::AdmissionMetrics;
use crate::precondition::{Precondition, checks, told_apart};
use crate::rule::Rule;
use crate::{machines, root_object, signed_fields};

/// How often a write by the online key is tried again when others change the same object in between: at 64 writers on one object the
/// last of them has had its turn by then.
const ATTEMPTS_MAX: usize = 128;

/// How long, in seconds, a statement of the online key may take to be admitted: it is admitted where it is signed.
const ONLINE_ADMIT_WITHIN_SECONDS: i64 = 60;

/// Who asks for a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What to call them: in `requestedBy`, in logs.
    pub name: String,
    /// The key they logged in with.
    pub key: Option<PublicKey>,
}

/// One plain write.
#[derive(Clone, Debug)]
pub enum Write {
    /// Everything but `status`.
    Put {
        /// The object.
        object: Object,
        /// What must hold.
        expect: Expect,
    },
    /// A deletion.
    Delete {
        /// The object.
        key: ObjectKey,
        /// What must hold.
        expect: Expect,
    },
}

/// A Change that was admitted, or would be.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The Change as an object; none for a dry run.
    pub change: Option<Object>,
    /// What became of each entry's object.
    pub outcomes: Vec<Outcome>,
}

/// What happens with a Change, or not at all, and is no part of it.
#[derive(Debug, Default)]
pub(crate) struct Beside<'a> {
    /// Operations outside the Change.
    pub(crate) ops: Vec<Op>,
    /// The request of the database's inbox that is done with it.
    pub(crate) asked: Option<&'a str>,
}

/// Why a record cannot be opened for admission.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no trust root on record.
    #[error(
        "the record holds no trust root: start the coordinator with the one that `stead trust init` made (`--trust-root FILE`)"
    )]
    NoRoot,
    /// The trust root on record does not hold.
    #[error("the trust root on record does not hold: {0}")]
    Root(#[from] RootError),
    /// It cannot be read.
    #[error(transparent)]
    Record(#[from] MalformedRecord),
}

/// The one way by which anything enters the record. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Admission {
    store: Store,
    /// The chain as it was when it was last asked for.
    chain: Arc<RwLock<Arc<RootChain>>>,
    online: Arc<dyn Signer + Send + Sync>,
    environment: Environment,
    metrics: Arc<AdmissionMetrics>,
}

impl Admission {
    /// Opens a record whose trust root is in it. `fleet` is the fleet's id; `online` is this coordinator's key.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where there is no trust root, or one that does not hold.
    pub fn open(
        store: Store,
        fleet: Digest,
        online: Arc<dyn Signer + Send + Sync>,
        environment: Environment,
    ) -> Result<Self, OpenError> {
        let versions = store.snapshot().roots_after(0);
        let versions: Vec<SignedRoot> = versions.iter().map(|root| signed_root(root)).collect::<Result<_, _>>()?;
        if versions.is_empty() {
            return Err(OpenError::NoRoot);
        }
        let chain = Arc::new(RwLock::new(Arc::new(RootChain::verify(&fleet, &versions)?)));
        let metrics = Arc::new(AdmissionMetrics::new());
        Ok(Self { store, chain, online, environment, metrics })
    }

    /// Puts the first version of the trust root into an empty record.
    ///
    /// # Errors
    ///
    /// [`WriteError::RootRefused`] where it does not hold; [`WriteError::Commit`] where the record has a root already.
    pub async fn found(store: &Store, first: &SignedRoot, environment: &Environment) -> Result<(), WriteError> {
        RootChain::verify(&first.digest(), std::slice::from_ref(first))?;
        let root = root_document(1, first);
        let transaction = Transaction { root: Some(root), ..Transaction::unsigned(environment.now(), Vec::new()) };
        store.commit(transaction).await?;
        Ok(())
    }

    /// The record.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The fleet's id.
    pub fn fleet(&self) -> Digest {
        *self.chain().fleet()
    }

    /// The chain of trust roots as it is now, whichever coordinator made it longer.
    pub fn chain(&self) -> Arc<RootChain> {
        let held = Arc::clone(&self.chain.read().unwrap_or_else(PoisonError::into_inner));
        let newer = self.store.snapshot().roots_after(held.newest().version);
        if newer.is_empty() {
            return held;
        }
        match extended(&held, &newer) {
            Ok(chain) => {
                let chain = Arc::new(chain);
                let mut kept = self.chain.write().unwrap_or_else(PoisonError::into_inner);
                if kept.newest().version < chain.newest().version {
                    *kept = Arc::clone(&chain);
                }
                chain
            }
            // Nothing is admitted under the older chain: its version is not the record's.
            Err(error) => {
                tracing::error!(%error, "the record holds a trust root that does not follow from the one before: somebody altered it");
                held
            }
        }
    }

    /// The newest trust root.
    pub fn root(&self) -> Arc<Root> {
        Arc::new(self.chain().newest().clone())
    }

    /// The key of this coordinator.
    pub fn online_key(&self) -> &PublicKey {
        self.online.public_key()
    }

    /// A coordinator's word, good until a moment, that somebody has logged in.
    ///
    /// # Errors
    ///
    /// [`WriteError::Sign`] where the online key does not sign.
    pub fn token(&self, person: &PublicKey, until: Timestamp) -> Result<SignedToken, WriteError> {
        Ok(SignedToken::sign(self.fleet(), person, self.environment.now(), until, self.online.as_ref())?)
    }

    /// This coordinator's word to a relay on whom to admit.
    ///
    /// # Errors
    ///
    /// [`SignDocumentError`] where it is not well-formed, or the online key does not sign.
    pub fn sign_roll(&self, roll: &Roll) -> Result<SignedRoll, SignDocumentError> {
        SignedRoll::sign(roll, self.online.as_ref())
    }

    /// The world as this admission sees it.
    pub const fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Who may write a kind under the newest trust root.
    pub fn rule(&self, kind: &GroupKind) -> Rule {
        Rule::of(self.chain().newest(), kind)
    }

    /// Whether a key may log in.
    pub fn is_owner(&self, key: &PublicKey) -> bool {
        self.chain().newest().is_persons_key(key)
    }

    /// What was let in and what was not.
    pub fn metrics(&self) -> Arc<AdmissionMetrics> {
        Arc::clone(&self.metrics)
    }

    pub(crate) async fn write_plain(
        &self,
        caller: &Caller,
        message: &str,
        writes: Vec<Write>,
        dry_run: bool,
    ) -> Result<Vec<Outcome>, WriteError> {
        Ok(self.write_asked(caller, message, &writes, dry_run, None).await?.objects)
    }

    /// As [`Admission::write`]; `asked` is the request of the database's inbox that is done with it.
    pub(crate) async fn write_asked(
        &self,
        caller: &Caller,
        message: &str,
        writes: &[Write],
        dry_run: bool,
        asked: Option<&str>,
    ) -> Result<Committed, WriteError> {
        for _ in 0..ATTEMPTS_MAX {
            let mut transaction = self.transaction(caller, message, writes)?;
            transaction.asked = asked.map(str::to_owned);
            let result = if dry_run {
                self.store.preview(transaction)
            } else {
                let span = commit_span(&transaction, true);
                self.store.commit(transaction).instrument(span).await
            };
            match result {
                Ok(committed) => return Ok(committed),
                // Somebody else's change of the same object came first: sign the next sequence. What the caller expects is looked at anew.
                // So it is where another version of the trust root came first.
                Err(CommitError::SequenceTaken { .. } | CommitError::RootMoved { .. }) => {
                    self.metrics.overtaken.inc();
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(WriteError::Contended { attempts: ATTEMPTS_MAX })
    }

    /// Writes the status of an object, which stands outside Changes, and who manages what of it.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing has happened then.
    pub async fn write_status(
        &self,
        key: ObjectKey,
        status: Value,
        managed_fields: Vec<ManagedFields>,
        expect: Expect,
        dry_run: bool,
    ) -> Result<Outcome, WriteError> {
        let op = Op::PutStatus { key: key.clone(), status, managed_fields: Some(managed_fields), expect };
        let transaction = Transaction::unsigned(self.environment.now(), vec![op]);
        let committed = if dry_run { self.store.preview(transaction)? } else { self.store.commit(transaction).await? };
        committed.objects.into_iter().next().ok_or_else(|| invalid(&key, "the record gave no answer for it"))
    }

    pub(crate) async fn submit_signed(
        &self,
        caller: &Caller,
        submission: &Submission,
        preconditions: &[Precondition],
        dry_run: bool,
    ) -> Result<Submitted, WriteError> {
        if dry_run {
            let (_, transaction) = self.admit(caller, submission, preconditions, dry_run)?;
            let preview = self.store.preview(transaction).map_err(|error| told_apart(error, preconditions))?;
            return Ok(Submitted { change: None, outcomes: preview.objects });
        }
        let (change, committed) = self.submit_beside(caller, submission, preconditions, &Beside::default()).await?;
        tracing::info!(change = %change.id(), revision = committed.revision.0, "committed");
        Ok(Submitted { change: Some(change.committed(committed.revision)?), outcomes: committed.objects })
    }

    /// Admits a Change, and gives what is known of it.
    pub(crate) async fn submit_beside(
        &self,
        caller: &Caller,
        submission: &Submission,
        preconditions: &[Precondition],
        beside: &Beside<'_>,
    ) -> Result<(Committing, Committed), WriteError> {
        for _ in 0..ATTEMPTS_MAX {
            let (committing, mut transaction) = self.admit(caller, submission, preconditions, false)?;
            transaction.asked = beside.asked.map(str::to_owned);
            transaction.ops.extend(beside.ops.iter().cloned());
            let span = commit_span(&transaction, false);
            match self.store.commit(transaction).instrument(span).await {
                Ok(committed) => return Ok((committing, committed)),
                // Another version of the trust root came first: what it says is asked anew.
                Err(CommitError::RootMoved { .. }) => {
                    self.metrics.overtaken.inc();
                }
                Err(error) => return Err(told_apart(error, preconditions)),
            }
        }
        Err(WriteError::Contended { attempts: ATTEMPTS_MAX })
    }

    /// A Change as it would enter the record now, with what is known of it.
    fn admit(
        &self,
        caller: &Caller,
        submission: &Submission,
        preconditions: &[Precondition],
        dry_run: bool,
    ) -> Result<(Committing, Transaction), WriteError> {
        let now = self.environment.now();
        let (chain, snapshot) = (self.chain(), self.store.snapshot());
        let verify = || stead_trust::admit(&chain, submission, &|key| current(&snapshot, key), now);
        let admitted = tracing::info_span!("verify").in_scope(verify)?;
        self.metrics.signatures_verified.inc_by(submission.statement.signatures.len() as u64);
        self.check_machines(&snapshot, &admitted)?;
        let mut ops = checks(preconditions)?;
        ops.extend(self.ops_of(&snapshot, &admitted)?);
        let change = self.signed_change(&admitted, submission, now)?;
        let committing = Committing::of(admitted, submission, now);
        tracing::info!(change = %change.id, by = %caller.name, entries = submission.entries.len(), dry_run, "a signed change");
        let root_version = Some(chain.newest().version);
        Ok((committing, Transaction { change: Some(change), root_version, ..Transaction::unsigned(now, ops) }))
    }

    /// Admits a new version of the trust root.
    ///
    /// # Errors
    ///
    /// [`WriteError::RootRefused`] says what does not hold.
    pub async fn submit_root(&self, document: Vec<u8>, signatures: Vec<Signature>) -> Result<Object, WriteError> {
        let signed = SignedRoot { document, signatures };
        let extended = self.chain().extend(&signed)?;
        let root = root_document(extended.newest().version, &signed);
        let object = root_object(&root)?;
        let transaction = Transaction { root: Some(root), ..Transaction::unsigned(self.environment.now(), Vec::new()) };
        self.store.commit(transaction).await?;
        self.metrics.roots.inc();
        tracing::info!(object = %object.metadata.name, "a new version of the trust root");
        Ok(object)
    }

    fn transaction(&self, caller: &Caller, message: &str, writes: &[Write]) -> Result<Transaction, WriteError> {
        let now = self.environment.now();
        let chain = self.chain();
        let snapshot = self.store.snapshot();
        let admit_before = now.checked_add(jiff::SignedDuration::from_secs(ONLINE_ADMIT_WITHIN_SECONDS)).unwrap_or(now);
        let authorship = Authorship::Online { signer: self.online.public_key().clone(), requested_by: caller.name.clone() };
        let id = self.environment.new_id();
        let mut builder = StatementBuilder::new(*chain.fleet(), &id, now, admit_before, message, authorship);
        let (mut ops, mut signed, mut unsigned_owner) = (Vec::new(), 0_usize, Vec::new());
        for write in writes {
            let key = write.key();
            let next = snapshot.sequence(&key).map_or(1, |sequence| sequence.sequence.saturating_add(1));
            match self.sort(chain.newest(), &snapshot, write, &key)? {
                Sorted::Plain => {}
                Sorted::Owner => unsigned_owner.push(key.clone()),
                Sorted::Online => {
                    signed = signed.saturating_add(1);
                    match write {
                        Write::Put { object, .. } => builder.put(object, next, self.environment.salt())?,
                        Write::Delete { key, .. } => {
                            builder.delete(&api_version(&key.kind), key, next, self.environment.salt())?
                        }
                    };
                }
            }
            ops.push(write.op());
        }
        if !unsigned_owner.is_empty() {
            return Err(needs_signature(chain.newest(), unsigned_owner, writes));
        }
        let change = if signed == 0 {
            None
        } else {
            let submission = builder.build()?.sign(&[self.online.as_ref()])?;
            let admitted = stead_trust::admit(&chain, &submission, &|key| current(&snapshot, key), now)?;
            self.check_machines(&snapshot, &admitted)?;
            Some(self.signed_change(&admitted, &submission, now)?)
        };
        Ok(Transaction { change, root_version: Some(chain.newest().version), ..Transaction::unsigned(now, ops) })
    }

    /// Which way a write goes. An edit that touches nothing of what is signed (annotations of others, finalizers) needs no signature.
    fn sort(&self, root: &Root, snapshot: &Snapshot, write: &Write, key: &ObjectKey) -> Result<Sorted, WriteError> {
        let rule = Rule::of(root, &key.kind);
        if rule == Rule::ReadOnly {
            return Err(WriteError::ReadOnly { key: key.clone() });
        }
        if rule == Rule::Root {
            return Err(WriteError::Root { key: key.clone() });
        }
        if let Write::Put { object, .. } = write {
            self.check_namespace(snapshot, key)?;
            if let Some(present) = snapshot.get(key) {
                let present = present.to_object().map_err(|error| invalid(key, &error.to_string()))?;
                if present.as_sent() == object.as_sent() {
                    return Ok(Sorted::Plain);
                }
            }
        }
        Ok(match rule {
            Rule::Online if is_marked(snapshot, write, key) => Sorted::Plain,
            Rule::Online => Sorted::Online,
            // A machine that owners let in beforehand: whether their delegation holds is for trust to say, when it admits the Change.
            Rule::Owner { .. } if is_enrolled(write) => Sorted::Online,
            Rule::Owner { .. } => Sorted::Owner,
            _ => Sorted::Plain,
        })
    }

    fn check_namespace(&self, snapshot: &Snapshot, key: &ObjectKey) -> Result<(), WriteError> {
        if key.namespace.is_empty() {
            return Ok(());
        }
        let namespace = ObjectKey::new(GroupKind::new("", "Namespace"), "", &key.namespace);
        if snapshot.get(&namespace).is_some() {
            return Ok(());
        }
        Err(WriteError::NamespaceMissing { key: key.clone(), namespace: key.namespace.clone() })
    }

    /// What a Change makes of machines must not bring back a key that is refused for good.
    fn check_machines(&self, snapshot: &Snapshot, admitted: &Admitted) -> Result<(), WriteError> {
        let puts = admitted.entries.iter().filter_map(|entry| entry.object.as_ref());
        let deletes = admitted.entries.iter().filter(|entry| entry.object.is_none()).map(|entry| &entry.key);
        machines::check(&self.fleet(), snapshot, puts, deletes)
    }

    fn ops_of(&self, snapshot: &Snapshot, admitted: &Admitted) -> Result<Vec<Op>, WriteError> {
        let op = |entry: &AdmittedEntry| match &entry.object {
            None => Ok(Op::delete(entry.key.clone())),
            Some(object) => self.put_signed(snapshot, &entry.key, object),
        };
        admitted.entries.iter().map(op).collect()
    }

    /// The put of an object that owners signed.
    pub(crate) fn put_signed(&self, snapshot: &Snapshot, key: &ObjectKey, object: &Object) -> Result<Op, WriteError> {
        self.check_namespace(snapshot, key)?;
        check_kind(object)?;
        // What was sent says nothing of finalizers, of owners, of annotations that are not signed: those stay as they are.
        let stored = snapshot.get(key);
        let present = stored.as_ref().map(|present| present.to_object()).transpose();
        let present = present.map_err(|error| invalid(key, &error.to_string()))?;
        let (signed, now) = (object.clone(), self.environment.now());
        Ok(Op::PutOver {
            object: Box::new(over_unsigned(object, present.as_ref(), now)),
            seen: stored.map(|present| present.revision()),
            anew: Anew::new(move |present| over_unsigned(&signed, present, now)),
        })
    }

    /// `now` is when it was judged, and what its receipt says: by a clock that was set back while it waits for the record, machines would
    /// take it to be admitted before it was written.
    fn signed_change(&self, admitted: &Admitted, submission: &Submission, now: Timestamp) -> Result<SignedChange, WriteError> {
        let (statement, digest) = (&admitted.statement.statement, admitted.statement.digest);
        let pairs = admitted.entries.iter().zip(&submission.entries).zip(0_u64..);
        let entries = pairs.map(|((entry, sent), index)| signed_entry(entry, sent, index, &admitted.tree)).collect();
        let author = author_of(&statement.authorship);
        let (fleet, online) = (self.fleet(), Arc::clone(&self.online));
        let seal = move |revision| {
            let receipt = SignedReceipt::sign(fleet, digest, revision, now, online.as_ref())?;
            let receipt_signature = encode_signatures(std::slice::from_ref(&receipt.signature));
            Ok(SealedChange { receipt: receipt.document, receipt_signature })
        };
        Ok(SignedChange {
            id: statement.id.clone(),
            statement: submission.statement.document.clone(),
            signatures: encode_signatures(&submission.statement.signatures),
            author,
            message: statement.message.clone(),
            entries,
            entering: Entering::Anew,
            seal: Box::new(seal),
        })
    }
}

/// Who changed it, for people to read.
pub(crate) fn author_of(authorship: &Authorship) -> String {
    match authorship {
        Authorship::Person { author } => author.fingerprint(),
        Authorship::Online { requested_by, .. } => requested_by.clone(),
    }
}

/// The span of what the record does with a transaction; none where it holds no Change. A Change that the coordinator signs itself
/// begins with the request around it, which is told so.
fn commit_span(transaction: &Transaction, begins: bool) -> Span {
    let Some(change) = &transaction.change else { return Span::none() };
    if begins {
        Span::current().record("change", &change.id).record("root", true);
    }
    tracing::info_span!("commit", change = %change.id)
}

enum Sorted {
    Plain,
    Online,
    Owner,
}

impl Write {
    fn key(&self) -> ObjectKey {
        match self {
            Self::Put { object, .. } => object.key(),
            Self::Delete { key, .. } => key.clone(),
        }
    }

    fn op(&self) -> Op {
        match self {
            Self::Put { object, expect } => Op::Put { object: Box::new(object.clone()), expect: expect.clone() },
            Self::Delete { key, expect } => Op::Delete { key: key.clone(), expect: expect.clone() },
        }
    }
}

fn is_enrolled(write: &Write) -> bool {
    matches!(write, Write::Put { object, expect: Expect::Absent } if object.spec().get("enrolment").is_some())
}

/// A second deletion of an object that only waits for its finalizers says nothing new, and takes no sequence.
fn is_marked(snapshot: &Snapshot, write: &Write, key: &ObjectKey) -> bool {
    let marked = || snapshot.get(key)?.to_object().ok()?.metadata.deletion_timestamp;
    matches!(write, Write::Delete { .. }) && marked().is_some()
}

/// What owners signed, over what they do not sign of the object that is there.
fn over_unsigned(signed: &Object, present: Option<&Object>, now: jiff::Timestamp) -> Object {
    let mut object = signed.clone();
    if let Some(present) = present {
        keep_unsigned(&mut object, present);
    }
    object.metadata.managed_fields = signed_fields::of(signed, present, &object, now);
    object
}

fn keep_unsigned(object: &mut Object, present: &Object) {
    object.metadata.finalizers.clone_from(&present.metadata.finalizers);
    object.metadata.owner_references.clone_from(&present.metadata.owner_references);
    for (name, value) in &present.metadata.annotations {
        if !name.starts_with(stead_model::SIGNED_ANNOTATION_PREFIX) {
            object.metadata.annotations.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

fn signed_entry(entry: &AdmittedEntry, sent: &SubmittedEntry, index: u64, tree: &Tree) -> SignedEntry {
    SignedEntry {
        key: entry.key.clone(),
        index,
        sequence: entry.leaf.sequence,
        operation: match entry.leaf.op {
            stead_trust::Op::Put => stead_store::Operation::Put,
            stead_trust::Op::Delete => stead_store::Operation::Delete,
        },
        leaf: sent.leaf.clone(),
        proof: encode_proof(&tree.proof(index).unwrap_or_default()),
        object: sent.object.clone(),
    }
}

/// What the record holds of a name, as trust asks for it.
pub(crate) fn current(snapshot: &Snapshot, key: &ObjectKey) -> Current {
    let Some(sequence) = snapshot.sequence(key) else { return Current::default() };
    let labels =
        snapshot.get(key).map(|stored| stored.labels().map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    Current { sequence: sequence.sequence, statement: None, deleted: sequence.deleted, labels: labels.unwrap_or_default() }
}

/// What owners sign must be of a kind that is served, and as its kind should be; a machine would refuse it anyway.
fn check_kind(object: &Object) -> Result<(), WriteError> {
    let key = object.key();
    let info = stead_model::registry().by_group_kind(&key.kind).ok_or_else(|| invalid(&key, "no such kind is served"))?;
    info.check(object).map_err(|error| invalid(&key, &error.to_string()))
}

fn signed_root(root: &RootDocument) -> Result<SignedRoot, MalformedRecord> {
    let signatures = decode_signatures(&format!("v{}", root.version), &root.signatures)?;
    Ok(SignedRoot { document: root.document.clone(), signatures })
}

fn extended(chain: &RootChain, newer: &[Arc<RootDocument>]) -> Result<RootChain, OpenError> {
    let mut extended = chain.clone();
    for root in newer {
        extended = extended.extend(&signed_root(root)?)?;
    }
    Ok(extended)
}

fn root_document(version: u64, signed: &SignedRoot) -> RootDocument {
    RootDocument { version, document: signed.document.clone(), signatures: encode_signatures(&signed.signatures) }
}

fn api_version(kind: &GroupKind) -> String {
    stead_model::registry()
        .by_group_kind(kind)
        .map_or_else(|| stead_model::API_VERSION.to_owned(), stead_model::KindInfo::api_version)
}

fn invalid(key: &ObjectKey, reason: &str) -> WriteError {
    WriteError::Invalid { key: key.clone(), reason: reason.to_owned() }
}

/// The refusal with the command that would do the same, signed.
fn needs_signature(root: &Root, keys: Vec<ObjectKey>, writes: &[Write]) -> WriteError {
    let mut roles: Vec<String> = keys
        .iter()
        .flat_map(|key| match Rule::of(root, &key.kind) {
            Rule::Owner { roles } => roles,
            _ => Vec::new(),
        })
        .collect();
    roles.sort();
    roles.dedup();
    let roles = if roles.is_empty() {
        "a role that the trust root does not have yet".to_owned()
    } else {
        format!("the role {}", roles.join(" or "))
    };
    let command = match (writes, keys.first()) {
        ([Write::Delete { .. }], Some(key)) => format!("stead delete {} {}", key.kind.kind().to_ascii_lowercase(), key.name),
        _ => "stead apply -f FILE".to_owned(),
    };
    WriteError::NeedsSignature { keys, roles, command }
}
