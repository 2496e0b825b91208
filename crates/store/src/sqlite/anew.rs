//! A record that is no longer the one it was.

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::SqliteEngine;
use super::read::meta;
use super::write::{execute, failed, give_up};
use crate::columns::signed;
use crate::engine::EngineError;
use crate::rows::{ANEW_REVISIONS, ANEW_TERMS, Meta};

const BEGINNING: &str = "beginning the record anew";

pub(super) async fn begin(engine: &SqliteEngine, incarnation: &str, at: Timestamp) -> Result<Meta, EngineError> {
    let mut writer = engine.writer.lock().await;
    engine.ensure_open()?;
    let mut connection = match writer.connection.take() {
        Some(connection) => connection,
        None => engine.connect(BEGINNING).await?,
    };
    match write(&mut connection, incarnation, at).await {
        Ok(meta) => {
            writer.connection = Some(connection);
            writer.meta = meta.clone();
            Ok(meta)
        }
        Err(error) => {
            give_up(connection).await;
            writer.in_doubt = true;
            Err(error)
        }
    }
}

async fn write(connection: &mut SqliteConnection, incarnation: &str, at: Timestamp) -> Result<Meta, EngineError> {
    execute(connection, BEGINNING, "BEGIN IMMEDIATE").await?;
    let sql = "UPDATE meta SET incarnation = lower(hex(randomblob(16))), restored_at = ?1, restored_revision = last_revision, \
                               last_revision = last_revision + ?2, compacted_revision = last_revision + ?2, \
                               leader_term = leader_term + ?3, batch = lower(hex(randomblob(16))), \
                               before_revision = 0, before_batch = '' \
               WHERE incarnation = ?4";
    let moved = sqlx::query(sql)
        .bind(at.to_string())
        .bind(signed(ANEW_REVISIONS))
        .bind(signed(ANEW_TERMS))
        .bind(incarnation)
        .execute(&mut *connection)
        .await
        .map_err(failed(BEGINNING))?;
    if moved.rows_affected() == 1 {
        execute(connection, BEGINNING, "DELETE FROM history").await?;
    }
    let meta = meta(connection).await?;
    execute(connection, BEGINNING, "COMMIT").await?;
    Ok(meta)
}
