//! Get and list.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use stead_model::{Operator, Revision};
use stead_store::{List, Page, Snapshot, Stored};
use tokio::time::Instant;

use crate::api::Call;
use crate::fields::FieldMatcher;
use crate::limits::PART_OBJECTS_MAX;
use crate::page_token::PageToken;
use crate::path::ObjectsRoute;
use crate::query::{ListOptions, RevisionMatch};
use crate::render::{ListMeta, Renderer};
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};

/// One object.
pub(super) async fn get(call: &Call, route: &ObjectsRoute, options: &ListOptions) -> ApiResult<Answer> {
    wait_for(call, options.revision).await?;
    let key = super::key(route);
    let stored = call.api.admission().store().snapshot().get(&key);
    let stored = stored.ok_or_else(|| ApiError::not_found(route.resource, &key.name))?;
    Ok(response::json_bytes(StatusCode::OK, super::renderer(call, route)?.object(&stored)?))
}

/// A page of objects. One that may take a while is made beside those who serve the others, at its client's turn.
pub(super) async fn list(call: Call, route: ObjectsRoute, options: ListOptions) -> ApiResult<Answer> {
    let renderer = super::renderer(&call, &route)?;
    let token = options.continue_token.as_deref().map(PageToken::parse).transpose()?;
    let fields = FieldMatcher::new(route.resource, &options.fields)?;
    match &token {
        None => wait_for(&call, options.revision).await?,
        // It may be of a coordinator that is ahead of this one. Where this one does not get there, the token has expired.
        Some(token) => wait_for(&call, Some(token.revision.0)).await.unwrap_or_default(),
    }
    let snapshot = snapshot(&call, &options, token.as_ref()).await?;
    let listing = Listing { renderer, snapshot, route, options, fields, token };
    if !listing.is_quick() {
        return super::parts::serve(call, listing).await;
    }
    let (page, meta) = listing.page(&call);
    let bytes = listing.renderer.list(page.objects.iter().map(AsRef::as_ref), &meta)?;
    Ok(response::json_bytes(StatusCode::OK, bytes))
}

/// A list that was asked for, with the snapshot that it comes from: all pages come from the snapshot of the first.
pub(super) struct Listing {
    pub(super) renderer: Renderer,
    snapshot: Snapshot,
    route: ObjectsRoute,
    options: ListOptions,
    fields: Option<Arc<FieldMatcher>>,
    token: Option<PageToken>,
}

impl Listing {
    /// Whether it is about a few objects that an index finds.
    fn is_quick(&self) -> bool {
        let few = (1..=PART_OBJECTS_MAX).contains(&self.options.limit);
        is_indexed(&self.options, self.fields.as_deref()) && few
    }

    /// The objects, and what the list says about itself.
    pub(super) fn page(&self, call: &Call) -> (Page, ListMeta) {
        let mut page = page(&self.snapshot, &self.route, &self.options, self.fields.as_deref(), self.token.clone());
        let next = page.next.take();
        let continue_token = next.map(|cursor| PageToken { revision: page.revision, cursor }.to_text());
        if continue_token.is_some() {
            call.api.admission().store().retain(&self.snapshot, call.now());
        }
        let meta = ListMeta { revision: page.revision, continue_token, remaining: page.remaining };
        (page, meta)
    }
}

/// Whether an index finds what is selected, or everything is: a name, or one value of one label.
pub(super) fn is_indexed(options: &ListOptions, fields: Option<&FieldMatcher>) -> bool {
    let labels = match options.labels.match_expressions.as_slice() {
        [] => true,
        [only] => only.operator == Operator::In && only.values.len() == 1,
        _ => false,
    };
    labels && fields.is_none_or(|fields| fields.name().is_some())
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

/// Waits for a revision that another coordinator may have told the client of, and this one has yet to hear of.
pub(super) async fn wait_for(call: &Call, revision: Option<u64>) -> ApiResult<()> {
    let store = call.api.admission().store();
    let Some(revision) = revision.filter(|revision| *revision > store.revision().0) else { return Ok(()) };
    let limit = Duration::from_millis(call.api.limits().revision_wait_milliseconds_max);
    // Where the time is over, or the store is closed, it is not there.
    let _ = tokio::time::timeout(limit, store.past(Revision(revision.saturating_sub(1)))).await;
    let current = store.revision();
    if current.0 >= revision { Ok(()) } else { Err(too_new(revision, current)) }
}

/// The snapshot that the options ask for: one that was kept, or one that is made out of what memory has of the time since; a token may
/// be another coordinator's.
async fn snapshot(call: &Call, options: &ListOptions, token: Option<&PageToken>) -> ApiResult<Snapshot> {
    let store = call.api.admission().store();
    let revision = match (token, options.revision, options.revision_match) {
        (Some(token), _, _) if token.revision > Revision(0) => token.revision,
        (None, Some(revision), Some(RevisionMatch::Exact)) => Revision(revision),
        _ => return Ok(store.snapshot()),
    };
    if let Ok(kept) = store.snapshot_at(revision, call.now()) {
        return Ok(kept);
    }
    let ends = Instant::now() + Duration::from_millis(call.api.limits().list_milliseconds_max);
    let turn = super::parts::turn(&call.api, call.permit.client(), ends).await.ok_or_else(super::parts::busy)?;
    let store = store.clone();
    let rewound = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        store.rewound(revision)
    });
    let rewound = rewound.await.map_err(|error| ApiError::internal(format!("the list failed: {error}")))?;
    rewound.map_err(|error| match token {
        Some(token) => token_expired(token, &error.to_string()),
        None => ApiError::expired(format!("The resourceVersion for the provided list is too old: {error}")),
    })
}

/// The hint that Kubernetes gives: start again, or take the rest as it is now.
fn token_expired(token: &PageToken, why: &str) -> ApiError {
    let message = format!(
        "The provided continue parameter is too old to display a consistent list result: {why}. You can start a new list without \
         the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing \
         with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the \
         time the first chunk was returned and now may show up in the list."
    );
    ApiError::expired(message).continue_with(PageToken { revision: Revision(0), cursor: token.cursor.clone() }.to_text())
}

/// A revision that this coordinator has yet to hear of.
pub(super) fn too_new(revision: u64, current: Revision) -> ApiError {
    let message = format!("Too large resource version: {revision}, current: {current}");
    let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version", "field": ""});
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message).with_raw_causes(vec![cause]).retry_after(1)
}
