//! The log: to standard error, as text or as JSON.

mod json;

use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, filter::filter_fn};

use self::json::JsonLines;
use crate::config::{Origin, Settings};
use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::trace::TraceLayer;

/// What a coordinator or an agent logs where nobody has said anything: what it does itself, and the warnings of what it is made of.
const DAEMON_FILTER: &str = "warn,stead=info,stead_admission=info,stead_agent=info,stead_api=info,stead_control=info,stead_store=info,\
                             stead_wire=info,swarm_discovery=error";

/// Starts the log as the settings say, and what collects spans. `daemon` is a command that runs for ever and speaks through its log alone.
pub(crate) fn start(settings: &Settings, terminal: Terminal, daemon: bool, traces: Option<TraceLayer>) -> Result<(), Failure> {
    let unset = settings.resolved("log_level").is_none_or(|resolved| resolved.origin == Origin::Default);
    let filter = EnvFilter::new(if daemon && unset { DAEMON_FILTER } else { settings.log_level() });
    let log = tracing_subscriber::fmt::layer::<Registry>().with_writer(std::io::stderr).with_ansi(terminal.stderr_colour());
    let log = if settings.log_json() { log.fmt_fields(JsonFields::new()).event_format(JsonLines).boxed() } else { log.boxed() };
    let traces = traces.map(|layer| {
        let takes = filter_fn(TraceLayer::takes).with_max_level_hint(tracing::level_filters::LevelFilter::DEBUG);
        layer.with_filter(takes)
    });
    let started = tracing_subscriber::registry().with(log.with_filter(filter)).with(traces).try_init();
    started.map_err(|error| Failure::internal(format!("the log could not be started: {error}")))
}
