//! Passes the owners' newest freshness statement on to every machine that is connected. It goes as a question that a machine of an
//! earlier version answers with a plan that fails, and that harms nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use stead_trust::{FRESHNESS_LATER, SignedFreshness};
use stead_wire::{CoordinatorHandle, PeerKey};
use tokio::task::JoinSet;

use super::{Shared, upkeep};

/// How often it is looked whom to tell, in seconds: a machine counts in days.
const PERIOD_SECONDS: u64 = 2;
/// Machines that are told at once: one message and one answer each, so that ten thousand take a minute and hold up nothing.
const AT_ONCE_MAX: usize = 64;
/// How long a machine may take to answer, in seconds.
const ANSWER_SECONDS_MAX: u64 = 20;

/// Tells machines, for ever.
pub(super) async fn run(shared: &Arc<Shared>, wire: &CoordinatorHandle) {
    let mut ticks = upkeep::period(Duration::from_secs(PERIOD_SECONDS));
    // Whom this statement was told, by session: one that came anew is told anew.
    let mut told: BTreeMap<PeerKey, (u64, Timestamp)> = BTreeMap::new();
    loop {
        ticks.tick().await;
        let Some((signed, fresh)) = shared.admission.freshness() else { continue };
        let sessions = shared.sessions().opened();
        told.retain(|peer, _| sessions.contains_key(peer));
        let due: Vec<(PeerKey, u64)> =
            sessions.into_iter().filter(|(peer, session)| told.get(peer) != Some(&(*session, fresh.time))).collect();
        told.extend(due.iter().map(|(peer, session)| (*peer, (*session, fresh.time))));
        let again = tell(wire, &signed, due.into_iter().map(|(peer, _)| peer)).await;
        told.retain(|peer, _| !again.contains(peer));
    }
}

/// Tells some machines, and gives those that have to be told again.
async fn tell(wire: &CoordinatorHandle, signed: &SignedFreshness, peers: impl Iterator<Item = PeerKey>) -> BTreeSet<PeerKey> {
    let mut again = BTreeSet::new();
    let Ok(body) = signed.to_bytes().map(bytes::Bytes::from) else { return again };
    let limit = Duration::from_secs(ANSWER_SECONDS_MAX);
    let mut at_work = JoinSet::new();
    for peer in peers {
        if at_work.len() >= AT_ONCE_MAX {
            again.extend(at_work.join_next().await.and_then(Result::ok).flatten());
        }
        let (wire, body) = (wire.clone(), body.clone());
        at_work.spawn(async move {
            match wire.request_plan(peer, body, limit).await {
                Ok(answer) => (answer == FRESHNESS_LATER).then_some(peer),
                Err(error) => {
                    tracing::debug!(%peer, %error, "a machine was not told that its owners are there; it is, while it is connected");
                    Some(peer)
                }
            }
        });
    }
    while let Some(done) = at_work.join_next().await {
        again.extend(done.ok().flatten());
    }
    again
}
