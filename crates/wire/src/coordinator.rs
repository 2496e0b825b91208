//! The coordinator's end: a [`Hub`] over a transport, what it asks its owner, and what its owner may ask of it.

mod session;
mod shared;

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{session::run_session, shared::Shared};
use crate::{
    Connection, Counters, Hello, HubConfig, HubEvent, Incoming, Join, PeerAddress, PeerKey, Refusal, SendStateError, State,
    Transport, UnixClock, Verdict, hub::BEAT_SECONDS_DEFAULT,
};

/// Events that may wait for the coordinator; with more, sessions are no longer read.
pub const HUB_EVENTS_WAITING_MAX: usize = 4_096;

/// Events that one input to the hub causes at most: a duplicate and a join.
pub const EVENTS_PER_INPUT_MAX: usize = 2;

/// Handshakes at once: each costs about a millisecond of CPU, so this is a quarter of a second's worth.
pub const HANDSHAKES_AT_ONCE_MAX: usize = 256;

/// How long a handshake and the opening of the stream may take together.
pub const HANDSHAKE_SECONDS_MAX: u64 = 10;

/// Admissions decided at once: the others wait their turn, so that a restart with ten thousand machines is no storm on the store.
pub const ADMISSIONS_AT_ONCE_MAX: usize = 64;

/// How often limits are looked at.
const TICK_SECONDS: u64 = 1;

/// Who may have a session: the coordinator's owner answers.
pub trait Admission: Send + Sync + 'static {
    /// Whether this key is a member, as far as memory can tell. Called for every connection; members never wait for room behind strangers.
    fn is_member(&self, peer: &PeerKey) -> bool;

    /// The verdict on a `Hello`, which comes without the list of what the machine holds.
    fn hello(&self, peer: PeerKey, hello: Hello) -> impl Future<Output = Verdict> + Send;

    /// The verdict on a `Join`, which follows an [`Verdict::Unknown`].
    fn join(&self, peer: PeerKey, hello: Hello, join: Join) -> impl Future<Output = Verdict> + Send;
}

/// What a coordinator's end needs.
#[derive(Clone)]
pub struct CoordinatorConfig {
    /// The fleet id.
    pub fleet: [u8; 32],
    /// How often machines should beat; [`BEAT_SECONDS_DEFAULT`] unless there is a reason.
    pub beat_seconds: u32,
    /// The coordinator's clock.
    pub unix_clock: UnixClock,
    /// Where machines find the coordinators; they are told at the start of every session and when it changes, and keep it.
    pub coordinators: Vec<PeerAddress>,
}

impl CoordinatorConfig {
    /// The usual configuration for a fleet.
    pub fn new(fleet: [u8; 32], unix_clock: UnixClock) -> Self {
        Self { fleet, beat_seconds: BEAT_SECONDS_DEFAULT, unix_clock, coordinators: Vec::new() }
    }
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The machine cannot be asked now.
    #[error("machine {peer} is not connected, or has too many plan requests waiting; ask again")]
    Unavailable {
        /// Which.
        peer: PeerKey,
    },
    /// It did not answer in time.
    #[error("machine {peer} gave no plan within {milliseconds} ms")]
    Timeout {
        /// Which.
        peer: PeerKey,
        /// The limit.
        milliseconds: u128,
    },
    /// It left.
    #[error("machine {peer} left before it gave a plan")]
    Left {
        /// Which.
        peer: PeerKey,
    },
}

/// The coordinator's end of all sessions.
#[derive(Debug)]
pub struct Coordinator;

impl Coordinator {
    /// Starts accepting. Must be called within a tokio runtime.
    pub fn spawn<T: Transport>(
        transport: Arc<T>,
        config: CoordinatorConfig,
        admission: impl Admission,
    ) -> (CoordinatorHandle, mpsc::Receiver<HubEvent>) {
        let (events, receiver) = mpsc::channel(HUB_EVENTS_WAITING_MAX);
        let hub = HubConfig { fleet: config.fleet, beat_seconds: config.beat_seconds.max(1), coordinators: config.coordinators };
        let shared = Arc::new(Shared::new(hub, config.unix_clock, events));
        let stop = CancellationToken::new();
        let handle = CoordinatorHandle { shared: Arc::clone(&shared), stop: stop.clone() };
        tokio::spawn(tick(Arc::clone(&shared), stop.clone()));
        tokio::spawn(accept(transport, shared, Arc::new(admission), stop));
        (handle, receiver)
    }
}

