//! What is read out of SQLite: everything at the start, Changes and their entries later.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use stead_model::{ObjectKey, Revision};

use crate::engine::EngineError;
use crate::rows::{Change, ChangeReference, Entry, HistoryRow, Meta, Operation, RootDocument, Sequence, kind_from_column};
use crate::stored::Stored;

/// Names asked for with one statement.
const NAMES_PER_STATEMENT: usize = 4_096;

/// SQLite's integers are signed; no counter of ours comes near the difference.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn reading(source: sqlx::Error) -> EngineError {
    EngineError::Database { doing: "reading", source }
}

fn unsigned(row: &SqliteRow, column: usize, table: &'static str) -> Result<u64, EngineError> {
    let number: i64 = row.try_get(column).map_err(reading)?;
    let malformed = |_| EngineError::Malformed { table, value: number.to_string(), expected: "a number that is not negative" };
    u64::try_from(number).map_err(malformed)
}

/// The revision in the first column of a row of `meta`.
pub(super) fn one_revision(row: &SqliteRow) -> Result<Revision, EngineError> {
    unsigned(row, 0, "meta").map(Revision)
}

/// Kind, namespace and name, from three columns in that order.
fn key(row: &SqliteRow, first: usize) -> Result<ObjectKey, EngineError> {
    let column = |offset: usize| row.try_get::<&str, _>(first.saturating_add(offset)).map_err(reading);
    Ok(ObjectKey::new(kind_from_column(column(0)?), column(1)?, column(2)?))
}

fn operation(row: &SqliteRow, column: usize, table: &'static str) -> Result<Operation, EngineError> {
    let text: &str = row.try_get(column).map_err(reading)?;
    let malformed = || EngineError::Malformed { table, value: text.to_owned(), expected: "put or delete" };
    Operation::parse(text).ok_or_else(malformed)
}

