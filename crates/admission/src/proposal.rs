//! Proposals, decided: what a proposal is by what the record and the trust root say of it. Pure.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use stead_model::{Object, Proposal, ProposalEntry, ProposalPhase, ProposalSignatures, ProposalSpec, ProposalStatus};
use stead_store::EngineError;
use stead_trust::{
    AdmissionError, Assessment, Authorship, ChangeStatement, Signature, SignedStatement, Standing, Submission, SubmittedEntry,
};

use crate::error::WriteError;

/// Bytes of the statement and the entries of one proposal: an object of the record, with room for its signatures.
pub const PROPOSAL_BYTES_MAX: usize = 1024 * 1024;
/// Proposals that wait at once: more than people can look at, and 64 MiB of the view.
pub const PROPOSALS_WAITING_MAX: usize = 64;
/// Proposals that are kept after they were decided: as many again.
pub const PROPOSALS_DECIDED_MAX: usize = 64;
/// Days for which they are kept.
pub const PROPOSALS_DECIDED_DAYS_MAX: i64 = 30;

/// Why something cannot be done with a proposal.
#[derive(Debug, thiserror::Error)]
pub enum ProposalError {
    /// There is none of that name.
    #[error("there is no proposal {name:?}; `stead get proposals` lists them")]
    NotFound {
        /// The name.
        name: String,
    },
    /// There is one already.
    #[error("the proposal {name} is there already")]
    Exists {
        /// The name.
        name: String,
    },
    /// It no longer waits.
    #[error("the proposal {name} is {phase:?}, and waits for nothing any more")]
    Decided {
        /// The name.
        name: String,
        /// What became of it.
        phase: ProposalPhase,
    },
    /// It is too large.
    #[error(
        "the proposal has {bytes} bytes; {PROPOSAL_BYTES_MAX} is the limit: split it up, or collect its signatures in a file (`stead propose --out`)"
    )]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// There are too many.
    #[error("{PROPOSALS_WAITING_MAX} proposals wait already; sign or withdraw some of them")]
    TooMany,
    /// A signature does not fit.
    #[error("a signature does not fit the proposal: {reason}")]
    Signature {
        /// Why not.
        reason: String,
    },
    /// A signature is nobody's whom the root names.
    #[error("the trust root names nobody with the key {fingerprint}")]
    Stranger {
        /// The key.
        fingerprint: String,
    },
    /// The database failed so that nobody can say whether it happened.
    #[error(
        "whether the proposal {name} was {what} is not known yet: {source}; `stead show {name}` tells, and the same request once more does \
         no harm"
    )]
    Unknown {
        /// The name.
        name: String,
        /// What was to be done with it.
        what: &'static str,
        /// How the database failed.
        source: Arc<EngineError>,
    },
    /// The record holds something else than a proposal.
    #[error("the proposal {name} cannot be read: {reason}")]
    Record {
        /// The name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// The Change that a proposal would be.
pub(crate) fn submission_of(proposal: &Proposal) -> Result<Submission, ProposalError> {
    let signatures = proposal.spec.signatures.iter().map(|armor| Signature::from_armor(armor));
    let signatures = signatures.collect::<Result<Vec<_>, _>>();
    let signatures =
        signatures.map_err(|error| ProposalError::Record { name: proposal.metadata.name.clone(), reason: error.to_string() })?;
    let bytes = |text: &String| text.clone().into_bytes();
    let entry = |entry: &ProposalEntry| SubmittedEntry { leaf: bytes(&entry.leaf), object: entry.object.as_ref().map(bytes) };
    Ok(Submission {
        statement: SignedStatement { document: bytes(&proposal.spec.statement), signatures },
        entries: proposal.spec.entries.iter().map(entry).collect(),
    })
}

/// What is kept of a Change that was proposed.
pub(crate) fn spec_of(statement: &ChangeStatement, submission: &Submission) -> Result<ProposalSpec, ProposalError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let entry = |entry: &SubmittedEntry| ProposalEntry { leaf: text(&entry.leaf), object: entry.object.as_deref().map(text) };
    let spec = ProposalSpec {
        message: statement.message.clone(),
        author: match &statement.authorship {
            Authorship::Person { author } => author.to_string(),
            Authorship::Online { signer, .. } => signer.to_string(),
        },
        admit_before: statement.admit_before,
        statement: text(&submission.statement.document),
        signatures: submission.statement.signatures.iter().map(Signature::to_armor).collect(),
        entries: submission.entries.iter().map(entry).collect(),
    };
    let entries = spec.entries.iter().map(|entry| entry.leaf.len().saturating_add(entry.object.as_ref().map_or(0, String::len)));
    let bytes = entries.sum::<usize>().saturating_add(spec.statement.len());
    if bytes > PROPOSAL_BYTES_MAX { Err(ProposalError::TooLarge { bytes }) } else { Ok(spec) }
}

