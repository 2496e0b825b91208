//! The history forward, for watches that memory has left behind.

use sqlx::postgres::PgPool;

use super::PostgresEngine;
use super::read::SELECT_META;
use crate::columns::{self, signed};
use crate::engine::EngineError;
use crate::rows::{Steps, StepsWanted};

const READING: &str = "reading history";

/// The rows of a page are chosen by their length before any of them is sent: what has been begun to be sent would have to be taken to
/// its end. The next step is sought in an order that no other index has, so that it is sought by the one that finds it.
const SELECT_STEPS: &str = "WITH wanted AS MATERIALIZED (\
         SELECT revision, position, kind, namespace, name, operation, before_uid, before_revision, before FROM stead.history \
         WHERE (revision, position) > ($1, $2) AND revision <= $3 ORDER BY revision, position LIMIT $4), \
     forward AS (\
         SELECT w.*, coalesce(n.uid, o.uid) AS after_uid, coalesce(n.revision, o.revision) AS after_revision, \
                coalesce(n.json, o.json) AS after, \
                coalesce(octet_length(w.before), 0) + coalesce(octet_length(n.json), octet_length(o.json), 0) AS bytes \
         FROM wanted AS w \
         LEFT JOIN LATERAL (\
             SELECT x.before_uid AS uid, x.before_revision AS revision, x.before AS json FROM stead.history AS x \
             WHERE w.operation = 'put' AND x.before_revision = w.revision AND x.name = w.name \
               AND x.kind = w.kind AND x.namespace = w.namespace AND (x.revision, x.position) > (w.revision, w.position) \
             ORDER BY x.revision + 0, x.position + 0 LIMIT 1) AS n ON true \
         LEFT JOIN stead.objects AS o ON w.operation = 'put' AND n.revision IS NULL \
             AND o.kind = w.kind AND o.namespace = w.namespace AND o.name = w.name) \
     SELECT revision, position, kind, namespace, name, operation, before_uid, before_revision, before, \
            after_uid, after_revision, after \
     FROM (SELECT *, sum(bytes) OVER (ORDER BY revision, position) - bytes AS earlier FROM forward) AS measured \
     WHERE earlier < $5 ORDER BY revision, position";

pub(super) async fn steps(engine: &PostgresEngine, wanted: &StepsWanted) -> Result<Steps, EngineError> {
    engine.ensure_open()?;
    let readers = engine.server.readers(READING).await?;
    engine.server.read(READING, Box::pin(page(&readers, wanted))).await?
}

/// All of it is of one moment. Dropped on the way, the transaction ends.
async fn page(readers: &PgPool, wanted: &StepsWanted) -> Result<Result<Steps, EngineError>, sqlx::Error> {
    let mut moment = readers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let meta = match columns::meta(&sqlx::query(SELECT_META).fetch_one(&mut *moment).await?) {
        Ok(meta) => meta,
        Err(error) => return Ok(Err(error)),
    };
    let sql = "SELECT $1 = 0 OR EXISTS (SELECT FROM stead.batches WHERE last_revision = $1 AND token = $2)";
    let went_by = sqlx::query_scalar::<_, bool>(sql).bind(signed(wanted.mark.last.0)).bind(&wanted.mark.token);
    let continuous = meta.incarnation == wanted.incarnation && went_by.fetch_one(&mut *moment).await?;
    let mut page = Steps::new(meta, continuous);
    if page.reaches(wanted) {
        let (revision, position) = wanted.after.columns();
        let query = sqlx::query(SELECT_STEPS).bind(signed(revision)).bind(position).bind(signed(wanted.through.0));
        let query = query.bind(signed(wanted.steps_max as u64)).bind(signed(wanted.bytes_max as u64));
        for row in &query.fetch_all(&mut *moment).await? {
            match columns::forward(row) {
                Ok(step) => page.push(step),
                Err(error) => return Ok(Err(error)),
            }
        }
    }
    moment.rollback().await?;
    Ok(Ok(page))
}
