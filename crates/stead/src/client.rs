//! The HTTP client: pinned certificate, bearer token, refusals turned into our errors.

mod error;
mod list;
mod path;
mod warnings;
mod watch;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stead_model::{KindInfo, Object};
use stead_trust::Signer;

pub(crate) use self::error::{ClientError, StatusError};
pub(crate) use self::path::{collection, object as object_path, query};
use self::warnings::Warnings;
pub(crate) use self::watch::{Watch, WatchEvent};
use crate::config::Settings;
use crate::failure::{Failure, FailureKind};
use crate::{login, outbox, token};

/// The largest answer in bytes: a page of a list, or the bundle of a large change.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long connecting may take; the settings bound the request as a whole.
const CONNECT_TIMEOUT_SECONDS: u64 = 10;
/// The same where there is another coordinator to turn to.
const CONNECT_TIMEOUT_SEVERAL_SECONDS: u64 = 3;

/// A client of a fleet's coordinators: the first that answers is asked, and asked again.
pub(crate) struct Client {
    http: reqwest::Client,
    /// In the order in which they are asked; never empty.
    servers: Vec<String>,
    /// The one that answered last.
    current: AtomicUsize,
    timeout: Duration,
    token: Option<String>,
    warnings: Warnings,
    /// The file of a token that came from the cache, to be removed if the coordinator refuses it.
    token_file: Option<PathBuf>,
}

impl Client {
    /// A client that is not logged in.
    pub(crate) fn anonymous(settings: &Settings) -> Result<Self, Failure> {
        crate::install_tls()?;
        let servers = settings.servers()?;
        let connect_seconds = if servers.len() > 1 { CONNECT_TIMEOUT_SEVERAL_SECONDS } else { CONNECT_TIMEOUT_SECONDS };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("stead/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(connect_seconds))
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = settings.ca_file() {
            let unusable = |message: String| {
                Failure::new(FailureKind::Config, format!("the certificate file {} cannot be used: {message}", path.display()))
            };
            let pem = std::fs::read(&path).map_err(|error| unusable(error.to_string()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
            if certificates.is_empty() {
                return Err(unusable("it holds no certificate in PEM".to_owned()));
            }
            builder = builder.tls_certs_only(certificates);
        }
        let http = builder.build().map_err(|error| Failure::of(FailureKind::Internal, ClientError::Build(error)))?;
        let timeout = Duration::from_secs(settings.request_timeout_seconds());
        Ok(Self {
            http,
            servers,
            current: AtomicUsize::new(0),
            timeout,
            token: None,
            warnings: Warnings::default(),
            token_file: None,
        })
    }

    /// A client that is logged in. What waits in the outbox is sent first: what was written first arrives first.
    pub(crate) async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let client = Self::connect_alone(settings).await?;
        outbox::send::before(&client, settings).await?;
        Ok(client)
    }

    /// A client that is logged in, with the token in the cache while it is good, else with a signature; the outbox is left alone.
    pub(crate) async fn connect_alone(settings: &Settings) -> Result<Self, Failure> {
        let mut client = Self::anonymous(settings)?;
        let token = if let Some(token) = token::cached(settings)? {
            client.token_file = Some(token::path(settings)?);
            token
        } else {
            login::log_in(&client, settings).await?
        };
        client.token = Some(token.token);
        Ok(client)
    }

    /// The same client, logged in with a token that it was given just now.
    pub(crate) fn with_token(self, token: &token::Token) -> Self {
        Self { token: Some(token.token.clone()), ..self }
    }

    /// A client that is logged in as the holder of a key, whatever the settings and the cache say.
    pub(crate) async fn connect_as(settings: &Settings, key: &dyn Signer) -> Result<Self, Failure> {
        let mut client = Self::anonymous(settings)?;
        let greeting = login::greet(&client, settings).await?;
        client.token = Some(login::answer_as(&client, key, greeting).await?.token);
        Ok(client)
    }

    /// Reads a path, such as `/stead/v1/login`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call::<(), T>(Method::GET, path, None).await
    }

    /// Sends a body to a path.
    pub(crate) async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, ClientError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// The same, with what the coordinator warns of, for whoever passes it on.
    pub(crate) async fn post_warned<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<(T, Vec<String>), ClientError> {
        let response = self.send(Method::POST, path, Some(body), Some(self.timeout)).await?;
        let warnings = warnings::of(response.headers());
        let bytes = self.read(response, path).await?;
        let answer = serde_json::from_slice(&bytes).map_err(|source| ClientError::Answer { path: path.to_owned(), source })?;
        Ok((answer, warnings))
    }

    /// Says, on standard error, what coordinators have warned of until now and was not said.
    pub(crate) fn say_warnings(&self) {
        for warning in self.warnings.take() {
            eprintln!("Warning: {warning}");
        }
    }

    /// Forgets what coordinators have warned of and was not said. Says whether there was anything.
    pub(crate) fn forget_warnings(&self) -> bool {
        self.warnings.forget()
    }

    /// Keeps what a coordinator warned of, to be said later.
    pub(crate) fn hear(&self, warnings: Vec<String>) {
        self.warnings.hear(warnings);
    }

    /// Sends a body to a path of one coordinator, and of no other.
    pub(crate) async fn post_to<B: Serialize, T: DeserializeOwned>(
        &self,
        server: &str,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let sent = self.request(&Method::POST, server, path, Some(body), Some(self.timeout)).send().await;
        let response = sent.map_err(|source| ClientError::Unreachable { server: server.to_owned(), source })?;
        if !response.status().is_success() {
            return Err(self.refusal(response, path).await);
        }
        let bytes = self.read(response, path).await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Answer { path: path.to_owned(), source })
    }

