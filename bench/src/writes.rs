//! Signed Changes over HTTP: at a steady rate, and as fast as they go.

use crate::author::{Author, profile};
use crate::etcd::{self, Etcd};
use crate::failure::BenchError;
use crate::ground::Ground;
use crate::http::{Connection, Http};
use crate::load::paced;
use crate::process;
use crate::sample::{Peer, Samples};
use std::time::Instant;
use stead_peers::TempPostgres;

/// Changes a second where the time of each is measured.
const PER_SECOND: u32 = 200;
/// Changes of which the time is measured, after some that are not.
const STEADY: usize = 2_000;
/// Those before them.
const STEADY_WARMUP: usize = 200;
/// Clients that write as fast as they can.
const CLIENTS: usize = 64;
/// Changes of each client in one round.
const CHANGES_PER_CLIENT: usize = 100;
/// Rounds that are measured, after one that is not.
const ROUNDS: usize = 5;

/// The time of a write, and how many go in a second.
pub(crate) fn changes() -> Result<Vec<Samples>, BenchError> {
    process::runtime()?.block_on(async {
        let ground = Ground::found().await?;
        let coordinator = ground.coordinator().await?;
        let author = ground.author(&coordinator)?;
        let http = Http::log_in(coordinator.value("plain")?, &author).await?;
        let mut steady = steady(&author, &http).await?;

        let mut rates = Samples { warmup: 1, ..Samples::default() };
        for round in 0..=ROUNDS {
            let rate = saturated(&author, &http, round).await?;
            if round > 0 {
                rates.values.push(rate);
            }
        }
        coordinator.kill().await?;
        let (milliseconds, rate) = etcd_puts().await?;
        steady.peer = Some(Peer { name: etcd::NAME, value: milliseconds });
        rates.peer = Some(Peer { name: etcd::NAME, value: rate });
        Ok(vec![steady, rates])
    })
}

/// The same steady writes with the record in PostgreSQL, whose log is on a disk.
pub(crate) fn changes_postgres() -> Result<Vec<Samples>, BenchError> {
    let server = TempPostgres::start_durable();
    process::runtime()?.block_on(async {
        let ground = Ground::found().await?;
        let coordinator = ground.coordinator_on(&server.url()).await?;
        let author = ground.author(&coordinator)?;
        let http = Http::log_in(coordinator.value("plain")?, &author).await?;
        let samples = steady(&author, &http).await?;
        coordinator.kill().await?;
        Ok(vec![samples])
    })
}

/// Changes at the steady rate.
async fn steady(author: &Author, http: &Http) -> Result<Samples, BenchError> {
    let bodies = bodies(author, "steady", STEADY_WARMUP + STEADY)?;
    let write = |number: usize| {
        let (http, body) = (http.clone(), bodies.get(number).cloned().unwrap_or_default());
        async move { http.submit(body).await }
    };
    let values = paced(PER_SECOND, STEADY_WARMUP, STEADY, write).await?;
    Ok(Samples { values, warmup: STEADY_WARMUP, percentile: 99, ..Samples::default() })
}

/// The same objects into etcd, unsigned and unchecked: the p99 of the steady rate in milliseconds, and puts a second of all clients.
async fn etcd_puts() -> Result<(f64, f64), BenchError> {
    let etcd = Etcd::start().await?;
    let connection = etcd.connect().await?;
    let object =
        |name: &str| serde_json::to_vec(&profile(name, "none", "some words\n")).map_err(BenchError::step("writing an object"));
    let put = |number: usize| {
        let (connection, name) = (connection.clone(), format!("steady-{number}"));
        let object = object(&name);
        async move { connection.put(&name, &object?).await }
    };
    let values = paced(PER_SECOND, STEADY_WARMUP, STEADY, put).await?;
    let steady = Samples { values, percentile: 99, ..Samples::default() };

    let start = Instant::now();
    let mut running = Vec::with_capacity(CLIENTS);
    for client in 0..CLIENTS {
        let (connection, object) = (etcd.connect().await?, object("put")?);
        running.push(tokio::spawn(async move {
            for number in 0..CHANGES_PER_CLIENT * ROUNDS {
                connection.put(&format!("put-{client}-{number}"), &object).await?;
            }
            Ok::<_, BenchError>(())
        }));
    }
    for one in running {
        one.await.map_err(BenchError::step("waiting for a client"))??;
    }
    let rate = (CLIENTS * CHANGES_PER_CLIENT * ROUNDS) as f64 / start.elapsed().as_secs_f64();
    Ok((steady.value(), rate))
}

/// Changes a second of all clients together.
async fn saturated(author: &Author, http: &Http, round: usize) -> Result<f64, BenchError> {
    let prepared: Vec<Vec<Vec<u8>>> = (0..CLIENTS)
        .map(|client| bodies(author, &format!("round-{round}-{client}"), CHANGES_PER_CLIENT))
        .collect::<Result<_, _>>()?;
    let mut clients = Vec::with_capacity(CLIENTS);
    for bodies in prepared {
        clients.push((http.connect().await?, bodies));
    }
    let start = Instant::now();
    let client = |(mut connection, bodies): (Connection, Vec<Vec<u8>>)| {
        tokio::spawn(async move {
            for body in bodies {
                connection.submit(body).await?;
            }
            Ok::<_, BenchError>(())
        })
    };
    let running: Vec<_> = clients.into_iter().map(client).collect();
    for one in running {
        one.await.map_err(BenchError::step("waiting for a client"))??;
    }
    Ok((CLIENTS * CHANGES_PER_CLIENT) as f64 / start.elapsed().as_secs_f64())
}

/// Signed beforehand: the author's machine is not what is measured.
fn bodies(author: &Author, name: &str, count: usize) -> Result<Vec<Vec<u8>>, BenchError> {
    (0..count).map(|number| author.change(&profile(&format!("{name}-{number}"), "none", "some words\n"), 1)).collect()
}
