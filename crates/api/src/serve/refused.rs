//! Why admission or the record refused a write, in the words of Kubernetes' clients.

use http::StatusCode;
use serde_json::{Value, json};
use stead_admission::{FreshnessRefused, ProposalError, WriteError};
use stead_model::{Cause, CauseReason, ObjectKey};
use stead_store::CommitError;
use stead_trust::{AdmissionError, Unauthorised};

use crate::resource::Resource;
use crate::status::ApiError;

/// A write's error as an answer.
pub(super) fn refused(resource: Resource, name: &str, error: &WriteError) -> ApiError {
    match error {
        WriteError::NeedsSignature { keys, command, .. } => {
            let causes =
                keys.iter().map(|key| json!({"reason": "NeedsSignature", "message": format!("{key}: {command}"), "field": ""}));
            ApiError::forbidden(resource, name, &error.to_string()).with_raw_causes(causes.collect())
        }
        WriteError::ReadOnly { .. } | WriteError::Root { .. } => ApiError::forbidden(resource, name, &error.to_string()),
        WriteError::NamespaceMissing { namespace, .. } => {
            let message = format!("namespaces {namespace:?} not found");
            let namespaces = Resource::by_path("", "v1", "namespaces");
            let error = ApiError::new(StatusCode::NOT_FOUND, "NotFound", message);
            namespaces.map_or(error.clone(), |namespaces| error.about(namespaces, namespace))
        }
        WriteError::Invalid { key, reason } => {
            ApiError::invalid(&key.kind, &key.name, &[Cause::new("(object)", CauseReason::Invalid, reason)])
        }
        WriteError::Object(error) => {
            let cause = Cause::new("(object)", CauseReason::Invalid, error.to_string());
            ApiError::invalid(&resource.info.group_kind(), name, &[cause])
        }
        WriteError::Refused(AdmissionError::NeedsSigning { taken }) => {
            let causes = taken.iter().map(|taken| needs_signing(&taken.key, taken.current.sequence));
            let name = taken.first().map_or(name, |taken| &taken.key.name);
            ApiError::conflict(resource, name, &error.to_string()).with_raw_causes(causes.collect())
        }
        WriteError::Refused(AdmissionError::SequenceAhead { .. }) => ApiError::conflict(resource, name, &error.to_string()),
        WriteError::Refused(AdmissionError::Unauthorised { key, source: source @ Unauthorised::TooFew { .. } }) => {
            let causes = vec![json!({"reason": "TooFewSignatures", "message": source.to_string(), "field": ""})];
            ApiError::forbidden(of(resource, key), &key.name, &error.to_string()).with_raw_causes(causes)
        }
        WriteError::Proposal(error) => proposal(resource, name, error),
        WriteError::Refused(error) => ApiError::forbidden(resource, name, &error.to_string()),
        WriteError::Freshness(error) if matches!(**error, FreshnessRefused::Older { .. }) => {
            ApiError::conflict(resource, name, &error.to_string())
        }
        WriteError::Freshness(error) => ApiError::forbidden(resource, name, &error.to_string()),
        WriteError::RootRefused(error) => ApiError::forbidden(resource, name, &error.to_string()),
        WriteError::Precondition { key, source } => {
            let causes = vec![json!({"reason": "PreconditionFailed", "message": source.to_string(), "field": ""})];
            ApiError::conflict(of(resource, key), &key.name, &error.to_string()).with_raw_causes(causes)
        }
        WriteError::Commit(error) => commit(resource, error),
        WriteError::Contended { .. } => ApiError::too_many(error.to_string()),
        WriteError::Engine(error) => ApiError::unavailable(error.to_string()),
        WriteError::Build(error) => {
            let cause = Cause::new("(object)", CauseReason::Invalid, error.to_string());
            ApiError::invalid(&resource.info.group_kind(), name, &[cause])
        }
        WriteError::Sign(_) | WriteError::Record(_) => ApiError::internal(error.to_string()),
    }
}

