//! Changes and trust roots: signed documents of the record, shown as objects.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use stead_admission::{Precondition, bundle_of_change, change_object};
use stead_model::Object;
use stead_store::{Change, ChangeReference};
use stead_trust::{Signature, SignedStatement, Submission, SubmittedEntry};

use crate::api::Call;
use crate::body;
use crate::fields::FieldMatcher;
use crate::path::ObjectsRoute;
use crate::query::ListOptions;
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};

/// Serves a request about signed documents.
pub(super) async fn serve(call: Call, route: ObjectsRoute) -> ApiResult<Answer> {
    let change = route.resource.is_change();
    match (&call.method, &route.name, route.subresource.as_deref()) {
        (&Method::GET, None, _) if change => super::changes::serve(call, &route).await,
        (&Method::GET, None, _) => super::roots::serve(call, &route).await,
        (&Method::POST, None, _) if change => super::on_the_newest(&call, || submit(&call, &route)).await,
        (&Method::POST, None, _) => super::on_the_newest(&call, || submit_root(&call, &route)).await,
        (&Method::GET, Some(_), None) if call.query.list_options()?.watch => {
            if change {
                super::changes::serve(call, &route).await
            } else {
                super::roots::serve(call, &route).await
            }
        }
        (&Method::GET, Some(name), None) => {
            let object = if change {
                object_of(&call, &find(&call, &route, name).await?).await?
            } else {
                super::roots::root(&call, &route, name)?
            };
            shown(&call, &route, &object, StatusCode::OK)
        }
        (&Method::GET, Some(name), Some("bundle")) if change => bundle(&call, &route, name).await,
        (_, Some(_), None) => {
            Err(ApiError::forbidden(route.resource, "", "signed documents are kept for ever and never altered"))
        }
        (_, _, Some(_)) => Err(ApiError::no_such_path()),
        _ => Err(ApiError::method_not_allowed()),
    }
}

pub(super) fn unreadable(error: &impl std::fmt::Display) -> ApiError {
    ApiError::unavailable(error.to_string())
}

pub(super) fn value_of(object: &Object) -> ApiResult<Value> {
    serde_json::to_value(object).map_err(|error| ApiError::internal(error.to_string()))
}

fn shown(call: &Call, route: &ObjectsRoute, object: &Object, code: StatusCode) -> ApiResult<Answer> {
    let bytes = super::renderer(call, route)?.value(&value_of(object)?)?;
    Ok(response::json_bytes(code, bytes))
}

async fn find(call: &Call, route: &ObjectsRoute, name: &str) -> ApiResult<Change> {
    let reference = ChangeReference::Id(name.to_ascii_uppercase());
    let change = call.api.admission().store().change(reference).await.map_err(|error| unreadable(&error))?;
    change.ok_or_else(|| ApiError::not_found(route.resource, name))
}

async fn object_of(call: &Call, change: &Change) -> ApiResult<Object> {
    let entries = call.api.admission().store().entries(change.revision).await.map_err(|error| unreadable(&error))?;
    change_object(change, &entries).map_err(|error| ApiError::internal(error.to_string()))
}

/// Whether a document is selected; documents have no labels.
pub(super) fn fits(object: &Value, options: &ListOptions, fields: Option<&FieldMatcher>) -> bool {
    let unlabelled = options.labels.matches(&std::collections::BTreeMap::new());
    unlabelled && fields.is_none_or(|fields| fields.matches_value(object))
}

/// A signed Change, and what it depends on beside it, which is not signed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Submitting {
    statement: SignedStatement,
    entries: Vec<SubmittedEntry>,
    #[serde(default)]
    preconditions: Vec<Precondition>,
}

/// Takes a Change that owners signed.
async fn submit(call: &Call, route: &ObjectsRoute) -> ApiResult<Answer> {
    let Submitting { statement, entries, preconditions } = serde_json::from_slice(&call.body)
        .map_err(|error| ApiError::bad_request(format!("the body of the request is no signed change: {error}")))?;
    let (submission, dry_run) = (Submission { statement, entries }, call.query.dry_run()?);
    let submitted = call.api.admission().submit_if(call.caller()?, &submission, &preconditions, dry_run).await;
    let submitted = submitted.map_err(|error| super::refused::refused(route.resource, "", &error))?;
    let answer = match submitted.change {
        Some(change) => shown(call, route, &change, StatusCode::CREATED)?,
        // A dry run makes no Change; that there is no refusal is the answer.
        None => {
            let outcomes: Vec<Value> =
                submitted.outcomes.iter().map(|outcome| outcome.stored().key().to_string().into()).collect();
            response::json(
                StatusCode::OK,
                &serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": {"objects": outcomes}}),
            )
        }
    };
    Ok(super::awaited::warned(call, answer, &super::awaited::names(&submission)))
}

/// Takes a version of the trust root.
async fn submit_root(call: &Call, route: &ObjectsRoute) -> ApiResult<Answer> {
    let value = body::decode(&call.headers, &call.body)?;
    let document = value.pointer("/spec/document").and_then(Value::as_str).unwrap_or_default();
    let signatures = value.pointer("/spec/signatures").and_then(Value::as_array).into_iter().flatten();
    let signatures = signatures
        .map(|signature| Signature::from_armor(signature.as_str().unwrap_or_default()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| ApiError::bad_request(format!("spec.signatures: {error}")))?;
    if call.query.dry_run()? {
        return Err(ApiError::bad_request("a trust root cannot be submitted as a dry run; `stead trust show` checks one"));
    }
    let object = call.api.admission().submit_root(document.as_bytes().to_vec(), signatures).await;
    let object = object.map_err(|error| super::refused::refused(route.resource, "", &error))?;
    let answer = shown(call, route, &object, StatusCode::CREATED)?;
    Ok(super::awaited::warned(call, answer, &[super::awaited::root()]))
}

/// Everything that it takes to check a Change without us.
async fn bundle(call: &Call, route: &ObjectsRoute, name: &str) -> ApiResult<Answer> {
    let change = find(call, route, name).await?;
    let entries = call.api.admission().store().entries(change.revision).await.map_err(|error| unreadable(&error))?;
    let bundle = bundle_of_change(&change, &entries).map_err(|error| ApiError::internal(error.to_string()))?;
    let bytes = serde_json::to_vec(&bundle).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(response::json_bytes(StatusCode::OK, bytes))
}
