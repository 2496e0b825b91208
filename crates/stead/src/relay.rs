//! `stead relay`: a relay that runs alone on a host of its own, for the machines of one fleet.

mod client;
mod roll;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stead_model::Digest;
use stead_wire::{Relay, RelayLimits, RelayStanding, RollKeeper};

pub(crate) use self::client::RelayClient;
pub(crate) use self::roll::{Teller, Telling};
use crate::Outcome;
use crate::aligned::aligned;
use crate::cli::{RelayArgs, RelayCommand, RelayRunArgs, RelayStatusArgs};
use crate::commands::Context;
use crate::coordinator::stop_on_signal;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::metrics;
use crate::metrics::server::{MetricsServer, Source, run_optional};
use crate::output::{Format, json, yaml};
use crate::private_file;

/// How long connections get to end when the relay is stopped, in seconds.
const GOODBYE_SECONDS: u64 = 3;

/// The roll and the trust roots, in the state directory.
const ROLL_FILE: &str = "relay.roll";

/// Runs a relay until it is told to stop, or shows how one is doing.
pub(crate) async fn run(context: &Context, args: RelayArgs) -> Outcome {
    match args.command {
        Some(RelayCommand::Status(args)) => status(context, &args).await,
        None => serve(context, &args.run).await,
    }
}

async fn serve(context: &Context, args: &RelayRunArgs) -> Outcome {
    let fleet = context.settings.fleet().ok_or_else(|| {
        Failure::new(FailureKind::Config, "it is not known whose relay this is")
            .hint("Give the fleet's id with --fleet: `stead status` shows it, and the coordinator when it starts.")
    })?;
    let stop = stop_on_signal()?;
    let keeper = Arc::new(open(&context.settings.state_dir(), fleet)?);
    let relay = Relay::spawn_alone(args.listen, Arc::clone(&keeper), RelayLimits::default());
    let relay = relay.await.map_err(|error| Failure::of(FailureKind::Config, error))?;
    let served = match args.listen_metrics {
        Some(address) => Some(MetricsServer::bind(address).await?),
        None => None,
    };
    let measured = Arc::new(metrics::relay::metrics(relay.counter(), Arc::clone(&keeper)));
    let standing = keeper.standing();
    let metrics_at =
        served.as_ref().map_or_else(String::new, |server| format!(" metrics=http://{}/metrics", server.local_address()));
    context.print(&format!(
        "ready relay={}{metrics_at} fleet={fleet} root={} members={}\n",
        relay.url(),
        standing.root_version,
        standing.count
    ))?;
    if standing.root_version == 0 {
        tracing::info!(
            "nobody is admitted until a coordinator of this fleet has come: start it with --relay and this relay's URL"
        );
    }
    let told = Arc::clone(&measured);
    let source: Source = Arc::new(move |path| (path == "/metrics").then(|| told.text()));
    tokio::select! {
        () = stop.cancelled() => {}
        () = run_optional(served, measured.port(), source) => {}
    }
    tracing::info!("stopping");
    let _ = tokio::time::timeout(Duration::from_secs(GOODBYE_SECONDS), relay.stop()).await;
    Ok(ExitCode::Success)
}

/// The roll as it was kept, verified again.
fn open(state_dir: &Path, fleet: Digest) -> Result<RollKeeper, Failure> {
    let unusable = |error: std::io::Error, path: &Path| Failure::new(FailureKind::Config, format!("{}: {error}", path.display()));
    crate::private_file::make_folder(state_dir).map_err(|error| unusable(error, state_dir))?;
    let path = state_dir.join(ROLL_FILE);
    let kept = match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(unusable(error, &path)),
    };
    let file = path.clone();
    let keep = Box::new(move |bytes: &[u8]| private_file::write(&file, bytes).map_err(std::io::Error::other));
    RollKeeper::open(fleet, kept.as_deref(), keep).map_err(|error| {
        Failure::new(FailureKind::Config, format!("{}: {error}", path.display()))
            .hint("Is it another fleet's? A relay serves one fleet; remove the file, and coordinators bring a new one.")
    })
}

async fn status(context: &Context, args: &RelayStatusArgs) -> Outcome {
    crate::install_tls()?;
    let standing = RelayClient::new(&args.url)?.standing().await.map_err(|error| Failure::of(FailureKind::Unreachable, error))?;
    let value = || serde_json::to_value(&standing).map_err(|error| Failure::internal(error.to_string()));
    let text = match context.settings.output() {
        Format::Json => json(&value()?)?,
        Format::Yaml => yaml(&value()?)?,
        _ => render(&standing),
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

fn render(standing: &RelayStanding) -> String {
    let roll = match standing.sequence {
        0 => "none yet: nobody but coordinators is admitted".to_owned(),
        sequence => format!("{} members, {} passes, number {sequence}", standing.count, standing.marks.len()),
    };
    let root = match standing.root_version {
        0 => "none yet: no coordinator has come".to_owned(),
        version => format!("version {version}"),
    };
    let rows = [
        ("Fleet:", standing.fleet.to_string()),
        ("Trust root:", root),
        ("Roll:", roll),
        ("Connected:", standing.established.to_string()),
        ("Refused:", format!("{} since it started", standing.refused)),
    ];
    aligned(&[], rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect())
}
