//! Traces: the spans of this process, sent to an OpenTelemetry collector where one is set.
//!
//! The trace of a Change has the Change's own id, which is a ULID and as long as a trace's: so command line, coordinator and machines put
//! what they do about one Change under one trace, and nothing of it travels beside what is signed. Its first span is named after the
//! same id, so that the others know their parent without having heard of it. A span belongs to the Change that it or the nearest span
//! around it names in the field `change`; a request that writes and makes no Change is a trace of its own, by the request's id.
//!
//! Nothing ever waits for a trace: a span that finds the queue full is dropped and counted.

mod export;
mod layer;
mod span;

use std::sync::Arc;

use iroh_metrics::{Counter, MetricsGroup};
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::mpsc;

pub(crate) use self::export::Exporting;
pub(crate) use self::layer::TraceLayer;
use crate::config::Settings;
use crate::failure::Failure;

/// Spans that wait to be sent, at most: a change for a thousand machines at once, in some 4 MiB.
const QUEUE_SPANS_MAX: usize = 8_192;

/// What became of the spans of this process.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "traces")]
pub(crate) struct TraceMetrics {
    /// Spans that an OpenTelemetry collector took.
    spans_exported: Counter,
    /// Spans dropped because too many waited to be sent.
    spans_dropped: Counter,
    /// Spans that could not be sent.
    spans_failed: Counter,
}

/// Where spans go.
#[derive(Clone, Debug)]
struct Queue {
    sender: mpsc::Sender<SpanData>,
    metrics: Arc<TraceMetrics>,
}

impl Queue {
    fn push(&self, span: SpanData) {
        if self.sender.try_send(span).is_err() {
            self.metrics.spans_dropped.inc();
        }
    }
}

/// Makes what collects spans and what sends them, where the settings name a collector.
pub(crate) fn open(
    settings: &Settings,
    service: &'static str,
    metrics: &Arc<TraceMetrics>,
) -> Result<Option<(TraceLayer, Exporting)>, Failure> {
    let Some(endpoint) = settings.otlp_endpoint() else { return Ok(None) };
    let (sender, spans) = mpsc::channel(QUEUE_SPANS_MAX);
    let exporting = Exporting::new(endpoint, service, spans, Arc::clone(metrics))?;
    Ok(Some((TraceLayer::new(Queue { sender, metrics: Arc::clone(metrics) }), exporting)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    const CHANGE: &str = "01JD0000000000000000000000";

    /// The spans of some work.
    fn spans_of(capacity: usize, work: impl FnOnce()) -> (Vec<SpanData>, Arc<TraceMetrics>) {
        let (sender, mut spans) = mpsc::channel(capacity);
        let metrics = Arc::<TraceMetrics>::default();
        let layer = TraceLayer::new(Queue { sender, metrics: Arc::clone(&metrics) });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let mut all = Vec::new();
        while let Ok(span) = spans.try_recv() {
            all.push(span);
        }
        (all, metrics)
    }

    #[test]
    fn every_span_of_a_change_is_in_the_changes_trace_below_its_first() {
        let (spans, _) = spans_of(8, || {
            // As the command line does it: the id is known only after the span began.
            let first = tracing::info_span!("change", change = tracing::field::Empty, root = true).entered();
            first.record("change", CHANGE);
            tracing::info_span!("sign").in_scope(|| {});
            drop(first);
            // As another process does it.
            tracing::info_span!("judge", change = CHANGE).in_scope(|| tracing::info_span!("inner").in_scope(|| {}));
        });
        let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["sign", "change", "inner", "judge"]);
        let trace = opentelemetry::TraceId::from_bytes(ulid::Ulid::from_string(CHANGE).unwrap().0.to_be_bytes());
        assert!(spans.iter().all(|span| span.span_context.trace_id() == trace));
        let (first, judge) = (spans[1].span_context.span_id(), spans[3].span_context.span_id());
        let parents: Vec<_> = spans.iter().map(|span| span.parent_span_id).collect();
        assert_eq!(parents, [first, opentelemetry::SpanId::INVALID, judge, first]);
    }

    #[test]
    fn what_is_idle_or_about_nothing_is_left_out_and_a_write_is_a_trace_of_its_own() {
        let (spans, _) = spans_of(8, || {
            tracing::info_span!("converge", change = CHANGE, idle = true).in_scope(|| {});
            tracing::info_span!("converge", change = "").in_scope(|| {});
            let request = "0123ABCD-0000-4000-8000-000000000000";
            tracing::info_span!("request", request, method = "GET").in_scope(|| {});
            tracing::info_span!("request", request, method = "PUT").in_scope(|| {});
        });
        assert_eq!(spans.len(), 1);
        let trace = opentelemetry::TraceId::from_hex("0123abcd000040008000000000000000").unwrap();
        assert_eq!(spans[0].span_context.trace_id(), trace);
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (spans, metrics) = spans_of(2, || (0..5).for_each(|_| tracing::info_span!("x", change = CHANGE).in_scope(|| {})));
        assert_eq!((spans.len(), metrics.spans_dropped.get()), (2, 3));
    }
}
