//! Walks over values with their shape: which fields there are, what differs, and values with fields taken out.

use serde_json::{Map, Value};

use crate::path::{Step, path_text, quoted};
use crate::set::FieldSet;
use crate::shape::Shape;

/// What differs between two values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Comparison {
    /// Fields that are there now and were not.
    pub(crate) added: FieldSet,
    /// Fields that are there in both and not the same.
    pub(crate) modified: FieldSet,
    /// Fields that were there and no longer are.
    pub(crate) removed: FieldSet,
}

impl Comparison {
    /// Between two values.
    pub(crate) fn between(shape: &Shape, old: &Value, new: &Value) -> Self {
        let mut comparison = Self::default();
        comparison.walk(shape, Some(old), Some(new), &mut Vec::new());
        comparison
    }

    /// What was written: what is new and what is another.
    pub(crate) fn written(&self) -> FieldSet {
        self.added.union(&self.modified)
    }

    fn walk(&mut self, shape: &Shape, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<Step>) {
        let (old_members, new_members) = (shape.members(old), shape.members(new));
        let (old_items, new_items) = (shape.items(old), shape.items(new));
        let any_members = [old_members, new_members].into_iter().flatten().any(|members| !members.is_empty());
        let any_items = [old_items, new_items].into_iter().flatten().any(|items| !items.is_empty());
        if !any_members && !any_items {
            self.leaf(old, new, path);
            return;
        }
        let empty = Map::new();
        let (before, after) = (old_members.unwrap_or(&empty), new_members.unwrap_or(&empty));
        let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
        for name in names {
            path.push(Step::Field(name.clone()));
            self.walk(shape.member(name), before.get(name), after.get(name), path);
            path.pop();
        }
        let (before, after) = (old_items.unwrap_or_default(), new_items.unwrap_or_default());
        for (step, old, new) in paired(shape, before, after) {
            path.push(step);
            self.walk(shape.item(), old, new, path);
            path.pop();
        }
        // Where one side has no members or items, it is something else altogether.
        let other = |value: Option<&Value>, has: bool| value.is_some_and(|value| !value.is_null()) && !has;
        let old_is_other = other(old, old_members.is_some() || old_items.is_some());
        let new_is_other = other(new, new_members.is_some() || new_items.is_some());
        match (old, new) {
            (None, _) => self.added.insert(path),
            (_, None) => self.removed.insert(path),
            _ if old_is_other || new_is_other => self.modified.insert(path),
            _ => {}
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>, path: &[Step]) {
        match (old, new) {
            // Nothing, said in words, where there was nothing.
            (None, None | Some(Value::Null)) | (Some(Value::Null), None) => {}
            (None, Some(_)) => self.added.insert(path),
            (Some(_), None) => self.removed.insert(path),
            (Some(old), Some(new)) if old != new => self.modified.insert(path),
            (Some(_), Some(_)) => {}
        }
    }
}

/// The items of two lists, each with the one that the same step leads to in the other. Later items with the same step are passed over.
fn paired<'v>(shape: &Shape, before: &'v [Value], after: &'v [Value]) -> Vec<(Step, Option<&'v Value>, Option<&'v Value>)> {
    let (old, new) = (by_step(shape, before), by_step(shape, after));
    let mut pairs: Vec<_> = old.iter().map(|(step, item)| (step.clone(), Some(*item), new.get(step).copied())).collect();
    let added = new.iter().filter(|(step, _)| !old.contains_key(step));
    pairs.extend(added.map(|(step, item)| (step.clone(), None, Some(*item))));
    pairs
}

/// A list's items by the steps that lead to them; the first of those with the same step.
pub(crate) fn by_step<'v>(shape: &Shape, items: &'v [Value]) -> std::collections::BTreeMap<Step, &'v Value> {
    let mut found = std::collections::BTreeMap::new();
    for item in items {
        if let Some(step) = shape.step(item) {
            found.entry(step).or_insert(item);
        }
    }
    found
}

