//! What holds whatever was written before, by whom and in which order.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stead_model::ManagedFields;

use super::*;
use crate::part::Part;
use crate::shape::Shape;
use crate::update::after_update;

fn kind() -> Kind {
    let schema = json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {
            "name": {"type": "string"}, "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        }},
        "spec": {"type": "object", "properties": {
            "image": {"type": "string"},
            "ports": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}},
            },
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "env": {"type": "object", "additionalProperties": {"type": "string"}},
            "free": {"type": "object"},
        }},
    }});
    Kind { shape: Box::leak(Box::new(Shape::of_schema(&schema))), has_status: true }
}

/// One write: by whom, of what, and how.
#[derive(Clone, Debug)]
struct Step {
    manager: &'static str,
    body: Value,
    through: Through,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Through {
    Apply,
    Force,
    /// A plain write of the whole.
    Update,
}

fn any_spec() -> impl Strategy<Value = Value> {
    let ports = proptest::collection::btree_map("[xyz]", 0_i64..3, 0..3)
        .prop_map(|ports| ports.into_iter().map(|(name, port)| json!({"name": name, "port": port})).collect::<Value>());
    let free = prop_oneof![
        Just(json!({"a": {"b": 1}})),
        Just(json!({"a": {"c": 2}, "d": [1]})),
        Just(json!({"a": 1, "e": {}})),
        Just(json!({"a": [1]})),
    ];
    let members: Vec<(&str, BoxedStrategy<Value>)> = vec![
        ("image", "[ij]".prop_map(Value::from).boxed()),
        ("ports", ports.boxed()),
        ("tags", proptest::collection::btree_set("[abc]", 0..3).prop_map(|tags| json!(tags)).boxed()),
        ("env", proptest::collection::btree_map("[AB]", "[12]", 0..3).prop_map(|env| json!(env)).boxed()),
        ("free", free.boxed()),
    ];
    let members: Vec<_> = members
        .into_iter()
        .map(|(name, value)| proptest::option::of(value.prop_map(move |value| (name.to_owned(), value))))
        .collect();
    members.prop_map(|members| members.into_iter().flatten().collect::<Map<_, _>>().into())
}

fn any_step() -> impl Strategy<Value = Step> {
    let body = (any_spec(), proptest::option::of("[pq]")).prop_map(|(spec, label)| {
        let metadata = label.map_or_else(|| json!({"name": "n"}), |label| json!({"name": "n", "labels": {label: "1"}}));
        json!({"metadata": metadata, "spec": spec})
    });
    let through = prop_oneof![Just(Through::Apply), Just(Through::Force), Just(Through::Update)];
    (prop_oneof![Just("a"), Just("b"), Just("kubectl")], body, through).prop_map(|(manager, body, through)| Step {
        manager,
        body,
        through,
    })
}

type State = (Option<Value>, Vec<ManagedFields>);

fn take(kind: &Kind, (object, entries): &State, step: &Step, second: i64) -> Result<State, ApplyError> {
    let part = Part::Object { has_status: true };
    let now = Timestamp::from_second(second).unwrap();
    let writer = Writer { manager: step.manager, api_version: "v1", part, now };
    let live = object.as_ref().map(|object| Live { object, entries });
    if step.through == Through::Update {
        let entries = after_update(kind, live.as_ref(), &step.body, entries, &writer);
        return Ok((Some(step.body.clone()), entries));
    }
    let applied = apply(kind, live.as_ref(), &step.body, step.through == Through::Force, &writer)?;
    Ok((Some(applied.object), applied.entries))
}

/// Everything that anybody manages is there.
fn check_managed(kind: &Kind, (object, entries): &State) {
    let managed = Part::Object { has_status: true }.managed(object.as_ref().unwrap());
    let there = with_ways(kind.shape, &fields_of(kind.shape, &managed));
    let entries = Managers::read(entries).unwrap();
    let gone = entries.everything().difference(&there);
    assert!(gone.is_empty(), "{managed} lacks {}", crate::codec::encode(&gone));
    let updates = entries.0.iter().filter(|entry| entry.identity.operation == Operation::Update);
    // Of two that only ever update, the last one to write a field has it.
    let mut seen = FieldSet::default();
    for update in updates {
        assert!(seen.intersection(&update.set).is_empty(), "{seen:?} {:?}", update.set);
        seen.add(&update.set);
    }
}

proptest! {
    #[test]
    fn every_history_keeps_its_promises(steps in proptest::collection::vec(any_step(), 1..12)) {
        let kind = kind();
        let mut state: State = (None, Vec::new());
        for (step, second) in steps.iter().zip(1..) {
            let Ok(after) = take(&kind, &state, step, second) else {
                prop_assert_eq!(step.through, Through::Apply);
                continue;
            };
            check_managed(&kind, &after);
            if step.through != Through::Update {
                let wanted = Part::Object { has_status: true }.managed(&step.body);
                let found = Part::Object { has_status: true }.managed(after.0.as_ref().unwrap());
                // All that was asked for is there, and is the manager's.
                let missing = Comparison::between(kind.shape, &found, &wanted).written();
                prop_assert!(missing.is_empty(), "{found} {wanted}");
                let entries = Managers::read(&after.1).unwrap();
                let own = entries.0.iter().find(|entry| entry.identity.manager == step.manager && entry.identity.operation == Operation::Apply);
                prop_assert_eq!(own.map(|own| own.set.clone()).unwrap_or_default(), fields_of(kind.shape, &wanted));
                // Once more, nothing happens.
                let again = take(&kind, &after, &Step { through: Through::Apply, ..step.clone() }, second + 1);
                prop_assert_eq!(again.as_ref(), Ok(&after));
            }
            state = after;
        }
    }
}

/// Whatever bytes stand for an object, a configuration and the entries, there is an answer.
#[test]
fn fuzz_apply() {
    let kinds: Vec<Kind> = stead_model::registry().iter().map(Kind::of).chain([kind()]).collect();
    bolero::check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let documents: Vec<Value> = text.split('\n').filter_map(|line| serde_json::from_str(line).ok()).collect();
        let [object, config, ..] = documents.as_slice() else { return };
        let entries: Vec<ManagedFields> =
            documents.get(2).cloned().and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default();
        for kind in &kinds {
            for part in [Part::Object { has_status: true }, Part::Status] {
                let writer = Writer { manager: "kubectl", api_version: "v1", part, now: Timestamp::UNIX_EPOCH };
                let live = Live { object, entries: &entries };
                let _ = after_update(kind, Some(&live), config, &entries, &writer);
                if let Ok(applied) = apply(kind, Some(&live), config, true, &writer) {
                    let live = Live { object: &applied.object, entries: &applied.entries };
                    assert!(apply(kind, Some(&live), config, true, &writer).is_ok());
                }
            }
        }
    });
}