    /// One object; none where there is no such name.
    pub(crate) async fn find(&self, info: &KindInfo, namespace: &str, name: &str) -> Result<Option<Object>, ClientError> {
        match self.get(&object_path(info, namespace, name)).await {
            Ok(object) => Ok(Some(object)),
            Err(ClientError::Status(status)) if status.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One object as it was sent, with all its members.
    pub(crate) async fn object(&self, info: &KindInfo, namespace: &str, name: &str) -> Result<Value, ClientError> {
        self.get(&object_path(info, namespace, name)).await
    }

    async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ClientError> {
        let response = self.send(method, path, body, Some(self.timeout)).await?;
        self.hear(warnings::of(response.headers()));
        let bytes = self.read(response, path).await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Answer { path: path.to_owned(), source })
    }

    async fn send<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        timeout: Option<Duration>,
    ) -> Result<reqwest::Response, ClientError> {
        let request = |server: &str| self.request(&method, server, path, body, timeout);
        let response = self.ask(&method, request).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response, path).await) }
    }

    /// Asks the coordinator that answered last, and where it cannot be reached, each other one.
    async fn ask(
        &self,
        method: &Method,
        request: impl Fn(&str) -> reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, ClientError> {
        let first = self.current.load(Ordering::Relaxed);
        let mut failure = None;
        for turn in 0..self.servers.len() {
            let index = first.wrapping_add(turn) % self.servers.len();
            let Some(server) = self.servers.get(index) else { continue };
            match request(server).send().await {
                Ok(response) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(response);
                }
                // Nothing of the request has arrived, or nothing that would change anything: another coordinator may be asked.
                Err(source) if source.is_connect() || (*method == Method::GET && !source.is_timeout()) => {
                    tracing::debug!(server, error = %source, "a coordinator cannot be reached");
                    failure.get_or_insert(ClientError::Unreachable { server: server.clone(), source });
                }
                Err(source) => return Err(ClientError::Unreachable { server: server.clone(), source }),
            }
        }
        Err(failure.unwrap_or(ClientError::NoServer))
    }

    fn request<B: Serialize>(
        &self,
        method: &Method,
        server: &str,
        path: &str,
        body: Option<&B>,
        timeout: Option<Duration>,
    ) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method.clone(), format!("{server}{path}")).header("accept", "application/json");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(timeout) = timeout {
            request = request.timeout(timeout);
        }
        request
    }

    /// The coordinator that answered last.
    fn server(&self) -> String {
        self.servers.get(self.current.load(Ordering::Relaxed)).cloned().unwrap_or_default()
    }

    /// A request as it is, answered as it is: what a proxy passes on. There is no limit of time, as watches last.
    pub(crate) async fn raw(
        &self,
        method: Method,
        path: &str,
        headers: reqwest::header::HeaderMap,
        body: bytes::Bytes,
    ) -> Result<reqwest::Response, ClientError> {
        let request = |server: &str| {
            let request = self.http.request(method.clone(), format!("{server}{path}"));
            let request = request.headers(headers.clone()).body(body.clone());
            match &self.token {
                Some(token) => request.bearer_auth(token),
                None => request,
            }
        };
        self.ask(&method, request).await
    }

    async fn refusal(&self, response: reqwest::Response, path: &str) -> ClientError {
        let code = response.status();
        if let (UNAUTHORIZED, Some(path)) = (code, &self.token_file) {
            token::forget(path);
        }
        match self.read(response, path).await {
            Ok(bytes) => StatusError::read(code, path, &bytes).into(),
            Err(error) => error,
        }
    }

    async fn read(&self, mut response: reqwest::Response, path: &str) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::new();
        loop {
            let piece = response.chunk().await;
            match piece.map_err(|source| ClientError::Unreachable { server: self.server(), source })? {
                Some(piece) if bytes.len() + piece.len() > ANSWER_BYTES_MAX => {
                    return Err(ClientError::Large { path: path.to_owned() });
                }
                Some(piece) => bytes.extend_from_slice(&piece),
                None => return Ok(bytes),
            }
        }
    }
}

/// The code of an answer that refuses the token.
pub(crate) const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
