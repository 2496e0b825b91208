//! The memory of an agent that has nothing to do.

use crate::applied::{PROFILE, acknowledged};
use crate::author::profile;
use crate::failure::BenchError;
use crate::ground::{Ground, MACHINES_PATH, ROLE};
use crate::http::Http;
use crate::process;
use crate::sample::Samples;
use std::path::PathBuf;
use std::time::Duration;

/// How long the agent is left alone before it is looked at: longer than the period of its vitals, so that these are in it.
const SETTLE: Duration = Duration::from_secs(75);
/// Looks at it.
const LOOKS: usize = 5;
/// The pause between them.
const PAUSE: Duration = Duration::from_secs(1);

/// Rss and private memory, in MiB.
pub(crate) fn agent() -> Result<Vec<Samples>, BenchError> {
    process::runtime()?.block_on(async {
        let ground = Ground::found().await?;
        let coordinator = ground.coordinator().await?;
        let author = ground.author(&coordinator)?;
        let http = Http::log_in(coordinator.value("plain")?, &author).await?;
        let ticket = ground.ticket(&coordinator).await?;
        let agent = ground.agent("m1", &ticket, &http).await?;
        let mut watch = http.watch(MACHINES_PATH).await?;
        http.submit(author.change(&profile(PROFILE, ROLE, "idle\n"), 1)?).await?;
        acknowledged(&mut watch, 1).await?;
        tokio::time::sleep(SETTLE).await;
        let pid = agent.id().ok_or_else(|| BenchError::step("looking at an agent")("it has ended"))?;
        let (mut resident, mut private) = (Samples::default(), Samples::default());
        for _ in 0..LOOKS {
            tokio::time::sleep(PAUSE).await;
            resident.values.push(mib(pid, "Rss")?);
            private.values.push(mib(pid, "Private_Dirty")?);
        }
        coordinator.kill().await?;
        Ok(vec![resident, private])
    })
}

/// A line of a process's memory, as proc(5) has it for `smaps_rollup`.
fn mib(pid: u32, name: &str) -> Result<f64, BenchError> {
    let path = PathBuf::from(format!("/proc/{pid}/smaps_rollup"));
    let text = std::fs::read_to_string(&path).map_err(|source| BenchError::File { path, source })?;
    let kib = |line: &str| -> Option<f64> { line.strip_prefix(name)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok() };
    Ok(text.lines().find_map(kib).unwrap_or(f64::NAN) / 1024.0)
}
