//! The record at a place in the server's log: what a server that was brought to that place must have, to the last row.

use std::future::Future;

use sqlx::Executor;

use super::PostgresEngine;
use super::connection::{self, ANSWER_SECONDS_MAX};
use super::read::{self, PgReading};
use crate::digest::{RecordDigest, digest_reading};
use crate::engine::{EngineError, Reading};

/// As a turn; a server that is busy has half a minute for the mark, and whoever writes waits meanwhile.
const BEGIN_HOLDING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
     SET LOCAL idle_in_transaction_session_timeout = '30s'; \
     SELECT last_revision, compacted_revision, leader_term, incarnation, batch, restored_at, restored_revision, \
            (SELECT version FROM stead.schema_version) FROM stead.meta FOR UPDATE";

const HOLDING: &str = "holding writers off for a moment";

impl PostgresEngine {
    /// Keeps everybody from writing while `mark` is done, such as a restore point in the server's log, and makes the digest of the
    /// record as it is at that moment. Writers go on as soon as the mark is made; the digest takes its time.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; also where the server did not keep the others off until the mark was made.
    pub async fn digest_at<T>(&self, mark: impl Future<Output = T>) -> Result<(RecordDigest, T), EngineError> {
        self.ensure_open()?;
        let server = &*self.server;
        let mut lock = server.connect(HOLDING).await?.connection;
        read::begin(server, &mut lock, HOLDING, BEGIN_HOLDING).await?;
        // Nobody is in the middle of a batch now: what this reading sees is what the log has up to here.
        let mut reading = PgReading::begin(self).await?;
        let patient = reading.connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0");
        server.within(ANSWER_SECONDS_MAX, HOLDING, patient).await?;
        let marked = mark.await;
        // A session that was thrown out meanwhile says so here.
        server.within(ANSWER_SECONDS_MAX, HOLDING, lock.execute("ROLLBACK")).await?;
        connection::hang_up(lock).await;
        let digest = digest_reading(&mut reading).await?;
        Box::new(reading).end().await;
        Ok((digest, marked))
    }
}
