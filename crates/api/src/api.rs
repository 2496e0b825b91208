//! The API as one value: what it stands on, and how a request becomes an answer.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::Value;
use stead_admission::{Admission, Caller};
use stead_model::{ObjectKey, Selector};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::counters::{Counters, CountersSnapshot};
use crate::gate::{Class, Gate, Permit};
use crate::lanes::Lanes;
use crate::limits::{ANONYMOUS_BODY_BYTES_MAX, LARGE_SUBMISSIONS_MAX, Limits, SUBMISSION_BYTES_MAX, URI_BYTES_MAX};
use crate::lines::Lines;
use crate::nonce::Nonces;
use crate::path::{ObjectsRoute, Route};
use crate::query::Query;
use crate::recent::RecentChanges;
use crate::request_id::RequestId;
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};
use crate::token::{self, Bearer, Checked};
use crate::turns::Turns;
use crate::{documents, metrics, metrics::ApiMetrics, serve};

/// Bytes of a path that go into the log: the longest that an honest client has.
const PATH_BYTES_LOGGED_MAX: usize = 512;

/// What only the running coordinator knows: the floors beside this one stand behind it.
pub trait Fleet: Send + Sync {
    /// Makes a ticket by which machines join.
    fn ticket(&self, request: Value) -> BoxFuture<'_, Result<Value, String>>;

    /// Asks machines what they would do.
    fn plan(&self, request: Value) -> BoxFuture<'_, Result<Value, String>>;

    /// How the coordinator is doing, for `stead status`.
    fn status(&self) -> Value;

    /// How each machine that a selector fits is doing, for `stead top`.
    fn pulse(&self, selector: &Selector) -> Value;

    /// What to tell whoever writes these names: that machines may hold newer states of them than a restored record. Asked with each write.
    fn warning(&self, names: &[ObjectKey]) -> Option<String>;

    /// Its metrics, in the OpenMetrics text format.
    fn metrics(&self) -> String;

    /// The metrics of each machine, in the same format.
    fn machine_metrics(&self) -> String;
}

/// The API. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

struct Inner {
    admission: Admission,
    fleet: Arc<dyn Fleet>,
    tokens: Mutex<Checked>,
    nonces: Mutex<Nonces>,
    limits: Limits,
    counters: Counters,
    metrics: Arc<ApiMetrics>,
    gate: Gate,
    lanes: Lanes,
    look_backs: Lanes,
    turns: Turns,
    lines: Lines,
    recent: RecentChanges,
    shutdown: CancellationToken,
}

/// A request that was let in: what its handler needs.
pub(crate) struct Call {
    pub(crate) api: Api,
    pub(crate) method: Method,
    pub(crate) query: Query,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) caller: Option<Caller>,
    pub(crate) permit: Permit,
}

impl Call {
    /// Who calls. Every route that needs it is behind the login.
    pub(crate) fn caller(&self) -> ApiResult<&Caller> {
        self.caller.as_ref().ok_or_else(|| ApiError::unauthorized("Unauthorized"))
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Timestamp {
        self.api.now()
    }
}

impl Api {
    /// An API over a record. `shutdown` ends watches and connections when it is cancelled.
    pub fn new(admission: Admission, fleet: Arc<dyn Fleet>, limits: Limits, shutdown: CancellationToken) -> Self {
        let mut nonce_key = [0; 64];
        (admission.environment().random)(&mut nonce_key);
        let (nonces, counters, gate) = (Mutex::new(Nonces::new(nonce_key)), Counters::default(), Gate::default());
        let (turns, lines) = (Turns::new(limits.parts_at_once_max), Lines::default());
        let (lanes, tokens) = (Lanes::new(limits.lists_per_client_max), Mutex::default());
        let look_backs = Lanes::new(limits.look_backs_per_client_max);
        let metrics = Arc::new(ApiMetrics::new());
        let inner = Inner {
            admission,
            fleet,
            tokens,
            nonces,
            limits,
            counters,
            metrics,
            gate,
            lanes,
            look_backs,
            turns,
            lines,
            recent: RecentChanges::default(),
            shutdown,
        };
        Self { inner: Arc::new(inner) }
    }

    /// What the port has seen and refused since the start.
    pub fn counters(&self) -> CountersSnapshot {
        self.inner.counters.snapshot()
    }

    /// What it answered, and how long that took.
    pub fn metrics(&self) -> Arc<ApiMetrics> {
        Arc::clone(&self.inner.metrics)
    }

