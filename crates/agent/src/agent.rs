//! The agent: what it is told is verified, kept, carried out and reported. This is the loop that ties the parts together.

mod addresses;
mod arrears;
mod freshness;
mod giveback;
mod identity;
mod intake;
mod lineage;
mod start;
mod telling;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;
use stead_model::{
    Acknowledgement, DelegatedJoin, Digest, Facts, JoinFacts, MachineEvent, MachineStatus, ObjectKey, OutboxBody, Vitals,
};
use stead_trust::{Clock, MachineKey, MachineMemory, SignedDelegation, Signer as _, SigningKey};
use stead_unit::{Settings, UnitId, converge};
use stead_wire::{AgentConfig, AgentConnection, AgentEvent, AgentHandle, Hello, Join, PeerAddress, Ticket, Transport};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::fact_labels::fact_labels;
use crate::host::HostError;
use crate::keys::KeysAtHand;
use crate::memory::{self, Keeper, MemoryStoreError, News, Standing};
use crate::metrics::AgentMetrics;
use crate::status::Concerns;
use crate::units::{Craft, SavedError};
use crate::watched::Origins;

pub use self::start::{AgentOptions, run};

use self::arrears::{Arrears, RETRY_SECONDS};

/// Where the ticket is kept among the memory's settings.
const TICKET_SETTING: &str = "ticket";

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

/// How often vitals are measured, and how often a sample of them is kept while nobody can hear it.
#[derive(Clone, Copy)]
struct Periods {
    vitals: Duration,
    kept: Duration,
}

/// Who an agent is.
pub struct Identity {
    /// The machine's key.
    pub key: SigningKey,
    /// The name to join under, where the ticket lets machines in by itself; the host name by default.
    pub name: Option<String>,
    /// The version of this program.
    pub version: String,
    /// Where its memory is, for what is said of it.
    pub state_dir: PathBuf,
    /// The kernel's boot id, where there is a kernel.
    pub boot_id: String,
    /// The keys beside the one that it has.
    pub keys: KeysAtHand,
}

/// Why a run of an agent is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was stopped.
    Stopped,
    /// What the machine is has changed, its key or whether it is in service: it begins anew from its memory.
    Anew,
    /// The key that it spoke with is refused, and it has another one.
    OtherKey,
    /// It is out of service, and was refused: it looks again later whether owners have thought better of it.
    Dormant,
}

/// Fills a slice with random bytes that nobody can foresee, or says why there are none.
pub type RandomSource = Arc<dyn Fn(&mut [u8]) -> Result<(), String> + Send + Sync>;

/// The world, as the agent's decisions see it: time and chance come from outside.
#[derive(Clone)]
pub struct World {
    /// Tells the time.
    pub clock: Arc<dyn Clock + Send + Sync>,
    /// Gives random bytes.
    pub random: RandomSource,
}

