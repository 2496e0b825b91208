//! From a signed Change to a machine's acknowledgement that it is applied.

use crate::author::profile;
use crate::failure::BenchError;
use crate::ground::{Ground, MACHINES_PATH, ROLE};
use crate::http::{Http, Watch};
use crate::process;
use crate::sample::Samples;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Changes that are measured.
const CHANGES: usize = 100;
/// Changes before them.
const WARMUP: usize = 5;
/// The pause before a change, in milliseconds; each has another, so that no timer of the product is always met in the same phase.
const PAUSE_MILLISECONDS: u64 = 200;
/// The longest addition to it, in milliseconds; a prime, walked through in steps.
const PAUSE_SPREAD_MILLISECONDS: u64 = 101;
/// The profile that changes.
pub(crate) const PROFILE: &str = "measured";
/// After this long a change counts as never applied.
const APPLIED_LIMIT: Duration = Duration::from_secs(30);

/// One real agent on disk, and changes of one file.
pub(crate) fn one_machine() -> Result<Vec<Samples>, BenchError> {
    process::runtime()?.block_on(async {
        let ground = Ground::found().await?;
        let coordinator = ground.coordinator().await?;
        let author = ground.author(&coordinator)?;
        let http = Http::log_in(coordinator.value("plain")?, &author).await?;
        let ticket = ground.ticket(&coordinator).await?;
        let agent = ground.agent("m1", &ticket, &http).await?;
        let mut watch = http.watch(MACHINES_PATH).await?;
        let mut samples = Samples { warmup: WARMUP, percentile: 99, ..Samples::default() };
        for round in 1..=WARMUP + CHANGES {
            let sequence = round as u64;
            let body = author.change(&profile(PROFILE, ROLE, &format!("{sequence}\n")), sequence)?;
            let pause = PAUSE_MILLISECONDS + sequence * 37 % PAUSE_SPREAD_MILLISECONDS;
            let quiet = watch_for(&mut watch, Duration::from_millis(pause)).await;
            quiet?;
            let start = Instant::now();
            http.submit(body).await?;
            let took = acknowledged(&mut watch, sequence).await?.duration_since(start);
            if round > WARMUP {
                samples.values.push(took.as_secs_f64() * 1e3);
            }
        }
        drop(agent);
        coordinator.kill().await?;
        Ok(vec![samples])
    })
}

/// Reads what comes for so long.
async fn watch_for(watch: &mut Watch, pause: Duration) -> Result<(), BenchError> {
    let reading = async {
        loop {
            watch.next().await?;
        }
    };
    tokio::time::timeout(pause, reading).await.unwrap_or(Ok(()))
}

/// When a machine's acknowledgement of this sequence of the profile is seen.
pub(crate) async fn acknowledged(watch: &mut Watch, sequence: u64) -> Result<Instant, BenchError> {
    let reading = async {
        loop {
            let line = watch.next().await?;
            let seen = Instant::now();
            match outcome(&line, sequence)?.as_deref() {
                None => {}
                Some("Applied") => return Ok(seen),
                Some(other) => {
                    let answer = format!("{other}: {}", String::from_utf8_lossy(&line));
                    return Err(BenchError::Answer { program: "the agent".to_owned(), answer });
                }
            }
        }
    };
    let late =
        |_| BenchError::step("waiting for an acknowledgement")(format!("none of sequence {sequence} in {APPLIED_LIMIT:?}"));
    tokio::time::timeout(APPLIED_LIMIT, reading).await.map_err(late)?
}

/// What an event of a watch says of the profile at this sequence.
fn outcome(line: &[u8], sequence: u64) -> Result<Option<String>, BenchError> {
    let event: Value = serde_json::from_slice(line).map_err(BenchError::step("reading a watch"))?;
    let list = event.pointer("/object/status/acknowledgements").and_then(Value::as_array);
    let own = |word: &&Value| {
        let object = word.get("object").and_then(Value::as_str).unwrap_or_default();
        object.starts_with("Profile")
            && object.ends_with(PROFILE)
            && word.get("sequence").and_then(Value::as_u64) == Some(sequence)
    };
    let word = list.into_iter().flatten().find(own);
    Ok(word.and_then(|word| word.get("outcome")?.as_str().map(str::to_owned)))
}
