//! Update and patch, of objects and of their status.

use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;
use stead_admission::{Write, WriteError};
use stead_model::{Cause, CauseReason, ObjectKey, Revision};
use stead_store::{CommitError, Expect, Outcome, Stored};

use crate::api::Call;
use crate::body::{self, Parsed};
use crate::patch::{self, Patch};
use crate::path::ObjectsRoute;
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};
use crate::{field_manager, ownership, render};

/// How often a write that names no revision is tried again when others write the object in between: with 64 writers on one object
/// the last of them has had its turn by then.
pub(super) const ATTEMPTS_MAX: usize = 128;

/// Which part of an object is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Object,
    Status,
}

/// Replaces an object.
pub(super) async fn put(call: &Call, route: &ObjectsRoute) -> ApiResult<Answer> {
    replace(call, route, Part::Object).await
}

/// Replaces an object's status.
pub(super) async fn put_status(call: &Call, route: &ObjectsRoute) -> ApiResult<Answer> {
    replace(call, route, Part::Status).await
}

/// Patches an object.
pub(super) async fn patch(call: &Call, route: &ObjectsRoute) -> ApiResult<Answer> {
    patch_part(call, route, Part::Object).await
}

/// Patches an object's status.
pub(super) async fn patch_status(call: &Call, route: &ObjectsRoute) -> ApiResult<Answer> {
    patch_part(call, route, Part::Status).await
}

async fn replace(call: &Call, route: &ObjectsRoute, part: Part) -> ApiResult<Answer> {
    let (resource, key) = (route.resource, super::key(route));
    let manager = field_manager::of_write(&call.query, &call.headers)?;
    let validation = call.query.field_validation(body::default_validation(resource))?;
    let mut sent = body::decode(&call.headers, &call.body)?;
    body::settle_names(&mut sent, route.namespace.as_deref(), Some(&key.name))?;
    let Parsed { object, warnings } = body::parse(resource, sent, validation, false)?;
    let given = given_revision(resource, &key, &object.metadata.resource_version)?;
    if given.is_some_and(|given| given > call.api.admission().store().revision()) {
        // Who manages what is settled on top of the version that the client has seen, perhaps at another coordinator.
        super::catch_up(call).await?;
    }
    for attempt in 1.. {
        let current = current(call, route, &key)?;
        let uid = &object.metadata.uid;
        if !uid.is_empty() && uid != current.uid() {
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", current.uid());
            return Err(ApiError::conflict(resource, &key.name, &why));
        }
        let mut object = object.clone();
        settle(call, resource, &manager, part, &current, &mut object)?;
        let expect = Expect::Revision(given.unwrap_or_else(|| current.revision()));
        match write(call, &key, object, expect, part, "update").await {
            Ok(outcome) => return answer(call, route, part, &current, &outcome, &warnings),
            Err(WriteError::Commit(CommitError::Conflict { .. })) if given.is_none() && attempt < ATTEMPTS_MAX => {}
            Err(error) => return Err(super::refused::refused(resource, &key.name, &error)),
        }
    }
    Err(ApiError::modified(resource, &key.name))
}

/// The revision that an update is for: our own kinds must name one.
fn given_revision(resource: crate::resource::Resource, key: &ObjectKey, revision: &str) -> ApiResult<Option<Revision>> {
    match revision.parse() {
        Ok(revision) => Ok(Some(Revision(revision))),
        Err(_) if !revision.is_empty() => {
            Err(ApiError::bad_request(format!("metadata.resourceVersion: {revision:?} is no revision")))
        }
        Err(_) if resource.takes_strategic_patch() => Ok(None),
        Err(_) => {
            let cause =
                Cause::new("metadata.resourceVersion", CauseReason::Invalid, "Invalid value: 0: must be specified for an update");
            Err(ApiError::invalid(&key.kind, &key.name, &[cause]))
        }
    }
}

/// Settles who manages what of an object that is about to be written.
fn settle(
    call: &Call,
    resource: crate::resource::Resource,
    manager: &str,
    part: Part,
    current: &Stored,
    object: &mut stead_model::Object,
) -> ApiResult<()> {
    let writer = ownership::Write { resource, manager, status: part == Part::Status, now: call.now() };
    writer.settle(Some(current), object)
}

