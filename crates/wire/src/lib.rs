//! How agents and coordinators talk.
//!
//! **Goals.** One session between a machine and its coordinator that keeps itself up: state goes down by revision and incarnation, the
//! latest status comes up, events come up at least once and in order. The peer's identity is the key that its connection proved, never
//! a field of a message. Everything a peer can send is bounded, and whoever goes past a bound is refused and counted. A slow machine
//! slows nobody.
//!
//! **Non-goals.** It decides nothing about machines and knows no object kind: bodies are opaque bytes. It verifies no statement: the
//! machine does, with `stead-trust`, so that nothing here has to be trusted. It keeps nothing on disk: the outbox is the agent's.
//!
//! **Never.** No public relay, no DNS lookup of peers, no published address: a ticket names all there is. Nothing listens on a machine.
//!
//! **How the pieces interact.**
//!
//! - [`frame`]: `u32` length and postcard; [`ToCoordinator`] and [`ToAgent`] are the messages, [`SESSION_ALPN`] their version.
//! - [`AgentSession`] and [`Hub`] are the protocol as state machines without clock, network or randomness: time ([`Now`]), messages and
//!   seeds in; messages, outputs and events out.
//! - [`Transport`] is what they need of a network: [`MemoryNetwork`] for tests and simulation (it runs under tokio's paused clock), and
//!   [`IrohTransport`] for real.
//! - [`AgentConnection`] and [`Coordinator`] drive the machines over a transport; [`Relay`] is the coordinator's own relay; a [`Ticket`]
//!   tells a machine where to knock.
//!
//! A coordinator and one machine, in memory:
//!
//! ```
//! use std::sync::Arc;
//! use stead_wire::*;
//!
//! struct Everyone;
//! impl Admission for Everyone {
//!     fn is_member(&self, _: &PeerKey) -> bool { true }
//!     async fn hello(&self, _: PeerKey, _: Hello) -> Verdict { Verdict::Welcome { incarnation: 1 } }
//!     async fn join(&self, _: PeerKey, _: Hello, _: Join) -> Verdict { Verdict::Unknown }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let network = MemoryNetwork::new();
//! let coordinator_key = PeerKey([1; 32]);
//! let clock: UnixClock = Arc::new(|| 0);
//! let transport = Arc::new(network.endpoint(coordinator_key));
//! let (coordinator, mut heard) = Coordinator::spawn(transport, CoordinatorConfig::new([7; 32], clock.clone()), Everyone);
//!
//! let config = AgentConfig {
//!     hello: Hello::new([7; 32], [9; 16]),
//!     join: None,
//!     coordinators: vec![PeerAddress { key: coordinator_key, addresses: vec![], relay: None }],
//!     seed: 1,
//!     unix_clock: clock,
//! };
//! let machine = Arc::new(network.endpoint(PeerKey([2; 32])));
//! let (agent, mut told) = AgentConnection::spawn(config, machine, Arc::new(MemoryOutbox::default()));
//! assert!(matches!(told.recv().await, Some(AgentEvent::Connected { .. })));
//! assert!(matches!(heard.recv().await, Some(HubEvent::Joined { .. })));
//! # agent.close().await.unwrap();
//! # coordinator.stop();
//! # }
//! ```

mod agent;
mod backoff;
mod clock;
mod coordinator;
mod counters;
pub mod frame;
mod hub;
mod key;
mod message;
mod paths;
mod relay;
mod stream;
mod ticket;
mod transport;

pub use agent::{
    AgentConfig, AgentConnection, AgentEvent, AgentHandle, AgentOutput, AgentSession, AgentStopped, CONNECT_MILLISECONDS_MAX,
    EVENT_BYTES_MAX, EVENTS_IN_FLIGHT_MAX, GREETING_MILLISECONDS_MAX, MemoryOutbox, Outbox, OutboxError,
    PENDING_MILLISECONDS_MAX, Position, PushError, REDIAL_MILLISECONDS_MAX, REDIAL_PAUSE_MILLISECONDS, SILENT_BEATS_MAX,
    STATUS_PAUSE_MILLISECONDS, STATUS_PAUSE_URGENT_MILLISECONDS,
};
pub use backoff::{BACKOFF_FIRST_MILLISECONDS, BACKOFF_MILLISECONDS_MAX, BACKOFF_MILLISECONDS_MIN, REFUSED_MILLISECONDS_MAX};
pub use clock::{Now, UnixClock};
pub use coordinator::{
    ADMISSIONS_AT_ONCE_MAX, Admission, Coordinator, CoordinatorConfig, CoordinatorHandle, EVENTS_PER_INPUT_MAX,
    HANDSHAKE_SECONDS_MAX, HANDSHAKES_AT_ONCE_MAX, HUB_EVENTS_WAITING_MAX, PlanError,
};
pub use counters::{Counters, Refusal};
pub use frame::{FRAME_BYTES_MAX_DOWN, FRAME_BYTES_MAX_UP, FrameError};
pub use hub::{
    BEAT_SECONDS_DEFAULT, DECISION_MILLISECONDS_MAX, Effect, HELLO_MILLISECONDS_MAX, HUB_SILENT_BEATS_MAX, Hub, HubConfig,
    HubEvent, PLANS_WAITING_MAX, PROBE_MILLISECONDS_MAX, SESSIONS_MAX, SESSIONS_PER_KEY_MAX, STATE_PART_BYTES, SendStateError,
    SessionId, UNKNOWN_MILLISECONDS_MAX, UNKNOWN_SESSIONS_MAX, Verdict,
};
pub use key::{PEER_KEY_BYTES, PeerKey, PeerKeyError};
pub use message::{
    HELD_MAX, Held, Hello, Join, LINEAGE_MAX, OutboxItem, Presenter, ProcessNonce, SESSION_ALPN, State, Step as LineageStep,
    ToAgent, ToCoordinator,
};
pub use paths::{ANSWER_MILLISECONDS, NoPaths, PATHS_REMEMBERED_MAX, PathLog, PathSeen, Paths, SUSPECT_MILLISECONDS};
pub use relay::{
    KeepRoll, RELAY_CONNECTIONS_MAX, RELAY_CONNECTIONS_PER_KEY_MAX, RELAY_ESTABLISH_MILLISECONDS_MAX, RELAY_ESTABLISHING_MAX,
    RELAY_ESTABLISHING_PER_ADDRESS_MAX, RELAY_HEAD_BYTES_MAX, RELAY_PATH, RELAY_ROLL_HEADER, RELAY_ROLL_PATH, RELAY_ROOTS_PATH,
    ROLL_MEMBERS_MAX, Relay, RelayAccess, RelayCounters, RelayError, RelayLimits, RelayRefusal, RelayStanding, RollKeeper,
    TakeError, relay_roll_header, roll_members,
};
pub use stream::{FrameReceiver, FrameSender, Step, StreamError};
pub use ticket::{
    TICKET_ADDRESSES_MAX, TICKET_CHARACTERS_MAX, TICKET_COORDINATORS_MAX, TICKET_PREFIX, Ticket, TicketError, relay_token,
    relay_token_mark,
};
pub use transport::{
    BindError, Connection, Incoming, IrohConfig, IrohConnection, IrohIncoming, IrohTransport, LocalLookup, MemoryConnection,
    MemoryNetwork, MemoryTransport, PeerAddress, RelayAddress, RelayReached, Transport, TransportError,
};
