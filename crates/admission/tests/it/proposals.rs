//! Proposals: what is taken, what is refused, and what becomes of those that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use stead_admission::{Admission, Environment, PROPOSAL_BYTES_MAX, PROPOSALS_WAITING_MAX, ProposalError, WriteError};
use stead_model::{Object, Proposal, ProposalPhase, ProposalStatus};
use stead_peers::{Passage, PostgresProxy, TempPostgres};
use stead_store::{Options, PostgresEngine, SqliteEngine, Store};
use stead_trust::{
    Authorship, Clock, Root, Salt, SignatureNamespace, SignedRoot, Signer as _, SigningKey, StatementBuilder, Submission,
};
use tempfile::TempDir;

use crate::fleet::{caller, now, object, profile};

/// A clock that is moved by hand.
#[derive(Default)]
struct Moved(AtomicI64);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        now() + SignedDuration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// A fleet in which two of the keys 1, 2 and 3 sign.
struct Pairs {
    admission: Admission,
    root: Root,
    clock: Arc<Moved>,
    _folder: Option<TempDir>,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

impl Pairs {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = SqliteEngine::open(&folder.path().join("record.db")).await.unwrap();
        Self { _folder: Some(folder), ..Self::on(Store::open(engine, Options::default()).await.unwrap()).await }
    }

    async fn on(store: Store) -> Self {
        let owners = [1, 2, 3].map(|seed| key(seed).public_key().clone()).to_vec();
        let mut root = Root::default_for(owners, vec![key(9).public_key().clone()], now());
        root.roles[0].threshold = 2;
        let signed = SignedRoot::sign(&root, &[&key(1)]).unwrap();
        let clock = Arc::new(Moved::default());
        let random = Arc::new(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap());
        let environment = Environment { clock: clock.clone(), random };
        Admission::found(&store, &signed, &environment).await.unwrap();
        let admission = Admission::open(store, signed.digest(), Arc::new(key(9)), environment).unwrap();
        Self { admission, root, clock, _folder: None }
    }

    /// A change of one object that key 1 wrote, for the next hour.
    fn submission(&self, object: &Object, sequence: u64, signers: &[u8]) -> Submission {
        let author = Authorship::Person { author: key(1).public_key().clone() };
        let id = self.admission.environment().new_id();
        let (now, later) = (self.clock.now(), self.clock.now() + SignedDuration::from_hours(1));
        let mut builder = StatementBuilder::new(self.admission.fleet(), &id, now, later, "why", author);
        builder.put(object, sequence, Salt::from_bytes([7; 32])).unwrap();
        let mut submission = builder.build().unwrap();
        for seed in signers {
            submission.statement.add_signature(&key(*seed)).unwrap();
        }
        submission
    }

    async fn propose(&self, submission: &Submission) -> Result<(String, ProposalStatus), WriteError> {
        self.admission.propose(&caller(), submission, false).await.map(read)
    }

    async fn sign(&self, name: &str, submission: &Submission, seed: u8) -> Result<ProposalStatus, WriteError> {
        let signature = key(seed).sign(SignatureNamespace::Change, &submission.statement.document).unwrap();
        self.admission.sign_proposal(&caller(), name, &[signature]).await.map(|object| read(object).1)
    }

    fn status(&self, name: &str) -> ProposalStatus {
        let kind = stead_model::GroupKind::new("stead.dev", "Proposal");
        let stored = self.admission.store().snapshot().get(&stead_model::ObjectKey::new(kind, "", name)).unwrap();
        read(stored.to_object().unwrap()).1
    }

    fn content(&self) -> Option<serde_json::Value> {
        let stored = self.admission.store().snapshot().get(&profile("").key())?;
        Some(stored.to_object().unwrap().spec()["files"][0]["content"].clone())
    }
}

fn read(object: Object) -> (String, ProposalStatus) {
    let proposal: Proposal = object.to_typed().unwrap();
    (proposal.metadata.name, proposal.status.unwrap())
}

