//! Versions of the trust root, as objects. The record keeps all of them, and a version is its own `resourceVersion`: their list has the
//! newest one's, and a watch tells of those after it, wherever it starts.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use stead_admission::root_object;
use stead_model::{Object, Revision};
use stead_store::{RootDocument, Snapshot, Store};

use super::documents::{fits, value_of};
use super::watch::{Ended, Plan, Teller};
use crate::api::Call;
use crate::fields::FieldMatcher;
use crate::path::ObjectsRoute;
use crate::query::ListOptions;
use crate::render::ListMeta;
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};

/// One version.
pub(super) fn root(call: &Call, route: &ObjectsRoute, name: &str) -> ApiResult<Object> {
    let version = name.strip_prefix('v').and_then(|version| version.parse().ok());
    let root = version.and_then(|version| call.api.admission().store().snapshot().root(version));
    object(&*root.ok_or_else(|| ApiError::not_found(route.resource, name))?)
}

fn object(root: &RootDocument) -> ApiResult<Object> {
    root_object(root).map_err(|error| ApiError::internal(error.to_string()))
}

/// Lists or watches the versions.
pub(super) async fn serve(call: Call, route: &ObjectsRoute) -> ApiResult<Answer> {
    let renderer = super::renderer(&call, route)?;
    let mut options = call.query.list_options()?;
    if let Some(name) = &route.name {
        options.fields.requirements.push(("metadata.name".to_owned(), true, name.clone()));
    }
    let fields = FieldMatcher::new(route.resource, &options.fields)?;
    let wanted = Wanted { options, fields };
    if wanted.options.watch {
        return Ok(watch(call, renderer, wanted));
    }
    let snapshot = reached(&call, wanted.options.revision.unwrap_or_default()).await?;
    let objects = wanted.of(&snapshot.roots_after(0))?;
    let meta = ListMeta { revision: newest(&snapshot), ..ListMeta::default() };
    Ok(response::json_bytes(StatusCode::OK, renderer.list_of_values(&objects, &meta)?))
}

/// The newest version, as a list's `resourceVersion`.
fn newest(snapshot: &Snapshot) -> Revision {
    Revision(snapshot.newest_root().map_or(0, |root| root.version))
}

/// The record, once it has a version that another coordinator may have told the client of.
async fn reached(call: &Call, version: u64) -> ApiResult<Snapshot> {
    let store = call.api.admission().store();
    let limit = Duration::from_millis(call.api.limits().revision_wait_milliseconds_max);
    // Where the time is over, or the store is closed, it is not there.
    let _ = tokio::time::timeout(limit, until(store, version)).await;
    let snapshot = store.snapshot();
    let current = newest(&snapshot);
    if current.0 >= version { Ok(snapshot) } else { Err(super::read::too_new(version, current)) }
}

async fn until(store: &Store, version: u64) {
    let mut snapshot = store.snapshot();
    while newest(&snapshot).0 < version && store.past(snapshot.revision()).await.is_ok() {
        snapshot = store.snapshot();
    }
}

/// Which versions are meant.
struct Wanted {
    options: ListOptions,
    fields: Option<Arc<FieldMatcher>>,
}

impl Wanted {
    fn of(&self, roots: &[Arc<RootDocument>]) -> ApiResult<Vec<Value>> {
        let values = roots.iter().map(|root| value_of(&object(root)?)).collect::<ApiResult<Vec<_>>>()?;
        Ok(values.into_iter().filter(|value| fits(value, &self.options, self.fields.as_deref())).collect())
    }
}

/// Tells of every new version.
fn watch(call: Call, renderer: crate::render::Renderer, wanted: Wanted) -> Answer {
    let current = newest(&call.api.admission().store().snapshot());
    let plan = Plan::new(&wanted.options, call.api.limits());
    let cursor = plan.begin.unwrap_or(current);
    let (teller, answer) = Teller::start(call, renderer);
    let watch = Watch { teller, wanted, cursor, known: current, initial: plan.end_of_initial_events };
    tokio::spawn(watch.run(plan));
    answer
}

struct Watch {
    teller: Teller,
    wanted: Wanted,
    /// Everything up to here has been told.
    cursor: Revision,
    /// The newest version there was.
    known: Revision,
    /// Whether the end of what was there already has yet to be told.
    initial: bool,
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
            let snapshot = store.snapshot();
            self.catch_up(&snapshot).await?;
            tokio::select! {
                biased;
                () = sender.closed() => return Err(Ended),
                () = tokio::time::sleep_until(plan.ends) => {
                    return if plan.bookmarks { self.teller.mark(self.cursor, false).await } else { Ok(()) };
                }
                _ = bookmarks.tick(), if plan.bookmarks => self.teller.mark(self.cursor, false).await?,
                moved = store.past(snapshot.revision()) => if moved.is_err() { return Err(Ended) },
            }
        }
    }

    /// Tells what is new.
    async fn catch_up(&mut self, snapshot: &Snapshot) -> Result<(), Ended> {
        let newest = newest(snapshot);
        if newest < self.known {
            // The record was put back from a backup: what was told may not be what there will be.
            let message = format!("too old resource version: {} (the trust root is at version {newest})", self.known);
            return self.teller.refuse(&ApiError::expired(message)).await;
        }
        self.known = newest;
        let objects = match self.wanted.of(&snapshot.roots_after(self.cursor.0)) {
            Ok(objects) => objects,
            Err(error) => return self.teller.refuse(&error).await,
        };
        self.teller.added(objects.iter()).await?;
        self.cursor = self.cursor.max(newest);
        if std::mem::take(&mut self.initial) {
            self.teller.bookmark(self.cursor, true);
        }
        self.teller.flush().await
    }
}
