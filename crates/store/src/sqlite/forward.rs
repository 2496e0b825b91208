//! The history forward, for watches that memory has left behind.

use futures::TryStreamExt;
use sqlx::sqlite::SqlitePool;

use super::read::{SqliteReading, reading};
use crate::columns::{self, signed};
use crate::engine::{EngineError, Reading};
use crate::rows::{Steps, StepsWanted};

/// The index is named, since nothing tells the planner how few steps replace one revision of a name. What is read stops with the rows
/// that are taken.
pub(super) const SELECT_STEPS: &str = "SELECT h.revision, h.position, h.kind, h.namespace, h.name, h.operation, h.before_uid, h.before_revision, h.before, \
            coalesce(n.before_uid, o.uid), coalesce(n.before_revision, o.revision), coalesce(n.before, o.json) \
     FROM history AS h \
     LEFT JOIN history AS n ON n.rowid = (\
         SELECT x.rowid FROM history AS x INDEXED BY history_by_before \
         WHERE h.operation = 'put' AND x.before_revision = h.revision AND x.name = h.name \
           AND x.kind = h.kind AND x.namespace = h.namespace AND (x.revision, x.position) > (h.revision, h.position) \
         ORDER BY x.revision, x.position LIMIT 1) \
     LEFT JOIN objects AS o ON h.operation = 'put' AND n.rowid IS NULL \
         AND o.kind = h.kind AND o.namespace = h.namespace AND o.name = h.name \
     WHERE (h.revision, h.position) > (?1, ?2) AND h.revision <= ?3 ORDER BY h.revision, h.position LIMIT ?4";

pub(super) async fn steps(pool: &SqlitePool, wanted: &StepsWanted) -> Result<Steps, EngineError> {
    let mut moment = SqliteReading::begin(pool).await?;
    let meta = moment.meta().await?;
    // Nobody else writes here: where it is the same record, it went by everything that was told of it.
    let continuous = meta.incarnation == wanted.incarnation && meta.last >= wanted.mark.last;
    let mut page = Steps::new(meta, continuous);
    if page.reaches(wanted) {
        let (revision, position) = wanted.after.columns();
        let query = sqlx::query(SELECT_STEPS).bind(signed(revision)).bind(position).bind(signed(wanted.through.0));
        let mut rows = query.bind(signed(wanted.steps_max as u64)).fetch(moment.connection());
        while let Some(row) = rows.try_next().await.map_err(reading)? {
            page.push(columns::forward(&row)?);
            if page.is_full(wanted) {
                break;
            }
        }
    }
    Box::new(moment).end().await;
    Ok(page)
}
