//! The worked examples that were measured on a real server, and what is ours.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::part::Part;
use crate::shape::Shape;
use crate::update::after_update;

const API_VERSION: &str = "stead.dev/v1";

fn machine() -> Kind {
    let schema = json!({"type": "object", "properties": {
        "apiVersion": {"type": "string"}, "kind": {"type": "string"},
        "metadata": {"type": "object", "properties": {
            "name": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
            "finalizers": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "ownerReferences": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
                "items": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"uid": {"type": "string"}}},
            },
        }},
        "spec": {"type": "object", "properties": {
            "image": {"type": "string"}, "size": {"type": "integer"},
            "ports": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}},
            },
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "args": {"type": "array", "items": {"type": "string"}},
            "env": {"type": "object", "additionalProperties": {"type": "string"}},
            "sel": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
            "free": {"type": "object"},
        }},
        "status": {"type": "object", "properties": {
            "phase": {"type": "string"},
            "conditions": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                "items": {"type": "object", "properties": {"type": {"type": "string"}, "status": {"type": "string"}}},
            },
        }},
    }});
    Kind { shape: Box::leak(Box::new(Shape::of_schema(&schema))), has_status: true }
}

fn blob() -> Kind {
    let schema = json!({"type": "object", "properties": {
        "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}, "spec": {},
    }});
    Kind { shape: Box::leak(Box::new(Shape::of_schema(&schema))), has_status: false }
}

/// An object on record, and a clock that moves with each write.
struct Record {
    kind: Kind,
    object: Option<Value>,
    entries: Vec<ManagedFields>,
    second: i64,
}

impl Record {
    fn new(kind: Kind) -> Self {
        Self { kind, object: None, entries: Vec::new(), second: 0 }
    }

    fn writer<'a>(&mut self, manager: &'a str, part: Part) -> Writer<'a> {
        self.second += 1;
        Writer { manager, api_version: API_VERSION, part, now: Timestamp::from_second(self.second).unwrap() }
    }

    fn part(&self) -> Part {
        Part::Object { has_status: self.kind.has_status }
    }

    fn config(body: Value) -> Value {
        let mut config = json!({"apiVersion": API_VERSION, "kind": "Machine", "metadata": {"name": "s1"}});
        for (name, value) in body.as_object().unwrap() {
            match (name.as_str(), value.as_object()) {
                ("metadata", Some(metadata)) => config["metadata"].as_object_mut().unwrap().extend(metadata.clone()),
                _ => config[name] = value.clone(),
            }
        }
        config
    }

    fn try_apply(&mut self, part: Part, manager: &str, body: Value, force: bool) -> Result<(), ApplyError> {
        let writer = self.writer(manager, part);
        let live = self.object.as_ref().map(|object| Live { object, entries: &self.entries });
        let applied = apply(&self.kind, live.as_ref(), &Self::config(body), force, &writer)?;
        (self.object, self.entries) = (Some(without_nulls(applied.object)), applied.entries);
        Ok(())
    }

    /// Applies; the object's spec.
    fn apply(&mut self, manager: &str, spec: Value) -> Value {
        self.try_apply(self.part(), manager, json!({"spec": spec}), false).unwrap();
        self.spec()
    }

    fn force(&mut self, manager: &str, spec: Value) -> Value {
        self.try_apply(self.part(), manager, json!({"spec": spec}), true).unwrap();
        self.spec()
    }

    fn refused(&mut self, manager: &str, spec: Value) -> String {
        let before = (self.object.clone(), self.entries.clone());
        let error = self.try_apply(self.part(), manager, json!({"spec": spec}), false).unwrap_err();
        assert_eq!((self.object.clone(), self.entries.clone()), before);
        error.to_string()
    }

    /// A plain write.
    fn write(&mut self, part: Part, manager: &str, change: impl FnOnce(&mut Value)) {
        let writer = self.writer(manager, part);
        let mut new = self.object.clone().unwrap_or_else(|| Self::config(json!({})));
        change(&mut new);
        let live = self.object.as_ref().map(|object| Live { object, entries: &self.entries });
        self.entries = after_update(&self.kind, live.as_ref(), &new, &self.entries, &writer);
        self.object = Some(new);
    }

    fn update(&mut self, manager: &str, change: impl FnOnce(&mut Value)) {
        self.write(self.part(), manager, change);
    }

    fn spec(&self) -> Value {
        self.object.as_ref().unwrap()["spec"].clone()
    }

    /// The entries as `manager operation fields`.
    fn managed(&self) -> Vec<String> {
        let shown = |entry: &ManagedFields| {
            let through = if entry.subresource.is_empty() { String::new() } else { format!("/{}", entry.subresource) };
            format!("{} {}{through} {}", entry.manager, entry.operation, entry.fields.as_ref().unwrap().json())
        };
        self.entries.iter().map(shown).collect()
    }

    #[track_caller]
    fn has(&self, expected: &[&str]) {
        assert_eq!(self.managed(), expected);
    }

    fn times(&self) -> Vec<i64> {
        self.entries.iter().map(|entry| entry.time.unwrap().as_second()).collect()
    }
}

