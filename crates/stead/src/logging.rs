//! The log: to standard error, as text or as JSON.

use tracing_subscriber::EnvFilter;

use crate::config::{Origin, Settings};
use crate::failure::Failure;
use crate::terminal::Terminal;

/// What a coordinator or an agent logs where nobody has said anything: what it does itself, and the warnings of what it is made of.
const DAEMON_FILTER: &str = "warn,stead=info,stead_admission=info,stead_agent=info,stead_api=info,stead_control=info,stead_store=info,\
                             stead_wire=info";

/// Starts the log as the settings say. `daemon` is a command that runs for ever and speaks through its log alone.
pub(crate) fn start(settings: &Settings, terminal: Terminal, daemon: bool) -> Result<(), Failure> {
    let unset = settings.resolved("log_level").is_none_or(|resolved| resolved.origin == Origin::Default);
    let filter = EnvFilter::new(if daemon && unset { DAEMON_FILTER } else { settings.log_level() });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal.stderr_colour());
    let started = if settings.log_json() { log.json().flatten_event(true).try_init() } else { log.try_init() };
    started.map_err(|error| Failure::internal(format!("the log could not be started: {error}")))
}
