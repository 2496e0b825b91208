//! Snapshots that are kept for a while, so that page n of a list comes from the revision of page 1.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use stead_model::Revision;

use crate::view::{Snapshot, View};

/// Snapshots kept at once; lists that start at the same revision share one.
pub const RETAINED_SNAPSHOTS_MAX: usize = 256;
/// Of these, snapshots that were made out of a newer one: each may have some megabytes of its own.
pub const REWOUND_SNAPSHOTS_MAX: usize = 16;
/// Seconds that a snapshot is kept after its last use: as long as Kubernetes keeps a continue token.
pub const RETAINED_SECONDS_MAX: i64 = 300;
/// Bytes of objects replaced since a snapshot was taken, which it alone may be holding in memory.
pub const RETAINED_REPLACED_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The list cannot be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list at revision {revision} can no longer be continued (the record is at {current}); start it again")]
pub struct SnapshotExpired {
    /// The revision that was asked for.
    pub revision: Revision,
    /// The revision the record is at.
    pub current: Revision,
}

#[derive(Default)]
pub(crate) struct Retained {
    snapshots: BTreeMap<Revision, (Arc<View>, Timestamp)>,
}

impl Retained {
    pub(crate) fn retain(&mut self, snapshot: &Snapshot, current: &View, now: Timestamp) {
        self.expire(current, now);
        self.snapshots.insert(snapshot.revision(), (Arc::clone(&snapshot.0), now));
        self.keep(RETAINED_SNAPSHOTS_MAX, |_| true);
        self.keep(REWOUND_SNAPSHOTS_MAX, |view| view.rewound);
    }

    /// At most so many of some, those that were used last.
    fn keep(&mut self, max: usize, counts: impl Fn(&View) -> bool) {
        while self.snapshots.values().filter(|(view, _)| counts(view)).count() > max {
            let counted = self.snapshots.iter().filter(|(_, (view, _))| counts(view));
            let longest_unused = counted.min_by_key(|(_, (_, used))| *used).map(|(revision, _)| *revision);
            longest_unused.and_then(|revision| self.snapshots.remove(&revision));
        }
    }

    pub(crate) fn get(&mut self, revision: Revision, current: &View, now: Timestamp) -> Result<Snapshot, SnapshotExpired> {
        self.expire(current, now);
        let expired = SnapshotExpired { revision, current: current.revision };
        let (view, used) = self.snapshots.get_mut(&revision).ok_or(expired)?;
        *used = now;
        Ok(Snapshot(Arc::clone(view)))
    }

    fn expire(&mut self, current: &View, now: Timestamp) {
        self.snapshots.retain(|_, (view, used)| {
            now.as_second().saturating_sub(used.as_second()) <= RETAINED_SECONDS_MAX
                && view.epoch == current.epoch
                && current.replaced_bytes.saturating_sub(view.replaced_bytes) <= RETAINED_REPLACED_BYTES_MAX
        });
    }
}
