//! Lists and watches of Changes, out of the record: it keeps all of them, and alters none, so that a page never expires and a watch may
//! start at any revision.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use stead_admission::change_object;
use stead_model::Revision;
use stead_store::{Change, ChangeReference, Cursor};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::documents::{fits, unreadable, value_of};
use super::watch::{Ended, Plan, Teller};
use crate::api::{Api, Call};
use crate::fields::FieldMatcher;
use crate::lanes::Lane;
use crate::limits::{PAGE_CHANGES_MAX, SCANNED_CHANGES_MAX};
use crate::page_token::PageToken;
use crate::path::ObjectsRoute;
use crate::query::ListOptions;
use crate::render::{LIST_END, ListMeta, Renderer};
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};

/// Revisions up to which a watch asks for the Change of each, which all watches share; beyond them it reads a range of its own.
const SHARED_REVISIONS_MAX: u64 = 16;

/// Lists or watches Changes.
pub(super) async fn serve(call: Call, route: &ObjectsRoute) -> ApiResult<Answer> {
    let renderer = super::renderer(&call, route)?;
    let mut options = call.query.list_options()?;
    if let Some(name) = &route.name {
        options.fields.requirements.push(("metadata.name".to_owned(), true, name.clone()));
    }
    let fields = FieldMatcher::new(route.resource, &options.fields)?;
    let wanted = Wanted { fields, options };
    if wanted.options.watch {
        return Ok(watch(call, renderer, wanted));
    }
    let token = wanted.options.continue_token.as_deref().map(PageToken::parse).transpose()?;
    let revision = match (&token, wanted.options.revision) {
        (Some(token), _) => token.revision,
        (None, revision) => {
            super::read::wait_for(&call, revision).await?;
            call.api.admission().store().revision()
        }
    };
    let before = token.map_or(revision.next(), |token| Revision(token.cursor.passed));
    let place = Place { revision, before };
    if (1..=PAGE_CHANGES_MAX).contains(&wanted.options.limit) {
        let (page, next) = page(&call.api, &wanted, before, wanted.options.limit).await?;
        return Ok(response::json_bytes(StatusCode::OK, renderer.list_of_values(&page, &place.meta(next))?));
    }
    everything(call, renderer, wanted, place).await
}

/// Which Changes are meant.
struct Wanted {
    fields: Option<Arc<FieldMatcher>>,
    options: ListOptions,
}

impl Wanted {
    fn fits(&self, object: &Value) -> bool {
        fits(object, &self.options, self.fields.as_deref())
    }
}

/// Where a list is: at which revision it began, and before which it goes on.
struct Place {
    revision: Revision,
    before: Revision,
}

impl Place {
    fn meta(&self, next: Option<Revision>) -> ListMeta {
        let token = next.map(|before| {
            let cursor = Cursor { namespace: String::new(), name: String::new(), passed: before.0 };
            PageToken { revision: self.revision, cursor }.to_text()
        });
        ListMeta { revision: self.revision, continue_token: token, remaining: None }
    }
}

/// At most so many Changes before a revision, newest first, and before which revision to go on, if there may be more.
async fn page(api: &Api, wanted: &Wanted, mut before: Revision, limit: usize) -> ApiResult<(Vec<Value>, Option<Revision>)> {
    let store = api.admission().store();
    if let Some(name) = wanted.fields.as_ref().and_then(|fields| fields.name()) {
        let change = store.change(ChangeReference::Id(name.to_ascii_uppercase())).await.map_err(|error| unreadable(&error))?;
        let Some(change) = change.filter(|change| change.revision < before) else { return Ok((Vec::new(), None)) };
        let object = value(api, &change).await?;
        return Ok((if wanted.fits(&object) { vec![object] } else { Vec::new() }, None));
    }
    let (mut objects, mut scanned) = (Vec::new(), 0_usize);
    while scanned < SCANNED_CHANGES_MAX {
        let found = store.changes(Some(before), PAGE_CHANGES_MAX.min(limit)).await.map_err(|error| unreadable(&error))?;
        if found.is_empty() {
            return Ok((objects, None));
        }
        scanned = scanned.saturating_add(found.len());
        for change in found {
            before = change.revision;
            // What was signed tells whether it is meant; its entries are read only then.
            let bare = change_object(&change, &[]).map_err(|error| ApiError::internal(error.to_string()))?;
            if wanted.fits(&value_of(&bare)?) {
                objects.push(value(api, &change).await?);
            }
            if objects.len() >= limit {
                let more = !store.changes(Some(before), 1).await.map_err(|error| unreadable(&error))?.is_empty();
                return Ok((objects, more.then_some(before)));
            }
        }
    }
    Ok((objects, Some(before)))
}

async fn value(api: &Api, change: &Change) -> ApiResult<Value> {
    let entries = api.admission().store().entries(change.revision).await.map_err(|error| unreadable(&error))?;
    value_of(&change_object(change, &entries).map_err(|error| ApiError::internal(error.to_string()))?)
}

/// All of them, sent page by page.
async fn everything(call: Call, renderer: Renderer, wanted: Wanted, place: Place) -> ApiResult<Answer> {
    let ends = Instant::now() + Duration::from_millis(call.api.limits().list_milliseconds_max);
    let lane = tokio::time::timeout_at(ends, call.api.lanes().enter(call.permit.client())).await;
    let lane = lane.map_err(|_| super::parts::busy())?;
    let (first, next) = page(&call.api, &wanted, place.before, PAGE_CHANGES_MAX).await?;
    let limit = if wanted.options.limit == 0 { usize::MAX } else { wanted.options.limit };
    if next.is_none() {
        return Ok(response::json_bytes(StatusCode::OK, renderer.list_of_values(&first, &place.meta(None))?));
    }
    let mut out = renderer.list_head(&place.meta(None));
    renderer.values(&mut out, &first, true)?;
    let (sender, parts) = mpsc::channel(1);
    let rest = Rest { api: call.api, renderer, wanted, next, left: limit.saturating_sub(first.len()), _lane: lane };
    tokio::spawn(async move {
        if let Err(error) = tokio::time::timeout_at(ends, rest.send(out, &sender))
            .await
            .unwrap_or_else(|_| Err(io::Error::other("it took too long")))
        {
            tracing::warn!(%error, "a list of changes was cut off");
            // Where the client has gone meanwhile, nobody is left to be told.
            let _ = sender.send(Err(error)).await;
        }
    });
    Ok(response::parts(parts, call.permit))
}

