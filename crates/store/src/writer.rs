//! The one writer: takes what is waiting, commits it with one fsync, and only then lets anybody see it.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use stead_model::{ObjectKey, Revision};
use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::{Engine, EngineError};
use crate::evaluate::{Evaluation, evaluate};
use crate::ring::{EventGroup, EventKind};
use crate::rows::{Batch, Change, Entry, HistoryRow, Operation, Sequence};
use crate::stored::Stored;
use crate::transaction::{CommitError, Committed, SignedChange, Transaction};
use crate::view::View;
use crate::watch::Published;

/// Transactions that share one fsync; more of them only add to the wait of the first.
pub const BATCH_TRANSACTIONS_MAX: usize = 512;
/// Operations after which a batch takes no further transaction.
pub const BATCH_OPERATIONS_MAX: usize = 10_000;
/// Transactions that may wait for the writer; further writers wait to get into the queue.
pub const QUEUE_TRANSACTIONS_MAX: usize = 1_024;

/// Makes uids.
pub type UidSource = Arc<dyn Fn() -> String + Send + Sync>;

type Reply = oneshot::Sender<Result<Committed, CommitError>>;
/// A caller, and what it is told once the batch is on disk.
type Answer = (Reply, Result<Committed, CommitError>);

pub(crate) enum Request {
    Commit(Box<Transaction>, Reply),
    Close(oneshot::Sender<()>),
}

pub(crate) struct Writer {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) published: watch::Sender<Arc<Published>>,
    pub(crate) new_uid: UidSource,
    /// A batch of which the engine could not say whether it is in the record.
    pub(crate) in_doubt: Option<Prepared>,
}

/// A batch, and what readers see once it is on disk.
pub(crate) struct Prepared {
    batch: Batch,
    view: View,
    groups: Vec<Arc<EventGroup>>,
}

/// What became of a batch that the engine reported as failed.
enum Fate {
    Committed,
    NotCommitted,
    Unknown,
}

impl Writer {
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            let mut commits = Vec::new();
            let mut operations = 0_usize;
            let mut next = Some(request);
            let mut close = None;
            while let Some(request) = next.take() {
                match request {
                    Request::Commit(transaction, reply) => {
                        operations = operations.saturating_add(transaction.ops.len());
                        commits.push((transaction, reply));
                        if commits.len() < BATCH_TRANSACTIONS_MAX && operations < BATCH_OPERATIONS_MAX {
                            next = requests.try_recv().ok();
                        }
                    }
                    Request::Close(reply) => close = Some(reply),
                }
            }
            if !commits.is_empty() {
                self.commit(commits).await;
            }
            if let Some(reply) = close {
                drop(self);
                // Nobody listens any more where the closer has gone away; the store is closed all the same.
                let _ = reply.send(());
                return;
            }
        }
    }

    async fn commit(&mut self, commits: Vec<(Box<Transaction>, Reply)>) {
        let changes = commits.iter().filter_map(|(transaction, _)| transaction.change.as_ref());
        let ids = changes.map(|change| change.id.clone()).collect();
        let known = match self.get_ready(ids).await {
            Ok(known) => known,
            Err(error) => return refuse(commits.into_iter().map(|(_, reply)| reply), CommitError::Engine(Arc::new(error))),
        };
        let (prepared, replies) = self.prepare(commits, known);
        if prepared.batch.base == prepared.batch.last {
            return answer(replies);
        }
        let Err(error) = self.engine.commit(&prepared.batch).await else {
            self.publish(prepared);
            return answer(replies);
        };
        tracing::error!(%error, revision = %prepared.batch.last, transactions = replies.len(), "a batch could not be committed");
        let moved = matches!(error, EngineError::Moved { .. });
        let error = Arc::new(error);
        if moved {
            return refuse_all(replies.into_iter(), &CommitError::Engine(error));
        }
        self.in_doubt = Some(prepared);
        let refused = replies.into_iter();
        match self.settle().await {
            Ok(Fate::Committed) => answer(refused.collect()),
            Ok(Fate::NotCommitted) => refuse_all(refused, &CommitError::Engine(error)),
            Ok(Fate::Unknown) | Err(_) => refuse_all(refused, &CommitError::Unknown(error)),
        }
    }

    /// Settles what is in doubt, and asks which of the Changes are in the record already.
    async fn get_ready(&mut self, ids: Vec<String>) -> Result<BTreeMap<String, Revision>, EngineError> {
        if let Fate::Unknown = self.settle().await? {
            let expected = self.published.borrow().view.revision;
            let found = self.engine.meta().await?.last;
            return Err(EngineError::Moved { expected, found });
        }
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        Ok(self.engine.known_changes(ids).await?.into_iter().collect())
    }

    /// Finds out what became of the batch in doubt, and publishes it where it is in the record after all.
    async fn settle(&mut self) -> Result<Fate, EngineError> {
        let Some(prepared) = self.in_doubt.take() else { return Ok(Fate::NotCommitted) };
        let meta = match self.engine.meta().await {
            Ok(meta) => meta,
            Err(error) => {
                self.in_doubt = Some(prepared);
                return Err(error);
            }
        };
        if meta.last == prepared.batch.last {
            self.publish(prepared);
            return Ok(Fate::Committed);
        }
        if meta.last == prepared.batch.base {
            return Ok(Fate::NotCommitted);
        }
        self.in_doubt = Some(prepared);
        Ok(Fate::Unknown)
    }

    /// Evaluates each transaction on the record as those before it leave it; one that is refused leaves no trace.
    fn prepare(&self, commits: Vec<(Box<Transaction>, Reply)>, mut known: BTreeMap<String, Revision>) -> (Prepared, Vec<Answer>) {
        let current = Arc::clone(&self.published.borrow().view);
        let mut draft = Draft::new(&current);
        let mut replies = Vec::with_capacity(commits.len());
        for (transaction, reply) in commits {
            replies.push((reply, draft.take(*transaction, &mut known, &self.new_uid)));
        }
        (draft.finish(), replies)
    }

    /// The view moves, then the watchers are told; a writer is answered only after both.
    fn publish(&self, prepared: Prepared) {
        let mut ring = self.published.borrow().ring.clone();
        for group in prepared.groups {
            ring.push(group);
        }
        self.published.send_replace(Arc::new(Published { view: Arc::new(prepared.view), ring }));
    }
}

