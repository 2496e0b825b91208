//! What a writer is told while a restored record waits for what machines hold: they may hold newer states of what is written.

use stead_admission::WriteError;
use stead_model::{GroupKind, Object, ObjectKey};
use stead_store::{Outcome, Stored};
use stead_trust::{Leaf, Submission};

use crate::api::Call;
use crate::response::{self, Answer};

/// Adds the warning, where machines that are waited for may hold any of these names.
pub(super) fn warned(call: &Call, answer: Answer, names: &[ObjectKey]) -> Answer {
    let warning: Vec<String> = call.api.fleet().warning(names).into_iter().collect();
    response::warn(answer, &warning)
}

/// The same for a write of one object: only what is signed has a sequence that a machine may hold.
pub(super) fn warned_of(call: &Call, answer: Answer, before: Option<&Stored>, outcome: &Outcome) -> Answer {
    let Some(warning) = call.api.fleet().warning(&[outcome.stored().key()]) else { return answer };
    let signed = |stored: &Stored| stored.to_object().ok().map(|object: Object| object.as_sent());
    let untouched = before.is_some_and(|before| signed(before) == signed(outcome.stored()));
    if untouched && !matches!(outcome, Outcome::Deleted(_)) { answer } else { response::warn(answer, &[warning]) }
}

/// The names that a signed change writes.
pub(super) fn names(submission: &Submission) -> Vec<ObjectKey> {
    submission.entries.iter().filter_map(|entry| Leaf::from_bytes(&entry.leaf).ok()).map(|leaf| leaf.key()).collect()
}

/// The names that a proposal would write, as long as nobody has decided on it or it has just been admitted.
pub(super) fn proposed(proposal: &Result<Object, WriteError>) -> Vec<ObjectKey> {
    let proposal = proposal.as_ref().ok();
    let objects = proposal.and_then(|proposal| proposal.status().get("objects")?.as_array().cloned()).unwrap_or_default();
    // Only what machines hold is looked for, and that lives in no namespace.
    let key = |name: &serde_json::Value| {
        let (kind, name) = name.as_str()?.split_once('/')?;
        Some(ObjectKey::new(GroupKind::new(stead_model::GROUP, kind), "", name))
    };
    objects.iter().filter_map(key).collect()
}

/// The trust root's next version.
pub(super) fn root() -> ObjectKey {
    ObjectKey::new(GroupKind::new(stead_model::GROUP, "TrustRoot"), "", "")
}
