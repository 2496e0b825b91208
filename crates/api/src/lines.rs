//! Lines of watches that were made lately: made once, and shared by all who watch the same thing in the same form.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use stead_store::Stored;

use crate::media::Form;
use crate::render::Renderer;
use crate::status::ApiResult;
use crate::table::IncludeObject;

/// Lines kept: what a busy record writes while a thousand watchers are told.
const LINES_MAX: usize = 512;
/// Bytes of the lines kept.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// What two watchers must have in common to be told by one line.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    /// Where the object lies in memory, which it does for as long as its line is kept.
    object: usize,
    kind: &'static str,
    group: &'static str,
    form: Form,
    include: IncludeObject,
    /// A table tells ages, so that its lines hold for a second.
    second: i64,
}

/// The lines.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    lines: HashMap<Key, (Bytes, Arc<Stored>)>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl Lines {
    /// The line that tells of an object; a table's without its columns.
    pub(crate) fn line(&self, renderer: &Renderer, kind: &'static str, stored: &Arc<Stored>) -> ApiResult<Bytes> {
        let second = if renderer.form == Form::Table { renderer.now.as_second() } else { 0 };
        let key = Key {
            object: Arc::as_ptr(stored) as usize,
            kind,
            group: renderer.resource.group,
            form: renderer.form,
            include: renderer.include,
            second,
        };
        if let Some((line, _)) = self.kept().lines.get(&key) {
            return Ok(line.clone());
        }
        // Two who come at once both make it; the second is kept.
        let line = Bytes::from(line(kind, &renderer.event_object(stored, false)?));
        self.kept().keep(key, line.clone(), Arc::clone(stored));
        Ok(line)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, key: Key, line: Bytes, stored: Arc<Stored>) {
        self.bytes = self.bytes.saturating_add(line.len());
        if let Some((old, _)) = self.lines.insert(key.clone(), (line, stored)) {
            self.bytes = self.bytes.saturating_sub(old.len());
        } else {
            self.order.push_back(key);
        }
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some((old, _)) = self.order.pop_front().and_then(|oldest| self.lines.remove(&oldest)) else { break };
            self.bytes = self.bytes.saturating_sub(old.len());
        }
    }
}

/// An event as a watch writes it.
pub(crate) fn line(kind: &str, object: &[u8]) -> Vec<u8> {
    /// What stands around an object.
    const AROUND_BYTES: usize = 40;
    let mut line = Vec::with_capacity(object.len().saturating_add(AROUND_BYTES));
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line
}
