//! Asks and tells a relay that runs alone, over the port that it relays on.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Url};
use serde::Deserialize;
use stead_trust::{SignedRoll, SignedRoot};
use stead_wire::{RELAY_PATH, RELAY_ROLL_HEADER, RELAY_ROLL_PATH, RELAY_ROOTS_PATH, RelayStanding, relay_roll_header};

use crate::failure::{Failure, FailureKind};

/// How long one request may take, in seconds: as long as a relay waits for somebody to say what they want.
const REQUEST_SECONDS: u64 = 10;

/// A relay.
#[derive(Debug, Clone)]
pub(crate) struct RelayClient {
    url: Url,
    http: reqwest::Client,
}

/// Why a relay does not answer as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayClientError {
    /// Nobody answers, or not to the end.
    #[error("the relay {url} cannot be reached: {source}")]
    Unreachable {
        url: Url,
        #[source]
        source: reqwest::Error,
    },
    /// It refuses.
    #[error("the relay {url} refuses: {message}")]
    Refused { url: Url, message: String },
    /// It answers as no relay of this kind does.
    #[error("{url} answers {code} where a relay of `stead relay` would say how it is doing")]
    NoRelay { url: Url, code: reqwest::StatusCode },
}

/// What a relay says where it refuses.
#[derive(Deserialize)]
struct Message {
    message: String,
}

impl RelayClient {
    pub(crate) fn new(url: &str) -> Result<Self, Failure> {
        let bad = || {
            Failure::user(format!("\"{url}\" is not a relay's URL"))
                .hint("Write http://HOST:PORT, or https://HOST behind a proxy.")
        };
        let url: Url = url.parse().map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(bad());
        }
        // Nothing stands between a coordinator and its relay; a proxy for the web is not meant for it.
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(REQUEST_SECONDS)).build();
        let http = http.map_err(|error| Failure::of(FailureKind::Internal, error))?;
        Ok(Self { url, http })
    }

    /// How far it is.
    pub(crate) async fn standing(&self) -> Result<RelayStanding, RelayClientError> {
        self.send(self.request(Method::GET, RELAY_PATH)).await
    }

    /// Brings it versions of the trust root.
    pub(crate) async fn bring_roots(&self, roots: &[SignedRoot]) -> Result<RelayStanding, RelayClientError> {
        self.send(self.request(Method::PUT, RELAY_ROOTS_PATH).json(roots)).await
    }

    /// Brings it a roll.
    pub(crate) async fn bring_roll(&self, roll: &SignedRoll, members: Vec<u8>) -> Result<RelayStanding, RelayClientError> {
        let request = self.request(Method::PUT, RELAY_ROLL_PATH).header(RELAY_ROLL_HEADER, relay_roll_header(roll));
        self.send(request.body(members)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.url.clone();
        url.set_path(path);
        self.http.request(method, url)
    }

    async fn send(&self, request: RequestBuilder) -> Result<RelayStanding, RelayClientError> {
        let unreachable = |source| RelayClientError::Unreachable { url: self.url.clone(), source };
        let response = request.send().await.map_err(unreachable)?;
        let code = response.status();
        let bytes = response.bytes().await.map_err(unreachable)?;
        if code.is_success() {
            return serde_json::from_slice(&bytes).map_err(|_| RelayClientError::NoRelay { url: self.url.clone(), code });
        }
        match serde_json::from_slice::<Message>(&bytes) {
            Ok(Message { message }) => Err(RelayClientError::Refused { url: self.url.clone(), message }),
            Err(_) => Err(RelayClientError::NoRelay { url: self.url.clone(), code }),
        }
    }
}
