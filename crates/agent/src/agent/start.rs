//! Starts an agent on a real machine: its files, its clock, its network.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use stead_trust::{Clock, SigningKey};
use stead_wire::{IrohConfig, IrohTransport, RelayAddress, Ticket, Transport as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{AgentError, Identity, Parts, Told, World, check_key, run_on, ticket};
use crate::host::Host;
use crate::memory::MemoryStore;
use crate::metrics::AgentMetrics;
use crate::units::{Saved, Workshop};
use crate::{facts, updates, vitals};

/// How an agent is run.
pub struct AgentOptions {
    /// The machine's root directory: `/`, or a folder that plays the machine.
    pub root: PathBuf,
    /// Where the agent keeps its memory and what it saved.
    pub state_dir: PathBuf,
    /// The machine's key.
    pub key: SigningKey,
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
    /// How often a sample of them is kept in the outbox while no coordinator is reached.
    pub vitals_kept_period: Duration,
    /// How often what has converged is looked at again.
    pub observe_period: Duration,
    /// The version of this program.
    pub version: String,
    /// Where the agent puts what it says of itself, for whoever looks at this process; the latest wins.
    pub told: watch::Sender<Told>,
    /// Where the agent counts what it does.
    pub metrics: Arc<AgentMetrics>,
}

/// The clock of this machine.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Runs an agent until it is stopped.
///
/// # Errors
///
/// [`AgentError`] where it cannot start, or its memory fails for good.
pub async fn run(options: AgentOptions, stop: CancellationToken) -> Result<(), AgentError> {
    make_state_dir(&options.state_dir)?;
    let store = MemoryStore::open(&options.state_dir.join("memory.db")).await?.counted(Arc::clone(&options.metrics)).await?;
    let memory = store.load().await?;
    let identity = Identity { key: options.key, name: options.name, version: options.version, state_dir: options.state_dir };
    check_key(&identity, memory.as_ref())?;
    let ticket = ticket(&identity, options.ticket, &store, memory.as_ref()).await?;
    let workshop = Arc::new(Workshop {
        host: Arc::new(Host::open(&options.root)?),
        saved: Arc::new(Saved::open(&identity.state_dir.join("saved"))?),
    });
    let (root, version) = (options.root.clone(), identity.version.clone());
    let facts = tokio::task::spawn_blocking(move || facts::gather(&root, &version)).await.unwrap_or_default();
    let transport = Arc::new(bind(&identity.key, &ticket, options.bind, options.relay_only).await?);
    let state_dir = identity.state_dir.clone();
    let parts = Parts {
        identity,
        ticket,
        store,
        memory,
        craft: Arc::new(workshop),
        transport: Arc::clone(&transport),
        world: World { clock: Arc::new(SystemClock), random: Arc::new(random) },
        facts,
        measure: Box::new(move |now, offset, updates| {
            let path = state_dir.clone();
            tokio::task::spawn_blocking(move || vitals::measure(&path, now, offset, updates)).map(Result::ok).boxed()
        }),
        updates: count_updates(options.root, stop.clone()),
        vitals_period: options.vitals_period,
        vitals_kept_period: options.vitals_kept_period,
        observe_period: options.observe_period,
        told: options.told,
        metrics: options.metrics,
    };
    let ended = run_on(parts, stop).await;
    transport.close().await;
    ended
}

fn random(bytes: &mut [u8]) -> Result<(), String> {
    getrandom::fill(bytes).map_err(|error| error.to_string())
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

async fn bind(
    key: &SigningKey,
    ticket: &Ticket,
    bind: Vec<std::net::SocketAddr>,
    relay_only: bool,
) -> Result<IrohTransport, AgentError> {
    let seed = key.seed().ok_or(AgentError::Ended("the machine's key"))?;
    let relays = ticket.coordinators.iter().filter_map(|coordinator| coordinator.relay.clone());
    let relays = relays.map(|url| RelayAddress { url, token: Some(ticket.relay_token()) });
    let config = IrohConfig { secret_key: *seed, bind, relay_only, relays: relays.collect() };
    Ok(IrohTransport::bind(config).await?)
}
