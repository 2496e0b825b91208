//! The entries of `metadata.managedFields`: reading them, keeping them few, and writing them in order.

use std::cmp::Ordering;

use jiff::Timestamp;
use stead_model::ManagedFields;

use crate::Writer;
use crate::codec::{self, FieldsError};
use crate::path::quoted;
use crate::set::FieldSet;

/// Entries of plain updates on one object; the oldest beyond it are merged, as in Kubernetes.
pub(crate) const UPDATE_ENTRIES_MAX: usize = 10;
/// Under which name they are merged.
const ANCIENT: &str = "ancient-changes";
/// The one form of sets that there is.
const FIELDS_V1: &str = "FieldsV1";

/// Server-side apply, or any other write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Operation {
    /// Server-side apply.
    Apply,
    /// Create, update, and every other patch.
    Update,
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who manages fields, and through what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Identity {
    pub(crate) manager: String,
    pub(crate) operation: Operation,
    /// Empty for the object itself.
    pub(crate) subresource: String,
}

/// One entry, its fields taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) identity: Identity,
    pub(crate) api_version: String,
    pub(crate) time: Option<Timestamp>,
    pub(crate) set: FieldSet,
}

/// Why entries cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntriesError {
    /// One is no entry.
    #[error("metadata.managedFields[{index}].{field}: {value:?}: expected {expected}")]
    Entry {
        /// Which.
        index: usize,
        /// What of it.
        field: &'static str,
        /// As it is.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The fields of one cannot be read.
    #[error("metadata.managedFields[{index}].fieldsV1: {reason}")]
    Fields {
        /// Which.
        index: usize,
        /// What is wrong with them.
        reason: String,
    },
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Managers(pub(crate) Vec<Entry>);

impl Managers {
    /// Reads the entries of an object.
    pub(crate) fn read(entries: &[ManagedFields]) -> Result<Self, EntriesError> {
        let mut managers = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            let wrong = |field, value: &str, expected| EntriesError::Entry { index, field, value: value.to_owned(), expected };
            let operation = match entry.operation.as_str() {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                other => return Err(wrong("operation", other, "Apply or Update")),
            };
            if entry.fields_type != FIELDS_V1 {
                return Err(wrong("fieldsType", &entry.fields_type, FIELDS_V1));
            }
            let fields = |error: FieldsError| EntriesError::Fields { index, reason: error.to_string() };
            let set = entry.fields.as_ref().map_or_else(|| Ok(FieldSet::default()), |fields| codec::decode(fields.json()));
            let (manager, subresource) = (entry.manager.clone(), entry.subresource.clone());
            managers.add(Entry {
                identity: Identity { manager, operation, subresource },
                api_version: entry.api_version.clone(),
                time: entry.time.map(whole_seconds),
                set: set.map_err(fields)?,
            });
        }
        Ok(managers)
    }

    /// Puts an entry in, together with the one of the same name where there is one.
    fn add(&mut self, entry: Entry) {
        match self.0.iter_mut().find(|have| have.is(&entry.identity, &entry.api_version)) {
            Some(have) => {
                have.set.add(&entry.set);
                have.time = have.time.max(entry.time);
            }
            None => self.0.push(entry),
        }
    }

    /// The entries as an object holds them. Those that nothing is left of are dropped.
    pub(crate) fn write(mut self) -> Vec<ManagedFields> {
        self.0.retain(|entry| !entry.set.is_empty());
        self.merge_ancient();
        self.0.sort_by(Entry::order);
        self.0.into_iter().map(Entry::write).collect()
    }

    /// Whether both say the same, whenever they said it.
    pub(crate) fn says(&self, other: &Self) -> bool {
        let told = |managers: &Self| {
            let mut told: Vec<_> = managers.0.iter().filter(|entry| !entry.set.is_empty()).cloned().collect();
            told.iter_mut().for_each(|entry| entry.time = None);
            told.sort_by(Entry::order);
            told
        };
        told(self) == told(other)
    }

    /// Takes the entry of that name out; a new one where there is none.
    pub(crate) fn take(&mut self, identity: &Identity, api_version: &str) -> Entry {
        let place = self.0.iter().position(|entry| entry.is(identity, api_version));
        place.map(|place| self.0.swap_remove(place)).unwrap_or_else(|| Entry {
            identity: identity.clone(),
            api_version: api_version.to_owned(),
            time: None,
            set: FieldSet::default(),
        })
    }

    /// Takes fields away from everybody.
    pub(crate) fn lose(&mut self, fields: &FieldSet) {
        if fields.is_empty() {
            return;
        }
        for entry in &mut self.0 {
            entry.set = entry.set.difference(fields);
        }
    }

    /// What anybody manages.
    pub(crate) fn everything(&self) -> FieldSet {
        let mut all = FieldSet::default();
        self.0.iter().for_each(|entry| all.add(&entry.set));
        all
    }

    /// Updates beyond the limit become one, the oldest first.
    fn merge_ancient(&mut self) {
        self.0.sort_by(Entry::order);
        let updates = self.0.iter().filter(|entry| entry.identity.operation == Operation::Update).count();
        let Some(too_many) = updates.checked_sub(UPDATE_ENTRIES_MAX).filter(|many| *many > 0) else { return };
        let (applied, mut updates): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|entry| entry.identity.operation == Operation::Apply);
        self.0 = applied;
        let kept = updates.split_off(too_many.saturating_add(1).min(updates.len()));
        for entry in updates {
            let identity = Identity { manager: ANCIENT.to_owned(), operation: Operation::Update, subresource: String::new() };
            self.add(Entry { identity, ..entry });
        }
        kept.into_iter().for_each(|entry| self.add(entry));
    }
}

