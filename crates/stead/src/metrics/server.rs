//! A port of its own for metrics and nothing else, for a Prometheus that has no login. Whoever reaches it can read them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::MetricsPort;
use crate::failure::{Failure, FailureKind};

/// Connections at once: a pair of Prometheus servers, and a person who looks.
const CONNECTIONS_MAX: usize = 16;
/// How long a request's head may take, and how long a connection may be idle, in seconds: longer than scrapes are apart as a rule.
const HEAD_SECONDS_MAX: u64 = 75;
/// How long a whole connection may last, in seconds; whoever scrapes comes again.
const CONNECTION_SECONDS_MAX: u64 = 3_600;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long the port rests after the system could give it no connection, in milliseconds.
const ACCEPT_PAUSE_MILLISECONDS: u64 = 100;
/// The OpenMetrics text format.
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Makes the text that is served at a path; none where nothing is.
pub(crate) type Source = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A port that is listened on, and not yet served.
pub(crate) struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl MetricsServer {
    /// Listens.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(FailureKind::Config, format!("--listen-metrics {address}: {error}"))
                .hint("Choose an address of this machine that is free.")
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address with the port that the system chose.
    pub(crate) const fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped.
    pub(crate) async fn run(self, source: Source, counted: Arc<MetricsPort>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // Dropped with this future, and with it every connection.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                            counted.refused_full.inc();
                            continue;
                        };
                        counted.connections.inc();
                        connections.spawn(connection(stream, Arc::clone(&source), Arc::clone(&counted), place));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the port for metrics could not take a connection");
                        tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MILLISECONDS)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// Serves an optional port; without one it waits for ever.
pub(crate) async fn run_optional(server: Option<MetricsServer>, counted: Arc<MetricsPort>, source: Source) {
    match server {
        Some(server) => server.run(source, counted).await,
        None => std::future::pending().await,
    }
}

async fn connection(stream: TcpStream, source: Source, counted: Arc<MetricsPort>, _place: OwnedSemaphorePermit) {
    let service = service_fn(move |request| {
        let answer = answer(&request, &source);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEAD_SECONDS_MAX))
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A client that misbehaves loses its connection, and nobody else anything.
    match tokio::time::timeout(Duration::from_secs(CONNECTION_SECONDS_MAX), served).await {
        Ok(Err(error)) if error.is_parse() => {
            counted.refused_malformed.inc();
        }
        Ok(Err(error)) if error.is_timeout() => {
            counted.refused_too_slow.inc();
        }
        _ => {}
    }
}

fn answer(request: &Request<Incoming>, source: &Source) -> Response<Full<Bytes>> {
    let (code, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz" | "/livez" | "/readyz") => (StatusCode::OK, "ok".to_owned()),
        (&Method::GET, path) => match source(path) {
            Some(text) => (StatusCode::OK, text),
            None => (StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned()),
        },
        _ => (StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned()),
    };
    let served = code == StatusCode::OK && request.uri().path().starts_with("/metrics");
    let media_type = if served { MEDIA_TYPE } else { "text/plain; charset=utf-8" };
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    answer
}