/// As the server reads an object: a null is nothing.
fn without_nulls(mut value: Value) -> Value {
    fn clear(value: &mut Value) {
        if let Some(members) = value.as_object_mut() {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(clear);
        }
    }
    clear(&mut value);
    value
}

fn everything() -> Value {
    json!({
        "image": "i1", "ports": [{"name": "x", "port": 1}], "tags": ["t1"], "args": ["a", "b"], "env": {"A": "1"}, "sel": {"k": "v"},
        "free": {"n": {"m": [1]}},
    })
}

const EVERYTHING: &str = r#"a Apply {"f:spec":{"f:args":{},"f:env":{"f:A":{}},"f:free":{"f:n":{".":{},"f:m":{}}},"f:image":{},"f:ports":{"k:{\"name\":\"x\"}":{".":{},"f:name":{},"f:port":{}}},"f:sel":{},"f:tags":{"v:\"t1\"":{}}}}"#;

fn applied_by_a() -> Record {
    let mut record = Record::new(machine());
    record.apply("a", everything());
    record
}

#[test]
fn example_1_and_2_the_first_apply_owns_what_it_says_and_the_second_writes_nothing() {
    let mut record = applied_by_a();
    record.has(&[EVERYTHING]);
    let before = (record.object.clone(), record.entries.clone());
    record.apply("a", everything());
    assert_eq!((record.object, record.entries), before);
}

#[test]
fn example_3_conflicts_are_listed() {
    let mut record = applied_by_a();
    let other = json!({"image": "i2", "args": ["z"], "sel": {"k": "w"}, "ports": [{"name": "x", "port": 2}]});
    let expected = "Apply failed with 4 conflicts: conflicts with \"a\":\n- .spec.args\n- .spec.image\n- .spec.sel\n- .spec.ports[name=\"x\"].port";
    assert_eq!(record.refused("b", other), expected);
    record.apply("c", json!({"env": {"B": "2"}}));
    let both = record.refused("b", json!({"image": "i2", "env": {"B": "3"}}));
    assert_eq!(both, "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.image\nconflicts with \"c\":\n- .spec.env.B");
}

