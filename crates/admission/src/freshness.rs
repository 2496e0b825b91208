//! The owners' newest freshness statement, as the record keeps it: in a Lease beside those of the coordinators, so that every
//! coordinator of the record has it. What stands there is verified whenever it is read; nobody is believed for having written it.

use stead_model::{Digest, GroupKind, Lease, LeaseSpec, Object, ObjectKey, ObjectMeta};
use stead_store::{CommitError, Expect, Op, Snapshot, Transaction};
use stead_trust::{Freshness, FreshnessError, Root, SignedFreshness};

use crate::admission::Admission;
use crate::error::WriteError;

/// The namespace of what coordinators keep for themselves.
pub const SYSTEM_NAMESPACE: &str = "stead-system";
/// The name of the Lease.
pub const FRESHNESS_LEASE: &str = "freshness";
/// Where it holds the statement.
pub const FRESHNESS_ANNOTATION: &str = "stead.dev/freshness";
/// How often it is tried again where another owner's statement comes in between.
const ATTEMPTS_MAX: usize = 8;

/// Why a freshness statement was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FreshnessRefused {
    /// It does not hold.
    #[error(transparent)]
    Statement(#[from] FreshnessError),
    /// There is a newer one.
    #[error("the freshness statement is of {time}, and the record has one of {present}, which is as new or newer")]
    Older {
        /// The statement's time.
        time: jiff::Timestamp,
        /// That of the one on record.
        present: jiff::Timestamp,
    },
}

fn key() -> ObjectKey {
    ObjectKey::new(GroupKind::new("coordination.k8s.io", "Lease"), SYSTEM_NAMESPACE, FRESHNESS_LEASE)
}

/// The newest statement on record that holds by this root; none where there is none.
pub fn newest_freshness(snapshot: &Snapshot, fleet: &Digest, root: &Root) -> Option<(SignedFreshness, Freshness)> {
    let lease: Lease = snapshot.get(&key())?.to_object().ok()?.to_typed().ok()?;
    let signed: SignedFreshness = serde_json::from_str(lease.metadata.annotations.get(FRESHNESS_ANNOTATION)?).ok()?;
    let fresh = signed.verify(fleet, root).ok()?;
    Some((signed, fresh))
}

impl Admission {
    /// The owners' newest freshness statement that holds by the newest trust root.
    pub fn freshness(&self) -> Option<(SignedFreshness, Freshness)> {
        newest_freshness(&self.store().snapshot(), &self.fleet(), &self.root())
    }

    /// Takes an owner's freshness statement into the record.
    ///
    /// # Errors
    ///
    /// [`WriteError::Freshness`] where it does not hold or is not newer than the one on record.
    pub async fn submit_freshness(&self, signed: &SignedFreshness) -> Result<Freshness, WriteError> {
        let refused = |error: FreshnessRefused| WriteError::Freshness(Box::new(error));
        for _ in 0..ATTEMPTS_MAX {
            let now = self.environment().now();
            let fresh = signed.verify_at(&self.fleet(), &self.root(), now).map_err(|error| refused(error.into()))?;
            let snapshot = self.store().snapshot();
            let present = newest_freshness(&snapshot, &self.fleet(), &self.root());
            if let Some((_, present)) = present.filter(|(_, present)| present.time >= fresh.time) {
                return Err(refused(FreshnessRefused::Older { time: fresh.time, present: present.time }));
            }
            let expect = snapshot.get(&key()).map_or(Expect::Absent, |stored| Expect::Revision(stored.revision()));
            let op = Op::Put { object: Box::new(lease(signed, &fresh)?), expect };
            match self.store().commit(Transaction::unsigned(now, vec![op])).await {
                Ok(_) => return Ok(fresh),
                Err(CommitError::Conflict { .. } | CommitError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(WriteError::Contended { attempts: ATTEMPTS_MAX })
    }
}

fn lease(signed: &SignedFreshness, fresh: &Freshness) -> Result<Object, WriteError> {
    let text = serde_json::to_string(signed).map_err(|error| FreshnessError::Format(error.to_string()));
    let text = text.map_err(|error| WriteError::Freshness(Box::new(error.into())))?;
    let metadata = ObjectMeta {
        name: FRESHNESS_LEASE.to_owned(),
        namespace: SYSTEM_NAMESPACE.to_owned(),
        annotations: [(FRESHNESS_ANNOTATION.to_owned(), text)].into(),
        ..ObjectMeta::default()
    };
    let spec = LeaseSpec {
        holder_identity: Some(fresh.author.fingerprint()),
        renew_time: Some(fresh.time.strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string()),
        ..LeaseSpec::default()
    };
    Ok(Object::from_typed(&Lease { metadata, spec })?)
}
