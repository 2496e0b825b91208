//! Watch: every step of what is in scope, in order, without gaps, one JSON object a line.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::Value;
use stead_model::Revision;
use stead_store::{EventKind, Snapshot, Stored, WatchError, WatchEvent, WatchFields, WatchGroup, WatchScope, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::api::{Api, Call};
use crate::fields::FieldMatcher;
use crate::lanes::Lane;
use crate::limits::Limits;
use crate::lines;
use crate::media::Form;
use crate::metrics::InFlight;
use crate::path::ObjectsRoute;
use crate::query::ListOptions;
use crate::render::Renderer;
use crate::response::{Answer, ResponseBody};
use crate::status::{ApiError, ApiResult};

/// Chunks that wait for a slow client. What it has not taken beyond them waits in the ring that all watchers share, then in the
/// database's history, and when that forgets it, the watch ends with 410.
const QUEUE_CHUNKS_MAX: usize = 4;
/// Bytes at which a chunk is handed on, so that many small events go in one write.
const CHUNK_BYTES: usize = 32 * 1024;
/// Seconds after which a database that was away is asked again.
const PAUSE_SECONDS: u64 = 1;

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
    let plan = Plan::new(&options, call.api.limits());
    let snapshot = store.snapshot();
    let initial = plan.begin == Some(Revision(0));
    let after = plan.begin.filter(|_| !initial).unwrap_or(snapshot.revision());
    let watcher = store.watch(after, scope);
    // A client names the revision of the last event that it took, which need not have been the last event of that revision.
    let watcher = if initial { watcher } else { watcher.telling_again() };
    let (teller, answer) = Teller::start(call, renderer);
    let initial = initial.then(|| Initial { snapshot, route: route.clone(), options, matcher });
    tokio::spawn(teller.run(watcher, initial, plan));
    Ok(answer)
}

/// What a watch tells before it tells what happens.
struct Initial {
    snapshot: Snapshot,
    route: ObjectsRoute,
    options: ListOptions,
    matcher: Option<Arc<FieldMatcher>>,
}

/// What the client asked of its watch.
pub(super) struct Plan {
    pub(super) bookmarks: bool,
    pub(super) end_of_initial_events: bool,
    /// The events after it are told: after 0, what there is comes first. None where it is those from now on.
    pub(super) begin: Option<Revision>,
    pub(super) ends: Instant,
}

impl Plan {
    pub(super) fn new(options: &ListOptions, limits: &Limits) -> Self {
        let asked = options.timeout_seconds.map_or(u64::MAX, |seconds| seconds.saturating_mul(1_000));
        let from_start = options.revision.is_none_or(|revision| revision == 0);
        let begin = match options.revision {
            _ if options.initial_events.unwrap_or(from_start) => Some(Revision(0)),
            revision => revision.filter(|revision| *revision > 0).map(Revision),
        };
        Self {
            bookmarks: options.bookmarks,
            begin,
            end_of_initial_events: options.initial_events == Some(true) && options.bookmarks,
            ends: Instant::now() + Duration::from_millis(asked.min(limits.watch_milliseconds_max)),
        }
    }
}

/// Writes lines for one client.
pub(super) struct Teller {
    pub(super) api: Api,
    client: String,
    pub(super) renderer: Renderer,
    pub(super) sender: mpsc::Sender<Bytes>,
    /// Lines that go out together.
    chunk: Vec<u8>,
    /// The line that goes out where it is the only one: it is shared rather than copied.
    only: Option<Bytes>,
    /// Whether a table's columns have not been told yet.
    pub(super) first: bool,
    _open: InFlight,
}

/// The client is gone, or was told why the watch ends.
pub(super) struct Ended;

impl Teller {
    /// The teller of a call, and the answer that it writes into.
    pub(super) fn start(call: Call, renderer: Renderer) -> (Self, Answer) {
        let (sender, lines) = mpsc::channel(QUEUE_CHUNKS_MAX);
        let client = call.permit.client().to_owned();
        let open = call.api.metrics().enter("watch");
        let teller = Self { api: call.api, client, renderer, sender, chunk: Vec::new(), only: None, first: true, _open: open };
        let mut answer = Answer::new(ResponseBody::Lines { lines, _permit: call.permit });
        *answer.status_mut() = StatusCode::OK;
        answer.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        (teller, answer)
    }

