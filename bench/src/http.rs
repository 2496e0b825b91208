//! A logged-in client of one coordinator over kept-alive plain HTTP.

use crate::author::Author;
use crate::failure::BenchError;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::Value;
use stead_trust::{Login, SignedLogin};
use tokio::net::TcpStream;

/// Where Changes are posted.
const CHANGES: &str = "/apis/stead.dev/v1/changes";
/// Where logins are posted.
const LOGIN: &str = "/stead/v1/login";
/// How long a request may take before the measurement is given up.
const ANSWER_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// The client. Cheap to clone; clones share connections.
#[derive(Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    server: String,
    token: String,
}

impl Http {
    /// Logs in.
    pub(crate) async fn log_in(server: &str, author: &Author) -> Result<Self, BenchError> {
        let client = anonymous()?;
        let mut http = Self { client, server: server.to_owned(), token: String::new() };
        let greeting = http.json(LOGIN, "application/json").await?;
        let text = |name| greeting.get(name).and_then(Value::as_str).unwrap_or_default();
        let coordinator = text("coordinator").parse().map_err(BenchError::step("reading the coordinator's key"))?;
        let login = Login { fleet: author.fleet, time: Timestamp::now(), coordinator, nonce: text("nonce").to_owned() };
        let signed = SignedLogin::sign(&login, &author.key).map_err(BenchError::step("signing a login"))?;
        let body = serde_json::to_vec(&signed).map_err(BenchError::step("writing a login"))?;
        let answer: Value = serde_json::from_slice(&http.post(LOGIN, body).await?).map_err(BenchError::step("logging in"))?;
        http.token = answer.get("token").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(http)
    }

    /// Posts a signed Change; when this returns, it is committed.
    pub(crate) async fn submit(&self, body: Vec<u8>) -> Result<(), BenchError> {
        self.post(CHANGES, body).await.map(drop)
    }

    /// Reads a path, whole.
    pub(crate) async fn get(&self, path: &str, accept: &'static str) -> Result<Vec<u8>, BenchError> {
        let request = self.client.get(format!("{}{path}", self.server)).header("accept", accept).timeout(ANSWER_LIMIT);
        read(self.send(request).await?).await
    }

    /// Reads a path as JSON.
    pub(crate) async fn json(&self, path: &str, accept: &'static str) -> Result<Value, BenchError> {
        serde_json::from_slice(&self.get(path, accept).await?).map_err(BenchError::step("reading an answer"))
    }

    /// Opens a watch of a collection from now on.
    pub(crate) async fn watch(&self, collection: &str) -> Result<Watch, BenchError> {
        let list = self.json(&format!("{collection}?limit=1"), "application/json").await?;
        let revision = list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
        let path = format!("{}{collection}?watch=true&resourceVersion={revision}", self.server);
        Ok(Watch { response: self.send(self.client.get(path)).await?, buffered: Vec::new() })
    }

    /// A connection of its own, for a client that does one thing at a time.
    pub(crate) async fn connect(&self) -> Result<Connection, BenchError> {
        let step = BenchError::step("connecting to the coordinator");
        let host = self.server.trim_start_matches("http://").to_owned();
        let stream = TcpStream::connect(&host).await.map_err(|error| step(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| step(error.to_string()))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| step(error.to_string()))?;
        // Its end is seen by whoever asks next.
        tokio::spawn(connection);
        Ok(Connection { sender, host, authorization: format!("Bearer {}", self.token) })
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, BenchError> {
        let request = self.client.post(format!("{}{path}", self.server)).header("content-type", "application/json");
        read(self.send(request.timeout(ANSWER_LIMIT).body(body)).await?).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, BenchError> {
        let request = if self.token.is_empty() { request } else { request.bearer_auth(&self.token) };
        let response = request.send().await.map_err(BenchError::step("asking the coordinator"))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let answer = format!("{} {}", response.status(), String::from_utf8_lossy(&read(response).await?));
        Err(BenchError::Answer { program: "the coordinator".to_owned(), answer })
    }
}

/// One kept-alive connection of a logged-in client, which costs the machine no more than that with etcd does.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    authorization: String,
}

impl Connection {
    /// Posts a signed Change; when this returns, it is committed.
    pub(crate) async fn submit(&mut self, body: Vec<u8>) -> Result<(), BenchError> {
        let step = BenchError::step("asking the coordinator");
        let request = Request::post(CHANGES).header("host", &self.host).header("authorization", &self.authorization);
        let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| step(error.to_string()))?;
        self.sender.ready().await.map_err(|error| step(error.to_string()))?;
        let response = self.sender.send_request(request).await.map_err(|error| step(error.to_string()))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(BenchError::step("reading an answer"))?.to_bytes();
        if status.is_success() {
            return Ok(());
        }
        let answer = format!("{status} {}", String::from_utf8_lossy(&body));
        Err(BenchError::Answer { program: "the coordinator".to_owned(), answer })
    }
}

/// A client that is not logged in.
pub(crate) fn anonymous() -> Result<reqwest::Client, BenchError> {
    // Installed by an earlier measurement of this run is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().map_err(BenchError::step("making an HTTP client"))
}

async fn read(response: reqwest::Response) -> Result<Vec<u8>, BenchError> {
    let bytes = response.bytes().await.map_err(BenchError::step("reading an answer"))?;
    Ok(bytes.to_vec())
}

/// An open watch.
pub(crate) struct Watch {
    response: reqwest::Response,
    buffered: Vec<u8>,
}

impl Watch {
    /// The next event, as it is sent.
    pub(crate) async fn next(&mut self) -> Result<Vec<u8>, BenchError> {
        loop {
            if let Some(end) = self.buffered.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffered.split_off(end + 1);
                return Ok(std::mem::replace(&mut self.buffered, rest));
            }
            match self.response.chunk().await.map_err(BenchError::step("reading a watch"))? {
                Some(piece) => self.buffered.extend_from_slice(&piece),
                None => return Err(BenchError::step("reading a watch")("the coordinator closed it")),
            }
        }
    }
}
