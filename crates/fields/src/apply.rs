//! Server-side apply: a manager says all that it wants of an object, and gets it where nobody else manages it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stead_model::ManagedFields;

use crate::managers::{Managers, Operation};
use crate::merge::merge;
use crate::path::path_text;
use crate::set::FieldSet;
use crate::update::{Live, settled, written};
use crate::walk::{Comparison, faults, fields_of, with_ways, without};
use crate::{Kind, Writer, last_applied};

/// Who manages what was there before anybody applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The one manager that takes over what client-side apply left: kubectl's default name.
const KUBECTL: &str = "kubectl";

/// An object after a configuration was applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The whole object.
    pub object: Value,
    /// Its entries.
    pub entries: Vec<ManagedFields>,
}

/// Why a configuration is not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It cannot be taken apart into fields.
    #[error("{}", .faults.iter().map(|(path, what)| format!("{path}: {what}")).collect::<Vec<_>>().join(", "))]
    Faults {
        /// Where, and what is wrong there.
        faults: Vec<(String, String)>,
    },
    /// Others manage fields that it would change.
    #[error("{}", message(.conflicts))]
    Conflicts {
        /// One for each manager and field.
        conflicts: Vec<Conflict>,
    },
}

/// A field that somebody else manages and that the configuration would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who manages it, as refusals name them: quoted, and for a plain write with the version.
    pub manager: String,
    /// The field, such as `.spec.size`.
    pub field: String,
}

