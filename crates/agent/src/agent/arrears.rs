//! What the memory on disk could not take: kept, told of, and tried again until there is room.

use std::collections::VecDeque;

use stead_wire::{AgentConnection, AgentEvent, State, Transport};
use tokio::sync::mpsc;

use super::{Agent, AgentError, News, intake};
use crate::memory::{Keeper, MemoryStoreError};

/// How long until the disk is tried again, in seconds: soon enough for whoever made room and waits.
pub(super) const RETRY_SECONDS: u64 = 2;
/// Events that wait in memory for the disk at most; past it the oldest goes.
const EVENTS_WAITING_MAX: usize = 256;

/// What waits for the disk.
#[derive(Debug, Default)]
pub(super) struct Arrears {
    /// The state that could not be written. It was neither acknowledged nor carried out.
    state: Option<State>,
    /// Whether more came after it, which the coordinator has to send again.
    missed: bool,
    events: VecDeque<Vec<u8>>,
}

impl<K: Keeper, T: Transport> Agent<K, T> {
    pub(super) fn is_in_arrears(&self) -> bool {
        self.concerns.memory.is_some() || !self.arrears.events.is_empty() || self.concerns.unswept
    }

    /// Whether a state has to wait its turn behind one that could not be written; what is not kept is asked for again.
    pub(super) fn must_wait(&mut self) -> bool {
        let waits = self.arrears.state.is_some();
        self.arrears.missed |= waits;
        waits
    }

    /// The disk did not take a state.
    pub(super) async fn owe_state(&mut self, state: State, error: &MemoryStoreError) {
        self.arrears.state = Some(state);
        self.memory_failed(error).await;
    }

    /// The machine says that it cannot write its memory, and goes on with what it has.
    pub(super) async fn memory_failed(&mut self, error: &MemoryStoreError) {
        let message = format!("{error}; nothing new is taken or acknowledged before it can be written: make room");
        if self.concerns.memory.replace(message.clone()).is_none() {
            self.tell_event(true, "MemoryFails", message, None).await;
        }
    }

    /// Puts an event into the outbox, or into memory where the disk does not take it.
    pub(super) async fn keep_event(&mut self, body: Vec<u8>) {
        self.arrears.events.push_back(body);
        if self.arrears.events.len() > EVENTS_WAITING_MAX {
            self.arrears.events.pop_front();
            tracing::error!("too many events wait for the disk; the oldest is gone");
        }
        self.keep_events().await;
    }

    async fn keep_events(&mut self) {
        while let Some(body) = self.arrears.events.front() {
            if let Err(error) = self.store.push_event(body).await {
                tracing::error!(%error, "an event could not be kept; it is tried again");
                return;
            }
            self.arrears.events.pop_front();
        }
        // A connection that has stopped is noticed by the loop.
        let _ = self.connection.outbox_changed().await;
    }

    /// Tries again what the disk did not take. Says whether the coordinator has to be asked for more.
    pub(super) async fn catch_up(&mut self) -> Result<bool, AgentError> {
        if let Err(error) = self.store.make_room().await {
            tracing::warn!(%error, "the disk has no room yet");
        }
        if self.concerns.memory.is_some() {
            let standing = Some(self.standing);
            if self.store.write(&News { standing, ..News::default() }).await.is_err() {
                return Ok(false);
            }
            let told = self.concerns.memory.take();
            if let Some(state) = self.arrears.state.take() {
                self.take(state).await?;
            }
            if self.concerns.memory.is_some() {
                // There is room for little: still the same trouble, and told of.
                self.concerns.memory = told;
                return Ok(false);
            }
            self.tell_event(false, "MemoryWorks", "the machine's memory can be written again".to_owned(), None).await;
            self.report_changed().await?;
        }
        self.keep_events().await;
        if self.concerns.unswept {
            self.rewish().await?;
        }
        Ok(std::mem::take(&mut self.arrears.missed))
    }

    /// Starts a session anew, so that the coordinator sends what was missed.
    pub(super) async fn reconnect(&mut self) -> mpsc::Receiver<AgentEvent> {
        // It may be gone already; then there is nothing to close.
        let _ = self.connection.close().await;
        intake::say_position(&mut self.config.hello, intake::position(self.memory.as_ref(), self.standing));
        let (connection, events) =
            AgentConnection::spawn(self.config.clone(), std::sync::Arc::clone(&self.transport), self.store.clone());
        self.connection = connection;
        events
    }
}
