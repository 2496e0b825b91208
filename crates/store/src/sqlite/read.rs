//! What is read out of SQLite: everything at the start, Changes and their entries later.

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Row, Transaction};
use stead_model::{ObjectKey, Revision};

use crate::columns::{self, CHANGE_COLUMNS, signed};
use crate::engine::{EngineError, Reading};
use crate::rows::{Change, ChangeReference, Entry, HistoryRow, Mark, Meta, RootDocument, Sequence};
use crate::stored::Stored;

/// Names asked for with one statement.
const NAMES_PER_STATEMENT: usize = 4_096;

pub(super) fn reading(source: sqlx::Error) -> EngineError {
    EngineError::Database { doing: "reading".into(), source }
}

/// The record at one moment: what the log held when it was first asked.
pub(super) struct SqliteReading(Transaction<'static, Sqlite>);

impl SqliteReading {
    pub(super) async fn begin(pool: &SqlitePool) -> Result<Self, EngineError> {
        Ok(Self(pool.begin().await.map_err(reading)?))
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.0
    }
}

pub(super) async fn meta(connection: &mut SqliteConnection) -> Result<Meta, EngineError> {
    let sql =
        "SELECT last_revision, compacted_revision, leader_term, incarnation, batch, restored_at, restored_revision FROM meta";
    let row = sqlx::query(sql).fetch_one(connection).await.map_err(reading)?;
    columns::meta(&row)
}

impl Reading for SqliteReading {
    fn meta(&mut self) -> BoxFuture<'_, Result<Meta, EngineError>> {
        meta(&mut self.0).boxed()
    }

    /// Nobody else writes here, so that the newest batch and the one before it are all that can be asked for.
    fn holds<'a>(&'a mut self, mark: &'a Mark) -> BoxFuture<'a, Result<Option<bool>, EngineError>> {
        async {
            let sql = "SELECT (last_revision, batch) = (?1, ?2) OR (before_revision, before_batch) = (?1, ?2) FROM meta";
            let query = sqlx::query_scalar(sql).bind(signed(mark.last.0)).bind(&mark.token);
            Ok(Some(query.fetch_one(&mut *self.0).await.map_err(reading)?))
        }
        .boxed()
    }

    fn objects(&mut self) -> BoxStream<'_, Result<Stored, EngineError>> {
        let sql = "SELECT kind, namespace, name, uid, revision, json FROM objects ORDER BY kind, namespace, name";
        sqlx::query(sql).fetch(&mut *self.0).map(|row| columns::object(&row.map_err(reading)?)).boxed()
    }

    fn objects_named(&mut self, keys: Vec<ObjectKey>) -> BoxStream<'_, Result<Stored, EngineError>> {
        let sql = "SELECT o.kind, o.namespace, o.name, o.uid, o.revision, o.json FROM json_each(?) AS wanted \
                   JOIN objects AS o ON o.kind = wanted.value ->> 0 AND o.namespace = wanted.value ->> 1 AND o.name = wanted.value ->> 2";
        sqlx::query(sql).bind(names(&keys)).fetch(&mut *self.0).map(|row| columns::object(&row.map_err(reading)?)).boxed()
    }

    fn sequences_after(&mut self, revision: Revision) -> BoxStream<'_, Result<(ObjectKey, Sequence), EngineError>> {
        let sql = "SELECT kind, namespace, name, sequence, revision, deleted FROM sequences WHERE revision > ? \
                   ORDER BY kind, namespace, name";
        let rows = sqlx::query(sql).bind(signed(revision.0)).fetch(&mut *self.0);
        rows.map(|row| columns::sequence(&row.map_err(reading)?)).boxed()
    }

    fn roots_after(&mut self, version: u64) -> BoxFuture<'_, Result<Vec<RootDocument>, EngineError>> {
        async move {
            let sql = "SELECT version, document, signatures FROM roots WHERE version > ? ORDER BY version";
            let rows = sqlx::query(sql).bind(signed(version)).fetch_all(&mut *self.0).await.map_err(reading)?;
            rows.iter().map(columns::root).collect()
        }
        .boxed()
    }

    fn history_after(&mut self, revision: Revision) -> BoxStream<'_, Result<HistoryRow, EngineError>> {
        let sql = "SELECT revision, position, kind, namespace, name, operation, before_uid, before_revision, before FROM history \
                   WHERE revision > ? ORDER BY revision DESC, position DESC";
        let rows = sqlx::query(sql).bind(signed(revision.0)).fetch(&mut *self.0);
        rows.map(|row| columns::step(&row.map_err(reading)?)).boxed()
    }

    fn changes(&mut self) -> BoxStream<'_, Result<Change, EngineError>> {
        let sql = "SELECT revision, id, statement, signatures, receipt, receipt_signature, author, message, time FROM changes \
                   ORDER BY revision";
        sqlx::query(sql).fetch(&mut *self.0).map(|row| columns::change(&row.map_err(reading)?)).boxed()
    }

    fn entries(&mut self) -> BoxStream<'_, Result<Entry, EngineError>> {
        let sql = "SELECT revision, leaf_index, kind, namespace, name, sequence, operation, leaf, proof, object FROM entries \
                   ORDER BY revision, leaf_index";
        sqlx::query(sql).fetch(&mut *self.0).map(|row| columns::entry(&row.map_err(reading)?, 0)).boxed()
    }

    fn end<'a>(self: Box<Self>) -> BoxFuture<'a, ()>
    where
        Self: 'a,
    {
        async {
            if let Err(error) = self.0.rollback().await {
                tracing::debug!(%error, "a reading did not end cleanly");
            }
        }
        .boxed()
    }
}

