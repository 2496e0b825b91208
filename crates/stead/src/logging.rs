//! The log: to standard error, as text or as JSON.

use tracing_subscriber::EnvFilter;

use crate::config::Settings;
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Starts the log as the settings say.
pub(crate) fn start(settings: &Settings, terminal: Terminal) -> Result<(), Failure> {
    let filter = EnvFilter::new(settings.log_level());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal.stderr_colour());
    let started = if settings.log_json() { log.json().flatten_event(true).try_init() } else { log.try_init() };
    started.map_err(|error| Failure::internal(format!("the log could not be started: {error}")))
}
