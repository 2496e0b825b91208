//! The one writer of this process: takes what is waiting, commits it with one fsync, and only then lets anybody see it. Where other
//! coordinators write to the same record, it takes turns with them, and brings in what they wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use jiff::Timestamp;
use stead_model::{ObjectKey, Revision};
use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::{CommitFailure, Engine, EngineError, Moved, Reading, Turn};
use crate::evaluate::{Evaluation, evaluate};
use crate::follow::{Followed, follow};
use crate::load::{RingLimits, load};
use crate::ring::{EventGroup, EventKind};
use crate::rows::{Batch, Change, Entry, HistoryRow, Mark, Operation, Sequence, Settled};
use crate::stored::Stored;
use crate::transaction::{CommitError, Committed, Entering, SignedChange, Transaction};
use crate::view::View;
use crate::watch::Published;

/// Transactions that share one fsync; more of them only add to the wait of the first.
pub const BATCH_TRANSACTIONS_MAX: usize = 512;
/// Operations after which a batch takes no further transaction.
pub const BATCH_OPERATIONS_MAX: usize = 10_000;
/// Transactions that may wait for the writer; further writers wait to get into the queue.
pub const QUEUE_TRANSACTIONS_MAX: usize = 1_024;

/// How often the record is loaded anew for one turn, where others are far ahead each time.
const LOADS_MAX: usize = 3;

/// Makes uids.
pub type UidSource = Arc<dyn Fn() -> String + Send + Sync>;
/// Tells the time.
pub type TimeSource = Arc<dyn Fn() -> Timestamp + Send + Sync>;

type Reply = oneshot::Sender<Result<Committed, CommitError>>;
/// A transaction that waits, and whom to tell.
type Waiting = (Box<Transaction>, Reply);
/// A caller, and what it is told once the batch is on disk.
type Answer = (Reply, Result<Committed, CommitError>);

/// Whoever waits until the view has caught up.
type Looker = oneshot::Sender<Result<(), Arc<EngineError>>>;

pub(crate) enum Request {
    Commit(Box<Transaction>, Reply),
    CatchUp(Looker),
    Close(oneshot::Sender<()>),
}

/// What is taken from the queue at once.
#[derive(Default)]
struct Taken {
    commits: Vec<Waiting>,
    lookers: Vec<Looker>,
    close: Option<oneshot::Sender<()>>,
}

pub(crate) struct Writer {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) published: watch::Sender<Arc<Published>>,
    pub(crate) new_uid: UidSource,
    pub(crate) now: TimeSource,
    pub(crate) limits: RingLimits,
    /// A batch of which the engine could not say whether it is in the record.
    pub(crate) in_doubt: Option<Mark>,
    /// Whether the last look at what others wrote failed, so that it is said once.
    pub(crate) blind: bool,
}

/// A batch, and what readers see once it is on disk.
pub(crate) struct Prepared {
    batch: Batch,
    view: View,
    groups: Vec<Arc<EventGroup>>,
}

/// What has to be known of the transactions that wait: the ids of their Changes, and the requests that they do.
struct Wanted {
    changes: Vec<String>,
    asked: Vec<String>,
}

impl Wanted {
    fn of(waiting: &[Waiting]) -> Self {
        let transactions = || waiting.iter().map(|(transaction, _)| transaction);
        Self {
            changes: transactions().filter_map(|transaction| Some(transaction.change.as_ref()?.id.clone())).collect(),
            asked: transactions().filter_map(|transaction| transaction.asked.clone()).collect(),
        }
    }
}

/// What the record knows already of what waits: the ids of Changes, with their revision, and requests that are settled.
struct Known {
    changes: BTreeMap<String, Revision>,
    settled: BTreeSet<String>,
}

/// What became of a batch that the engine could not speak for. `None` where nobody can tell any more.
type Fate = Option<bool>;

