//! What waits to be sent to one machine. Everything but a state is one slot or a short queue; a state that cannot follow is asked for anew.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use crate::{FRAME_BYTES_MAX_DOWN, Now, PeerAddress, PeerKey, State, ToAgent};

/// Plan requests that may wait for one machine.
pub const PLANS_WAITING_MAX: usize = 16;

/// Roots' and bundles' bytes in one part of a state: on a slow link a beat's answer never waits long behind one.
pub const STATE_PART_BYTES: usize = 256 << 10;

/// One root or bundle above this fits no frame.
const BUNDLE_BYTES_MAX: usize = FRAME_BYTES_MAX_DOWN - (1 << 10);

/// Why a state cannot be sent.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SendStateError {
    /// The machine has no session.
    #[error("machine {peer} is not connected; it gets its state when it comes")]
    NotConnected {
        /// Which.
        peer: PeerKey,
    },
    /// The state builds on what this machine was not sent, or one is still on its way. `NeedsState` follows when there is room.
    #[error(
        "this state cannot follow revision {revision} of incarnation {incarnation}, which the machine was last sent; a fresh one will be asked for"
    )]
    Behind {
        /// The incarnation it was last sent.
        incarnation: u64,
        /// The revision it was last sent completely.
        revision: u64,
    },
    /// One bundle fits no frame.
    #[error("a bundle of {bytes} bytes is over the limit of {BUNDLE_BYTES_MAX} bytes; keep large contents out of objects")]
    BundleOversized {
        /// Its length.
        bytes: usize,
    },
}

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    answers: VecDeque<ToAgent>,
    ping: Option<u64>,
    beat_answer: Option<u64>,
    taken: Option<u64>,
    plans: VecDeque<(u64, Bytes)>,
    coordinators: Option<Arc<[PeerAddress]>>,
    state: Option<Box<Rest>>,
    needs_state: bool,
    sent_incarnation: u64,
    sent_revision: u64,
}

/// The part of a state that was not handed over yet.
#[derive(Debug)]
struct Rest {
    state: State,
    roots: VecDeque<Bytes>,
    bundles: VecDeque<Bytes>,
}

impl Outgoing {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn answer(&mut self, message: ToAgent) {
        self.answers.push_back(message);
    }

    pub(super) fn ping(&mut self, nonce: u64) {
        self.clear();
        self.ping = Some(nonce);
    }

    pub(super) fn beat_answer(&mut self, sent_at_milliseconds: u64) {
        self.beat_answer = Some(sent_at_milliseconds);
    }

    /// Where the coordinators are; the latest wins.
    pub(super) fn coordinators(&mut self, coordinators: Arc<[PeerAddress]>) {
        self.coordinators = Some(coordinators);
    }

    pub(super) fn taken(&mut self, sequence: u64) {
        self.taken = self.taken.max(Some(sequence));
    }

    pub(super) fn plan(&mut self, id: u64, body: Bytes) -> bool {
        let fits = self.plans.len() < PLANS_WAITING_MAX && body.len() <= BUNDLE_BYTES_MAX;
        if fits {
            self.plans.push_back((id, body));
        }
        fits
    }

    pub(super) fn builds_on(&mut self, incarnation: u64, revision: u64) {
        self.sent_incarnation = incarnation;
        self.sent_revision = revision;
    }

    pub(super) fn state(&mut self, state: State) -> Result<(), SendStateError> {
        if let Some(bytes) = state.roots.iter().chain(&state.bundles).map(Bytes::len).find(|bytes| *bytes > BUNDLE_BYTES_MAX) {
            return Err(SendStateError::BundleOversized { bytes });
        }
        let follows = state.full || (state.incarnation == self.sent_incarnation && state.since <= self.sent_revision);
        let behind = SendStateError::Behind { incarnation: self.sent_incarnation, revision: self.sent_revision };
        // One that is on its way is finished first: restarting it for each change would never end on a slow link.
        let busy = self.state.as_ref().is_some_and(|rest| rest.state.incarnation == state.incarnation);
        if busy || !follows {
            self.needs_state = true;
            return Err(behind);
        }
        self.needs_state = false;
        let State { incarnation, since, revision, full, complete: _, roots, bundles } = state;
        self.state = Some(Box::new(Rest {
            roots: roots.into(),
            bundles: bundles.into(),
            state: State { incarnation, since, revision, full, ..State::default() },
        }));
        Ok(())
    }

    pub(super) fn needs_state(&self) -> bool {
        self.needs_state && self.state.is_none()
    }

    pub(super) fn take_needs_state(&mut self) -> Option<(u64, u64)> {
        let needs = self.needs_state();
        self.needs_state &= !needs;
        needs.then_some((self.sent_incarnation, self.sent_revision))
    }

    pub(super) fn next_to_send(&mut self, now: Now) -> Option<ToAgent> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        if let Some(nonce) = self.ping.take() {
            return Some(ToAgent::Ping { nonce });
        }
        if let Some(coordinators) = self.coordinators.take() {
            return Some(ToAgent::Coordinators { coordinators: coordinators.to_vec() });
        }
        if let Some(sent_at_milliseconds) = self.beat_answer.take() {
            return Some(ToAgent::BeatAnswer { sent_at_milliseconds, time_milliseconds: now.unix_milliseconds });
        }
        if let Some(event_sequence) = self.taken.take() {
            return Some(ToAgent::Taken { event_sequence });
        }
        if let Some((id, body)) = self.plans.pop_front() {
            return Some(ToAgent::Plan { id, body });
        }
        self.next_part().map(ToAgent::State)
    }

    fn next_part(&mut self) -> Option<State> {
        let rest = self.state.as_mut()?;
        let mut part = rest.state.clone();
        let mut bytes = 0;
        fill(&mut part.roots, &mut rest.roots, &mut bytes);
        if rest.roots.is_empty() {
            fill(&mut part.bundles, &mut rest.bundles, &mut bytes);
        }
        part.complete = rest.roots.is_empty() && rest.bundles.is_empty();
        if part.complete {
            self.sent_incarnation = part.incarnation;
            self.sent_revision = part.revision;
            self.state = None;
        }
        Some(part)
    }
}

/// Moves what fits into a part; the first piece of a part always does.
fn fill(part: &mut Vec<Bytes>, rest: &mut VecDeque<Bytes>, bytes: &mut usize) {
    while let Some(first) = rest.front() {
        let next = *bytes + first.len();
        if *bytes > 0 && next > STATE_PART_BYTES {
            break;
        }
        *bytes = next;
        part.extend(rest.pop_front());
    }
}
