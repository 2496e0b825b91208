//! The speed of the simulated fleet.

use crate::failure::BenchError;
use crate::sample::Samples;
use std::time::Instant;
use stead_sim::{Plan, play};

/// Machines of the fleet.
const MACHINES: usize = 20;
/// Simulated time with faults, in seconds; some more follows until the fleet has come to rest.
const SECONDS: u64 = 3_600;
/// Stories that are measured, after one that is not.
const ROUNDS: u64 = 5;

/// How many times as fast as time one core simulates a fleet while everything goes wrong; each round with another seed.
pub(crate) fn speed() -> Result<Vec<Samples>, BenchError> {
    let mut samples = Samples { warmup: 1, ..Samples::default() };
    for seed in 0..=ROUNDS {
        let plan = Plan { machines: Some(MACHINES), seconds: Some(SECONDS), ..Plan::of(seed) };
        let start = Instant::now();
        let outcome = play(&plan).map_err(BenchError::step("playing a seed"))?;
        let took = start.elapsed();
        if let Some(violation) = outcome.violations.first() {
            return Err(BenchError::Answer { program: format!("seed {seed}"), answer: violation.clone() });
        }
        if seed > 0 {
            samples.values.push(outcome.simulated.as_secs_f64() / took.as_secs_f64());
        }
    }
    Ok(vec![samples])
}
