//! Proposals, acted on: taken, signed, withdrawn, admitted when nothing is missing any more, and told when nothing can come of them.

use stead_model::{GroupKind, Object, ObjectKey, ObjectMeta, Proposal, ProposalPhase, ProposalStatus, Revision, Selector};
use stead_store::{ChangeReference, CommitError, Expect, List, Op, Transaction};
use stead_trust::{Assessment, ChangeStatement, Signature, SignatureNamespace, Standing, Submission, verify_with};

use crate::admission::{Admission, Beside, Caller, current};
use crate::error::WriteError;
use crate::proposal::{PROPOSALS_WAITING_MAX, ProposalError, forgotten, read, spec_of, status_of, submission_of};

/// What became of a proposal that waits no more.
fn decided(proposal: &Proposal) -> Option<ProposalPhase> {
    proposal.status.as_ref().map(|status| status.phase).filter(|phase| *phase != ProposalPhase::Waiting)
}

/// How often a proposal is looked at anew when somebody else writes it in between: people sign one at a time.
const ATTEMPTS_MAX: usize = 16;

fn key_of(name: &str) -> ObjectKey {
    ObjectKey::new(GroupKind::new(stead_model::GROUP, "Proposal"), "", name)
}

impl Admission {
    /// Takes a Change that waits for signatures; one that lacks none is admitted at once, or, where the record fails meanwhile, as soon as
    /// it is there again. One that was taken before is as it is by now, with the signatures that it lacked.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing has happened then, but for [`ProposalError::Unknown`].
    pub async fn propose(&self, caller: &Caller, submission: &Submission, dry_run: bool) -> Result<Object, WriteError> {
        let statement = ChangeStatement::from_document(&submission.statement.document)
            .map_err(|error| WriteError::Refused(stead_trust::VerifyError::from(error).into()))?;
        let name = statement.id.to_ascii_lowercase();
        let mut proposal = Proposal {
            metadata: ObjectMeta { name: name.clone(), ..ObjectMeta::default() },
            spec: spec_of(&statement, submission)?,
            status: None,
        };
        self.check_signatures(&proposal, &submission.statement.signatures)?;
        if !dry_run && self.was_taken(&proposal)? {
            return self.sign_proposal(caller, &name, &submission.statement.signatures).await;
        }
        let assessment = self.assess(submission)?;
        let admit_before = statement.admit_before;
        match assessment.standing {
            Standing::NeedsSigning { taken } => return Err(stead_trust::AdmissionError::NeedsSigning { taken }.into()),
            Standing::Expired => {
                return Err(stead_trust::AdmissionError::Expired { admit_before, now: self.environment().now() }.into());
            }
            Standing::Ready | Standing::Waiting => {}
        }
        if self.waiting().len() >= PROPOSALS_WAITING_MAX {
            return Err(ProposalError::TooMany.into());
        }
        let status = status_of(&Ok(assessment), false, &ProposalStatus::default(), self.environment().now());
        proposal.status = Some(status.clone());
        let object = Object::from_typed(&proposal)?;
        if dry_run {
            return Ok(object);
        }
        tracing::info!(proposal = %name, by = %caller.name, signed = %status.signed, "a proposal");
        match self.write_proposal(&proposal, Expect::Absent, "taken").await {
            Ok(()) => self.settled(caller, &name).await,
            // The same request was first, at another coordinator.
            Err(WriteError::Proposal(ProposalError::Exists { .. })) if self.was_taken(&proposal)? => {
                self.sign_proposal(caller, &name, &submission.statement.signatures).await
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the record has this very proposal.
    fn was_taken(&self, proposal: &Proposal) -> Result<bool, WriteError> {
        let name = &proposal.metadata.name;
        match self.proposal(name) {
            // Its statement commits to all that it would do.
            Ok((present, _)) if present.spec.statement == proposal.spec.statement => Ok(true),
            Ok(_) => Err(ProposalError::Exists { name: name.clone() }.into()),
            Err(WriteError::Proposal(ProposalError::NotFound { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Adds signatures to a proposal; with the last one that was missing it is admitted. Signatures that it has already change nothing,
    /// whatever has become of it.
    ///
    /// # Errors
    ///
    /// [`WriteError::Proposal`] for a signature that does not fit or that is nobody's of the trust root. Nothing has happened then, but
    /// for [`ProposalError::Unknown`].
    pub async fn sign_proposal(&self, caller: &Caller, name: &str, signatures: &[Signature]) -> Result<Object, WriteError> {
        for _ in 0..ATTEMPTS_MAX {
            let (mut proposal, revision) = self.proposal(name)?;
            self.check_signatures(&proposal, signatures)?;
            let mut held = submission_of(&proposal)?.statement.signatures;
            let lacks =
                |held: &[Signature], signature: &Signature| held.iter().all(|held| held.claimed_key() != signature.claimed_key());
            if let Some(phase) = decided(&proposal) {
                if signatures.iter().any(|signature| lacks(&held, signature)) {
                    return Err(ProposalError::Decided { name: name.to_owned(), phase }.into());
                }
                return self.proposal_object(name);
            }
            for signature in signatures {
                if lacks(&held, signature) {
                    tracing::info!(proposal = name, by = %caller.name, key = %signature.claimed_key().fingerprint(), "signed");
                    held.push(signature.clone());
                }
            }
            proposal.spec.signatures = held.iter().map(Signature::to_armor).collect();
            self.count_signatures(&mut proposal)?;
            match self.write_proposal(&proposal, Expect::Revision(revision), "signed").await {
                Err(WriteError::Commit(CommitError::Conflict { .. })) => {}
                Err(error) => return Err(error),
                Ok(()) => return self.settled(caller, name).await,
            }
        }
        Err(WriteError::Contended { attempts: ATTEMPTS_MAX })
    }

    /// Lets a proposal that waits say who has signed it; what it is besides is seen when it is settled.
    fn count_signatures(&self, proposal: &mut Proposal) -> Result<(), WriteError> {
        let present = proposal.status.take().unwrap_or_default();
        let assessment = self.assess_any(&submission_of(proposal)?);
        let counted = status_of(&assessment, false, &present, self.environment().now());
        let status = ProposalStatus { signed: counted.signed, signatures: counted.signatures, ..present };
        proposal.status = Some(status);
        Ok(())
    }

    /// Takes a proposal back; one that the caller has taken back already is as it is.
    ///
    /// # Errors
    ///
    /// [`ProposalError::Decided`] where there is nothing to take back any more; [`ProposalError::Unknown`].
    pub async fn withdraw_proposal(&self, caller: &Caller, name: &str) -> Result<Object, WriteError> {
        for _ in 0..ATTEMPTS_MAX {
            let (mut proposal, revision) = self.proposal(name)?;
            let (phase, message) = (decided(&proposal), format!("withdrawn by {}", caller.name));
            let mut status = proposal.status.take().unwrap_or_default();
            match phase {
                None => {}
                Some(ProposalPhase::Withdrawn) if status.message == message => return self.proposal_object(name),
                Some(phase) => return Err(ProposalError::Decided { name: name.to_owned(), phase }.into()),
            }
            status.phase = ProposalPhase::Withdrawn;
            status.message = message;
            status.decided = Some(self.whole_now());
            proposal.status = Some(status);
            match self.write_proposal(&proposal, Expect::Revision(revision), "withdrawn").await {
                Err(WriteError::Commit(CommitError::Conflict { .. })) => {}
                Err(error) => return Err(error),
                Ok(()) => return self.proposal_object(name),
            }
        }
        Err(WriteError::Contended { attempts: ATTEMPTS_MAX })
    }

    /// Looks at every proposal that waits: some have expired, some were overtaken, and a new root may have made some ready. Decided ones
    /// that were kept long enough are forgotten.
    ///
    /// # Errors
    ///
    /// [`WriteError`] of the first that could not be written; the others are looked at again the next time.
    pub async fn review_proposals(&self) -> Result<(), WriteError> {
        let caller = Caller { name: "coordinator".to_owned(), key: None };
        for name in self.waiting() {
            match self.settle(&caller, &name).await {
                // Somebody else decided it meanwhile.
                Ok(_) | Err(WriteError::Proposal(ProposalError::Decided { .. } | ProposalError::NotFound { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        let all = self.proposals();
        let ops: Vec<Op> = forgotten(&all, self.environment().now()).iter().map(|name| Op::delete(key_of(name))).collect();
        if !ops.is_empty() {
            self.store().commit(Transaction::unsigned(self.environment().now(), ops)).await?;
        }
        Ok(())
    }

    /// Brings a proposal that has just been written to where it belongs. That it was written is known, and stays the answer, whatever
    /// becomes of the rest: the review does that again.
    async fn settled(&self, caller: &Caller, name: &str) -> Result<Object, WriteError> {
        match self.settle(caller, name).await {
            Ok(object) => Ok(object),
            Err(WriteError::Commit(CommitError::Unknown(source))) => {
                Err(ProposalError::Unknown { name: name.to_owned(), what: "admitted", source }.into())
            }
            Err(error) => {
                // The review may have been there first.
                if !matches!(error, WriteError::Proposal(ProposalError::Decided { .. })) {
                    tracing::warn!(proposal = name, %error, "a proposal was taken, and is looked at again later");
                }
                self.proposal_object(name)
            }
        }
    }

    /// Brings a proposal to where it belongs, and gives it as it is then.
    async fn settle(&self, caller: &Caller, name: &str) -> Result<Object, WriteError> {
        for _ in 0..ATTEMPTS_MAX {
            let (proposal, revision) = self.waiting_proposal(name)?;
            let submission = submission_of(&proposal)?;
            let assessment = self.assess_any(&submission);
            let known = self.store().change(ChangeReference::Id(name.to_ascii_uppercase())).await?.is_some();
            let present = proposal.status.clone().unwrap_or_default();
            let mut next = proposal.clone();
            next.status = Some(status_of(&assessment, known, &present, self.environment().now()));
            let ready = !known && assessment.is_ok_and(|assessment| matches!(assessment.standing, Standing::Ready));
            let outcome = if ready {
                self.admit_proposal(caller, &next, &submission, revision).await
            } else if next.status == proposal.status {
                return self.proposal_object(name);
            } else {
                self.write_proposal(&next, Expect::Revision(revision), "reviewed").await
            };
            match outcome {
                Ok(()) => return self.proposal_object(name),
                // Something came in between: the verdict is another one now.
                Err(WriteError::Commit(
                    CommitError::Conflict { .. } | CommitError::SequenceTaken { .. } | CommitError::ChangeExists { .. },
                ))
                | Err(WriteError::Refused(stead_trust::AdmissionError::NeedsSigning { .. })) => {}
                Err(error) => return self.refuse_proposal(&next, revision, error).await,
            }
        }
        Err(WriteError::Contended { attempts: ATTEMPTS_MAX })
    }

    /// The Change and the end of its proposal, in one transaction.
    async fn admit_proposal(
        &self,
        caller: &Caller,
        next: &Proposal,
        submission: &Submission,
        revision: Revision,
    ) -> Result<(), WriteError> {
        let mut admitted = next.clone();
        let status = ProposalStatus {
            phase: ProposalPhase::Admitted,
            change: next.metadata.name.clone(),
            decided: Some(self.whole_now()),
            ..next.status.clone().unwrap_or_default()
        };
        admitted.status = Some(status);
        let beside = self.proposal_ops(&admitted, Expect::Revision(revision))?;
        self.submit_beside(caller, submission, &[], &Beside { ops: beside, asked: None }).await.map(drop)
    }

    /// A proposal that has its signatures and still cannot be admitted (a namespace that is gone, a kind that became stricter).
    async fn refuse_proposal(&self, next: &Proposal, revision: Revision, error: WriteError) -> Result<Object, WriteError> {
        if error.is_temporary() || matches!(error, WriteError::Proposal(ProposalError::Unknown { .. })) {
            return Err(error);
        }
        let mut refused = next.clone();
        refused.status = Some(ProposalStatus {
            phase: ProposalPhase::Refused,
            message: error.to_string(),
            decided: Some(self.whole_now()),
            ..next.status.clone().unwrap_or_default()
        });
        self.write_proposal(&refused, Expect::Revision(revision), "refused").await?;
        self.proposal_object(&next.metadata.name)
    }

    /// Signatures that fit the statement, of keys that the trust root names.
    fn check_signatures(&self, proposal: &Proposal, signatures: &[Signature]) -> Result<(), ProposalError> {
        let root = self.root();
        for signature in signatures {
            let verified =
                verify_with(SignatureNamespace::Change, proposal.spec.statement.as_bytes(), signature, root.user_presence());
            let key = verified.map_err(|error| ProposalError::Signature { reason: error.to_string() })?;
            if !root.is_persons_key(&key) {
                return Err(ProposalError::Stranger { fingerprint: key.fingerprint() });
            }
        }
        Ok(())
    }

    fn assess_any(&self, submission: &Submission) -> Result<Assessment, stead_trust::AdmissionError> {
        let snapshot = self.store().snapshot();
        stead_trust::assess(&self.chain(), submission, &|key| current(&snapshot, key), self.environment().now())
    }

    fn assess(&self, submission: &Submission) -> Result<Assessment, WriteError> {
        Ok(self.assess_any(submission)?)
    }

    fn proposals(&self) -> Vec<Proposal> {
        let snapshot = self.store().snapshot();
        let (kind, everything) = (key_of("").kind, Selector::default());
        let list = List { kind, namespace: None, selector: &everything, fields: None, after: None, limit: 0 };
        snapshot.list(&list).objects.iter().filter_map(|stored| read(&stored.to_object().ok()?).ok()).collect()
    }

    /// The names of those that wait.
    fn waiting(&self) -> Vec<String> {
        let waits = |proposal: &Proposal| proposal.status.as_ref().is_none_or(|status| status.phase == ProposalPhase::Waiting);
        self.proposals().into_iter().filter(waits).map(|proposal| proposal.metadata.name).collect()
    }

    fn waiting_proposal(&self, name: &str) -> Result<(Proposal, Revision), WriteError> {
        let (proposal, revision) = self.proposal(name)?;
        match decided(&proposal) {
            None => Ok((proposal, revision)),
            Some(phase) => Err(ProposalError::Decided { name: name.to_owned(), phase }.into()),
        }
    }

    fn proposal(&self, name: &str) -> Result<(Proposal, Revision), WriteError> {
        let snapshot = self.store().snapshot();
        let stored = snapshot.get(&key_of(name)).ok_or_else(|| ProposalError::NotFound { name: name.to_owned() })?;
        let object =
            stored.to_object().map_err(|error| ProposalError::Record { name: name.to_owned(), reason: error.to_string() })?;
        Ok((read(&object)?, stored.revision()))
    }

    fn proposal_object(&self, name: &str) -> Result<Object, WriteError> {
        let snapshot = self.store().snapshot();
        let stored = snapshot.get(&key_of(name)).ok_or_else(|| ProposalError::NotFound { name: name.to_owned() })?;
        Ok(stored.to_object().map_err(|error| ProposalError::Record { name: name.to_owned(), reason: error.to_string() })?)
    }

    /// The writes of a proposal and its status. Once it is a Change, its entries are there.
    fn proposal_ops(&self, proposal: &Proposal, expect: Expect) -> Result<Vec<Op>, WriteError> {
        let mut proposal = proposal.clone();
        let status = proposal.status.take().unwrap_or_default();
        if matches!(status.phase, ProposalPhase::Admitted) {
            proposal.spec.entries.clear();
        }
        let object = Object::from_typed(&proposal)?;
        let key = object.key();
        let value =
            serde_json::to_value(&status).map_err(|error| WriteError::Invalid { key: key.clone(), reason: error.to_string() })?;
        Ok(vec![Op::Put { object: Box::new(object), expect }, Op::put_status(key, value)])
    }

    /// Writes a proposal, which is to be `what`.
    async fn write_proposal(&self, proposal: &Proposal, expect: Expect, what: &'static str) -> Result<(), WriteError> {
        let ops = self.proposal_ops(proposal, expect)?;
        match self.store().commit(Transaction::unsigned(self.environment().now(), ops)).await {
            Err(CommitError::AlreadyExists { key }) => Err(ProposalError::Exists { name: key.name }.into()),
            Err(CommitError::Unknown(source)) => {
                Err(ProposalError::Unknown { name: proposal.metadata.name.clone(), what, source }.into())
            }
            other => Ok(other.map(drop)?),
        }
    }

    fn whole_now(&self) -> jiff::Timestamp {
        let now = self.environment().now();
        jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
    }
}