impl World {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn number(&self) -> Result<u64, AgentError> {
        let mut bytes = [0; 8];
        (self.random)(&mut bytes).map_err(AgentError::Random)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// Measures a machine's vitals: at this time, with this clock offset in milliseconds, and so many updates pending.
pub type Measure = Box<dyn Fn(Timestamp, Option<i64>, Option<u32>) -> BoxFuture<'static, Option<Vitals>> + Send + Sync>;

/// What an agent is made of. A real machine's are put together by [`run`]; a simulation brings its own.
pub struct Parts<K, T> {
    /// Who it is.
    pub identity: Identity,
    /// The ticket of its fleet.
    pub ticket: Ticket,
    /// Where it keeps what it verified.
    pub store: K,
    /// What it remembers, loaded from there.
    pub memory: Option<MachineMemory>,
    /// What carries its wishes out.
    pub craft: Arc<dyn Craft>,
    /// Its way to the coordinators.
    pub transport: Arc<T>,
    /// Time and chance.
    pub world: World,
    /// What kind of machine it is.
    pub facts: Facts,
    /// Measures its vitals.
    pub measure: Measure,
    /// How many updates it waits for.
    pub updates: watch::Receiver<Option<u32>>,
    /// How often vitals are measured.
    pub vitals_period: Duration,
    /// How often a sample of them is kept in the outbox while no coordinator is reached.
    pub vitals_kept_period: Duration,
    /// How often what has converged is looked at again.
    pub observe_period: Duration,
    /// Where it puts what it says of itself.
    pub told: watch::Sender<Told>,
    /// Where it counts what it does.
    pub metrics: Arc<AgentMetrics>,
}

/// A running agent's parts.
struct Agent<K, T> {
    key: SigningKey,
    keys: KeysAtHand,
    /// Why this run of the agent is over, though nobody stopped it.
    ended: Option<Ended>,
    /// Whether owners have said that this machine is out of service: then it does nothing any more.
    dormant: bool,
    ticket: Ticket,
    store: K,
    memory: Option<MachineMemory>,
    standing: Standing,
    craft: Arc<dyn Craft>,
    world: World,
    measure: Measure,
    converger: stead_unit::Handle,
    transport: Arc<T>,
    config: AgentConfig,
    connection: AgentHandle,
    facts: Facts,
    vitals: Option<Vitals>,
    updates: watch::Receiver<Option<u32>>,
    clock_offset_milliseconds: Option<i64>,
    /// When a coordinator was last reached, or a sample of vitals last kept.
    vitals_kept_at: tokio::time::Instant,
    /// The owners' newest word that they are there.
    fresh: Option<freshness::Heard>,
    floor: Option<freshness::Floor>,
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

/// Runs an agent on these parts until it is stopped, or what the machine is has changed: the same on a real machine and in a simulation.
/// After anything but [`Ended::Stopped`] it wants to be run again, on parts that are put together anew.
///
/// # Errors
///
/// [`AgentError`] where it cannot start, or its memory fails for good.
pub async fn run_on<K: Keeper, T: Transport>(parts: Parts<K, T>, stop: CancellationToken) -> Result<Ended, AgentError> {
    let Parts { identity, ticket, store, memory, craft, transport, world, facts, measure, updates, .. } = parts;
    check_key(&identity, memory.as_ref())?;
    let settings = Settings { observe_every: parts.observe_period, jitter_seed: world.number()? };
    let (converger, driver) = converge(&settings);
    // Its own, so that it ends after the loop that listens to it, and also where the agent does not get that far.
    let end = CancellationToken::new().drop_guard();
    let span = tracing::info_span!("agent", machine = Empty);
    let converging = tokio::spawn(driver.run(end.token().clone()).instrument(span.clone()));

    let standing = memory::setting(&store, "standing").await?.unwrap_or_default();
    let mut config = connection_config(&identity, &ticket, &facts, &world, memory.as_ref(), standing)?;
    recollect(&mut config, &store, &ticket, &world).await?;
    transport.add_relays(&addresses::relays(&config.coordinators, &ticket)).await;
    let (connection, events) = AgentConnection::spawn(config.clone(), Arc::clone(&transport), store.clone());
    let mut agent = Agent {
        dormant: memory.as_ref().is_some_and(MachineMemory::is_decommissioned),
        key: identity.key,
        keys: identity.keys,
        ended: None,
        ticket,
        store,
        memory,
        standing,
        craft,
        world,
        measure,
        converger,
        transport,
        config,
        connection,
        facts,
        vitals: None,
        updates,
        clock_offset_milliseconds: None,
        vitals_kept_at: tokio::time::Instant::now(),
        fresh: None,
        floor: None,
        concerns: Concerns::default(),
        refused_part: false,
        shown: None,
        arrears: Arrears::default(),
        wanted: BTreeMap::new(),
        acknowledgements: BTreeMap::new(),
        status: MachineStatus::default(),
        troubles_told: BTreeMap::new(),
        told: parts.told,
        swept: false,
        metrics: parts.metrics,
        origins: Origins::default(),
        span: span.clone(),
        named: None,
    };
    if let Some(memory) = &mut agent.memory {
        memory.set_facts(fact_labels(&agent.facts));
        memory.set_next_key(agent.keys.next_key()?);
    }
    tracing::info!(machine = %agent.key.public_key(), fleet = %Digest::from_bytes(agent.ticket.fleet), "the agent runs");
    let periods = Periods { vitals: parts.vitals_period, kept: parts.vitals_kept_period };
    let result = agent.work(events, periods, &stop).instrument(span).await;
    // The connection may be gone already; then there is nothing to close.
    let _ = agent.connection.close().await;
    drop(end);
    // A driver that broke down has been told of by its panic.
    let _ = converging.await;
    agent.store.close().await;
    result
}

impl<K: Keeper, T: Transport> Agent<K, T> {
    async fn work(
        &mut self,
        mut events: tokio::sync::mpsc::Receiver<AgentEvent>,
        Periods { vitals: vitals_period, kept: kept_period }: Periods,
        stop: &CancellationToken,
    ) -> Result<Ended, AgentError> {
        self.look_for_held_back().await?;
        self.remember_freshness().await?;
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
                // What is rare comes first, so that nothing which keeps coming holds it up.
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                _ = beat.tick() => {
                    let measured = (self.measure)(self.world.now(), self.clock_offset_milliseconds, *self.updates.borrow());
                    self.vitals = measured.await;
                    self.keep_vitals(kept_period).await;
                    // Without a connection, what was last is said of the last.
                    if let Some(path) = self.connection.path().await.map_err(|_| AgentError::Ended("the connection"))? {
                        self.status.path = Some(path);
                    }
                    self.tell_status().await?;
                }
                _ = retry.tick(), if self.is_in_arrears() => {
                    if self.catch_up().await? {
                        events = self.reconnect().await;
                    }
                }
                changed = report.changed() => {
                    changed.map_err(|_| AgentError::Ended("the converger"))?;
                    self.report_changed().await?;
                }
                event = events.recv() => self.event(event.ok_or(AgentError::Ended("the connection"))?).await?,
            }
        }
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
            AgentEvent::Path(path) => {
                tracing::info!(kind = ?path.kind, remote = path.remote, "the coordinator is reached by another path");
                self.status.path = Some(path);
                self.tell_status().await
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
                self.refused();
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

    /// While nobody can hear how the machine is, a sample is kept now and then, to be told of later.
    async fn keep_vitals(&mut self, period: Duration) {
        if self.told.borrow().connected {
            self.vitals_kept_at = tokio::time::Instant::now();
            return;
        }
        let Some(vitals) = self.vitals.clone().filter(|_| self.vitals_kept_at.elapsed() >= period) else { return };
        self.vitals_kept_at = tokio::time::Instant::now();
        let Ok(body) = serde_json::to_vec(&OutboxBody::Vitals { vitals }) else { return };
        if let Err(error) = self.store.push_vitals(&body).await {
            tracing::warn!(%error, "a sample of vitals could not be kept");
        }
    }

    /// Puts an event into the outbox. A disk that is full must not stop the work.
    async fn tell_event(&mut self, warning: bool, reason: &str, message: String, object: Option<ObjectKey>) {
        let event = MachineEvent { time: self.world.now(), warning, reason: reason.to_owned(), message, object };
        tracing::info!(warning, reason, message = %event.message, "event");
        self.keep_event(&event).await;
    }
}

/// What the machine's memory adds to how it connects: its starts, with this one, and where coordinators were last.
async fn recollect(config: &mut AgentConfig, store: &impl Keeper, ticket: &Ticket, world: &World) -> Result<(), AgentError> {
    config.hello.presenter.starts = lineage::begin(store, world.now(), world.number()?).await;
    let known: Vec<PeerAddress> = memory::setting(store, addresses::COORDINATORS_SETTING).await?.unwrap_or_default();
    config.coordinators = addresses::merge(&known, &ticket.coordinators);
    Ok(())
}

fn check_key(identity: &Identity, memory: Option<&MachineMemory>) -> Result<(), AgentError> {
    let given = identity.key.machine_key()?;
    match memory.map(|memory| *memory.key()) {
        Some(has) if has != given => Err(AgentError::OtherKey { has, given, state_dir: identity.state_dir.clone() }),
        _ => Ok(()),
    }
}

/// The ticket that was given, or the one that was kept; kept from now on.
async fn ticket(
    identity: &Identity,
    given: Option<Ticket>,
    store: &impl Keeper,
    memory: Option<&MachineMemory>,
) -> Result<Ticket, AgentError> {
    let Some(ticket) = given else {
        let text: Option<String> = memory::setting(store, TICKET_SETTING).await?;
        return Ok(text.ok_or(AgentError::NoTicket)?.parse()?);
    };
    let given = Digest::from_bytes(ticket.fleet);
    if let Some(has) = memory.map(MachineMemory::fleet).filter(|has| **has != given) {
        return Err(AgentError::OtherFleet { has: *has, given, state_dir: identity.state_dir.clone() });
    }
    memory::set_setting(store, TICKET_SETTING, &ticket.to_string()).await?;
    Ok(ticket)
}

fn connection_config(
    identity: &Identity,
    ticket: &Ticket,
    facts: &Facts,
    world: &World,
    memory: Option<&MachineMemory>,
    standing: Standing,
) -> Result<AgentConfig, AgentError> {
    let mut process = [0; 16];
    (world.random)(&mut process).map_err(AgentError::Random)?;
    let mut hello = Hello::new(ticket.fleet, process);
    hello.machine_id.clone_from(&facts.machine_id);
    hello.presenter.hostname.clone_from(&facts.hostname);
    hello.presenter.serial.clone_from(&facts.serial);
    hello.presenter.boot_id.clone_from(&identity.boot_id);
    hello.agent_version.clone_from(&identity.version);
    intake::say_position(&mut hello, intake::position(memory, standing));
    let clock = Arc::clone(&world.clock);
    Ok(AgentConfig {
        hello,
        // A key that no owner has signed yet asks nobody to join.
        join: if identity.keys.speaks_as_next { None } else { Some(join(identity, ticket, facts, world)?) },
        coordinators: ticket.coordinators.clone(),
        seed: world.number()?,
        unix_clock: Arc::new(move || u64::try_from(clock.now().as_millisecond()).unwrap_or_default()),
    })
}

fn join(identity: &Identity, ticket: &Ticket, facts: &Facts, world: &World) -> Result<Join, AgentError> {
    let failed = |error: &dyn std::fmt::Display| AgentError::Delegation(error.to_string());
    let delegated = match &ticket.delegation {
        None => None,
        Some(bytes) => {
            let delegation: SignedDelegation = serde_json::from_slice(bytes).map_err(|error| failed(&error))?;
            let name = identity.name.clone().unwrap_or_else(|| facts.hostname.to_ascii_lowercase());
            let evidence = delegation.countersign(&identity.key, &name, world.now()).map_err(|error| failed(&error))?;
            let body = serde_json::to_vec(&DelegatedJoin { name, evidence }).map_err(|error| failed(&error))?;
            Some(Bytes::from(body))
        }
    };
    let facts_body = serde_json::to_vec(&JoinFacts { facts: facts.clone() }).map_err(|error| failed(&error))?;
    let hostname = identity.name.clone().unwrap_or_else(|| facts.hostname.clone());
    Ok(Join { pass: ticket.pass.clone(), hostname, delegated, facts: Bytes::from(facts_body) })
}
