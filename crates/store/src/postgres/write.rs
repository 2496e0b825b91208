//! A batch into PostgreSQL: one transaction under the lock of `meta`, and few statements, each with its rows as arrays.

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{Executor, Postgres};
use stead_model::{ObjectKey, Revision};

use super::PostgresEngine;
use super::connection::{ANSWER_SECONDS_MAX, Server};
use super::inbox;
use super::news::CHANNEL;
use super::read::{self, Names, PgReading};
use crate::columns::{self, signed};
use crate::engine::{CommitFailure, EngineError, Reading, Turn};
use crate::rows::{Batch, Meta};
use crate::stored::Stored;

/// Rows of one statement: of the largest objects, their arrays stay below the gigabyte that PostgreSQL takes.
const ROWS_PER_STATEMENT: usize = 500;

const TAKING_A_TURN: &str = "waiting for the turn to write";
const COMMITTING: &str = "committing a batch";
const FORGETTING: &str = "forgetting old history";

/// The lock on the row is held until the transaction ends, on the server too, whatever becomes of the connection.
pub(super) const BEGIN_TURN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
     SELECT last_revision, compacted_revision, leader_term, incarnation, batch, restored_at, restored_revision, \
            (SELECT version FROM stead.schema_version) FROM stead.meta FOR UPDATE";

/// A transaction that holds the writers' lock.
pub(super) struct PgTurn<'e> {
    reading: PgReading<'e>,
    meta: Meta,
}

impl<'e> PgTurn<'e> {
    pub(super) async fn take(engine: &'e PostgresEngine) -> Result<Self, EngineError> {
        let (reading, meta) = PgReading::open(engine, TAKING_A_TURN, BEGIN_TURN).await?;
        Ok(Self { reading, meta })
    }

    async fn commit(self, batch: &Batch) -> Result<(), CommitFailure> {
        let mut reading = self.reading;
        let (server, connection) = (reading.server, &mut reading.connection);
        // Dropped on the way out of here, the connection ends, and the server takes back what was begun on it.
        write(server, connection, batch).await.map_err(CommitFailure::Refused)?;
        if server.is_superseded(reading.generation) {
            return Err(CommitFailure::Refused(server.superseded(COMMITTING)));
        }
        let committed = server.within(ANSWER_SECONDS_MAX, COMMITTING, connection.execute("COMMIT")).await;
        committed.map_err(CommitFailure::Unsure)?;
        reading.keep();
        Ok(())
    }
}