impl Entry {
    /// Updates of several versions stand apart, because the same name may mean several fields; an apply replaces its last one.
    fn is(&self, identity: &Identity, api_version: &str) -> bool {
        self.identity == *identity && (identity.operation == Operation::Apply || self.api_version == api_version)
    }

    /// Marks that the writer wrote through it just now.
    pub(crate) fn stamp(&mut self, writer: &Writer<'_>) {
        self.time = Some(whole_seconds(writer.now));
        writer.api_version.clone_into(&mut self.api_version);
    }

    fn order(&self, other: &Self) -> Ordering {
        let (own, their) = (&self.identity, &other.identity);
        own.operation
            .cmp(&their.operation)
            .then(self.time.cmp(&other.time))
            .then(own.manager.cmp(&their.manager))
            .then(self.api_version.cmp(&other.api_version))
            .then(own.subresource.cmp(&their.subresource))
    }

    fn write(self) -> ManagedFields {
        ManagedFields {
            fields: codec::to_fields(&self.set),
            manager: self.identity.manager,
            operation: self.identity.operation.as_str().to_owned(),
            api_version: self.api_version,
            time: self.time,
            fields_type: FIELDS_V1.to_owned(),
            subresource: self.identity.subresource,
        }
    }

    /// As a refusal names it.
    pub(crate) fn shown(&self) -> String {
        let mut shown = quoted(&self.identity.manager);
        if !self.identity.subresource.is_empty() {
            shown.push_str(&format!(" with subresource {}", quoted(&self.identity.subresource)));
        }
        if self.identity.operation == Operation::Update {
            shown.push_str(&format!(" using {}", self.api_version));
        }
        shown
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Whether a client asks that nobody manage anything any more: it sends one empty entry.
pub(crate) fn is_reset(entries: &[ManagedFields]) -> bool {
    matches!(entries, [one] if *one == ManagedFields::default())
}

#[cfg(test)]
mod tests {
    use stead_model::FieldsV1;

    use super::*;

    fn entry(manager: &str, operation: &str, api_version: &str, fields: &str) -> ManagedFields {
        ManagedFields {
            manager: manager.to_owned(),
            operation: operation.to_owned(),
            api_version: api_version.to_owned(),
            fields_type: FIELDS_V1.to_owned(),
            fields: FieldsV1::from_json(fields.to_owned()).ok(),
            ..ManagedFields::default()
        }
    }

    #[test]
    fn updates_of_several_versions_stand_apart() {
        let entries = [
            entry("m", "Update", "v1", r#"{"f:a":{}}"#),
            entry("m", "Update", "v2", r#"{"f:b":{}}"#),
            entry("m", "Update", "v1", r#"{"f:c":{}}"#),
            entry("m", "Apply", "v1", r#"{"f:d":{}}"#),
        ];
        let written = Managers::read(&entries).unwrap().write();
        let told: Vec<_> = written.iter().map(|entry| (&*entry.api_version, entry.fields.as_ref().unwrap().json())).collect();
        assert_eq!(told, [("v1", r#"{"f:d":{}}"#), ("v1", r#"{"f:a":{},"f:c":{}}"#), ("v2", r#"{"f:b":{}}"#)]);
    }

    #[test]
    fn what_is_no_entry_says_where() {
        let read = |entry: ManagedFields| Managers::read(&[entry]).unwrap_err().to_string();
        assert!(read(entry("m", "Edit", "v1", "{}")).contains("managedFields[0].operation: \"Edit\": expected Apply or Update"));
        let other = ManagedFields { fields_type: "FieldsV2".to_owned(), ..entry("m", "Apply", "v1", "{}") };
        assert!(read(other).contains("managedFields[0].fieldsType: \"FieldsV2\""));
        assert!(read(entry("m", "Apply", "v1", r#"{"a":{}}"#)).contains("managedFields[0].fieldsV1: "));
    }
}