#[tokio::test]
async fn the_last_signature_that_is_missing_admits_it_at_once() {
    let fleet = Pairs::new().await;
    let submission = fleet.submission(&profile("one"), 1, &[1]);
    let (name, status) = fleet.propose(&submission).await.unwrap();
    assert_eq!((status.phase, status.signed.as_str()), (ProposalPhase::Waiting, "owners 1 of 2"));
    assert_eq!(fleet.propose(&submission).await.unwrap(), (name.clone(), status), "the same once more is nothing more");
    let id = submission.statement.document.clone();
    let other = String::from_utf8(id).unwrap().replace("\"why\"", "\"because\"").into_bytes();
    let mut other =
        Submission { statement: stead_trust::SignedStatement { document: other, signatures: Vec::new() }, ..submission.clone() };
    other.statement.add_signature(&key(1)).unwrap();
    assert!(matches!(fleet.propose(&other).await, Err(WriteError::Proposal(ProposalError::Exists { .. }))));
    // Once more by the same key is nothing more.
    assert_eq!(fleet.sign(&name, &submission, 1).await.unwrap().signed, "owners 1 of 2");
    let stranger = fleet.sign(&name, &submission, 8).await;
    assert!(matches!(stranger, Err(WriteError::Proposal(ProposalError::Stranger { .. }))), "{stranger:?}");
    let other = fleet.submission(&profile("two"), 1, &[1]);
    let misfit = fleet.sign(&name, &other, 2).await;
    assert!(matches!(misfit, Err(WriteError::Proposal(ProposalError::Signature { .. }))), "{misfit:?}");
    assert_eq!(fleet.content(), None);

    let status = fleet.sign(&name, &submission, 2).await.unwrap();
    assert_eq!((status.phase, &status.change), (ProposalPhase::Admitted, &name));
    assert_eq!(fleet.content(), Some(json!("one")));
    let late = fleet.sign(&name, &submission, 3).await;
    assert!(matches!(late, Err(WriteError::Proposal(ProposalError::Decided { .. }))), "{late:?}");
    // With everything there already it does not wait at all.
    let (_, status) = fleet.propose(&fleet.submission(&profile("two"), 2, &[1, 3])).await.unwrap();
    assert_eq!(status.phase, ProposalPhase::Admitted);
    assert_eq!(fleet.content(), Some(json!("two")));
}

#[tokio::test]
async fn those_that_wait_expire_are_overtaken_or_become_ready() {
    let fleet = Pairs::new().await;
    let [late, early] = ["late", "early"].map(|content| fleet.submission(&profile(content), 1, &[1]));
    let (late_name, _) = fleet.propose(&late).await.unwrap();
    let (early_name, _) = fleet.propose(&early).await.unwrap();
    let base = fleet.submission(&object("Profile", "base", json!({"selector": {}})), 1, &[1]);
    let (base_name, _) = fleet.propose(&base).await.unwrap();
    fleet.sign(&early_name, &early, 2).await.unwrap();
    fleet.admission.review_proposals().await.unwrap();
    let overtaken = fleet.status(&late_name);
    assert_eq!(overtaken.phase, ProposalPhase::NeedsSigning);
    assert!(overtaken.message.contains("Profile/web (sequence 1 is there)"), "{}", overtaken.message);
    assert!(fleet.sign(&late_name, &late, 2).await.is_err());
    let refused = fleet.propose(&fleet.submission(&profile("stale"), 1, &[1])).await;
    assert!(matches!(refused, Err(WriteError::Refused(stead_trust::AdmissionError::NeedsSigning { .. }))), "{refused:?}");

    // A new root that asks for one signature only makes the other ready.
    let mut next = fleet.root.next_version(now()).unwrap();
    next.roles[0].threshold = 1;
    let signed = SignedRoot::sign(&next, &[&key(1)]).unwrap();
    fleet.admission.submit_root(signed.document, signed.signatures).await.unwrap();
    fleet.admission.review_proposals().await.unwrap();
    assert_eq!(fleet.status(&base_name).phase, ProposalPhase::Admitted);
}

