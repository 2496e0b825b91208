//! Sends spans to a collector: OTLP over HTTP, in batches, beside all work.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::TraceMetrics;
use crate::failure::{Failure, FailureKind};

/// Spans of one message, at most: below what collectors take by default (4 MiB).
const BATCH_SPANS_MAX: usize = 512;
/// How long spans gather before they are sent, in milliseconds: soon enough to look at a change that was just made.
const GATHER_MILLISECONDS: u64 = 1_000;
/// How long a collector may take for one message, in seconds.
const EXPORT_SECONDS_MAX: u64 = 10;
/// How long the end of a process may wait for its last spans, in seconds.
const FLUSH_SECONDS_MAX: u64 = 2;

/// What sends the spans of this process.
#[derive(Debug)]
pub(crate) struct Exporting {
    exporter: SpanExporter,
    endpoint: String,
    spans: mpsc::Receiver<SpanData>,
    metrics: Arc<TraceMetrics>,
    /// Whether the last message was taken: a collector that is away is told of once.
    works: bool,
}

impl Exporting {
    pub(super) fn new(
        endpoint: &str,
        service: &'static str,
        spans: mpsc::Receiver<SpanData>,
        metrics: Arc<TraceMetrics>,
    ) -> Result<Self, Failure> {
        crate::install_tls()?;
        let wrong = |error: &dyn std::fmt::Display| {
            Failure::new(FailureKind::Config, format!("otlp_endpoint {endpoint} cannot be used: {error}"))
        };
        let limit = Duration::from_secs(EXPORT_SECONDS_MAX);
        let client = reqwest::Client::builder().timeout(limit).redirect(reqwest::redirect::Policy::none());
        let builder = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_timeout(limit);
        // OTLP/HTTP, "Endpoint URLs for OTLP/HTTP": the signal's path is added to the base.
        let builder = builder.with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')));
        let mut exporter =
            builder.with_http_client(client.build().map_err(|error| wrong(&error))?).build().map_err(|error| wrong(&error))?;
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.namespace", "stead"),
            KeyValue::new("service.name", service),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ]);
        exporter.set_resource(&resource.build());
        Ok(Self { exporter, endpoint: endpoint.to_owned(), spans, metrics, works: true })
    }

    /// Sends spans as they end, until `stop`; then those that wait, within a limit.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.send_on()).await;
        self.spans.close();
        let flush = async {
            loop {
                let mut batch = Vec::with_capacity(BATCH_SPANS_MAX);
                if self.spans.recv_many(&mut batch, BATCH_SPANS_MAX).await == 0 {
                    return;
                }
                self.send(batch).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(FLUSH_SECONDS_MAX), flush).await.is_err() {
            tracing::warn!("the last spans of this process could not be sent in time");
        }
    }

    async fn send_on(&mut self) {
        loop {
            let mut batch = Vec::with_capacity(BATCH_SPANS_MAX);
            let gather = tokio::time::sleep(Duration::from_millis(GATHER_MILLISECONDS));
            tokio::pin!(gather);
            while batch.len() < BATCH_SPANS_MAX {
                let room = BATCH_SPANS_MAX - batch.len();
                tokio::select! {
                    biased;
                    taken = self.spans.recv_many(&mut batch, room) => if taken == 0 { return },
                    () = &mut gather, if !batch.is_empty() => break,
                }
            }
            self.send(batch).await;
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len() as u64;
        match self.exporter.export(batch).await {
            Ok(()) => {
                self.works = true;
                self.metrics.spans_exported.inc_by(spans);
            }
            Err(error) => {
                self.metrics.spans_failed.inc_by(spans);
                if std::mem::take(&mut self.works) {
                    tracing::warn!(%error, endpoint = self.endpoint, "traces cannot be sent; this is not said again before they can");
                }
            }
        }
    }
}
