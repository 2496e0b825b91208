//! `stead coordinator`: the record, the API, the wire and the controllers, put together in one process.

mod desk;
mod refused_keys;
mod secrets;
mod ways;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use stead_admission::{Admission, Caller, Environment, Rule, Write, WriteError};
use stead_api::{Api, Limits, Server, ServingKeys};
use stead_control::Control;
use stead_control::presence::{Presence, SYSTEM_NAMESPACE};
use stead_model::{Digest, GroupKind, Namespace, Object, ObjectMeta};
use stead_store::{CommitError, Expect, Store};
use stead_trust::{Clock, Signer as _, SigningKey};
use stead_wire::{Coordinator, CoordinatorConfig, CoordinatorHandle, PeerAddress, Relay, relay_token, relay_token_mark};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::desk::Desk;
use self::refused_keys::RefusedKeys;
use self::ways::Ways;
use crate::Outcome;
use crate::commands::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::identity;
use crate::metrics::coordinator::Sources;
use crate::metrics::server::{MetricsServer, run_optional};
use crate::record::Place;

/// How long connections and watches get to end when the coordinator is stopped, in seconds.
const GOODBYE_SECONDS: u64 = 3;

/// `stead coordinator`.
#[derive(Debug, Args)]
pub(crate) struct CoordinatorArgs {
    /// Print the coordinator's public key (made if there is none yet), for `stead trust init --online`, and stop
    #[arg(long)]
    pub(crate) print_key: bool,
    /// The coordinator's key: an OpenSSH ed25519 private key file, such as a host key. Default: coordinator.key in the state directory
    #[arg(long, value_name = "FILE", env = "STEAD_COORDINATOR_KEY")]
    pub(crate) identity: Option<PathBuf>,
    /// The trust root to found the fleet on, as `stead trust init` wrote it; needed at the first start only
    #[arg(long, value_name = "FILE")]
    pub(crate) trust_root: Option<PathBuf>,
    /// Where the HTTPS API listens
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:6443", env = "STEAD_LISTEN")]
    pub(crate) listen: SocketAddr,
    /// Where the API also listens without TLS, for measurements: a loopback address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen_plain: Option<SocketAddr>,
    /// Where machines connect (UDP)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:6444", env = "STEAD_LISTEN_MACHINES")]
    pub(crate) listen_machines: SocketAddr,
    /// Where the relay for machines without a direct path listens (TCP)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:6445", env = "STEAD_LISTEN_RELAY")]
    pub(crate) listen_relay: SocketAddr,
    /// Serve metrics (Prometheus) on an address of their own: plain HTTP, for whoever reaches it. Owners find them at /metrics of
    /// the API in any case
    #[arg(long, value_name = "ADDRESS", env = "STEAD_LISTEN_METRICS")]
    pub(crate) listen_metrics: Option<SocketAddr>,
    /// Run no relay
    #[arg(long, conflicts_with = "listen_relay")]
    pub(crate) no_relay: bool,
    /// The URL of a relay that runs alone (`stead relay`), instead of the one in here; may be given several times. Tickets name the
    /// nearest that is there
    #[arg(long, value_name = "URL", env = "STEAD_RELAYS", value_delimiter = ',', conflicts_with_all = ["listen_relay", "no_relay"])]
    pub(crate) relay: Vec<String>,
    /// Do not announce this coordinator on the local network (multicast DNS). Where machines connect at loopback addresses alone, it
    /// is not announced in any case
    #[arg(long, env = "STEAD_NO_MDNS", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) no_mdns: bool,
    /// Names and addresses under which clients and machines find this coordinator; they go into certificate and tickets
    #[arg(long, value_name = "HOST", env = "STEAD_NAMES", value_delimiter = ',')]
    pub(crate) name: Vec<String>,
}

