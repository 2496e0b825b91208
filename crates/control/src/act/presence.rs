//! Being there: this coordinator's lease, and what those of the others say.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use stead_model::{GroupKind, Lease, Object, Selector};
use stead_store::{List, Op, Snapshot, Transaction};
use stead_wire::CoordinatorHandle;
use tokio::sync::watch;

use super::Shared;
use super::lead::micro_time;
use crate::presence::{self, PRESENCE_PERIOD_SECONDS, PRESENCE_PREFIX, Presence, SYSTEM_NAMESPACE, Seen};

/// Says that this coordinator is there, and keeps track of the others. One that is alone with its record says so once.
pub(super) async fn run(shared: &Arc<Shared>, wire: &CoordinatorHandle, mut own: watch::Receiver<Presence>, alone: bool) {
    let mut ticks = super::upkeep::period(Duration::from_secs(PRESENCE_PERIOD_SECONDS));
    let (mut said, mut changes) = (false, true);
    loop {
        tokio::select! {
            biased;
            changed = own.changed(), if changes => changes = changed.is_ok(),
            _ = ticks.tick(), if !(alone && said) => {}
            else => return std::future::pending().await,
        }
        let presence = own.borrow_and_update().clone();
        said = say(shared, &presence).await;
        let now = shared.now();
        let seen = seen(&shared.admission.store().snapshot());
        wire.set_coordinators(presence::addresses(&presence.address, &seen, now));
        *shared.coordinators.write().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

async fn say(shared: &Shared, own: &Presence) -> bool {
    let now = shared.admission.environment().now();
    let Ok(object) = Object::from_typed(&presence::lease(own, &micro_time(now))) else { return false };
    let written = shared.admission.store().commit(Transaction::unsigned(now, vec![Op::put(object)])).await;
    if let Err(error) = &written {
        tracing::warn!(%error, "that this coordinator is here could not be written; it is tried again");
    }
    written.is_ok()
}

/// The coordinators, as their leases have them.
pub(super) fn seen(snapshot: &Snapshot) -> Vec<Seen> {
    let everything = Selector::default();
    let kind = GroupKind::new("coordination.k8s.io", "Lease");
    let list = List { kind, namespace: Some(SYSTEM_NAMESPACE), selector: &everything, fields: None, after: None, limit: 0 };
    let leases = snapshot.list(&list).objects;
    let coordinators = leases.iter().filter(|stored| stored.name().starts_with(PRESENCE_PREFIX));
    coordinators.filter_map(|stored| Seen::read(&stored.to_object().ok()?.to_typed::<Lease>().ok()?)).collect()
}
