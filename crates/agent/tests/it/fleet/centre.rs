//! The lying coordinator: it lets everybody in, checks nothing, and serves whatever a test hands it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use stead_model::{Digest, MachineEvent, MachineStatus};
use stead_trust::SigningKey;
use stead_wire::{
    Admission, Coordinator, CoordinatorConfig, CoordinatorHandle, Hello, HubEvent, IrohConfig, IrohTransport, Join, PeerAddress,
    PeerKey, SendStateError, State, Transport as _, Verdict,
};
use tokio::sync::mpsc;

/// Long enough for a busy machine; nothing is judged by it.
const PATIENCE: Duration = Duration::from_secs(60);

struct Everybody;

impl Admission for Everybody {
    fn is_member(&self, _: &PeerKey) -> bool {
        true
    }

    async fn hello(&self, _: PeerKey, _: Hello) -> Verdict {
        Verdict::Welcome { incarnation: 1 }
    }

    async fn join(&self, _: PeerKey, _: Hello, _: Join) -> Verdict {
        Verdict::Welcome { incarnation: 1 }
    }
}

/// What the machine said until now.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) status: MachineStatus,
    pub(crate) events: Vec<MachineEvent>,
    pub(crate) hellos: Vec<Hello>,
    last_event: u64,
    wants_state: bool,
}

impl Seen {
    /// Whether an event with this reason and these words came.
    pub(crate) fn told(&self, reason: &str, words: &str) -> bool {
        self.events.iter().any(|event| event.reason == reason && event.message.contains(words))
    }
}

pub(crate) struct Centre {
    pub(crate) seen: Seen,
    handle: CoordinatorHandle,
    heard: mpsc::Receiver<HubEvent>,
    transport: Arc<IrohTransport>,
    peer: Option<PeerKey>,
    revision: u64,
}

impl Centre {
    pub(crate) async fn start(online: &SigningKey, fleet: Digest) -> Self {
        Self::start_at(online, fleet, "127.0.0.1:0".parse().unwrap(), None).await
    }

    /// One at a place, which says that it is (also) somewhere else.
    pub(crate) async fn start_at(online: &SigningKey, fleet: Digest, at: SocketAddr, also: Option<SocketAddr>) -> Self {
        let bind = vec![at];
        let config = IrohConfig { secret_key: *online.seed().unwrap(), bind, ..IrohConfig::default() };
        let transport = Arc::new(IrohTransport::bind(config).await.unwrap());
        let clock = Arc::new(|| u64::try_from(Timestamp::now().as_millisecond()).unwrap());
        let mut config = CoordinatorConfig::new(*fleet.as_bytes(), clock);
        let addresses = transport.bound_addresses().into_iter().chain(also).collect();
        config.coordinators = vec![PeerAddress { key: transport.local_key(), addresses, relay: None }];
        let (handle, heard) = Coordinator::spawn(Arc::clone(&transport), config, Everybody);
        Self { seen: Seen::default(), handle, heard, transport, peer: None, revision: 0 }
    }

    pub(crate) fn address(&self) -> PeerAddress {
        PeerAddress { key: self.transport.local_key(), addresses: self.transport.bound_addresses(), relay: None }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Waits until what was heard is as a test wants it.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(&self.seen) {
                self.hear().await;
            }
        });
        if waited.await.is_err() {
            let Seen { status, events, .. } = &self.seen;
            let words: Vec<_> = status.acknowledgements.iter().map(|word| (&word.object, word.sequence, &word.outcome)).collect();
            panic!("waited in vain for {what}: {:#?} {words:#?} {:#?} {events:#?}", status.conditions, status.units);
        }
    }

    /// Waits for so many sessions since the start, and gives the greeting of that one.
    pub(crate) async fn joins(&mut self, count: usize) -> Hello {
        self.until("a session", |seen| seen.hellos.len() >= count).await;
        self.seen.hellos[count - 1].clone()
    }

    /// Hears what has come already, and one more.
    async fn hear(&mut self) {
        match self.heard.recv().await.expect("the coordinator stopped") {
            HubEvent::Joined { peer, hello, .. } => {
                self.peer = Some(peer);
                self.seen.hellos.push(hello);
            }
            HubEvent::Status { body, .. } => self.seen.status = serde_json::from_slice(&body).unwrap(),
            HubEvent::Events { peer, items } => {
                for item in items.into_iter().filter(|item| item.sequence > self.seen.last_event).collect::<Vec<_>>() {
                    self.seen.last_event = item.sequence;
                    self.seen.events.push(serde_json::from_slice(&item.body).unwrap());
                }
                self.handle.taken(peer, self.seen.last_event);
            }
            HubEvent::NeedsState { .. } => self.seen.wants_state = true,
            _ => {}
        }
    }

    /// Sends bundles as what is new.
    pub(crate) async fn send(&mut self, bundles: Vec<Bytes>) {
        self.send_state(State { bundles, ..State::default() }).await;
    }

    /// Sends what it says is all there is.
    pub(crate) async fn full(&mut self, roots: Vec<Bytes>, bundles: Vec<Bytes>) {
        self.send_state(State { full: true, roots, bundles, ..State::default() }).await;
    }

    /// Sends a state under the next revision.
    pub(crate) async fn send_state(&mut self, state: State) {
        self.revision += 1;
        let state = State { incarnation: 1, revision: self.revision, complete: true, ..state };
        loop {
            let peer = self.peer.expect("nobody has joined");
            self.seen.wants_state = false;
            match self.handle.send_state(peer, state.clone()) {
                Ok(()) => return,
                // One is still on its way.
                Err(SendStateError::Behind { .. }) => self.until("room for a state", |seen| seen.wants_state).await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) async fn stop(self) {
        self.handle.stop();
        self.transport.close().await;
    }
}
