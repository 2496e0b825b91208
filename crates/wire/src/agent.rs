//! The agent's end: what it is told, what it gives, and the connection that keeps itself up.

mod driver;
mod outbox;
mod session;

use bytes::Bytes;
use stead_model::MachinePath;

pub use self::driver::{AgentConfig, AgentConnection, AgentHandle, AgentStopped, PushError};
pub use self::outbox::{MemoryOutbox, Outbox, OutboxError};
pub use self::session::{
    AgentOutput, AgentSession, CONNECT_MILLISECONDS_MAX, EVENT_BYTES_MAX, EVENTS_IN_FLIGHT_MAX, GREETING_MILLISECONDS_MAX,
    PENDING_MILLISECONDS_MAX, Position, REDIAL_MILLISECONDS_MAX, REDIAL_PAUSE_MILLISECONDS, SILENT_BEATS_MAX,
    STATUS_PAUSE_MILLISECONDS, STATUS_PAUSE_URGENT_MILLISECONDS,
};
use crate::{PeerAddress, State};

/// What happens to an agent's connection.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentEvent {
    /// A session is open. Push acknowledgements that may not have arrived again.
    Connected {
        /// Index into the list of coordinators.
        coordinator: usize,
        /// The incarnation of the record there.
        incarnation: u64,
    },
    /// Where the coordinators are, as the one that was reached says. Call [`AgentHandle::set_coordinators`] with those to try from now on.
    Coordinators {
        /// At most [`crate::TICKET_COORDINATORS_MAX`], each with at most [`crate::TICKET_ADDRESSES_MAX`] addresses.
        coordinators: Vec<PeerAddress>,
    },
    /// The session is over, or could not be opened.
    Disconnected {
        /// In words.
        reason: String,
        /// How long until the next try.
        next_try_milliseconds: u64,
    },
    /// Another way to the coordinator is used than before.
    Path(MachinePath),
    /// We asked to join; somebody has to approve it.
    Pending {
        /// In words.
        reason: String,
    },
    /// The coordinator does not want us.
    Refused {
        /// In words.
        reason: String,
    },
    /// What to hold. Call [`AgentHandle::set_position`] when it is on disk.
    State(State),
    /// Answer with [`AgentHandle::answer_plan`].
    Plan {
        /// The request's number.
        id: u64,
        /// The wish.
        body: Bytes,
    },
    /// The coordinator's clock minus ours.
    ClockOffset {
        /// Positive where ours is behind.
        offset_milliseconds: i64,
        /// The offset is no more exact than half of this.
        round_trip_milliseconds: u64,
    },
    /// An outbox item above [`EVENT_BYTES_MAX`] went with an empty body.
    OutboxItemOversized {
        /// Its sequence.
        sequence: u64,
        /// Its length.
        bytes: usize,
    },
}
