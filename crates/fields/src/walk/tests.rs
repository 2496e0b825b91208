//! Values and their fields, by table and by property.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::codec::encode;
use crate::merge::merge;

fn shape() -> Shape {
    Shape::of_schema(&json!({"type": "object", "properties": {
        "image": {"type": "string"},
        "ports": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}},
        },
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "args": {"type": "array", "items": {"type": "string"}},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
        "sel": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
        "free": {"type": "object"},
    }}))
}

fn fields(value: &Value) -> String {
    encode(&fields_of(&shape(), value))
}

#[test]
fn fields_are_what_a_value_says_something_of() {
    for (value, expected) in [
        (json!({}), "{}"),
        (json!({"image": "i"}), r#"{"f:image":{}}"#),
        (json!({"image": null, "env": {}, "tags": []}), r#"{"f:env":{},"f:image":{},"f:tags":{}}"#),
        (json!({"args": ["a", "b"], "sel": {"k": "v"}}), r#"{"f:args":{},"f:sel":{}}"#),
        (json!({"env": {"A": "1"}}), r#"{"f:env":{"f:A":{}}}"#),
        (json!({"ports": [{"name": "x", "port": 1}]}), r#"{"f:ports":{"k:{\"name\":\"x\"}":{".":{},"f:name":{},"f:port":{}}}}"#),
        (json!({"tags": ["t"]}), r#"{"f:tags":{"v:\"t\"":{}}}"#),
        (
            json!({"free": {"l": [1, {"a": 2}], "m": {"n": {"o": 1}}, "e": {}}}),
            r#"{"f:free":{"f:e":{},"f:l":{},"f:m":{".":{},"f:n":{".":{},"f:o":{}}}}}"#,
        ),
    ] {
        assert_eq!(fields(&value), expected, "{value}");
    }
}

#[test]
fn differences_are_told_field_by_field() {
    let text = |set: &FieldSet| set.paths().iter().map(|path| path_text(path)).collect::<Vec<_>>().join(" ");
    for (old, new, added, modified, removed) in [
        (json!({"image": "a"}), json!({"image": "a"}), "", "", ""),
        (json!({"image": "a"}), json!({"image": "b"}), "", ".image", ""),
        (json!({}), json!({"env": {"A": "1"}}), ".env .env.A", "", ""),
        (json!({"env": {"A": "1", "B": "2"}}), json!({"env": {"B": "3"}}), "", ".env.B", ".env.A"),
        (json!({"env": {"A": "1"}}), json!({}), "", "", ".env .env.A"),
        (json!({"env": {"A": "1"}}), json!({"env": {}}), "", "", ".env.A"),
        (json!({"args": ["a"]}), json!({"args": ["b", "a"]}), "", ".args", ""),
        (json!({"sel": {"k": "v"}}), json!({"sel": {"k": "w"}}), "", ".sel", ""),
        (json!({"tags": ["a", "b"]}), json!({"tags": ["b", "c"]}), r#".tags[="c"]"#, "", r#".tags[="a"]"#),
        (
            json!({"ports": [{"name": "x", "port": 1}, {"name": "y", "port": 2}]}),
            json!({"ports": [{"name": "y", "port": 3}, {"name": "z"}]}),
            r#".ports[name="z"] .ports[name="z"].name"#,
            r#".ports[name="y"].port"#,
            r#".ports[name="x"] .ports[name="x"].name .ports[name="x"].port"#,
        ),
        // The order of what is told apart by its fields says nothing.
        (json!({"ports": [{"name": "x"}, {"name": "y"}]}), json!({"ports": [{"name": "y"}, {"name": "x"}]}), "", "", ""),
        (json!({"free": {"a": {"b": 1}}}), json!({"free": {"a": 5}}), "", ".free.a", ".free.a.b"),
        (json!({"free": {"a": 5}}), json!({"free": {"a": {"b": 1}}}), ".free.a.b", ".free.a", ""),
        (json!({"free": {"a": [1]}}), json!({"free": {"a": {"b": 1}}}), ".free.a.b", ".free.a", ""),
        // Nothing, in words.
        (json!({}), json!({"image": null}), "", "", ""),
        (json!({"image": "a"}), json!({"image": null}), "", ".image", ""),
    ] {
        let found = Comparison::between(&shape(), &old, &new);
        assert_eq!(
            (&*text(&found.added), &*text(&found.modified), &*text(&found.removed)),
            (added, modified, removed),
            "{old} {new}"
        );
    }
}

#[test]
fn merging_keeps_what_only_one_side_says() {
    for (live, config, expected) in [
        (json!({"image": "a", "env": {"A": "1"}}), json!({"image": "b"}), json!({"image": "b", "env": {"A": "1"}})),
        (json!({"env": {"A": "1"}}), json!({"env": {"B": "2"}}), json!({"env": {"A": "1", "B": "2"}})),
        (
            json!({"args": ["a"], "sel": {"k": "v"}}),
            json!({"args": ["b"], "sel": {"l": "w"}}),
            json!({"args": ["b"], "sel": {"l": "w"}}),
        ),
        (json!({"tags": ["a", "b"]}), json!({"tags": ["c"]}), json!({"tags": ["a", "b", "c"]})),
        (json!({"tags": ["a", "b"]}), json!({"tags": ["c", "a"]}), json!({"tags": ["c", "a", "b"]})),
        (json!({"tags": ["a", "b"]}), json!({"tags": ["b", "a"]}), json!({"tags": ["b", "a"]})),
        (
            json!({"ports": [{"name": "x", "port": 1}]}),
            json!({"ports": [{"name": "y"}, {"name": "x", "port": 2}]}),
            json!({"ports": [{"name": "y"}, {"name": "x", "port": 2}]}),
        ),
        (json!({"image": "a"}), json!({"image": null}), json!({"image": null})),
        (
            json!({"free": {"l": [1, 2], "m": {"a": 1}}}),
            json!({"free": {"l": [3], "m": {"b": 2}}}),
            json!({"free": {"l": [3], "m": {"a": 1, "b": 2}}}),
        ),
        (json!({"free": {"m": {"a": 1}}}), json!({"free": {"m": "x"}}), json!({"free": {"m": "x"}})),
        (json!({"free": {"m": "x"}}), json!({"free": {"m": {"a": 1}}}), json!({"free": {"m": {"a": 1}}})),
    ] {
        assert_eq!(merge(&shape(), Some(&live), Some(&config)).unwrap(), expected, "{live} {config}");
    }
}

#[test]
fn faults_say_where() {
    let found = |value: Value| faults(&shape(), &value);
    assert_eq!(found(json!({"ports": [{"name": "x"}, {"name": "y"}], "tags": ["a"]})), []);
    let twice = vec![(".ports".to_owned(), r#"duplicate entries for key [name="q"]"#.to_owned())];
    assert_eq!(found(json!({"ports": [{"name": "q"}, {"name": "q"}]})), twice);
    let nameless = &found(json!({"ports": [{"port": 1}]}))[0];
    assert!(nameless.0 == ".ports" && nameless.1.contains("\"name\""), "{nameless:?}");
    assert_eq!(found(json!({"tags": ["a", "a"]}))[0].1, r#"duplicate entries for key [="a"]"#);
    assert_eq!(found(json!({"tags": [["a"]]})).len(), 1);
}

fn any_value() -> impl Strategy<Value = Value> {
    let port = ("[xyz]", 0_i64..3).prop_map(|(name, port)| json!({"name": name, "port": port}));
    let ports = proptest::collection::vec(port, 0..4).prop_map(|mut ports| {
        let mut seen = BTreeSet::new();
        ports.retain(|port| seen.insert(port["name"].to_string()));
        json!(ports)
    });
    let tags = proptest::collection::btree_set("[abc]", 0..3).prop_map(|tags| json!(tags));
    let env = proptest::collection::btree_map("[AB]", "[12]", 0..3).prop_map(|env| json!(env));
    let free = prop_oneof![
        Just(json!({"a": {"b": 1}})),
        Just(json!({"a": [1]})),
        Just(json!({"a": 1, "c": {}})),
        Just(json!({"a": {"c": null}})),
    ];
    let member =
        |name: &'static str, value: BoxedStrategy<Value>| proptest::option::of(value.prop_map(move |value| (name, value)));
    (
        member("image", "[ij]".prop_map(Value::from).boxed()),
        member("ports", ports.boxed()),
        member("tags", tags.boxed()),
        member("env", env.boxed()),
        member("free", free.boxed()),
    )
        .prop_map(|(image, ports, tags, env, free)| {
            [image, ports, tags, env, free]
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<Map<_, _>>()
                .into()
        })
}

proptest! {
    /// A value differs from itself in nothing, and backwards what was added was removed.
    #[test]
    fn comparing_is_symmetric(a in any_value(), b in any_value()) {
        let shape = shape();
        prop_assert_eq!(Comparison::between(&shape, &a, &a), Comparison::default());
        let (there, back) = (Comparison::between(&shape, &a, &b), Comparison::between(&shape, &b, &a));
        prop_assert_eq!(there.added, back.removed);
        prop_assert_eq!(there.removed, back.added);
        prop_assert_eq!(there.modified, back.modified);
    }

    /// A merged value says all that either side says, and what the configuration says as the configuration says it.
    #[test]
    fn merging_loses_nothing(live in any_value(), config in any_value()) {
        let shape = shape();
        let merged = merge(&shape, Some(&live), Some(&config)).unwrap();
        prop_assert_eq!(merge(&shape, Some(&merged), Some(&config)).unwrap(), merged.clone());
        let differs = Comparison::between(&shape, &merged, &config);
        prop_assert!(differs.written().is_empty(), "{} {}", merged, encode(&differs.written()));
    }

    /// Without all of its fields a value is empty, and without none of them it is itself.
    #[test]
    fn taking_fields_out(value in any_value(), other in any_value()) {
        let shape = shape();
        prop_assert_eq!(without(&shape, &value, &FieldSet::default()), value.clone());
        prop_assert_eq!(without(&shape, &value, &with_ways(&shape, &fields_of(&shape, &value))), json!({}));
        let left = without(&shape, &value, &fields_of(&shape, &other));
        prop_assert!(Comparison::between(&shape, &value, &left).written().is_empty());
    }
}
