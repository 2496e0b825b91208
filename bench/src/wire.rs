//! A request in a session against the same bytes on a raw iroh stream, in turns, in one process.

mod raw;
mod session;

use crate::failure::BenchError;
use crate::sample::{Peer, Samples};
use std::time::Instant;

/// Bytes each way in one request.
const REQUEST_BYTES: usize = 256;
/// Requests one after the other in one round.
const SEQUENTIAL_REQUESTS: usize = 2_000;
/// Requests by each of those who ask at once, in one round.
const SATURATED_REQUESTS: usize = 2_000;
/// Who ask at once: as many as may wait for one machine.
const CLIENTS: usize = stead_wire::PLANS_WAITING_MAX;
/// Rounds that are measured, after one that is not.
const ROUNDS: usize = 5;

/// What one round of requests took.
struct Round {
    /// Seconds of each request.
    seconds: Vec<f64>,
    /// CPU seconds of this process a request.
    cpu_seconds: f64,
}

impl Round {
    fn p50_seconds(&self) -> f64 {
        Samples { values: self.seconds.clone(), ..Samples::default() }.value()
    }
}

/// The overhead in percent: of the median request, and of the CPU time where many ask at once.
pub(crate) fn overhead() -> Result<Vec<Samples>, BenchError> {
    let runtime = crate::process::runtime()?;
    runtime.block_on(async {
        let raw = raw::Raw::start().await?;
        let session = session::Session::start().await?;
        let measured = || Samples { warmup: 1, ..Samples::default() };
        let (mut p50_percent, mut cpu_percent) = (measured(), measured());
        let (mut raw_microseconds, mut raw_cpu_microseconds) = (measured(), measured());
        for round in 0..=ROUNDS {
            let raw_alone = raw.round(1, SEQUENTIAL_REQUESTS).await?;
            let session_alone = session.round(1, SEQUENTIAL_REQUESTS).await?;
            let raw_many = raw.pipelined(CLIENTS, SATURATED_REQUESTS).await?;
            let session_many = session.round(CLIENTS, SATURATED_REQUESTS).await?;
            if round > 0 {
                p50_percent.values.push(percent(session_alone.p50_seconds(), raw_alone.p50_seconds()));
                cpu_percent.values.push(percent(session_many.cpu_seconds, raw_many.cpu_seconds));
                raw_microseconds.values.push(raw_alone.p50_seconds() * 1e6);
                raw_cpu_microseconds.values.push(raw_many.cpu_seconds * 1e6);
            }
        }
        raw.close().await;
        session.close().await;
        p50_percent.peer = Some(Peer { name: "raw iroh stream, us p50", value: raw_microseconds.value() });
        cpu_percent.peer = Some(Peer {
            name: "one raw iroh stream with as many requests on their way, CPU us a request",
            value: raw_cpu_microseconds.value(),
        });
        Ok(vec![p50_percent, cpu_percent])
    })
}

fn percent(value: f64, of: f64) -> f64 {
    (value / of - 1.0) * 100.0
}

/// Runs clients side by side and gathers what they took.
async fn gather<F, Fut>(clients: usize, requests: usize, client: F) -> Result<Round, BenchError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Vec<f64>, BenchError>> + Send + 'static,
{
    let before = cpu_seconds();
    let running: Vec<_> = (0..clients).map(|_| tokio::spawn(client())).collect();
    let mut seconds = Vec::with_capacity(clients * requests);
    for one in running {
        seconds.extend(one.await.map_err(BenchError::step("waiting for a client"))??);
    }
    let count = u32::try_from(seconds.len().max(1)).unwrap_or(u32::MAX);
    Ok(Round { seconds, cpu_seconds: (cpu_seconds() - before) / f64::from(count) })
}

/// Times a request.
async fn timed<T>(seconds: &mut Vec<f64>, request: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let answer = request.await;
    seconds.push(start.elapsed().as_secs_f64());
    answer
}

/// CPU time of this process so far, of all its threads, as the scheduler counts it: in nanoseconds, not in ticks.
fn cpu_seconds() -> f64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}
