//! The agent: what it is told is verified, kept, carried out and reported. This is the loop that ties the parts together.

mod addresses;
mod arrears;
mod giveback;
mod identity;
mod intake;
mod lineage;
mod telling;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use stead_model::{Acknowledgement, DelegatedJoin, Digest, Facts, JoinFacts, MachineEvent, MachineStatus, ObjectKey, Vitals};
use stead_trust::{MachineKey, MachineMemory, SignedDelegation, Signer as _, SigningKey};
use stead_unit::{Settings, UnitId, converge};
use stead_wire::{
    AgentConfig, AgentConnection, AgentEvent, AgentHandle, Hello, IrohConfig, IrohTransport, Join, PeerAddress, RelayAddress,
    Ticket, Transport as _,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::fact_labels::fact_labels;
use crate::host::{Host, HostError};
use crate::keys::Keys;
use crate::memory::{MemoryStore, MemoryStoreError, News, Standing};
use crate::metrics::AgentMetrics;
use crate::status::Concerns;
use crate::units::{Saved, SavedError, Workshop};
use crate::watched::Origins;
use crate::{facts, updates, vitals};

use self::arrears::{Arrears, RETRY_SECONDS};

/// Where the ticket is kept among the memory's settings.
const TICKET_SETTING: &str = "ticket";

/// How an agent is run.
pub struct AgentOptions {
    /// The machine's root directory: `/`, or a folder that plays the machine.
    pub root: PathBuf,
    /// Where the agent keeps its memory and what it saved.
    pub state_dir: PathBuf,
    /// The machine's keys.
    pub keys: Arc<dyn Keys>,
    /// The ticket to join with; none for a machine that has joined.
    pub ticket: Option<Ticket>,
    /// The name to join under, where the ticket lets machines in by itself; the host name by default.
    pub name: Option<String>,
    /// Local addresses to speak from; none for any.
    pub bind: Vec<std::net::SocketAddr>,
    /// Whether to speak through relays only.
    pub relay_only: bool,
    /// How often vitals are measured.
    pub vitals_period: Duration,
    /// How often what has converged is looked at again.
    pub observe_period: Duration,
    /// The version of this program.
    pub version: String,
    /// Where the agent puts what it says of itself, for whoever looks at this process; the latest wins.
    pub told: watch::Sender<Told>,
    /// Where the agent counts what it does.
    pub metrics: Arc<AgentMetrics>,
}

/// What an agent says of itself at one moment.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Its newest status, as the coordinator is told it.
    pub status: MachineStatus,
    /// Whether it reaches a coordinator.
    pub connected: bool,
    /// How often it has reached one.
    pub connections: u64,
}

