//! Starts an agent on a real machine: its files, its clock, its network.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use stead_trust::Clock;
use stead_wire::{IrohConfig, IrohTransport, LocalLookup, Ticket, Transport as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::identity::{self, Speaking};
use super::{AgentError, Ended, Identity, Parts, Told, World, addresses, run_on, ticket};
use crate::host::Host;
use crate::keys::{Keys, KeysAtHand};
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
    /// Whether to ask for the coordinators on the local network, where they are not reached.
    pub local: bool,
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

/// How long a machine that is out of service waits until it knocks again.
const DORMANT_PAUSE: Duration = Duration::from_secs(3_600);

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
    let mut speaking = Speaking::default();
    loop {
        let pause = match run_once(&options, speaking.as_next(), &stop).await? {
            Ended::Stopped => return Ok(()),
            Ended::Anew => {
                speaking = Speaking::default();
                Duration::ZERO
            }
            Ended::OtherKey => speaking.other(),
            Ended::Dormant => DORMANT_PAUSE,
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// `as_next` says whether to speak with the key that was made ready rather than with the one that the machine has.
async fn run_once(options: &AgentOptions, as_next: bool, stop: &CancellationToken) -> Result<Ended, AgentError> {
    make_state_dir(&options.state_dir)?;
    let stop = stop.child_token();
    let _end = stop.clone().drop_guard();
    let store = MemoryStore::open(&options.state_dir.join("memory.db")).await?.counted(Arc::clone(&options.metrics)).await?;
    let memory = store.load().await?;
    let state_dir = options.state_dir.clone();
    let (key, next) = identity::keys(&*options.keys, memory.as_ref(), &state_dir)?;
    let spoken = next.as_ref().filter(|_| as_next).unwrap_or(&key);
    let spoken = spoken.seed().ok_or(AgentError::Ended("the machine's key"))?;
    let keys = KeysAtHand { kept: Some(Arc::clone(&options.keys)), speaks_as_next: as_next && next.is_some(), next };
    let (name, version, boot_id) = (options.name.clone(), options.version.clone(), facts::boot_id(&options.root));
    let identity = Identity { key, name, version, state_dir, boot_id, keys };
    let ticket = ticket(&identity, options.ticket.clone(), &store, memory.as_ref()).await?;
    let workshop = Arc::new(Workshop {
        host: Arc::new(Host::open(&options.root)?),
        saved: Arc::new(Saved::open(&identity.state_dir.join("saved"))?),
    });
    let (root, version) = (options.root.clone(), identity.version.clone());
    let facts = tokio::task::spawn_blocking(move || facts::gather(&root, &version)).await.unwrap_or_default();
    let local = if options.local { LocalLookup::Ask } else { LocalLookup::Off };
    let transport = Arc::new(bind(&spoken, &ticket, options.bind.clone(), options.relay_only, local).await?);
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
        updates: count_updates(options.root.clone(), stop.clone()),
        vitals_period: options.vitals_period,
        vitals_kept_period: options.vitals_kept_period,
        observe_period: options.observe_period,
        told: options.told.clone(),
        metrics: Arc::clone(&options.metrics),
    };
    let ended = run_on(parts, stop.clone()).await;
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
    seed: &[u8; 32],
    ticket: &Ticket,
    bind: Vec<std::net::SocketAddr>,
    relay_only: bool,
    local: LocalLookup,
) -> Result<IrohTransport, AgentError> {
    let relays = addresses::relays(&ticket.coordinators, ticket);
    let config = IrohConfig { secret_key: *seed, bind, relay_only, relays, local };
    Ok(IrohTransport::bind(config).await?)
}
