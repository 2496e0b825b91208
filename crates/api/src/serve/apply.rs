//! Server-side apply.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use stead_admission::{Rule, WriteError};
use stead_fields::{Applied, ApplyError, Conflict};
use stead_model::{Cause, CauseReason, ObjectKey, check_schema};
use stead_store::{CommitError, Expect, Stored};

use super::update::{ATTEMPTS_MAX, Part, write};
use crate::api::Call;
use crate::ownership::Write;
use crate::path::ObjectsRoute;
use crate::query::FieldValidation;
use crate::resource::Resource;
use crate::response::Answer;
use crate::status::{ApiError, ApiResult};
use crate::{body, field_manager, instant};

/// What a client wants of an object.
struct Configuration {
    value: Value,
    /// The revision that it is for; empty for whichever.
    revision: String,
    /// The object that it is for; empty for whichever.
    uid: String,
}

/// Serves one apply of an object or of its status.
pub(super) async fn serve(call: &Call, route: &ObjectsRoute, part: Part) -> ApiResult<Answer> {
    let (resource, key) = (route.resource, super::key(route));
    let (manager, force) = field_manager::of_apply(&call.query)?;
    // A field that the kind does not have cannot be managed: it is refused whatever is asked for.
    call.query.field_validation(FieldValidation::Strict)?;
    let config = Configuration::read(call, route)?;
    let writer = Write { resource, manager: &manager, status: part == Part::Status, now: call.now() };
    for attempt in 1.. {
        let current = call.api.admission().store().snapshot().get(&key);
        config.check_preconditions(resource, &key, part, current.as_deref())?;
        let applied = match writer.apply(current.as_deref(), &config.value, force)? {
            Ok(applied) => applied,
            Err(ApplyError::Faults { faults }) => return Err(config.untyped(resource, &faults)),
            Err(error @ ApplyError::Conflicts { .. }) => {
                return Err(refused(call, route, &config, &writer, current.as_deref(), &error).await);
            }
        };
        match commit(call, &key, part, resource, applied, current.as_ref()).await {
            Ok(outcome) => {
                let code = if current.is_some() { StatusCode::OK } else { StatusCode::CREATED };
                let revision = current.as_ref().map(|current| current.revision().to_string()).unwrap_or_default();
                let shown = call.query.dry_run()?.then_some(revision.as_str());
                let answer = super::written(&super::renderer(call, route)?, &outcome, code, shown)?;
                let warned = |answer| super::awaited::warned_of(call, answer, current.as_deref(), &outcome);
                return Ok(if part == Part::Status { answer } else { warned(answer) });
            }
            // Somebody else wrote it, made it or removed it meanwhile: what they did is looked at anew.
            Err(Failed::Write(WriteError::Commit(
                CommitError::Conflict { .. } | CommitError::AlreadyExists { .. } | CommitError::NotFound { .. },
            ))) if config.revision.is_empty() && attempt < ATTEMPTS_MAX => {}
            Err(Failed::Write(error)) => return Err(super::refused::refused(resource, &key.name, &error)),
            Err(Failed::Answer(error)) => return Err(error),
        }
    }
    Err(ApiError::modified(resource, &key.name))
}

/// Why what was applied is not written.
enum Failed {
    Answer(ApiError),
    Write(WriteError),
}

async fn commit(
    call: &Call,
    key: &ObjectKey,
    part: Part,
    resource: Resource,
    applied: Applied,
    current: Option<&Arc<Stored>>,
) -> Result<stead_store::Outcome, Failed> {
    let parsed = body::parse(resource, applied.object, FieldValidation::Strict, true).map_err(Failed::Answer)?;
    let mut object = parsed.object;
    object.metadata.managed_fields = applied.entries;
    let expect = current.map_or(Expect::Absent, |current| Expect::Revision(current.revision()));
    write(call, key, object, expect, part, "apply").await.map_err(Failed::Write)
}

impl Configuration {
    fn read(call: &Call, route: &ObjectsRoute) -> ApiResult<Self> {
        let resource = route.resource;
        // Most clients send JSON, which is YAML too and read faster as what it is.
        let sent = body::json(&call.body).or_else(|_| body::yaml(&call.body))?;
        let mut value = Value::Object(body::object(sent)?);
        let text = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text(&value, "/apiVersion"), text(&value, "/kind"));
        if api_version != resource.api_version() || kind != resource.info.kind {
            return Err(ApiError::bad_request(format!("invalid object type: {}", type_text(&api_version, &kind))));
        }
        if value.pointer("/metadata/managedFields").is_some_and(|entries| !entries.is_null()) {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        body::settle_names(&mut value, route.namespace.as_deref(), route.name.as_deref())?;
        let (revision, uid) = (text(&value, "/metadata/resourceVersion"), text(&value, "/metadata/uid"));
        let mut value = resource.into_stored(value);
        if resource.takes_strategic_patch() {
            instant::normalise(&mut value);
        }
        let config = Self { value, revision, uid };
        // What must be there may come from others: only what is there is looked at.
        let wrong = check_schema(&resource.info.schema, &config.value).into_iter();
        let wrong: Vec<_> =
            wrong.filter(|cause| cause.reason != CauseReason::Required).map(|cause| config.fault(&cause)).collect();
        if wrong.is_empty() { Ok(config) } else { Err(config.untyped(resource, &wrong)) }
    }