fn proposal(resource: Resource, name: &str, error: &ProposalError) -> ApiError {
    match error {
        ProposalError::NotFound { .. } => ApiError::not_found(resource, name),
        ProposalError::Exists { .. } => ApiError::already_exists(resource, name),
        ProposalError::Decided { .. } => ApiError::conflict(resource, name, &error.to_string()),
        ProposalError::TooLarge { .. } => ApiError::too_large(error.to_string()),
        ProposalError::TooMany => ApiError::too_many(error.to_string()),
        ProposalError::Signature { .. } | ProposalError::Stranger { .. } => {
            ApiError::forbidden(resource, name, &error.to_string())
        }
        ProposalError::Unknown { .. } => ApiError::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", error.to_string()),
        ProposalError::Record { .. } => ApiError::internal(error.to_string()),
    }
}

/// The cause by which a client knows that its author has to look at the change again.
fn needs_signing(key: &ObjectKey, current: u64) -> Value {
    let message = format!("{key} is at sequence {current}: look at what changed, and sign on top of it");
    json!({"reason": "NeedsSigning", "message": message, "field": ""})
}

/// The resource of a key, for errors about another object than the path's.
fn of(fallback: Resource, key: &ObjectKey) -> Resource {
    if fallback.info.group_kind() == key.kind {
        return fallback;
    }
    Resource::all().find(|resource| resource.info.group_kind() == key.kind).unwrap_or(fallback)
}

fn commit(resource: Resource, error: &CommitError) -> ApiError {
    match error {
        CommitError::NotFound { key } => ApiError::not_found(of(resource, key), &key.name),
        CommitError::AlreadyExists { key } => ApiError::already_exists(of(resource, key), &key.name),
        CommitError::Conflict { key, .. } => ApiError::modified(of(resource, key), &key.name),
        CommitError::OtherSequence { key, .. } => ApiError::conflict(of(resource, key), &key.name, &error.to_string()),
        CommitError::OtherUid { key, expected, current } => {
            let why = format!("Precondition failed: UID in precondition: {expected}, UID in object meta: {current}");
            ApiError::conflict(of(resource, key), &key.name, &why)
        }
        CommitError::FinalizerWhileDeleting { key, finalizer } => {
            let message = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers {finalizer:?}"
            );
            ApiError::invalid(&key.kind, &key.name, &[Cause::new("metadata.finalizers", CauseReason::Forbidden, message)])
        }
        CommitError::SequenceTaken { key, current, .. } => {
            let causes = vec![needs_signing(key, *current)];
            ApiError::conflict(of(resource, key), &key.name, &error.to_string()).with_raw_causes(causes)
        }
        CommitError::ChangeExists { id, .. } => {
            ApiError::new(StatusCode::CONFLICT, "AlreadyExists", error.to_string()).about(resource, id)
        }
        CommitError::RootVersion { .. }
        | CommitError::RootMoved { .. }
        | CommitError::Deposed { .. }
        | CommitError::NoSuchChange { .. }
        | CommitError::Settled { .. } => ApiError::new(StatusCode::CONFLICT, "Conflict", error.to_string()),
        CommitError::InvalidKey { key } => {
            ApiError::invalid(&key.kind, &key.name, &[Cause::new("metadata.name", CauseReason::Invalid, error.to_string())])
        }
        CommitError::NulCharacter { .. } => ApiError::new(StatusCode::BAD_REQUEST, "BadRequest", error.to_string()),
        CommitError::TooLarge { .. } => ApiError::too_large(error.to_string()),
        CommitError::Engine(_) | CommitError::Closed => ApiError::unavailable(error.to_string()),
        CommitError::Unknown(_) => ApiError::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", error.to_string()),
        CommitError::Seal { .. } | CommitError::Object(_) => ApiError::internal(error.to_string()),
    }
}
