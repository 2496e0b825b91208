//! What the port answered, and how long it took.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use iroh_metrics::{Counter, EncodeLabelSet, Family, Gauge, Histogram, MetricsGroup};

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
    /// Requests that are being answered now; of watches, those that are open.
    pub requests_in_flight: Family<ClassLabels, Gauge>,
}

/// A request that is being answered; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Gauge>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl ApiMetrics {
    /// Numbers that are there from the start.
    pub(crate) fn new() -> Self {
        let metrics = Self::default();
        for class in ["read", "write", "watch"] {
            metrics.request_seconds.get_or_create(&ClassLabels { class });
            metrics.requests_in_flight.get_or_create(&ClassLabels { class });
        }
        metrics
    }

    pub(crate) fn enter(&self, class: &'static str) -> InFlight {
        let gauge = self.requests_in_flight.get_or_create(&ClassLabels { class });
        gauge.inc();
        InFlight(gauge)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_in_flight_no_more() {
        let metrics = ApiMetrics::new();
        let now = || metrics.requests_in_flight.get(&ClassLabels { class: "watch" }).map(|gauge| gauge.get());
        let (first, second) = (metrics.enter("watch"), metrics.enter("watch"));
        assert_eq!(now(), Some(2));
        drop((first, second));
        assert_eq!(now(), Some(0));
    }
}
