//! The owner of a simulated fleet: signs changes, and submits them to whichever coordinator answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use stead_admission::{Admission, Caller, WriteError};
use stead_model::{Digest, Object, ObjectKey, Revision};
use stead_store::CommitError;
use stead_trust::{Authorship, Clock as _, PublicKey, Salt, Signer as _, SigningKey, StatementBuilder, Submission};
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::coordinator::environment;
use crate::ledger::{Acknowledged, Ledger};
use crate::time::PartyClock;
use crate::trace::Trace;

/// How long until an answer is no longer waited for.
const ANSWER: Duration = Duration::from_secs(20);
/// How long a statement may be admitted: longer than any simulation's faults.
const ADMIT_HOURS: i64 = 24;

/// What an owner wants of one object.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// It is put.
    Put(Object),
    /// It goes.
    Delete(ObjectKey),
}

impl Wanted {
    /// Which object.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Put(object) => object.key(),
            Self::Delete(key) => key.clone(),
        }
    }
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is in the record.
    Acknowledged,
    /// It is not, and why.
    Refused(String),
    /// Nobody can say.
    Unknown,
}

/// An owner.
#[derive(Clone)]
pub struct Owner {
    seed: [u8; 32],
    fleet: Digest,
    /// Its clock.
    pub clock: PartyClock,
    chance: Arc<Mutex<Chance>>,
    ledger: Ledger,
    trace: Trace,
}

impl Owner {
    /// An owner with this key.
    pub fn new(seed: [u8; 32], fleet: Digest, clock: PartyClock, chance: Chance, ledger: Ledger, trace: Trace) -> Self {
        Self { seed, fleet, clock, chance: Arc::new(Mutex::new(chance)), ledger, trace }
    }

    /// Its key.
    pub fn key(&self) -> PublicKey {
        SigningKey::from_seed(&self.seed).public_key().clone()
    }

    /// Signs a Change, each object at its next sequence as a coordinator tells it.
    ///
    /// # Errors
    ///
    /// In words, what cannot be signed.
    pub fn sign(&self, admission: &Admission, wanted: &[Wanted]) -> Result<Submission, String> {
        let now = self.clock.now();
        let later = now.checked_add(SignedDuration::from_hours(ADMIT_HOURS)).unwrap_or(now);
        let id = environment(&self.clock, &self.chance).new_id();
        let author = Authorship::Person { author: self.key() };
        let mut builder = StatementBuilder::new(self.fleet, &id, now, later, "a change", author);
        let snapshot = admission.store().snapshot();
        for want in wanted {
            let sequence = snapshot.sequence(&want.key()).map_or(0, |sequence| sequence.sequence).saturating_add(1);
            let mut salt = [0; 32];
            self.chance.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut salt);
            let salt = Salt::from_bytes(salt);
            let added = match want {
                Wanted::Put(object) => builder.put(object, sequence, salt),
                Wanted::Delete(key) => builder.delete("stead.dev/v1", key, sequence, salt),
            };
            added.map_err(|error| error.to_string())?;
        }
        let built = builder.build().map_err(|error| error.to_string())?;
        let submission = built.sign(&[&SigningKey::from_seed(&self.seed)]).map_err(|error| error.to_string())?;
        self.ledger.signed(&submission);
        Ok(submission)
    }

    /// Submits a signed Change and waits for the answer, or until the coordinator is dead.
    pub async fn submit(&self, admission: &Admission, dead: &CancellationToken, submission: &Submission) -> Answer {
        let id = stead_trust::ChangeStatement::from_document(&submission.statement.document).map(|statement| statement.id);
        let id = &id.unwrap_or_default();
        let caller = Caller { name: "the owner".to_owned(), key: Some(self.key()) };
        let answer = tokio::select! {
            biased;
            () = dead.cancelled() => Answer::Unknown,
            answered = admission.submit(&caller, submission, false) => match answered {
                Ok(submitted) => {
                    let told = submitted.change.map(|change| change.metadata.resource_version);
                    self.acknowledged(id, told.and_then(|told| told.parse().ok()).map(Revision), submission)
                }
                Err(WriteError::Commit(CommitError::ChangeExists { revision, .. })) => {
                    self.acknowledged(id, Some(revision), submission)
                }
                Err(WriteError::Commit(CommitError::Unknown(_) | CommitError::Closed)) => Answer::Unknown,
                Err(error) => Answer::Refused(error.to_string()),
            },
            () = tokio::time::sleep(ANSWER) => Answer::Unknown,
        };
        self.trace.note(format_args!("change {id}: {answer:?}"));
        answer
    }

    fn acknowledged(&self, id: &str, revision: Option<Revision>, submission: &Submission) -> Answer {
        let leaves = submission.entries.iter().filter_map(|entry| stead_trust::Leaf::from_bytes(&entry.leaf).ok());
        let sequences = leaves.map(|leaf| (leaf.key(), leaf.sequence)).collect();
        self.ledger.acknowledged(Acknowledged { id: id.to_owned(), revision, sequences });
        Answer::Acknowledged
    }
}
