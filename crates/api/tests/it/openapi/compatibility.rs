//! What breaks a client of an older OpenAPI document, of version 2 or 3.

use serde_json::{Map, Value};

/// What of an operation is looked at; the rest of a path's members are parameters and words.
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// Everything in the new document that breaks a client made for the old one, in sentences.
pub(super) fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (path, old_path) in members(old, "paths") {
        let Some(new_path) = new["paths"].get(path) else {
            found.push(format!("the path {path} is gone"));
            continue;
        };
        parameters(path, old_path, new_path, &mut found);
        for method in METHODS.iter().filter(|method| old_path.get(**method).is_some()) {
            let place = format!("{method} {path}");
            match new_path.get(*method) {
                None => found.push(format!("{place} is gone")),
                Some(new_operation) => operation(&place, &old_path[*method], new_operation, &mut found),
            }
        }
    }
    for section in ["/definitions", "/components/schemas"] {
        let (Some(old), Some(new)) = (old.pointer(section), new.pointer(section)) else { continue };
        for (name, schema_before) in old.as_object().into_iter().flatten() {
            match new.get(name) {
                None => found.push(format!("the schema {name} is gone")),
                Some(schema_now) => schema(name, schema_before, schema_now, &mut found),
            }
        }
    }
    found
}

fn members<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    value.get(name).and_then(Value::as_object).into_iter().flatten()
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn operation(place: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    parameters(place, old, new, found);
    for (code, answer) in members(old, "responses") {
        let Some(now) = new["responses"].get(code) else {
            found.push(format!("{place} no longer answers {code}"));
            continue;
        };
        media(&format!("{place}, its answer {code}"), answer, now, found);
    }
    for name in ["x-kubernetes-group-version-kind", "x-kubernetes-action"] {
        if old.get(name).is_some_and(|before| new.get(name) != Some(before)) {
            found.push(format!("{place}: {name} is another"));
        }
    }
    if old.get("requestBody").is_some() || new.get("requestBody").is_some() {
        let required = |operation: &Value| operation.pointer("/requestBody/required") == Some(&Value::Bool(true));
        if required(new) && !required(old) {
            found.push(format!("{place} now needs a body"));
        }
        media(&format!("{place}, its body"), &old["requestBody"], &new["requestBody"], found);
    }
}

fn media(place: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    for (name, before) in members(old, "content") {
        match new["content"].get(name) {
            None => found.push(format!("{place} is no longer {name}")),
            Some(now) => schema(&format!("{place} as {name}"), &before["schema"], &now["schema"], found),
        }
    }
    // Version 2 has no media types here.
    if let Some(before) = old.get("schema") {
        schema(place, before, &new["schema"], found);
    }
}

fn parameters(place: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let same = |one: &Value, other: &Value| one["name"] == other["name"] && one["in"] == other["in"];
    for before in items(old, "parameters") {
        let name = &before["name"];
        let Some(now) = items(new, "parameters").find(|now| same(before, now)) else {
            found.push(format!("{place}: the parameter {name} is gone"));
            continue;
        };
        if now["required"] == true && before["required"] != true {
            found.push(format!("{place}: the parameter {name} is now required"));
        }
        let typed = |parameter: &Value| parameter.get("schema").cloned().unwrap_or_else(|| parameter.clone());
        schema(&format!("{place}: the parameter {name}"), &typed(before), &typed(now), found);
    }
    for now in items(new, "parameters").filter(|now| now["required"] == true) {
        if !items(old, "parameters").any(|before| same(before, now)) {
            found.push(format!("{place}: the new parameter {} is required", now["name"]));
        }
    }
}

/// A schema is what clients send and what they are sent; what either may rely on stays.
fn schema(place: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    for name in ["type", "$ref", "allOf", "x-kubernetes-group-version-kind"] {
        if old.get(name).is_some_and(|before| new.get(name) != Some(before)) {
            found.push(format!("{place}: {name} was {} and is {}", old[name], new[name]));
        }
    }
    for (name, before) in members(old, "properties") {
        match new["properties"].get(name) {
            None => found.push(format!("{place}: the property {name} is gone")),
            Some(now) => schema(&format!("{place}.{name}"), before, now, found),
        }
    }
    for name in items(new, "required").filter(|name| !items(old, "required").any(|before| before == *name)) {
        found.push(format!("{place}: {name} is now required"));
    }
    if let Some(now) = new.get("enum").and_then(Value::as_array) {
        match old.get("enum").and_then(Value::as_array) {
            None => found.push(format!("{place}: only some values are allowed now")),
            Some(before) => {
                let gone = before.iter().filter(|value| !now.contains(value));
                found.extend(gone.map(|value| format!("{place}: the value {value} is no longer allowed")));
            }
        }
    }
    for (bound, tighter) in [("minimum", 1), ("maximum", -1)] {
        let number = |schema: &Value| schema.get(bound).and_then(Value::as_i64);
        let tightened = match (number(old), number(new)) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(before), Some(now)) => (now - before) * tighter > 0,
        };
        if tightened {
            found.push(format!("{place}: its {bound} is tighter"));
        }
    }
    for name in ["items", "additionalProperties"] {
        match (old.get(name), new.get(name)) {
            (Some(before), Some(now)) => schema(&format!("{place}[]"), before, now, found),
            (Some(_), None) => found.push(format!("{place}: {name} is gone")),
            (None, _) => {}
        }
    }
    for before in items(old, "x-kubernetes-selectable-fields") {
        if !items(new, "x-kubernetes-selectable-fields").any(|now| now == before) {
            found.push(format!("{place} can no longer be selected by {}", before["fieldPath"]));
        }
    }
}