    async fn run(mut self, watcher: Watcher, initial: Option<Initial>, plan: Plan) {
        let shutdown = self.api.shutdown().clone();
        tokio::select! {
            _ = self.tell(watcher, initial, plan) => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn tell(&mut self, mut watcher: Watcher, initial: Option<Initial>, plan: Plan) -> Result<(), Ended> {
        if let Some(initial) = initial {
            self.initial(initial, plan.end_of_initial_events).await?;
        }
        let mut bookmarks = self.bookmarks();
        let (sender, mut lane) = (self.sender.clone(), None);
        loop {
            let behind = watcher.is_behind();
            lane = lane.filter(|_| behind);
            tokio::select! {
                biased;
                () = sender.closed() => return Err(Ended),
                () = tokio::time::sleep_until(plan.ends) => {
                    return if plan.bookmarks { self.mark(watcher.revision(), false).await } else { Ok(()) };
                }
                _ = bookmarks.tick(), if plan.bookmarks => self.mark(watcher.revision(), false).await?,
                () = std::future::ready(()), if behind => self.look_back(&mut watcher, &mut lane, plan.ends).await?,
                group = watcher.next_at_hand(), if !behind => self.groups(&mut watcher, group.transpose()).await?,
            }
        }
    }

    /// Tells a page of what is no longer in memory: in a lane of the client's, which is kept until there is no more of that, and at the
    /// client's turn.
    async fn look_back(&mut self, watcher: &mut Watcher, lane: &mut Option<Lane>, ends: Instant) -> Result<(), Ended> {
        let read = async {
            if lane.is_none() {
                *lane = Some(self.api.look_backs().enter(&self.client).await);
            }
            let _turn = self.api.turns().take(&self.client).await;
            watcher.read_on().await
        };
        let read = tokio::select! {
            biased;
            () = self.sender.closed() => return Err(Ended),
            () = tokio::time::sleep_until(ends) => return Ok(()),
            read = read => read,
        };
        match read {
            Ok(()) => {
                self.api.count().history_pages.add();
                let first = watcher.try_next();
                self.groups(watcher, first.transpose()).await
            }
            Err(WatchError::Unread { away: true, reason, .. }) => {
                // What it is to be told next stays where it is until the database is back.
                tracing::debug!(%reason, "a watch waits for the record's database");
                tokio::time::sleep(Duration::from_secs(PAUSE_SECONDS)).await;
                Ok(())
            }
            Err(error) => self.error(error).await,
        }
    }

    /// Tells what there is, and where it ends.
    async fn initial(&mut self, initial: Initial, end: bool) -> Result<(), Ended> {
        let limit = Duration::from_millis(self.api.limits().list_milliseconds_max);
        let Some(turn) = super::parts::turn(&self.api, &self.client, Instant::now() + limit).await else {
            return self.refuse(&super::parts::busy()).await;
        };
        let selected = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let Initial { snapshot, route, mut options, matcher } = initial;
            options.limit = 0;
            let page = super::read::page(&snapshot, &route, &options, matcher.as_deref(), None);
            (snapshot.revision(), page.objects)
        });
        let Ok((revision, objects)) = selected.await else {
            return self.refuse(&ApiError::internal("what there is could not be selected")).await;
        };
        // Each chunk waits for the client, so that nobody else waits for long.
        for stored in &objects {
            self.object("ADDED", stored, false).await?;
        }
        if end {
            self.bookmark(revision, true);
        }
        self.flush().await
    }

