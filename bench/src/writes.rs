//! Signed Changes over HTTP: at a steady rate, and as fast as they go.

use crate::author::{Author, profile};
use crate::failure::BenchError;
use crate::ground::Ground;
use crate::http::Http;
use crate::load::paced;
use crate::process;
use crate::sample::Samples;
use std::time::Instant;

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

        let bodies = bodies(&author, "steady", STEADY_WARMUP + STEADY)?;
        let write = |number: usize| {
            let (http, body) = (http.clone(), bodies.get(number).cloned().unwrap_or_default());
            async move { http.submit(body).await }
        };
        let values = paced(PER_SECOND, STEADY_WARMUP, STEADY, write).await?;
        let steady = Samples { values, warmup: STEADY_WARMUP, percentile: 99, ..Samples::default() };

        let mut rates = Samples { warmup: 1, ..Samples::default() };
        for round in 0..=ROUNDS {
            let rate = saturated(&author, &http, round).await?;
            if round > 0 {
                rates.values.push(rate);
            }
        }
        coordinator.kill().await?;
        Ok(vec![steady, rates])
    })
}

/// Changes a second of all clients together.
async fn saturated(author: &Author, http: &Http, round: usize) -> Result<f64, BenchError> {
    let prepared: Vec<Vec<Vec<u8>>> = (0..CLIENTS)
        .map(|client| bodies(author, &format!("round-{round}-{client}"), CHANGES_PER_CLIENT))
        .collect::<Result<_, _>>()?;
    let start = Instant::now();
    let client = |bodies: Vec<Vec<u8>>| {
        let http = http.clone();
        tokio::spawn(async move {
            for body in bodies {
                http.submit(body).await?;
            }
            Ok::<_, BenchError>(())
        })
    };
    let running: Vec<_> = prepared.into_iter().map(client).collect();
    for one in running {
        one.await.map_err(BenchError::step("waiting for a client"))??;
    }
    Ok((CLIENTS * CHANGES_PER_CLIENT) as f64 / start.elapsed().as_secs_f64())
}

/// Signed beforehand: the author's machine is not what is measured.
fn bodies(author: &Author, name: &str, count: usize) -> Result<Vec<Vec<u8>>, BenchError> {
    (0..count).map(|number| author.change(&profile(&format!("{name}-{number}"), "none", "some words\n"), 1)).collect()
}
