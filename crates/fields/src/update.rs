//! Every write but server-side apply: who writes a field manages it.

use serde_json::{Value, json};
use stead_model::ManagedFields;

use crate::managers::{Identity, Managers, Operation, is_reset};
use crate::part::Part;
use crate::walk::Comparison;
use crate::{Kind, Writer};

/// The entries after a plain write: what it wrote is the writer's, and what it took away is nobody's.
///
/// `live` is the object before, `None` for a create; `new` is the object as it will be. `sent` are the entries that came with it:
/// a client may edit them, one empty entry makes everything nobody's, and none, or such as cannot be read, leave those on record.
/// An object that nobody manages stays so until it is applied.
pub fn after_update(
    kind: &Kind,
    live: Option<&Live<'_>>,
    new: &Value,
    sent: &[ManagedFields],
    writer: &Writer<'_>,
) -> Vec<ManagedFields> {
    let stored = live.map_or(&[][..], |live| live.entries);
    let mut managers = match writer.part {
        Part::Object { .. } if live.is_some() && is_reset(sent) => return Vec::new(),
        Part::Object { .. } if live.is_some() => match Managers::read(sent) {
            Ok(managers) if !managers.0.is_empty() => managers,
            _ => Managers::read(stored).unwrap_or_default(),
        },
        _ => Managers::read(stored).unwrap_or_default(),
    };
    if live.is_some() && managers.0.is_empty() {
        return Vec::new();
    }
    let nothing = json!({});
    let old = writer.part.managed(live.map_or(&nothing, |live| live.object));
    let comparison = Comparison::between(kind.shape, &old, &writer.part.managed(new));
    written(&mut managers, &comparison, writer);
    settled(managers, stored, &comparison)
}

/// The object on record.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// As it is, metadata and status included.
    pub object: &'a Value,
    /// Its entries.
    pub entries: &'a [ManagedFields],
}

/// Gives the writer what it wrote, and takes it, and what is gone, from everybody else.
pub(crate) fn written(managers: &mut Managers, comparison: &Comparison, writer: &Writer<'_>) {
    let own = comparison.written();
    managers.lose(&own);
    managers.lose(&comparison.removed);
    if own.is_empty() {
        return;
    }
    let identity = writer.identity(Operation::Update);
    let mut entry = managers.take(&identity, writer.api_version);
    entry.set.add(&own);
    entry.stamp(writer);
    // The way to all that is managed is nobody's.
    entry.set = entry.set.difference(&metadata_itself());
    managers.0.push(entry);
}

fn metadata_itself() -> crate::set::FieldSet {
    let mut set = crate::set::FieldSet::default();
    set.insert(&[crate::path::Step::Field("metadata".to_owned())]);
    set
}

/// The entries to keep: those on record, with their times, where nothing but a time would differ in the whole object.
pub(crate) fn settled(managers: Managers, stored: &[ManagedFields], comparison: &Comparison) -> Vec<ManagedFields> {
    let same = *comparison == Comparison::default() && Managers::read(stored).is_ok_and(|before| before.says(&managers));
    if same { stored.to_vec() } else { managers.write() }
}

impl Writer<'_> {
    pub(crate) fn identity(&self, operation: Operation) -> Identity {
        let subresource = self.part.subresource().to_owned();
        Identity { manager: self.manager.to_owned(), operation, subresource }
    }
}
