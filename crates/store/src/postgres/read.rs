//! What is read out of PostgreSQL: everything at the start, what others wrote, Changes and their entries.

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use sqlx::Executor;
use sqlx::postgres::{PgConnection, PgRow};
use stead_model::{ObjectKey, Revision};
use tokio::sync::MutexGuard;

use super::PostgresEngine;
use super::connection::{ANSWER_SECONDS_MAX, SESSION_NAME, Server, Session, TURN_SECONDS_MAX};
use super::migration::supported;
use crate::columns::{self, CHANGE_COLUMNS, signed};
use crate::engine::{EngineError, Reading};
use crate::rows::{Change, ChangeReference, Entry, HistoryRow, Mark, Meta, RootDocument, Sequence};
use crate::stored::Stored;

/// Names asked for with one statement.
const NAMES_PER_STATEMENT: usize = 4_096;

const READING: &str = "reading";

/// What every session begins with, whatever the server's defaults are. A reading may take its time: it streams, and each row is
/// waited for by itself.
const BEGIN_READING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0; \
     SELECT last_revision, compacted_revision, leader_term, incarnation, batch, restored_at, restored_revision, \
            (SELECT version FROM stead.schema_version) FROM stead.meta";

/// The record as a whole.
pub(super) const SELECT_META: &str =
    "SELECT last_revision, compacted_revision, leader_term, incarnation, batch, restored_at, restored_revision FROM stead.meta";

/// Begins a transaction whose last statement reads `meta` and the schema's version.
pub(super) async fn begin(
    server: &Server,
    connection: &mut PgConnection,
    doing: &'static str,
    sql: &'static str,
) -> Result<Meta, EngineError> {
    // The server gives up on the lock by itself; this is for a server that says nothing.
    let patience = TURN_SECONDS_MAX.saturating_add(1);
    let rows = server.within(patience, doing, sqlx::raw_sql(sql).fetch_all(connection)).await?;
    let malformed = || EngineError::Malformed { table: "meta", value: "no row".to_owned(), expected: "one row" };
    let row = rows.first().ok_or_else(malformed)?;
    let found = columns::unsigned(row, columns::META_COLUMNS, "schema_version")?;
    let found = i64::try_from(found).unwrap_or(i64::MAX);
    if found > supported() {
        return Err(EngineError::Newer { found, supported: supported() });
    }
    columns::meta(row)
}

/// A transaction on the engine's session, which goes back to it when the transaction has ended well.
pub(super) struct PgReading<'e> {
    pub(super) server: &'e Server,
    pub(super) slot: MutexGuard<'e, Option<Session>>,
    pub(super) connection: PgConnection,
    pub(super) generation: u64,
}

impl<'e> PgReading<'e> {
    /// The record as it is at this moment.
    pub(super) async fn begin(engine: &'e PostgresEngine) -> Result<Self, EngineError> {
        Ok(Self::open(engine, READING, BEGIN_READING).await?.0)
    }

    /// Begins on the session that is kept, or, where the server went away and came back meanwhile, on a new one.
    pub(super) async fn open(
        engine: &'e PostgresEngine,
        doing: &'static str,
        sql: &'static str,
    ) -> Result<(Self, Meta), EngineError> {
        let server = &*engine.server;
        let mut slot = engine.session.lock().await;
        engine.ensure_open()?;
        let kept = slot.take().filter(|session| session.generation == server.generation());
        if let Some(Session { mut connection, generation }) = kept {
            match begin(server, &mut connection, doing, sql).await {
                // Another server may have been promoted while the turn was waited for.
                Ok(_) if server.is_superseded(generation) => tracing::debug!("the session is of an old primary"),
                Ok(meta) => return Ok((Self { server, slot, connection, generation }, meta)),
                Err(error) if error.is_away() => tracing::debug!(%error, "the session is made anew"),
                Err(error) => return Err(error),
            }
        }
        let Session { mut connection, generation } = server.connect(doing).await?;
        let meta = begin(server, &mut connection, doing, sql).await?;
        Ok((Self { server, slot, connection, generation }, meta))
    }

    /// Keeps the session, whose transaction has been committed.
    pub(super) fn keep(mut self) {
        *self.slot = Some(Session { connection: self.connection, generation: self.generation });
    }

    /// Ends the transaction with nothing written, and gives the session back.
    pub(super) async fn give_back(mut self) {
        match self.server.within(ANSWER_SECONDS_MAX, READING, self.connection.execute("ROLLBACK")).await {
            Ok(_) => *self.slot = Some(Session { connection: self.connection, generation: self.generation }),
            Err(error) => tracing::debug!(%error, "a reading did not end cleanly"),
        }
    }

