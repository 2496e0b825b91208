//! Whether a fleet has come to rest as its record says, and whether anything that was acknowledged is missing.

use std::collections::BTreeMap;

use stead_agent::{Claim, claims};
use stead_model::{GROUP, GroupKind, Machine, ObjectKey, Profile};
use stead_store::{ChangeReference, Snapshot, Store};
use stead_trust::MachineMemory;
use stead_unit::UnitId;

use crate::ledger::Ledger;
use crate::machine::MachineParty;

fn kind(name: &str) -> GroupKind {
    GroupKind::new(GROUP, name)
}

/// What keeps a fleet from being as its record says; none where it is.
pub(crate) fn unconverged(snapshot: &Snapshot, machines: &[MachineParty], ledger: &Ledger) -> Vec<String> {
    machines.iter().filter_map(|machine| Some(format!("{}: {}", machine.name, lacks(snapshot, machine, ledger).err()?))).collect()
}

fn lacks(snapshot: &Snapshot, machine: &MachineParty, ledger: &Ledger) -> Result<(), String> {
    if !machine.is_running() {
        return Err("its agent does not run".to_owned());
    }
    let memory = machine.disk.memory().ok_or("it has not joined")?;
    let own = ObjectKey::new(kind("Machine"), "", &machine.name);
    let object = snapshot.get(&own).ok_or("the record does not know it")?.to_object().map_err(|error| error.to_string())?;
    let typed: Machine = object.to_typed().map_err(|error| error.to_string())?;
    let mut wanted = vec![own];
    for (key, sequence) in snapshot.sequences(&kind("Profile")) {
        let profile = snapshot.get(&key).and_then(|stored| stored.to_object().ok()?.to_typed::<Profile>().ok());
        let means = profile.is_some_and(|profile| profile.spec.selector.matches(&typed.metadata.labels));
        if means || (memory.held(&key).is_some() && sequence.sequence > 0) {
            wanted.push(key);
        }
    }
    for key in wanted {
        let there = snapshot.sequence(&key).map_or(0, |sequence| sequence.sequence);
        let here = memory.held(&key).map_or(0, |held| held.sequence);
        // A record whose disk lied may know less than its machines.
        if here < there || (here > there && !ledger.record_lost()) {
            return Err(format!("it holds {key} at {here}, and the record has {there}"));
        }
    }
    carried_out(&memory, machine)?;
    acknowledged(&memory, &typed)?;
    // What was taken may still be there: a disk that is full does not let it go, and it is sent once more after a restart.
    let taken = typed.status.as_ref().and_then(|status| status.events_taken).unwrap_or(0);
    let last = machine.disk.last_event_waiting().unwrap_or(0);
    if last > taken { Err(format!("its event {last} waits, and the record has taken {taken}")) } else { Ok(()) }
}

fn selected(memory: &MachineMemory) -> impl Iterator<Item = (&ObjectKey, u64, Profile)> {
    memory.entries().filter(|(key, _)| key.kind.kind() == "Profile").filter_map(|(key, held)| {
        let profile: Profile = held.object.as_ref()?.to_typed().ok()?;
        memory.is_selected(&profile.spec.selector, held.fact_labels).then_some((key, held.sequence, profile))
    })
}

/// Whether what it holds is what it has done, and nothing else is there.
fn carried_out(memory: &MachineMemory, machine: &MachineParty) -> Result<(), String> {
    let mut wished: BTreeMap<UnitId, Claim> = BTreeMap::new();
    for (key, sequence, profile) in selected(memory) {
        let claims = claims(&key.name, sequence, &profile.spec).map_err(|error| error.to_string())?;
        wished.extend(claims.claims.into_iter().map(|claimed| (claimed.claim.id(), claimed.claim)));
    }
    let there = machine.host.there();
    if there == wished {
        return Ok(());
    }
    let ids = |things: &BTreeMap<UnitId, Claim>| things.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(format!("it has made [{}], and its memory wishes for [{}]", ids(&there), ids(&wished)))
}

/// Whether the record has its word that it did.
fn acknowledged(memory: &MachineMemory, machine: &Machine) -> Result<(), String> {
    let words = machine.status.as_ref().map(|status| &status.acknowledgements[..]).unwrap_or_default();
    for (key, sequence, _) in selected(memory) {
        let word = words.iter().find(|word| word.object == key.to_string());
        if !word.is_some_and(|word| word.sequence == sequence && word.outcome == "Applied") {
            return Err(format!("the record has no word that it applied {key} at {sequence}"));
        }
    }
    Ok(())
}

/// What was acknowledged and is not in the record.
pub(crate) async fn missing(store: &Store, ledger: &Ledger) -> Vec<String> {
    let mut missing = Vec::new();
    for change in ledger.to_be_there() {
        let found = store.change(ChangeReference::Id(change.id.clone())).await;
        if !matches!(found, Ok(Some(_))) {
            missing.push(format!("change {} was acknowledged, and is not in the record", change.id));
            continue;
        }
        for (key, sequence) in &change.sequences {
            let there = store.snapshot().sequence(key).map_or(0, |sequence| sequence.sequence);
            if there < *sequence {
                missing.push(format!("{key} at {sequence} was acknowledged, and the record is at {there}"));
            }
        }
    }
    missing
}
