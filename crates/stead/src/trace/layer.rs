//! From `tracing`'s spans to those of OpenTelemetry, when they end.

use std::time::SystemTime;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::Queue;
use super::span::{Words, first_span};

/// The attribute that a span has from those around it where it has none of its own.
const INHERITED: &str = "host.name";

/// Collects spans.
#[derive(Debug)]
pub(crate) struct TraceLayer {
    queue: Queue,
}

/// A span that has not ended.
struct Open {
    id: SpanId,
    start: SystemTime,
    words: Words,
}

impl Open {
    /// The span's id within a trace.
    fn id_in(&self, trace: TraceId) -> SpanId {
        if self.words.is_root { first_span(trace) } else { self.id }
    }
}

impl TraceLayer {
    pub(super) const fn new(queue: Queue) -> Self {
        Self { queue }
    }

    /// Whether a span is one of ours: what libraries do inside is theirs.
    pub(crate) fn takes(metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("stead") && *metadata.level() <= Level::DEBUG
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TraceLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut words = Words::default();
        attributes.record(&mut words);
        let open = Open { id: random_span(), start: SystemTime::now(), words };
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.words);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        if let Some(data) = ended(&span) {
            self.queue.push(data);
        }
    }
}

/// What a span was, where it belongs to a trace.
fn ended<'a, R: LookupSpan<'a>>(span: &SpanRef<'a, R>) -> Option<SpanData> {
    let around = around(span);
    let mut extensions = span.extensions_mut();
    let open = extensions.get_mut::<Open>()?;
    let trace = open.words.trace().or(around.trace).filter(|_| !open.words.is_idle)?;
    let parent = match around.parent {
        _ if open.words.is_root => SpanId::INVALID,
        Some((parents, parent)) if parents == trace => parent,
        // Of a Change, the first span is somewhere else; a request without a Change is its own first.
        _ if open.words.change.is_some() => first_span(trace),
        _ => SpanId::INVALID,
    };
    let mut attributes = std::mem::take(&mut open.words.attributes);
    if !attributes.iter().any(|attribute| attribute.key.as_str() == INHERITED) {
        attributes.extend(around.machine);
    }
    Some(SpanData {
        span_context: SpanContext::new(trace, open.id_in(trace), TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: parent,
        parent_span_is_remote: false,
        span_kind: kind(span.name()),
        name: span.name().into(),
        start_time: open.start,
        end_time: SystemTime::now(),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: if open.words.failed { Status::error("") } else { Status::Unset },
        instrumentation_scope: InstrumentationScope::builder(span.metadata().target().to_owned()).build(),
    })
}

/// What the spans around one say for it.
#[derive(Default)]
struct Around {
    trace: Option<TraceId>,
    /// The nearest, with the trace that it belongs to.
    parent: Option<(TraceId, SpanId)>,
    machine: Option<KeyValue>,
}

fn around<'a, R: LookupSpan<'a>>(span: &SpanRef<'a, R>) -> Around {
    let mut around = Around::default();
    for outer in span.scope().from_root().take_while(|outer| outer.id() != span.id()) {
        let extensions = outer.extensions();
        let Some(open) = extensions.get::<Open>() else { continue };
        around.trace = open.words.trace().or(around.trace);
        around.parent = around.trace.map(|trace| (trace, open.id_in(trace)));
        let own = open.words.attributes.iter().find(|attribute| attribute.key.as_str() == INHERITED);
        around.machine = own.cloned().or(around.machine);
    }
    around
}

fn kind(name: &str) -> SpanKind {
    match name {
        "request" => SpanKind::Server,
        "submit" => SpanKind::Client,
        _ => SpanKind::Internal,
    }
}

fn random_span() -> SpanId {
    let mut bytes = [0; 8];
    // Without random bytes two spans may have one id; the trace is poorer then, and nothing else.
    let _ = getrandom::fill(&mut bytes);
    SpanId::from_bytes(bytes)
}
