//! A coordinator and machines for the tests, over any transport.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use stead_wire::*;
use tokio::{sync::mpsc, time::timeout};

pub(crate) const FLEET: [u8; 32] = [7; 32];

/// Long enough for a busy machine; nothing is judged by it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn clock() -> UnixClock {
    Arc::new(|| 1_000_000)
}

/// Members are welcome, others may ask, and `pass` lets them in at once.
#[derive(Clone, Default)]
pub(crate) struct Door {
    pub(crate) members: Arc<Mutex<HashSet<PeerKey>>>,
    pub(crate) open: bool,
}

impl Door {
    pub(crate) fn open() -> Self {
        Self { open: true, ..Self::default() }
    }
}

impl Admission for Door {
    fn is_member(&self, peer: &PeerKey) -> bool {
        self.open || self.members.lock().unwrap().contains(peer)
    }

    async fn hello(&self, peer: PeerKey, _hello: Hello) -> Verdict {
        if self.is_member(&peer) { Verdict::Welcome { incarnation: 1 } } else { Verdict::Unknown }
    }

    async fn join(&self, peer: PeerKey, _hello: Hello, join: Join) -> Verdict {
        match join.pass.as_ref() {
            b"approves by itself" => {
                self.members.lock().unwrap().insert(peer);
                Verdict::Welcome { incarnation: 1 }
            }
            b"asks" => Verdict::Pending { reason: "somebody has to approve it".to_owned() },
            _ => Verdict::Refused { reason: "wrong pass".to_owned() },
        }
    }
}

/// The coordinator's end with what it heard.
pub(crate) struct Centre {
    pub(crate) handle: CoordinatorHandle,
    pub(crate) events: mpsc::Receiver<HubEvent>,
}

impl Centre {
    pub(crate) fn start<T: Transport>(transport: Arc<T>, door: Door) -> Self {
        let config = CoordinatorConfig::new(FLEET, clock());
        let (handle, events) = Coordinator::spawn(transport, config, door);
        Self { handle, events }
    }

    pub(crate) async fn until<R>(&mut self, mut wanted: impl FnMut(HubEvent) -> Option<R>) -> R {
        let mut seen = Vec::new();
        let found = timeout(PATIENCE, async {
            loop {
                let event = self.events.recv().await.expect("the coordinator stopped");
                seen.push(format!("{event:?}"));
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("only this was heard: {seen:#?}"),
        }
    }

    pub(crate) async fn joined(&mut self) -> (PeerKey, SessionId, Hello) {
        self.until(|event| match event {
            HubEvent::Joined { peer, session, hello, .. } => Some((peer, session, hello)),
            _ => None,
        })
        .await
    }

    /// Collects events of all machines, each once, until there are `count`; acknowledges them.
    pub(crate) async fn collect(&mut self, count: usize) -> HashMap<PeerKey, Vec<(u64, bytes::Bytes)>> {
        let mut all: HashMap<PeerKey, Vec<(u64, bytes::Bytes)>> = HashMap::new();
        while all.values().map(Vec::len).sum::<usize>() < count {
            let (peer, items) = self
                .until(|event| match event {
                    HubEvent::Events { peer, items } => Some((peer, items)),
                    _ => None,
                })
                .await;
            let known = all.entry(peer).or_default();
            for item in items {
                let last = known.last().map_or(0, |(sequence, _)| *sequence);
                if item.sequence > last {
                    assert_eq!(item.sequence, last + 1, "out of order");
                    known.push((item.sequence, item.body));
                }
            }
            let last = known.last().map_or(0, |(sequence, _)| *sequence);
            self.handle.taken(peer, last);
        }
        all
    }
}

/// A machine.
pub(crate) struct Machine {
    pub(crate) handle: AgentHandle,
    pub(crate) events: mpsc::Receiver<AgentEvent>,
    pub(crate) outbox: Arc<MemoryOutbox>,
}

impl Machine {
    pub(crate) fn start<T: Transport>(
        transport: Arc<T>,
        coordinators: Vec<PeerAddress>,
        process: u8,
        pass: Option<&'static [u8]>,
    ) -> Self {
        let outbox = Arc::new(MemoryOutbox::default());
        let join = pass.map(|pass| Join {
            pass: bytes::Bytes::from_static(pass),
            hostname: "machine".to_owned(),
            delegated: None,
            facts: bytes::Bytes::new(),
        });
        let config = AgentConfig {
            hello: Hello::new(FLEET, [process; 16]),
            join,
            coordinators,
            seed: u64::from(process),
            unix_clock: clock(),
        };
        let (handle, events) = AgentConnection::spawn(config, transport, outbox.clone());
        Self { handle, events, outbox }
    }

    pub(crate) async fn until<R>(&mut self, mut wanted: impl FnMut(AgentEvent) -> Option<R>) -> R {
        let mut seen = Vec::new();
        let found = timeout(PATIENCE * 20, async {
            loop {
                let event = self.events.recv().await.expect("the agent stopped");
                seen.push(format!("{event:.300?}"));
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("only this was heard: {seen:#?}"),
        }
    }

    pub(crate) async fn connected(&mut self) {
        self.until(|event| matches!(event, AgentEvent::Connected { .. }).then_some(())).await;
    }

    pub(crate) async fn disconnected(&mut self) -> String {
        self.until(|event| match event {
            AgentEvent::Disconnected { reason, .. } => Some(reason),
            _ => None,
        })
        .await
    }

    /// Takes state parts until one completes, and answers with the whole.
    pub(crate) async fn state(&mut self) -> State {
        let mut whole: Option<State> = None;
        loop {
            let part = self
                .until(|event| match event {
                    AgentEvent::State(state) => Some(state),
                    _ => None,
                })
                .await;
            let complete = part.complete;
            match &mut whole {
                Some(whole) => {
                    whole.roots.extend(part.roots);
                    whole.bundles.extend(part.bundles);
                    whole.complete = complete;
                }
                None => whole = Some(part),
            }
            if let Some(whole) = whole.take_if(|_| complete) {
                return whole;
            }
        }
    }
}

pub(crate) fn at(key: PeerKey) -> PeerAddress {
    PeerAddress { key, addresses: Vec::new(), relay: None }
}

/// A state with one bundle.
pub(crate) fn state(since: u64, revision: u64, bundle: &'static [u8]) -> State {
    State {
        incarnation: 1,
        since,
        revision,
        full: since == 0,
        complete: true,
        roots: Vec::new(),
        bundles: vec![bytes::Bytes::from_static(bundle)],
    }
}