impl Writer {
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let engine = Arc::clone(&self.engine);
        loop {
            let request = tokio::select! {
                // In this order, so that a simulation repeats itself; a turn takes in what others wrote.
                biased;
                request = requests.recv() => request,
                moved = engine.moved() => {
                    self.look(engine.as_ref(), moved).await;
                    continue;
                }
            };
            let Some(request) = request else { return };
            let Taken { commits, lookers, close } = take_waiting(request, &mut requests);
            if !commits.is_empty() {
                self.commit(engine.as_ref(), commits).await;
            }
            if !lookers.is_empty() {
                let looked = self.bring_up(engine.as_ref()).await.map_err(Arc::new);
                for looker in lookers {
                    // One that has gone away need not know.
                    let _ = looker.send(looked.clone());
                }
            }
            if let Some(reply) = close {
                drop(self);
                // Nobody listens any more where the closer has gone away; the store is closed all the same.
                let _ = reply.send(());
                return;
            }
        }
    }

    async fn commit(&mut self, engine: &dyn Engine, commits: Vec<Waiting>) {
        let (turn, known) = match self.get_ready(engine, Wanted::of(&commits)).await {
            Ok(ready) => ready,
            Err(error) => return refuse(commits.into_iter().map(|(_, reply)| reply), CommitError::Engine(Arc::new(error))),
        };
        let (prepared, replies) = self.prepare(commits, known);
        if prepared.batch.base == prepared.batch.last {
            turn.end().await;
            return answer(replies);
        }
        let failure = match turn.commit(&prepared.batch).await {
            Ok(()) => {
                self.publish(prepared);
                return answer(replies);
            }
            Err(failure) => failure,
        };
        let (CommitFailure::Refused(error) | CommitFailure::Unsure(error)) = &failure;
        tracing::error!(%error, revision = %prepared.batch.last, transactions = replies.len(), "a batch could not be committed");
        match failure {
            CommitFailure::Refused(error) => refuse_all(replies.into_iter(), &CommitError::Engine(Arc::new(error))),
            CommitFailure::Unsure(error) => {
                self.in_doubt = Some(prepared.batch.mark());
                let error = Arc::new(error);
                match self.settle(engine).await {
                    Ok(Some(true)) => answer(replies),
                    Ok(Some(false)) => refuse_all(replies.into_iter(), &CommitError::Engine(error)),
                    Ok(None) | Err(_) => refuse_all(replies.into_iter(), &CommitError::Unknown(error)),
                }
            }
        }
    }

    /// A turn with the view up to date, and which of the Changes are in the record already.
    async fn get_ready<'e>(
        &mut self,
        engine: &'e dyn Engine,
        wanted: Wanted,
    ) -> Result<(Box<dyn Turn + 'e>, Known), EngineError> {
        let Wanted { changes, asked } = wanted;
        let (mut turn, _) = self.take_turn(engine).await?;
        let changes = if changes.is_empty() { Vec::new() } else { turn.known_changes(changes).await? };
        let settled = if asked.is_empty() { Vec::new() } else { turn.settled(asked).await? };
        Ok((turn, Known { changes: changes.into_iter().collect(), settled: settled.into_iter().collect() }))
    }

    /// Finds out what became of the batch in doubt, in a turn: nothing of it can be under way any more then.
    async fn settle(&mut self, engine: &dyn Engine) -> Result<Fate, EngineError> {
        let (turn, fate) = self.take_turn(engine).await?;
        turn.end().await;
        Ok(fate)
    }

    /// Takes a turn, and brings the view up to the record in it. What was in doubt is settled with it.
    async fn take_turn<'e>(&mut self, engine: &'e dyn Engine) -> Result<(Box<dyn Turn + 'e>, Fate), EngineError> {
        for _ in 0..LOADS_MAX {
            let mut turn = engine.turn().await?;
            let meta = turn.meta().clone();
            let fate = match &self.in_doubt {
                Some(mark) => turn.reading().await?.holds(mark).await?,
                None => None,
            };
            let current = Arc::clone(&self.published.borrow().view);
            let followed = if current.is_at(&meta) {
                None
            } else {
                Some(follow(turn.reading().await?, &meta, &current, self.limits).await?)
            };
            match followed {
                None => {}
                Some(Followed::To(view, groups)) => self.publish_next(*view, groups),
                // Everybody else would wait while all of it is loaded: the turn is given back first.
                Some(Followed::Lost { continuous }) => {
                    turn.end().await;
                    self.load_anew(engine, continuous).await?;
                    continue;
                }
                Some(Followed::WentBack) => {
                    turn.end().await;
                    self.begin_anew(engine, &current).await?;
                    continue;
                }
            }
            self.in_doubt = None;
            return Ok((turn, fate));
        }
        Err(EngineError::Overtaken { times: LOADS_MAX })
    }

    /// Takes in what others wrote, where there is anything to look for.
    async fn look(&mut self, engine: &dyn Engine, moved: Moved) {
        let known = matches!(moved, Moved::To(revision) if revision <= self.published.borrow().view.revision);
        if known && self.in_doubt.is_none() {
            return;
        }
        let looked = self.bring_up(engine).await;
        match &looked {
            Ok(()) if self.blind => tracing::info!("what other coordinators write is seen again"),
            Err(error) if !self.blind => tracing::warn!(%error, "what other coordinators write is not seen"),
            _ => {}
        }
        self.blind = looked.is_err();
    }

    /// Brings the view up to the record, and settles what was in doubt.
    async fn bring_up(&mut self, engine: &dyn Engine) -> Result<(), EngineError> {
        if self.in_doubt.is_some() { self.settle(engine).await.map(|_| ()) } else { self.catch_up(engine).await }
    }

    /// Brings the view up to the record beside those who write.
    async fn catch_up(&mut self, engine: &dyn Engine) -> Result<(), EngineError> {
        let mut reading = engine.reading().await?;
        let meta = reading.meta().await?;
        let current = Arc::clone(&self.published.borrow().view);
        if !current.is_at(&meta) {
            match follow(reading.as_mut(), &meta, &current, self.limits).await? {
                Followed::To(view, groups) => self.publish_next(*view, groups),
                Followed::Lost { continuous } => self.load_from(reading.as_mut(), continuous).await?,
                Followed::WentBack => {
                    reading.end().await;
                    return self.begin_anew(engine, &current).await;
                }
            }
        }
        reading.end().await;
        Ok(())
    }

    /// The record has lost batches that were told of: it becomes another one, so that nobody takes what follows for them. Of several
    /// coordinators that notice, one does it.
    async fn begin_anew(&mut self, engine: &dyn Engine, view: &View) -> Result<(), EngineError> {
        let meta = engine.begin_anew(&view.incarnation, (self.now)()).await?;
        tracing::error!(
            was_at = %view.revision,
            anew_at = %meta.last,
            "the record has lost its newest batches: it begins anew, and machines and watchers take the whole of it"
        );
        self.load_anew(engine, false).await
    }

    async fn load_anew(&mut self, engine: &dyn Engine, continuous: bool) -> Result<(), EngineError> {
        let mut reading = engine.reading().await?;
        self.load_from(reading.as_mut(), continuous).await?;
        reading.end().await;
        Ok(())
    }

    /// Watchers find their place in what was loaded, or are told that it is gone.
    async fn load_from(&mut self, reading: &mut dyn Reading, continuous: bool) -> Result<(), EngineError> {
        let (epoch, revision) = {
            let published = self.published.borrow();
            (published.view.epoch, published.view.revision)
        };
        tracing::warn!(%revision, continuous, "the record is loaded anew: it cannot be followed from where this coordinator is");
        let epoch = if continuous { epoch } else { epoch.saturating_add(1) };
        let loaded = load(reading, epoch, self.limits).await?;
        self.published.send_replace(Arc::new(loaded));
        Ok(())
    }

    /// Evaluates each transaction on the record as those before it leave it; one that is refused leaves no trace.
    fn prepare(&self, commits: Vec<Waiting>, mut known: Known) -> (Prepared, Vec<Answer>) {
        let current = Arc::clone(&self.published.borrow().view);
        let mut draft = Draft::new(&current, (self.new_uid)());
        let mut replies = Vec::with_capacity(commits.len());
        for (transaction, reply) in commits {
            replies.push((reply, draft.take(*transaction, &mut known, &self.new_uid)));
        }
        (draft.finish(), replies)
    }

    /// The view moves, then the watchers are told; a writer is answered only after both.
    fn publish(&self, prepared: Prepared) {
        self.publish_next(prepared.view, prepared.groups);
    }

    fn publish_next(&self, view: View, groups: Vec<Arc<EventGroup>>) {
        let mut ring = self.published.borrow().ring.clone();
        for group in groups {
            ring.push(group);
        }
        self.published.send_replace(Arc::new(Published { view: Arc::new(view), ring }));
    }
}