/// The system's clock.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Runs a coordinator until it is told to stop.
pub(crate) async fn run(context: &Context, args: CoordinatorArgs) -> Outcome {
    let state_dir = context.settings.state_dir();
    let key_file = args.identity.clone().unwrap_or_else(|| state_dir.join("coordinator.key"));
    let key = if args.identity.is_some() { identity::load(&key_file) } else { identity::load_or_create(&key_file) };
    let key = key.map_err(|error| Failure::of(FailureKind::Config, error))?;
    if args.print_key {
        context.print(&format!("{}\n", key.public_key()))?;
        return Ok(ExitCode::Success);
    }
    crate::install_tls()?;
    check_plain(args.listen_plain)?;
    let stop = stop_on_signal()?;
    crate::private_file::make_folder(&state_dir)
        .map_err(|error| Failure::new(FailureKind::Config, format!("{}: {error}", state_dir.display())))?;
    let place = Place::of(&context.settings)?;
    let Some(store) = place.open(&state_dir, |line| context.say(line), &stop).await? else {
        return Ok(ExitCode::Success);
    };
    let served = serve(context, &args, &state_dir, key, store.clone(), place.is_shared(), &stop).await;
    store.close().await;
    served?;
    Ok(ExitCode::Success)
}

async fn serve(
    context: &Context,
    args: &CoordinatorArgs,
    state_dir: &Path,
    key: SigningKey,
    store: Store,
    shared: bool,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let seed = key.seed().ok_or_else(|| Failure::internal("the coordinator's key has no seed"))?;
    let admission = open_admission(args, state_dir, store, key).await?;
    let refused_keys = RefusedKeys::open(state_dir, admission.clone()).await;
    let pass = secrets::load_or_create(&state_dir.join("join.pass")).map_err(|error| Failure::of(FailureKind::Config, error))?;
    let control = Control::new(admission.clone(), &pass);

    let ways = Ways::open(args, *seed, &admission, &control, &pass).await?;
    let fleet = admission.fleet();
    let address = ways.address(args);
    let mut wire_config = CoordinatorConfig::new(*fleet.as_bytes(), Arc::new(unix_milliseconds));
    wire_config.coordinators = vec![address.clone()];
    let (wire, events) = Coordinator::spawn(Arc::clone(&ways.transport), wire_config, control.gate());

    let keys = ServingKeys::open(&state_dir.join("tls"), &args.name).map_err(|error| Failure::of(FailureKind::Config, error))?;
    let desk = Arc::new(Desk::new(admission.clone(), control.clone(), wire.clone(), pass.to_vec()));
    let fleet_of_api: Arc<dyn stead_api::Fleet> = Arc::<Desk>::clone(&desk);
    let api = Api::new(admission.clone(), fleet_of_api, Limits::default(), stop.clone());
    let counted = ways.relay.as_ref().map(Relay::counter);
    let (inbox, keeping) = (admission.clone(), control.clone());
    let traces = Arc::clone(&context.traces);
    desk.attach(
        Sources { admission, control: control.clone(), wire: wire.clone(), relay: counted, relays: ways.tellings(), traces },
        &api,
    );
    let server = bind(args.listen, Some(&keys), &api).await?;
    let plain = bind_plain(args, &api).await?;
    let api_urls = public_api(args, &server, &address);
    let token_mark = relay_token_mark(&relay_token(&pass));
    let presence = Presence { address, api: api_urls, authority: keys.authority().to_owned(), token_mark };
    let (says, presence) = watch::channel(presence);
    desk.is_at(presence.clone());
    let metrics = bind_metrics(args).await?;
    let ports = Ports { api: &server, plain: plain.as_ref(), metrics: metrics.as_ref(), ways: &ways };
    announce(context, args, &ports, &fleet, state_dir)?;

    let refusals = AbortOnDropHandle::new(tokio::spawn(refused_keys.keep(keeping)));
    tokio::select! {
        () = stop.cancelled() => {}
        () = control.clone().run(wire.clone(), events, presence, !shared) => return Err(Failure::internal("the controllers ended by themselves")),
        // It ends when the record is closed, and not before.
        () = inbox.serve_inbox() => {}
        () = ways.follow(args, &says) => {}
        _ = refusals => {}
        () = server.run() => {}
        () = run_plain(plain) => {}
        () = run_optional(metrics, desk.metrics_port(), Arc::new(move |path| desk.metrics_at(path))) => {}
    }
    say_goodbye(&control, &wire, ways, stop).await;
    Ok(())
}

