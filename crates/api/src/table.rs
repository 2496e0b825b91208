//! `Table`: rows and columns, so that every client shows a kind the same way.

use std::sync::LazyLock;

use serde_json::{Value, json};
use stead_model::{Column, ColumnFormat};

use crate::render::{Renderer, partial};
use crate::resource::Resource;
use crate::status::{ApiError, ApiResult};

/// The last column of every kind but Event.
pub(crate) const AGE: Column = Column {
    name: "Age",
    pointer: "/metadata/creationTimestamp",
    format: ColumnFormat::Age,
    description: "The time since it was created.",
    priority: 0,
};

/// What a row carries beside its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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
    let age = json!({
        "name": AGE.name, "type": AGE.table_type(), "format": "", "description": AGE.description, "priority": AGE.priority,
    });
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
    std::iter::once(at("/metadata/name")).chain(own).chain([AGE.cell(object, renderer.now)]).collect()
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

/// Writes the row of an object that is not kept as one: of a document, or of a kind that looks other than it is stored.
pub(crate) fn row(rows: &mut Vec<u8>, renderer: &Renderer, object: &Value, json: &[u8]) -> Result<(), serde_json::Error> {
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

/// Definitions of each resource's columns, as they are written.
static COLUMNS: LazyLock<Vec<(Resource, String)>> =
    LazyLock::new(|| Resource::all().map(|resource| (resource, Value::Array(columns(resource)).to_string())).collect());

/// Begins a table, up to its first row; later events of a watch leave the columns out.
pub(crate) fn head(resource: Resource, with_columns: bool, meta: &Value) -> Vec<u8> {
    let written = COLUMNS.iter().find(|(known, _)| known.group == resource.group && known.info.kind == resource.info.kind);
    let columns = written.filter(|_| with_columns).map_or("null", |(_, columns)| columns);
    format!(r#"{{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{meta},"columnDefinitions":{columns},"rows":["#)
        .into_bytes()
}
