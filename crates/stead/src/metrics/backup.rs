//! Whether the record could be had back: the archive of its server's log, and its newest backups.

use std::collections::BTreeMap;
use std::sync::Arc;

use iroh_metrics::{Counter, EncodeLabelSet, Family, Gauge, MetricsGroup};
use serde_json::{Value, json};
use stead_store::{BackupNote, BackupWay, Store};

use super::{Metrics, set};

/// The archive of the log of the record's PostgreSQL server.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "store_archive")]
struct ArchiveMetrics {
    /// 1 where the server of the record archives its log, 0 where it does not, or the record is in a file.
    on: Gauge,
    /// Files of log that were archived, since the server's statistics began.
    files: Counter,
    /// Tries to archive a file that failed, since the server's statistics began.
    failures: Counter,
    /// 1 where the newest try to archive a file failed.
    failing: Gauge,
    /// When a file was last archived, in seconds of Unix time.
    last_time_seconds: Gauge,
    /// When a try to archive a file last failed, in seconds of Unix time.
    last_failure_time_seconds: Gauge,
    /// Bytes of log that are not in the archive: what is lost with the server's disk.
    lag_bytes: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Way {
    way: &'static str,
}

/// Backups of the record, as `stead backup` has noted beside it.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "backup")]
struct BackupMetrics {
    /// When the newest good backup was taken, in seconds of Unix time; 0 where there is none. By way: portable, or pgbackrest.
    taken_time_seconds: Family<Way, Gauge>,
    /// Bytes of the record, or of the database, in that backup.
    taken_bytes: Family<Way, Gauge>,
    /// When a backup was last restored into a scratch place and found to be whole, in seconds of Unix time; 0 where none was.
    verified_time_seconds: Family<Way, Gauge>,
    /// 1 where the newest try to verify a backup found one that is not whole.
    damaged: Family<Way, Gauge>,
}

/// Takes both groups in.
pub(super) fn add(metrics: &mut Metrics, store: &Store) {
    let record = store.clone();
    metrics.add(Arc::<ArchiveMetrics>::default(), move |group| archive(group, &record));
    let record = store.clone();
    metrics.add(Arc::<BackupMetrics>::default(), move |group| backups(group, &record));
}

fn archive(group: &ArchiveMetrics, store: &Store) {
    let Some(seen) = store.archive() else { return };
    set(&group.on, u8::from(seen.on));
    group.files.set(seen.archived);
    group.failures.set(seen.failures);
    set(&group.failing, u8::from(seen.failing));
    set(&group.last_time_seconds, seen.last_archived.unwrap_or_default());
    set(&group.last_failure_time_seconds, seen.last_failed.unwrap_or_default());
    set(&group.lag_bytes, seen.lag_bytes.unwrap_or_default());
}

fn backups(group: &BackupMetrics, store: &Store) {
    let notes = store.backups();
    for way in BackupWay::ALL {
        let BackupNote { taken, bytes, verified, damaged } = notes.get(&way).copied().unwrap_or_default();
        let label = Way { way: way.name() };
        let seconds = |moment: Option<jiff::Timestamp>| moment.map_or(0, jiff::Timestamp::as_second);
        set(&group.taken_time_seconds.get_or_create(&label), seconds(taken));
        set(&group.taken_bytes.get_or_create(&label), bytes);
        set(&group.verified_time_seconds.get_or_create(&label), seconds(verified));
        set(&group.damaged.get_or_create(&label), u8::from(damaged));
    }
}

/// The archive as `stead status` shows it; null where the record has none.
pub(super) fn archive_value(store: &Store) -> Value {
    store.archive().map_or(Value::Null, |seen| {
        json!({
            "on": seen.on,
            "failing": seen.failing,
            "failures": seen.failures,
            "lagBytes": seen.lag_bytes,
            "last": seen.last_archived.and_then(|second| jiff::Timestamp::from_second(second).ok()),
        })
    })
}

/// What is known of backups, by way, as `stead status` shows it.
pub(super) fn backups_value(store: &Store) -> Value {
    let notes = store.backups();
    let said: BTreeMap<&str, &BackupNote> = notes.iter().map(|(way, note)| (way.name(), note)).collect();
    serde_json::to_value(said).unwrap_or_default()
}