/// A document to break.
fn document() -> Value {
    serde_json::json!({
        "paths": {"/a/{name}": {
            "parameters": [{"in": "path", "name": "name", "required": true, "schema": {"type": "string"}}],
            "get": {
                "parameters": [{"in": "query", "name": "limit", "schema": {"type": "string"}}],
                "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/x"}}}}},
                "x-kubernetes-action": "get",
            },
            "put": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/x"}}}}, "responses": {}},
        }},
        "components": {"schemas": {"A": {
            "type": "object", "required": ["one"], "x-kubernetes-selectable-fields": [{"fieldPath": ".one"}],
            "properties": {
                "one": {"type": "string", "enum": ["x", "y"]},
                "two": {"type": "integer", "minimum": 1, "maximum": 9},
                "list": {"type": "array", "items": {"type": "object", "properties": {"deep": {"type": "string"}}}},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        }}},
    })
}

fn at<'a>(document: &'a mut Value, pointer: &str) -> &'a mut Map<String, Value> {
    document.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap_or_else(|| panic!("no {pointer}"))
}

#[test]
fn every_kind_of_break_is_found() {
    const A: &str = "/components/schemas/A";
    const GET: &str = "/paths/~1a~1{name}/get";
    type Break = fn(&mut Value);
    let cases: [(&str, Break); 24] = [
        ("the path /a/{name} is gone", |new| drop(at(new, "/paths").remove("/a/{name}"))),
        ("get /a/{name} is gone", |new| drop(at(new, "/paths/~1a~1{name}").remove("get"))),
        ("the parameter \"limit\" is gone", |new| new.pointer_mut(GET).unwrap()["parameters"] = serde_json::json!([])),
        ("the parameter \"limit\" is now required", |new| {
            drop(at(new, &format!("{GET}/parameters/0")).insert("required".into(), true.into()))
        }),
        ("the parameter \"limit\": type was", |new| {
            new.pointer_mut(GET).unwrap()["parameters"][0]["schema"]["type"] = "integer".into()
        }),
        ("the new parameter \"new\" is required", |new| {
            let parameter = serde_json::json!({"in": "query", "name": "new", "required": true, "schema": {"type": "string"}});
            new.pointer_mut(GET).unwrap()["parameters"].as_array_mut().unwrap().push(parameter);
        }),
        ("no longer answers 200", |new| drop(at(new, &format!("{GET}/responses")).remove("200"))),
        ("its answer 200 is no longer application/json", |new| at(new, &format!("{GET}/responses/200/content")).clear()),
        ("x-kubernetes-action is another", |new| drop(at(new, GET).insert("x-kubernetes-action".into(), "list".into()))),
        ("its body is no longer application/json", |new| at(new, "/paths/~1a~1{name}/put/requestBody/content").clear()),
        ("now needs a body", |new| drop(at(new, "/paths/~1a~1{name}/put/requestBody").insert("required".into(), true.into()))),
        ("the schema A is gone", |new| drop(at(new, "/components/schemas").remove("A"))),
        ("the property two is gone", |new| drop(at(new, &format!("{A}/properties")).remove("two"))),
        ("A.two: type was \"integer\"", |new| {
            drop(at(new, &format!("{A}/properties/two")).insert("type".into(), "string".into()))
        }),
        ("the value \"y\" is no longer allowed", |new| {
            new.pointer_mut(A).unwrap()["properties"]["one"]["enum"] = serde_json::json!(["x"])
        }),
        ("A.map: only some values", |new| {
            drop(at(new, &format!("{A}/properties/map")).insert("enum".into(), serde_json::json!([{}])))
        }),
        ("\"two\" is now required", |new| new.pointer_mut(A).unwrap()["required"] = serde_json::json!(["one", "two"])),
        ("its minimum is tighter", |new| drop(at(new, &format!("{A}/properties/two")).insert("minimum".into(), 2.into()))),
        ("its maximum is tighter", |new| drop(at(new, &format!("{A}/properties/two")).insert("maximum".into(), 8.into()))),
        ("A.one: its maximum is tighter", |new| drop(at(new, &format!("{A}/properties/one")).insert("maximum".into(), 8.into()))),
        ("A.list[]: the property deep is gone", |new| at(new, &format!("{A}/properties/list/items/properties")).clear()),
        ("A.map: additionalProperties is gone", |new| {
            drop(at(new, &format!("{A}/properties/map")).remove("additionalProperties"))
        }),
        ("A.map[]: type was", |new| {
            drop(at(new, &format!("{A}/properties/map/additionalProperties")).insert("type".into(), "integer".into()))
        }),
        ("can no longer be selected by \".one\"", |new| drop(at(new, A).remove("x-kubernetes-selectable-fields"))),
    ];
    for (expected, change) in cases {
        let mut new = document();
        change(&mut new);
        let found = breaks(&document(), &new);
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }
}

#[test]
fn what_only_adds_breaks_nothing() {
    let mut new = document();
    at(&mut new, "/paths").insert("/b".into(), serde_json::json!({"get": {}}));
    at(&mut new, "/paths/~1a~1{name}/get/responses").insert("404".into(), serde_json::json!({}));
    at(&mut new, "/components/schemas/A/properties").insert("three".into(), serde_json::json!({"type": "string", "enum": ["z"]}));
    at(&mut new, "/components/schemas/A/properties/two").insert("maximum".into(), 10.into());
    at(&mut new, "/components/schemas/A/properties/two").remove("minimum");
    new["components"]["schemas"]["A"]["properties"]["one"]["enum"].as_array_mut().unwrap().push("z".into());
    new["components"]["schemas"]["A"]["required"] = serde_json::json!([]);
    assert_eq!(breaks(&document(), &new), [""; 0]);
    assert_eq!(breaks(&document(), &document()), [""; 0]);
}
