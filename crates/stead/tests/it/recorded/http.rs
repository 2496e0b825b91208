//! Requests to either coordinator, and what comes back.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::history::{Fields, Kind, Micros, Outcome, Version};

/// How long an answer is waited for: longer than a coordinator waits for a revision that it has yet to hear of.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// What the names begin with that the clients write: whatever else is there is none of theirs.
pub(crate) const PREFIX: &str = "h-";
/// The name that is written when a round is over.
pub(crate) const LAST: &str = "h-last";

/// What all clients of a round share.
pub(crate) struct Shared {
    client: Client,
    bases: [String; 2],
    bearer: String,
    began: Instant,
    /// Whether the clients are to end.
    pub(crate) ended: AtomicBool,
    tokens: AtomicU64,
    in_flight: [AtomicUsize; 2],
    acknowledged: [AtomicU64; 2],
}

/// How a request ended.
pub(crate) enum Answer {
    /// With a status.
    Came(u16, Value),
    /// The coordinator was not reached: nothing was sent.
    Unreached,
    /// Nothing came back.
    Lost(String),
}

impl Answer {
    fn failed(error: &reqwest::Error) -> Self {
        if error.is_connect() { Self::Unreached } else { Self::Lost(format!("{error:?}")) }
    }

    /// What it is for the history; `read` takes what came.
    pub(crate) fn outcome(self, read: impl FnOnce(&Value) -> Outcome) -> Outcome {
        match self {
            Self::Came(200..300, value) => read(&value),
            // That it is not known what became of it.
            Self::Came(504, value) if value["details"]["causes"].is_null() => {
                Outcome::Unknown { why: value["message"].to_string() }
            }
            Self::Came(code, value) => Outcome::Refused {
                code,
                reason: value["reason"].as_str().unwrap_or_default().to_owned(),
                message: value["message"].as_str().unwrap_or_default().to_owned(),
            },
            Self::Unreached => Outcome::Refused { code: 0, reason: String::new(), message: "not reached".into() },
            Self::Lost(why) => Outcome::Unknown { why },
        }
    }
}

/// A request that is under way at a coordinator.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    pub(crate) fn new(bases: [String; 2], bearer: String) -> Self {
        // The client asks for one, though it never speaks TLS here; whoever is second finds one installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(PATIENCE).connect_timeout(CONNECT).no_proxy().build().unwrap();
        Self {
            client,
            bases,
            bearer,
            began: Instant::now(),
            ended: AtomicBool::new(false),
            tokens: AtomicU64::new(0),
            in_flight: Default::default(),
            acknowledged: Default::default(),
        }
    }

    pub(crate) fn now(&self) -> Micros {
        u64::try_from(self.began.elapsed().as_micros()).unwrap()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// A value that no other write has.
    pub(crate) fn token(&self) -> String {
        format!("t{}", self.tokens.fetch_add(1, Ordering::SeqCst))
    }

    /// Requests that a coordinator has not answered yet.
    pub(crate) fn in_flight(&self, coordinator: usize) -> usize {
        self.in_flight[coordinator].load(Ordering::SeqCst)
    }

    /// Writes that a coordinator has acknowledged.
    pub(crate) fn acknowledged(&self, coordinator: usize) -> u64 {
        self.acknowledged[coordinator].load(Ordering::SeqCst)
    }

    pub(crate) fn note_acknowledged(&self, coordinator: usize) {
        self.acknowledged[coordinator].fetch_add(1, Ordering::SeqCst);
    }

    fn request(&self, coordinator: usize, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.bases[coordinator])).bearer_auth(&self.bearer)
    }

    pub(crate) async fn get(&self, coordinator: usize, path: &str) -> Answer {
        self.answer(coordinator, self.request(coordinator, Method::GET, path)).await
    }

    /// Sends a body of a type, such as `application/json`.
    pub(crate) async fn send(&self, coordinator: usize, method: Method, path: &str, media: &str, body: &Value) -> Answer {
        let request = self.request(coordinator, method, path).header("content-type", media).body(body.to_string());
        self.answer(coordinator, request).await
    }

    async fn answer(&self, coordinator: usize, request: RequestBuilder) -> Answer {
        self.in_flight[coordinator].fetch_add(1, Ordering::SeqCst);
        let _in_flight = InFlight(&self.in_flight[coordinator]);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Answer::failed(&error),
        };
        let status = response.status().as_u16();
        match response.json().await {
            Ok(value) => Answer::Came(status, value),
            Err(error) => Answer::Lost(format!("{error:?}")),
        }
    }

    /// Begins a watch; none where it does not begin.
    pub(crate) async fn watch(&self, coordinator: usize, path: &str) -> Option<Response> {
        // It lasts as long as it is asked to; whoever reads it looks to the silence itself.
        let request = self.request(coordinator, Method::GET, path).timeout(Duration::from_secs(3_600));
        let response = tokio::time::timeout(PATIENCE, request.send()).await.ok()?.ok()?;
        response.status().is_success().then_some(response)
    }
}

/// Where the objects of a kind are.
pub(crate) fn collection(kind: Kind) -> &'static str {
    match kind {
        Kind::Lease => "/apis/coordination.k8s.io/v1/namespaces/default/leases",
        Kind::Namespace => "/api/v1/namespaces",
        Kind::Profile => "/apis/stead.dev/v1/profiles",
    }
}

/// An object of a kind with these fields, as it is sent.
pub(crate) fn manifest(kind: Kind, name: &str, fields: &Fields) -> Value {
    let (api_version, kind_name) = match kind {
        Kind::Lease => ("coordination.k8s.io/v1", "Lease"),
        Kind::Namespace => ("v1", "Namespace"),
        Kind::Profile => ("stead.dev/v1", "Profile"),
    };
    let labels: Fields = fields.iter().filter(|(label, _)| *label != "spec").map(|(k, v)| (k.clone(), v.clone())).collect();
    let mut object = json!({"apiVersion": api_version, "kind": kind_name, "metadata": {"name": name, "labels": labels}});
    match (kind, fields.get("spec")) {
        (Kind::Lease, Some(value)) => object["spec"] = json!({"holderIdentity": value}),
        (Kind::Profile, Some(value)) => {
            object["spec"] = json!({"selector": {}, "files": [{"path": "/h", "content": value}]});
        }
        _ => {}
    }
    object
}

/// What an object says; none where it is none of the clients'.
pub(crate) fn version(kind: Kind, object: &Value) -> Option<Version> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let name = text("/metadata/name").filter(|name| name.starts_with(PREFIX))?;
    let ours = |label: &String| label == "put" || label.starts_with("patch-") || label.starts_with("apply-");
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    let mut fields: Fields = labels
        .filter(|(label, _)| ours(label))
        .map(|(label, value)| (label.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    let spec = match kind {
        Kind::Lease => text("/spec/holderIdentity"),
        Kind::Namespace => None,
        Kind::Profile => text("/spec/files/0/content"),
    };
    fields.extend(spec.map(|value| ("spec".to_owned(), value)));
    Some(Version { name, uid: text("/metadata/uid")?, revision: revision(object), fields })
}

/// The revision that an object or a list names.
pub(crate) fn revision(value: &Value) -> u64 {
    let text = value.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no revision in {value}"))
}

/// SplitMix64: the same seed, the same choices.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A stream of its own for each of those who share a seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(stream))
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// Whether something that happens so often of a hundred times happens now.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}
