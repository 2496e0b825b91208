//! What is kept of an open span, and what it becomes when it ends.

use std::fmt::Debug;

use opentelemetry::{Key, KeyValue, SpanId, TraceId, Value};
use stead_model::Digest;
use tracing::field::{Field, Visit};
use ulid::Ulid;

/// Characters of one attribute at most: an object's name fits, and what a machine says does not fill a collector.
const ATTRIBUTE_CHARACTERS_MAX: usize = 1_024;

/// An open span's own words.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// The Change that it is about.
    pub(super) change: Option<TraceId>,
    /// The request that it is, where that writes.
    request: Option<TraceId>,
    /// Whether it is the first span of its Change.
    pub(super) is_root: bool,
    /// Whether nothing happened in it.
    pub(super) is_idle: bool,
    pub(super) failed: bool,
    pub(super) attributes: Vec<KeyValue>,
}

impl Words {
    /// The trace that the span says itself that it belongs to.
    pub(super) fn trace(&self) -> Option<TraceId> {
        self.change.or(self.request)
    }

    fn text(&mut self, field: &Field, text: &str) {
        match field.name() {
            "change" => self.change = Ulid::from_string(text).ok().map(|id| TraceId::from_bytes(id.0.to_be_bytes())),
            "request" => self.request = TraceId::from_hex(&text.replace('-', "")).ok(),
            "method" if matches!(text, "GET" | "HEAD" | "OPTIONS") => self.request = None,
            "outcome" => self.failed = text == "Failed",
            _ => {}
        }
        if !text.is_empty() {
            let text: String = text.chars().take(ATTRIBUTE_CHARACTERS_MAX).collect();
            self.attribute(field, text);
        }
    }

    fn attribute(&mut self, field: &Field, value: impl Into<Value>) {
        // As attributes are named by OpenTelemetry where it has a name, and under ours where it has none.
        let key = match field.name() {
            "method" => Key::from_static_str("http.request.method"),
            "path" => Key::from_static_str("url.path"),
            "status" => Key::from_static_str("http.response.status_code"),
            "machine" => Key::from_static_str("host.name"),
            name => Key::from(format!("stead.{name}")),
        };
        self.attributes.retain(|attribute| attribute.key != key);
        self.attributes.push(KeyValue::new(key, value));
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "root" => self.is_root = value,
            "idle" => self.is_idle = value,
            _ => self.attribute(field, value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.attribute(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "status" {
            self.failed = value >= 500;
        }
        self.attribute(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attribute(field, value);
    }
}

/// The id of a trace's first span: from the trace's own, so that every process knows it.
pub(super) fn first_span(trace: TraceId) -> SpanId {
    let digest = Digest::of(&[b"stead/first-span/".as_slice(), &trace.to_bytes()].concat());
    let mut bytes = [0; 8];
    for (byte, from) in bytes.iter_mut().zip(digest.as_bytes()) {
        *byte = *from;
    }
    SpanId::from_bytes(bytes)
}
