//! Get and list.

use http::StatusCode;
use serde_json::json;
use stead_model::Revision;
use stead_store::{List, Page, Snapshot, Stored};

use crate::api::Call;
use crate::fields::FieldMatcher;
use crate::page_token::PageToken;
use crate::path::ObjectsRoute;
use crate::query::{ListOptions, RevisionMatch};
use crate::render::ListMeta;
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};

/// Objects of a page that is made at once, in a few milliseconds: kubectl's own size.
const INLINE_OBJECTS_MAX: usize = 500;

/// One object.
pub(super) fn get(call: &Call, route: &ObjectsRoute) -> ApiResult<Answer> {
    let key = super::key(route);
    let stored = call.api.admission().store().snapshot().get(&key);
    let stored = stored.ok_or_else(|| ApiError::not_found(route.resource, &key.name))?;
    Ok(response::json_bytes(StatusCode::OK, super::renderer(call, route)?.object(&stored)?))
}

/// A page of objects. One that may be large is made beside those who serve the others.
pub(super) async fn list(call: Call, route: ObjectsRoute, options: ListOptions) -> ApiResult<Answer> {
    if (1..=INLINE_OBJECTS_MAX).contains(&options.limit) {
        return list_now(&call, &route, &options);
    }
    let made = tokio::task::spawn_blocking(move || list_now(&call, &route, &options)).await;
    made.map_err(|error| ApiError::internal(format!("the list could not be made: {error}")))?
}

/// All pages come from the snapshot of the first.
fn list_now(call: &Call, route: &ObjectsRoute, options: &ListOptions) -> ApiResult<Answer> {
    let renderer = super::renderer(call, route)?;
    let token = options.continue_token.as_deref().map(PageToken::parse).transpose()?;
    let snapshot = snapshot(call, options, token.as_ref())?;
    let fields = FieldMatcher::new(route.resource, &options.fields)?;
    let page = page(&snapshot, route, options, fields.as_deref(), token);
    let continue_token = page.next.map(|cursor| PageToken { revision: page.revision, cursor }.to_text());
    if continue_token.is_some() {
        call.api.admission().store().retain(&snapshot, call.now());
    }
    let meta = ListMeta { revision: page.revision, continue_token, remaining: page.remaining };
    let bytes = renderer.list(page.objects.iter().map(AsRef::as_ref), &meta)?;
    Ok(response::json_bytes(StatusCode::OK, bytes))
}

/// The objects that a list is about, out of one snapshot.
pub(super) fn page(
    snapshot: &Snapshot,
    route: &ObjectsRoute,
    options: &ListOptions,
    fields: Option<&FieldMatcher>,
    token: Option<PageToken>,
) -> Page {
    let filter = |stored: &Stored| fields.is_none_or(|fields| fields.matches(stored));
    let list = List {
        kind: route.resource.info.group_kind(),
        namespace: route.namespace.as_deref(),
        selector: &options.labels,
        fields: fields.is_some().then_some(&filter),
        after: token.map(|token| token.cursor),
        limit: options.limit,
    };
    // One name is looked up rather than searched for: this is how clients wait for an object.
    if let Some(name) = fields.and_then(FieldMatcher::name)
        && (route.namespace.is_some() || !route.resource.info.namespaced)
    {
        let key = stead_model::ObjectKey::new(list.kind, route.namespace.as_deref().unwrap_or_default(), name);
        let labels = |stored: &Stored| {
            options.labels.matches(&stored.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
        };
        let found = snapshot.get(&key).filter(|stored| filter(stored) && labels(stored));
        return Page { revision: snapshot.revision(), objects: found.into_iter().collect(), next: None, remaining: Some(0) };
    }
    snapshot.list(&list)
}

/// The snapshot that the options ask for.
fn snapshot(call: &Call, options: &ListOptions, token: Option<&PageToken>) -> ApiResult<Snapshot> {
    let store = call.api.admission().store();
    if let Some(token) = token {
        return store.snapshot_at(token.revision, call.now()).map_err(|error| {
            ApiError::expired(format!("The provided continue parameter is too old to display a consistent list result: {error}"))
        });
    }
    let current = store.snapshot();
    match (options.revision, options.revision_match) {
        (Some(revision), _) if revision > current.revision().0 => Err(too_new(revision, current.revision())),
        (Some(revision), Some(RevisionMatch::Exact)) => store
            .snapshot_at(Revision(revision), call.now())
            .map_err(|error| ApiError::expired(format!("The resourceVersion for the provided list is too old: {error}"))),
        _ => Ok(current),
    }
}

fn too_new(revision: u64, current: Revision) -> ApiError {
    let message = format!("Too large resource version: {revision}, current: {current}");
    let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version", "field": ""});
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message).with_raw_causes(vec![cause]).retry_after(1)
}
