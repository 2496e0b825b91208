//! Large lists: made part by part, each at its client's turn, beside those who serve the others.
//!
//! A client that lists everything again and again holds up nobody but itself; and of what a slow one has yet to take, only some parts
//! wait in memory.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use stead_store::Stored;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::read::Listing;
use crate::api::{Api, Call};
use crate::lanes::Lane;
use crate::limits::{PART_BYTES_MAX, PART_OBJECTS_MAX};
use crate::render::{LIST_END, Renderer};
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};
use crate::turns::Turn;

/// Parts that wait for a client to take them.
const QUEUE_PARTS_MAX: usize = 2;

/// Makes a list. What is small after all comes whole.
pub(super) async fn serve(call: Call, listing: Listing) -> ApiResult<Answer> {
    let ends = Instant::now() + Duration::from_millis(call.api.limits().list_milliseconds_max);
    let lane = call.api.lanes().enter(call.permit.client());
    let Ok(lane) = tokio::time::timeout_at(ends, lane).await else {
        call.api.count().lists_too_slow.add();
        return Err(busy());
    };
    let turn = turn(&call.api, call.permit.client(), ends).await.ok_or_else(busy)?;
    let renderer = listing.renderer;
    let selected = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let (page, meta) = listing.page(&call);
        let mut out = renderer.list_head(&meta);
        let first = page.objects.iter().take(PART_OBJECTS_MAX).map(AsRef::as_ref);
        renderer.items(&mut out, first, true, PART_BYTES_MAX).map(|made| (call, page.objects, out, made))
    });
    let (call, objects, mut out, made) =
        selected.await.map_err(|error| ApiError::internal(format!("the list failed: {error}")))??;
    call.api.count().list_parts.add();
    if made == objects.len() {
        out.extend_from_slice(LIST_END);
        return Ok(response::json_bytes(StatusCode::OK, out));
    }
    let (sender, parts) = mpsc::channel(QUEUE_PARTS_MAX);
    let client = call.permit.client().to_owned();
    let maker = Maker { api: call.api, renderer, client, objects: objects.into(), sender, ends, _lane: lane };
    tokio::spawn(maker.run(out, made));
    Ok(response::parts(parts, call.permit))
}

/// What a client is told whose turn did not come.
pub(super) fn busy() -> ApiError {
    let message = "other large lists are being made; try again later, or ask for pages of 500 (limit=500)";
    ApiError::too_many(message).past("LIST_SECONDS_MAX")
}

/// A turn of the client's, unless it takes too long to come.
pub(super) async fn turn(api: &Api, client: &str, ends: Instant) -> Option<Turn> {
    let turn = tokio::time::timeout_at(ends, api.turns().take(client)).await.ok();
    if turn.is_none() {
        api.count().lists_too_slow.add();
    }
    turn
}

/// Makes the parts after the first, for one client.
struct Maker {
    api: Api,
    renderer: Renderer,
    client: String,
    objects: Arc<[Arc<Stored>]>,
    sender: mpsc::Sender<io::Result<Bytes>>,
    ends: Instant,
    _lane: Lane,
}

/// Why a list ends before its end.
enum Cut {
    /// The client has gone.
    Gone,
    /// Something went wrong.
    Failed(String),
}

impl Maker {
    async fn run(self, first: Vec<u8>, made: usize) {
        let Err(Cut::Failed(why)) = self.make(first, made).await else { return };
        tracing::warn!(client = %self.client, resource = ?self.renderer.resource, %why, "a list was cut off");
        // Where the client has gone meanwhile, nobody is left to be told. One that takes nothing is let go by its connection.
        let _ = self.sender.send(Err(io::Error::other(why))).await;
    }

    async fn make(&self, first: Vec<u8>, made: usize) -> Result<(), Cut> {
        self.send(first).await?;
        let mut place = made;
        while place < self.objects.len() {
            let too_slow = || Cut::Failed("it took too long; ask for pages (limit=500)".to_owned());
            let turn = turn(&self.api, &self.client, self.ends).await.ok_or_else(too_slow)?;
            let (objects, renderer) = (Arc::clone(&self.objects), self.renderer);
            let made = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let mut out = Vec::new();
                let part = objects.iter().skip(place).take(PART_OBJECTS_MAX).map(AsRef::as_ref);
                renderer.items(&mut out, part, false, PART_BYTES_MAX).map(|made| (out, made))
            });
            let made = made.await.map_err(|error| Cut::Failed(error.to_string()))?;
            let (part, made) = made.map_err(|error| Cut::Failed(error.message))?;
            self.api.count().list_parts.add();
            self.send(part).await?;
            place = place.saturating_add(made);
        }
        self.send(LIST_END.to_vec()).await
    }

    async fn send(&self, part: Vec<u8>) -> Result<(), Cut> {
        match tokio::time::timeout_at(self.ends, self.sender.send(Ok(part.into()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Cut::Gone),
            Err(_) => {
                self.api.count().lists_too_slow.add();
                Err(Cut::Failed("the client took too long to take it; ask for pages (limit=500)".to_owned()))
            }
        }
    }
}