fn json(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(super) async fn meta(pool: &SqlitePool) -> Result<Meta, EngineError> {
    let sql = "SELECT last_revision, compacted_revision, incarnation FROM meta";
    let row = sqlx::query(sql).fetch_one(pool).await.map_err(reading)?;
    Ok(Meta {
        incarnation: row.try_get(2).map_err(reading)?,
        last: one_revision(&row)?,
        compacted: Revision(unsigned(&row, 1, "meta")?),
    })
}

pub(super) fn objects(pool: &SqlitePool) -> impl Stream<Item = Result<Stored, EngineError>> {
    let sql = "SELECT kind, namespace, name, uid, revision, json FROM objects ORDER BY kind, namespace, name";
    sqlx::query(sql).fetch(pool).map(|row| {
        let row = row.map_err(reading)?;
        let uid: &str = row.try_get(3).map_err(reading)?;
        let text: &str = row.try_get(5).map_err(reading)?;
        Ok(Stored::from_json(&key(&row, 0)?, uid, Revision(unsigned(&row, 4, "objects")?), json(text))?)
    })
}

pub(super) fn sequences(pool: &SqlitePool) -> impl Stream<Item = Result<(ObjectKey, Sequence), EngineError>> {
    let sql = "SELECT kind, namespace, name, sequence, revision, deleted FROM sequences ORDER BY kind, namespace, name";
    sqlx::query(sql).fetch(pool).map(|row| {
        let row = row.map_err(reading)?;
        let sequence = Sequence {
            sequence: unsigned(&row, 3, "sequences")?,
            revision: Revision(unsigned(&row, 4, "sequences")?),
            deleted: row.try_get::<i64, _>(5).map_err(reading)? != 0,
        };
        Ok((key(&row, 0)?, sequence))
    })
}

pub(super) async fn roots(pool: &SqlitePool) -> Result<Vec<RootDocument>, EngineError> {
    let sql = "SELECT version, document, signatures FROM roots ORDER BY version";
    let rows = sqlx::query(sql).fetch_all(pool).await.map_err(reading)?;
    rows.iter()
        .map(|row| {
            Ok(RootDocument {
                version: unsigned(row, 0, "roots")?,
                document: row.try_get(1).map_err(reading)?,
                signatures: row.try_get(2).map_err(reading)?,
            })
        })
        .collect()
}

pub(super) fn history_after(pool: &SqlitePool, revision: Revision) -> impl Stream<Item = Result<HistoryRow, EngineError>> {
    let sql = "SELECT revision, position, kind, namespace, name, operation, before_uid, before_revision, before FROM history \
               WHERE revision > ? ORDER BY revision DESC, position DESC";
    sqlx::query(sql).bind(signed(revision.0)).fetch(pool).map(|row| history_row(&row.map_err(reading)?))
}

fn history_row(row: &SqliteRow) -> Result<HistoryRow, EngineError> {
    let key = key(row, 2)?;
    let before = match row.try_get::<Option<&str>, _>(8).map_err(reading)? {
        Some(text) => {
            let uid: &str = row.try_get(6).map_err(reading)?;
            let revision = Revision(unsigned(row, 7, "history")?);
            Some(Arc::new(Stored::from_json(&key, uid, revision, json(text))?))
        }
        None => None,
    };
    Ok(HistoryRow {
        revision: Revision(unsigned(row, 0, "history")?),
        position: row.try_get(1).map_err(reading)?,
        operation: operation(row, 5, "history")?,
        key,
        before,
    })
}

pub(super) async fn known_changes(pool: &SqlitePool, ids: Vec<String>) -> Result<Vec<(String, Revision)>, EngineError> {
    let sql = "SELECT revision, id FROM changes WHERE id IN (SELECT value FROM json_each(?))";
    let rows = sqlx::query(sql).bind(serde_json::json!(ids).to_string()).fetch_all(pool).await.map_err(reading)?;
    let known = |row: &SqliteRow| Ok((row.try_get(1).map_err(reading)?, Revision(unsigned(row, 0, "changes")?)));
    rows.iter().map(known).collect()
}

const CHANGE_COLUMNS: usize = 9;

/// A Change from the first [`CHANGE_COLUMNS`] columns.
fn change_row(row: &SqliteRow) -> Result<Change, EngineError> {
    let time: &str = row.try_get(8).map_err(reading)?;
    let malformed = |_| EngineError::Malformed { table: "changes", value: time.to_owned(), expected: "a time (RFC 3339)" };
    Ok(Change {
        revision: Revision(unsigned(row, 0, "changes")?),
        id: row.try_get(1).map_err(reading)?,
        statement: row.try_get(2).map_err(reading)?,
        signatures: row.try_get(3).map_err(reading)?,
        receipt: row.try_get(4).map_err(reading)?,
        receipt_signature: row.try_get(5).map_err(reading)?,
        author: row.try_get(6).map_err(reading)?,
        message: row.try_get(7).map_err(reading)?,
        time: time.parse::<Timestamp>().map_err(malformed)?,
    })
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
    query.fetch_optional(pool).await.map_err(reading)?.as_ref().map(change_row).transpose()
}

pub(super) async fn changes_before(pool: &SqlitePool, before: Revision, limit: usize) -> Result<Vec<Change>, EngineError> {
    let sql = "SELECT revision, id, statement, signatures, receipt, receipt_signature, author, message, time FROM changes \
               WHERE revision < ? ORDER BY revision DESC LIMIT ?";
    let query = sqlx::query(sql).bind(signed(before.0)).bind(signed(limit as u64));
    query.fetch_all(pool).await.map_err(reading)?.iter().map(change_row).collect()
}

/// An entry from the columns after `first`.
fn entry_row(row: &SqliteRow, first: usize) -> Result<Entry, EngineError> {
    let at = |offset: usize| first.saturating_add(offset);
    Ok(Entry {
        revision: Revision(unsigned(row, at(0), "entries")?),
        index: unsigned(row, at(1), "entries")?,
        key: key(row, at(2))?,
        sequence: unsigned(row, at(5), "entries")?,
        operation: operation(row, at(6), "entries")?,
        leaf: row.try_get(at(7)).map_err(reading)?,
        proof: row.try_get(at(8)).map_err(reading)?,
        object: row.try_get(at(9)).map_err(reading)?,
    })
}

pub(super) async fn entries(pool: &SqlitePool, revision: Revision) -> Result<Vec<Entry>, EngineError> {
    let sql = "SELECT revision, leaf_index, kind, namespace, name, sequence, operation, leaf, proof, object FROM entries \
               WHERE revision = ? ORDER BY leaf_index";
    let rows = sqlx::query(sql).bind(signed(revision.0)).fetch_all(pool).await.map_err(reading)?;
    rows.iter().map(|row| entry_row(row, 0)).collect()
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
        let names: Vec<[String; 3]> =
            keys.iter().map(|key| [key.kind.to_string(), key.namespace.clone(), key.name.clone()]).collect();
        let rows = sqlx::query(sql).bind(serde_json::json!(names).to_string()).fetch_all(pool).await.map_err(reading)?;
        for row in &rows {
            found.push((change_row(row)?, entry_row(row, CHANGE_COLUMNS)?));
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
    one_revision(&row)
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
            found.push((change_row(row)?, entry_row(row, CHANGE_COLUMNS)?));
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
    query.fetch_all(pool).await.map_err(reading)?.iter().map(change_row).collect()
}