async fn patch_part(call: &Call, route: &ObjectsRoute, part: Part) -> ApiResult<Answer> {
    if patch::is_apply(&call.headers) {
        return super::apply::serve(call, route, part).await;
    }
    let (resource, key) = (route.resource, super::key(route));
    let manager = field_manager::of_patch(&call.query, &call.headers)?;
    let patch = Patch::read(resource, &call.headers, &call.body)?;
    for attempt in 1.. {
        let current = current(call, route, &key)?;
        let (mut parsed, names_revision) = patched(call, route, &patch, &current)?;
        settle(call, resource, &manager, part, &current, &mut parsed.object)?;
        let expect = Expect::Revision(current.revision());
        match write(call, &key, parsed.object, expect, part, "patch").await {
            Ok(outcome) => return answer(call, route, part, &current, &outcome, &parsed.warnings),
            Err(WriteError::Commit(CommitError::Conflict { .. })) if !names_revision && attempt < ATTEMPTS_MAX => {}
            Err(error) => return Err(super::refused::refused(resource, &key.name, &error)),
        }
    }
    Err(ApiError::modified(resource, &key.name))
}

/// The object after the patch, and whether the patch itself names the revision that it is for.
fn patched(call: &Call, route: &ObjectsRoute, patch: &Patch, current: &Stored) -> ApiResult<(Parsed, bool)> {
    let resource = route.resource;
    let base = render::value(resource, current)?;
    let mut patched = patch.apply(base)?;
    let revision = patched.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    let own = current.revision().to_string();
    if !revision.is_empty() && revision != own {
        return Err(ApiError::modified(resource, current.name()));
    }
    let uid = patched.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    if !uid.is_empty() && uid != current.uid() {
        return Err(ApiError::conflict(resource, current.name(), "the UID in the patch is not that of the object"));
    }
    body::settle_names(&mut patched, route.namespace.as_deref(), Some(current.name()))?;
    let validation = call.query.field_validation(body::default_validation(resource))?;
    let names_revision = String::from_utf8_lossy(&call.body).contains("resourceVersion");
    Ok((body::parse(resource, patched, validation, true)?, names_revision))
}

fn current(call: &Call, route: &ObjectsRoute, key: &ObjectKey) -> ApiResult<Arc<Stored>> {
    let stored = call.api.admission().store().snapshot().get(key);
    stored.ok_or_else(|| ApiError::not_found(route.resource, &key.name))
}

pub(super) async fn write(
    call: &Call,
    key: &ObjectKey,
    object: stead_model::Object,
    expect: Expect,
    part: Part,
    verb: &str,
) -> Result<Outcome, WriteError> {
    let missing = || WriteError::Invalid { key: key.clone(), reason: "the record gave no answer".to_owned() };
    let dry_run = call.query.dry_run().unwrap_or(true);
    let admission = call.api.admission();
    if part == Part::Status {
        let (status, managed_fields) = (object.status().clone(), object.metadata.managed_fields);
        return admission.write_status(key.clone(), status, managed_fields, expect, dry_run).await;
    }
    let caller = call.caller.as_ref().ok_or_else(missing)?;
    let message = super::message(call, verb, key);
    let outcomes = admission.write(caller, &message, vec![Write::Put { object, expect }], dry_run).await?;
    outcomes.into_iter().next().ok_or_else(missing)
}

fn answer(
    call: &Call,
    route: &ObjectsRoute,
    part: Part,
    current: &Stored,
    outcome: &Outcome,
    warnings: &[String],
) -> ApiResult<Answer> {
    let revision = current.revision().to_string();
    let shown = call.query.dry_run()?.then_some(revision.as_str());
    let answer = super::written(&super::renderer(call, route)?, outcome, StatusCode::OK, shown)?;
    let answer = response::warn(answer, warnings);
    Ok(if part == Part::Status { answer } else { super::awaited::warned_of(call, answer, Some(current), outcome) })
}
