//! Objects, lists and watch events in the form that the client asked for.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use stead_model::{Object, Revision};
use stead_store::Stored;

use crate::media::Form;
use crate::resource::Resource;
use crate::row;
use crate::status::{ApiError, ApiResult};
use crate::table::{self, IncludeObject};

/// How answers look: the resource, the form, and what a table needs.
#[derive(Clone, Copy)]
pub(crate) struct Renderer {
    pub(crate) resource: Resource,
    pub(crate) form: Form,
    pub(crate) include: IncludeObject,
    pub(crate) now: Timestamp,
}

/// What ends a list, and a table too.
pub(crate) const LIST_END: &[u8] = b"]}";

/// What a list says about itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListMeta {
    pub(crate) revision: Revision,
    pub(crate) continue_token: Option<String>,
    pub(crate) remaining: Option<u64>,
}

/// The metadata of an object, as it stands.
#[derive(Deserialize)]
struct Glance<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// An object's JSON as a group shows it.
pub(crate) fn plain(resource: Resource, stored: &Stored) -> ApiResult<Cow<'_, [u8]>> {
    if !resource.has_view() {
        return Ok(Cow::Borrowed(stored.json()));
    }
    let value: Value = serde_json::from_slice(stored.json()).map_err(|error| unreadable(stored, &error))?;
    Ok(Cow::Owned(resource.to_view(value).to_string().into_bytes()))
}

/// An object as a value, in the group's spelling.
pub(crate) fn value(resource: Resource, stored: &Stored) -> ApiResult<Value> {
    let value: Value = serde_json::from_slice(stored.json()).map_err(|error| unreadable(stored, &error))?;
    Ok(if resource.has_view() { resource.to_view(value) } else { value })
}

fn unreadable(stored: &Stored, error: &serde_json::Error) -> ApiError {
    ApiError::internal(format!("{} cannot be read: {error}; restore it from a backup or delete it", stored.key()))
}

/// Metadata alone, as its own kind.
pub(crate) fn partial(json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let glance: Glance<'_> = serde_json::from_slice(json)?;
    let metadata = glance.metadata.get();
    Ok(format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{metadata}}}"#).into_bytes())
}

impl Renderer {
    /// One object.
    pub(crate) fn object(&self, stored: &Stored) -> ApiResult<Vec<u8>> {
        match self.form {
            Form::Object => Ok(plain(self.resource, stored)?.into_owned()),
            Form::Metadata => {
                let mut out = Vec::new();
                self.metadata(&mut out, stored)?;
                Ok(out)
            }
            Form::Table => self.list([stored], &ListMeta { revision: stored.revision(), ..ListMeta::default() }),
        }
    }

    /// One document as an object.
    pub(crate) fn document(&self, object: &Object) -> ApiResult<Vec<u8>> {
        let internal = |error: serde_json::Error| ApiError::internal(error.to_string());
        match self.form {
            Form::Object => serde_json::to_vec(object).map_err(internal),
            Form::Metadata | Form::Table => self.value(&serde_json::to_value(object).map_err(internal)?),
        }
    }

    /// One object that is not in the record as it is shown: a dry run, or a document.
    pub(crate) fn value(&self, value: &Value) -> ApiResult<Vec<u8>> {
        let json = value.to_string();
        match self.form {
            Form::Object => Ok(json.into_bytes()),
            Form::Metadata => partial(json.as_bytes()).map_err(|error| ApiError::internal(error.to_string())),
            Form::Table => self.list_of_values(std::slice::from_ref(value), &ListMeta::default()),
        }
    }