#[test]
fn example_4_the_same_value_is_shared() {
    let mut record = applied_by_a();
    record.apply("b", json!({"image": "i1"}));
    record.has(&[EVERYTHING, r#"b Apply {"f:spec":{"f:image":{}}}"#]);
    assert_eq!(record.times(), [1, 2]);
}

#[test]
fn example_5_and_6_items_are_their_own_and_force_takes_over() {
    let mut record = applied_by_a();
    let spec = record.apply("b", json!({"image": "i1", "ports": [{"name": "y", "port": 2}], "tags": ["t2"], "env": {"B": "2"}}));
    assert_eq!(spec["ports"], json!([{"name": "x", "port": 1}, {"name": "y", "port": 2}]));
    assert_eq!((&spec["tags"], &spec["env"]), (&json!(["t1", "t2"]), &json!({"A": "1", "B": "2"})));
    record.has(&[
        EVERYTHING,
        r#"b Apply {"f:spec":{"f:env":{"f:B":{}},"f:image":{},"f:ports":{"k:{\"name\":\"y\"}":{".":{},"f:name":{},"f:port":{}}},"f:tags":{"v:\"t2\"":{}}}}"#,
    ]);
    let spec = record.force("b", json!({"image": "i2"}));
    let mut expected = everything();
    expected["image"] = "i2".into();
    assert_eq!(spec, expected);
    record.has(&[&EVERYTHING.replace(r#""f:image":{},"#, ""), r#"b Apply {"f:spec":{"f:image":{}}}"#]);
}

#[test]
fn example_7_and_8_what_is_no_longer_applied_goes() {
    let mut record = applied_by_a();
    record.force("b", json!({"image": "i2"}));
    let spec = record.apply("a", json!({"args": ["a", "b"], "sel": {"k": "v"}}));
    assert_eq!(spec, json!({"args": ["a", "b"], "sel": {"k": "v"}, "image": "i2"}));
    record.apply("a", json!({}));
    record.has(&[r#"b Apply {"f:spec":{"f:image":{}}}"#, r#"a Apply {"f:spec":{}}"#]);
    record.try_apply(record.part(), "a", json!({}), false).unwrap();
    record.has(&[r#"b Apply {"f:spec":{"f:image":{}}}"#]);
    assert_eq!(record.spec(), json!({"image": "i2"}));
}

#[test]
fn example_14_what_cannot_be_told_apart_is_refused() {
    let mut record = applied_by_a();
    let twice = json!({"ports": [{"name": "q"}, {"name": "q"}]});
    assert_eq!(record.refused("b", twice), ".spec.ports: duplicate entries for key [name=\"q\"]");
    assert!(record.refused("b", json!({"ports": [{"port": 1}]})).contains(".spec.ports"));
}

#[test]
fn example_15_null_is_owned() {
    let mut record = Record::new(machine());
    record.apply("a", json!({"image": "i", "size": null}));
    record.has(&[r#"a Apply {"f:spec":{"f:image":{},"f:size":{}}}"#]);
    assert_eq!(record.spec(), json!({"image": "i"}));
    let before = record.entries.clone();
    record.apply("a", json!({"image": "i", "size": null}));
    assert_eq!(record.entries, before);
}

#[test]
fn example_16_a_plain_write_takes_without_asking() {
    let mut record = Record::new(machine());
    record.apply("a", json!({"image": "i", "size": 5}));
    record.update("c", |object| object["spec"]["size"] = 7.into());
    record.has(&[r#"a Apply {"f:spec":{"f:image":{}}}"#, r#"c Update {"f:spec":{"f:size":{}}}"#]);
    let refused = record.refused("a", json!({"image": "i", "size": 8}));
    assert_eq!(refused, "Apply failed with 1 conflict: conflict with \"c\" using stead.dev/v1: .spec.size");
    record.apply("a", json!({"image": "i", "size": 7}));
    record.has(
        &[r#"c Update {"f:spec":{"f:size":{}}}"#, r#"a Apply {"f:spec":{"f:image":{},"f:size":{}}}"#]
            .iter()
            .rev()
            .copied()
            .collect::<Vec<_>>(),
    );
    assert_eq!(record.apply("a", json!({"image": "i"})), json!({"image": "i", "size": 7}));
}

#[test]
fn example_17_one_name_with_two_ways_to_write_conflicts_with_itself() {
    let mut record = Record::new(machine());
    record.update("poster", |object| object["spec"] = json!({"image": "i"}));
    record.has(&[r#"poster Update {"f:spec":{".":{},"f:image":{}}}"#]);
    assert!(record.refused("poster", json!({"image": "j"})).contains("conflict with \"poster\" using stead.dev/v1: .spec.image"));
    record.force("poster", json!({"image": "j"}));
    record.has(&[r#"poster Apply {"f:spec":{"f:image":{}}}"#, r#"poster Update {"f:spec":{}}"#]);
    record.update("poster", |object| object["spec"]["image"] = "k".into());
    record.has(&[r#"poster Update {"f:spec":{".":{},"f:image":{}}}"#]);
}

#[test]
fn example_19_one_empty_entry_clears_and_the_next_apply_starts_over() {
    let mut record = applied_by_a();
    let writer = record.writer("x", record.part());
    let object = record.object.clone().unwrap();
    let live = Live { object: &object, entries: &record.entries };
    assert_eq!(after_update(&record.kind, Some(&live), &object, &[], &writer), record.entries);
    assert_eq!(after_update(&record.kind, Some(&live), &object, &[ManagedFields::default()], &writer), []);
    record.entries.clear();
    record.update("c", |object| object["spec"]["size"] = 1.into());
    record.has(&[]);
    let refused = record.refused("a", json!({"image": "i9"}));
    assert_eq!(refused, "Apply failed with 1 conflict: conflict with \"before-first-apply\" using stead.dev/v1: .spec.image");
    record.force("a", json!({"image": "i9"}));
    assert!(
        record.managed()[1].starts_with("before-first-apply Update {\"f:spec\":{\".\":{},\"f:args\":{}"),
        "{:?}",
        record.managed()
    );
}

#[test]
fn example_20_what_has_no_schema_is_deduced() {
    let mut record = Record::new(blob());
    let whole = json!({"a": 1, "m": {"x": 1, "y": {"z": 2}}, "l": [1, 2], "lo": [{"name": "p"}], "e": {}, "n": null});
    record.apply("a", whole.clone());
    record.has(&[
        r#"a Apply {"f:spec":{"f:a":{},"f:e":{},"f:l":{},"f:lo":{},"f:m":{".":{},"f:x":{},"f:y":{".":{},"f:z":{}}},"f:n":{}}}"#,
    ]);
    assert_eq!(record.apply("b", json!({"m": {"w": 1}}))["m"], json!({"x": 1, "y": {"z": 2}, "w": 1}));
    assert!(record.refused("b", json!({"m": {"w": 1}, "lo": [{"name": "q"}]})).ends_with("conflict with \"a\": .spec.lo"));
    let mut less = whole;
    less["m"] = json!({"x": 1});
    assert_eq!(record.apply("a", less.clone())["m"], json!({"x": 1, "w": 1}));
    less.as_object_mut().unwrap().remove("m");
    assert_eq!(record.apply("a", less)["m"], json!({"w": 1}));
}

#[test]
fn example_21_metadata_is_managed_too() {
    let mut record = Record::new(machine());
    let metadata = json!({
        "labels": {"l": "1"}, "annotations": {"an/x": "1"}, "finalizers": ["stead.dev/f"], "ownerReferences": [{"uid": "u1", "name": "o"}],
        "uid": "u", "resourceVersion": "5",
    });
    record.try_apply(record.part(), "a", json!({"metadata": metadata}), false).unwrap();
    record.has(&[
        r#"a Apply {"f:metadata":{"f:annotations":{"f:an/x":{}},"f:finalizers":{"v:\"stead.dev/f\"":{}},"f:labels":{"f:l":{}},"f:ownerReferences":{"k:{\"uid\":\"u1\"}":{}}}}"#,
    ]);
    let other = json!({"labels": {"m": "2"}, "finalizers": ["stead.dev/g"]});
    record.try_apply(record.part(), "b", json!({"metadata": other}), false).unwrap();
    let kept = record.object.clone().unwrap()["metadata"].clone();
    assert_eq!((&kept["labels"], &kept["finalizers"]), (&json!({"l": "1", "m": "2"}), &json!(["stead.dev/f", "stead.dev/g"])));
    record.try_apply(record.part(), "a", json!({}), false).unwrap();
    let kept = record.object.unwrap()["metadata"].clone();
    assert_eq!((&kept["labels"], &kept["finalizers"]), (&json!({"m": "2"}), &json!(["stead.dev/g"])));
    assert!(kept.get("ownerReferences").is_none_or(|owners| owners == &json!([])), "{kept}");
}

#[test]
fn example_22_status_is_its_own() {
    let mut record = applied_by_a();
    let condition = |kind: &str| json!({"conditions": [{"type": kind, "status": "True"}]});
    let mut ready = condition("Ready");
    ready["phase"] = "Up".into();
    record.try_apply(Part::Status, "ctl", json!({"spec": {"image": "no"}, "status": ready}), false).unwrap();
    record.try_apply(Part::Status, "ctl2", json!({"status": condition("Disk")}), false).unwrap();
    assert_eq!(record.spec()["image"], "i1");
    assert_eq!(record.object.as_ref().unwrap()["status"]["conditions"].as_array().unwrap().len(), 2);
    record.has(&[
        EVERYTHING,
        r#"ctl Apply/status {"f:status":{"f:conditions":{"k:{\"type\":\"Ready\"}":{".":{},"f:status":{},"f:type":{}}},"f:phase":{}}}"#,
        r#"ctl2 Apply/status {"f:status":{"f:conditions":{"k:{\"type\":\"Disk\"}":{".":{},"f:status":{},"f:type":{}}}}}"#,
    ]);
    let refused = record.try_apply(Part::Status, "ctl3", json!({"status": {"phase": "Down"}}), false).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Apply failed with 1 conflict: conflict with \"ctl\" with subresource \"status\": .status.phase"
    );
    // Through the object itself, status is neither taken nor owned.
    record.try_apply(record.part(), "d", json!({"status": {"phase": "Down"}}), false).unwrap();
    assert_eq!(record.object.as_ref().unwrap()["status"]["phase"], "Up");
    assert_eq!(record.entries.len(), 3);
    record.write(Part::Status, "c", |object| object["status"]["phase"] = "Down".into());
    assert_eq!(record.managed().last().unwrap(), r#"c Update/status {"f:status":{"f:phase":{}}}"#);
}

#[test]
fn example_23_kubectl_takes_over_what_it_applied_on_the_client_side() {
    let mut record = Record::new(machine());
    let first = json!({"image": "i1", "env": {"A": "1", "B": "2"}});
    let last = Record::config(json!({"spec": first})).to_string();
    record.update("kubectl-client-side-apply", |object| {
        object["metadata"]["annotations"] = json!({last_applied::ANNOTATION: last});
        object["spec"] = first;
    });
    let second = json!({"image": "i2", "env": {"A": "1"}});
    assert!(record.refused("other", second.clone()).contains("kubectl-client-side-apply"));
    record.apply("kubectl", second.clone());
    // What the manifest dropped stays for now: it is still the old manager's.
    assert_eq!(record.spec(), json!({"image": "i2", "env": {"A": "1", "B": "2"}}));
    let annotation =
        record.object.as_ref().unwrap()["metadata"]["annotations"][last_applied::ANNOTATION].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&annotation).unwrap(), Record::config(json!({"spec": second})));
    // Somebody changed it since: that is a conflict for kubectl as for everybody.
    record.update("mallory", |object| object["spec"]["image"] = "m".into());
    assert!(record.refused("kubectl", second.clone()).contains("mallory"));
    record.force("kubectl", second.clone());
    // kubectl 1.26 and later then folds the old manager's fields into its own and applies again.
    let folded =
        ManagedFields { manager: "kubectl".to_owned(), operation: "Apply".to_owned(), ..record.entries.last().unwrap().clone() };
    record.entries = vec![folded];
    record.apply("kubectl", second.clone());
    assert_eq!(record.spec(), second);
}

#[test]
fn a_manager_loses_what_others_take_away() {
    let mut record = applied_by_a();
    record.apply("b", json!({"env": {"B": "2"}}));
    record.update("c", |object| {
        object["spec"]["env"].as_object_mut().unwrap().remove("A");
    });
    record.has(&[&EVERYTHING.replace(r#""f:env":{"f:A":{}},"#, ""), r#"b Apply {"f:spec":{"f:env":{"f:B":{}}}}"#]);
    // A whole map that becomes something else takes its members with it.
    let mut record = Record::new(machine());
    record.apply("a", json!({"free": {"x": {"y": 1}}}));
    record.force("b", json!({"free": {"x": 5}}));
    record.has(&[r#"b Apply {"f:spec":{"f:free":{"f:x":{}}}}"#]);
}

#[test]
fn what_nobody_manages_stays() {
    let mut record = applied_by_a();
    record.apply("b", json!({"env": {"B": "2"}}));
    record.object.as_mut().unwrap()["spec"]["env"]["U"] = "nobody's".into();
    let mut less = everything();
    less.as_object_mut().unwrap().remove("env");
    assert_eq!(record.apply("a", less)["env"], json!({"B": "2", "U": "nobody's"}));
}

#[test]
fn an_entry_is_as_old_as_its_last_write() {
    let mut record = applied_by_a();
    record.update("c", |object| object["spec"]["size"] = 1.into());
    record.update("c", |object| object["spec"]["size"] = 2.into());
    assert_eq!(record.times(), [1, 3]);
    record.update("c", |_| {});
    record.apply("a", everything());
    assert_eq!(record.times(), [1, 3]);
    record.update("d", |object| object["spec"]["size"] = 2.into());
    record.has(&[EVERYTHING, r#"c Update {"f:spec":{"f:size":{}}}"#]);
}

#[test]
fn ten_updates_are_kept_apart() {
    let mut record = applied_by_a();
    for number in 0..14 {
        record.update(&format!("u{number:02}"), |object| object["spec"]["env"][format!("E{number}")] = "x".into());
    }
    let managers: Vec<&str> = record.entries.iter().map(|entry| entry.manager.as_str()).collect();
    assert_eq!(managers, ["a", "ancient-changes", "u05", "u06", "u07", "u08", "u09", "u10", "u11", "u12", "u13"]);
    assert_eq!(
        record.managed()[1],
        r#"ancient-changes Update {"f:spec":{"f:env":{"f:E0":{},"f:E1":{},"f:E2":{},"f:E3":{},"f:E4":{}}}}"#
    );
}

#[test]
fn what_owners_sign_is_theirs() {
    let mut record = applied_by_a();
    let mut signed = Record::config(json!({"spec": {"image": "i1", "env": {"C": "3"}}}));
    let mut new = signed.clone();
    new["metadata"]["annotations"] = json!({"note": "kept"});
    record.update("annotator", |object| object["metadata"]["annotations"] = json!({"note": "kept"}));
    let sign = |record: &mut Record, signed: &Value, new: &Value| {
        let writer = record.writer("stead", record.part());
        let live = Live { object: record.object.as_ref().unwrap(), entries: &record.entries };
        record.entries = after_signed(&record.kind, Some(&live), signed, new, &writer);
        record.object = Some(new.clone());
    };
    sign(&mut record, &signed, &new);
    let others = r#"annotator Update {"f:metadata":{"f:annotations":{".":{},"f:note":{}}}}"#;
    record.has(&[r#"a Apply {"f:spec":{"f:image":{}}}"#, r#"stead Apply {"f:spec":{"f:env":{"f:C":{}},"f:image":{}}}"#, others]);
    signed["spec"]["image"] = "i3".into();
    new["spec"]["image"] = "i3".into();
    sign(&mut record, &signed, &new);
    record.has(&[r#"stead Apply {"f:spec":{"f:env":{"f:C":{}},"f:image":{}}}"#, others]);
}

#[test]
fn what_owners_sign_first_is_theirs_as_if_something_had_been_there() {
    let mut record = applied_by_a();
    let signed = Record::config(json!({"spec": {"image": "i1", "env": {"C": "3"}}}));
    let writer = record.writer("stead", record.part());
    let first = after_signed(&record.kind, None, &signed, &signed, &writer);
    let empty = json!({});
    let live = Live { object: &empty, entries: &[] };
    assert_eq!(first, after_signed(&record.kind, Some(&live), &signed, &signed, &writer));
    assert_eq!(first.len(), 1);
}

#[test]
fn entries_of_a_body_count_where_they_can_be_read() {
    let mut record = applied_by_a();
    let writer = record.writer("x", record.part());
    let object = record.object.clone().unwrap();
    let live = Live { object: &object, entries: &record.entries };
    let renamed = vec![ManagedFields { manager: "renamed".to_owned(), ..record.entries[0].clone() }];
    assert_eq!(after_update(&record.kind, Some(&live), &object, &renamed, &writer), renamed);
    for wrong in [
        ManagedFields { operation: "Edit".to_owned(), ..renamed[0].clone() },
        ManagedFields { fields_type: "FieldsV2".to_owned(), ..renamed[0].clone() },
        ManagedFields { fields: stead_model::FieldsV1::from_json(r#"{"x":{}}"#.to_owned()).ok(), ..renamed[0].clone() },
    ] {
        assert_eq!(after_update(&record.kind, Some(&live), &object, &[wrong], &writer), record.entries);
    }
    // Through the status nobody can edit them.
    let through = record.writer("x", Part::Status);
    let live = Live { object: &object, entries: &record.entries };
    assert_eq!(after_update(&record.kind, Some(&live), &object, &renamed, &through), record.entries);
}