/// The pages after the first.
struct Rest {
    api: Api,
    renderer: Renderer,
    wanted: Wanted,
    next: Option<Revision>,
    left: usize,
    _lane: Lane,
}

impl Rest {
    async fn send(mut self, first: Vec<u8>, sender: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone");
        sender.send(Ok(first.into())).await.map_err(gone)?;
        while let Some(before) = self.next.filter(|_| self.left > 0) {
            let failed = |error: ApiError| io::Error::other(error.message);
            let (objects, next) = page(&self.api, &self.wanted, before, PAGE_CHANGES_MAX.min(self.left)).await.map_err(failed)?;
            let mut out = Vec::new();
            self.renderer.values(&mut out, &objects, false).map_err(failed)?;
            self.left = self.left.saturating_sub(objects.len());
            self.next = next;
            sender.send(Ok(out.into())).await.map_err(gone)?;
        }
        sender.send(Ok(Bytes::from_static(LIST_END))).await.map_err(gone)
    }
}

/// Tells of every new Change.
fn watch(call: Call, renderer: Renderer, wanted: Wanted) -> Answer {
    let current = call.api.admission().store().revision();
    let plan = Plan::new(&wanted.options, call.api.limits());
    let cursor = plan.begin.unwrap_or(current);
    let (teller, answer) = Teller::start(call, renderer);
    let watch = Watch { teller, wanted, cursor, initial_end: plan.end_of_initial_events.then_some(current) };
    tokio::spawn(watch.run(plan));
    answer
}

struct Watch {
    teller: Teller,
    wanted: Wanted,
    /// Everything up to here has been told.
    cursor: Revision,
    /// Where what was there already ends, while that has yet to be told.
    initial_end: Option<Revision>,
}

impl Watch {
    async fn run(mut self, plan: Plan) {
        let shutdown = self.teller.api.shutdown().clone();
        tokio::select! {
            _ = self.tell(&plan) => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn tell(&mut self, plan: &Plan) -> Result<(), Ended> {
        let mut bookmarks = self.teller.bookmarks();
        let (sender, store) = (self.teller.sender.clone(), self.teller.api.admission().store().clone());
        loop {
            self.end_initial().await?;
            let cursor = self.cursor;
            tokio::select! {
                biased;
                () = sender.closed() => return Err(Ended),
                () = tokio::time::sleep_until(plan.ends) => {
                    return if plan.bookmarks { self.teller.mark(self.cursor, false).await } else { Ok(()) };
                }
                _ = bookmarks.tick(), if plan.bookmarks => self.teller.mark(self.cursor, false).await?,
                newest = store.past(cursor) => match newest {
                    Ok(newest) => self.catch_up(newest).await?,
                    Err(_) => return Err(Ended),
                },
            }
        }
    }

    async fn end_initial(&mut self) -> Result<(), Ended> {
        if let Some(end) = self.initial_end.filter(|end| self.cursor >= *end) {
            self.initial_end = None;
            self.teller.mark(end, true).await?;
        }
        Ok(())
    }

    /// Tells a step of what is new: as many revisions as one page has Changes at most, and not past the end of the initial ones.
    async fn catch_up(&mut self, newest: Revision) -> Result<(), Ended> {
        let step = Revision(self.cursor.0.saturating_add(PAGE_CHANGES_MAX as u64));
        let through = newest.min(step).min(self.initial_end.unwrap_or(newest));
        let objects = match between(&self.teller.api, self.cursor, through).await {
            Ok(objects) => objects,
            Err(error) => return self.teller.refuse(&error).await,
        };
        let fitting = objects.iter().filter(|object| self.wanted.fits(object));
        self.teller.added(fitting.map(Arc::as_ref)).await?;
        self.cursor = through;
        self.teller.flush().await
    }
}

/// The Changes after a revision and up to another, oldest first.
async fn between(api: &Api, after: Revision, through: Revision) -> ApiResult<Vec<Arc<Value>>> {
    let store = api.admission().store();
    let revisions = through.0.saturating_sub(after.0);
    let mut objects = Vec::new();
    if revisions <= SHARED_REVISIONS_MAX {
        for revision in (after.0.saturating_add(1)..=through.0).map(Revision) {
            let read = || async {
                let change = store.change(ChangeReference::Revision(revision)).await.map_err(|error| unreadable(&error))?;
                match change {
                    Some(change) => value(api, &change).await.map(|object| Some(Arc::new(object))),
                    None => Ok(None),
                }
            };
            objects.extend(api.recent().at(revision, read).await?);
        }
        return Ok(objects);
    }
    let limit = usize::try_from(revisions).unwrap_or(PAGE_CHANGES_MAX);
    // Each has a revision of its own, so that none of those between is beyond the limit.
    let found = store.changes(Some(through.next()), limit).await.map_err(|error| unreadable(&error))?;
    for change in found.iter().rev().filter(|change| change.revision > after) {
        objects.push(Arc::new(value(api, change).await?));
    }
    Ok(objects)
}
