//! A coordinator tells its relays whom they may admit: at once when that changes, and again where a relay has lost it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use stead_admission::Admission;
use stead_control::Control;
use stead_model::Digest;
use stead_trust::Roll;
use stead_wire::{RelayStanding, roll_members};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::client::{RelayClient, RelayClientError};
use crate::failure::Failure;

/// How often it is looked at whether there is something to tell, in seconds: who was struck off is out that soon.
const LOOK_SECONDS: u64 = 1;

/// How often a relay is asked how far it is, in seconds, where there is nothing to tell it.
const ASK_SECONDS: u64 = 15;

/// What a relay is told.
struct Wanted {
    members: Vec<u8>,
    digest: Digest,
    marks: Vec<String>,
    root_version: u64,
    revision: u64,
}

impl Wanted {
    fn is_told(&self, standing: &RelayStanding) -> bool {
        standing.members == Some(self.digest) && standing.marks == self.marks && standing.root_version >= self.root_version
    }
}

/// How a relay is doing, as this coordinator sees it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Telling {
    /// Its URL.
    pub(crate) url: String,
    /// What it said last.
    pub(crate) standing: Option<RelayStanding>,
    /// What is wrong, where something is.
    pub(crate) error: Option<String>,
}

/// Tells one relay.
pub(crate) struct Teller {
    relay: RelayClient,
    admission: Admission,
    control: Control,
    telling: Arc<Mutex<Telling>>,
}

impl Teller {
    pub(crate) fn new(url: &str, admission: Admission, control: Control) -> Result<Self, Failure> {
        let telling = Telling { url: url.to_owned(), ..Telling::default() };
        Ok(Self { relay: RelayClient::new(url)?, admission, control, telling: Arc::new(Mutex::new(telling)) })
    }

    /// How the relay is doing, for as long as somebody asks.
    pub(crate) fn telling(&self) -> Arc<Mutex<Telling>> {
        Arc::clone(&self.telling)
    }

    /// Tells it once, whatever comes of it.
    pub(crate) async fn tell(&self) -> bool {
        let told = self.bring().await;
        let mut telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        match told {
            Ok(standing) => {
                if let Some(error) = telling.error.take() {
                    tracing::info!(relay = telling.url, error, "the relay knows whom to admit again");
                }
                telling.standing = Some(standing);
                true
            }
            Err(error) => {
                let error = error.to_string();
                // The same trouble is told once.
                if telling.error.as_ref() != Some(&error) {
                    tracing::warn!(relay = telling.url, error, "the relay could not be told whom to admit; it is tried again");
                }
                telling.error = Some(error);
                false
            }
        }
    }

    /// Tells it for ever.
    pub(crate) async fn run(&self) {
        let mut looks = interval(Duration::from_secs(LOOK_SECONDS));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut done: Option<(u64, Instant)> = None;
        loop {
            looks.tick().await;
            let revision = self.admission.store().revision().0;
            let asked_lately = done.is_some_and(|(_, at)| at.elapsed() < Duration::from_secs(ASK_SECONDS));
            if asked_lately && (done.is_some_and(|(seen, _)| seen == revision) || self.is_told()) {
                continue;
            }
            done = self.tell().await.then(|| (revision, Instant::now()));
        }
    }

    fn is_told(&self) -> bool {
        let wanted = self.wanted();
        let telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        telling.standing.as_ref().is_some_and(|standing| wanted.is_told(standing))
    }

    fn wanted(&self) -> Wanted {
        let revision = self.admission.store().revision().0;
        let (members, marks) = self.control.roll();
        let members = roll_members(members);
        Wanted { digest: Digest::of(&members), members, marks, root_version: self.admission.root().version, revision }
    }

    async fn bring(&self) -> Result<RelayStanding, BringError> {
        let mut standing = self.relay.standing().await?;
        let fleet = self.admission.fleet();
        if standing.fleet != fleet {
            return Err(BringError::OtherFleet { found: standing.fleet });
        }
        let wanted = self.wanted();
        if standing.root_version < wanted.root_version {
            let chain = self.admission.chain();
            let known = usize::try_from(standing.root_version).unwrap_or(usize::MAX);
            standing = self.relay.bring_roots(chain.signed().get(known..).unwrap_or_default()).await?;
        }
        let record = self.admission.store().incarnation().to_string();
        // Another coordinator has seen more of the record: what it said is newer than what is known here.
        let newer = standing.record == record && standing.revision > wanted.revision;
        if wanted.is_told(&standing) || newer {
            return Ok(standing);
        }
        let now = self.admission.environment().now();
        let roll = Roll {
            fleet,
            time: now,
            coordinator: self.admission.online_key().clone(),
            sequence: u64::try_from(now.as_millisecond()).unwrap_or_default().max(standing.sequence.saturating_add(1)),
            record,
            revision: wanted.revision,
            members: wanted.digest,
            count: u64::try_from(wanted.members.len() / stead_wire::PEER_KEY_BYTES).unwrap_or_default(),
            marks: wanted.marks,
        };
        let signed = self.admission.sign_roll(&roll).map_err(|error| BringError::Sign(error.to_string()))?;
        Ok(self.relay.bring_roll(&signed, wanted.members).await?)
    }
}

/// Why a relay was not told.
#[derive(Debug, thiserror::Error)]
enum BringError {
    /// It does not answer as it should.
    #[error(transparent)]
    Relay(#[from] RelayClientError),
    /// It serves another fleet.
    #[error("the relay serves the fleet {found}; start it with --fleet and this fleet's id")]
    OtherFleet {
        /// Which.
        found: Digest,
    },
    /// The online key does not sign.
    #[error("the roll could not be signed: {0}")]
    Sign(String),
}
