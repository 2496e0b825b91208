//! Lists of a large record over HTTP.

use crate::failure::BenchError;
use crate::ground::{Ground, MACHINES_PATH};
use crate::http::Http;
use crate::load::paced;
use crate::sample::{Peer, Samples};
use crate::{etcd, process, record};
use serde_json::Value;
use std::time::Instant;

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

/// Lists of everything that are measured, after one that is not.
const ROUNDS: usize = 3;

/// The time of a page, of a count, and of everything.
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
        let mut everything = Samples { warmup: 1, ..Samples::default() };
        for round in 0..=ROUNDS {
            let seconds = list_everything(&http).await?;
            if round > 0 {
                everything.values.push(seconds);
            }
        }
        coordinator.kill().await?;
        let samples = |values| Samples { values, warmup: WARMUP, percentile: 99, ..Samples::default() };
        let seconds = record::list_etcd(&record::fill_etcd().await?).await?;
        everything.peer = Some(Peer { name: etcd::NAME, value: seconds });
        Ok(vec![samples(pages), samples(counts), everything])
    })
}

/// Seconds for all pages, one after the other, as a client's library reads them.
async fn list_everything(http: &Http) -> Result<f64, BenchError> {
    let (start, mut objects, mut token) = (Instant::now(), 0, String::new());
    loop {
        let page = http.json(&format!("{MACHINES_PATH}?limit={PAGE}&continue={token}"), "application/json").await?;
        objects += page.get("items").and_then(Value::as_array).map_or(0, Vec::len);
        token = page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    if objects == record::OBJECTS {
        return Ok(start.elapsed().as_secs_f64());
    }
    Err(BenchError::step("listing everything")(format!("{objects} objects came, {} should", record::OBJECTS)))
}