    fn fault(&self, cause: &Cause) -> (String, String) {
        let what = match cause.reason {
            CauseReason::UnknownField => "field not declared in schema".to_owned(),
            _ => cause.message.clone(),
        };
        (format!(".{}", cause.path), what)
    }

    /// The refusal of a configuration that cannot be taken apart into the kind's fields.
    fn untyped(&self, resource: Resource, faults: &[(String, String)]) -> ApiError {
        let text = |pointer: &str| self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let subject = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
        let sentences: Vec<String> = faults.iter().map(|(path, what)| format!("{path}: {what}")).collect();
        let kind = type_text(&resource.api_version(), resource.info.kind);
        let message = format!("failed to create typed patch object ({subject}; {kind}): {}", sentences.join(", "));
        let causes: Vec<Cause> = faults
            .iter()
            .map(|(path, what)| Cause::new(path.trim_start_matches('.'), CauseReason::Invalid, what.clone()))
            .collect();
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with_causes(&causes)
    }

    fn check_preconditions(&self, resource: Resource, key: &ObjectKey, part: Part, current: Option<&Stored>) -> ApiResult<()> {
        let Some(current) = current else {
            if part == Part::Status {
                return Err(ApiError::not_found(resource, &key.name));
            }
            // An object that is yet to be made has no uid that anybody could know.
            if !self.uid.is_empty() {
                let cause = Cause::new(
                    "metadata.uid",
                    CauseReason::Invalid,
                    format!("Invalid value: {:?}: field is immutable", self.uid),
                );
                return Err(ApiError::invalid(&key.kind, &key.name, &[cause]));
            }
            return Ok(());
        };
        if !self.uid.is_empty() && self.uid != current.uid() {
            let why = format!("Precondition failed: UID in precondition: {}, UID in object meta: {}", self.uid, current.uid());
            return Err(ApiError::conflict(resource, &key.name, &why));
        }
        if !self.revision.is_empty() && self.revision != current.revision().to_string() {
            return Err(ApiError::modified(resource, &key.name));
        }
        Ok(())
    }
}

/// The refusal of conflicts. Where owners must sign the change anyway, they are told so, rather than that others manage it.
async fn refused(
    call: &Call,
    route: &ObjectsRoute,
    config: &Configuration,
    writer: &Write<'_>,
    current: Option<&Stored>,
    error: &ApplyError,
) -> ApiError {
    let (resource, key) = (route.resource, super::key(route));
    if matches!(call.api.admission().rule(&key.kind), Rule::Owner { .. })
        && let Some(refusal) = needs_signature(call, resource, &key, config, writer, current).await
    {
        return refusal;
    }
    let ApplyError::Conflicts { conflicts } = error else { return ApiError::internal(error.to_string()) };
    let cause = |conflict: &Conflict| json!({"reason": "FieldManagerConflict", "message": format!("conflict with {}", conflict.manager), "field": conflict.field});
    let causes = conflicts.iter().map(cause).collect();
    ApiError::new(StatusCode::CONFLICT, "Conflict", error.to_string()).with_raw_causes(causes)
}

/// Whether the change would need owners' signatures if it were forced.
async fn needs_signature(
    call: &Call,
    resource: Resource,
    key: &ObjectKey,
    config: &Configuration,
    writer: &Write<'_>,
    current: Option<&Stored>,
) -> Option<ApiError> {
    if writer.status {
        return None;
    }
    let forced = writer.apply(current, &config.value, true).ok()?.ok()?;
    let object = body::parse(resource, forced.object, FieldValidation::Strict, true).ok()?.object;
    let put = stead_admission::Write::Put { object, expect: Expect::Any };
    match call.api.admission().write(call.caller().ok()?, "", vec![put], true).await {
        Err(error @ WriteError::NeedsSignature { .. }) => Some(super::refused::refused(resource, &key.name, &error)),
        _ => None,
    }
}

/// Group, version and kind in Kubernetes' words.
fn type_text(api_version: &str, kind: &str) -> String {
    let group = if api_version.contains('/') { api_version.to_owned() } else { format!("/{api_version}") };
    format!("{group}, Kind={kind}")
}
