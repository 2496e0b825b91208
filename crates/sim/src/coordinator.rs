//! A coordinator as a party of a simulation: the store, admission, controllers and sessions of the binary on a modelled record.

use std::sync::{Arc, Mutex, PoisonError};

use stead_admission::{Admission, Environment};
use stead_control::Control;
use stead_control::presence::Presence;
use stead_model::Digest;
use stead_store::{Engine as _, MemoryEngine, MemoryRecord, Options, Store, uuid};
use stead_trust::SigningKey;
use stead_wire::{Coordinator, CoordinatorConfig, CoordinatorHandle, PeerAddress, PeerKey, relay_token, relay_token_mark};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::net::Net;
use crate::time::PartyClock;
use crate::trace::Trace;

/// What tickets carry.
pub(crate) const PASS: &[u8] = b"a pass of the simulation";

/// A coordinator that runs.
struct Running {
    engine: Arc<MemoryEngine>,
    admission: Admission,
    wire: CoordinatorHandle,
    control: JoinHandle<()>,
    /// Cancelled when it is killed: whoever waits for its answer hears no more.
    dead: CancellationToken,
}

/// A coordinator, running or not.
pub struct CoordinatorParty {
    /// What it is called.
    pub name: String,
    key: SigningKey,
    seed: [u8; 32],
    fleet: Digest,
    /// Its clock.
    pub clock: PartyClock,
    chance: Arc<Mutex<Chance>>,
    record: MemoryRecord,
    alone: bool,
    net: Net,
    trace: Trace,
    running: Option<Running>,
}

/// The wire's key of a machine or a coordinator.
pub(crate) fn peer(key: &SigningKey) -> PeerKey {
    // A seed always makes an ed25519 key.
    key.machine_key().map_or(PeerKey([0; 32]), |key| PeerKey(*key.as_bytes()))
}

/// The world of admission: a party's clock, and chance from the seed.
pub(crate) fn environment(clock: &PartyClock, chance: &Arc<Mutex<Chance>>) -> Environment {
    let chance = Arc::clone(chance);
    let random = move |bytes: &mut [u8]| chance.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    Environment { clock: Arc::new(clock.clone()), random: Arc::new(random) }
}

impl CoordinatorParty {
    /// A coordinator that does not run yet. `alone` says that the record is in its own process, and dies with it.
    pub fn new(
        number: usize,
        seed: [u8; 32],
        fleet: Digest,
        record: MemoryRecord,
        alone: bool,
        (net, clock, mut chance, trace): (Net, PartyClock, Chance, Trace),
    ) -> Self {
        let name = format!("coordinator-{number}");
        let key = SigningKey::from_seed(&seed);
        net.name(peer(&key), &name);
        let chance = Arc::new(Mutex::new(chance.fork()));
        Self { name, key, seed, fleet, clock, chance, record, alone, net, trace, running: None }
    }

    /// Its key.
    pub fn peer(&self) -> PeerKey {
        peer(&self.key)
    }

    /// Its key, and the fleet it serves.
    pub(crate) fn identity(&self) -> (SigningKey, Digest) {
        (SigningKey::from_seed(&self.seed), self.fleet)
    }

    /// Where machines find it.
    pub fn address(&self) -> PeerAddress {
        PeerAddress { key: self.peer(), addresses: Vec::new(), relay: None }
    }

    /// Whether it runs.
    pub const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Its admission and a token that says when it is dead, where it runs.
    pub fn admission(&self) -> Option<(Admission, CancellationToken)> {
        self.running.as_ref().map(|running| (running.admission.clone(), running.dead.clone()))
    }

    /// Opens its store without anything else, to write the first root.
    pub(crate) async fn store(&self, engine: Arc<MemoryEngine>) -> Result<Store, String> {
        let chance = Arc::clone(&self.chance);
        let new_uid = move || {
            let mut bytes = [0; 16];
            chance.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut bytes);
            uuid(bytes)
        };
        Store::open_on(engine, Options::new(Arc::new(new_uid))).await.map_err(|error| error.to_string())
    }

    /// The world as its admission sees it.
    pub(crate) fn environment(&self) -> Environment {
        environment(&self.clock, &self.chance)
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// Why not, in words: the record cannot be read.
    pub async fn start(&mut self) -> Result<(), String> {
        if self.running.is_some() {
            return Ok(());
        }
        let engine = Arc::new(self.record.engine());
        let store = self.store(Arc::clone(&engine)).await?;
        let signer = Arc::new(SigningKey::from_seed(&self.seed));
        let admission = Admission::open(store, self.fleet, signer, self.environment()).map_err(|error| error.to_string())?;
        let control = Control::new(admission.clone(), PASS);
        let clock = self.clock.clone();
        let config = CoordinatorConfig::new(*self.fleet.as_bytes(), Arc::new(move || clock.unix_milliseconds()));
        let transport = Arc::new(self.net.endpoint(self.peer()));
        let (wire, events) = Coordinator::spawn(transport, config, control.gate());
        let token_mark = relay_token_mark(&relay_token(PASS));
        let presence = Presence { address: self.address(), api: Vec::new(), authority: String::new(), token_mark };
        let control = tokio::spawn(control.run(wire.clone(), events, presence, self.alone));
        self.trace.note(format_args!("{} starts", self.name));
        self.running = Some(Running { engine, admission, wire, control, dead: CancellationToken::new() });
        Ok(())
    }

    /// Kills it, in the middle of whatever it does. Where the record is in its process, that loses power with it; says how many
    /// acknowledged batches are gone.
    pub async fn kill(&mut self, silently: bool) -> usize {
        let Some(running) = self.running.take() else { return 0 };
        self.trace.note(format_args!("{} is killed", self.name));
        running.dead.cancel();
        self.net.kill(self.peer(), silently);
        running.control.abort();
        running.wire.stop();
        running.engine.close().await;
        if self.alone { self.record.crash() } else { 0 }
    }
}
