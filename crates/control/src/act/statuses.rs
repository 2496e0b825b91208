//! The statuses of machines as they were last read, so that only what was written since is read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use stead_model::{Machine, MachineStatus, ObjectKey, Revision};
use stead_store::Snapshot;

use crate::delivery::machine_kind;

/// Statuses by machine, each with the revision it was read at. A view of the record, and nothing that could not be read anew.
#[derive(Debug, Default)]
pub(crate) struct Statuses {
    by_name: BTreeMap<String, (Revision, Arc<MachineStatus>)>,
}

impl Statuses {
    /// What a machine says of itself, as a snapshot has it; an empty status for one that said nothing, none for one that is not there.
    pub(crate) fn of(&mut self, snapshot: &Snapshot, name: &str) -> Option<Arc<MachineStatus>> {
        let Some(stored) = snapshot.get(&ObjectKey::new(machine_kind(), "", name)) else {
            self.by_name.remove(name);
            return None;
        };
        if let Some((revision, status)) = self.by_name.get(name)
            && *revision == stored.revision()
        {
            return Some(Arc::clone(status));
        }
        let machine: Machine = serde_json::from_slice(stored.json()).ok()?;
        let status = Arc::new(machine.status.unwrap_or_default());
        self.by_name.insert(name.to_owned(), (stored.revision(), Arc::clone(&status)));
        Some(status)
    }
}
