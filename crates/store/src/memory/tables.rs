//! The rows of the record, in maps that share what they have in common: one state of it is cheap to keep beside the next.

use std::sync::Arc;

use imbl::OrdMap;
use jiff::Timestamp;
use stead_model::{ObjectKey, Revision};

use crate::rows::{
    ANEW_REVISIONS, ANEW_TERMS, Batch, Change, ChangeReference, Entry, HistoryRow, Mark, Meta, Operation, Place, Restored,
    RootDocument, Sequence, Step, Steps, StepsWanted,
};
use crate::stored::Stored;

/// The order in which the databases give names out: by kind as it is written, then namespace, then name.
type Column = (String, String, String);
type StepPlace = (Revision, u32);

/// The record at one moment.
#[derive(Clone)]
pub(super) struct Tables {
    pub(super) meta: Meta,
    /// The batches that have been, as far as history goes back.
    batches: OrdMap<Revision, String>,
    pub(super) objects: OrdMap<Column, Arc<Stored>>,
    pub(super) sequences: OrdMap<Column, (ObjectKey, Sequence)>,
    pub(super) roots: OrdMap<u64, RootDocument>,
    pub(super) changes: OrdMap<Revision, Arc<Change>>,
    change_ids: OrdMap<String, Revision>,
    pub(super) entries: OrdMap<(Revision, u64), Arc<Entry>>,
    entries_by_sequence: OrdMap<(Column, u64), (Revision, u64)>,
    pub(super) history: OrdMap<StepPlace, Arc<HistoryRow>>,
    history_by_name: OrdMap<(Column, StepPlace), Arc<HistoryRow>>,
}

fn column(key: &ObjectKey) -> Column {
    (key.kind.to_string(), key.namespace.clone(), key.name.clone())
}

impl Tables {
    pub(super) fn new(incarnation: String) -> Self {
        let meta =
            Meta { incarnation, last: Revision(0), compacted: Revision(0), leader_term: 0, batch: String::new(), restored: None };
        Self {
            meta,
            batches: OrdMap::new(),
            objects: OrdMap::new(),
            sequences: OrdMap::new(),
            roots: OrdMap::new(),
            changes: OrdMap::new(),
            change_ids: OrdMap::new(),
            entries: OrdMap::new(),
            entries_by_sequence: OrdMap::new(),
            history: OrdMap::new(),
            history_by_name: OrdMap::new(),
        }
    }

    /// Takes in the rows of a batch. What it says of revisions and terms is [`Tables::move_on`]'s.
    pub(super) fn add(&mut self, batch: &Batch) {
        for (key, stored) in &batch.objects {
            match stored {
                Some(stored) => self.objects.insert(column(key), Arc::clone(stored)),
                None => self.objects.remove(&column(key)),
            };
        }
        for row in &batch.history {
            let (place, row) = ((row.revision, row.position), Arc::new(row.clone()));
            self.history_by_name.insert((column(&row.key), place), Arc::clone(&row));
            self.history.insert(place, row);
        }
        for change in &batch.changes {
            self.change_ids.insert(change.id.clone(), change.revision);
            self.changes.insert(change.revision, Arc::new(change.clone()));
        }
        for entry in &batch.entries {
            let place = (entry.revision, entry.index);
            self.entries_by_sequence.insert((column(&entry.key), entry.sequence), place);
            self.entries.insert(place, Arc::new(entry.clone()));
        }
        for (key, sequence) in &batch.sequences {
            self.sequences.insert(column(key), (key.clone(), *sequence));
        }
        for root in &batch.roots {
            self.roots.insert(root.version, root.clone());
        }
    }

    pub(super) fn move_on(&mut self, batch: &Batch) {
        (self.meta.last, self.meta.leader_term) = (batch.last, batch.term);
        self.meta.batch.clone_from(&batch.token);
        self.batches.insert(batch.last, batch.token.clone());
    }

    pub(super) fn holds(&self, mark: &Mark) -> Option<bool> {
        if mark.last == Revision(0) || self.batches.get(&mark.last) == Some(&mark.token) || self.meta.mark() == *mark {
            return Some(true);
        }
        (self.meta.compacted <= mark.last).then_some(false)
    }

    pub(super) fn object(&self, key: &ObjectKey) -> Option<&Arc<Stored>> {
        self.objects.get(&column(key))
    }

    pub(super) fn revision_of(&self, id: &str) -> Option<Revision> {
        self.change_ids.get(id).copied()
    }

    pub(super) fn change(&self, reference: &ChangeReference) -> Option<Change> {
        let revision = match reference {
            ChangeReference::Id(id) => self.revision_of(id)?,
            ChangeReference::Revision(revision) => *revision,
        };
        self.changes.get(&revision).map(|change| (**change).clone())
    }

