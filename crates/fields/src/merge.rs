//! The live object with a configuration laid over it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::path::Step;
use crate::shape::Shape;
use crate::walk::by_step;

/// The live value with the configuration over it: what both say is the configuration's, what one says is kept.
pub(crate) fn merge(shape: &Shape, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    let (live_members, config_members) = (shape.members(live), shape.members(config));
    let (live_items, config_items) = (shape.items(live), shape.items(config));
    if has_any(live_members, config_members, Map::is_empty) && is_open(live) && is_open(config) {
        return Some(merge_members(shape, live_members, config_members));
    }
    if has_any(live_items, config_items, <[Value]>::is_empty) {
        return Some(merge_items(shape, live_items.unwrap_or_default(), config_items.unwrap_or_default()));
    }
    config.or(live).cloned()
}

/// Whether at least one side has members, so that there is something to merge.
fn has_any<T: ?Sized>(live: Option<&T>, config: Option<&T>, is_empty: impl Fn(&T) -> bool) -> bool {
    [live, config].into_iter().flatten().any(|side| !is_empty(side))
}

/// Whether a side can be merged with members: it has some, or says nothing.
fn is_open(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.is_object() || value.is_null())
}

fn merge_members(shape: &Shape, live: Option<&Map<String, Value>>, config: Option<&Map<String, Value>>) -> Value {
    let empty = Map::new();
    let (live, config) = (live.unwrap_or(&empty), config.unwrap_or(&empty));
    let names = live.keys().chain(config.keys().filter(|name| !live.contains_key(*name)));
    let merged = names.filter_map(|name| {
        let value = merge(shape.member(name), live.get(name), config.get(name))?;
        Some((name.clone(), value))
    });
    Value::Object(merged.collect())
}

/// Items of both, in the order of the configuration; those that it does not name keep their place among the others.
fn merge_items(shape: &Shape, live: &[Value], config: &[Value]) -> Value {
    let (live_by_step, config_by_step) = (by_step(shape, live), by_step(shape, config));
    let mut wanted = config.iter().filter_map(|item| shape.step(item)).peekable();
    let (mut merged, mut taken) = (Vec::new(), BTreeSet::new());
    let mut take = |step: Step, merged: &mut Vec<Value>| {
        if taken.insert(step.clone()) {
            merged.extend(merge(shape.item(), live_by_step.get(&step).copied(), config_by_step.get(&step).copied()));
        }
    };
    for item in live {
        match shape.step(item) {
            Some(step) if config_by_step.contains_key(&step) => {
                // Everything that the configuration has up to here comes first.
                while wanted.peek().is_some_and(|next| !live_by_step.contains_key(next) || *next == step) {
                    let Some(next) = wanted.next() else { break };
                    let last = next == step;
                    take(next, &mut merged);
                    if last {
                        break;
                    }
                }
            }
            Some(step) => take(step, &mut merged),
            // An item that nothing tells apart belongs to nobody: it stays.
            None => merged.push(item.clone()),
        }
    }
    for step in wanted {
        take(step, &mut merged);
    }
    Value::Array(merged)
}
