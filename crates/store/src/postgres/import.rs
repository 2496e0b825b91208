//! Another record's rows into an empty database, in one transaction.

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::Executor;
use sqlx::postgres::PgConnection;

use super::PostgresEngine;
use super::connection::{self, ANSWER_SECONDS_MAX, Server};
use super::read::begin;
use super::write::statements;
use crate::columns::signed;
use crate::engine::{EngineError, Import};
use crate::rows::{Batch, Meta};

const FILLING: &str = "filling an empty record";

/// As a turn, but nobody is thrown out for waiting for the source.
const BEGIN_FILLING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
     SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; \
     SELECT last_revision, compacted_revision, leader_term, incarnation, batch, restored_at, restored_revision, \
            (SELECT version FROM stead.schema_version) FROM stead.meta FOR UPDATE";

/// The transaction. Dropped, its connection ends, and the server takes back what was begun on it.
pub(super) struct PgImport<'e> {
    server: &'e Server,
    connection: PgConnection,
}

impl<'e> PgImport<'e> {
    pub(super) async fn begin(engine: &'e PostgresEngine) -> Result<Self, EngineError> {
        engine.ensure_open()?;
        let server = &*engine.server;
        let mut connection = server.connect(FILLING).await?.connection;
        begin(server, &mut connection, FILLING, BEGIN_FILLING).await?;
        Ok(Self { server, connection })
    }

    /// In a transaction that somebody has begun, with an empty record in it.
    pub(super) const fn within(server: &'e Server, connection: PgConnection) -> Self {
        Self { server, connection }
    }

    async fn add(&mut self, rows: &Batch) -> Result<(), EngineError> {
        for statement in statements(rows) {
            self.server.within(ANSWER_SECONDS_MAX, FILLING, statement.execute(&mut self.connection)).await?;
        }
        Ok(())
    }

    async fn finish(mut self, meta: &Meta) -> Result<(), EngineError> {
        let sql = "WITH described AS (\
                       UPDATE stead.meta SET incarnation = $1, last_revision = $2, compacted_revision = $3, leader_term = $4, batch = $5, \
                                             restored_at = $6, restored_revision = $7) \
                   INSERT INTO stead.batches (last_revision, token) VALUES ($2, $5)";
        let describing = sqlx::query(sql)
            .bind(&meta.incarnation)
            .bind(signed(meta.last.0))
            .bind(signed(meta.compacted.0))
            .bind(signed(meta.leader_term))
            .bind(&meta.batch)
            .bind(meta.restored.map(|restored| restored.at.to_string()))
            .bind(meta.restored.map(|restored| signed(restored.revision.0)))
            .execute(&mut self.connection);
        self.server.within(ANSWER_SECONDS_MAX, FILLING, describing).await?;
        self.server.within(ANSWER_SECONDS_MAX, FILLING, self.connection.execute("COMMIT")).await?;
        connection::hang_up(self.connection).await;
        Ok(())
    }
}

impl Import for PgImport<'_> {
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
