//! Asks machines for what they hold and the record does not: after it was restored from a backup, or a standby that lacked the newest
//! batches took over. What they give back is judged by `trust` as if nobody had ever seen it, and taken in by admission.

mod asking;
mod awaited;
mod outcome;
mod papers;
mod queue;
mod receiving;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use stead_model::ObjectKey;
use stead_wire::{CoordinatorHandle, Hello, PeerKey};
use tokio::task::JoinSet;

use super::{Shared, upkeep};
use crate::delivery::Held;
use asking::{Asking, AskingError};
use outcome::Outcome;
use receiving::Receiving;

pub(crate) use awaited::Awaited;
pub use outcome::NOT_GIVEN_BACK_MAX;
pub(crate) use outcome::{followed_by, told};
pub(crate) use papers::{LET_IN_AT_ONCE_MAX, let_in};
pub(crate) use queue::Queue;
pub use receiving::GIVE_BACK_LINES_MAX;
pub(crate) use receiving::Statements;

/// Machines that are asked at once: each may hold some megabytes of the coordinator's memory. The others wait, each as a key.
pub const GIVE_BACKS_AT_ONCE_MAX: usize = 16;
/// How long, in seconds, one machine may hold up the others; what it gave until then stays, and it is asked for the rest later.
const GIVE_BACK_SECONDS_MAX: u64 = 900;
/// How often it is looked whether the record has begun anew under the coordinator, and whose pause is over, in seconds.
const TICK_SECONDS: u64 = 1;
/// How long, in seconds, a machine holds its place after the record failed, so that the others do not all run into the same.
const RETRY_SECONDS: u64 = 5;

/// A machine has come: it is asked where the record may know less than it.
pub(crate) fn consider(shared: &Shared, peer: PeerKey, name: &str, hello: &Hello, held: &Held) {
    let store = shared.admission.store();
    let snapshot = store.snapshot();
    let incarnation = store.incarnation();
    let status = shared.statuses().of(&snapshot, name);
    let asked = status.is_some_and(|status| status.given_back.as_ref().is_some_and(|given| given.is_whole(&incarnation)));
    let other_record = hello.incarnation != 0 && hello.incarnation != super::incarnation_number(&incarnation);
    let not_asked = !asked && (snapshot.restored().is_some() || other_record);
    let newer_root = hello.root_version > snapshot.newest_root().map_or(0, |root| root.version);
    let newer = |(key, held): (&ObjectKey, &u64)| *held > snapshot.sequence(key).map_or(0, |sequence| sequence.sequence);
    if not_asked || newer_root || held.iter().any(newer) {
        wait(shared, [peer]);
    }
}

fn wait(shared: &Shared, peers: impl IntoIterator<Item = PeerKey>) {
    with_queue(shared, |queue| peers.into_iter().for_each(|peer| queue.push(peer)));
    shared.give_backs_there.notify_one();
}

fn with_queue<T>(shared: &Shared, act: impl FnOnce(&mut Queue) -> T) -> T {
    let mut queue = shared.give_backs.lock().unwrap_or_else(PoisonError::into_inner);
    let result = act(&mut queue);
    shared.give_back_metrics.waiting.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
    result
}

/// How asking a machine ended.
enum End {
    /// It has given back all, or it has left, or cannot be asked: nothing is done until it comes again.
    Settled,
    /// It is still there, and there may be more: it is asked again after a pause.
    Unfinished,
    /// The record failed, and nothing is wrong with the machine.
    RecordFailed,
}

/// Asks those who wait, a few at once, for ever.
pub(crate) async fn run(shared: &Arc<Shared>, wire: &CoordinatorHandle) {
    let mut at_work = JoinSet::new();
    let mut busy = BTreeSet::new();
    let mut incarnation = shared.admission.store().incarnation();
    let mut ticks = upkeep::period(Duration::from_secs(TICK_SECONDS));
    let mut seconds = 0_u64;
    loop {
        while at_work.len() < GIVE_BACKS_AT_ONCE_MAX
            && let Some(peer) = with_queue(shared, |queue| queue.next(&busy))
        {
            busy.insert(peer);
            let (shared, wire) = (Arc::clone(shared), wire.clone());
            at_work.spawn(async move { (peer, ask(&shared, &wire, peer).await) });
        }
        tokio::select! {
            biased;
            () = shared.give_backs_there.notified() => {}
            Some(done) = at_work.join_next() => match done {
                Ok((peer, end)) => {
                    busy.remove(&peer);
                    ended(shared, peer, &end, seconds);
                }
                Err(error) => {
                    tracing::error!(%error, "asking a machine for what it holds broke down");
                    busy.clear();
                }
            },
            _ = ticks.tick() => {
                seconds = seconds.saturating_add(TICK_SECONDS);
                with_queue(shared, |queue| queue.wake(seconds));
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

fn ended(shared: &Shared, peer: PeerKey, end: &End, seconds: u64) {
    match end {
        End::Settled => with_queue(shared, |queue| queue.settled(&peer)),
        End::RecordFailed => wait(shared, [peer]),
        End::Unfinished => {
            let pause_seconds = with_queue(shared, |queue| queue.failed(peer, seconds));
            tracing::info!(%peer, pause_seconds, "it is asked again after a pause");
        }
    }
}

/// Asks one machine, and notes what came of it. A machine that leaves in between is asked again when it comes back.
async fn ask(shared: &Arc<Shared>, wire: &CoordinatorHandle, peer: PeerKey) -> End {
    let name = |shared: &Shared| shared.sessions().get(&peer).map(|session| session.name.clone());
    let Some(machine) = name(shared) else { return End::Settled };
    let metrics = &shared.give_back_metrics;
    metrics.asked.inc();
    let record = shared.admission.store().incarnation();
    let mut receiving = Receiving { shared, name: &machine, record: &record, outcome: Outcome::default() };
    let limit = Duration::from_secs(GIVE_BACK_SECONDS_MAX);
    let all = tokio::time::timeout(limit, receiving.all(&Asking { wire, peer })).await;
    let error = match all.unwrap_or(Err(AskingError::Unfitting("it took too long"))) {
        Ok(()) => {
            metrics.answered.inc();
            tracing::info!(machine, "gave back what it holds");
            receiving.note(None);
            return End::Settled;
        }
        Err(error) => error,
    };
    receiving.note(Some(error.to_string()));
    match error {
        AskingError::TooOld => {
            metrics.too_old.inc();
            tracing::info!(machine, "its agent is too old to give back what it holds; it is asked when it has a newer one");
            End::Settled
        }
        AskingError::Record(error) => {
            tracing::warn!(machine, %error, "what it gave back could not be taken in; it is asked again");
            tokio::time::sleep(Duration::from_secs(RETRY_SECONDS)).await;
            End::RecordFailed
        }
        error => {
            metrics.broken.inc();
            tracing::info!(machine, %error, "it did not give back all that it holds; it is asked again");
            if name(shared).is_some() { End::Unfinished } else { End::Settled }
        }
    }
}
