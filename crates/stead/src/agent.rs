//! `stead agent`: what runs on a machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use stead_agent::{AgentMetrics, AgentOptions, Told, run as run_agent};
use stead_wire::Ticket;

use crate::Outcome;
use crate::commands::Context;
use crate::coordinator::stop_on_signal;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::metrics::server::MetricsServer;
use crate::{identity, metrics};

/// `stead agent`.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The ticket to join a fleet with; needed once. `-` reads it from standard input, `@FILE` from a file
    #[arg(long, value_name = "TICKET", env = "STEAD_TICKET", hide_env_values = true)]
    pub(crate) join: Option<String>,
    /// The machine's root directory: a folder other than / makes a machine out of that folder
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// The machine's key: an OpenSSH ed25519 private key file, such as the host key. Default: machine.key in the state directory
    #[arg(long, value_name = "FILE", env = "STEAD_MACHINE_KEY")]
    pub(crate) identity: Option<PathBuf>,
    /// The name to join under, where the ticket lets machines in by itself. Default: the host name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Speak from this local address only (UDP); may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Vec<SocketAddr>,
    /// Speak through the coordinator's relay only
    #[arg(long)]
    pub(crate) relay_only: bool,
    /// How often load, memory and the rest are measured, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) vitals_seconds: u64,
    /// How often a sample of them is kept while no coordinator is reached, to be told of later, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) vitals_kept_seconds: u64,
    /// How often what is as it should be is looked at again, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) observe_seconds: u64,
    /// Serve this agent's metrics (Prometheus) on this address: plain HTTP, for whoever reaches it. Without it nothing listens
    #[arg(long, value_name = "ADDRESS", env = "STEAD_LISTEN_METRICS")]
    pub(crate) listen_metrics: Option<SocketAddr>,
}

/// Runs an agent until it is told to stop.
pub(crate) async fn run(context: &Context, args: AgentArgs) -> Outcome {
    let state_dir = context.settings.state_dir();
    let key_file = args.identity.clone().unwrap_or_else(|| state_dir.join("machine.key"));
    let key = if args.identity.is_some() { identity::load(&key_file) } else { identity::load_or_create(&key_file) };
    let key = key.map_err(|error| Failure::of(FailureKind::Config, error))?;
    let ticket = args.join.as_deref().map(read_ticket).transpose()?;
    let server = match args.listen_metrics {
        Some(address) => Some(MetricsServer::bind(address).await?),
        None => None,
    };
    let (told, telling) = tokio::sync::watch::channel(Told::default());
    let counted = Arc::new(AgentMetrics::new());
    let metrics = Arc::new(metrics::agent::metrics(telling, Arc::clone(&counted), Arc::clone(&context.traces)));
    let stop = stop_on_signal()?;
    let options = AgentOptions {
        root: args.root,
        state_dir,
        key,
        ticket,
        name: args.name,
        bind: args.bind,
        relay_only: args.relay_only,
        vitals_period: Duration::from_secs(args.vitals_seconds),
        vitals_kept_period: Duration::from_secs(args.vitals_kept_seconds),
        observe_period: Duration::from_secs(args.observe_seconds),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        told,
        metrics: counted,
    };
    if let Some(server) = &server {
        tracing::info!(address = %server.local_address(), "metrics are served");
    }
    tokio::select! {
        ended = run_agent(options, stop) => ended.map_err(|error| Failure::of(FailureKind::Config, error))?,
        () = metrics::server::run_optional(server, metrics.port(), Arc::new(move |path| (path == "/metrics").then(|| metrics.text()))) => {}
    }
    Ok(ExitCode::Success)
}

/// A ticket is a secret of a kind: it can be given without standing in the list of processes.
fn read_ticket(text: &str) -> Result<Ticket, Failure> {
    let text = match (text, text.strip_prefix('@')) {
        ("-", _) => {
            std::io::read_to_string(std::io::stdin()).map_err(|error| Failure::user(format!("standard input: {error}")))?
        }
        (_, Some(path)) => std::fs::read_to_string(path).map_err(|error| Failure::user(format!("{path}: {error}")))?,
        _ => text.to_owned(),
    };
    text.trim().parse().map_err(|error| Failure::of(FailureKind::User, error))
}
