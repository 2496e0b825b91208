//! Objects: which handler a method and a path mean.

mod apply;
mod awaited;
mod changes;
mod create;
mod documents;
mod history;
mod parts;
mod proposals;
mod read;
mod refused;
mod remove;
mod reviews;
mod roots;
pub(crate) mod stead;
mod update;
mod watch;

use http::{Method, StatusCode};
use stead_model::ObjectKey;
use stead_store::Outcome;

use crate::api::Call;
use crate::discovery::has_status_path;
use crate::media::{self, Form};
use crate::path::ObjectsRoute;
use crate::render::Renderer;
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};
use crate::table::IncludeObject;

/// Serves a request about objects.
pub(crate) async fn objects(call: Call, route: ObjectsRoute) -> ApiResult<Answer> {
    if route.resource.is_document() {
        return documents::serve(call, route).await;
    }
    if route.resource.is_review() {
        return reviews::serve(&call, &route);
    }
    match (&route.name, route.subresource.as_deref()) {
        (None, _) => collection(call, route).await,
        (Some(_), None) => object(call, route).await,
        (Some(_), Some("status")) if has_status_path(route.resource) => status(call, route).await,
        _ => Err(ApiError::no_such_path()),
    }
}

async fn collection(call: Call, route: ObjectsRoute) -> ApiResult<Answer> {
    match call.method {
        Method::GET => {
            let options = call.query.list_options()?;
            if options.watch { watch::serve(call, &route, options) } else { read::list(call, route, options).await }
        }
        Method::POST => on_the_newest(&call, || create::serve(&call, &route)).await,
        Method::DELETE => on_the_newest(&call, || remove::collection(&call, &route)).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

async fn object(call: Call, route: ObjectsRoute) -> ApiResult<Answer> {
    match call.method {
        Method::GET => {
            let options = call.query.list_options()?;
            if options.watch { watch::serve(call, &route, options) } else { read::get(&call, &route, &options).await }
        }
        Method::PUT => on_the_newest(&call, || update::put(&call, &route)).await,
        Method::PATCH => on_the_newest(&call, || update::patch(&call, &route)).await,
        Method::DELETE => on_the_newest(&call, || remove::object(&call, &route)).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

async fn status(call: Call, route: ObjectsRoute) -> ApiResult<Answer> {
    match call.method {
        Method::GET => read::get(&call, &route, &call.query.list_options()?).await,
        Method::PUT => on_the_newest(&call, || update::put_status(&call, &route)).await,
        Method::PATCH => on_the_newest(&call, || update::patch_status(&call, &route)).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// Serves a write. One that is refused for what this coordinator sees of the record is looked at once more, with all that others have
/// written by now: nobody is told that an object is not there which another coordinator has just made for them.
async fn on_the_newest<F: Future<Output = ApiResult<Answer>>>(call: &Call, write: impl Fn() -> F) -> ApiResult<Answer> {
    let store = call.api.admission().store();
    let seen = store.revision();
    let refused = match write().await {
        Err(error) if matches!(error.code, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::CONFLICT) => error,
        answer => return answer,
    };
    catch_up(call).await?;
    if store.revision() == seen { Err(refused) } else { write().await }
}

/// Brings the view up to what others have written by now.
async fn catch_up(call: &Call) -> ApiResult<()> {
    call.api.admission().store().catch_up().await.map_err(|error| ApiError::unavailable(error.to_string()))
}

/// How the answer to a call looks.
fn renderer(call: &Call, route: &ObjectsRoute) -> ApiResult<Renderer> {
    let form = media::form(&call.headers)?;
    let include = match form {
        Form::Table => IncludeObject::parse(call.query.get("includeObject"))?,
        _ => IncludeObject::default(),
    };
    Ok(Renderer { resource: route.resource, form, include, now: call.now() })
}

/// The record's key of the object that a path names.
fn key(route: &ObjectsRoute) -> ObjectKey {
    let kind = route.resource.info.group_kind();
    ObjectKey::new(kind, route.namespace.as_deref().unwrap_or_default(), route.name.as_deref().unwrap_or_default())
}

/// Why a plain write was made, for its Change: what was asked for, and through what.
fn message(call: &Call, verb: &str, key: &ObjectKey) -> String {
    /// As much of a client's name as is kept.
    const CLIENT_CHARACTERS_MAX: usize = 128;
    let agent = || call.headers.get(http::header::USER_AGENT)?.to_str().ok()?.split('/').next();
    let client = call.query.get("fieldManager").or_else(agent).unwrap_or("a client");
    let client: String = client.chars().filter(|character| !character.is_control()).take(CLIENT_CHARACTERS_MAX).collect();
    format!("{verb} {key} with {client}")
}

/// The answer that carries a written object. A dry run must not show a revision that nothing has.
fn written(renderer: &Renderer, outcome: &Outcome, code: StatusCode, dry_run: Option<&str>) -> ApiResult<Answer> {
    let stored = outcome.stored();
    let Some(revision) = dry_run else {
        return Ok(response::json_bytes(code, renderer.object(stored)?));
    };
    let mut value = crate::render::value(renderer.resource, stored)?;
    if let Some(metadata) = value.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
        if revision.is_empty() {
            metadata.remove("resourceVersion");
        } else {
            metadata.insert("resourceVersion".to_owned(), revision.into());
        }
    }
    Ok(response::json_bytes(code, renderer.value(&value)?))
}
