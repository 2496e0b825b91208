//! What people ask for through the database itself: taken by one coordinator at a time, and settled once.

use sqlx::postgres::{PgConnection, PgRow};

use super::PostgresEngine;
use super::connection::{ANSWER_SECONDS_MAX, Server};
use crate::columns::{self, signed};
use crate::engine::EngineError;
use crate::rows::{Asked, AskedKind, Settled};

/// Requests that a coordinator takes at once.
const TAKEN_AT_ONCE: i64 = 16;

const TAKING: &str = "looking for requests";
const SETTLING: &str = "settling a request";

/// Takes what waits, and keeps other coordinators off it for a minute.
pub(super) async fn take(engine: &PostgresEngine) -> Result<Vec<Asked>, EngineError> {
    let readers = engine.server.readers(TAKING).await?;
    let sql = "WITH taken AS (\
                   UPDATE stead.inbox SET taken_until = clock_timestamp() + interval '60 seconds' \
                   WHERE id IN (SELECT id FROM stead.inbox \
                                WHERE state = 'waiting' AND (taken_until IS NULL OR taken_until < clock_timestamp()) \
                                ORDER BY asked_at, id LIMIT $1 FOR UPDATE SKIP LOCKED) \
                   RETURNING id, kind, body, asked_by, asked_at) \
               SELECT id, kind, body, asked_by FROM taken ORDER BY asked_at, id";
    let rows = sqlx::query(sql).bind(TAKEN_AT_ONCE).fetch_all(&readers);
    let rows = engine.server.read(TAKING, rows).await?;
    if !rows.is_empty() {
        // There may be more; and what is long settled makes room.
        engine.news.asked.notify_one();
        let sql = "DELETE FROM stead.inbox WHERE state <> 'waiting' AND settled_at < clock_timestamp() - interval '7 days'";
        engine.server.read(TAKING, sqlx::query(sql).execute(&readers)).await?;
    }
    rows.iter().map(asked).collect()
}

fn asked(row: &PgRow) -> Result<Asked, EngineError> {
    const TABLE: &str = "inbox";
    let text = |column| columns::text(row, column, TABLE).map(str::to_owned);
    let kind = text(1)?;
    let malformed = || EngineError::Malformed { table: TABLE, value: kind.clone(), expected: "submit, put or delete" };
    Ok(Asked { id: text(0)?, kind: AskedKind::parse(&kind).ok_or_else(malformed)?, body: text(2)?, by: text(3)? })
}

/// Settles a request outside a batch, unless it has been settled.
pub(super) async fn settle(engine: &PostgresEngine, settled: &Settled) -> Result<(), EngineError> {
    let readers = engine.server.readers(SETTLING).await?;
    let sql = "UPDATE stead.inbox SET state = $2, message = $3, revision = $4, body = '', settled_at = clock_timestamp() \
               WHERE id = $1 AND state = 'waiting'";
    let query = sqlx::query(sql)
        .bind(&settled.id)
        .bind(settled.state())
        .bind(text(&settled.message))
        .bind(settled.revision.map(|revision| signed(revision.0)));
    engine.server.read(SETTLING, query.execute(&readers)).await.map(|_| ())
}

/// Those of the requests that do not wait any more.
pub(super) async fn settled(
    server: &Server,
    connection: &mut PgConnection,
    ids: Vec<String>,
) -> Result<Vec<String>, EngineError> {
    let sql = "SELECT asked.id FROM unnest($1::text[]) AS asked (id) \
               WHERE NOT EXISTS (SELECT FROM stead.inbox WHERE inbox.id = asked.id AND inbox.state = 'waiting')";
    let query = sqlx::query_scalar(sql).bind(ids).fetch_all(connection);
    server.within(ANSWER_SECONDS_MAX, SETTLING, query).await
}

/// A reason may quote what was sent; PostgreSQL's texts hold no NUL.
pub(super) fn text(message: &str) -> String {
    message.replace('\0', "\u{fffd}")
}