/// What one batch takes of what waits, who waits beside it, and whether the store is to be closed after it.
fn take_waiting(request: Request, requests: &mut mpsc::Receiver<Request>) -> Taken {
    let (mut taken, mut operations) = (Taken::default(), 0_usize);
    let mut next = Some(request);
    while let Some(request) = next.take() {
        match request {
            Request::Commit(transaction, reply) => {
                operations = operations.saturating_add(transaction.ops.len());
                taken.commits.push((transaction, reply));
            }
            Request::CatchUp(looker) => taken.lookers.push(looker),
            Request::Close(reply) => {
                taken.close = Some(reply);
                return taken;
            }
        }
        if taken.commits.len() < BATCH_TRANSACTIONS_MAX && operations < BATCH_OPERATIONS_MAX {
            next = requests.try_recv().ok();
        }
    }
    taken
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
    fn new(current: &View, token: String) -> Self {
        let (base, base_term) = (current.revision, current.leader_term);
        let batch = Batch { base, last: base, base_term, term: base_term, token, ..Batch::default() };
        Self { view: current.clone(), batch, objects: BTreeMap::new(), sequences: BTreeMap::new(), groups: Vec::new() }
    }

    fn take(&mut self, mut transaction: Transaction, known: &mut Known, new_uid: &UidSource) -> Result<Committed, CommitError> {
        let id = transaction.change.as_ref().map(|change| change.id.clone());
        if let Some(id) = transaction.asked.as_ref().filter(|id| known.settled.contains(*id)) {
            return Err(CommitError::Settled { id: id.clone() });
        }
        let known_change = id.as_ref().and_then(|id| known.changes.get_key_value(id));
        match (transaction.change.as_ref().map(|change| change.entering), known_change) {
            (Some(Entering::Joining(at)), Some((_, revision))) if at == *revision => {}
            (Some(Entering::Joining(at)), None) => return Err(CommitError::NoSuchChange { id: id.unwrap_or_default(), at }),
            (_, Some((id, revision))) => return Err(CommitError::ChangeExists { id: id.clone(), revision: *revision }),
            (_, None) => {}
        }
        let revision = self.view.revision.next();
        let mut view = self.view.clone();
        let evaluation = evaluate(&mut view, &mut transaction, revision, new_uid.as_ref())?;
        if let Some(change) = transaction.change.take() {
            self.seal(change, revision, &transaction)?;
        }
        if let Some(asked) = transaction.asked.take().filter(|_| evaluation.changed) {
            known.settled.insert(asked.clone());
            let message = id.as_ref().map_or_else(String::new, |id| format!("change {}", id.to_ascii_lowercase()));
            self.batch.settled.push(Settled { id: asked, revision: Some(revision), message });
        }
        if let Some(id) = id {
            known.changes.entry(id).or_insert(revision);
        }
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
        let SignedChange { id, statement, signatures, author, message, entries, entering, seal } = change;
        let revision = match entering {
            Entering::Joining(at) => at,
            Entering::Anew | Entering::Back => {
                let sealed = seal(revision).map_err(|source| CommitError::Seal { id: id.clone(), source: source.into() })?;
                let (receipt, receipt_signature, time) = (sealed.receipt, sealed.receipt_signature, transaction.time);
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
                revision
            }
        };
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
        self.batch.term = self.view.leader_term;
        self.view.batch = self.batch.token.as_str().into();
        Prepared { batch: self.batch, view: self.view, groups: self.groups }
    }
}
