//! One write, and a thousand who watch.

use crate::author::profile;
use crate::etcd::{self, Etcd};
use crate::failure::BenchError;
use crate::ground::Ground;
use crate::http::{Http, Watch};
use crate::process;
use crate::sample::{Peer, Samples};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Watchers.
const WATCHERS: usize = 1_000;
/// Connections that etcd's watchers share; each of ours has its own.
const CONNECTIONS: usize = 10;
/// Writes that are measured, after some that are not.
const WRITES: usize = 20;
/// Those before them.
const WARMUP: usize = 3;
/// The pause before a write.
const PAUSE: Duration = Duration::from_millis(200);
/// After this long a watcher counts as one that never saw it.
const SEEN_LIMIT: Duration = Duration::from_secs(30);
/// What is watched.
const PROFILES_PATH: &str = "/apis/stead.dev/v1/profiles";

/// Milliseconds until the last watcher has it.
pub(crate) fn thousand() -> Result<Vec<Samples>, BenchError> {
    process::allow_open_files()?;
    process::runtime()?.block_on(async {
        let ground = Ground::found().await?;
        let coordinator = ground.coordinator().await?;
        let author = ground.author(&coordinator)?;
        let http = Http::log_in(coordinator.value("plain")?, &author).await?;
        let (tell, mut told) = mpsc::unbounded_channel();
        for _ in 0..WATCHERS {
            tokio::spawn(follow(http.watch(PROFILES_PATH).await?, tell.clone()));
        }
        let mut samples = Samples { warmup: WARMUP, percentile: 99, ..Samples::default() };
        for round in 0..WARMUP + WRITES {
            let body = author.change(&profile(&format!("seen-{round}"), "none", "some words\n"), 1)?;
            tokio::time::sleep(PAUSE).await;
            let start = Instant::now();
            http.submit(body).await?;
            let took = all_have_seen(&mut told, start).await?;
            if round >= WARMUP {
                samples.values.push(took);
            }
        }
        coordinator.kill().await?;
        samples.peer = Some(Peer { name: etcd::NAME, value: thousand_of_etcd().await? });
        Ok(vec![samples])
    })
}

/// The same with etcd: milliseconds, the worst of all rounds.
async fn thousand_of_etcd() -> Result<f64, BenchError> {
    const PREFIX: &str = "/registry/stead.dev/profiles/";
    let etcd = Etcd::start().await?;
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(etcd.connect().await?);
    }
    for connection in connections.iter().cycle().take(WATCHERS) {
        let (mut events, tell) = (connection.watch(PREFIX).await?, tell.clone());
        tokio::spawn(async move {
            loop {
                let word = events.next().await.map(|()| Instant::now());
                let ended = word.is_err();
                if tell.send(word).is_err() || ended {
                    return;
                }
            }
        });
    }
    let (writer, mut samples) = (etcd.connect().await?, Samples { percentile: 99, ..Samples::default() });
    for round in 0..WARMUP + WRITES {
        let name = format!("seen-{round}");
        let object =
            serde_json::to_vec(&profile(&name, "none", "some words\n")).map_err(BenchError::step("writing an object"))?;
        tokio::time::sleep(PAUSE).await;
        let start = Instant::now();
        writer.put(&format!("{PREFIX}{name}"), &object).await?;
        let took = all_have_seen(&mut told, start).await?;
        if round >= WARMUP {
            samples.values.push(took);
        }
    }
    Ok(samples.value())
}

/// Milliseconds from the start until the last watcher has seen it.
async fn all_have_seen(
    told: &mut mpsc::UnboundedReceiver<Result<Instant, BenchError>>,
    start: Instant,
) -> Result<f64, BenchError> {
    let mut last = start;
    for _ in 0..WATCHERS {
        let seen: Result<Instant, BenchError> = tokio::time::timeout(SEEN_LIMIT, told.recv())
            .await
            .map_err(BenchError::step("waiting for a watcher"))?
            .ok_or_else(|| BenchError::step("waiting for a watcher")("all of them ended"))?;
        last = last.max(seen?);
    }
    Ok(last.duration_since(start).as_secs_f64() * 1e3)
}

/// Says when each new object was seen; what the coordinator counts on them afterwards is left out.
async fn follow(mut watch: Watch, tell: mpsc::UnboundedSender<Result<Instant, BenchError>>) {
    const ADDED: &[u8] = b"{\"type\":\"ADDED\"";
    loop {
        let event = watch.next().await;
        let seen = Instant::now();
        let word = match event {
            Ok(line) if !line.starts_with(ADDED) => continue,
            Ok(_) => Ok(seen),
            Err(error) => Err(error),
        };
        let ended = word.is_err();
        if tell.send(word).is_err() || ended {
            return;
        }
    }
}