impl Turn for PgTurn<'_> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn reading(&mut self) -> BoxFuture<'_, Result<&mut dyn Reading, EngineError>> {
        std::future::ready(Ok(&mut self.reading as &mut dyn Reading)).boxed()
    }

    fn known_changes(&mut self, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<(String, Revision)>, EngineError>> {
        read::known_changes(self.reading.server, &mut self.reading.connection, ids).boxed()
    }

    fn settled(&mut self, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<String>, EngineError>> {
        inbox::settled(self.reading.server, &mut self.reading.connection, ids).boxed()
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
        self.reading.give_back().boxed()
    }
}

/// Everything but the last word.
async fn write(server: &Server, connection: &mut PgConnection, batch: &Batch) -> Result<(), EngineError> {
    move_on(server, connection, batch).await?;
    for statement in statements(batch) {
        server.within(ANSWER_SECONDS_MAX, COMMITTING, statement.execute(&mut *connection)).await?;
    }
    Ok(())
}

/// Moves the record to its new revision and announces it, unless the record is elsewhere, or another coordinator leads.
async fn move_on(server: &Server, connection: &mut PgConnection, batch: &Batch) -> Result<(), EngineError> {
    let sql = "WITH moved AS (\
                   UPDATE stead.meta SET last_revision = $1, batch = $2, leader_term = $3 \
                   WHERE last_revision = $4 AND leader_term = $5 RETURNING last_revision), \
               noted AS (INSERT INTO stead.batches (last_revision, token) SELECT last_revision, $2 FROM moved) \
               SELECT pg_notify($6, last_revision::text) FROM moved";
    let moving = sqlx::query(sql)
        .bind(signed(batch.last.0))
        .bind(&batch.token)
        .bind(signed(batch.term))
        .bind(signed(batch.base.0))
        .bind(signed(batch.base_term))
        .bind(CHANNEL)
        .fetch_optional(&mut *connection);
    if server.within(ANSWER_SECONDS_MAX, COMMITTING, moving).await?.is_some() {
        return Ok(());
    }
    let found = sqlx::query(read::SELECT_META).fetch_one(connection);
    let found = server.within(ANSWER_SECONDS_MAX, COMMITTING, found).await?;
    Err(batch.not_at(&columns::meta(&found)?))
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

pub(super) fn statements(batch: &Batch) -> Vec<Statement<'_>> {
    let mut all = Vec::new();
    object_statements(batch, &mut all);
    for rows in batch.history.chunks(ROWS_PER_STATEMENT) {
        let sql = "INSERT INTO stead.history (revision, position, kind, namespace, name, operation, before_uid, before_revision, before) \
                   SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], \
                                        $8::bigint[], $9::text[])";
        let query =
            sqlx::query(sql).bind(list(rows, |row| signed(row.revision.0))).bind(list(rows, |row| i64::from(row.position)));
        all.push(
            bind_names(query, rows.iter().map(|row| &row.key))
                .bind(list(rows, |row| row.operation.as_str()))
                .bind(list(rows, |row| row.before.as_ref().map(|before| before.uid())))
                .bind(list(rows, |row| row.before.as_ref().map(|before| signed(before.revision().0))))
                .bind(list(rows, |row| row.before.as_ref().map(|before| text(before)))),
        );
    }
    change_statements(batch, &mut all);
    for rows in batch.sequences.chunks(ROWS_PER_STATEMENT) {
        let sql = "INSERT INTO stead.sequences (kind, namespace, name, sequence, revision, deleted) \
                   SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[]) \
                   ON CONFLICT (kind, namespace, name) DO UPDATE \
                   SET sequence = excluded.sequence, revision = excluded.revision, deleted = excluded.deleted";
        all.push(
            bind_names(sqlx::query(sql), rows.iter().map(|(key, _)| key))
                .bind(list(rows, |(_, sequence)| signed(sequence.sequence)))
                .bind(list(rows, |(_, sequence)| signed(sequence.revision.0)))
                .bind(list(rows, |(_, sequence)| i64::from(sequence.deleted))),
        );
    }
    for rows in batch.roots.chunks(ROWS_PER_STATEMENT) {
        let sql = "INSERT INTO stead.roots (version, document, signatures) SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[])";
        all.push(
            sqlx::query(sql)
                .bind(list(rows, |root| signed(root.version)))
                .bind(list(rows, |root| root.document.as_slice()))
                .bind(list(rows, |root| root.signatures.as_slice())),
        );
    }
    for rows in batch.settled.chunks(ROWS_PER_STATEMENT) {
        let sql = "UPDATE stead.inbox SET state = settled.state, message = settled.message, revision = settled.revision, body = '', \
                          settled_at = clock_timestamp() \
                   FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS settled (id, state, message, revision) \
                   WHERE inbox.id = settled.id";
        all.push(
            sqlx::query(sql)
                .bind(list(rows, |settled| settled.id.as_str()))
                .bind(list(rows, |settled| settled.state()))
                .bind(list(rows, |settled| inbox::text(&settled.message)))
                .bind(list(rows, |settled| settled.revision.map(|revision| signed(revision.0)))),
        );
    }
    all
}

fn object_statements<'q>(batch: &'q Batch, all: &mut Vec<Statement<'q>>) {
    let written: Vec<_> = batch.objects.iter().filter_map(|(key, stored)| stored.as_ref().map(|stored| (key, stored))).collect();
    let gone: Vec<_> = batch.objects.iter().filter(|(_, stored)| stored.is_none()).map(|(key, _)| key).collect();
    for rows in written.chunks(ROWS_PER_STATEMENT) {
        let sql = "INSERT INTO stead.objects (kind, namespace, name, uid, revision, json) \
                   SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[]) \
                   ON CONFLICT (kind, namespace, name) DO UPDATE \
                   SET uid = excluded.uid, revision = excluded.revision, json = excluded.json";
        all.push(
            bind_names(sqlx::query(sql), rows.iter().map(|(key, _)| *key))
                .bind(list(rows, |(_, stored)| stored.uid()))
                .bind(list(rows, |(_, stored)| signed(stored.revision().0)))
                .bind(list(rows, |(_, stored)| text(stored))),
        );
    }
    for rows in gone.chunks(ROWS_PER_STATEMENT) {
        let sql = "DELETE FROM stead.objects AS o USING unnest($1::text[], $2::text[], $3::text[]) AS gone (kind, namespace, name) \
                   WHERE o.kind = gone.kind COLLATE \"C\" AND o.namespace = gone.namespace COLLATE \"C\" \
                     AND o.name = gone.name COLLATE \"C\"";
        all.push(bind_names(sqlx::query(sql), rows.iter().copied()));
    }
}

