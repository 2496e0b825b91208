//! A machine as a party of a simulation: the agent of the binary on a modelled disk, host and network.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use stead_agent::{AgentMetrics, Identity, Keeper as _, Parts, Told, World, run_on};
use stead_model::{Facts, Vitals};
use stead_trust::SigningKey;
use stead_wire::{PeerKey, Ticket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::coordinator::peer;
use crate::disk::FaultyDisk;
use crate::host::{ModelCraft, ModelHost};
use crate::memory::{MachineDisk, ModelMemory};
use crate::net::Net;
use crate::time::PartyClock;
use crate::trace::Trace;

/// How often vitals are measured, in seconds: as the binary does.
const VITALS_SECONDS: u64 = 60;
/// How often what has converged is looked at again, in seconds: as the binary does.
const OBSERVE_SECONDS: u64 = 300;

struct Running {
    task: JoinHandle<()>,
    memory: ModelMemory,
    craft: ModelCraft,
}

/// A machine, with its agent running or not.
pub struct MachineParty {
    /// What it is called.
    pub name: String,
    seed: [u8; 32],
    /// Its clock.
    pub clock: PartyClock,
    /// What is under its memory.
    pub faults: Arc<FaultyDisk>,
    /// Its memory's disk.
    pub disk: Arc<MachineDisk>,
    /// Its files.
    pub host: Arc<ModelHost>,
    ticket: Ticket,
    chance: Arc<Mutex<Chance>>,
    net: Net,
    trace: Trace,
    running: Option<Running>,
}

impl MachineParty {
    /// A machine whose agent does not run yet.
    pub fn new(
        name: &str,
        seed: [u8; 32],
        ticket: Ticket,
        (faults, disk, host): (Arc<FaultyDisk>, Arc<MachineDisk>, Arc<ModelHost>),
        (net, clock, mut chance, trace): (Net, PartyClock, Chance, Trace),
    ) -> Self {
        net.name(peer(&SigningKey::from_seed(&seed)), name);
        let chance = Arc::new(Mutex::new(chance.fork()));
        Self { name: name.to_owned(), seed, clock, faults, disk, host, ticket, chance, net, trace, running: None }
    }

    /// Its key.
    pub fn key(&self) -> SigningKey {
        SigningKey::from_seed(&self.seed)
    }

    /// Its key, as the wire has it.
    pub fn peer(&self) -> PeerKey {
        peer(&self.key())
    }

    /// Whether its agent runs.
    pub const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts its agent.
    pub async fn start(&mut self) {
        if self.running.is_some() {
            return;
        }
        let (store, craft) = (self.disk.open(), self.host.craft());
        let memory = store.load().await.unwrap_or_default();
        let chance = Arc::clone(&self.chance);
        let random = move |bytes: &mut [u8]| {
            chance.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
            Ok(())
        };
        let facts = Facts { hostname: self.name.clone(), machine_id: self.name.clone(), ..Facts::default() };
        let identity =
            Identity { key: self.key(), name: None, version: "simulated".to_owned(), state_dir: self.name.clone().into() };
        let parts = Parts {
            identity,
            ticket: self.ticket.clone(),
            store: store.clone(),
            memory,
            craft: Arc::new(craft.clone()),
            transport: Arc::new(self.net.endpoint(self.peer())),
            world: World { clock: Arc::new(self.clock.clone()), random: Arc::new(random) },
            facts,
            measure: Box::new(|now, clock_offset_milliseconds, updates_pending| {
                let vitals = Vitals { measured_at: Some(now), clock_offset_milliseconds, updates_pending, ..Vitals::default() };
                std::future::ready(Some(vitals)).boxed()
            }),
            updates: watch::channel(None).1,
            vitals_period: Duration::from_secs(VITALS_SECONDS),
            vitals_kept_period: Duration::from_secs(VITALS_SECONDS),
            observe_period: Duration::from_secs(OBSERVE_SECONDS),
            told: watch::channel(Told::default()).0,
            metrics: Arc::new(AgentMetrics::new()),
        };
        self.trace.note(format_args!("{} starts", self.name));
        let (trace, name) = (self.trace.clone(), self.name.clone());
        let task = tokio::spawn(async move {
            match run_on(parts, CancellationToken::new()).await {
                Ok(()) => trace.violation(format!("the agent of {name} ended by itself")),
                // As the binary does: whoever keeps it running starts it again, when the scenario comes to it.
                Err(error) => trace.note(format_args!("the agent of {name} ended: {error}")),
            }
        });
        self.running = Some(Running { task, memory: store, craft });
    }

    /// Whether its agent has ended by itself and has to be started again.
    pub fn has_ended(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.task.is_finished())
    }

    /// Kills its agent, in the middle of whatever it does, and takes the power away.
    pub fn kill(&mut self, silently: bool) {
        let Some(running) = self.running.take() else { return };
        self.trace.note(format_args!("{} is killed", self.name));
        running.memory.kill();
        running.craft.kill();
        self.net.kill(self.peer(), silently);
        running.task.abort();
        self.disk.crash();
    }
}
