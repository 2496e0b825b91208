//! The record: loading it from SQLite and from PostgreSQL into the view, and the memory that takes.

use crate::child;
use crate::etcd::{self, Etcd};
use crate::failure::BenchError;
use crate::sample::{Peer, Samples};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use stead_model::Object;
use stead_peers::TempPostgres;
use stead_store::{Engine, Op, Options, PostgresEngine, SqliteEngine, Store, Transaction, random_source};

/// Objects in the record, as the budget says.
pub(crate) const OBJECTS: usize = 100_000;
/// Objects written in one transaction; enough that filling costs little, below the store's limits.
const OBJECTS_PER_TRANSACTION: usize = 1_000;
/// Length of each object's JSON, as the budget says.
const OBJECT_BYTES: usize = 1_536;
/// Values of the label `site`: so many objects have each.
pub(crate) const SITES: usize = 200;
/// Loads that are measured, after one that is not.
const ROUNDS: usize = 5;
/// Objects on their way into etcd at once.
const PUTS_UNDERWAY: usize = 256;
/// Where they are there, as an API server names them.
const ETCD_PREFIX: &str = "/registry/stead.dev/machines/";

/// Fills a record, then loads it in fresh processes.
pub(crate) fn load() -> Result<Vec<Samples>, BenchError> {
    let folder = tempfile::tempdir().map_err(|source| BenchError::File { path: std::env::temp_dir(), source })?;
    let path = folder.path().join("record.db");
    let runtime = crate::process::runtime()?;
    runtime.block_on(fill(&path))?;
    let mut samples = rounds(&path)?;
    let (seconds, mib) = runtime.block_on(async {
        let etcd = fill_etcd().await?;
        let seconds = list_etcd(&etcd).await?;
        Ok::<_, BenchError>((seconds, etcd.resident_mib()?))
    })?;
    for (samples, value) in samples.iter_mut().zip([seconds, mib]) {
        samples.peer = Some(Peer { name: etcd::NAME, value });
    }
    Ok(samples)
}

/// etcd with the same objects.
pub(crate) async fn fill_etcd() -> Result<Etcd, BenchError> {
    let etcd = Etcd::start().await?;
    let connection = etcd.connect().await?;
    let puts = futures::stream::iter(0..OBJECTS).map(Ok).try_for_each_concurrent(PUTS_UNDERWAY, |number| {
        let (connection, object) = (&connection, object(number));
        async move {
            let json = serde_json::to_vec(&object).map_err(BenchError::step("writing an object"))?;
            connection.put(&format!("{ETCD_PREFIX}{}", object.metadata.name), &json).await
        }
    });
    puts.await?;
    Ok(etcd)
}

/// Seconds until all of them are read, with one request: what an API server on etcd does before it can answer.
pub(crate) async fn list_etcd(etcd: &Etcd) -> Result<f64, BenchError> {
    let connection = etcd.connect().await?;
    let start = Instant::now();
    let (values, bytes) = connection.list(ETCD_PREFIX).await?;
    let seconds = start.elapsed().as_secs_f64();
    if values == OBJECTS && bytes / values >= OBJECT_BYTES - 100 {
        return Ok(seconds);
    }
    Err(BenchError::Answer { program: etcd::NAME.to_owned(), answer: format!("{values} objects, {bytes} bytes") })
}

/// The same out of PostgreSQL, from a server of its own; seconds only.
pub(crate) fn load_postgres() -> Result<Vec<Samples>, BenchError> {
    let server = TempPostgres::start();
    let url = PathBuf::from(server.url());
    crate::process::runtime()?.block_on(fill(&url))?;
    Ok(rounds(&url)?.into_iter().take(1).collect())
}

fn rounds(place: &Path) -> Result<Vec<Samples>, BenchError> {
    let measured = || Samples { warmup: 1, ..Samples::default() };
    let (mut seconds, mut mib) = (measured(), measured());
    for round in 0..=ROUNDS {
        let [took_seconds, resident_mib] = child::measure("load", place)?;
        if round > 0 {
            seconds.values.push(took_seconds);
            mib.values.push(resident_mib);
        }
    }
    Ok(vec![seconds, mib])
}

/// Loads it once: seconds, and MiB resident with it loaded.
pub(crate) fn load_once(path: &Path) -> Result<Vec<f64>, BenchError> {
    crate::process::runtime()?.block_on(async {
        let start = Instant::now();
        let store = open(path).await?;
        let seconds = start.elapsed().as_secs_f64();
        let snapshot = store.snapshot();
        let loaded: usize = snapshot.kinds().iter().map(|(_, count)| count).sum();
        let bytes = snapshot.get(&object(0).key()).map_or(0, |stored| stored.json().len());
        let resident_mib = child::resident_kib(Path::new(child::OWN_STATUS))? / 1024.0;
        store.close().await;
        if loaded == OBJECTS && bytes >= OBJECT_BYTES {
            return Ok(vec![seconds, resident_mib]);
        }
        Err(BenchError::Answer { program: "the record".to_owned(), answer: format!("{loaded} objects of {bytes} bytes") })
    })
}

/// A record by its file, or by its database's URL.
async fn open(place: &Path) -> Result<Store, BenchError> {
    let engine: Arc<dyn Engine> = match place.to_str().filter(|place| place.starts_with("postgres://")) {
        Some(url) => Arc::new(PostgresEngine::open(url).await.map_err(BenchError::record)?),
        None => Arc::new(SqliteEngine::open(place).await.map_err(BenchError::record)?),
    };
    Store::open_on(engine, Options::new(random_source())).await.map_err(BenchError::record)
}

/// Fills a new record.
pub(crate) async fn fill(path: &Path) -> Result<(), BenchError> {
    let store = open(path).await?;
    let numbers: Vec<usize> = (0..OBJECTS).collect();
    for chunk in numbers.chunks(OBJECTS_PER_TRANSACTION) {
        let ops = chunk.iter().map(|number| Op::create(object(*number))).collect();
        store.commit(Transaction::unsigned(Timestamp::now(), ops)).await.map_err(BenchError::record)?;
    }
    store.close().await;
    Ok(())
}

/// A machine with labels that select, as in a real fleet; its bulk is in an annotation, since what creates an object sets no status.
fn object(number: usize) -> Object {
    let mut object = Object { api_version: "stead.dev/v1".to_owned(), kind: "Machine".to_owned(), ..Object::default() };
    object.metadata.name = format!("machine-{number:06}");
    for (label, value) in [("site", number % SITES), ("rack", number % 2_000), ("wave", number % 10)] {
        object.metadata.labels.insert(label.to_owned(), format!("{label}-{value}"));
    }
    object.fields.insert("spec".to_owned(), json!({ "key": format!("{number:064x}") }));
    let bare = serde_json::to_string(&object).map_or(0, |text| text.len());
    object.metadata.annotations.insert("note".to_owned(), filling(number, OBJECT_BYTES.saturating_sub(bare)));
    object
}

/// Text that differs from object to object, so that nothing is shared.
fn filling(number: usize, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    let mut state = number.wrapping_add(1);
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{state:016x}"));
    }
    text.truncate(bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_the_size_of_the_budget() {
        for number in [0, 99_999] {
            let bytes = serde_json::to_vec(&object(number)).unwrap().len();
            assert!((1_480..=1_600).contains(&bytes), "{bytes}");
        }
    }
}
