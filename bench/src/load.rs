//! Load on the API: so many requests a second, whatever the answers take.

use crate::failure::BenchError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Requests on their way at once, below what the API takes of one client; the others wait, and their wait counts.
const UNDERWAY_MAX: usize = 64;

/// Starts requests at a steady rate and returns the milliseconds of each, from the moment it is due. The first ones are thrown away.
pub(crate) async fn paced<F, Fut>(per_second: u32, warmup: usize, count: usize, request: F) -> Result<Vec<f64>, BenchError>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<(), BenchError>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(UNDERWAY_MAX));
    let start = Instant::now();
    let mut running = Vec::with_capacity(warmup + count);
    for number in 0..warmup + count {
        let due = start + Duration::from_secs_f64(number as f64 / f64::from(per_second));
        tokio::time::sleep_until(due).await;
        let (places, asking) = (Arc::clone(&places), request(number));
        running.push(tokio::spawn(async move {
            let _place = places.acquire_owned().await.map_err(BenchError::step("waiting for a place"))?;
            asking.await?;
            Ok::<_, BenchError>(due.elapsed().as_secs_f64() * 1e3)
        }));
    }
    let mut milliseconds = Vec::with_capacity(count);
    for (number, one) in running.into_iter().enumerate() {
        let took = one.await.map_err(BenchError::step("waiting for a request"))??;
        if number >= warmup {
            milliseconds.push(took);
        }
    }
    Ok(milliseconds)
}
