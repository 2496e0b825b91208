//! The outbox's items on their way: in order, within a window, from the lowest not yet taken after each reconnect.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{OutboxItem, ToCoordinator};

/// Items that may be under way at once: bounds what a reconnect repeats.
pub const EVENTS_IN_FLIGHT_MAX: usize = 256;

/// The largest body of one item; a larger one would fill a frame and hold up beats. It is reported, and goes with an empty body in its place.
pub const EVENT_BYTES_MAX: usize = 512 << 10;

/// Items' bytes in one message.
const EVENTS_MESSAGE_BYTES: usize = 128 << 10;

#[derive(Debug, Default)]
pub(super) struct EventStream {
    open: bool,
    /// The outbox may hold more than was read.
    more: bool,
    reading: bool,
    taken: u64,
    read: u64,
    unsent: VecDeque<OutboxItem>,
    in_flight: VecDeque<u64>,
}

impl EventStream {
    pub(super) fn open(&mut self) {
        self.close();
        self.open = true;
    }

    pub(super) fn close(&mut self) {
        self.open = false;
        self.more = true;
        self.reading = false;
        self.read = self.taken;
        self.unsent.clear();
        self.in_flight.clear();
    }

    pub(super) fn changed(&mut self) {
        self.more = true;
    }

    /// What to read from the outbox now.
    pub(super) fn wants(&mut self) -> Option<(u64, usize)> {
        let limit = EVENTS_IN_FLIGHT_MAX.saturating_sub(self.unsent.len() + self.in_flight.len());
        // Reading one by one as answers trickle in would cost a query each.
        if !self.open || !self.more || self.reading || limit < EVENTS_IN_FLIGHT_MAX / 2 {
            return None;
        }
        self.reading = true;
        self.more = false;
        Some((self.read, limit))
    }

    /// Takes what was read; gives back the sequence and length of items too large to send whole.
    pub(super) fn items(&mut self, items: Vec<OutboxItem>, limit: usize) -> Vec<(u64, usize)> {
        if !self.open || !std::mem::take(&mut self.reading) {
            return Vec::new();
        }
        self.more |= items.len() >= limit;
        let mut oversized = Vec::new();
        for item in items {
            if item.sequence <= self.read {
                continue;
            }
            self.read = item.sequence;
            let mut item = item;
            if item.body.len() > EVENT_BYTES_MAX {
                oversized.push((item.sequence, item.body.len()));
                item.body = Bytes::new();
            }
            self.unsent.push_back(item);
        }
        oversized
    }

    pub(super) fn next_to_send(&mut self) -> Option<ToCoordinator> {
        let mut items = Vec::new();
        let mut bytes = 0;
        while let Some(item) = self.unsent.front() {
            bytes += item.body.len();
            if bytes > EVENTS_MESSAGE_BYTES && !items.is_empty() {
                break;
            }
            self.in_flight.push_back(item.sequence);
            items.extend(self.unsent.pop_front());
        }
        (!items.is_empty()).then_some(ToCoordinator::Events { items })
    }

    /// The coordinator has everything up to `sequence`; gives what may be forgotten, never more than was sent.
    pub(super) fn taken(&mut self, sequence: u64) -> Option<u64> {
        let mut last = None;
        while let Some(first) = self.in_flight.front().copied().filter(|first| *first <= sequence) {
            last = Some(first);
            self.in_flight.pop_front();
        }
        if let Some(last) = last {
            self.taken = last;
        }
        last
    }
}
