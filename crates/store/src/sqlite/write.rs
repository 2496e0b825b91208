//! A batch into SQLite: one transaction, and a few statements with many rows each, since every statement crosses a thread.

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::Connection;
use sqlx::query_builder::{QueryBuilder, Separated};
use sqlx::sqlite::{Sqlite, SqliteConnection};
use stead_model::{ObjectKey, Revision};
use tokio::sync::MutexGuard;

use super::read::{SqliteReading, known_changes, meta};
use super::{SqliteEngine, Writer};
use crate::columns::signed;
use crate::engine::{CommitFailure, Engine, EngineError, Reading, Turn};
use crate::rows::{Batch, Meta, Operation};

/// Rows of one statement; ten columns of them stay below SQLite's 32,766 parameters.
const ROWS_PER_STATEMENT: usize = 128;

const COMMITTING: &str = "committing a batch";
const FORGETTING: &str = "forgetting old history";

/// A turn costs nothing here: the file's lock keeps other coordinators off, and the engine knows where it left the record.
pub(super) struct SqliteTurn<'e> {
    engine: &'e SqliteEngine,
    writer: MutexGuard<'e, Writer>,
    reading: Option<SqliteReading>,
}

impl<'e> SqliteTurn<'e> {
    pub(super) async fn take(engine: &'e SqliteEngine) -> Result<Self, EngineError> {
        let mut writer = engine.writer.lock().await;
        engine.ensure_open()?;
        if writer.in_doubt {
            writer.meta = engine.meta().await?;
            writer.in_doubt = false;
        }
        Ok(Self { engine, writer, reading: None })
    }

    async fn commit(mut self, batch: &Batch) -> Result<(), CommitFailure> {
        self.reading = None;
        let kept = self.writer.connection.take();
        let connection = match kept {
            Some(connection) => Ok(connection),
            None => self.engine.connect(COMMITTING).await,
        };
        let mut connection = connection.map_err(CommitFailure::Refused)?;
        if let Err(error) = write(&mut connection, batch).await {
            give_up(connection).await;
            return Err(CommitFailure::Refused(error));
        }
        if let Err(error) = execute(&mut connection, COMMITTING, "COMMIT").await {
            give_up(connection).await;
            self.writer.in_doubt = true;
            return Err(CommitFailure::Unsure(error));
        }
        self.writer.connection = Some(connection);
        let meta = &mut self.writer.meta;
        (meta.last, meta.leader_term) = (batch.last, batch.term);
        meta.batch.clone_from(&batch.token);
        Ok(())
    }
}

impl Turn for SqliteTurn<'_> {
    fn meta(&self) -> &Meta {
        &self.writer.meta
    }

    fn reading(&mut self) -> BoxFuture<'_, Result<&mut dyn Reading, EngineError>> {
        async {
            let reading = match self.reading.take() {
                Some(reading) => reading,
                None => SqliteReading::begin(&self.engine.readers).await?,
            };
            Ok(self.reading.insert(reading) as &mut dyn Reading)
        }
        .boxed()
    }

    fn known_changes(&mut self, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<(String, Revision)>, EngineError>> {
        known_changes(&self.engine.readers, ids).boxed()
    }

    fn settled(&mut self, _ids: Vec<String>) -> BoxFuture<'_, Result<Vec<String>, EngineError>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    fn commit<'a>(self: Box<Self>, batch: &'a Batch) -> BoxFuture<'a, Result<(), CommitFailure>>
    where
        Self: 'a,
    {
        Self::commit(*self, batch).boxed()
    }

    fn end<'a>(self: Box<Self>) -> BoxFuture<'a, ()>
    where
        Self: 'a,
    {
        std::future::ready(()).boxed()
    }
}

impl SqliteEngine {
    pub(super) async fn compact_through(&self, through: Revision) -> Result<(), EngineError> {
        let mut writer = self.writer.lock().await;
        self.ensure_open()?;
        let mut connection = match writer.connection.take() {
            Some(connection) => connection,
            None => self.connect(FORGETTING).await?,
        };
        match compact(&mut connection, through).await {
            Ok(()) => {
                writer.connection = Some(connection);
                writer.meta.compacted = writer.meta.compacted.max(through);
                Ok(())
            }
            Err(error) => {
                give_up(connection).await;
                Err(error)
            }
        }
    }
}

/// Closes a connection after a failure, and takes back what was begun on it.
pub(super) async fn give_up(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "the connection was given up after a failure, and did not close");
    }
}

/// Everything but the last word.
async fn write(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), EngineError> {
    execute(connection, COMMITTING, "BEGIN IMMEDIATE").await?;
    move_on(connection, batch).await?;
    for (mut statement, persistent) in statements(batch) {
        let query = statement.build().persistent(persistent);
        query.execute(&mut *connection).await.map_err(failed(COMMITTING))?;
    }
    Ok(())
}

async fn compact(connection: &mut SqliteConnection, through: Revision) -> Result<(), EngineError> {
    execute(connection, FORGETTING, "BEGIN IMMEDIATE").await?;
    for sql in ["DELETE FROM history WHERE revision <= ?", "UPDATE meta SET compacted_revision = max(compacted_revision, ?)"] {
        sqlx::query(sql).bind(signed(through.0)).execute(&mut *connection).await.map_err(failed(FORGETTING))?;
    }
    execute(connection, FORGETTING, "COMMIT").await
}

pub(super) async fn execute(
    connection: &mut SqliteConnection,
    doing: &'static str,
    sql: &'static str,
) -> Result<(), EngineError> {
    sqlx::query(sql).execute(connection).await.map(|_| ()).map_err(failed(doing))
}