async fn tick(shared: Arc<Shared>, stop: CancellationToken) {
    let mut ticks = interval(Duration::from_secs(TICK_SECONDS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => shared.tick(),
        }
    }
}

async fn accept<T: Transport, A: Admission>(transport: Arc<T>, shared: Arc<Shared>, admission: Arc<A>, stop: CancellationToken) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_AT_ONCE_MAX));
    let admissions = Arc::new(Semaphore::new(ADMISSIONS_AT_ONCE_MAX));
    loop {
        let incoming = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            incoming = transport.accept() => incoming,
        };
        let Some(incoming) = incoming else {
            return;
        };
        // Under load nobody gets a handshake for a made-up address.
        let incoming =
            if handshakes.available_permits() < HANDSHAKES_AT_ONCE_MAX / 2 { incoming.challenge() } else { Some(incoming) };
        let Some(incoming) = incoming else {
            continue;
        };
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            shared.count_refusal(Refusal::HandshakesBusy);
            incoming.refuse();
            continue;
        };
        let (shared, admission, admissions, stop) =
            (Arc::clone(&shared), Arc::clone(&admission), Arc::clone(&admissions), stop.clone());
        tokio::spawn(async move {
            let limit = Duration::from_secs(HANDSHAKE_SECONDS_MAX);
            let Ok(Ok(connection)) = timeout(limit, incoming.establish()).await else {
                return shared.count_refusal(Refusal::Handshake);
            };
            drop(permit);
            let member = admission.is_member(&connection.peer());
            match shared.connected(connection.peer(), member) {
                Ok(id) => run_session(connection, id, &shared, &*admission, &admissions, &stop).await,
                Err(refusal) => connection.close(&refusal.to_string()),
            }
        });
    }
}

/// Speaks to the machines that are connected.
#[derive(Debug, Clone)]
pub struct CoordinatorHandle {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl CoordinatorHandle {
    /// Sends a state. Where it cannot follow what the machine was sent, [`HubEvent::NeedsState`] asks for another.
    pub fn send_state(&self, peer: PeerKey, state: State) -> Result<(), SendStateError> {
        self.shared.input(|hub, _| hub.send_state(peer, state))
    }

    /// Where machines find the coordinators from now on.
    pub fn set_coordinators(&self, coordinators: Vec<PeerAddress>) {
        self.shared.input(|hub, _| hub.set_coordinators(coordinators));
    }

    /// The machine's events up to `sequence` are on disk.
    pub fn taken(&self, peer: PeerKey, sequence: u64) {
        self.shared.input(|hub, _| hub.taken(peer, sequence));
    }

    /// Asks a machine for a plan.
    pub async fn request_plan(&self, peer: PeerKey, body: Bytes, limit: Duration) -> Result<Bytes, PlanError> {
        let (answer, answered) = oneshot::channel();
        let id = self.shared.request_plan(peer, body, answer).ok_or(PlanError::Unavailable { peer })?;
        let result = timeout(limit, answered).await;
        self.shared.forget_plan(id);
        match result {
            Ok(Ok(plan)) => Ok(plan),
            Ok(Err(_)) => Err(PlanError::Left { peer }),
            Err(_) => Err(PlanError::Timeout { peer, milliseconds: limit.as_millis() }),
        }
    }

    /// Decides on a machine that waits outside: somebody has approved or refused it. Says how many sessions it had.
    pub fn decide(&self, peer: PeerKey, verdict: &Verdict) -> usize {
        self.shared.decide_peer(peer, verdict.clone())
    }

    /// Ends a machine's session and says why; it knocks again after a long pause. Says whether there was one.
    pub fn disconnect(&self, peer: PeerKey, reason: &str) -> bool {
        self.shared.input(|hub, _| hub.disconnect(peer, reason))
    }

    /// What was counted until now.
    pub fn counters(&self) -> Counters {
        self.shared.input(|hub, _| hub.counters())
    }

    /// Stops accepting and closes every session. The transport stays open.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}