    /// Tells a group and those that are there already behind it.
    async fn groups(&mut self, watcher: &mut Watcher, first: Option<Result<WatchGroup, WatchError>>) -> Result<(), Ended> {
        let mut next = first;
        loop {
            match next {
                None => return self.flush().await,
                Some(Ok(WatchGroup { events, shared, .. })) => {
                    for WatchEvent { kind, object, .. } in events {
                        let kind = match kind {
                            EventKind::Added => "ADDED",
                            EventKind::Modified => "MODIFIED",
                            EventKind::Deleted => "DELETED",
                        };
                        self.object(kind, &object, shared).await?;
                    }
                }
                Some(Err(error)) => return self.error(error).await,
            }
            next = watcher.try_next().transpose();
        }
    }

    async fn error(&mut self, error: WatchError) -> Result<(), Ended> {
        match error {
            WatchError::Gone { revision, oldest } => {
                self.api.count().watches_behind.add();
                self.refuse(&ApiError::expired(format!("too old resource version: {revision} ({oldest})"))).await
            }
            WatchError::Unread { .. } => self.refuse(&ApiError::unavailable(error.to_string())).await,
            WatchError::Closed => {
                self.flush().await?;
                Err(Ended)
            }
        }
    }

    /// Ends the watch, and says why.
    pub(super) async fn refuse(&mut self, error: &ApiError) -> Result<(), Ended> {
        self.line(lines::line("ERROR", error.to_status().to_string().as_bytes()).into());
        self.flush().await?;
        Err(Ended)
    }

    /// Tells of an object; what happens just now, in a line that is shared with other watches.
    async fn object(&mut self, kind: &'static str, stored: &Arc<Stored>, shared: bool) -> Result<(), Ended> {
        self.renderer.now = self.api.now();
        let first = std::mem::take(&mut self.first);
        let line = if shared && !(first && self.renderer.form == Form::Table) {
            self.api.lines().line(&self.renderer, kind, stored)
        } else {
            self.renderer.event_object(stored, first).map(|object| lines::line(kind, &object).into())
        };
        match line {
            Ok(line) => self.line(line),
            Err(error) => return self.refuse(&error).await,
        }
        self.flush_when_full().await
    }

    pub(super) async fn flush_when_full(&mut self) -> Result<(), Ended> {
        if self.chunk.len() >= CHUNK_BYTES { self.flush().await } else { Ok(()) }
    }

    /// When bookmarks are due.
    pub(super) fn bookmarks(&self) -> Interval {
        let period = Duration::from_millis(self.api.limits().bookmark_milliseconds);
        let mut due = tokio::time::interval_at(Instant::now() + period, period);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        due
    }

    /// Tells of signed documents that are new.
    pub(super) async fn added<'v>(&mut self, objects: impl Iterator<Item = &'v Value>) -> Result<(), Ended> {
        self.renderer.now = self.api.now();
        for object in objects {
            let first = std::mem::take(&mut self.first);
            match self.renderer.event_value(object, first) {
                Ok(event) => self.line(lines::line("ADDED", &event).into()),
                Err(error) => return self.refuse(&error).await,
            }
            self.flush_when_full().await?;
        }
        Ok(())
    }

    /// Sends a bookmark, after everything that was told before it.
    pub(super) async fn mark(&mut self, revision: Revision, end_of_initial_events: bool) -> Result<(), Ended> {
        self.bookmark(revision, end_of_initial_events);
        self.flush().await
    }

    pub(super) fn bookmark(&mut self, revision: Revision, end_of_initial_events: bool) {
        let object = self.renderer.bookmark(revision, end_of_initial_events, self.first);
        self.first = false;
        self.line(lines::line("BOOKMARK", &object).into());
    }

    pub(super) fn line(&mut self, line: Bytes) {
        if self.chunk.is_empty() && self.only.is_none() {
            self.only = Some(line);
            return;
        }
        if let Some(only) = self.only.take() {
            self.chunk.extend_from_slice(&only);
        }
        self.chunk.extend_from_slice(&line);
    }

    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        let chunk = match self.only.take() {
            Some(only) => only,
            None if self.chunk.is_empty() => return Ok(()),
            None => Bytes::from(std::mem::take(&mut self.chunk)),
        };
        self.sender.send(chunk).await.map_err(|_| Ended)
    }
}
