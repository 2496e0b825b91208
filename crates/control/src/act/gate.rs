//! Who is let in: members by their key, machines with a pass as far as the waiting room, delegated ones at once.

use std::sync::Arc;

use stead_admission::{Caller, Write, WriteError};
use stead_model::{
    DelegatedJoin, Enrollment, EnrollmentPhase, EnrollmentSpec, EnrollmentStatus, Facts, JoinFacts, LooksLike, Machine,
    MachineSpec, Object, ObjectKey, ObjectMeta, validate_name,
};
use stead_store::{CommitError, Expect, Op, Snapshot, Transaction};
use stead_wire::{Admission, Hello, Join, PeerKey, Refusal, Verdict, relay_token};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::{Shared, enrollment_kind, giveback, intruders, news, occurrences};
use crate::alike;
use crate::fleet::KeyStanding;

/// Enrollments that wait for an owner at once: a pass that leaked must not fill the record.
pub const ENROLLMENTS_PENDING_MAX: usize = 1_000;
/// The most bytes of facts that a machine may show before anybody has approved it.
const FACTS_BYTES_MAX: usize = 32 * 1024;
/// The longest host name that is kept, in characters (RFC 1123 section 2.1).
const HOSTNAME_CHARACTERS_MAX: usize = 253;

/// Decides on connections.
pub struct Gate {
    shared: Arc<Shared>,
}

impl Gate {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn welcome(&self) -> Verdict {
        Verdict::Welcome { incarnation: self.shared.incarnation() }
    }

    async fn decide(&self, peer: PeerKey, join: Join) -> Result<Verdict, WriteError> {
        // What its owners signed counts for more than a pass, which a coordinator that was set up anew may not know.
        if let Some(papers) = join.delegated.as_deref().filter(|body| body.starts_with(stead_trust::GIVE_BACK_PREFIX)) {
            match giveback::let_in(&self.shared, peer, papers).await {
                Ok(()) => return Ok(self.welcome()),
                Err(reason) => tracing::info!(%peer, reason, "not let in by its own papers; an owner is asked"),
            }
        }
        if !self.shared.knows_token(&relay_token(&join.pass)) {
            let reason = "the ticket's pass is no coordinator's of this fleet; ask for a new ticket";
            return Ok(turned_away(Refusal::BadPass, reason));
        }
        if let Some(body) = join.delegated.as_ref().filter(|body| !body.starts_with(stead_trust::GIVE_BACK_PREFIX)) {
            match self.enrol(peer, body).await {
                Ok(()) => return Ok(self.welcome()),
                Err(reason) => tracing::info!(%peer, reason, "not enrolled by its delegation; an owner is asked"),
            }
        }
        self.ask_owners(peer, join).await
    }

    /// The verdict on a key that owners have refused for good; none for every other one.
    fn barred(&self, peer: &PeerKey, hello: &Hello) -> Option<Verdict> {
        let key = peer.to_string();
        let (refusal, name) = self.shared.with_fleet(|fleet| match fleet.standing(&key) {
            KeyStanding::Former(name) => Some((Refusal::FormerKey, name.to_owned())),
            KeyStanding::Decommissioned(name) => Some((Refusal::Decommissioned, name.to_owned())),
            KeyStanding::Stranger | KeyStanding::Member(_) => None,
        })?;
        if refusal == Refusal::Decommissioned && !self.shared.has_heard(&name) {
            // It learns by its owners' signed word, and signs that it has; after that it is refused.
            return Some(self.welcome());
        }
        intruders::note(&self.shared, &name, refusal, peer, hello);
        let reason = match refusal {
            Refusal::FormerKey => format!("this key of the machine {name} was replaced; only its newer key is let in"),
            _ => format!("owners have decommissioned the machine {name}"),
        };
        Some(turned_away(refusal, &reason))
    }

    /// The machines that hardware looks like: the same serial number before the same machine id before a network card.
    fn looks_like(&self, snapshot: &Snapshot, facts: &Facts) -> Vec<LooksLike> {
        let names: Vec<String> = self.shared.with_fleet(|fleet| fleet.machines().map(|(name, _)| name.to_owned()).collect());
        let mut statuses = self.shared.statuses();
        let known: Vec<_> = names.into_iter().filter_map(|name| Some((statuses.of(snapshot, &name)?, name))).collect();
        drop(statuses);
        alike::plan(facts, known.iter().filter_map(|(status, name)| Some((name.as_str(), status.facts.as_ref()?))))
    }

