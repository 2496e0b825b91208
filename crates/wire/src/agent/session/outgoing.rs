//! What waits to be sent to the coordinator, and in which order it goes.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{Hello, Join, ToCoordinator, message::HELD_MAX};

/// At most one status each so often: a burst of changes on a machine is one message.
pub const STATUS_PAUSE_MILLISECONDS: u64 = 100;

/// The pause where somebody waits for what the status says: short beside a round trip, and still a bound.
pub const STATUS_PAUSE_URGENT_MILLISECONDS: u64 = 10;

/// Acknowledgements that may wait: as many as one full state of a large machine brings.
const ACKS_WAITING_MAX: usize = 65_536;

/// Acknowledgements' bytes in one message; well under a frame, so that a beat is never long behind one.
const ACKS_MESSAGE_BYTES: usize = 128 << 10;

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    hello_due: bool,
    join_due: Option<Join>,
    joined: bool,
    pong: Option<u64>,
    plans: VecDeque<(u64, Bytes)>,
    acks: VecDeque<Bytes>,
    status: Option<Bytes>,
    status_dirty: bool,
    status_urgent: bool,
    status_sent_at: Option<u64>,
    steady: bool,
}

impl Outgoing {
    pub(super) fn open(&mut self) {
        self.hello_due = true;
        self.joined = false;
    }

    pub(super) fn close(&mut self) {
        self.hello_due = false;
        self.join_due = None;
        self.pong = None;
        self.plans.clear();
        self.steady = false;
    }

    pub(super) fn welcome(&mut self) {
        self.steady = true;
        self.status_dirty = self.status.is_some();
        self.status_sent_at = None;
    }

    pub(super) fn has_joined(&self) -> bool {
        self.joined
    }

    pub(super) fn join(&mut self, join: Join) {
        self.joined = true;
        self.join_due = Some(join);
    }

    pub(super) fn pong(&mut self, nonce: u64) {
        self.pong = Some(nonce);
    }

    pub(super) fn set_status(&mut self, body: Bytes, urgent: bool) {
        self.status = Some(body);
        self.status_dirty = true;
        self.status_urgent |= urgent;
    }

    fn status_not_before(&self) -> u64 {
        let pause = if self.status_urgent { STATUS_PAUSE_URGENT_MILLISECONDS } else { STATUS_PAUSE_MILLISECONDS };
        self.status_sent_at.map_or(0, |at| at.saturating_add(pause))
    }

    pub(super) fn push_ack(&mut self, ack: Bytes) -> bool {
        let fits = self.acks.len() < ACKS_WAITING_MAX;
        if fits {
            self.acks.push_back(ack);
        }
        fits
    }

    pub(super) fn answer_plan(&mut self, id: u64, body: Bytes) {
        self.plans.push_back((id, body));
    }

    pub(super) fn status_due_at(&self) -> Option<u64> {
        (self.steady && self.status_dirty).then(|| self.status_not_before())
    }

    pub(super) fn next_greeting(&mut self, hello: &Hello) -> Option<ToCoordinator> {
        if std::mem::take(&mut self.hello_due) {
            let mut hello = hello.clone();
            if hello.held.len() > HELD_MAX {
                hello.held.clear();
            }
            return Some(ToCoordinator::Hello(hello));
        }
        self.join_due.take().map(ToCoordinator::Join)
    }

    pub(super) fn next_steady(&mut self, at: u64) -> Option<ToCoordinator> {
        if let Some(nonce) = self.pong.take() {
            return Some(ToCoordinator::Pong { nonce });
        }
        if let Some((id, body)) = self.plans.pop_front() {
            return Some(ToCoordinator::PlanAnswer { id, body });
        }
        if let Some(items) = self.next_acks() {
            return Some(ToCoordinator::Acks { items });
        }
        if self.status_dirty && at >= self.status_not_before() {
            (self.status_dirty, self.status_urgent) = (false, false);
            self.status_sent_at = Some(at);
            return self.status.clone().map(|body| ToCoordinator::Status { body });
        }
        None
    }

    fn next_acks(&mut self) -> Option<Vec<Bytes>> {
        let mut items = Vec::new();
        let mut bytes = 0;
        while let Some(ack) = self.acks.front() {
            bytes += ack.len();
            if bytes > ACKS_MESSAGE_BYTES && !items.is_empty() {
                break;
            }
            items.extend(self.acks.pop_front());
        }
        (!items.is_empty()).then_some(items)
    }
}
