//! `Table`: rows and columns, so that every client shows a kind the same way.

use serde_json::{Value, json};

use crate::render::{Renderer, partial};
use crate::resource::Resource;
use crate::sparse::Wanted;
use crate::status::{ApiError, ApiResult};

/// What a row carries beside its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    #[default]
    Metadata,
    Object,
    None,
}

impl IncludeObject {
    pub(crate) fn parse(text: Option<&str>) -> ApiResult<Self> {
        match text {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("Object") => Ok(Self::Object),
            Some("None") => Ok(Self::None),
            Some(other) => Err(ApiError::bad_request(format!("includeObject: {other:?} is none of Metadata, Object, None"))),
        }
    }
}

/// Definitions of a kind's columns. An Event's name says nothing, so that it comes last and only when asked for.
pub(crate) fn columns(resource: Resource) -> Vec<Value> {
    let name = |priority: i32| json!({"name": "Name", "type": "string", "format": "name", "description": "The object's name.", "priority": priority});
    let own = resource.info.columns.iter().map(|column| {
        let (kind, description) = (column.table_type(), column.description);
        json!({"name": column.name, "type": kind, "format": "", "description": description, "priority": column.priority})
    });
    if resource.is_event() {
        return own.chain([name(1)]).collect();
    }
    let age =
        json!({"name": "Age", "type": "string", "format": "", "description": "The time since it was created.", "priority": 0});
    std::iter::once(name(0)).chain(own).chain([age]).collect()
}

fn cells(renderer: &Renderer, object: &Value) -> Vec<Value> {
    let at = |pointer: &str| object.pointer(pointer).cloned().unwrap_or(Value::Null);
    let resource = renderer.resource;
    if resource.is_event() {
        let event = dated_event(object);
        let own = resource.info.columns.iter().map(|column| column.cell(&event, renderer.now));
        return own.chain([at("/metadata/name")]).collect();
    }
    let own = resource.info.columns.iter().map(|column| column.cell(object, renderer.now));
    let age = stead_model::Column {
        name: "Age",
        pointer: "/metadata/creationTimestamp",
        format: stead_model::ColumnFormat::Age,
        description: "",
        priority: 0,
    };
    std::iter::once(at("/metadata/name")).chain(own).chain([age.cell(object, renderer.now)]).collect()
}

/// An Event in the core spelling, with its last moment where the older clients have it.
fn dated_event(shown: &Value) -> Value {
    let mut event = stead_model::Event::to_core_group(shown);
    let last = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
        .iter()
        .find_map(|pointer| event.pointer(pointer).filter(|value| value.is_string()))
        .cloned();
    let kind = event.pointer("/involvedObject/kind").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let name = event.pointer("/involvedObject/name").and_then(Value::as_str).unwrap_or_default();
    let object = format!("{kind}/{name}");
    if let Some(place) = event.pointer_mut("/involvedObject/name") {
        *place = object.into();
    }
    if let (Some(last), Some(members)) = (last, event.as_object_mut()) {
        members.insert("lastTimestamp".to_owned(), last);
    }
    event
}

/// What the cells of a kind's rows are made of.
pub(crate) fn wanted(resource: Resource) -> Wanted {
    let own = resource.info.columns.iter().map(|column| column.pointer);
    Wanted::at(own.chain(["/metadata/name", "/metadata/creationTimestamp"]))
}

/// Writes the row of an object that looks as it is stored.
pub(crate) fn stored_row(rows: &mut Vec<u8>, renderer: &Renderer, wanted: &Wanted, json: &[u8]) -> Result<(), serde_json::Error> {
    let object = wanted.read(json)?;
    let whole = renderer.include == IncludeObject::Object;
    let bare = Renderer { include: if whole { IncludeObject::None } else { renderer.include }, ..*renderer };
    row(rows, &bare, &object, json)?;
    if whole && rows.pop().is_some() {
        rows.extend_from_slice(b",\"object\":");
        rows.extend_from_slice(json);
        rows.push(b'}');
    }
    Ok(())
}

/// Writes a row after those that are there.
pub(crate) fn row(rows: &mut Vec<u8>, renderer: &Renderer, object: &Value, json: &[u8]) -> Result<(), serde_json::Error> {
    if !rows.is_empty() {
        rows.push(b',');
    }
    rows.extend_from_slice(b"{\"cells\":");
    serde_json::to_writer(&mut *rows, &cells(renderer, object))?;
    match renderer.include {
        IncludeObject::None => {}
        IncludeObject::Metadata => {
            rows.extend_from_slice(b",\"object\":");
            rows.append(&mut partial(json)?);
        }
        IncludeObject::Object => {
            rows.extend_from_slice(b",\"object\":");
            serde_json::to_writer(&mut *rows, object)?;
        }
    }
    rows.push(b'}');
    Ok(())
}

/// A table of rows; later events of a watch leave the columns out.
pub(crate) fn whole(resource: Resource, with_columns: bool, meta: &Value, rows: &[u8]) -> Vec<u8> {
    let columns = if with_columns { Value::Array(columns(resource)) } else { Value::Null };
    let mut out =
        format!(r#"{{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{meta},"columnDefinitions":{columns},"rows":["#)
            .into_bytes();
    out.extend_from_slice(rows);
    out.extend_from_slice(b"]}");
    out
}