fn change_statements<'q>(batch: &'q Batch, all: &mut Vec<Statement<'q>>) {
    for rows in batch.changes.chunks(ROWS_PER_STATEMENT) {
        let sql = "INSERT INTO stead.changes (revision, id, statement, signatures, receipt, receipt_signature, author, message, time) \
                   SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::text[], \
                                        $8::text[], $9::text[])";
        all.push(
            sqlx::query(sql)
                .bind(list(rows, |change| signed(change.revision.0)))
                .bind(list(rows, |change| change.id.as_str()))
                .bind(list(rows, |change| change.statement.as_slice()))
                .bind(list(rows, |change| change.signatures.as_slice()))
                .bind(list(rows, |change| change.receipt.as_slice()))
                .bind(list(rows, |change| change.receipt_signature.as_slice()))
                .bind(list(rows, |change| change.author.as_str()))
                .bind(list(rows, |change| change.message.as_str()))
                .bind(list(rows, |change| change.time.to_string())),
        );
    }
    for rows in batch.entries.chunks(ROWS_PER_STATEMENT) {
        let sql = "INSERT INTO stead.entries (revision, leaf_index, kind, namespace, name, sequence, operation, leaf, proof, object) \
                   SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], \
                                        $8::bytea[], $9::bytea[], $10::bytea[])";
        let query =
            sqlx::query(sql).bind(list(rows, |entry| signed(entry.revision.0))).bind(list(rows, |entry| signed(entry.index)));
        all.push(
            bind_names(query, rows.iter().map(|entry| &entry.key))
                .bind(list(rows, |entry| signed(entry.sequence)))
                .bind(list(rows, |entry| entry.operation.as_str()))
                .bind(list(rows, |entry| entry.leaf.as_slice()))
                .bind(list(rows, |entry| entry.proof.as_slice()))
                .bind(list(rows, |entry| entry.object.as_deref())),
        );
    }
}

fn list<'r, R, T>(rows: &'r [R], value: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

fn bind_names<'q, 'k>(query: Statement<'q>, keys: impl Iterator<Item = &'k ObjectKey>) -> Statement<'q> {
    let names = Names::of(keys);
    query.bind(names.kinds).bind(names.namespaces).bind(names.names)
}

/// JSON is text, and readable in `psql`.
fn text(stored: &Stored) -> String {
    String::from_utf8_lossy(stored.json()).into_owned()
}

/// Forgets the steps up to a revision. It takes its turn as every writer does, for it moves `meta`.
pub(super) async fn compact(engine: &PostgresEngine, through: Revision) -> Result<(), EngineError> {
    let readers = engine.server.readers(FORGETTING).await?;
    engine.ensure_open()?;
    let forgetting = async {
        let mut transaction = readers.begin().await?;
        for sql in [
            "UPDATE stead.meta SET compacted_revision = greatest(compacted_revision, $1)",
            "DELETE FROM stead.history WHERE revision <= $1",
            // The batch that led to the revision itself tells who stands there that it is still a place.
            "DELETE FROM stead.batches WHERE last_revision < $1",
        ] {
            sqlx::query(sql).bind(signed(through.0)).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    };
    engine.server.read(FORGETTING, forgetting).await
}