    pub(super) fn changes_before(&self, revision: Revision, limit: usize) -> Vec<Change> {
        self.changes.range(..revision).rev().take(limit).map(|(_, change)| (**change).clone()).collect()
    }

    pub(super) fn changes_named(&self, prefix: &str, limit: usize) -> Vec<Change> {
        let named = self.change_ids.range(prefix.to_owned()..).take_while(|(id, _)| id.starts_with(prefix));
        named.take(limit).filter_map(|(_, revision)| self.changes.get(revision)).map(|change| (**change).clone()).collect()
    }

    pub(super) fn entries_of(&self, revision: Revision) -> Vec<Entry> {
        self.entries.range((revision, 0)..=(revision, u64::MAX)).map(|(_, entry)| (**entry).clone()).collect()
    }

    fn entry_at(&self, key: &ObjectKey, sequence: u64) -> Option<(Change, Entry)> {
        let place = self.entries_by_sequence.get(&(column(key), sequence))?;
        let (change, entry) = (self.changes.get(&place.0)?, self.entries.get(place)?);
        Some(((**change).clone(), (**entry).clone()))
    }

    pub(super) fn entries_at(&self, wanted: &[(ObjectKey, u64)]) -> Vec<(Change, Entry)> {
        wanted.iter().filter_map(|(key, sequence)| self.entry_at(key, *sequence)).collect()
    }

    pub(super) fn newest_entries(&self, keys: &[ObjectKey]) -> Vec<(Change, Entry)> {
        let newest = |key: &ObjectKey| self.entry_at(key, self.sequences.get(&column(key))?.1.sequence);
        let mut found: Vec<_> = keys.iter().filter_map(newest).collect();
        found.sort_by_key(|(change, entry)| (change.revision, entry.index));
        found
    }

    pub(super) fn steps(&self, wanted: &StepsWanted) -> Steps {
        let same = self.meta.incarnation == wanted.incarnation;
        let went_by = same && self.holds(&wanted.mark).unwrap_or(false) && self.meta.last >= wanted.mark.last;
        let mut page = Steps::new(self.meta.clone(), went_by);
        if !page.reaches(wanted) {
            return page;
        }
        for (place, row) in self.history.range(first_after(wanted.after)..=(wanted.through, u32::MAX)) {
            if page.is_full(wanted) {
                break;
            }
            let after = (row.operation == Operation::Put).then(|| self.after(row, *place)).flatten();
            page.push(Step { step: (**row).clone(), after });
        }
        page
    }

    /// An object as a step left it: as the next step on its name found it, or as it is now.
    fn after(&self, row: &HistoryRow, place: StepPlace) -> Option<Arc<Stored>> {
        let name = column(&row.key);
        let next = self.history_by_name.range((name.clone(), place)..=(name.clone(), (Revision(u64::MAX), u32::MAX))).nth(1);
        match next {
            Some((_, next)) => next.before.clone(),
            None => self.objects.get(&name).cloned(),
        }
    }

    pub(super) fn history_bytes_floor(&self, bytes_max: u64) -> Revision {
        let mut bytes = 0_u64;
        for ((revision, _), row) in self.history.iter().rev() {
            bytes = bytes.saturating_add(row.before.as_ref().map_or(0, |before| before.json().len() as u64));
            if bytes > bytes_max {
                return *revision;
            }
        }
        Revision(0)
    }

    pub(super) fn compact(&mut self, through: Revision) {
        let gone: Vec<(StepPlace, Column)> =
            self.history.range(..=(through, u32::MAX)).map(|(place, row)| (*place, column(&row.key))).collect();
        for (place, name) in gone {
            self.history.remove(&place);
            self.history_by_name.remove(&(name, place));
        }
        self.meta.compacted = self.meta.compacted.max(through);
        let (_, newer) = self.batches.split(&Revision(through.0.saturating_sub(1)));
        self.batches = newer;
    }

    /// `names` are those of the new record and of the batch that it begins with.
    pub(super) fn begin_anew(&mut self, incarnation: &str, at: Timestamp, names: (String, String)) {
        if self.meta.incarnation != incarnation {
            return;
        }
        let last = Revision(self.meta.last.0.saturating_add(ANEW_REVISIONS));
        self.meta = Meta {
            incarnation: names.0,
            restored: Some(Restored { at, revision: self.meta.last }),
            last,
            compacted: last,
            leader_term: self.meta.leader_term.saturating_add(ANEW_TERMS),
            batch: names.1,
        };
        (self.history, self.history_by_name, self.batches) = (OrdMap::new(), OrdMap::new(), OrdMap::new());
    }
}

fn first_after(place: Place) -> StepPlace {
    match place.position {
        Some(position) => (place.revision, position.saturating_add(1)),
        None => (place.revision.next(), 0),
    }
}
