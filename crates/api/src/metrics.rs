//! What the port answered, and how long it took.

use std::time::Duration;

use http::{Method, StatusCode};
use iroh_metrics::{Counter, EncodeLabelSet, Family, Histogram, MetricsGroup};

/// Upper bounds of the buckets, in seconds: around the budgets of reads (15 ms) and writes (20 ms), up to a client's patience.
const BUCKETS_SECONDS: [f64; 11] = [0.001, 0.002, 0.005, 0.010, 0.015, 0.020, 0.050, 0.100, 0.500, 2.0, 10.0];

/// What a request was and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// `read`, `write` or `watch`.
    pub class: &'static str,
    /// The HTTP status.
    pub code: u16,
}

/// What a request was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct ClassLabels {
    /// `read`, `write` or `watch`.
    pub class: &'static str,
}

/// The numbers of the port that grow with every request.
#[derive(Debug, MetricsGroup)]
#[metrics(default, name = "api")]
pub struct ApiMetrics {
    /// Requests answered, by what they were and the HTTP status they were answered with.
    pub requests: Family<RequestLabels, Counter>,
    /// Seconds from the head of a request to the head of its answer.
    #[default(Family::with_constructor(|| Histogram::new(BUCKETS_SECONDS.to_vec())))]
    pub request_seconds: Family<ClassLabels, Histogram>,
}

impl ApiMetrics {
    pub(crate) fn answered(&self, class: &'static str, status: StatusCode, took: Duration) {
        self.requests.get_or_create(&RequestLabels { class, code: status.as_u16() }).inc();
        self.request_seconds.get_or_create(&ClassLabels { class }).observe(took.as_secs_f64());
    }
}

/// What a request is, by what can be told before anything else of it is looked at.
pub(crate) fn class(method: &Method, query: Option<&str>) -> &'static str {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    let watches = query.is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")));
    match (reads, watches) {
        (true, true) => "watch",
        (true, false) => "read",
        _ => "write",
    }
}