fn answer(replies: Vec<Answer>) {
    for (reply, result) in replies {
        // A caller that has gone away does not hear it; what was committed stays committed.
        let _ = reply.send(result);
    }
}

fn refuse(replies: impl Iterator<Item = Reply>, error: CommitError) {
    answer(replies.map(|reply| (reply, Err(error.clone()))).collect());
}

/// Those that were going to be refused hear their own reason.
fn refuse_all(replies: impl Iterator<Item = Answer>, error: &CommitError) {
    answer(replies.map(|(reply, result)| (reply, result.and_then(|_| Err(error.clone())))).collect());
}

/// A batch in the making.
struct Draft {
    view: View,
    batch: Batch,
    objects: BTreeMap<ObjectKey, Option<Arc<Stored>>>,
    sequences: BTreeMap<ObjectKey, Sequence>,
    groups: Vec<Arc<EventGroup>>,
}

impl Draft {
    fn new(current: &View) -> Self {
        let batch = Batch { base: current.revision, last: current.revision, ..Batch::default() };
        Self { view: current.clone(), batch, objects: BTreeMap::new(), sequences: BTreeMap::new(), groups: Vec::new() }
    }

    fn take(
        &mut self,
        mut transaction: Transaction,
        known: &mut BTreeMap<String, Revision>,
        new_uid: &UidSource,
    ) -> Result<Committed, CommitError> {
        let id = transaction.change.as_ref().map(|change| change.id.clone());
        if let Some((id, revision)) = id.as_ref().and_then(|id| known.get_key_value(id)) {
            return Err(CommitError::ChangeExists { id: id.clone(), revision: *revision });
        }
        let revision = self.view.revision.next();
        let mut view = self.view.clone();
        let evaluation = evaluate(&mut view, &mut transaction, revision, new_uid.as_ref())?;
        if let Some(change) = transaction.change.take() {
            self.seal(change, revision, &transaction)?;
        }
        known.extend(id.map(|id| (id, revision)));
        let committed = Committed { revision: view.revision, objects: evaluation.outcomes.clone() };
        self.view = view;
        self.batch.last = self.view.revision;
        self.batch.roots.extend(transaction.root);
        if evaluation.changed {
            self.record(evaluation, revision);
        }
        Ok(committed)
    }

    fn seal(&mut self, change: SignedChange, revision: Revision, transaction: &Transaction) -> Result<(), CommitError> {
        let SignedChange { id, statement, signatures, author, message, entries, seal } = change;
        let sealed = seal(revision).map_err(|source| CommitError::Seal { id: id.clone(), source: source.into() })?;
        let (receipt, receipt_signature) = (sealed.receipt, sealed.receipt_signature);
        let time = transaction.time;
        self.batch.changes.push(Change {
            revision,
            id,
            statement,
            signatures,
            receipt,
            receipt_signature,
            author,
            message,
            time,
        });
        self.batch.entries.extend(entries.into_iter().map(|entry| Entry {
            revision,
            index: entry.index,
            key: entry.key,
            sequence: entry.sequence,
            operation: entry.operation,
            leaf: entry.leaf,
            proof: entry.proof,
            object: entry.object,
        }));
        Ok(())
    }

    fn record(&mut self, evaluation: Evaluation, revision: Revision) {
        self.sequences.extend(evaluation.sequences);
        for (position, event) in (0..).zip(&evaluation.events) {
            let key = event.object.key();
            let deleted = event.kind == EventKind::Deleted;
            let operation = if deleted { Operation::Delete } else { Operation::Put };
            self.objects.insert(key.clone(), (!deleted).then(|| Arc::clone(&event.object)));
            self.batch.history.push(HistoryRow { revision, position, key, operation, before: event.previous.clone() });
        }
        self.groups.push(Arc::new(EventGroup { revision, events: evaluation.events }));
    }

    fn finish(mut self) -> Prepared {
        self.batch.objects = mem::take(&mut self.objects).into_iter().collect();
        self.batch.sequences = mem::take(&mut self.sequences).into_iter().collect();
        Prepared { batch: self.batch, view: self.view, groups: self.groups }
    }
}