async fn say_goodbye(control: &Control, wire: &CoordinatorHandle, ways: Ways, stop: &CancellationToken) {
    tracing::info!("stopping");
    // Nobody waits for a database that is away.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(GOODBYE_SECONDS), control.resign()).await;
    stop.cancel();
    wire.stop();
    ways.close(std::time::Duration::from_secs(GOODBYE_SECONDS)).await;
}

async fn bind_plain(args: &CoordinatorArgs, api: &Api) -> Result<Option<Server>, Failure> {
    match args.listen_plain {
        Some(address) => Ok(Some(bind(address, None, api).await?)),
        None => Ok(None),
    }
}

async fn bind_metrics(args: &CoordinatorArgs) -> Result<Option<MetricsServer>, Failure> {
    match args.listen_metrics {
        Some(address) => Ok(Some(MetricsServer::bind(address).await?)),
        None => Ok(None),
    }
}

async fn run_plain(server: Option<Server>) {
    match server {
        Some(server) => server.run().await,
        None => std::future::pending().await,
    }
}

fn check_plain(address: Option<SocketAddr>) -> Result<(), Failure> {
    match address {
        Some(address) if !address.ip().is_loopback() => {
            Err(Failure::user(format!("--listen-plain {address}: without TLS the API is served on loopback addresses only")))
        }
        _ => Ok(()),
    }
}

fn random(bytes: &mut [u8]) {
    // Without random bytes nothing may be signed; the kernel gives them for ever once it has started.
    while getrandom::fill(bytes).is_err() {
        std::thread::yield_now();
    }
}

async fn open_admission(args: &CoordinatorArgs, state_dir: &Path, store: Store, key: SigningKey) -> Result<Admission, Failure> {
    let environment = Environment { clock: Arc::new(SystemClock), random: Arc::new(random) };
    let fleet_file = state_dir.join("fleet");
    if store.snapshot().newest_root().is_none() {
        let Some(path) = &args.trust_root else {
            return Err(Failure::new(FailureKind::Config, "this coordinator has no trust root yet")
                .hint("Make one with `stead trust init`, and start with --trust-root FILE once."));
        };
        let root = crate::root_file::read(path)?;
        match Admission::found(&store, &root, &environment).await {
            // Another coordinator of the same fleet was first; whether it is the same is seen when the chain is verified.
            Ok(()) | Err(WriteError::Commit(CommitError::RootVersion { .. })) => {}
            Err(error) => return Err(Failure::of(FailureKind::Config, error)),
        }
        write_fleet(&fleet_file, &root.digest())?;
    }
    let fleet = read_fleet(&fleet_file, &store)?;
    let admission =
        Admission::open(store, fleet, Arc::new(key), environment).map_err(|error| Failure::of(FailureKind::Config, error))?;
    if !admission.root().is_online_key(admission.online_key()) {
        tracing::warn!(key = %admission.online_key(), "this coordinator's key is no online key of the trust root: machines will refuse what it admits");
    }
    found_namespaces(&admission).await?;
    Ok(admission)
}

/// The fleet's id is kept beside the record, so that a record with another chain in it is noticed. Written whole or not at all.
fn write_fleet(path: &Path, fleet: &Digest) -> Result<(), Failure> {
    crate::private_file::write(path, format!("{fleet}\n").as_bytes()).map_err(|error| Failure::of(FailureKind::Config, error))
}

fn read_fleet(path: &Path, store: &Store) -> Result<Digest, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|error| Failure::of(FailureKind::Config, error)),
        // Founded by a coordinator that was killed between the two writes.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let first = store.snapshot().root(1).ok_or_else(|| Failure::internal("the record has no first trust root"))?;
            let fleet = Digest::of(&first.document);
            write_fleet(path, &fleet)?;
            Ok(fleet)
        }
        Err(error) => Err(Failure::new(FailureKind::Config, format!("{}: {error}", path.display()))),
    }
}