    fn rows<'a, T: Send + 'a>(
        &'a mut self,
        query: sqlx::query::Query<'a, sqlx::Postgres, sqlx::postgres::PgArguments>,
        read: impl Fn(&PgRow) -> Result<T, EngineError> + Send + 'a,
    ) -> BoxStream<'a, Result<T, EngineError>> {
        let server = self.server;
        let rows = each_within(server, query.fetch(&mut self.connection));
        rows.map(move |row| read(&row?)).boxed()
    }
}

/// Each row is waited for, but not for ever.
fn each_within<'a>(
    server: &'a Server,
    rows: impl Stream<Item = Result<PgRow, sqlx::Error>> + Send + Unpin + 'a,
) -> impl Stream<Item = Result<PgRow, EngineError>> + Send + 'a {
    stream::unfold(rows, move |mut rows| async move {
        let row = server.within(ANSWER_SECONDS_MAX, READING, rows.try_next()).await.transpose()?;
        Some((row, rows))
    })
}

impl Reading for PgReading<'_> {
    fn meta(&mut self) -> BoxFuture<'_, Result<Meta, EngineError>> {
        async {
            let row = sqlx::query(SELECT_META).fetch_one(&mut self.connection);
            columns::meta(&self.server.within(ANSWER_SECONDS_MAX, READING, row).await?)
        }
        .boxed()
    }

    fn holds<'a>(&'a mut self, mark: &'a Mark) -> BoxFuture<'a, Result<Option<bool>, EngineError>> {
        async {
            if mark.last == Revision(0) {
                return Ok(Some(true));
            }
            let sql = "SELECT compacted_revision, \
                       (SELECT count(*) FROM stead.batches WHERE last_revision = $1 AND token = $2) FROM stead.meta";
            let row = sqlx::query(sql).bind(signed(mark.last.0)).bind(&mark.token).fetch_one(&mut self.connection);
            let row = self.server.within(ANSWER_SECONDS_MAX, READING, row).await?;
            let compacted = columns::revision(&row, 0, "meta")?;
            let there = columns::unsigned(&row, 1, "batches")? > 0;
            Ok(if there { Some(true) } else { (compacted <= mark.last).then_some(false) })
        }
        .boxed()
    }

    fn objects(&mut self) -> BoxStream<'_, Result<Stored, EngineError>> {
        let sql = "SELECT kind, namespace, name, uid, revision, json FROM stead.objects ORDER BY kind, namespace, name";
        self.rows(sqlx::query(sql), columns::object)
    }

    fn objects_named(&mut self, keys: Vec<ObjectKey>) -> BoxStream<'_, Result<Stored, EngineError>> {
        let sql = "SELECT o.kind, o.namespace, o.name, o.uid, o.revision, o.json \
                   FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (kind, namespace, name) \
                   JOIN stead.objects AS o ON o.kind = wanted.kind COLLATE \"C\" AND o.namespace = wanted.namespace COLLATE \"C\" \
                                          AND o.name = wanted.name COLLATE \"C\"";
        let names = Names::of(keys.iter());
        self.rows(sqlx::query(sql).bind(names.kinds).bind(names.namespaces).bind(names.names), columns::object)
    }

    fn sequences_after(&mut self, revision: Revision) -> BoxStream<'_, Result<(ObjectKey, Sequence), EngineError>> {
        let sql = "SELECT kind, namespace, name, sequence, revision, deleted FROM stead.sequences WHERE revision > $1 \
                   ORDER BY kind, namespace, name";
        self.rows(sqlx::query(sql).bind(signed(revision.0)), columns::sequence)
    }

    fn roots_after(&mut self, version: u64) -> BoxFuture<'_, Result<Vec<RootDocument>, EngineError>> {
        let sql = "SELECT version, document, signatures FROM stead.roots WHERE version > $1 ORDER BY version";
        self.rows(sqlx::query(sql).bind(signed(version)), columns::root).try_collect().boxed()
    }

    fn history_after(&mut self, revision: Revision) -> BoxStream<'_, Result<HistoryRow, EngineError>> {
        let sql = "SELECT revision, position, kind, namespace, name, operation, before_uid, before_revision, before \
                   FROM stead.history WHERE revision > $1 ORDER BY revision DESC, position DESC";
        self.rows(sqlx::query(sql).bind(signed(revision.0)), columns::step)
    }

    fn changes(&mut self) -> BoxStream<'_, Result<Change, EngineError>> {
        let sql = "SELECT revision, id, statement, signatures, receipt, receipt_signature, author, message, time FROM stead.changes \
                   ORDER BY revision";
        self.rows(sqlx::query(sql), columns::change)
    }

    fn entries(&mut self) -> BoxStream<'_, Result<Entry, EngineError>> {
        let sql = "SELECT revision, leaf_index, kind, namespace, name, sequence, operation, leaf, proof, object FROM stead.entries \
                   ORDER BY revision, leaf_index";
        self.rows(sqlx::query(sql), |row| columns::entry(row, 0))
    }

    fn end<'a>(self: Box<Self>) -> BoxFuture<'a, ()>
    where
        Self: 'a,
    {
        self.give_back().boxed()
    }
}

