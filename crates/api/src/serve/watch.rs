//! Watch: every step of what is in scope, in order, without gaps, one JSON object a line.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use stead_model::Revision;
use stead_store::{EventKind, Snapshot, Stored, WatchError, WatchEvent, WatchFields, WatchGroup, WatchScope, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::api::{Api, Call};
use crate::fields::FieldMatcher;
use crate::limits::WATCH_SECONDS_MAX;
use crate::metrics::InFlight;
use crate::path::ObjectsRoute;
use crate::query::ListOptions;
use crate::render::Renderer;
use crate::response::{Answer, ResponseBody};
use crate::status::{ApiError, ApiResult};

/// Chunks that wait for a slow client. What it has not taken beyond them waits in the ring that all watchers share, and when it
/// falls out of that, the watch ends with 410.
const QUEUE_CHUNKS_MAX: usize = 4;
/// Bytes at which a chunk is handed on, so that many small events go in one write.
const CHUNK_BYTES: usize = 32 * 1024;

/// Starts a watch.
pub(super) fn serve(call: Call, route: &ObjectsRoute, mut options: ListOptions) -> ApiResult<Answer> {
    let renderer = super::renderer(&call, route)?;
    if let Some(name) = &route.name {
        options.fields.requirements.push(("metadata.name".to_owned(), true, name.clone()));
    }
    let matcher = FieldMatcher::new(route.resource, &options.fields)?;
    let fields = matcher.clone().map(|matcher| -> WatchFields { Arc::new(move |stored: &Stored| matcher.matches(stored)) });
    let scope = WatchScope {
        kind: Some(route.resource.info.group_kind()),
        namespace: route.namespace.clone(),
        selector: options.labels.clone(),
        fields,
    };
    let store = call.api.admission().store();
    let from_start = options.revision.is_none_or(|revision| revision == 0);
    let snapshot = store.snapshot();
    let initial = options.initial_events.unwrap_or(from_start);
    let after = match options.revision {
        Some(revision) if !initial && revision > 0 => Revision(revision),
        _ => snapshot.revision(),
    };
    let watcher = store.watch(after, scope);
    let seconds = options.timeout_seconds.unwrap_or(WATCH_SECONDS_MAX).min(WATCH_SECONDS_MAX);
    let (sender, lines) = mpsc::channel(QUEUE_CHUNKS_MAX);
    let open = call.api.metrics().enter("watch");
    let teller = Teller { api: call.api.clone(), renderer, sender, chunk: Vec::new(), first: true, _open: open };
    let plan = Plan {
        bookmarks: options.bookmarks,
        end_of_initial_events: options.initial_events == Some(true) && options.bookmarks,
        ends: Instant::now() + Duration::from_secs(seconds),
    };
    let initial = initial.then(|| Initial { snapshot, route: route.clone(), options, matcher });
    tokio::spawn(teller.run(watcher, initial, plan));
    let mut answer = Answer::new(ResponseBody::Lines { lines, _permit: call.permit });
    *answer.status_mut() = StatusCode::OK;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

/// What a watch tells before it tells what happens.
struct Initial {
    snapshot: Snapshot,
    route: ObjectsRoute,
    options: ListOptions,
    matcher: Option<Arc<FieldMatcher>>,
}

struct Plan {
    bookmarks: bool,
    end_of_initial_events: bool,
    ends: Instant,
}

/// Writes lines for one client.
struct Teller {
    api: Api,
    renderer: Renderer,
    sender: mpsc::Sender<Bytes>,
    chunk: Vec<u8>,
    /// Whether a table's columns have not been told yet.
    first: bool,
    _open: InFlight,
}

/// The client is gone, or was told why the watch ends.
struct Ended;

impl Teller {
    async fn run(mut self, watcher: Watcher, initial: Option<Initial>, plan: Plan) {
        let shutdown = self.api.shutdown().clone();
        tokio::select! {
            _ = self.tell(watcher, initial, plan) => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn tell(&mut self, mut watcher: Watcher, initial: Option<Initial>, plan: Plan) -> Result<(), Ended> {
        if let Some(initial) = initial {
            let Initial { snapshot, route, mut options, matcher } = initial;
            options.limit = 0;
            let page = super::read::page(&snapshot, &route, &options, matcher.as_deref(), None);
            for stored in &page.objects {
                self.object("ADDED", stored).await?;
            }
            if plan.end_of_initial_events {
                self.bookmark(snapshot.revision(), true);
            }
            self.flush().await?;
        }
        let period = Duration::from_millis(self.api.limits().bookmark_milliseconds);
        let mut bookmarks = tokio::time::interval_at(Instant::now() + period, period);
        bookmarks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sender = self.sender.clone();
        loop {
            tokio::select! {
                biased;
                () = sender.closed() => return Err(Ended),
                () = tokio::time::sleep_until(plan.ends) => {
                    if plan.bookmarks {
                        self.bookmark(watcher.revision(), false);
                        self.flush().await?;
                    }
                    return Ok(());
                }
                _ = bookmarks.tick(), if plan.bookmarks => {
                    self.bookmark(watcher.revision(), false);
                    self.flush().await?;
                }
                group = watcher.next() => self.groups(&mut watcher, group).await?,
            }
        }
    }

    /// Tells a group and those that are there already behind it.
    async fn groups(&mut self, watcher: &mut Watcher, first: Result<WatchGroup, WatchError>) -> Result<(), Ended> {
        let mut group = first;
        loop {
            match group {
                Ok(WatchGroup { events, .. }) => {
                    for WatchEvent { kind, object, .. } in events {
                        let kind = match kind {
                            EventKind::Added => "ADDED",
                            EventKind::Modified => "MODIFIED",
                            EventKind::Deleted => "DELETED",
                        };
                        self.object(kind, &object).await?;
                    }
                }
                Err(error) => return self.error(error).await,
            }
            match watcher.try_next().transpose() {
                Some(next) => group = next,
                None => return self.flush().await,
            }
        }
    }

    async fn error(&mut self, error: WatchError) -> Result<(), Ended> {
        if let WatchError::Gone { revision, oldest } = error {
            self.api.count().watches_behind.add();
            let status = ApiError::expired(format!("too old resource version: {revision} ({oldest})")).to_status();
            self.line("ERROR", status.to_string().as_bytes());
        }
        self.flush().await?;
        Err(Ended)
    }

    async fn object(&mut self, kind: &str, stored: &Stored) -> Result<(), Ended> {
        self.renderer.now = self.api.now();
        match self.renderer.event_object(stored, self.first) {
            Ok(object) => self.line(kind, &object),
            Err(error) => {
                self.line("ERROR", error.to_status().to_string().as_bytes());
                self.flush().await?;
                return Err(Ended);
            }
        }
        self.first = false;
        if self.chunk.len() >= CHUNK_BYTES { self.flush().await } else { Ok(()) }
    }

    fn bookmark(&mut self, revision: Revision, end_of_initial_events: bool) {
        let object = self.renderer.bookmark(revision, end_of_initial_events, self.first);
        self.first = false;
        self.line("BOOKMARK", &object);
    }

    fn line(&mut self, kind: &str, object: &[u8]) {
        self.chunk.extend_from_slice(b"{\"type\":\"");
        self.chunk.extend_from_slice(kind.as_bytes());
        self.chunk.extend_from_slice(b"\",\"object\":");
        self.chunk.extend_from_slice(object);
        self.chunk.extend_from_slice(b"}\n");
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.chunk));
        self.sender.send(chunk).await.map_err(|_| Ended)
    }
}
