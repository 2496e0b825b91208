//! A three-way merge of objects: what two people made of one, put together where they do not contradict each other. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Members by which the items of a list are known, tried in this order.
const ITEM_NAMES: [&str; 4] = ["path", "name", "key", "type"];

/// What came of a merge.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Merged {
    /// The merged object; none where it is gone.
    pub(crate) value: Option<Value>,
    /// The members that both sides changed, each in its own way: yours stands there.
    pub(crate) conflicts: Vec<String>,
}

/// Puts together what they and you made of a base. A side that has no object has deleted it, or never had it.
pub(crate) fn merge(base: Option<&Value>, theirs: Option<&Value>, yours: Option<&Value>) -> Merged {
    let mut conflicts = Vec::new();
    let value = at("", base, theirs, yours, &mut conflicts);
    Merged { value, conflicts }
}

fn at(
    place: &str,
    base: Option<&Value>,
    theirs: Option<&Value>,
    yours: Option<&Value>,
    conflicts: &mut Vec<String>,
) -> Option<Value> {
    if theirs == yours || base == yours {
        return theirs.cloned();
    }
    if base == theirs {
        return yours.cloned();
    }
    match (theirs, yours) {
        (Some(Value::Object(theirs)), Some(Value::Object(yours))) => {
            let nothing = Map::new();
            let base = base.and_then(Value::as_object).unwrap_or(&nothing);
            Some(Value::Object(members(place, base, theirs, yours, conflicts)))
        }
        (Some(Value::Array(theirs)), Some(Value::Array(yours))) => {
            let base = base.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let name = ITEM_NAMES.into_iter().find(|name| [base, theirs, yours].into_iter().all(|list| are_named_by(list, name)));
            let Some(name) = name else { return conflict(place, yours.clone().into(), conflicts) };
            Some(Value::Array(items(place, name, [base, theirs, yours], conflicts)))
        }
        (_, yours) => {
            conflicts.push(if place.is_empty() { "(object)".to_owned() } else { place.to_owned() });
            yours.cloned()
        }
    }
}

fn conflict(place: &str, yours: Value, conflicts: &mut Vec<String>) -> Option<Value> {
    conflicts.push(place.to_owned());
    Some(yours)
}

fn members(
    place: &str,
    base: &Map<String, Value>,
    theirs: &Map<String, Value>,
    yours: &Map<String, Value>,
    conflicts: &mut Vec<String>,
) -> Map<String, Value> {
    let names: BTreeSet<&String> = theirs.keys().chain(yours.keys()).collect();
    let below = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    let merged = names.into_iter().filter_map(|name| {
        let value = at(&below(name), base.get(name), theirs.get(name), yours.get(name), conflicts)?;
        Some((name.clone(), value))
    });
    merged.collect()
}

/// Whether every item is an object with a text of that name, each another one.
fn are_named_by(items: &[Value], name: &str) -> bool {
    let names: BTreeSet<&str> = items.iter().filter_map(|item| item.get(name)?.as_str()).collect();
    names.len() == items.len()
}

/// In their order, and what is new on your side after it.
fn items(place: &str, name: &str, [base, theirs, yours]: [&[Value]; 3], conflicts: &mut Vec<String>) -> Vec<Value> {
    fn named<'a>(items: &'a [Value], name: &str, wanted: &str) -> Option<&'a Value> {
        items.iter().find(|item| item.get(name).and_then(Value::as_str) == Some(wanted))
    }
    let names_of =
        |list: &[Value]| -> Vec<String> { list.iter().filter_map(|item| item.get(name)?.as_str().map(str::to_owned)).collect() };
    let mut names = names_of(theirs);
    names.extend(names_of(yours).into_iter().filter(|new| named(theirs, name, new).is_none()));
    let merged = names.iter().filter_map(|wanted| {
        let side = |list| named(list, name, wanted);
        at(&format!("{place}[{name}={wanted}]"), side(base), side(theirs), side(yours), conflicts)
    });
    merged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_does_not_contradict_is_put_together() {
        let base = json!({"a": 1, "b": {"c": 1, "d": 1}, "files": [{"path": "/x", "content": "1"}, {"path": "/y", "content": "1"}], "list": [1]});
        type Case = (Value, Value, Value, &'static [&'static str]);
        let with = |pointer: &str, value: Value| {
            let mut changed = base.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            changed
        };
        let both = json!({"a": 2, "b": {"c": 1, "d": 2}, "files": base["files"], "list": [1]});
        let new_file = json!([{"path": "/x", "content": "1"}, {"path": "/y", "content": "1"}, {"path": "/z", "content": "1"}]);
        let merged_files =
            json!([{"path": "/x", "content": "2"}, {"path": "/y", "content": "1"}, {"path": "/z", "content": "1"}]);
        let cases: Vec<Case> = vec![
            (with("/a", json!(2)), with("/b/d", json!(2)), both, &[]),
            (with("/a", json!(2)), with("/a", json!(2)), with("/a", json!(2)), &[]),
            (with("/a", json!(2)), with("/a", json!(3)), with("/a", json!(3)), &["a"]),
            (with("/files/0/content", json!("2")), with("/files", new_file), with("/files", merged_files), &[]),
            (
                with("/files/0/content", json!("2")),
                with("/files", json!([{"path": "/y", "content": "1"}])),
                with("/files", json!([{"path": "/y", "content": "1"}])),
                &["files[path=/x]"],
            ),
            (with("/list", json!([1, 2])), with("/list", json!([3])), with("/list", json!([3])), &["list"]),
        ];
        for (theirs, yours, expected, conflicts) in cases {
            let merged = merge(Some(&base), Some(&theirs), Some(&yours));
            assert_eq!(merged.value, Some(expected), "{theirs} {yours}");
            assert_eq!(merged.conflicts, conflicts, "{theirs} {yours}");
        }
    }

    #[test]
    fn objects_that_come_and_go() {
        let (one, two) = (json!({"a": 1}), json!({"a": 2}));
        let cases = [
            (Some(&one), None, Some(&one), None, 0),
            (Some(&one), Some(&one), None, None, 0),
            (Some(&one), Some(&two), None, None, 1),
            (Some(&one), None, Some(&two), Some(&two), 1),
            (None, None, Some(&two), Some(&two), 0),
            (None, Some(&one), Some(&two), Some(&two), 1),
        ];
        for (base, theirs, yours, expected, conflicts) in cases {
            let merged = merge(base, theirs, yours);
            assert_eq!((merged.value.as_ref(), merged.conflicts.len()), (expected, conflicts), "{base:?} {theirs:?} {yours:?}");
        }
    }
}