/// Why an agent stopped, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its state directory cannot be used.
    #[error("the state directory {} cannot be used: {source}", .path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its memory cannot be used.
    #[error(transparent)]
    Memory(#[from] MemoryStoreError),
    /// The machine's root directory cannot be used.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What it saved cannot be used.
    #[error(transparent)]
    Saved(#[from] SavedError),
    /// It has no ticket.
    #[error("this machine has not joined a fleet yet: give it a ticket (`stead agent --join TICKET`)")]
    NoTicket,
    /// It belongs to another fleet.
    #[error("this machine belongs to the fleet {has}, and the ticket is for {given}; to move it, remove {}", .state_dir.display())]
    OtherFleet {
        /// Its fleet.
        has: Digest,
        /// The ticket's.
        given: Digest,
        /// Where its memory is.
        state_dir: PathBuf,
    },
    /// Its memory is another machine's.
    #[error("the memory is of the machine {has}, and the key is that of {given}; give it the key it had, or remove {}", .state_dir.display())]
    OtherKey {
        /// Whose memory it is.
        has: MachineKey,
        /// Whose key was given.
        given: MachineKey,
        /// Where the memory is.
        state_dir: PathBuf,
    },
    /// The ticket kept on disk cannot be read.
    #[error("the ticket cannot be read: {0}")]
    Ticket(#[from] stead_wire::TicketError),
    /// The delegation in the ticket does not hold.
    #[error("the ticket's delegation cannot be used: {0}")]
    Delegation(String),
    /// The machine's key cannot be had.
    #[error("the machine's key: {0}")]
    Keys(String),
    /// The key is no machine's.
    #[error("the machine's key is no ed25519 key")]
    Key(#[from] stead_trust::PublicKeyError),
    /// No random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
    /// The network cannot be used.
    #[error("the network cannot be used: {0}")]
    Bind(#[from] stead_wire::BindError),
    /// A part of the agent ended by itself.
    #[error("{0} ended by itself, which is a fault in this program")]
    Ended(&'static str),
}

/// A running agent's parts.
struct Agent {
    key: SigningKey,
    /// The key that was made ready to take its place.
    next: Option<SigningKey>,
    keys: Arc<dyn Keys>,
    /// Why this run of the agent is over, though nobody stopped it.
    ended: Option<Ended>,
    /// Whether owners have said that this machine is out of service: then it does nothing any more.
    dormant: bool,
    ticket: Ticket,
    store: MemoryStore,
    memory: Option<MachineMemory>,
    standing: Standing,
    workshop: Arc<Workshop>,
    converger: stead_unit::Handle,
    transport: Arc<IrohTransport>,
    config: AgentConfig,
    connection: AgentHandle,
    facts: Facts,
    vitals: Option<Vitals>,
    updates: watch::Receiver<Option<u32>>,
    clock_offset_milliseconds: Option<i64>,
    concerns: Concerns,
    /// Whether a part of the state that is coming in was refused.
    refused_part: bool,
    /// What the machine shows where nobody knows it: the sequence of its own object and the root version that it was made of.
    shown: Option<(u64, u64)>,
    arrears: Arrears,
    /// For each profile that means this machine, its sequence and the units it makes.
    wanted: BTreeMap<String, (u64, BTreeSet<UnitId>)>,
    acknowledgements: BTreeMap<ObjectKey, Acknowledgement>,
    status: MachineStatus,
    /// The trouble that events have told of, by unit.
    troubles_told: BTreeMap<UnitId, String>,
    /// What is said of this process to whoever looks at it.
    told: watch::Sender<Told>,
    /// Whether what an earlier process left has been looked at.
    swept: bool,
    metrics: Arc<AgentMetrics>,
    origins: Origins,
    /// Around everything that the agent does: it names the machine in logs and traces.
    span: Span,
    /// The name that the span says.
    named: Option<String>,
}

/// Why a run of an agent is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// It was stopped.
    Stopped,
    /// What the machine is has changed, its key or whether it is in service: it begins anew from its memory.
    Anew,
    /// The key that it spoke with is refused, and it has another one.
    OtherKey,
    /// It is out of service, and was refused: it looks again later whether owners have thought better of it.
    Dormant,
}

/// How long a machine that is out of service waits until it knocks again.
const DORMANT_PAUSE: Duration = Duration::from_secs(3_600);

/// Runs an agent until it is stopped.
///
/// # Errors
///
/// [`AgentError`] where it cannot start, or its memory fails for good.
pub async fn run(options: AgentOptions, stop: CancellationToken) -> Result<(), AgentError> {
    let mut speaking = identity::Speaking::default();
    loop {
        match run_once(&options, speaking.as_next(), &stop).await? {
            Ended::Stopped => return Ok(()),
            Ended::Anew => speaking = identity::Speaking::default(),
            ended @ (Ended::OtherKey | Ended::Dormant) => {
                let pause = if ended == Ended::Dormant { DORMANT_PAUSE } else { speaking.other() };
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

/// `as_next` says whether to speak with the key that was made ready rather than with the one that the machine has.
async fn run_once(options: &AgentOptions, as_next: bool, stop: &CancellationToken) -> Result<Ended, AgentError> {
    make_state_dir(&options.state_dir)?;
    let store = MemoryStore::open(&options.state_dir.join("memory.db")).await?.counted(Arc::clone(&options.metrics)).await?;
    let mut memory = store.load().await?;
    let (key, next) = identity::keys(options, memory.as_mut())?;
    let ticket = ticket(options, &store, memory.as_ref()).await?;
    let workshop = open_workshop(options)?;
    let (root, version) = (options.root.clone(), options.version.clone());
    let facts = tokio::task::spawn_blocking(move || facts::gather(&root, &version)).await.unwrap_or_default();

    let settings = Settings { observe_every: options.observe_period, jitter_seed: random_number()? };
    let (converger, driver) = converge(&settings);
    // Its own, so that it ends after the loop that listens to it, and also where the agent does not get that far.
    let end = CancellationToken::new().drop_guard();
    let span = tracing::info_span!("agent", machine = Empty);
    let converging = tokio::spawn(driver.run(end.token().clone()).instrument(span.clone()));

    let standing = store.setting("standing").await?.unwrap_or_default();
    let spoken = next.as_ref().filter(|_| as_next).unwrap_or(&key);
    let transport = Arc::new(bind(options, spoken, &ticket).await?);
    let mut config = connection_config(options, &key, &ticket, &facts, memory.as_ref(), standing)?;
    // A key that no owner has signed yet asks nobody to join.
    config.join = config.join.filter(|_| !as_next);
    recollect(&mut config, &store, &ticket).await?;
    let (connection, events) = AgentConnection::spawn(config.clone(), Arc::clone(&transport), store.clone());
    let dormant = memory.as_ref().is_some_and(MachineMemory::is_decommissioned);
    let mut agent = Agent {
        key,
        next,
        keys: Arc::clone(&options.keys),
        ended: None,
        dormant,
        ticket,
        store,
        memory,
        standing,
        workshop,
        converger,
        transport,
        config,
        connection,
        facts,
        vitals: None,
        updates: count_updates(options.root.clone(), stop.clone()),
        clock_offset_milliseconds: None,
        concerns: Concerns::default(),
        refused_part: false,
        shown: None,
        arrears: Arrears::default(),
        wanted: BTreeMap::new(),
        acknowledgements: BTreeMap::new(),
        status: MachineStatus::default(),
        troubles_told: BTreeMap::new(),
        told: options.told.clone(),
        swept: false,
        metrics: Arc::clone(&options.metrics),
        origins: Origins::default(),
        span: span.clone(),
        named: None,
    };
    if let Some(memory) = &mut agent.memory {
        memory.set_facts(fact_labels(&agent.facts));
    }
    tracing::info!(machine = %agent.key.public_key(), fleet = %Digest::from_bytes(agent.ticket.fleet), "the agent runs");
    let result = agent.work(events, options.vitals_period, &options.state_dir, stop).instrument(span).await;
    agent.leave(end, converging).await;
    result
}

fn open_workshop(options: &AgentOptions) -> Result<Arc<Workshop>, AgentError> {
    let saved = Saved::open(&options.state_dir.join("saved"))?;
    Ok(Arc::new(Workshop { host: Arc::new(Host::open(&options.root)?), saved: Arc::new(saved) }))
}

/// What the machine's memory adds to how it connects: its starts, with this one, and where coordinators were last.
async fn recollect(config: &mut AgentConfig, store: &MemoryStore, ticket: &Ticket) -> Result<(), AgentError> {
    config.hello.presenter.starts = lineage::begin(store, random_number()?).await;
    let known: Vec<PeerAddress> = store.setting(addresses::COORDINATORS_SETTING).await?.unwrap_or_default();
    config.coordinators = addresses::merge(&known, &ticket.coordinators);
    Ok(())
}

impl Agent {
    async fn work(
        &mut self,
        mut events: tokio::sync::mpsc::Receiver<AgentEvent>,
        vitals_period: Duration,
        state_dir: &std::path::Path,
        stop: &CancellationToken,
    ) -> Result<Ended, AgentError> {
        self.show_papers().await?;
        self.rewish().await?;
        let mut report = self.converger.report();
        let mut beat = tokio::time::interval(vitals_period);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut retry = tokio::time::interval(Duration::from_secs(RETRY_SECONDS));
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if let Some(ended) = self.ended.take() {
                return Ok(ended);
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(Ended::Stopped),
                event = events.recv() => self.event(event.ok_or(AgentError::Ended("the connection"))?).await?,
                changed = report.changed() => {
                    changed.map_err(|_| AgentError::Ended("the converger"))?;
                    self.report_changed().await?;
                }
                _ = retry.tick(), if self.is_in_arrears() => {
                    if self.catch_up().await? {
                        events = self.reconnect().await;
                    }
                }
                _ = beat.tick() => {
                    let (path, offset, updates) = (state_dir.to_owned(), self.clock_offset_milliseconds, *self.updates.borrow());
                    let measured = tokio::task::spawn_blocking(move || vitals::measure(&path, Timestamp::now(), offset, updates)).await;
                    self.vitals = measured.ok();
                    self.tell_status().await?;
                }
            }
        }
    }

    /// Lets go of everything, in order.
    async fn leave(self, converger_end: tokio_util::sync::DropGuard, converging: tokio::task::JoinHandle<()>) {
        // The connection may be gone already; then there is nothing to close.
        let _ = self.connection.close().await;
        drop(converger_end);
        // A driver that broke down has been told of by its panic.
        let _ = converging.await;
        self.transport.close().await;
        self.store.close().await;
    }

    async fn event(&mut self, event: AgentEvent) -> Result<(), AgentError> {
        match event {
            AgentEvent::Connected { coordinator, .. } => {
                tracing::info!(coordinator, "connected");
                self.told.send_modify(|told| {
                    told.connected = true;
                    told.connections = told.connections.saturating_add(1);
                });
                self.refused_part = false;
                self.tell_status().await
            }
            AgentEvent::Disconnected { reason, next_try_milliseconds } => {
                tracing::info!(reason, next_try_milliseconds, "not connected; everything goes on from memory");
                self.told.send_modify(|told| told.connected = false);
                Ok(())
            }
            AgentEvent::Pending { reason } => {
                let key = self.key.machine_key()?;
                tracing::info!(
                    reason,
                    "waiting for an owner: `stead approve {}`",
                    stead_model::Enrollment::name_for(&key.to_string())
                );
                Ok(())
            }
            AgentEvent::Refused { reason } => {
                tracing::warn!(reason, "the coordinator refuses this machine");
                self.try_other_key();
                Ok(())
            }
            AgentEvent::Coordinators { coordinators } => self.find_coordinators(coordinators).await,
            AgentEvent::State(state) => self.take(state).await,
            AgentEvent::Plan { id, body } => self.plan(id, &body).await,
            AgentEvent::ClockOffset { offset_milliseconds, round_trip_milliseconds } => {
                let round_trip = Duration::from_millis(round_trip_milliseconds);
                self.metrics.round_trip_seconds.observe(round_trip.as_secs_f64());
                self.clock_offset_milliseconds = Some(offset_milliseconds.saturating_neg());
                Ok(())
            }
            AgentEvent::OutboxItemOversized { sequence, bytes } => {
                tracing::warn!(sequence, bytes, "an event was too long to be sent");
                Ok(())
            }
        }
    }

    /// Puts an event into the outbox. A disk that is full must not stop the work.
    async fn tell_event(&mut self, warning: bool, reason: &str, message: String, object: Option<ObjectKey>) {
        let event = MachineEvent { time: Timestamp::now(), warning, reason: reason.to_owned(), message, object };
        tracing::info!(warning, reason, message = %event.message, "event");
        let Ok(body) = serde_json::to_vec(&event) else { return };
        self.keep_event(body).await;
    }
}

/// Counts pending updates beside everything else, since the package manager takes its time.
fn count_updates(root: PathBuf, stop: CancellationToken) -> watch::Receiver<Option<u32>> {
    let (counted, count) = watch::channel(None);
    tokio::spawn(async move {
        loop {
            // Nobody listens any more when the agent has ended.
            let _ = counted.send(updates::pending(&root).await);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(updates::UPDATES_PERIOD) => {}
            }
        }
    });
    count
}

fn make_state_dir(path: &std::path::Path) -> Result<(), AgentError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| AgentError::StateDir { path: path.to_owned(), source })
}

/// The ticket that was given, or the one that was kept; kept from now on.
async fn ticket(options: &AgentOptions, store: &MemoryStore, memory: Option<&MachineMemory>) -> Result<Ticket, AgentError> {
    let Some(ticket) = &options.ticket else {
        let text: Option<String> = store.setting(TICKET_SETTING).await?;
        return Ok(text.ok_or(AgentError::NoTicket)?.parse()?);
    };
    let given = Digest::from_bytes(ticket.fleet);
    if let Some(has) = memory.map(MachineMemory::fleet).filter(|has| **has != given) {
        return Err(AgentError::OtherFleet { has: *has, given, state_dir: options.state_dir.clone() });
    }
    store.set_setting(TICKET_SETTING, &ticket.to_string()).await?;
    Ok(ticket.clone())
}

async fn bind(options: &AgentOptions, key: &SigningKey, ticket: &Ticket) -> Result<IrohTransport, AgentError> {
    let seed = key.seed().ok_or(AgentError::Ended("the machine's key"))?;
    let relays = ticket.coordinators.iter().filter_map(|coordinator| coordinator.relay.clone());
    let relays = relays.map(|url| RelayAddress { url, token: Some(ticket.relay_token()) });
    let config =
        IrohConfig { secret_key: *seed, bind: options.bind.clone(), relay_only: options.relay_only, relays: relays.collect() };
    Ok(IrohTransport::bind(config).await?)
}

fn connection_config(
    options: &AgentOptions,
    key: &SigningKey,
    ticket: &Ticket,
    facts: &Facts,
    memory: Option<&MachineMemory>,
    standing: Standing,
) -> Result<AgentConfig, AgentError> {
    let mut process = [0; 16];
    getrandom::fill(&mut process).map_err(|error| AgentError::Random(error.to_string()))?;
    let mut hello = Hello::new(ticket.fleet, process);
    hello.machine_id.clone_from(&facts.machine_id);
    hello.presenter.hostname.clone_from(&facts.hostname);
    hello.presenter.serial.clone_from(&facts.serial);
    hello.presenter.boot_id = facts::boot_id(&options.root);
    hello.agent_version.clone_from(&options.version);
    intake::say_position(&mut hello, intake::position(memory, standing));
    Ok(AgentConfig {
        hello,
        join: Some(join(options, key, ticket, facts)?),
        coordinators: ticket.coordinators.clone(),
        seed: random_number()?,
        unix_clock: Arc::new(|| u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()),
    })
}

fn join(options: &AgentOptions, key: &SigningKey, ticket: &Ticket, facts: &Facts) -> Result<Join, AgentError> {
    let failed = |error: &dyn std::fmt::Display| AgentError::Delegation(error.to_string());
    let delegated = match &ticket.delegation {
        None => None,
        Some(bytes) => {
            let delegation: SignedDelegation = serde_json::from_slice(bytes).map_err(|error| failed(&error))?;
            let name = options.name.clone().unwrap_or_else(|| facts.hostname.to_ascii_lowercase());
            let evidence = delegation.countersign(key, &name, Timestamp::now()).map_err(|error| failed(&error))?;
            let body = serde_json::to_vec(&DelegatedJoin { name, evidence }).map_err(|error| failed(&error))?;
            Some(Bytes::from(body))
        }
    };
    let facts_body = serde_json::to_vec(&JoinFacts { facts: facts.clone() }).map_err(|error| failed(&error))?;
    let hostname = options.name.clone().unwrap_or_else(|| facts.hostname.clone());
    Ok(Join { pass: ticket.pass.clone(), hostname, delegated, facts: Bytes::from(facts_body) })
}

fn random_number() -> Result<u64, AgentError> {
    getrandom::u64().map_err(|error| AgentError::Random(error.to_string()))
}