/// The fields that a value says something of.
pub(crate) fn fields_of(shape: &Shape, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(shape, value, &mut Vec::new(), &mut set);
    set
}

fn collect(shape: &Shape, value: &Value, path: &mut Vec<Step>, set: &mut FieldSet) {
    if let Some(members) = shape.members(Some(value)) {
        for (name, member) in members {
            path.push(Step::Field(name.clone()));
            collect(shape.member(name), member, path, set);
            // What is empty, and a key of a map, counts itself; a declared field with content is only the way to what it holds.
            if is_empty(member) || !shape.declares(name) {
                set.insert(path);
            }
            path.pop();
        }
    } else if let Some(items) = shape.items(Some(value)) {
        for item in items {
            let Some(step) = shape.step(item) else { continue };
            path.push(step);
            collect(shape.item(), item, path, set);
            set.insert(path);
            path.pop();
        }
    } else if !matches!(shape, Shape::Set | Shape::Keyed { .. } | Shape::Members { .. }) {
        set.insert(path);
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// The set with each declared field that leads to a member as a member of its own: whoever gives up all of it gives up itself.
pub(crate) fn with_ways(shape: &Shape, set: &FieldSet) -> FieldSet {
    let mut all = FieldSet::default();
    for (step, member, below) in set.iter() {
        let (inner, way) = match step {
            Step::Field(name) => (shape.member(name), shape.declares(name) && !below.is_empty()),
            _ => (shape.item(), false),
        };
        all.put(step.clone(), member || way, with_ways(inner, below));
    }
    all
}

/// The value without the fields of a set. What loses all it held stays, empty.
pub(crate) fn without(shape: &Shape, value: &Value, set: &FieldSet) -> Value {
    if let Some(members) = shape.members(Some(value)) {
        let kept = members.iter().filter_map(|(name, member)| {
            let step = Step::Field(name.clone());
            kept_of(shape.member(name), member, set, &step).map(|kept| (name.clone(), kept))
        });
        return Value::Object(kept.collect());
    }
    let Some(items) = shape.items(Some(value)) else { return value.clone() };
    let kept = items.iter().filter_map(|item| match shape.step(item) {
        Some(step) => kept_of(shape.item(), item, set, &step),
        None => Some(item.clone()),
    });
    Value::Array(kept.collect())
}

fn kept_of(shape: &Shape, value: &Value, set: &FieldSet, step: &Step) -> Option<Value> {
    if set.has(step) {
        return None;
    }
    Some(set.below(step).map_or_else(|| value.clone(), |below| without(shape, value, below)))
}

/// What keeps a value from being taken apart into fields: an item that nothing tells apart, or one that stands there twice.
pub(crate) fn faults(shape: &Shape, value: &Value) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    find_faults(shape, value, &mut Vec::new(), &mut faults);
    faults
}

fn find_faults(shape: &Shape, value: &Value, path: &mut Vec<Step>, faults: &mut Vec<(String, String)>) {
    for (name, member) in shape.members(Some(value)).into_iter().flatten() {
        path.push(Step::Field(name.clone()));
        find_faults(shape.member(name), member, path, faults);
        path.pop();
    }
    let mut seen = std::collections::BTreeSet::new();
    for (index, item) in shape.items(Some(value)).into_iter().flatten().enumerate() {
        let Some(step) = shape.step(item) else {
            let wanted = match shape {
                Shape::Keyed { keys, .. } => keys.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(" and "),
                _ => "no members".to_owned(),
            };
            faults.push((path_text(path), format!("item {index} needs {wanted}, by which it is told apart")));
            continue;
        };
        path.push(step.clone());
        find_faults(shape.item(), item, path, faults);
        path.pop();
        let shown = step.to_string();
        if !seen.insert(step) {
            faults.push((path_text(path), format!("duplicate entries for key {shown}")));
        }
    }
}

#[cfg(test)]
mod tests;
