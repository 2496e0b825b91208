//! Whether coordinators and relays answer, and how fast: what is slow is told from what is gone.

use std::fmt;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::Coordinator;

/// How long an answer may take, in seconds, until it counts as none: longer than a busy machine or a satellite takes.
const PROBE_SECONDS_MAX: u64 = 5;
/// How long a connection may take of that, in seconds.
const CONNECT_SECONDS_MAX: u64 = 3;
/// From how many milliseconds on an answer is slow: more than the way around the world and a handshake take.
const SLOW_MILLISECONDS: u128 = 1_500;

/// How somebody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nobody was asked.
    NotAsked,
    /// In so many milliseconds.
    In(u128),
    /// Somebody takes the connection, and nothing comes.
    Stuck,
    /// There is nobody.
    Gone,
    /// Somebody with another certificate.
    Another,
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => formatter.write_str("-"),
            Self::In(milliseconds) if *milliseconds < SLOW_MILLISECONDS => write!(formatter, "in {milliseconds} ms"),
            Self::In(milliseconds) => write!(formatter, "slow: in {milliseconds} ms"),
            Self::Stuck => write!(formatter, "stuck: not within {PROBE_SECONDS_MAX} s"),
            Self::Gone => formatter.write_str("no"),
            Self::Another => formatter.write_str("another certificate"),
        }
    }
}

/// How a coordinator's ports answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Voices {
    pub(super) api: Answer,
    pub(super) relay: Answer,
}

/// Asks all of them at once.
pub(super) async fn all(coordinators: &[Coordinator]) -> Vec<Voices> {
    join_all(coordinators.iter().map(of)).await
}

async fn of(coordinator: &Coordinator) -> Voices {
    let api = async {
        match coordinator.api.first() {
            Some(url) => ask(&format!("{url}/livez"), Some(&coordinator.authority)).await,
            None => Answer::NotAsked,
        }
    };
    let relay = async {
        match &coordinator.relay {
            Some(url) => ask(&format!("{}/ping", url.trim_end_matches('/')), None).await,
            None => Answer::NotAsked,
        }
    };
    let (api, relay) = tokio::join!(api, relay);
    Voices { api, relay }
}

/// Asks once. Any answer is one, whatever it says.
async fn ask(url: &str, authority: Option<&str>) -> Answer {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
        .timeout(Duration::from_secs(PROBE_SECONDS_MAX))
        .redirect(reqwest::redirect::Policy::none());
    if let Some(certificates) = authority.and_then(|pem| reqwest::Certificate::from_pem_bundle(pem.as_bytes()).ok()) {
        builder = builder.tls_certs_only(certificates);
    }
    let Ok(client) = builder.build() else { return Answer::NotAsked };
    let started = Instant::now();
    match client.get(url).send().await {
        Ok(_) => Answer::In(started.elapsed().as_millis()),
        Err(error) if is_another(&error) => Answer::Another,
        Err(error) if error.is_connect() => Answer::Gone,
        // Whoever takes a connection and says nothing of use is there.
        Err(_) => Answer::Stuck,
    }
}

fn is_another(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    std::iter::from_fn(|| {
        let error = cause?;
        cause = error.source();
        Some(error.to_string())
    })
    .any(|text| text.to_ascii_lowercase().contains("certificate"))
}
