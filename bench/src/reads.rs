//! Lists of a large record over HTTP.

use crate::failure::BenchError;
use crate::ground::{Ground, MACHINES_PATH};
use crate::http::Http;
use crate::load::paced;
use crate::sample::Samples;
use crate::{process, record};
use serde_json::Value;

/// Requests a second.
const PER_SECOND: u32 = 500;
/// Requests of which the time is measured, after some that are not.
const REQUESTS: usize = 5_000;
/// Those before them.
const WARMUP: usize = 500;
/// Objects on a page.
const PAGE: usize = 500;
/// What kubectl asks for.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
/// What shows that the answer is one.
const TABLE_MARK: &[u8] = b"\"columnDefinitions\"";

/// The time of a page, and of a count.
pub(crate) fn lists() -> Result<Vec<Samples>, BenchError> {
    process::runtime()?.block_on(async {
        let ground = Ground::found().await?;
        record::fill(&ground.path("coordinator/record.db")).await?;
        let coordinator = ground.coordinator().await?;
        let author = ground.author(&coordinator)?;
        let http = Http::log_in(coordinator.value("plain")?, &author).await?;
        let page = format!("{MACHINES_PATH}?limit={PAGE}");
        let listing = |_| {
            let (http, page) = (http.clone(), page.clone());
            async move {
                let answer = http.get(&page, TABLE).await?;
                let is_table = answer.windows(TABLE_MARK.len()).take(PAGE).any(|window| window == TABLE_MARK);
                if is_table { Ok(()) } else { Err(BenchError::step("reading a page")("it is no Table")) }
            }
        };
        let pages = paced(PER_SECOND, WARMUP, REQUESTS, listing).await?;
        let counting = |number: usize| {
            let (http, site) = (http.clone(), number % record::SITES);
            async move {
                let path = format!("{MACHINES_PATH}?limit=1&labelSelector=site%3Dsite-{site}");
                let answer = http.json(&path, "application/json").await?;
                let rest = answer.pointer("/metadata/remainingItemCount").and_then(Value::as_u64);
                let expected = record::OBJECTS / record::SITES - 1;
                let wrong = || BenchError::step("counting")(format!("{rest:?} remain, {expected} should"));
                if rest == Some(expected as u64) { Ok(()) } else { Err(wrong()) }
            }
        };
        let counts = paced(PER_SECOND, WARMUP, REQUESTS, counting).await?;
        coordinator.kill().await?;
        let samples = |values| Samples { values, warmup: WARMUP, percentile: 99, ..Samples::default() };
        Ok(vec![samples(pages), samples(counts)])
    })
}
