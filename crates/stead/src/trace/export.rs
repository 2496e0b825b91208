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

/// An exporter at work.
#[derive(Debug)]
pub(crate) struct Running {
    task: tokio::task::JoinHandle<()>,
    stop: CancellationToken,
}

impl Running {
    /// Sends what waits, within a limit, and ends.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        let abort = self.task.abort_handle();
        match tokio::time::timeout(Duration::from_secs(FLUSH_SECONDS_MAX), self.task).await {
            // What broke it down has been told of by its panic.
            Ok(_) => {}
            Err(_) => {
                abort.abort();
                tracing::warn!("the last spans of this process could not be sent in time");
            }
        }
    }
}

impl Exporting {
    /// Begins to send.
    pub(crate) fn start(self) -> Running {
        let stop = CancellationToken::new();
        Running { task: tokio::spawn(self.run(stop.clone())), stop }
    }

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

    /// Sends spans as they end, until `stop`; then those that wait.
    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let mut batch = Vec::with_capacity(BATCH_SPANS_MAX);
            self.gather(&stop, &mut batch).await;
            if !batch.is_empty() {
                self.send(batch).await;
            }
        }
        self.spans.close();
        loop {
            let mut batch = Vec::with_capacity(BATCH_SPANS_MAX);
            if self.spans.recv_many(&mut batch, BATCH_SPANS_MAX).await == 0 {
                return;
            }
            self.send(batch).await;
        }
    }

    /// Waits for spans, and then for more of them a while.
    async fn gather(&mut self, stop: &CancellationToken, batch: &mut Vec<SpanData>) {
        let pause = tokio::time::sleep(Duration::MAX);
        tokio::pin!(pause);
        while batch.len() < BATCH_SPANS_MAX {
            let (was_empty, room) = (batch.is_empty(), BATCH_SPANS_MAX - batch.len());
            tokio::select! {
                taken = self.spans.recv_many(batch, room) => if taken == 0 { return },
                () = &mut pause => return,
                () = stop.cancelled() => return,
            }
            if was_empty {
                pause.as_mut().reset(tokio::time::Instant::now() + Duration::from_millis(GATHER_MILLISECONDS));
            }
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