#[tokio::test]
async fn what_nobody_signs_in_time_is_told_and_at_last_forgotten() {
    let fleet = Pairs::new().await;
    let submission = fleet.submission(&profile("one"), 1, &[1]);
    let (name, _) = fleet.propose(&submission).await.unwrap();
    fleet.clock.0.store(3_601, Ordering::SeqCst);
    // Whoever signs too late sees why it was in vain.
    assert_eq!(fleet.sign(&name, &submission, 2).await.map(|status| status.phase).unwrap(), ProposalPhase::Expired);
    assert_eq!(fleet.content(), None);
    fleet.clock.0.store(31 * 86_400, Ordering::SeqCst);
    fleet.admission.review_proposals().await.unwrap();
    assert!(fleet.admission.withdraw_proposal(&caller(), &name).await.is_err());
    let kind = stead_model::GroupKind::new("stead.dev", "Proposal");
    assert!(fleet.admission.store().snapshot().get(&stead_model::ObjectKey::new(kind, "", &name)).is_none());
}

#[tokio::test]
async fn there_is_a_limit_on_how_many_wait_and_how_large_they_are() {
    let fleet = Pairs::new().await;
    let large = profile(&"x".repeat(PROPOSAL_BYTES_MAX));
    let refused = fleet.propose(&fleet.submission(&large, 1, &[1])).await;
    assert!(matches!(refused, Err(WriteError::Proposal(ProposalError::TooLarge { .. }))), "{refused:?}");
    let mut names = Vec::new();
    for _ in 0..PROPOSALS_WAITING_MAX {
        names.push(fleet.propose(&fleet.submission(&profile("one"), 1, &[1])).await.unwrap().0);
    }
    let one_more = fleet.submission(&profile("one"), 1, &[1]);
    let refused = fleet.propose(&one_more).await;
    assert!(matches!(refused, Err(WriteError::Proposal(ProposalError::TooMany))), "{refused:?}");
    fleet.admission.withdraw_proposal(&caller(), &names[0]).await.unwrap();
    assert_eq!(fleet.status(&names[0]).phase, ProposalPhase::Withdrawn);
    fleet.propose(&one_more).await.unwrap();
}

#[tokio::test]
async fn nobody_writes_a_proposal_by_another_door() {
    let fleet = Pairs::new().await;
    let submission = fleet.submission(&profile("one"), 1, &[1]);
    let made = fleet.admission.propose(&caller(), &submission, true).await.unwrap();
    for write in [
        stead_admission::Write::Put { object: made.clone(), expect: stead_store::Expect::Absent },
        stead_admission::Write::Delete { key: made.key(), expect: stead_store::Expect::Any },
    ] {
        let refused = fleet.admission.write(&caller(), "", vec![write], false).await;
        assert!(matches!(refused, Err(WriteError::ReadOnly { .. })), "{refused:?}");
    }
    assert!(fleet.propose(&fleet.submission(&profile("one"), 1, &[2])).await.is_err(), "its author did not sign it");
}

/// A fleet whose way to the database fails when it is told to.
async fn on_a_shaky_way(server: &TempPostgres) -> (Pairs, PostgresProxy) {
    let proxy = PostgresProxy::new(server.socket_folder());
    let engine = PostgresEngine::open(&proxy.url(&server.url())).await.unwrap();
    (Pairs::on(Store::open(engine, Options::default()).await.unwrap()).await, proxy)
}

