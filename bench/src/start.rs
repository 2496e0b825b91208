//! The start of a coordinator on an empty database.

use crate::failure::BenchError;
use crate::ground::Ground;
use crate::sample::Samples;
use crate::{http, process};
use std::time::Instant;

/// Starts that are measured, after one that is not.
const ROUNDS: usize = 10;

/// Milliseconds from the start of the process to the first answer, each on a record that is not there yet.
pub(crate) fn coordinator() -> Result<Vec<Samples>, BenchError> {
    process::runtime()?.block_on(async {
        let mut samples = Samples { warmup: 1, ..Samples::default() };
        for round in 0..=ROUNDS {
            let ground = Ground::found().await?;
            let client = http::anonymous()?;
            let start = Instant::now();
            let coordinator = ground.coordinator().await?;
            let answer = client.get(format!("{}/livez", coordinator.value("plain")?)).send().await;
            let took = start.elapsed();
            let status = answer.map_err(BenchError::step("asking a new coordinator"))?.status();
            coordinator.kill().await?;
            if !status.is_success() {
                return Err(BenchError::Answer { program: "/livez".to_owned(), answer: status.to_string() });
            }
            if round > 0 {
                samples.values.push(took.as_secs_f64() * 1e3);
            }
        }
        Ok(vec![samples])
    })
}
