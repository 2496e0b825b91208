//! Questions to one machine, and its answers put together. Everything that comes is bounded, and nothing of it is believed.

use std::time::Duration;

use stead_model::{Digest, ObjectKey};
use stead_trust::{GIVEN_BACK_BYTES_MAX, GiveBackAnswer, GiveBackAsk, GiveBackError, HeldLine, given_back};
use stead_wire::{CoordinatorHandle, PeerKey, PlanError};

/// How long one answer may take, in seconds: 128 KiB over a slow link.
const ANSWER_SECONDS_MAX: u64 = 60;
/// How often a whole is begun anew because the machine's memory moved while its parts came.
const WHOLES_MAX: usize = 8;

/// Why a machine did not give back all that it holds.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskingError {
    /// It left, or took too long.
    #[error(transparent)]
    Wire(#[from] PlanError),
    /// Its agent does not know the question.
    #[error("its agent is too old to be asked; install a newer one")]
    TooOld,
    /// It answered something that cannot be.
    #[error("its answer cannot be read: {0}")]
    Answer(GiveBackError),
    /// Its answer does not go with the question, or with the part before.
    #[error("its answer does not fit the question: {0}")]
    Unfitting(&'static str),
    /// The record could not be read or written.
    #[error("{0}")]
    Record(String),
}

impl From<GiveBackError> for AskingError {
    fn from(error: GiveBackError) -> Self {
        match error {
            GiveBackError::Unknown => Self::TooOld,
            error => Self::Answer(error),
        }
    }
}

/// A page of what a machine holds.
pub(super) struct HeldPage {
    pub(super) root_version: u64,
    pub(super) lines: Vec<HeldLine>,
    pub(super) more: bool,
}

/// One machine that is asked.
pub(super) struct Asking<'a> {
    pub(super) wire: &'a CoordinatorHandle,
    pub(super) peer: PeerKey,
}

impl Asking<'_> {
    async fn ask(&self, ask: &GiveBackAsk) -> Result<GiveBackAnswer, AskingError> {
        let body = ask.to_bytes()?;
        let answer = self.wire.request_plan(self.peer, body.into(), Duration::from_secs(ANSWER_SECONDS_MAX)).await?;
        Ok(GiveBackAnswer::from_bytes(&answer)?)
    }

    /// What it holds after a name.
    pub(super) async fn held(&self, after: Option<&ObjectKey>) -> Result<HeldPage, AskingError> {
        match self.ask(&GiveBackAsk::Held { after: after.cloned() }).await? {
            GiveBackAnswer::Held { root_version, lines, more } => Ok(HeldPage { root_version, lines, more }),
            GiveBackAnswer::Part { .. } => Err(AskingError::Unfitting("a part came, and a list was asked for")),
        }
    }

    /// Its root versions after one.
    pub(super) async fn roots(&self, after: u64) -> Result<Vec<Vec<u8>>, AskingError> {
        self.whole(|skip| GiveBackAsk::Roots { after, skip }).await
    }

    /// The bundles that it holds some names by.
    pub(super) async fn bundles(&self, keys: Vec<ObjectKey>) -> Result<Vec<Vec<u8>>, AskingError> {
        self.whole(|skip| GiveBackAsk::Bundles { keys: keys.clone(), skip }).await
    }

    async fn whole(&self, ask: impl Fn(u64) -> GiveBackAsk) -> Result<Vec<Vec<u8>>, AskingError> {
        for _ in 0..WHOLES_MAX {
            if let Some(whole) = self.parts(&ask).await? {
                return Ok(given_back(&whole)?);
            }
        }
        Err(AskingError::Unfitting("its parts do not go together"))
    }

    /// All parts of one answer; none where they are of two different wholes.
    async fn parts(&self, ask: impl Fn(u64) -> GiveBackAsk) -> Result<Option<Vec<u8>>, AskingError> {
        let (mut whole, mut expected): (Vec<u8>, Option<[u8; 32]>) = (Vec::new(), None);
        loop {
            let GiveBackAnswer::Part { total, digest, bytes } = self.ask(&ask(whole.len() as u64)).await? else {
                return Err(AskingError::Unfitting("a list came, and a part was asked for"));
            };
            if total > GIVEN_BACK_BYTES_MAX as u64 {
                return Err(AskingError::Unfitting("it is longer than anything that may be asked for"));
            }
            if *expected.get_or_insert(digest) != digest {
                return Ok(None);
            }
            let left = total.saturating_sub(whole.len() as u64);
            if bytes.is_empty() || bytes.len() as u64 > left {
                return Err(AskingError::Unfitting("a part is empty, or longer than what is left"));
            }
            whole.extend_from_slice(&bytes);
            if whole.len() as u64 == total {
                return Ok((*Digest::of(&whole).as_bytes() == digest).then_some(whole));
            }
        }
    }
}