/// The message of a refusal, line by line as clients know it.
fn message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.field);
    }
    let mut by_manager: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for conflict in conflicts {
        by_manager.entry(&conflict.manager).or_default().push(&conflict.field);
    }
    let mut lines = Vec::new();
    for (manager, fields) in by_manager {
        lines.push(format!("conflicts with {manager}:"));
        lines.extend(fields.iter().map(|field| format!("- {field}")));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// Applies a configuration: the object as the manager wants it, of which it says only what it cares for. `live` is `None` where the
/// object is yet to be made. With `force`, what others manage is taken from them.
///
/// # Errors
///
/// [`ApplyError::Conflicts`] where others manage what would change, and `force` is not given; [`ApplyError::Faults`] where items of a
/// list cannot be told apart.
pub fn apply(
    kind: &Kind,
    live: Option<&Live<'_>>,
    config: &Value,
    force: bool,
    writer: &Writer<'_>,
) -> Result<Applied, ApplyError> {
    let applied = match attempt(kind, live, config, force, writer) {
        Ok(applied) => applied,
        Err(Refused::Faults(faults)) => return Err(ApplyError::Faults { faults }),
        Err(Refused::Conflicts(conflicts)) => {
            let left = match live {
                Some(live) if writer.manager == KUBECTL => beyond(conflicts, &last_applied::unchanged(kind, live.object)),
                _ => conflicts,
            };
            if !left.is_empty() {
                return Err(ApplyError::Conflicts { conflicts: shown(&left) });
            }
            // Client-side apply put all of these there: kubectl goes on with what is its own.
            attempt(kind, live, config, true, writer).map_err(|refused| match refused {
                Refused::Faults(faults) => ApplyError::Faults { faults },
                Refused::Conflicts(conflicts) => ApplyError::Conflicts { conflicts: shown(&conflicts) },
            })?
        }
    };
    let mut applied = applied;
    if writer.manager == KUBECTL {
        last_applied::renew(&mut applied.object, config);
    }
    Ok(applied)
}

/// Who manages which of the fields that would change.
type Conflicts = Vec<(String, FieldSet)>;

enum Refused {
    Faults(Vec<(String, String)>),
    Conflicts(Conflicts),
}

fn attempt(kind: &Kind, live: Option<&Live<'_>>, config: &Value, force: bool, writer: &Writer<'_>) -> Result<Applied, Refused> {
    let (shape, part) = (kind.shape, writer.part);
    let nothing = json!({});
    let stored = live.map_or(&[][..], |live| live.entries);
    let old = part.managed(live.map_or(&nothing, |live| live.object));
    let wanted = part.managed(config);
    let faults = faults(shape, &wanted);
    if !faults.is_empty() {
        return Err(Refused::Faults(faults));
    }
    let mut managers = Managers::read(stored).unwrap_or_default();
    if live.is_some() && managers.0.is_empty() {
        let before = Writer { manager: BEFORE_FIRST_APPLY, ..*writer };
        written(&mut managers, &Comparison::between(shape, &nothing, &old), &before);
    }
    let identity = writer.identity(Operation::Apply);
    let mut own = managers.take(&identity, writer.api_version);
    let last = std::mem::replace(&mut own.set, fields_of(shape, &wanted));
    let merged = merge(shape, Some(&old), Some(&wanted)).unwrap_or_else(|| nothing.clone());
    // Most applies drop nothing.
    let drops = !last.difference(&own.set).is_empty();
    let new = if drops { pruned(kind, &merged, &last, &managers.everything().union(&own.set)) } else { merged };

    let comparison = Comparison::between(shape, &old, &new);
    let written = comparison.written();
    let conflicts: Conflicts = managers.0.iter().map(|entry| (entry.shown(), entry.set.intersection(&written))).collect();
    let conflicts: Conflicts = conflicts.into_iter().filter(|(_, fields)| !fields.is_empty()).collect();
    if !force && !conflicts.is_empty() {
        return Err(Refused::Conflicts(conflicts));
    }
    managers.lose(&written);
    managers.lose(&comparison.removed);
    own.stamp(writer);
    managers.0.push(own);
    let object = part.replaced(live.map_or(config, |live| live.object), new);
    Ok(Applied { object, entries: settled(managers, stored, &comparison) })
}

/// Takes out what the manager applied last, does not apply now, and nobody else manages.
fn pruned(kind: &Kind, merged: &Value, last: &FieldSet, managed: &FieldSet) -> Value {
    let shape = kind.shape;
    let (last, managed) = (with_ways(shape, last), with_ways(shape, managed));
    let all = with_ways(shape, &fields_of(shape, merged));
    let fields_left = |value: &Value| with_ways(shape, &fields_of(shape, value));
    let left = fields_left(&without(shape, merged, &last));
    // What others manage comes back, with all that leads to it.
    let left = fields_left(&without(shape, merged, &all.difference(&left.union(&managed))));
    // And so does what went along with a field around it without having been the manager's.
    without(shape, merged, &all.difference(&left).intersection(&last))
}

/// What is left of conflicts without some fields.
fn beyond(conflicts: Conflicts, fields: &FieldSet) -> Conflicts {
    let left = conflicts.into_iter().map(|(manager, set)| (manager, set.difference(fields)));
    left.filter(|(_, set)| !set.is_empty()).collect()
}

fn shown(conflicts: &Conflicts) -> Vec<Conflict> {
    let mut shown = Vec::new();
    for (manager, fields) in conflicts {
        let fields = fields.paths();
        shown.extend(fields.iter().map(|path| Conflict { manager: manager.clone(), field: path_text(path) }));
    }
    shown
}

/// The entries of an object whose owners signed it whole: all that they signed is theirs, whoever wrote it before, and what they left
/// out is gone. What they do not sign (finalizers, annotations of others) stays whose it was.
pub fn after_signed(
    kind: &Kind,
    live: Option<&Live<'_>>,
    signed: &Value,
    new: &Value,
    writer: &Writer<'_>,
) -> Vec<ManagedFields> {
    let (shape, part) = (kind.shape, writer.part);
    let nothing = json!({});
    let stored = live.map_or(&[][..], |live| live.entries);
    let mut managers = Managers::read(stored).unwrap_or_default();
    let mut own = managers.take(&writer.identity(Operation::Apply), writer.api_version);
    own.set = fields_of(shape, &part.managed(signed));
    if live.is_none() && !own.set.is_empty() {
        // Nobody has anything yet that could be taken away.
        own.stamp(writer);
        return Managers(vec![own]).write();
    }
    let old = part.managed(live.map_or(&nothing, |live| live.object));
    let comparison = Comparison::between(shape, &old, &part.managed(new));
    managers.lose(&comparison.written());
    managers.lose(&comparison.removed);
    own.stamp(writer);
    managers.0.push(own);
    settled(managers, stored, &comparison)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
