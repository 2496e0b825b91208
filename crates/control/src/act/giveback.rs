//! Asks machines for what they hold and the record does not: after it was restored from a backup, or a standby that lacked the newest
//! batches took over. What they give back is judged by `trust` as if nobody had ever seen it, and taken in by admission.

mod asking;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use stead_admission::RecoveryError;
use stead_model::{Digest, GivenBack, MachineStatus, NotGivenBack, ObjectKey};
use stead_store::Snapshot;
use stead_trust::{Bundle, Credential, Current, HeldLine, Op, Recovered, SignedRoot, recover};
use stead_wire::{CoordinatorHandle, Hello, PeerKey};
use tokio::task::JoinSet;

use super::{Shared, upkeep};
use crate::delivery::{Held, machine_kind};
use asking::{Asking, AskingError};

/// Machines that are asked at once: each may hold some megabytes of the coordinator's memory. The others wait, each as a key.
pub const GIVE_BACKS_AT_ONCE_MAX: usize = 16;
/// How long, in seconds, one machine may hold up the others; what it gave until then stays, and it is asked for the rest when it comes back.
const GIVE_BACK_SECONDS_MAX: u64 = 900;
/// Names that one machine may hold: above what an honest one ever does.
pub const GIVE_BACK_LINES_MAX: usize = 65_536;
/// What is listed of one machine at most.
pub const NOT_GIVEN_BACK_MAX: usize = 32;
/// How often it is looked whether the record has begun anew under the coordinator, in seconds.
const INCARNATION_PERIOD_SECONDS: u64 = 1;
/// How long, in seconds, a machine waits to be asked again after the record failed.
const RETRY_SECONDS: u64 = 5;
/// Statements of the record that are remembered, so that ten thousand machines with the same profile cost one look.
const STATEMENTS_KEPT_MAX: usize = 65_536;
/// The longest message that is kept, in characters.
const MESSAGE_CHARACTERS_MAX: usize = 512;

/// The statements that the record's newest sequences come from, as far as somebody asked.
#[derive(Debug, Default)]
pub(crate) struct Statements(BTreeMap<ObjectKey, (u64, Digest)>);

/// Who waits to be asked.
#[derive(Debug, Default)]
pub(crate) struct GiveBacks {
    waiting: BTreeSet<PeerKey>,
}

/// A machine has come: it is asked where the record may know less than it.
pub(crate) fn consider(shared: &Shared, peer: PeerKey, name: &str, hello: &Hello, held: &Held) {
    let store = shared.admission.store();
    let snapshot = store.snapshot();
    let incarnation = store.incarnation();
    let asked = shared.statuses().of(&snapshot, name).and_then(|status| Some(status.given_back.as_ref()?.record.clone()));
    let other_record = hello.incarnation != 0 && hello.incarnation != super::incarnation_number(&incarnation);
    let not_asked = asked.as_deref() != Some(&*incarnation) && (snapshot.restored().is_some() || other_record);
    let newer_root = hello.root_version > snapshot.newest_root().map_or(0, |root| root.version);
    let newer = |(key, held): (&ObjectKey, &u64)| *held > snapshot.sequence(key).map_or(0, |sequence| sequence.sequence);
    if not_asked || newer_root || held.iter().any(newer) {
        wait(shared, [peer]);
    }
}

fn wait(shared: &Shared, peers: impl IntoIterator<Item = PeerKey>) {
    let mut waiting = shared.give_backs.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.waiting.extend(peers);
    shared.give_back_metrics.waiting.set(i64::try_from(waiting.waiting.len()).unwrap_or(i64::MAX));
    drop(waiting);
    shared.give_backs_there.notify_one();
}

fn next(shared: &Shared, busy: &BTreeSet<PeerKey>) -> Option<PeerKey> {
    let mut waiting = shared.give_backs.lock().unwrap_or_else(PoisonError::into_inner);
    let peer = waiting.waiting.iter().find(|peer| !busy.contains(*peer)).copied()?;
    waiting.waiting.remove(&peer);
    shared.give_back_metrics.waiting.set(i64::try_from(waiting.waiting.len()).unwrap_or(i64::MAX));
    Some(peer)
}

