//! Leading, and following: the lease in the record, and what depends on who holds it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use stead_model::{GroupKind, Lease, Object, ObjectKey, Revision};
use stead_store::{CommitError, Expect, Op, Transaction};
use tokio::time::Instant;

use super::Shared;
use crate::election::{self, Held, LEADER_LEASE, Standing, Step};
use crate::presence::SYSTEM_NAMESPACE;

/// How often it is looked at the lease, in seconds.
const LOOK_SECONDS: u64 = 1;

/// What this coordinator knows of the lease, by its own clock.
#[derive(Default)]
struct Watched {
    /// The revision at which it moved last, and when that was seen.
    moved: Option<(Revision, Instant)>,
    /// When the record last took a renewal of this coordinator's.
    renewed: Option<Instant>,
    /// Since when it leads, as the lease has it.
    acquired: String,
}

/// The key of the lease.
fn key() -> ObjectKey {
    ObjectKey::new(GroupKind::new("coordination.k8s.io", "Lease"), SYSTEM_NAMESPACE, LEADER_LEASE)
}

/// A moment as Kubernetes writes it in a Lease: to the microsecond.
pub(super) fn micro_time(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Keeps the lease, or waits for it. A coordinator that is alone with its record takes it once.
pub(super) async fn run(shared: &Arc<Shared>, alone: bool) {
    let mut ticks = super::upkeep::period(Duration::from_secs(LOOK_SECONDS));
    let mut watched = Watched::default();
    loop {
        ticks.tick().await;
        look(shared, &mut watched).await;
        if alone && shared.term().is_some() {
            return std::future::pending().await;
        }
    }
}

async fn look(shared: &Arc<Shared>, watched: &mut Watched) {
    let snapshot = shared.admission.store().snapshot();
    let stored = snapshot.get(&key());
    let revision = stored.as_ref().map_or(Revision::default(), |stored| stored.revision());
    if watched.moved.is_none_or(|(moved, _)| moved != revision) {
        watched.moved = Some((revision, Instant::now()));
    }
    if shared.term().is_some_and(|term| term != snapshot.leader_term()) {
        step_down(shared, "another coordinator leads");
    }
    // A lease that cannot be read is as good as one that was given up.
    let lease = stored.as_ref().map(|stored| stored.to_object().ok().and_then(|object| object.to_typed::<Lease>().ok()));
    let holder = lease.map(|lease| lease.and_then(|lease| lease.spec.holder_identity).unwrap_or_default());
    let still_for = watched.moved.map_or(Duration::ZERO, |(_, seen)| seen.elapsed());
    let held = holder.as_deref().map(|holder| Held { holder, still_for });
    let standing = match (shared.term(), watched.renewed) {
        (Some(_), Some(renewed)) => Standing::Leading { renewed_for: renewed.elapsed() },
        _ => Standing::Following,
    };
    match election::plan(&shared.me, standing, held) {
        Step::Wait => {}
        Step::StepDown => step_down(shared, "the lease could not be renewed"),
        Step::Take => take(shared, watched, snapshot.leader_term().saturating_add(1), stored.is_some().then_some(revision)).await,
        Step::Renew => renew(shared, watched, snapshot.leader_term(), revision).await,
    }
}

async fn take(shared: &Arc<Shared>, watched: &mut Watched, term: u64, present: Option<Revision>) {
    let now = shared.admission.environment().now();
    watched.acquired = micro_time(now);
    let expect = present.map_or(Expect::Absent, Expect::Revision);
    let Some(op) = op(&shared.me, term, &watched.acquired, now, expect) else { return };
    let transaction = Transaction { lead: Some(term), ..Transaction::unsigned(now, vec![op]) };
    let begun = Instant::now();
    match shared.admission.store().commit(transaction).await {
        Ok(_) => {
            watched.renewed = Some(begun);
            tracing::info!(term, "this coordinator leads");
            shared.leads.send_replace(Some(term));
        }
        // Somebody else was quicker, or the record is away: it is looked at again.
        Err(error) => tracing::debug!(%error, term, "the lead was not taken"),
    }
}

async fn renew(shared: &Arc<Shared>, watched: &mut Watched, term: u64, revision: Revision) {
    let now = shared.admission.environment().now();
    let Some(op) = op(&shared.me, term, &watched.acquired, now, Expect::Revision(revision)) else { return };
    let transaction = Transaction { fence: Some(term), ..Transaction::unsigned(now, vec![op]) };
    let begun = Instant::now();
    match shared.admission.store().commit(transaction).await {
        Ok(_) => watched.renewed = Some(begun),
        Err(CommitError::Deposed { current, .. }) => step_down(shared, &format!("term {current} has begun")),
        Err(error) => tracing::warn!(%error, term, "the lead could not be renewed; it is tried again"),
    }
}

fn op(me: &str, term: u64, acquired: &str, now: Timestamp, expect: Expect) -> Option<Op> {
    let object = Object::from_typed(&election::lease(me, term, acquired, &micro_time(now))).ok()?;
    Some(Op::Put { object: Box::new(object), expect })
}

fn step_down(shared: &Shared, reason: &str) {
    if shared.leads.send_replace(None).is_some() {
        tracing::warn!(reason, "this coordinator leads no more");
    }
}

/// Gives the lead up, so that another coordinator need not wait for the lease to run out.
pub(super) async fn resign(shared: &Shared) {
    let Some(term) = shared.leads.send_replace(None) else { return };
    let now = shared.admission.environment().now();
    let Some(op) = op("", term, "", now, Expect::Exists) else { return };
    let transaction = Transaction { fence: Some(term), ..Transaction::unsigned(now, vec![op]) };
    if let Err(error) = shared.admission.store().commit(transaction).await {
        tracing::info!(%error, "the lead could not be given up; the lease runs out by itself");
    }
}
