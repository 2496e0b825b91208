//! The row of a table as an object keeps it: everything that does not change with time, made once for each revision of an object.

use std::io::Write as _;
use std::ops::Range;
use std::sync::LazyLock;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use stead_model::{Column, ColumnFormat, age};
use stead_store::Stored;

use crate::resource::Resource;
use crate::sparse::Wanted;
use crate::table::{AGE, IncludeObject};

/// What stands around an object's metadata in a row.
const METADATA_HEAD: &[u8] = br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#;

/// A row, ready to be written, and where the object's JSON has its metadata.
pub(crate) struct Row {
    /// The cells as JSON, from bracket to bracket, without the ages.
    cells: Box<[u8]>,
    /// Where an age goes in, in order, and since when it counts.
    ages: Box<[(usize, Timestamp)]>,
    metadata: Range<usize>,
}

/// The metadata of an object, as it stands.
#[derive(Deserialize)]
struct Glance<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// What the rows of each resource are made of.
static WANTED: LazyLock<Vec<(Resource, Wanted)>> = LazyLock::new(|| {
    let wanted = |resource: Resource| {
        let own = resource.info.columns.iter().map(|column| column.pointer);
        (resource, Wanted::at(own.chain(["/metadata/name", AGE.pointer])))
    };
    Resource::all().map(wanted).collect()
});

/// The row of an object that looks as it is stored; `None` for those that do not.
pub(crate) fn of(resource: Resource, stored: &Stored) -> Result<Option<&Row>, serde_json::Error> {
    if resource.has_view() || resource.is_event() {
        return Ok(None);
    }
    if let Some(row) = stored.kept() {
        return Ok(Some(row));
    }
    let row = Row::new(resource, stored.json())?;
    Ok(stored.keep(row))
}

impl Row {
    fn new(resource: Resource, json: &[u8]) -> Result<Self, serde_json::Error> {
        let glance: Glance<'_> = serde_json::from_slice(json)?;
        let raw = glance.metadata.get();
        // Borrowed from `json`, so that it starts within it.
        let start = (raw.as_ptr() as usize).saturating_sub(json.as_ptr() as usize);
        let metadata = start..start.saturating_add(raw.len());
        let wanted = WANTED.iter().find(|(known, _)| known.info.kind == resource.info.kind).map(|(_, wanted)| wanted);
        let object = match wanted {
            Some(wanted) => wanted.read(json)?,
            None => serde_json::from_slice(json)?,
        };
        let mut row = Self { cells: Box::default(), ages: Box::default(), metadata };
        row.fill(resource, &object)?;
        Ok(row)
    }

    fn fill(&mut self, resource: Resource, object: &Value) -> Result<(), serde_json::Error> {
        let (mut cells, mut ages) = (b"[".to_vec(), Vec::new());
        serde_json::to_writer(&mut cells, object.pointer("/metadata/name").unwrap_or(&Value::Null))?;
        for column in resource.info.columns.iter().chain([&AGE]) {
            cells.push(b',');
            match since(column, object) {
                Some(since) => ages.push((cells.len(), since)),
                // A moment that is not there, or everything else: no time goes into it.
                None => serde_json::to_writer(&mut cells, &column.cell(object, Timestamp::UNIX_EPOCH))?,
            }
        }
        cells.push(b']');
        (self.cells, self.ages) = (cells.into(), ages.into());
        Ok(())
    }

    /// The object's metadata as its own kind.
    pub(crate) fn write_metadata(&self, out: &mut Vec<u8>, json: &[u8]) {
        out.extend_from_slice(METADATA_HEAD);
        out.extend_from_slice(json.get(self.metadata.clone()).unwrap_or(b"{}"));
        out.push(b'}');
    }

    /// The whole row at a moment.
    pub(crate) fn write(&self, out: &mut Vec<u8>, include: IncludeObject, now: Timestamp, json: &[u8]) {
        out.extend_from_slice(b"{\"cells\":");
        let mut written = 0;
        for (place, since) in &self.ages {
            out.extend_from_slice(self.cells.get(written..*place).unwrap_or_default());
            written = *place;
            // Writing to memory does not fail.
            let _ = write!(out, "\"{}\"", age(*since, now));
        }
        out.extend_from_slice(self.cells.get(written..).unwrap_or_default());
        match include {
            IncludeObject::None => {}
            IncludeObject::Metadata => {
                out.extend_from_slice(b",\"object\":");
                self.write_metadata(out, json);
            }
            IncludeObject::Object => {
                out.extend_from_slice(b",\"object\":");
                out.extend_from_slice(json);
            }
        }
        out.push(b'}');
    }
}

fn since(column: &Column, object: &Value) -> Option<Timestamp> {
    let moment = (column.format == ColumnFormat::Age).then(|| object.pointer(column.pointer)).flatten()?;
    moment.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Form;
    use crate::render::Renderer;
    use serde_json::json;

    fn machine() -> Value {
        json!({
            "apiVersion": "stead.dev/v1", "kind": "Machine",
            "metadata": {"name": "m\"1", "labels": {"metadata": "x"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"key": "k", "metadata": 1},
            "status": {"lastSeen": "2026-01-01T00:01:00Z", "conditions": [{"type": "Ready", "status": "True"}], "units": [1, 2]},
        })
    }

    #[test]
    fn a_kept_row_is_the_row_that_a_value_gives() {
        let resource = Resource::by_path("stead.dev", "v1", "machines").unwrap();
        for object in [machine(), json!({"metadata": {}}), json!({"metadata": {"name": "n"}, "status": {"lastSeen": "garbage"}})]
        {
            let text = object.to_string();
            let row = Row::new(resource, text.as_bytes()).unwrap();
            for now in ["2026-01-01T00:01:30Z", "2026-02-01T00:00:00Z"].map(|now| now.parse().unwrap()) {
                for include in [IncludeObject::Metadata, IncludeObject::Object, IncludeObject::None] {
                    let renderer = Renderer { resource, form: Form::Table, include, now };
                    let (mut kept, mut made) = (Vec::new(), Vec::new());
                    row.write(&mut kept, include, now, text.as_bytes());
                    crate::table::row(&mut made, &renderer, &object, text.as_bytes()).unwrap();
                    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
                    assert_eq!(read(&kept), read(&made));
                }
            }
        }
        assert!(Row::new(resource, b"{}").is_err());
    }
}
