//! What the memory on disk could not take: kept, told of, and tried again until there is room.

use std::collections::VecDeque;

use jiff::Timestamp;
use stead_model::MachineEvent;
use stead_wire::{AgentConnection, AgentEvent, State, Transport};
use tokio::sync::mpsc;

use super::{Agent, AgentError, News, intake};
use crate::memory::{Keeper, MemoryStoreError};
use crate::outbox::{HeldBack, Pushed};

/// How long until the disk is tried again, in seconds: soon enough for whoever made room and waits.
pub(super) const RETRY_SECONDS: u64 = 2;
/// Events that wait in memory for the disk at most; more are only counted, and told of in one.
const EVENTS_WAITING_MAX: usize = 256;

/// What waits for the disk.
#[derive(Debug, Default)]
pub(super) struct Arrears {
    /// The state that could not be written. It was neither acknowledged nor carried out.
    state: Option<State>,
    /// Whether more came after it, which the coordinator has to send again.
    missed: bool,
    events: VecDeque<Owed>,
    /// Events that found no room even in memory.
    held_back: Option<HeldBack>,
}

/// An event that the disk has not taken yet.
#[derive(Debug)]
struct Owed {
    body: Vec<u8>,
    reason: String,
    time: Timestamp,
}

impl<K: Keeper, T: Transport> Agent<K, T> {
    pub(super) fn is_in_arrears(&self) -> bool {
        self.concerns.memory.is_some()
            || self.concerns.outbox.is_some()
            || !self.arrears.events.is_empty()
            || self.concerns.unswept
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
    pub(super) async fn keep_event(&mut self, event: &MachineEvent) {
        let Ok(body) = serde_json::to_vec(event) else { return };
        if self.arrears.events.len() < EVENTS_WAITING_MAX {
            self.arrears.events.push_back(Owed { body, reason: event.reason.clone(), time: event.time });
        } else {
            let held = self.arrears.held_back.take();
            self.arrears.held_back = Some(HeldBack::count(held, &event.reason, event.time));
            tracing::error!("too many events wait for the disk; this one is only counted");
        }
        self.keep_events().await;
    }

    async fn keep_events(&mut self) {
        loop {
            while let Some(Owed { body, reason, time }) = self.arrears.events.front() {
                match self.store.push_event(body, reason, *time).await {
                    Ok(Pushed::Kept) => {}
                    Ok(Pushed::Full) => self.outbox_full().await,
                    Err(error) => {
                        tracing::error!(%error, "an event could not be kept; it is tried again");
                        return;
                    }
                }
                self.arrears.events.pop_front();
            }
            let Some(held) = self.arrears.held_back.take() else { break };
            let event = held_back_event(&held, self.world.now());
            let Ok(body) = serde_json::to_vec(&event) else { break };
            self.arrears.events.push_back(Owed { body, reason: event.reason, time: event.time });
        }
        // A connection that has stopped is noticed by the loop.
        let _ = self.connection.outbox_changed().await;
    }

    /// Only events are left in the outbox, and it is full: the machine says so.
    async fn outbox_full(&mut self) {
        match self.store.held_back().await {
            Ok(held) => self.concerns.outbox = held.map(|held| held.sentence()),
            Err(error) => tracing::warn!(%error, "what found no room in the outbox cannot be read"),
        }
    }

    /// Looks at the start whether the outbox was full when the last process ended.
    pub(super) async fn look_for_held_back(&mut self) -> Result<(), AgentError> {
        self.concerns.outbox = self.store.held_back().await?.map(|held| held.sentence());
        Ok(())
    }

    /// Tells of the events that found no room in the outbox, where there is room again.
    async fn tell_held_back(&mut self) -> Result<(), AgentError> {
        let told = async {
            let Some(held) = self.store.held_back().await? else { return Ok(true) };
            let Ok(body) = serde_json::to_vec(&held_back_event(&held, self.world.now())) else { return Ok(true) };
            self.store.tell_held_back(&body).await
        };
        let told: Result<bool, MemoryStoreError> = told.await;
        match told {
            Ok(true) => {
                self.concerns.outbox = None;
                // A connection that has stopped is noticed by the loop.
                let _ = self.connection.outbox_changed().await;
                self.tell_status().await
            }
            Ok(false) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "what found no room in the outbox could not be told of; it is tried again");
                Ok(())
            }
        }
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
        if self.concerns.outbox.is_some() {
            self.tell_held_back().await?;
        }
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

/// One event for many that were only counted.
fn held_back_event(held: &HeldBack, now: Timestamp) -> MachineEvent {
    MachineEvent { time: now, warning: true, reason: "EventsHeldBack".to_owned(), message: held.sentence(), object: None }
}