/// Asks those who wait, a few at once, for ever.
pub(crate) async fn run(shared: &Arc<Shared>, wire: &CoordinatorHandle) {
    let mut at_work = JoinSet::new();
    let mut busy = BTreeSet::new();
    let mut incarnation = shared.admission.store().incarnation();
    let mut ticks = upkeep::period(Duration::from_secs(INCARNATION_PERIOD_SECONDS));
    loop {
        while at_work.len() < GIVE_BACKS_AT_ONCE_MAX
            && let Some(peer) = next(shared, &busy)
        {
            busy.insert(peer);
            let (shared, wire) = (Arc::clone(shared), wire.clone());
            at_work.spawn(async move {
                ask(&shared, &wire, peer).await;
                peer
            });
        }
        tokio::select! {
            biased;
            () = shared.give_backs_there.notified() => {}
            Some(done) = at_work.join_next() => match done {
                Ok(peer) => { busy.remove(&peer); }
                Err(error) => {
                    tracing::error!(%error, "asking a machine for what it holds broke down");
                    busy.clear();
                }
            },
            _ = ticks.tick() => {
                let now = shared.admission.store().incarnation();
                if now != incarnation {
                    incarnation = now;
                    let peers = shared.sessions().peers();
                    wait(shared, peers);
                }
            }
        }
    }
}

/// Asks one machine, and notes what came of it. A machine that leaves in between is asked again when it comes back.
async fn ask(shared: &Arc<Shared>, wire: &CoordinatorHandle, peer: PeerKey) {
    let Some(name) = shared.sessions().get(&peer).map(|session| session.name.clone()) else { return };
    let metrics = &shared.give_back_metrics;
    metrics.asked.inc();
    let record = shared.admission.store().incarnation();
    let mut receiving = Receiving { shared, outcome: Outcome::default() };
    let limit = Duration::from_secs(GIVE_BACK_SECONDS_MAX);
    let all = tokio::time::timeout(limit, receiving.all(&Asking { wire, peer })).await;
    match all.unwrap_or(Err(AskingError::Unfitting("it took too long"))) {
        Ok(()) => {
            metrics.answered.inc();
            let outcome = receiving.outcome;
            tracing::info!(machine = name, statements = outcome.statements, objects = outcome.objects, "gave back what it holds");
            let given = outcome.into_status(&record, shared.now());
            super::sessions::tell(shared, |news| news.given_back(&name, given));
        }
        Err(AskingError::TooOld) => {
            metrics.too_old.inc();
            tracing::info!(
                machine = name,
                "its agent is too old to give back what it holds; it is asked when it has a newer one"
            );
        }
        Err(AskingError::Record(error)) => {
            tracing::warn!(machine = name, %error, "what it gave back could not be taken in; it is asked again");
            tokio::time::sleep(Duration::from_secs(RETRY_SECONDS)).await;
            wait(shared, [peer]);
        }
        Err(error) => {
            metrics.broken.inc();
            tracing::info!(machine = name, %error, "it did not give back all that it holds; it is asked again when it comes back");
        }
    }
}

/// What one machine gave back.
#[derive(Debug, Default)]
struct Outcome {
    statements: u64,
    objects: u64,
    listed: Vec<NotGivenBack>,
    omitted: u64,
}

impl Outcome {
    fn list(&mut self, object: Option<&ObjectKey>, change: &str, reason: &str, message: &str) {
        if self.listed.len() >= NOT_GIVEN_BACK_MAX {
            self.omitted = self.omitted.saturating_add(1);
            return;
        }
        self.listed.push(NotGivenBack {
            object: object.map(ToString::to_string).unwrap_or_default(),
            change: change.to_ascii_lowercase(),
            reason: reason.to_owned(),
            message: message.chars().take(MESSAGE_CHARACTERS_MAX).collect(),
        });
    }

