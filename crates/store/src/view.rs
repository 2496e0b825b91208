//! The whole record in memory, as persistent maps: a copy of it costs nothing, and stays as it was.

mod filter;
mod kind;
mod list;

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use stead_model::{GroupKind, ObjectKey, Revision};

use crate::ring::Ring;
use crate::rows::{Mark, Meta, Restored, RootDocument, Sequence};
use crate::stored::Stored;
pub(crate) use filter::Filter;
use kind::KindView;
pub use list::{Cursor, FieldFilter, List, Page};

/// The record at one revision.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) revision: Revision,
    pub(crate) incarnation: Arc<str>,
    pub(crate) leader_term: u64,
    /// The token of the batch that led to it.
    pub(crate) batch: Arc<str>,
    pub(crate) restored: Option<Restored>,
    /// Goes up when the record is loaded anew and does not go on where it was: what was told before is no longer to be relied on.
    pub(crate) epoch: u64,
    kinds: OrdMap<GroupKind, KindView>,
    roots: OrdMap<u64, Arc<RootDocument>>,
    /// Bytes of objects that writes have replaced or removed since the start: what older snapshots may be holding on to.
    pub(crate) replaced_bytes: u64,
    /// Whether it was made out of a newer one, and shares less with it than one that was there.
    pub(crate) rewound: bool,
}

impl Default for View {
    fn default() -> Self {
        Self {
            revision: Revision::default(),
            incarnation: "".into(),
            leader_term: 0,
            batch: "".into(),
            restored: None,
            epoch: 0,
            kinds: OrdMap::new(),
            roots: OrdMap::new(),
            replaced_bytes: 0,
            rewound: false,
        }
    }
}

impl View {
    /// Nothing yet, of the record as a whole is.
    pub(crate) fn of(meta: &Meta, epoch: u64) -> Self {
        let (incarnation, batch) = (meta.incarnation.as_str().into(), meta.batch.as_str().into());
        Self {
            revision: meta.last,
            incarnation,
            leader_term: meta.leader_term,
            batch,
            restored: meta.restored,
            epoch,
            ..Self::default()
        }
    }

    /// The same, of the record as it is as a whole now; what is in it is brought up by the caller.
    pub(crate) fn move_to(&mut self, meta: &Meta) {
        self.revision = meta.last;
        self.leader_term = meta.leader_term;
        self.batch = meta.batch.as_str().into();
        self.restored = meta.restored;
    }

    /// The batch that led to it.
    pub(crate) fn mark(&self) -> Mark {
        Mark { last: self.revision, token: self.batch.to_string() }
    }

    /// Whether it shows the record as a whole is.
    pub(crate) fn is_at(&self, meta: &Meta) -> bool {
        self.revision == meta.last && *self.batch == *meta.batch && *self.incarnation == *meta.incarnation
    }

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Arc<Stored>> {
        self.kinds.get(&key.kind)?.get(&key.namespace, &key.name)
    }

    /// Puts an object in, in the place of the one of its name; gives back the shared form of it.
    pub(crate) fn insert(&mut self, stored: Stored) -> Arc<Stored> {
        let kind = stored.kind().clone();
        let bytes = self.get(&stored.key()).map_or(0, |old| old.json().len() as u64);
        self.replaced_bytes = self.replaced_bytes.saturating_add(bytes);
        let kind_key = self.kinds.get_key_value(&kind).map_or_else(|| kind.clone(), |(shared, _)| shared.clone());
        self.kinds.entry(kind).or_default().insert(&kind_key, stored)
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) -> Option<Arc<Stored>> {
        let removed = self.kinds.get_mut(&key.kind)?.remove(&key.namespace, &key.name)?;
        self.replaced_bytes = self.replaced_bytes.saturating_add(removed.json().len() as u64);
        Some(removed)
    }

