//! A record that is no longer the one it was.

use jiff::Timestamp;
use sqlx::Executor;

use super::PostgresEngine;
use super::connection::ANSWER_SECONDS_MAX;
use super::news::CHANNEL;
use super::read::{self, PgReading};
use super::write::BEGIN_TURN;
use crate::columns::{self, signed};
use crate::engine::EngineError;
use crate::rows::{ANEW_REVISIONS, ANEW_TERMS, Meta};

const BEGINNING: &str = "beginning the record anew";

pub(super) async fn begin(engine: &PostgresEngine, incarnation: &str, at: Timestamp) -> Result<Meta, EngineError> {
    let (mut turn, found) = PgReading::open(engine, BEGINNING, BEGIN_TURN).await?;
    if found.incarnation != incarnation {
        turn.give_back().await;
        return Ok(found);
    }
    let server = turn.server;
    let sql = "UPDATE stead.meta SET incarnation = replace(gen_random_uuid()::text, '-', ''), restored_at = $1, \
                                     restored_revision = last_revision, last_revision = last_revision + $2, \
                                     compacted_revision = last_revision + $2, leader_term = leader_term + $3, \
                                     batch = replace(gen_random_uuid()::text, '-', '')";
    let moving =
        sqlx::query(sql).bind(at.to_string()).bind(signed(ANEW_REVISIONS)).bind(signed(ANEW_TERMS)).execute(&mut turn.connection);
    server.within(ANSWER_SECONDS_MAX, BEGINNING, moving).await?;
    for sql in [
        "DELETE FROM stead.history",
        "DELETE FROM stead.batches",
        "INSERT INTO stead.batches (last_revision, token) SELECT last_revision, batch FROM stead.meta",
    ] {
        server.within(ANSWER_SECONDS_MAX, BEGINNING, turn.connection.execute(sql)).await?;
    }
    let telling = sqlx::query("SELECT pg_notify($1, last_revision::text) FROM stead.meta").bind(CHANNEL);
    server.within(ANSWER_SECONDS_MAX, BEGINNING, telling.execute(&mut turn.connection)).await?;
    let row = sqlx::query(read::SELECT_META).fetch_one(&mut turn.connection);
    let meta = columns::meta(&server.within(ANSWER_SECONDS_MAX, BEGINNING, row).await?)?;
    server.within(ANSWER_SECONDS_MAX, BEGINNING, turn.connection.execute("COMMIT")).await?;
    turn.keep();
    Ok(meta)
}
