//! How the server's log gets into its archive, as `pg_stat_archiver` has it, which every role may read.

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

const ARCHIVER: &str = "SELECT current_setting('archive_mode') <> 'off', archived_count, failed_count, \
     EXTRACT(epoch FROM last_archived_time)::bigint, EXTRACT(epoch FROM last_failed_time)::bigint, \
     coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL), last_archived_wal, last_failed_wal, \
     pg_size_bytes(current_setting('wal_segment_size')), (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint \
     FROM pg_stat_archiver";

/// How the server's log gets into its archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    /// Whether the server archives at all.
    pub on: bool,
    /// Files that were archived since the server's statistics began.
    pub archived: u64,
    /// Tries that failed since then.
    pub failures: u64,
    /// When the last file was archived, in seconds of Unix time.
    pub last_archived: Option<i64>,
    /// When a try last failed.
    pub last_failed: Option<i64>,
    /// Whether the newest try failed.
    pub failing: bool,
    /// Bytes of log that are not in the archive; nothing where nothing was tried yet.
    pub lag_bytes: Option<u64>,
}

/// Asks the server.
pub(super) async fn look(connection: &mut PgConnection) -> Result<Archive, sqlx::Error> {
    let row = sqlx::query(ARCHIVER).fetch_one(connection).await?;
    let on = row.try_get(0)?;
    Ok(Archive {
        on,
        archived: count(&row, 1)?,
        failures: count(&row, 2)?,
        last_archived: row.try_get(3)?,
        last_failed: row.try_get(4)?,
        failing: on && row.try_get(5)?,
        lag_bytes: lag(row.try_get(6)?, row.try_get(7)?, count(&row, 8)?, count(&row, 9)?).filter(|_| on),
    })
}

fn count(row: &PgRow, column: usize) -> Result<u64, sqlx::Error> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or_default())
}

/// From the end of the last segment that is in the archive, or the beginning of the first that does not get there, up to a position.
fn lag(archived: Option<&str>, failed: Option<&str>, segment_bytes: u64, position: u64) -> Option<u64> {
    let end = archived.and_then(|name| begin(name, segment_bytes)).map(|begin| begin.saturating_add(segment_bytes));
    let first = || failed.and_then(|name| begin(name, segment_bytes));
    end.or_else(first).map(|archived| position.saturating_sub(archived))
}

/// Where a segment begins that is called `TTTTTTTTLLLLLLLLSSSSSSSS`, whatever follows; a history's name says nothing of it.
fn begin(name: &str, segment_bytes: u64) -> Option<u64> {
    let part = |from: usize| u64::from_str_radix(name.get(from..from.saturating_add(8))?, 16).ok();
    let (_timeline, log, number) = (part(0)?, part(8)?, part(16)?);
    log.checked_mul(1 << 32)?.checked_add(number.checked_mul(segment_bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn what_is_not_archived_is_measured() {
        let segment = 16 * MIB;
        let cases = [
            ("nothing was tried", None, None, 5 * segment, None),
            ("in the segment after the last", Some("000000010000000000000004"), None, 5 * segment + 7, Some(7)),
            ("the last has just ended", Some("000000010000000000000004"), None, 5 * segment, Some(0)),
            (
                "one that failed before",
                Some("000000020000000100000000"),
                Some("000000010000000000000003"),
                (1 << 32) + segment,
                Some(0),
            ),
            ("nothing was ever archived", None, Some("000000010000000000000002"), 5 * segment, Some(3 * segment)),
            ("a backup's label", Some("000000010000000000000004.00000028.backup"), None, 6 * segment, Some(segment)),
            ("a history", Some("00000002.history"), None, 6 * segment, None),
        ];
        for (what, archived, failed, position, expected) in cases {
            assert_eq!(lag(archived, failed, segment, position), expected, "{what}");
        }
    }
}
