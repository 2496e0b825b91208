//! `stead standby promote --switchover`: what has to be so before the primary is stopped, and the proof that nothing was lost after it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use stead_store::{PostgresServers, ServerReport, ServerState};

use super::programs::Programs;
use crate::commands::Context;
use crate::failure::{Failure, FailureKind};

/// How long the standby may take to receive what the primary has written, in seconds, before the primary is stopped for it: one that
/// streams has it within milliseconds.
const CAUGHT_UP_SECONDS_MAX: u64 = 10;
const LOOK_MILLISECONDS: u64 = 50;

/// A switch-over: from where to where.
pub(super) struct Switchover<'a> {
    pub(super) context: &'a Context,
    pub(super) servers: &'a PostgresServers,
    pub(super) reports: &'a [ServerReport],
    pub(super) primary: usize,
    pub(super) standby: usize,
    pub(super) programs: Programs,
    /// The primary's.
    pub(super) data_dir: PathBuf,
}

impl Switchover<'_> {
    /// Stops the primary in good order, once the standby has all that it wrote so far. When this returns, the standby has its last
    /// word.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        self.check_data_dir()?;
        self.wait_until_caught_up().await?;
        self.context.say("stopping the primary ...");
        // It ends when its standbys have all of its log.
        let data_dir = self.data_dir.to_string_lossy();
        self.programs.run("pg_ctl", &["stop", "-m", "fast", "-w", "-D", &data_dir]).map_err(|failure| {
            failure
                .hint("It stops once its standbys have all of its log: see that they stream; then promote without --switchover.")
        })?;
        let written = self.programs.last_checkpoint(&self.data_dir)?;
        let received = self.servers.report(self.standby).await.state.map_err(Failure::refused)?.position;
        if received > written {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "the standby has received the log up to {received}, and the primary's last word is at {written}: start the primary again, \
             and see that the standby streams"
        )))
    }

    fn state(&self, number: usize) -> Result<(&str, &ServerState), Failure> {
        let report = self.reports.get(number).ok_or_else(|| Failure::internal("a server is gone from the list"))?;
        report.state.as_ref().map(|state| (report.host.as_str(), state)).map_err(|reason| Failure::refused(reason.clone()))
    }

    /// Whether it is the primary's, and not another server's that would be stopped for it.
    fn check_data_dir(&self) -> Result<(), Failure> {
        let (host, primary) = self.state(self.primary)?;
        let found = self.programs.control_data(&self.data_dir)?;
        let ours = found.system == Some(primary.system) && found.timeline == Some(primary.timeline);
        if ours && found.state == "in production" {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "{} is not where {host} has its data: its server is \"{}\"; nothing was stopped",
            self.data_dir.display(),
            found.state
        ))
        .hint("Name the data directory of the primary, on the primary's machine."))
    }

    async fn wait_until_caught_up(&self) -> Result<(), Failure> {
        let ((primary_host, primary), (host, standby)) = (self.state(self.primary)?, self.state(self.standby)?);
        let untouched = "Nothing was stopped. `stead standby status` shows more; a standby that lags catches up by itself.";
        if standby.system != primary.system || standby.timeline != primary.timeline || !standby.receives {
            let reason = if standby.receives { "is on another timeline than" } else { "receives nothing from" };
            return Err(Failure::refused(format!("{host} {reason} {primary_host}")).hint(untouched));
        }
        let failed = |error| Failure::of(FailureKind::Unreachable, error);
        let mark = self.servers.mark(self.primary).await.map_err(failed)?;
        let limit = Instant::now() + Duration::from_secs(CAUGHT_UP_SECONDS_MAX);
        loop {
            let received = self.servers.report(self.standby).await.state.map_err(Failure::refused)?.position;
            if received >= mark {
                return Ok(());
            }
            if Instant::now() > limit {
                let behind = mark.saturating_sub(received);
                return Err(Failure::refused(format!(
                    "{host} has not caught up with {primary_host} within {CAUGHT_UP_SECONDS_MAX} s: it is {behind} bytes behind"
                ))
                .hint(untouched));
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
        }
    }
}