    /// Lets a machine in by an owners' delegation. What the machine shows is checked by `trust` when the Change is admitted.
    async fn enrol(&self, peer: PeerKey, body: &[u8]) -> Result<(), String> {
        let _alone = self.shared.enrolling.lock().await;
        if self.is_member(&peer) {
            // It asked twice at once.
            return Ok(());
        }
        let request: DelegatedJoin =
            serde_json::from_slice(body).map_err(|error| format!("the request is not well-formed: {error}"))?;
        validate_name(&request.name).map_err(|error| error.to_string())?;
        let delegation: serde_json::Value =
            serde_json::from_str(&request.evidence.delegation).map_err(|error| error.to_string())?;
        let labels = delegation.get("labels").cloned().unwrap_or_default();
        let machine = Machine {
            metadata: ObjectMeta {
                name: request.name.clone(),
                labels: serde_json::from_value(labels).map_err(|error| error.to_string())?,
                ..ObjectMeta::default()
            },
            spec: MachineSpec { key: peer.to_string(), enrolment: Some(request.evidence), ..MachineSpec::default() },
            status: None,
        };
        let object = Object::from_typed(&machine).map_err(|error| error.to_string())?;
        let caller = Caller { name: format!("machine {peer}"), key: None };
        let message = format!("enrol {} by delegation", request.name);
        let writes = vec![Write::Put { object, expect: Expect::Absent }];
        let span = tracing::info_span!("enrol", machine = request.name, change = Empty, root = Empty);
        let written = self.shared.admission.write(&caller, &message, writes, false).instrument(span).await;
        written.map_err(|error| error.to_string())?;
        tracing::info!(machine = request.name, %peer, "enrolled by delegation");
        // The record's watcher takes the machine in as well; the session must not wait for it.
        self.shared.change_fleet(|fleet| fleet.put_machine(&machine));
        Ok(())
    }

    /// Records the request, for owners to answer.
    async fn ask_owners(&self, peer: PeerKey, join: Join) -> Result<Verdict, WriteError> {
        let key = peer.to_string();
        let name = Enrollment::name_for(&key);
        let snapshot = self.shared.admission.store().snapshot();
        let object_key = ObjectKey::new(enrollment_kind(), "", &name);
        let pending = || Verdict::Pending { reason: format!("an owner must approve it: `stead approve {name}`") };
        if let Some(present) = snapshot.get(&object_key) {
            let present: Option<Enrollment> = present.to_object().ok().and_then(|object| object.to_typed().ok());
            return Ok(match present.and_then(|enrollment| enrollment.spec.approved) {
                Some(false) => turned_away(Refusal::Denied, "an owner has denied the enrollment"),
                _ => pending(),
            });
        }
        if is_waiting_room_full(&snapshot) {
            return Ok(turned_away(Refusal::WaitingRoomFull, "too many machines wait for approval; try again later"));
        }
        let now = self.shared.now();
        let facts: Option<JoinFacts> =
            if join.facts.len() > FACTS_BYTES_MAX { None } else { serde_json::from_slice(&join.facts).ok() };
        let hostname: String = join.hostname.chars().take(HOSTNAME_CHARACTERS_MAX).collect();
        let status = EnrollmentStatus {
            phase: EnrollmentPhase::Pending,
            hostname: hostname.clone(),
            first_seen: jiff::Timestamp::from_second(now.as_second()).ok(),
            looks_like: facts.as_ref().map(|body| self.looks_like(&snapshot, &body.facts)).unwrap_or_default(),
            facts: facts.map(|body| body.facts),
            ..EnrollmentStatus::default()
        };
        let enrollment = Enrollment {
            metadata: ObjectMeta { name: name.clone(), ..ObjectMeta::default() },
            spec: EnrollmentSpec { key, ..EnrollmentSpec::default() },
            status: None,
        };
        let hint = alike::hint(&status.looks_like);
        let status = serde_json::to_value(status).unwrap_or_default();
        let mut ops = vec![Op::create(Object::from_typed(&enrollment)?), Op::put_status(object_key, status)];
        let message = format!("{hostname} asks to join{hint}");
        let told = news::enrollment_occurrence(&name, "", "AsksToJoin", message, now);
        ops.extend(occurrences::ops(&snapshot, &[told]));
        match self.shared.admission.store().commit(Transaction::unsigned(now, ops)).await {
            Ok(_) | Err(CommitError::AlreadyExists { .. }) => Ok(pending()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Admission for Gate {
    fn is_member(&self, peer: &PeerKey) -> bool {
        self.shared.with_fleet(|fleet| matches!(fleet.standing(&peer.to_string()), KeyStanding::Member(_)))
    }

    async fn hello(&self, peer: PeerKey, hello: Hello) -> Verdict {
        if let Some(verdict) = self.barred(&peer, &hello) {
            return verdict;
        }
        if self.is_member(&peer) { self.welcome() } else { Verdict::Unknown }
    }

    async fn join(&self, peer: PeerKey, hello: Hello, join: Join) -> Verdict {
        if let Some(verdict) = self.barred(&peer, &hello) {
            return verdict;
        }
        match self.decide(peer, join).await {
            Ok(verdict) => verdict,
            Err(error) => {
                tracing::error!(%peer, %error, "a request to join could not be recorded");
                refused("the coordinator could not record the request; try again later")
            }
        }
    }
}

/// Those that owners have answered wait no more. They are counted only when there are many in all.
fn is_waiting_room_full(snapshot: &Snapshot) -> bool {
    let count = snapshot.kinds().into_iter().find(|(kind, _)| *kind == enrollment_kind()).map_or(0, |(_, count)| count);
    let waits = |object: &Object| object.spec().get("approved").is_none_or(serde_json::Value::is_null);
    count >= ENROLLMENTS_PENDING_MAX
        && super::objects(snapshot, enrollment_kind()).iter().filter(|object| waits(object)).count() >= ENROLLMENTS_PENDING_MAX
}

fn turned_away(refusal: Refusal, reason: &str) -> Verdict {
    Verdict::TurnedAway { refusal, reason: reason.to_owned() }
}

fn refused(reason: &str) -> Verdict {
    Verdict::Refused { reason: reason.to_owned() }
}
