//! The fleet's pulse, read off the record and the picture of the fleet.

use std::collections::BTreeMap;
use std::sync::Arc;

use stead_model::{MachineStatus, ObjectKey, Selector};
use stead_store::Snapshot;

use super::Shared;
use crate::delivery::{machine_kind, profile_kind};
use crate::pulse::{self, Binary, MachinePulse, Meant};

/// How the machines that a selector fits are doing, by name.
pub(super) fn read(shared: &Shared, selector: &Selector, wanted: &Binary) -> Vec<MachinePulse> {
    let snapshot = shared.admission.store().snapshot();
    let mut machines: Vec<(String, Vec<ObjectKey>)> = shared.with_fleet(|fleet| {
        let fits = fleet.machines().filter(|(_, machine)| selector.matches(&machine.labels));
        fits.map(|(name, machine)| {
            let profiles = fleet.profiles_for(&machine.labels).map(|profile| ObjectKey::new(profile_kind(), "", profile));
            (name.to_owned(), std::iter::once(ObjectKey::new(machine_kind(), "", name)).chain(profiles).collect())
        })
        .collect()
    });
    let mut read = shared.statuses();
    let statuses: Vec<Arc<MachineStatus>> =
        machines.iter().map(|(name, _)| read.of(&snapshot, name).unwrap_or_default()).collect();
    drop(read);
    // Thousands of machines share a few profiles.
    let mut known: BTreeMap<ObjectKey, Option<Meant>> = BTreeMap::new();
    machines
        .iter_mut()
        .zip(&statuses)
        .map(|((name, keys), status)| {
            add_held(keys, status);
            let meant: Vec<Meant> = keys
                .iter()
                .filter_map(|key| known.entry(key.clone()).or_insert_with(|| newest(&snapshot, key)).clone())
                .collect();
            pulse::plan(name, status, &meant, wanted)
        })
        .collect()
}

/// What a machine holds is meant for it until it has the word that takes it away.
fn add_held(keys: &mut Vec<ObjectKey>, status: &MachineStatus) {
    let named = status.acknowledgements.iter().filter_map(|word| word.object.strip_prefix("Profile/"));
    let held: Vec<ObjectKey> = named.map(|profile| ObjectKey::new(profile_kind(), "", profile)).collect();
    keys.extend(held);
    keys.sort();
    keys.dedup();
}

fn newest(snapshot: &Snapshot, key: &ObjectKey) -> Option<Meant> {
    let sequence = snapshot.sequence(key)?;
    Some(Meant { object: key.to_string(), sequence: sequence.sequence, revision: sequence.revision.0 })
}