/// What was written is said, although the database is gone before it could be admitted; the same request once more does no harm.
#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_that_was_taken_is_never_said_to_be_refused() {
    let server = TempPostgres::start();
    let (fleet, proxy) = on_a_shaky_way(&server).await;
    let submission = fleet.submission(&profile("one"), 1, &[1, 3]);
    proxy.set(Passage::LosesAllAfterCommit);
    let (name, status) = fleet.propose(&submission).await.unwrap();
    assert_eq!((status.phase, status.signed.as_str()), (ProposalPhase::Waiting, "owners 2 of 2"));
    assert_eq!(fleet.content(), None);
    proxy.set(Passage::Sound);
    for _ in 0..2 {
        let (again, status) = fleet.propose(&submission).await.unwrap();
        assert_eq!((again, status.phase), (name.clone(), ProposalPhase::Admitted));
    }

    // The same of a signature; the review does the rest.
    let submission = fleet.submission(&profile("two"), 2, &[1]);
    let (name, _) = fleet.propose(&submission).await.unwrap();
    proxy.set(Passage::LosesAllAfterCommit);
    let status = fleet.sign(&name, &submission, 2).await.unwrap();
    assert_eq!((status.phase, status.signed.as_str()), (ProposalPhase::Waiting, "owners 2 of 2"));
    proxy.set(Passage::Sound);
    fleet.admission.review_proposals().await.unwrap();
    assert_eq!(fleet.sign(&name, &submission, 2).await.unwrap().phase, ProposalPhase::Admitted);
    assert_eq!(fleet.content(), Some(json!("two")));
    // Where nothing was written, that is what is said.
    proxy.set(Passage::Cut);
    let refused = fleet.propose(&fleet.submission(&profile("three"), 3, &[1])).await;
    assert!(matches!(refused, Err(WriteError::Commit(stead_store::CommitError::Engine(_)))), "{refused:?}");
}

/// What nobody can know is said to be unknown, with the way to find out.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_nobody_knows_is_said_to_be_unknown() {
    fn unknown<T: std::fmt::Debug>(answer: Result<T, WriteError>, wanted: &str) {
        match answer {
            Err(WriteError::Proposal(ref error @ ProposalError::Unknown { ref name, what, .. })) => {
                assert_eq!(what, wanted);
                assert!(error.to_string().contains(&format!("`stead show {name}` tells")), "{error}");
            }
            other => panic!("{wanted}: {other:?}"),
        }
    }
    let server = TempPostgres::start();
    let (fleet, proxy) = on_a_shaky_way(&server).await;
    let submission = fleet.submission(&profile("one"), 1, &[1]);
    proxy.set(Passage::LosesAnswerAndAll);
    unknown(fleet.propose(&submission).await, "taken");
    proxy.set(Passage::Sound);
    let (name, _) = fleet.propose(&submission).await.unwrap();

    proxy.set(Passage::LosesAnswerAndAll);
    unknown(fleet.sign(&name, &submission, 2).await, "signed");
    proxy.set(Passage::Sound);
    // It is signed; of the admission that follows the answer is lost, too.
    fleet.admission.store().catch_up().await.unwrap();
    proxy.set(Passage::LosesAnswerAndAll);
    unknown(fleet.sign(&name, &submission, 2).await, "admitted");
    proxy.set(Passage::Sound);
    assert_eq!(fleet.sign(&name, &submission, 2).await.unwrap().phase, ProposalPhase::Admitted);
    assert_eq!(fleet.content(), Some(json!("one")));

    let taken_back = fleet.submission(&profile("two"), 2, &[1]);
    let (name, _) = fleet.propose(&taken_back).await.unwrap();
    proxy.set(Passage::LosesAnswerAndAll);
    unknown(fleet.admission.withdraw_proposal(&caller(), &name).await, "withdrawn");
    proxy.set(Passage::Sound);
    for _ in 0..2 {
        let withdrawn = read(fleet.admission.withdraw_proposal(&caller(), &name).await.unwrap()).1;
        assert_eq!(withdrawn.phase, ProposalPhase::Withdrawn);
    }
    let other = stead_admission::Caller { name: "somebody else".to_owned(), key: None };
    let late = fleet.admission.withdraw_proposal(&other, &name).await;
    assert!(matches!(late, Err(WriteError::Proposal(ProposalError::Decided { .. }))), "{late:?}");
}