/// Names as three arrays, for a statement to take apart.
pub(super) struct Names {
    pub(super) kinds: Vec<String>,
    pub(super) namespaces: Vec<String>,
    pub(super) names: Vec<String>,
}

impl Names {
    pub(super) fn of<'k>(keys: impl Iterator<Item = &'k ObjectKey>) -> Self {
        let mut all = Self { kinds: Vec::new(), namespaces: Vec::new(), names: Vec::new() };
        for key in keys {
            all.kinds.push(key.kind.to_string());
            all.namespaces.push(key.namespace.clone());
            all.names.push(key.name.clone());
        }
        all
    }
}

pub(super) async fn meta(engine: &PostgresEngine) -> Result<Meta, EngineError> {
    let readers = engine.server.readers(READING).await?;
    let row = sqlx::query(SELECT_META).fetch_one(&readers);
    columns::meta(&engine.server.read(READING, row).await?)
}

/// Sessions that are called as a coordinator's are. Those of other roles are seen as far as the server shows them.
pub(super) async fn others(engine: &PostgresEngine) -> Result<u64, EngineError> {
    let readers = engine.server.readers(READING).await?;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1";
    let count = sqlx::query_scalar::<_, i64>(sql).bind(SESSION_NAME).fetch_one(&readers);
    let count = engine.server.read(READING, count).await?;
    Ok(u64::try_from(count).unwrap_or_default())
}

pub(super) async fn known_changes(
    server: &Server,
    connection: &mut PgConnection,
    ids: Vec<String>,
) -> Result<Vec<(String, Revision)>, EngineError> {
    let sql = "SELECT revision, id FROM stead.changes WHERE id = ANY($1)";
    let rows = sqlx::query(sql).bind(ids).fetch_all(connection);
    let rows = server.within(ANSWER_SECONDS_MAX, READING, rows).await?;
    let known = |row: &PgRow| Ok((columns::text(row, 1, "changes")?.to_owned(), columns::revision(row, 0, "changes")?));
    rows.iter().map(known).collect()
}

pub(super) async fn change(engine: &PostgresEngine, reference: ChangeReference) -> Result<Option<Change>, EngineError> {
    let readers = engine.server.readers(READING).await?;
    let query = match reference {
        ChangeReference::Id(id) => sqlx::query(
            "SELECT revision, id, statement, signatures, receipt, receipt_signature, author, message, time FROM stead.changes \
             WHERE id = $1",
        )
        .bind(id),
        ChangeReference::Revision(revision) => sqlx::query(
            "SELECT revision, id, statement, signatures, receipt, receipt_signature, author, message, time FROM stead.changes \
             WHERE revision = $1",
        )
        .bind(signed(revision.0)),
    };
    let row = engine.server.read(READING, query.fetch_optional(&readers)).await?;
    row.as_ref().map(columns::change).transpose()
}

pub(super) async fn changes_before(engine: &PostgresEngine, before: Revision, limit: usize) -> Result<Vec<Change>, EngineError> {
    let readers = engine.server.readers(READING).await?;
    let sql = "SELECT revision, id, statement, signatures, receipt, receipt_signature, author, message, time FROM stead.changes \
               WHERE revision < $1 ORDER BY revision DESC LIMIT $2";
    let rows = sqlx::query(sql).bind(signed(before.0)).bind(signed(limit as u64)).fetch_all(&readers);
    engine.server.read(READING, rows).await?.iter().map(columns::change).collect()
}

pub(super) async fn entries(engine: &PostgresEngine, revision: Revision) -> Result<Vec<Entry>, EngineError> {
    let readers = engine.server.readers(READING).await?;
    let sql = "SELECT revision, leaf_index, kind, namespace, name, sequence, operation, leaf, proof, object FROM stead.entries \
               WHERE revision = $1 ORDER BY leaf_index";
    let rows = sqlx::query(sql).bind(signed(revision.0)).fetch_all(&readers);
    let rows = engine.server.read(READING, rows).await?;
    rows.iter().map(|row| columns::entry(row, 0)).collect()
}

