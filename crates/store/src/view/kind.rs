//! The objects of one kind, with their indexes.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use stead_model::{GroupKind, ObjectKey};

use crate::rows::Sequence;
use crate::stored::{AFTER_SEPARATOR, Label, Name, SEPARATOR, Stored, join};

/// The names that have a label. Most labels are either unique to one object or shared by many.
#[derive(Clone)]
pub(super) enum Postings {
    One(Name),
    Many(OrdSet<Name>),
}

impl Postings {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(names) => names.len(),
        }
    }

    /// The names within bounds, in order.
    pub(super) fn range<'a>(&'a self, bounds: &(Bound<String>, Bound<String>)) -> Box<dyn Iterator<Item = &'a Name> + 'a> {
        let (start, end) = (bounds.0.as_ref().map(String::as_str), bounds.1.as_ref().map(String::as_str));
        match self {
            Self::One(name) => {
                let within = std::ops::RangeBounds::<str>::contains(&(start, end), std::borrow::Borrow::<str>::borrow(name));
                Box::new(within.then_some(name).into_iter())
            }
            Self::Many(names) => Box::new(names.range::<_, str>((start, end))),
        }
    }

    fn insert(&mut self, name: Name) {
        match self {
            Self::One(first) if *first == name => {}
            Self::One(first) => *self = Self::Many([first.clone(), name].into_iter().collect()),
            Self::Many(names) => {
                names.insert(name);
            }
        }
    }

    /// Whether none is left.
    fn remove(&mut self, name: &Name) -> bool {
        match self {
            Self::One(first) => first == name,
            Self::Many(names) => {
                names.remove(name);
                names.is_empty()
            }
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct KindView {
    objects: OrdMap<Name, Arc<Stored>>,
    /// How many objects a namespace has.
    namespaces: OrdMap<Arc<str>, usize>,
    labels: OrdMap<Label, Postings>,
    sequences: OrdMap<Name, Sequence>,
}

impl KindView {
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn len_in(&self, namespace: &str) -> usize {
        self.namespaces.get(namespace).copied().unwrap_or(0)
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Stored>> {
        self.objects.get(join(namespace, name).as_str())
    }

    pub(super) fn by_name(&self, name: &Name) -> Option<&Arc<Stored>> {
        self.objects.get(name)
    }

    pub(super) fn postings(&self, label: &str) -> Option<&Postings> {
        self.labels.get(label)
    }

    pub(super) fn range<'a>(
        &'a self,
        bounds: &(Bound<String>, Bound<String>),
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let bounds = (bounds.0.as_ref().map(String::as_str), bounds.1.as_ref().map(String::as_str));
        self.objects.range::<_, str>(bounds).map(|(_, stored)| stored)
    }

    pub(super) fn insert(&mut self, kind: &GroupKind, mut stored: Stored) -> Arc<Stored> {
        let old = self.objects.get(stored.shared_name()).cloned();
        let name = match &old {
            Some(old) => old.shared_name().clone(),
            None => self
                .sequences
                .get_key_value(stored.shared_name())
                .map_or_else(|| stored.shared_name().clone(), |(name, _)| name.clone()),
        };
        let old_labels = old.as_ref().map_or(&[][..], |old| old.shared_labels());
        stored.share(kind, &name, |label| match old_labels.iter().find(|known| *known == label) {
            Some(known) => *label = known.clone(),
            None => self.label(label, &name),
        });
        for gone in old_labels.iter().filter(|label| !stored.shared_labels().contains(label)) {
            self.unlabel(gone, &name);
        }
        if old.is_none() {
            self.count(stored.namespace(), 1);
        }
        let stored = Arc::new(stored);
        self.objects.insert(name, Arc::clone(&stored));
        stored
    }

    /// Puts an object in as it is, in the place of the one of its name.
    pub(super) fn put_back(&mut self, stored: Arc<Stored>) {
        let name = stored.shared_name().clone();
        let old = self.objects.insert(name.clone(), Arc::clone(&stored));
        let old_labels = old.as_ref().map_or(&[][..], |old| old.shared_labels());
        for gone in old_labels.iter().filter(|label| !stored.shared_labels().contains(label)) {
            self.unlabel(gone, &name);
        }
        for label in stored.shared_labels().iter().filter(|label| !old_labels.contains(label)) {
            self.label(&mut label.clone(), &name);
        }
        if old.is_none() {
            self.count(stored.namespace(), 1);
        }
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        let removed = self.objects.remove(join(namespace, name).as_str())?;
        for label in removed.shared_labels() {
            self.unlabel(label, removed.shared_name());
        }
        self.count(namespace, -1);
        Some(removed)
    }

    /// Enters a name under a label, and makes the label the shared one.
    fn label(&mut self, label: &mut Label, name: &Name) {
        if let Some((shared, postings)) = self.labels.get_key_value_mut(label) {
            postings.insert(name.clone());
            *label = shared.clone();
        } else {
            self.labels.insert(label.clone(), Postings::One(name.clone()));
        }
    }

    fn unlabel(&mut self, label: &Label, name: &Name) {
        if self.labels.get_mut(label).is_some_and(|postings| postings.remove(name)) {
            self.labels.remove(label);
        }
    }

    fn count(&mut self, namespace: &str, change: isize) {
        let count = self.len_in(namespace).saturating_add_signed(change);
        if count == 0 {
            self.namespaces.remove(namespace);
        } else if let Some(kept) = self.namespaces.get_mut(namespace) {
            *kept = count;
        } else {
            self.namespaces.insert(namespace.into(), count);
        }
    }

    pub(super) fn sequence(&self, namespace: &str, name: &str) -> Option<Sequence> {
        self.sequences.get(join(namespace, name).as_str()).copied()
    }

    pub(super) fn set_sequence(&mut self, namespace: &str, name: &str, sequence: Sequence) {
        let joined = join(namespace, name);
        let shared = self.objects.get_key_value(joined.as_str()).map(|(name, _)| name.clone());
        self.sequences.insert(shared.unwrap_or_else(|| Name::new(namespace, name)), sequence);
    }

    pub(super) fn sequences(&self, kind: &GroupKind) -> Vec<(ObjectKey, Sequence)> {
        let key = |name: &Name| ObjectKey::new(kind.clone(), name.namespace(), name.name());
        self.sequences.iter().map(|(name, sequence)| (key(name), *sequence)).collect()
    }
}

/// The bounds of a namespace (all of them for `None`), after a name where there is one.
pub(super) fn bounds(namespace: Option<&str>, after: Option<(&str, &str)>) -> (Bound<String>, Bound<String>) {
    let (first, end) = match namespace {
        Some(namespace) => {
            (Bound::Included(format!("{namespace}{SEPARATOR}")), Bound::Excluded(format!("{namespace}{AFTER_SEPARATOR}")))
        }
        None => (Bound::Unbounded, Bound::Unbounded),
    };
    let Some((after_namespace, after_name)) = after else { return (first, end) };
    let after = join(after_namespace, after_name);
    // A cursor that somebody made up must not make a range that ends before it starts: an ordered map panics on one.
    let start = match &first {
        Bound::Included(first) if *first > after => Bound::Included(first.clone()),
        _ => Bound::Excluded(after.clone()),
    };
    match &end {
        Bound::Excluded(end) if *end <= after => (Bound::Included(end.clone()), Bound::Excluded(end.clone())),
        _ => (start, end),
    }
}