/// `kubectl` takes the namespace `default` for granted, and coordinators keep their leases in one of their own.
async fn found_namespaces(admission: &Admission) -> Result<(), Failure> {
    if admission.rule(&GroupKind::new("", "Namespace")) != Rule::Online {
        return Ok(());
    }
    let mut writes = Vec::new();
    for name in ["default", SYSTEM_NAMESPACE] {
        let metadata = ObjectMeta { name: name.to_owned(), ..ObjectMeta::default() };
        let object = Object::from_typed(&Namespace { metadata, ..Namespace::default() });
        let object = object.map_err(|error| Failure::internal(error.to_string()))?;
        if admission.store().snapshot().get(&object.key()).is_none() {
            writes.push(Write::Put { object, expect: Expect::Any });
        }
    }
    if writes.is_empty() {
        return Ok(());
    }
    let caller = Caller { name: "coordinator".to_owned(), key: None };
    match admission.write(&caller, "the namespaces that are taken for granted", writes, false).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::of(FailureKind::Config, error).hint(
            "If the trust root does not name this coordinator's key, make a new version of it: `stead coordinator --print-key`.",
        )),
    }
}

/// Where people and clients find the API: under the given names, else where machines find this coordinator.
fn public_api(args: &CoordinatorArgs, server: &Server, address: &PeerAddress) -> Vec<String> {
    let port = server.local_address().port();
    if !args.name.is_empty() {
        return args.name.iter().map(|name| format!("https://{}:{port}", host(name))).collect();
    }
    let listening = server.local_address().ip();
    let found: Vec<std::net::IpAddr> =
        if listening.is_unspecified() { address.addresses.iter().map(SocketAddr::ip).collect() } else { vec![listening] };
    let mut urls: Vec<String> = found.iter().map(|ip| format!("https://{}", SocketAddr::new(*ip, port))).collect();
    urls.dedup();
    urls
}

/// A host as it stands in a URL.
fn host(name: &str) -> String {
    match name.parse::<std::net::Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]"),
        Err(_) => name.to_owned(),
    }
}

async fn bind(address: SocketAddr, keys: Option<&ServingKeys>, api: &Api) -> Result<Server, Failure> {
    let bound = Server::bind(address, keys.map(ServingKeys::tls), api.clone()).await;
    bound.map_err(|error| Failure::of(FailureKind::Config, error))
}

/// Where a coordinator listens.
struct Ports<'a> {
    api: &'a Server,
    plain: Option<&'a Server>,
    metrics: Option<&'a MetricsServer>,
    ways: &'a Ways,
}

/// One line for people and programs: where everything is.
fn announce(
    context: &Context,
    args: &CoordinatorArgs,
    ports: &Ports<'_>,
    fleet: &Digest,
    state_dir: &Path,
) -> Result<(), Failure> {
    let Ports { api, plain, metrics, ways } = ports;
    let machines = ways.transport.bound_addresses().first().map_or_else(String::new, ToString::to_string);
    let plain = plain.map_or_else(String::new, |plain| format!(" plain=http://{}", plain.local_address()));
    let metrics = metrics.map_or_else(String::new, |metrics| format!(" metrics=http://{}/metrics", metrics.local_address()));
    let relay = ways.relay_words(args);
    let authority = state_dir.join("tls/authority.crt");
    context.print(&format!(
        "ready api=https://{}{plain}{metrics} machines={machines} relay={relay} fleet={fleet} ca={}\n",
        api.local_address(),
        authority.display()
    ))
}

/// SIGINT and SIGTERM stop it in order.
pub(crate) fn stop_on_signal() -> Result<CancellationToken, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let failed = |error: std::io::Error| Failure::internal(format!("signals cannot be listened to: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        token.cancel();
    });
    Ok(stop)
}

fn unix_milliseconds() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()
}