/// Names as JSON, for a statement to take apart.
fn names(keys: &[ObjectKey]) -> String {
    let names: Vec<[String; 3]> =
        keys.iter().map(|key| [key.kind.to_string(), key.namespace.clone(), key.name.clone()]).collect();
    serde_json::json!(names).to_string()
}

pub(super) async fn known_changes(pool: &SqlitePool, ids: Vec<String>) -> Result<Vec<(String, Revision)>, EngineError> {
    let sql = "SELECT revision, id FROM changes WHERE id IN (SELECT value FROM json_each(?))";
    let rows = sqlx::query(sql).bind(serde_json::json!(ids).to_string()).fetch_all(pool).await.map_err(reading)?;
    let known = |row: &SqliteRow| Ok((row.try_get(1).map_err(reading)?, columns::revision(row, 0, "changes")?));
    rows.iter().map(known).collect()
}

pub(super) async fn change(pool: &SqlitePool, reference: ChangeReference) -> Result<Option<Change>, EngineError> {
    let query = match reference {
        ChangeReference::Id(id) => sqlx::query(
            "SELECT revision, id, statement, signatures, receipt, receipt_signature, author, message, time FROM changes WHERE id = ?",
        )
        .bind(id),
        ChangeReference::Revision(revision) => sqlx::query(
            "SELECT revision, id, statement, signatures, receipt, receipt_signature, author, message, time FROM changes \
             WHERE revision = ?",
        )
        .bind(signed(revision.0)),
    };
    query.fetch_optional(pool).await.map_err(reading)?.as_ref().map(columns::change).transpose()
}

pub(super) async fn changes_before(pool: &SqlitePool, before: Revision, limit: usize) -> Result<Vec<Change>, EngineError> {
    let sql = "SELECT revision, id, statement, signatures, receipt, receipt_signature, author, message, time FROM changes \
               WHERE revision < ? ORDER BY revision DESC LIMIT ?";
    let query = sqlx::query(sql).bind(signed(before.0)).bind(signed(limit as u64));
    query.fetch_all(pool).await.map_err(reading)?.iter().map(columns::change).collect()
}

pub(super) async fn entries(pool: &SqlitePool, revision: Revision) -> Result<Vec<Entry>, EngineError> {
    let sql = "SELECT revision, leaf_index, kind, namespace, name, sequence, operation, leaf, proof, object FROM entries \
               WHERE revision = ? ORDER BY leaf_index";
    let rows = sqlx::query(sql).bind(signed(revision.0)).fetch_all(pool).await.map_err(reading)?;
    rows.iter().map(|row| columns::entry(row, 0)).collect()
}