    /// A page of a list.
    pub(crate) fn list<'a>(&self, objects: impl IntoIterator<Item = &'a Stored>, meta: &ListMeta) -> ApiResult<Vec<u8>> {
        let mut out = self.list_head(meta);
        self.items(&mut out, objects, true, usize::MAX)?;
        out.extend_from_slice(LIST_END);
        Ok(out)
    }

    /// Objects of a list, as rows of a table or as they are, until they have so many bytes: gives back how many it was. `first` says
    /// that none stands before them.
    pub(crate) fn items<'a>(
        &self,
        out: &mut Vec<u8>,
        objects: impl IntoIterator<Item = &'a Stored>,
        mut first: bool,
        bytes_max: usize,
    ) -> ApiResult<usize> {
        let mut written = 0_usize;
        for stored in objects {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            match self.form {
                Form::Table => self.row(out, stored)?,
                Form::Metadata => self.metadata(out, stored)?,
                Form::Object => out.extend_from_slice(&plain(self.resource, stored)?),
            }
            written = written.saturating_add(1);
            if out.len() >= bytes_max {
                break;
            }
        }
        Ok(written)
    }

    /// A page of objects that are no objects of the record.
    pub(crate) fn list_of_values(&self, objects: &[Value], meta: &ListMeta) -> ApiResult<Vec<u8>> {
        let mut out = self.list_head(meta);
        self.values(&mut out, objects, true)?;
        out.extend_from_slice(LIST_END);
        Ok(out)
    }

    /// A list up to its first object.
    pub(crate) fn list_head(&self, meta: &ListMeta) -> Vec<u8> {
        if self.form == Form::Table {
            return table::head(self.resource, true, &meta.to_value());
        }
        let (kind, api_version) = match self.form {
            Form::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
            _ => (format!("{}List", self.resource.info.kind), self.resource.api_version()),
        };
        format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{},"items":["#, meta.to_value()).into_bytes()
    }

    fn row(&self, out: &mut Vec<u8>, stored: &Stored) -> ApiResult<()> {
        match row::of(self.resource, stored).map_err(|error| unreadable(stored, &error))? {
            Some(row) => row.write(out, self.include, self.now, stored.json()),
            None => table::row(out, self, &value(self.resource, stored)?, stored.json())
                .map_err(|error| unreadable(stored, &error))?,
        }
        Ok(())
    }

    fn metadata(&self, out: &mut Vec<u8>, stored: &Stored) -> ApiResult<()> {
        match row::of(self.resource, stored).map_err(|error| unreadable(stored, &error))? {
            Some(row) => row.write_metadata(out, stored.json()),
            None => out.append(&mut partial(stored.json()).map_err(|error| unreadable(stored, &error))?),
        }
        Ok(())
    }

    /// Objects of a list that are no objects of the record; `first` says that none stands before them.
    pub(crate) fn values(&self, out: &mut Vec<u8>, objects: &[Value], mut first: bool) -> ApiResult<()> {
        for object in objects {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            if self.form == Form::Table {
                let json = object.to_string();
                table::row(out, self, object, json.as_bytes()).map_err(|error| ApiError::internal(error.to_string()))?;
            } else {
                out.append(&mut self.value(object)?);
            }
        }
        Ok(())
    }

    /// The object of a watch event; `first` says whether a table tells its columns.
    pub(crate) fn event_object(&self, stored: &Stored, first: bool) -> ApiResult<Vec<u8>> {
        if self.form != Form::Table {
            return self.object(stored);
        }
        let mut out = table::head(self.resource, first, &json!({"resourceVersion": stored.revision().to_string()}));
        self.row(&mut out, stored)?;
        out.extend_from_slice(LIST_END);
        Ok(out)
    }

    /// The object of an event about a document of the record.
    pub(crate) fn event_value(&self, value: &Value, first: bool) -> ApiResult<Vec<u8>> {
        if self.form != Form::Table {
            return self.value(value);
        }
        let meta = json!({"resourceVersion": value.pointer("/metadata/resourceVersion")});
        let mut out = table::head(self.resource, first, &meta);
        table::row(&mut out, self, value, value.to_string().as_bytes()).map_err(|error| ApiError::internal(error.to_string()))?;
        out.extend_from_slice(LIST_END);
        Ok(out)
    }

    /// The object of a bookmark.
    pub(crate) fn bookmark(&self, revision: Revision, initial_events_end: bool, first: bool) -> Vec<u8> {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if let (true, Some(members)) = (initial_events_end, metadata.as_object_mut()) {
            members.insert("annotations".to_owned(), json!({"k8s.io/initial-events-end": "true"}));
        }
        let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
        match self.form {
            Form::Metadata => partial.to_string().into_bytes(),
            Form::Table => {
                let cells: Vec<Value> = table::columns(self.resource).iter().map(|_| Value::Null).collect();
                let mut out = table::head(self.resource, first, &json!({"resourceVersion": revision.to_string()}));
                out.extend_from_slice(json!({"cells": cells, "object": partial}).to_string().as_bytes());
                out.extend_from_slice(LIST_END);
                out
            }
            Form::Object => {
                let kind =
                    json!({"kind": self.resource.info.kind, "apiVersion": self.resource.api_version(), "metadata": metadata});
                kind.to_string().into_bytes()
            }
        }
    }
}

impl ListMeta {
    pub(crate) fn to_value(&self) -> Value {
        let mut meta = json!({"resourceVersion": self.revision.to_string()});
        if let Some(members) = meta.as_object_mut() {
            if let Some(token) = &self.continue_token {
                members.insert("continue".to_owned(), token.as_str().into());
            }
            if let Some(remaining) = self.remaining.filter(|_| self.continue_token.is_some()) {
                members.insert("remainingItemCount".to_owned(), remaining.into());
            }
        }
        meta
    }
}
