//! What may not become of a Machine, whoever signs it by an oversight: a key that was refused for good does not come back, and one that is
//! out of service does not return unnoticed.

use std::collections::BTreeMap;

use stead_model::{Digest, GroupKind, Machine, MachineSpec, Object, ObjectKey, Selector};
use stead_store::{List, Snapshot};

use crate::error::WriteError;

/// The signed annotation by which owners say that they mean it: its value is the key of the machine that is to be in service again.
pub const RECOMMISSION_ANNOTATION: &str = "stead.dev/recommission";

/// Checks what a Change makes of machines. `puts` and `deletes` are all of the Change.
pub(crate) fn check<'a>(
    fleet: &Digest,
    snapshot: &Snapshot,
    puts: impl Iterator<Item = &'a Object>,
    deletes: impl Iterator<Item = &'a ObjectKey>,
) -> Result<(), WriteError> {
    let kind = GroupKind::new(stead_model::GROUP, "Machine");
    let spec_of = |key: &ObjectKey| -> Option<MachineSpec> {
        snapshot.get(key)?.to_object().ok()?.to_typed::<Machine>().ok().map(|machine| machine.spec)
    };
    for key in deletes.filter(|key| key.kind == kind) {
        if spec_of(key).is_some_and(|spec| spec.decommissioned.is_some()) {
            return Err(refused(key, "it is decommissioned, and what is on record of it keeps its keys refused; it stays"));
        }
    }
    let puts: Vec<&Object> = puts.filter(|object| object.group_kind() == kind).collect();
    if puts.is_empty() {
        return Ok(());
    }
    let barred = barred(snapshot, &kind);
    for object in puts {
        let key = object.key();
        stead_trust::check_rotation(fleet, object).map_err(|error| refused(&key, &error.to_string()))?;
        let Ok(machine) = object.to_typed::<Machine>() else { continue };
        let spec = &machine.spec;
        if let Some(bar) = barred.get(&spec.key).filter(|bar| bar.former || bar.machine != key.name) {
            return Err(refused(&key, &bar.words()));
        }
        let Some(present) = spec_of(&key) else { continue };
        let meant = object.metadata.annotations.get(RECOMMISSION_ANNOTATION).is_some_and(|key| *key == spec.key);
        if present.decommissioned.is_some() && spec.decommissioned.is_none() && !meant {
            let words = "it is decommissioned; `stead machine recommission` puts it into service again, and nothing else does";
            return Err(refused(&key, words));
        }
        if let Some(lost) = present.former_keys.iter().find(|former| !spec.former_keys.contains(former)) {
            return Err(refused(
                &key,
                &format!("spec.formerKeys lacks {lost}, which stays refused; take over what is on record"),
            ));
        }
    }
    Ok(())
}

/// Why a key is refused.
struct Bar {
    machine: String,
    former: bool,
}

impl Bar {
    fn words(&self) -> String {
        let Self { machine, former } = self;
        if *former {
            format!("its key is one that the machine {machine} had before, and is refused for ever; it needs another key")
        } else {
            format!("its key is that of the machine {machine}, which is decommissioned; it is refused for ever")
        }
    }
}

/// Every key that is refused for good.
fn barred(snapshot: &Snapshot, kind: &GroupKind) -> BTreeMap<String, Bar> {
    let everything = Selector::default();
    let list = List { kind: kind.clone(), namespace: None, selector: &everything, fields: None, after: None, limit: 0 };
    let mut barred = BTreeMap::new();
    for stored in snapshot.list(&list).objects {
        let Some(machine) = stored.to_object().ok().and_then(|object| object.to_typed::<Machine>().ok()) else { continue };
        let MachineSpec { key, former_keys, decommissioned, .. } = machine.spec;
        let name = machine.metadata.name;
        barred.extend(former_keys.into_iter().map(|former| (former, Bar { machine: name.clone(), former: true })));
        if decommissioned.is_some() {
            barred.insert(key, Bar { machine: name, former: false });
        }
    }
    barred
}

fn refused(key: &ObjectKey, reason: &str) -> WriteError {
    WriteError::Invalid { key: key.clone(), reason: reason.to_owned() }
}
