//! Another record's rows into an empty file, in one transaction.

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::MutexGuard;

use super::write::{execute, failed, give_up, statements};
use super::{SqliteEngine, Writer};
use crate::columns::signed;
use crate::engine::{EngineError, Import};
use crate::rows::{Batch, Meta};

const FILLING: &str = "filling an empty record";

/// The transaction. Dropped, its connection ends, and takes back what was begun on it.
pub(super) struct SqliteImport<'e> {
    writer: MutexGuard<'e, Writer>,
    connection: SqliteConnection,
}

impl<'e> SqliteImport<'e> {
    pub(super) async fn begin(engine: &'e SqliteEngine) -> Result<Self, EngineError> {
        let mut writer = engine.writer.lock().await;
        engine.ensure_open()?;
        let mut connection = match writer.connection.take() {
            Some(connection) => connection,
            None => engine.connect(FILLING).await?,
        };
        execute(&mut connection, FILLING, "BEGIN IMMEDIATE").await?;
        Ok(Self { writer, connection })
    }

    async fn add(&mut self, rows: &Batch) -> Result<(), EngineError> {
        for (mut statement, persistent) in statements(rows) {
            let query = statement.build().persistent(persistent);
            query.execute(&mut self.connection).await.map_err(failed(FILLING))?;
        }
        Ok(())
    }

    async fn finish(mut self, meta: &Meta) -> Result<(), EngineError> {
        let finished = self.describe(meta).await;
        if finished.is_err() {
            give_up(self.connection).await;
            return finished;
        }
        self.writer.connection = Some(self.connection);
        self.writer.meta = meta.clone();
        Ok(())
    }

    async fn describe(&mut self, meta: &Meta) -> Result<(), EngineError> {
        let sql = "UPDATE meta SET incarnation = ?, last_revision = ?, compacted_revision = ?, leader_term = ?, batch = ?, \
                   restored_at = ?, restored_revision = ?";
        let query = sqlx::query(sql)
            .bind(&meta.incarnation)
            .bind(signed(meta.last.0))
            .bind(signed(meta.compacted.0))
            .bind(signed(meta.leader_term))
            .bind(&meta.batch)
            .bind(meta.restored.map(|restored| restored.at.to_string()))
            .bind(meta.restored.map(|restored| signed(restored.revision.0)));
        query.execute(&mut self.connection).await.map_err(failed(FILLING))?;
        execute(&mut self.connection, FILLING, "COMMIT").await
    }
}

impl Import for SqliteImport<'_> {
    fn add<'a>(&'a mut self, rows: &'a Batch) -> BoxFuture<'a, Result<(), EngineError>> {
        Self::add(self, rows).boxed()
    }

    fn finish<'a>(self: Box<Self>, meta: &'a Meta) -> BoxFuture<'a, Result<(), EngineError>>
    where
        Self: 'a,
    {
        Self::finish(*self, meta).boxed()
    }
}