pub(super) async fn newest_entries(engine: &PostgresEngine, keys: Vec<ObjectKey>) -> Result<Vec<(Change, Entry)>, EngineError> {
    let readers = engine.server.readers(READING).await?;
    let sql = "SELECT c.revision, c.id, c.statement, c.signatures, c.receipt, c.receipt_signature, c.author, c.message, c.time, \
                      e.revision, e.leaf_index, e.kind, e.namespace, e.name, e.sequence, e.operation, e.leaf, e.proof, e.object \
               FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (kind, namespace, name) \
               JOIN stead.sequences AS s ON s.kind = wanted.kind COLLATE \"C\" AND s.namespace = wanted.namespace COLLATE \"C\" \
                                        AND s.name = wanted.name COLLATE \"C\" \
               JOIN stead.entries AS e ON e.kind = s.kind AND e.namespace = s.namespace AND e.name = s.name \
                                      AND e.sequence = s.sequence \
               JOIN stead.changes AS c ON c.revision = e.revision";
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(NAMES_PER_STATEMENT) {
        let names = Names::of(keys.iter());
        let query = sqlx::query(sql).bind(names.kinds).bind(names.namespaces).bind(names.names);
        let rows = engine.server.read(READING, query.fetch_all(&readers)).await?;
        for row in &rows {
            found.push((columns::change(row)?, columns::entry(row, CHANGE_COLUMNS)?));
        }
    }
    found.sort_by_key(|(change, entry)| (change.revision, entry.index));
    Ok(found)
}

pub(super) async fn entries_at(
    engine: &PostgresEngine,
    wanted: Vec<(ObjectKey, u64)>,
) -> Result<Vec<(Change, Entry)>, EngineError> {
    let readers = engine.server.readers(READING).await?;
    let sql = "SELECT c.revision, c.id, c.statement, c.signatures, c.receipt, c.receipt_signature, c.author, c.message, c.time, \
                      e.revision, e.leaf_index, e.kind, e.namespace, e.name, e.sequence, e.operation, e.leaf, e.proof, e.object \
               FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS wanted (kind, namespace, name, sequence) \
               JOIN stead.entries AS e ON e.kind = wanted.kind COLLATE \"C\" AND e.namespace = wanted.namespace COLLATE \"C\" \
                                      AND e.name = wanted.name COLLATE \"C\" AND e.sequence = wanted.sequence \
               JOIN stead.changes AS c ON c.revision = e.revision";
    let mut found = Vec::with_capacity(wanted.len());
    for wanted in wanted.chunks(NAMES_PER_STATEMENT) {
        let names = Names::of(wanted.iter().map(|(key, _)| key));
        let sequences: Vec<i64> = wanted.iter().map(|(_, sequence)| signed(*sequence)).collect();
        let query = sqlx::query(sql).bind(names.kinds).bind(names.namespaces).bind(names.names).bind(sequences);
        let rows = engine.server.read(READING, query.fetch_all(&readers)).await?;
        for row in &rows {
            found.push((columns::change(row)?, columns::entry(row, CHANGE_COLUMNS)?));
        }
    }
    Ok(found)
}

pub(super) async fn changes_named(engine: &PostgresEngine, prefix: String, limit: usize) -> Result<Vec<Change>, EngineError> {
    let readers = engine.server.readers(READING).await?;
    // Ids are ASCII, so that everything that starts with the prefix sorts between it and it with the last character there is.
    let sql = "SELECT revision, id, statement, signatures, receipt, receipt_signature, author, message, time FROM stead.changes \
               WHERE id >= $1 COLLATE \"C\" AND id < $2 COLLATE \"C\" ORDER BY id LIMIT $3";
    let after = format!("{prefix}\u{7f}");
    let rows = sqlx::query(sql).bind(prefix).bind(after).bind(signed(limit as u64)).fetch_all(&readers);
    engine.server.read(READING, rows).await?.iter().map(columns::change).collect()
}

pub(super) async fn history_bytes_floor(engine: &PostgresEngine, bytes_max: u64) -> Result<Revision, EngineError> {
    let readers = engine.server.readers(READING).await?;
    let sql = "SELECT coalesce(max(revision), 0) FROM (\
                   SELECT revision, sum(octet_length(coalesce(before, ''))) OVER (ORDER BY revision DESC, position DESC) AS bytes \
                   FROM stead.history) AS steps \
               WHERE bytes > $1";
    let row = sqlx::query(sql).bind(signed(bytes_max)).fetch_one(&readers);
    columns::revision(&engine.server.read(READING, row).await?, 0, "history")
}
