//! The machines that a restored record still waits for, kept by name, so that every write may ask how many there are.

use std::collections::BTreeSet;

use stead_model::{Kind as _, MachineStatus, ObjectKey, TrustRoot};
use stead_store::{EventKind, Snapshot};

use super::super::statuses::Statuses;
use crate::delivery::{machine_kind, profile_kind};

/// Machines that have not given back what they hold to the record as it is. Nobody, where it was never restored.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    names: BTreeSet<String>,
}

impl Awaited {
    /// Looks at all machines of a fleet.
    pub(crate) fn of<'a>(snapshot: &Snapshot, statuses: &mut Statuses, machines: impl Iterator<Item = &'a str>) -> Self {
        if snapshot.restored().is_none() {
            return Self::default();
        }
        let awaited = machines.filter(|name| is_awaited(snapshot, statuses.of(snapshot, name).as_deref()));
        Self { names: awaited.map(str::to_owned).collect() }
    }

    /// A machine's object was written. Only those that are awaited, and new ones, are looked at.
    pub(crate) fn look(&mut self, snapshot: &Snapshot, statuses: &mut Statuses, name: &str, kind: EventKind) {
        let known = self.names.contains(name);
        if snapshot.restored().is_none() || !known && kind != EventKind::Added {
            return;
        }
        // Gone from the record is gone from those that it waits for.
        let status = statuses.of(snapshot, name);
        match (status.is_some() && is_awaited(snapshot, status.as_deref()), known) {
            (true, false) => drop(self.names.insert(name.to_owned())),
            (false, true) => drop(self.names.remove(name)),
            _ => {}
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.names.len() as u64
    }

    /// What to tell whoever writes these names: that machines may hold newer states of them. Machines hold profiles, their own object,
    /// and the trust root; of all else the record knows everything that anybody ever will.
    pub(crate) fn warning(&self, names: &[ObjectKey]) -> Option<String> {
        let is_root = |key: &&ObjectKey| key.kind.kind() == TrustRoot::KIND;
        let all = names.iter().any(|key| key.kind == profile_kind() || is_root(&key));
        let own = |key: &&ObjectKey| key.kind == machine_kind() && self.names.contains(&key.name);
        let count = if all { self.len() } else { names.iter().filter(own).count() as u64 };
        let (who, which) = match count {
            0 => return None,
            1 => ("1 machine holds".to_owned(), "it"),
            count => (format!("{count} machines hold"), "one of them"),
        };
        let what = if names.iter().any(|key| is_root(&key)) {
            "may hold another trust root with this version, and will then never take this one"
        } else {
            "may hold a newer state of this and keep it, and then this has to be signed again"
        };
        Some(format!("the restored record still waits for what {who}: {which} {what}; `stead restore status` lists them"))
    }
}

fn is_awaited(snapshot: &Snapshot, status: Option<&MachineStatus>) -> bool {
    let given = status.and_then(|status| status.given_back.as_ref());
    given.is_none_or(|given| !given.is_whole(snapshot.incarnation()))
}