    /// A token for a key, as a login gives it: for the coordinator's own use, such as a demonstration's `kubectl`.
    ///
    /// # Errors
    ///
    /// [`WriteError`](stead_admission::WriteError) where the coordinator's key does not sign.
    pub fn issue_token(&self, key: &stead_trust::PublicKey) -> Result<(String, Timestamp), stead_admission::WriteError> {
        let until = self.now().checked_add(jiff::SignedDuration::from_secs(token::TOKEN_SECONDS)).unwrap_or(Timestamp::MAX);
        let until = Timestamp::from_second(until.as_second()).unwrap_or(until);
        Ok((token::encode(&self.admission().token(key, until)?), until))
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.inner.admission
    }

    pub(crate) fn fleet(&self) -> &dyn Fleet {
        self.inner.fleet.as_ref()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(crate) fn count(&self) -> &Counters {
        &self.inner.counters
    }

    /// Lanes for each client's large lists.
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.inner.lanes
    }

    /// Lanes for each client's watches that are told what is no longer in memory.
    pub(crate) fn look_backs(&self) -> &Lanes {
        &self.inner.look_backs
    }

    /// Turns at the parts of large lists, and at such watches' pages.
    pub(crate) fn turns(&self) -> &Turns {
        &self.inner.turns
    }

    /// Changes that watches share.
    pub(crate) fn recent(&self) -> &RecentChanges {
        &self.inner.recent
    }

    /// Lines that watches share.
    pub(crate) fn lines(&self) -> &Lines {
        &self.inner.lines
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.inner.shutdown
    }

    pub(crate) fn nonces(&self) -> std::sync::MutexGuard<'_, Nonces> {
        self.inner.nonces.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, Checked> {
        self.inner.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.admission.environment().now()
    }

    /// Serves one request.
    pub(crate) async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Answer {
        let id = RequestId::new(self);
        let span = request_span(id, &request);
        let mut answer = self.serve(peer, request).instrument(span.clone()).await;
        id.mark(&mut answer);
        span.record("status", answer.status().as_u16());
        span.in_scope(|| tracing::debug!("answered"));
        answer
    }