pub(super) fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> EngineError {
    move |source| EngineError::Database { doing: doing.into(), source }
}

/// Moves the record to its new revision, unless somebody else has moved it.
async fn move_on(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), EngineError> {
    let sql = "UPDATE meta SET before_revision = last_revision, before_batch = batch, last_revision = ?, batch = ?, leader_term = ? \
               WHERE last_revision = ? AND leader_term = ?";
    let moved = sqlx::query(sql)
        .bind(signed(batch.last.0))
        .bind(&batch.token)
        .bind(signed(batch.term))
        .bind(signed(batch.base.0))
        .bind(signed(batch.base_term))
        .execute(&mut *connection)
        .await
        .map_err(failed(COMMITTING))?;
    if moved.rows_affected() == 1 {
        return Ok(());
    }
    Err(batch.not_at(&meta(connection).await?))
}

type Statement = (QueryBuilder<Sqlite>, bool);

pub(super) fn statements(batch: &Batch) -> Vec<Statement> {
    let mut all = Vec::new();
    object_statements(batch, &mut all);
    insert(
        &mut all,
        "INSERT INTO history (revision, position, kind, namespace, name, operation, before_uid, before_revision, before) ",
        "",
        &batch.history,
        |row, history| {
            row.push_bind(signed(history.revision.0)).push_bind(i64::from(history.position));
            bind_key(row, &history.key);
            row.push_bind(history.operation.as_str());
            let before = history.before.as_ref();
            row.push_bind(before.map(|before| before.uid().to_owned()));
            row.push_bind(before.map(|before| signed(before.revision().0)));
            row.push_bind(before.map(|before| text(before.json())));
        },
    );
    change_statements(batch, &mut all);
    insert(
        &mut all,
        "INSERT INTO sequences (kind, namespace, name, sequence, revision, deleted) ",
        " ON CONFLICT (kind, namespace, name) DO UPDATE \
          SET sequence = excluded.sequence, revision = excluded.revision, deleted = excluded.deleted",
        &batch.sequences,
        |row, (key, sequence)| {
            bind_key(row, key);
            row.push_bind(signed(sequence.sequence)).push_bind(signed(sequence.revision.0)).push_bind(sequence.deleted);
        },
    );
    insert(&mut all, "INSERT INTO roots (version, document, signatures) ", "", &batch.roots, |row, root| {
        row.push_bind(signed(root.version)).push_bind(root.document.clone()).push_bind(root.signatures.clone());
    });
    all
}

fn object_statements(batch: &Batch, all: &mut Vec<Statement>) {
    let written: Vec<_> = batch.objects.iter().filter_map(|(key, stored)| stored.as_ref().map(|stored| (key, stored))).collect();
    let gone: Vec<_> = batch.objects.iter().filter(|(_, stored)| stored.is_none()).map(|(key, _)| key).collect();
    insert(
        all,
        "INSERT INTO objects (kind, namespace, name, uid, revision, json) ",
        " ON CONFLICT (kind, namespace, name) DO UPDATE \
          SET uid = excluded.uid, revision = excluded.revision, json = excluded.json",
        &written,
        |row, (key, stored)| {
            bind_key(row, key);
            row.push_bind(stored.uid().to_owned()).push_bind(signed(stored.revision().0)).push_bind(text(stored.json()));
        },
    );
    let delete = "DELETE FROM objects WHERE (kind, namespace, name) IN (";
    insert(all, delete, ")", &gone, |row, key| bind_key(row, key));
}

fn change_statements(batch: &Batch, all: &mut Vec<Statement>) {
    insert(
        all,
        "INSERT INTO changes (revision, id, statement, signatures, receipt, receipt_signature, author, message, time) ",
        "",
        &batch.changes,
        |row, change| {
            row.push_bind(signed(change.revision.0)).push_bind(change.id.clone());
            row.push_bind(change.statement.clone()).push_bind(change.signatures.clone());
            row.push_bind(change.receipt.clone()).push_bind(change.receipt_signature.clone());
            row.push_bind(change.author.clone()).push_bind(change.message.clone()).push_bind(change.time.to_string());
        },
    );
    insert(
        all,
        "INSERT INTO entries (revision, leaf_index, kind, namespace, name, sequence, operation, leaf, proof, object) ",
        "",
        &batch.entries,
        |row, entry| {
            row.push_bind(signed(entry.revision.0)).push_bind(signed(entry.index));
            bind_key(row, &entry.key);
            row.push_bind(signed(entry.sequence)).push_bind(Operation::as_str(entry.operation));
            row.push_bind(entry.leaf.clone()).push_bind(entry.proof.clone()).push_bind(entry.object.clone());
        },
    );
}

fn insert<T>(
    all: &mut Vec<Statement>,
    head: &str,
    tail: &str,
    rows: &[T],
    mut bind: impl FnMut(&mut Separated<'_, Sqlite, &'static str>, &T),
) {
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        let mut builder = QueryBuilder::new(head);
        builder.push_values(chunk, |mut row, value| bind(&mut row, value));
        builder.push(tail);
        // Only the forms that come again are worth keeping prepared.
        all.push((builder, chunk.len() == 1 || chunk.len() == ROWS_PER_STATEMENT));
    }
}

fn bind_key(row: &mut Separated<'_, Sqlite, &'static str>, key: &ObjectKey) {
    row.push_bind(key.kind.to_string()).push_bind(key.namespace.clone()).push_bind(key.name.clone());
}

/// JSON is text, and readable in the `sqlite3` shell.
fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}