    /// The objects as they were at an older revision, as far as memory has what happened since. All else of it is as it is now.
    pub(crate) fn rewound(&self, ring: &Ring, revision: Revision) -> Option<Self> {
        if revision < ring.floor || revision > self.revision {
            return None;
        }
        let mut view = Self { revision, rewound: true, ..self.clone() };
        let (mut seen, mut bytes) = (BTreeSet::new(), 0_u64);
        // Of each object, the first thing that happened to it since then knows what it was.
        for event in ring.after(revision).flat_map(|group| &group.events) {
            let key = event.object.key();
            if seen.contains(&key) {
                continue;
            }
            match &event.previous {
                Some(before) => {
                    bytes = bytes.saturating_add(before.json().len() as u64);
                    view.kinds.entry(key.kind.clone()).or_default().put_back(Arc::clone(before));
                }
                None => {
                    view.kinds.get_mut(&key.kind).and_then(|kind| kind.remove(&key.namespace, &key.name));
                }
            }
            seen.insert(key);
        }
        view.replaced_bytes = self.replaced_bytes.saturating_sub(bytes);
        Some(view)
    }

    pub(crate) fn sequence(&self, key: &ObjectKey) -> Option<Sequence> {
        self.kinds.get(&key.kind)?.sequence(&key.namespace, &key.name)
    }

    pub(crate) fn set_sequence(&mut self, key: &ObjectKey, sequence: Sequence) {
        self.kinds.entry(key.kind.clone()).or_default().set_sequence(&key.namespace, &key.name, sequence);
    }

    pub(crate) fn newest_root(&self) -> Option<&Arc<RootDocument>> {
        self.roots.get_max().map(|(_, root)| root)
    }

    pub(crate) fn add_root(&mut self, root: RootDocument) {
        self.roots.insert(root.version, Arc::new(root));
    }
}

/// The record as it is, or was, at one revision. Cheap to take, cheap to clone, and never changes.
#[derive(Clone)]
pub struct Snapshot(pub(crate) Arc<View>);

impl Snapshot {
    /// The revision it shows.
    pub fn revision(&self) -> Revision {
        self.0.revision
    }

    /// A number of this record, new whenever a record is made or begins anew.
    pub fn incarnation(&self) -> &str {
        &self.0.incarnation
    }

    /// How often a coordinator has taken the lead of the record: who writes as the leader names the term in [`crate::Transaction::fence`].
    pub fn leader_term(&self) -> u64 {
        self.0.leader_term
    }

    /// Whether the record was put back from a backup, or had lost its newest batches.
    pub fn restored(&self) -> Option<Restored> {
        self.0.restored
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<Stored>> {
        self.0.get(key).cloned()
    }

    /// How far the signed changes of a name have come; `None` where there was none yet, so that the next is 1.
    pub fn sequence(&self, key: &ObjectKey) -> Option<Sequence> {
        self.0.sequence(key)
    }

    /// Every name of a kind that ever was in a signed Change, deleted ones included, by namespace and name.
    pub fn sequences(&self, kind: &GroupKind) -> Vec<(ObjectKey, Sequence)> {
        self.0.kinds.get(kind).map_or_else(Vec::new, |view| view.sequences(kind))
    }

    /// One version of the trust root.
    pub fn root(&self, version: u64) -> Option<Arc<RootDocument>> {
        self.0.roots.get(&version).cloned()
    }

    /// The trust root's newest version.
    pub fn newest_root(&self) -> Option<Arc<RootDocument>> {
        self.0.newest_root().cloned()
    }

    /// The versions of the trust root after one, oldest first.
    pub fn roots_after(&self, version: u64) -> Vec<Arc<RootDocument>> {
        self.0.roots.range(version.saturating_add(1)..).map(|(_, root)| Arc::clone(root)).collect()
    }

    /// The kinds of which there are objects, with how many.
    pub fn kinds(&self) -> Vec<(GroupKind, usize)> {
        let counted = self.0.kinds.iter().map(|(kind, view)| (kind.clone(), view.len()));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// A page of a kind's objects, ordered by namespace and name.
    pub fn list(&self, list: &List<'_>) -> Page {
        let empty = KindView::default();
        let view = self.0.kinds.get(&list.kind).unwrap_or(&empty);
        list::page(view, list, self.revision())
    }
}