/// What a proposal is now. `on_record` says whether its Change was admitted, by whatever way.
pub(crate) fn status_of(
    assessment: &Result<Assessment, AdmissionError>,
    on_record: bool,
    present: &ProposalStatus,
    now: Timestamp,
) -> ProposalStatus {
    let (phase, message) = match assessment {
        _ if on_record => (ProposalPhase::Admitted, String::new()),
        Err(error) => (ProposalPhase::Refused, error.to_string()),
        Ok(assessment) => match &assessment.standing {
            // It is admitted by whoever finds it ready; until then it waits.
            Standing::Ready | Standing::Waiting => (ProposalPhase::Waiting, String::new()),
            Standing::Expired => {
                (ProposalPhase::Expired, format!("it had to be admitted before {}", assessment.statement.statement.admit_before))
            }
            Standing::NeedsSigning { taken } => {
                let names: Vec<String> =
                    taken.iter().map(|taken| format!("{} (sequence {} is there)", taken.key, taken.current.sequence)).collect();
                let advice = "look at the difference with `stead show`, and sign anew with `stead propose --again`";
                (ProposalPhase::NeedsSigning, format!("{} changed meanwhile; {advice}", names.join(", ")))
            }
        },
    };
    let mut status = ProposalStatus { phase, message, ..present.clone() };
    if let Ok(assessment) = assessment {
        status.signed = assessment.signatures.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let one = |signatures: &stead_trust::Signatures| ProposalSignatures {
            role: signatures.role.clone(),
            had: signatures.had,
            needed: signatures.needed,
        };
        status.signatures = assessment.signatures.iter().map(one).collect();
        status.objects = assessment.objects.iter().map(ToString::to_string).collect();
    }
    if phase != ProposalPhase::Waiting && status.decided.is_none() {
        status.decided = Some(whole_seconds(now));
    }
    status
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The decided proposals that have been kept long enough, by name: those past their days, and the oldest beyond their number.
pub(crate) fn forgotten<'a>(proposals: impl IntoIterator<Item = &'a Proposal>, now: Timestamp) -> Vec<String> {
    let mut decided: Vec<(Timestamp, &str)> = proposals
        .into_iter()
        .filter_map(|proposal| Some((proposal.status.as_ref()?.decided?, proposal.metadata.name.as_str())))
        .collect();
    decided.sort_unstable();
    let over = decided.len().saturating_sub(PROPOSALS_DECIDED_MAX);
    let oldest =
        now.checked_sub(SignedDuration::from_hours(PROPOSALS_DECIDED_DAYS_MAX.saturating_mul(24))).unwrap_or(Timestamp::MIN);
    let gone = decided.iter().enumerate().filter(|(place, (moment, _))| *place < over || *moment < oldest);
    gone.map(|(_, (_, name))| (*name).to_owned()).collect()
}

/// A proposal out of the record.
pub(crate) fn read(object: &Object) -> Result<Proposal, WriteError> {
    let wrong = |error: stead_model::ObjectError| {
        WriteError::Proposal(ProposalError::Record { name: object.metadata.name.clone(), reason: error.to_string() })
    };
    object.to_typed().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::ObjectMeta;

    fn decided(name: &str, moment: Option<&str>) -> Proposal {
        Proposal {
            metadata: ObjectMeta { name: name.to_owned(), ..ObjectMeta::default() },
            spec: ProposalSpec {
                message: String::new(),
                author: String::new(),
                admit_before: Timestamp::UNIX_EPOCH,
                statement: String::new(),
                signatures: Vec::new(),
                entries: Vec::new(),
            },
            status: Some(ProposalStatus { decided: moment.map(|text| text.parse().unwrap()), ..ProposalStatus::default() }),
        }
    }

    #[test]
    fn decided_proposals_are_forgotten_by_age_and_number() {
        let now = "2026-03-01T00:00:00Z".parse().unwrap();
        let few =
            [decided("old", Some("2026-01-01T00:00:00Z")), decided("new", Some("2026-02-28T00:00:00Z")), decided("open", None)];
        assert_eq!(forgotten(&few, now), ["old"]);
        let many: Vec<Proposal> = (0..PROPOSALS_DECIDED_MAX + 2)
            .map(|number| decided(&format!("p{number:03}"), Some("2026-02-28T00:00:00Z")))
            .collect();
        assert_eq!(forgotten(&many, now), ["p000", "p001"]);
    }
}