    fn into_status(self, record: &str, now: jiff::Timestamp) -> GivenBack {
        let Self { statements, objects, listed, omitted } = self;
        GivenBack { record: record.to_owned(), time: now, statements, objects, not_taken: listed, omitted }
    }
}

/// What comes from one machine on its way into the record.
struct Receiving<'a> {
    shared: &'a Arc<Shared>,
    outcome: Outcome,
}

impl Receiving<'_> {
    async fn all(&mut self, asking: &Asking<'_>) -> Result<(), AskingError> {
        let (mut after, mut lines) = (None, 0_usize);
        loop {
            let page = asking.held(after.as_ref()).await?;
            if after.is_none() {
                self.roots(asking, page.root_version).await?;
            }
            lines = lines.saturating_add(page.lines.len());
            // Only forwards: a machine that names the same again and again gets no further.
            let last = page.lines.last().map(|line| line.key.clone()).filter(|last| Some(last) > after.as_ref());
            let wanted = self.wanted(page.lines).await?;
            self.bundles(asking, wanted).await?;
            let Some(last) = last.filter(|_| page.more && lines < GIVE_BACK_LINES_MAX) else { return Ok(()) };
            after = Some(last);
        }
    }

    async fn roots(&mut self, asking: &Asking<'_>, there: u64) -> Result<(), AskingError> {
        loop {
            let here = self.shared.admission.chain().newest().version;
            if there <= here {
                return Ok(());
            }
            let documents = asking.roots(here).await?;
            let roots: Vec<SignedRoot> = documents.iter().filter_map(|bytes| serde_json::from_slice(bytes).ok()).collect();
            match self.shared.admission.recover_roots(&roots).await {
                // What a machine claims to hold and does not give is not waited for.
                Ok(0) => return Ok(()),
                Ok(taken) => drop(self.shared.give_back_metrics.roots.inc_by(taken)),
                Err(error) => return self.refused(&error, ""),
            }
        }
    }

    /// What the record lacks, or has otherwise: told by numbers and digests, before anything is asked for or verified.
    async fn wanted(&self, lines: Vec<HeldLine>) -> Result<Vec<HeldLine>, AskingError> {
        let snapshot = self.shared.admission.store().snapshot();
        let sequence = |key: &ObjectKey| snapshot.sequence(key).map_or(0, |sequence| sequence.sequence);
        let (mut above, same): (Vec<_>, Vec<_>) = lines
            .into_iter()
            .filter(|line| line.sequence >= sequence(&line.key))
            .partition(|line| line.sequence > sequence(&line.key));
        let statements = self.statements(&snapshot, &same).await?;
        let differs = |line: &HeldLine| statements.get(&line.key).is_some_and(|digest| *digest.as_bytes() != line.statement);
        above.extend(same.into_iter().filter(differs));
        // Entries of one statement go together into the record.
        above.sort_by_key(|line| line.statement);
        Ok(above)
    }

    /// The statements of the record's newest sequences of these names.
    async fn statements(&self, snapshot: &Snapshot, lines: &[HeldLine]) -> Result<BTreeMap<ObjectKey, Digest>, AskingError> {
        let (mut found, mut missing) = (BTreeMap::new(), Vec::new());
        {
            let kept = self.shared.statements.lock().unwrap_or_else(PoisonError::into_inner);
            for line in lines {
                match kept.0.get(&line.key).filter(|(sequence, _)| *sequence == line.sequence) {
                    Some((_, digest)) => drop(found.insert(line.key.clone(), *digest)),
                    None if snapshot.sequence(&line.key).is_some() => missing.push(line.key.clone()),
                    None => {}
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let rows = self.shared.admission.store().newest_entries(missing).await;
        let rows = rows.map_err(|error| AskingError::Record(error.to_string()))?;
        let mut kept = self.shared.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0.len() > STATEMENTS_KEPT_MAX {
            kept.0.clear();
        }
        for (change, entry) in rows {
            let digest = Digest::of(&change.statement);
            kept.0.insert(entry.key.clone(), (entry.sequence, digest));
            found.insert(entry.key, digest);
        }
        Ok(found)
    }

    async fn bundles(&mut self, asking: &Asking<'_>, wanted: Vec<HeldLine>) -> Result<(), AskingError> {
        let mut rest: Vec<ObjectKey> = wanted.into_iter().map(|line| line.key).collect();
        while !rest.is_empty() {
            let asked: Vec<ObjectKey> = rest.iter().take(stead_trust::GIVE_BACK_NAMES_MAX).cloned().collect();
            let documents = asking.bundles(asked).await?;
            if documents.is_empty() {
                return Ok(());
            }
            rest.drain(..documents.len().min(rest.len()));
            self.take_in(documents).await?;
        }
        Ok(())
    }

    async fn take_in(&mut self, documents: Vec<Vec<u8>>) -> Result<(), AskingError> {
        let mut bundles: Vec<Bundle> = Vec::new();
        for bytes in documents.iter().filter(|bytes| !bytes.is_empty()) {
            match Bundle::from_bytes(bytes) {
                Ok(bundle) => join(&mut bundles, bundle),
                Err(error) => {
                    self.shared.give_back_metrics.refused("Format");
                    self.outcome.list(None, "", "Format", &error.to_string());
                }
            }
        }
        for bundle in bundles {
            self.outcome.statements = self.outcome.statements.saturating_add(1);
            self.shared.give_back_metrics.given.inc();
            self.take_in_one(bundle).await?;
        }
        Ok(())
    }

    /// One entry that does not hold must not keep out those beside it.
    async fn take_in_one(&mut self, bundle: Bundle) -> Result<(), AskingError> {
        let Err(error) = self.recover(&bundle).await else { return Ok(()) };
        let change = stead_trust::ChangeStatement::from_document(&bundle.statement).map(|statement| statement.id);
        let change = change.unwrap_or_default();
        if bundle.entries.len() <= 1 || matches!(error, RecoveryError::Record(_)) {
            return self.refused(&error, &change);
        }
        for entry in &bundle.entries {
            let alone = Bundle { entries: vec![entry.clone()], ..bundle.clone() };
            if let Err(error) = self.recover(&alone).await {
                self.refused(&error, &change)?;
            }
        }
        Ok(())
    }

    async fn recover(&mut self, bundle: &Bundle) -> Result<(), RecoveryError> {
        let recovery = self.shared.admission.recover(bundle).await?;
        let metrics = &self.shared.give_back_metrics;
        let taken = recovery.taken.len() as u64;
        self.outcome.objects = self.outcome.objects.saturating_add(taken);
        metrics.imported.inc_by(taken);
        for clash in &recovery.conflicts {
            metrics.conflicts.inc();
            let message = format!(
                "sequence {} was signed anew in change {}, and this machine holds change {} with the same number, so that it will not take \
                 the new one; sign it again",
                clash.sequence,
                clash.record_change.to_ascii_lowercase(),
                recovery.change.to_ascii_lowercase()
            );
            self.outcome.list(Some(&clash.key), &recovery.change, "Conflict", &message);
        }
        for clash in &recovery.overtaken {
            metrics.conflicts.inc();
            let message = format!(
                "sequence {} was signed anew in change {}, and sequence {} came back over it; sign it again if it is still wanted",
                clash.record_sequence,
                clash.record_change.to_ascii_lowercase(),
                clash.sequence
            );
            self.outcome.list(Some(&clash.key), &recovery.change, "Overtaken", &message);
        }
        Ok(())
    }

    fn refused(&mut self, error: &RecoveryError, change: &str) -> Result<(), AskingError> {
        if let RecoveryError::Record(error) = error {
            return Err(AskingError::Record(error.to_string()));
        }
        self.shared.give_back_metrics.refused(error.reason());
        self.outcome.list(error.object(), change, error.reason(), &error.to_string());
        Ok(())
    }
}

/// Puts entries of one statement together.
fn join(bundles: &mut Vec<Bundle>, bundle: Bundle) {
    let same = |other: &&mut Bundle| {
        other.statement == bundle.statement && other.signatures == bundle.signatures && other.receipt == bundle.receipt
    };
    match bundles.iter_mut().find(same) {
        Some(other) => other.entries.extend(bundle.entries),
        None => bundles.push(bundle),
    }
}

/// Lets a machine in that the record does not know, by its own papers: its Machine object, which its owners signed and a coordinator once
/// admitted. Everything is verified before any of it is taken in, and nothing but that object is.
pub(crate) async fn let_in(shared: &Shared, peer: PeerKey, papers: &[u8]) -> Result<(), String> {
    let counted = |result: Result<(), String>| {
        let metrics = &shared.give_back_metrics;
        if result.is_ok() {
            metrics.strangers_let_in.inc()
        } else {
            metrics.strangers_refused.inc()
        };
        result
    };
    let _alone = shared.enrolling.lock().await;
    if shared.with_fleet(|fleet| fleet.name_of_key(&peer.to_string()).is_some()) {
        // It asked twice at once.
        return Ok(());
    }
    counted(believe(shared, peer, papers).await)
}

async fn believe(shared: &Shared, peer: PeerKey, papers: &[u8]) -> Result<(), String> {
    let credential = Credential::from_bytes(papers).map_err(|error| error.to_string())?;
    let bundle = credential.read_bundle().map_err(|error| error.to_string())?;
    let roots: Vec<SignedRoot> = credential.roots.iter().filter_map(|bytes| serde_json::from_slice(bytes).ok()).collect();
    let mut chain = (*shared.admission.chain()).clone();
    for root in &roots {
        chain = chain.extend(root).map_err(|error| error.to_string())?;
    }
    let recovered = recover(&chain, &bundle, &|_| Current::default()).map_err(|error| error.to_string())?;
    let machine = own_machine(&recovered, peer).ok_or("it shows no Machine object with its own key")?;
    shared.admission.recover_roots(&roots).await.map_err(|error| error.to_string())?;
    let recovery = shared.admission.recover(&bundle).await.map_err(|error| error.to_string())?;
    if recovery.taken.is_empty() {
        return Err(format!("the record has something newer of the machine {}", machine.metadata.name));
    }
    shared.give_back_metrics.imported.inc_by(recovery.taken.len() as u64);
    tracing::info!(machine = machine.metadata.name, %peer, change = recovery.change, "back in the record by its own papers");
    // The record's watcher takes the machine in as well; the session must not wait for it.
    shared.change_fleet(|fleet| fleet.put_machine(&machine));
    Ok(())
}

fn own_machine(recovered: &Recovered, peer: PeerKey) -> Option<stead_model::Machine> {
    let [entry] = recovered.entries.as_slice() else { return None };
    let object = entry.object.as_ref().filter(|_| entry.leaf.op == Op::Put && entry.key.kind == machine_kind())?;
    let machine: stead_model::Machine = object.to_typed().ok()?;
    (machine.spec.key == peer.to_string()).then_some(machine)
}

/// What is told of a machine when it has given back what it holds.
pub(crate) fn told(given: &GivenBack, before: Option<&MachineStatus>) -> Vec<(String, String)> {
    let known = before.and_then(|status| status.given_back.as_ref()).map_or(&[][..], |given| given.not_taken.as_slice());
    let new = given.not_taken.iter().filter(|one| !known.contains(one));
    let line = |one: &NotGivenBack| {
        let message = if one.object.is_empty() { one.message.clone() } else { format!("{}: {}", one.object, one.message) };
        (format!("GiveBack{}", one.reason), message)
    };
    new.map(line).collect()
}