pub(super) async fn newest_entries(pool: &SqlitePool, keys: Vec<ObjectKey>) -> Result<Vec<(Change, Entry)>, EngineError> {
    let sql = "SELECT c.revision, c.id, c.statement, c.signatures, c.receipt, c.receipt_signature, c.author, c.message, c.time, \
                      e.revision, e.leaf_index, e.kind, e.namespace, e.name, e.sequence, e.operation, e.leaf, e.proof, e.object \
               FROM json_each(?) AS wanted \
               JOIN sequences AS s ON s.kind = wanted.value ->> 0 AND s.namespace = wanted.value ->> 1 AND s.name = wanted.value ->> 2 \
               JOIN entries AS e ON e.kind = s.kind AND e.namespace = s.namespace AND e.name = s.name AND e.sequence = s.sequence \
               JOIN changes AS c ON c.revision = e.revision";
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(NAMES_PER_STATEMENT) {
        let rows = sqlx::query(sql).bind(names(keys)).fetch_all(pool).await.map_err(reading)?;
        for row in &rows {
            found.push((columns::change(row)?, columns::entry(row, CHANGE_COLUMNS)?));
        }
    }
    found.sort_by_key(|(change, entry)| (change.revision, entry.index));
    Ok(found)
}

pub(super) async fn history_bytes_floor(pool: &SqlitePool, bytes_max: u64) -> Result<Revision, EngineError> {
    let sql = "SELECT coalesce(max(revision), 0) FROM (\
                   SELECT revision, sum(octet_length(coalesce(before, ''))) OVER (ORDER BY revision DESC, position DESC) AS bytes \
                   FROM history) \
               WHERE bytes > ?";
    let row = sqlx::query(sql).bind(signed(bytes_max)).fetch_one(pool).await.map_err(reading)?;
    columns::revision(&row, 0, "history")
}

pub(super) async fn entries_at(pool: &SqlitePool, wanted: Vec<(ObjectKey, u64)>) -> Result<Vec<(Change, Entry)>, EngineError> {
    let sql = "SELECT c.revision, c.id, c.statement, c.signatures, c.receipt, c.receipt_signature, c.author, c.message, c.time, \
                      e.revision, e.leaf_index, e.kind, e.namespace, e.name, e.sequence, e.operation, e.leaf, e.proof, e.object \
               FROM json_each(?) AS wanted \
               JOIN entries AS e ON e.kind = wanted.value ->> 0 AND e.namespace = wanted.value ->> 1 \
                                AND e.name = wanted.value ->> 2 AND e.sequence = wanted.value ->> 3 \
               JOIN changes AS c ON c.revision = e.revision";
    let mut found = Vec::with_capacity(wanted.len());
    for wanted in wanted.chunks(NAMES_PER_STATEMENT) {
        let rows: Vec<serde_json::Value> = wanted
            .iter()
            .map(|(key, sequence)| serde_json::json!([key.kind.to_string(), key.namespace, key.name, signed(*sequence)]))
            .collect();
        let rows = sqlx::query(sql).bind(serde_json::Value::Array(rows).to_string()).fetch_all(pool).await.map_err(reading)?;
        for row in &rows {
            found.push((columns::change(row)?, columns::entry(row, CHANGE_COLUMNS)?));
        }
    }
    Ok(found)
}

pub(super) async fn changes_named(pool: &SqlitePool, prefix: String, limit: usize) -> Result<Vec<Change>, EngineError> {
    // Ids are ASCII, so that everything that starts with the prefix sorts between it and it with the last character there is.
    let sql = "SELECT revision, id, statement, signatures, receipt, receipt_signature, author, message, time FROM changes \
               WHERE id >= ? AND id < ? ORDER BY id LIMIT ?";
    let after = format!("{prefix}\u{7f}");
    let query = sqlx::query(sql).bind(prefix).bind(after).bind(signed(limit as u64));
    query.fetch_all(pool).await.map_err(reading)?.iter().map(columns::change).collect()
}