    async fn serve(&self, peer: IpAddr, request: Request<Incoming>) -> Answer {
        self.count().requests.add();
        let head = request.method() == Method::HEAD;
        let (class, begun) = (metrics::class(request.method(), request.uri().query()), tokio::time::Instant::now());
        // A watch counts for itself, since it goes on after its answer has begun.
        let _in_flight = (class != "watch").then(|| self.inner.metrics.enter(class));
        let mut answer = match self.admit(peer, request).await {
            Ok((call, route)) => dispatch(call, route).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &answer {
            match error.code {
                StatusCode::UNAUTHORIZED => self.count().unauthorized.add(),
                StatusCode::TOO_MANY_REQUESTS => self.count().too_many.add(),
                StatusCode::PAYLOAD_TOO_LARGE | StatusCode::URI_TOO_LONG => self.count().too_large.add(),
                _ => {}
            }
            answer = Ok(response::refusal(error));
        }
        let mut answer = answer.unwrap_or_else(|error| response::refusal(&error));
        self.inner.metrics.answered(class, answer.status(), begun.elapsed());
        if head {
            *answer.body_mut() = response::ResponseBody::Whole(None);
        }
        answer
    }

    /// Everything that is looked at before a request's body is read, and the reading of it.
    async fn admit(&self, peer: IpAddr, request: Request<Incoming>) -> ApiResult<(Call, Route)> {
        let (parts, body) = request.into_parts();
        let uri_bytes = parts.uri.path().len().saturating_add(parts.uri.query().map_or(0, str::len));
        if uri_bytes > URI_BYTES_MAX {
            let message = format!("the path and query have {uri_bytes} bytes; {URI_BYTES_MAX} is the limit");
            return Err(ApiError::new(StatusCode::URI_TOO_LONG, "RequestURITooLong", message).past("URI_BYTES_MAX"));
        }
        let route = Route::parse(parts.uri.path())?;
        let caller = self.authenticate(&parts, &route)?;
        let query = Query::parse(parts.uri.query().unwrap_or_default())?;
        let client = caller.as_ref().map_or_else(|| peer.to_string(), |caller| caller.name.clone());
        let permit = self.enter(&parts, &query, &route, &client)?;
        let limit = match caller {
            None => ("ANONYMOUS_BODY_BYTES_MAX", ANONYMOUS_BODY_BYTES_MAX),
            Some(_) if is_large_submission(&route, &parts, self.limits()) => ("SUBMISSION_BYTES_MAX", SUBMISSION_BYTES_MAX),
            Some(_) => ("BODY_BYTES_MAX", self.limits().body_bytes_max),
        };
        let body = self.read_body(body, limit).await?;
        // Asking what an object looks like and asking only for the head of that is one thing here.
        let method = if parts.method == Method::HEAD { Method::GET } else { parts.method };
        Ok((Call { api: self.clone(), method, query, headers: parts.headers, body, caller, permit }, route))
    }

    fn authenticate(&self, parts: &Parts, route: &Route) -> ApiResult<Option<Caller>> {
        if route.is_anonymous() {
            return Ok(None);
        }
        let token = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let token =
            token.ok_or_else(|| ApiError::unauthorized("Unauthorized: there is no bearer token; `stead login` gets one"))?;
        let checked = self.tokens().check(token, &self.admission().fleet(), self.now());
        let Bearer { person: key, coordinator } =
            checked.map_err(|error| ApiError::unauthorized(format!("Unauthorized: {error}")))?;
        let unknown = |key: &stead_trust::PublicKey| {
            ApiError::unauthorized(format!("Unauthorized: the trust root no longer names the key {}", key.fingerprint()))
        };
        // What this coordinator gave itself is its own word, whether machines would take it or not.
        if coordinator != *self.admission().online_key() && !self.admission().root().is_online_key(&coordinator) {
            return Err(unknown(&coordinator));
        }
        if !self.admission().is_owner(&key) {
            return Err(unknown(&key));
        }
        Ok(Some(Caller { name: key.fingerprint(), key: Some(key) }))
    }

    fn enter(&self, parts: &Parts, query: &Query, route: &Route, client: &str) -> ApiResult<Permit> {
        let (limits, method) = (self.limits(), &parts.method);
        if is_large_submission(route, parts, limits) {
            let busy = || {
                let message = "other large changes are being taken; try again when one is done";
                ApiError::too_many(message).past("LARGE_SUBMISSIONS_MAX")
            };
            return self.inner.gate.enter(Class::LargeSubmission, "", LARGE_SUBMISSIONS_MAX).ok_or_else(busy);
        }
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
        let watches = reads && matches!(query.get("watch"), Some("true" | "1"));
        let (class, max, name) = match (watches, reads) {
            (true, _) => (Class::Watch, limits.watches_per_client_max, "WATCHES_PER_CLIENT_MAX"),
            (_, true) => (Class::Read, limits.reads_per_client_max, "READS_PER_CLIENT_MAX"),
            _ => (Class::Write, limits.writes_per_client_max, "WRITES_PER_CLIENT_MAX"),
        };
        let busy = || {
            let message = format!("{max} requests of this client are being served; try again when one is done");
            ApiError::too_many(message).past(name)
        };
        self.inner.gate.enter(class, client, max).ok_or_else(busy)
    }

    async fn read_body(&self, body: Incoming, (name, bytes_max): (&str, usize)) -> ApiResult<Bytes> {
        let limit = Duration::from_millis(self.limits().body_milliseconds_max);
        let read = tokio::time::timeout(limit, Limited::new(body, bytes_max).collect()).await;
        let Ok(read) = read else {
            self.count().too_slow.add();
            let message = format!("the body did not arrive within {} ms", limit.as_millis());
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message).past("BODY_SECONDS_MAX"));
        };
        read.map(http_body_util::Collected::to_bytes).map_err(|error| {
            if error.is::<LengthLimitError>() {
                ApiError::too_large(format!("the body has more than {bytes_max} bytes")).past(name)
            } else {
                self.count().malformed.add();
                ApiError::bad_request(format!("the body could not be read: {error}"))
            }
        })
    }
}

/// Whether a request brings a signed Change that is larger than any one object, or does not say how large it is.
fn is_large_submission(route: &Route, parts: &Parts, limits: &Limits) -> bool {
    let submits = parts.method == Method::POST
        && matches!(route, Route::Objects(ObjectsRoute { resource, name: None, .. }) if resource.is_change());
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    submits && length.is_none_or(|length| length > limits.body_bytes_max)
}

/// What is said of a request in logs and traces. Its path names objects; its query, headers and body are left out, since a client may
/// put anything there. `change` and `root` are for whoever learns that the request makes a Change.
fn request_span(id: RequestId, request: &Request<Incoming>) -> Span {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let path = path.get(..PATH_BYTES_LOGGED_MAX).unwrap_or(path);
    tracing::info_span!("request", request = %id, method, path, change = Empty, root = Empty, status = Empty)
}

async fn dispatch(call: Call, route: Route) -> ApiResult<Answer> {
    if call.method == Method::OPTIONS {
        let mut answer = response::json_bytes(StatusCode::NO_CONTENT, Bytes::new());
        answer
            .headers_mut()
            .insert(http::header::ALLOW, http::HeaderValue::from_static("GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"));
        return Ok(answer);
    }
    match route {
        Route::Stead(path) => serve::stead::serve(call, &path).await,
        Route::Objects(route) => serve::objects(call, route).await,
        document if call.method == Method::GET => documents::serve(&call, &document),
        _ => Err(ApiError::method_not_allowed()),
    }
}
