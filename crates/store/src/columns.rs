//! Rows of either engine as what they stand for. The engines' statements name the columns in the order that stands at each function here.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use stead_model::{ObjectKey, Revision};

use crate::engine::EngineError;
use crate::rows::{Change, Entry, HistoryRow, Meta, Operation, Restored, RootDocument, Sequence, Step, kind_from_column};
use crate::stored::Stored;

/// How many columns the record as a whole has.
pub(crate) const META_COLUMNS: usize = 7;
/// How many columns a Change has.
pub(crate) const CHANGE_COLUMNS: usize = 9;

/// A row, by the places of its columns.
pub(crate) trait Columns {
    fn text(&self, column: usize) -> Result<Option<&str>, sqlx::Error>;
    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, sqlx::Error>;
    fn integer(&self, column: usize) -> Result<i64, sqlx::Error>;
}

impl Columns for SqliteRow {
    fn text(&self, column: usize) -> Result<Option<&str>, sqlx::Error> {
        self.try_get(column)
    }

    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
        self.try_get(column)
    }

    fn integer(&self, column: usize) -> Result<i64, sqlx::Error> {
        self.try_get(column)
    }
}

impl Columns for PgRow {
    fn text(&self, column: usize) -> Result<Option<&str>, sqlx::Error> {
        self.try_get(column)
    }

    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
        self.try_get(column)
    }

    fn integer(&self, column: usize) -> Result<i64, sqlx::Error> {
        self.try_get(column)
    }
}

/// Integers of both engines are signed; no counter of ours comes near the difference.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn reading(source: sqlx::Error) -> EngineError {
    EngineError::Database { doing: "reading".into(), source }
}

pub(crate) fn unsigned(row: &impl Columns, column: usize, table: &'static str) -> Result<u64, EngineError> {
    let number = row.integer(column).map_err(reading)?;
    let malformed = |_| EngineError::Malformed { table, value: number.to_string(), expected: "a number that is not negative" };
    u64::try_from(number).map_err(malformed)
}

pub(crate) fn revision(row: &impl Columns, column: usize, table: &'static str) -> Result<Revision, EngineError> {
    unsigned(row, column, table).map(Revision)
}

pub(crate) fn text<'r>(row: &'r impl Columns, column: usize, table: &'static str) -> Result<&'r str, EngineError> {
    let missing = || EngineError::Malformed { table, value: "NULL".to_owned(), expected: "a text" };
    row.text(column).map_err(reading)?.ok_or_else(missing)
}

fn bytes(row: &impl Columns, column: usize, table: &'static str) -> Result<Vec<u8>, EngineError> {
    let missing = || EngineError::Malformed { table, value: "NULL".to_owned(), expected: "bytes" };
    row.bytes(column).map_err(reading)?.ok_or_else(missing)
}

/// Kind, namespace and name, from three columns in that order.
fn key(row: &impl Columns, first: usize, table: &'static str) -> Result<ObjectKey, EngineError> {
    let column = |offset: usize| text(row, first.saturating_add(offset), table);
    Ok(ObjectKey::new(kind_from_column(column(0)?), column(1)?, column(2)?))
}

fn operation(row: &impl Columns, column: usize, table: &'static str) -> Result<Operation, EngineError> {
    let text = text(row, column, table)?;
    let malformed = || EngineError::Malformed { table, value: text.to_owned(), expected: "put or delete" };
    Operation::parse(text).ok_or_else(malformed)
}

fn json(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// An object from `kind, namespace, name, uid, revision, json`.
pub(crate) fn object(row: &impl Columns) -> Result<Stored, EngineError> {
    const TABLE: &str = "objects";
    let json = json(text(row, 5, TABLE)?);
    Ok(Stored::from_json(&key(row, 0, TABLE)?, text(row, 3, TABLE)?, revision(row, 4, TABLE)?, json)?)
}

/// How far a name has come, from `kind, namespace, name, sequence, revision, deleted`.
pub(crate) fn sequence(row: &impl Columns) -> Result<(ObjectKey, Sequence), EngineError> {
    const TABLE: &str = "sequences";
    let sequence = Sequence {
        sequence: unsigned(row, 3, TABLE)?,
        revision: revision(row, 4, TABLE)?,
        deleted: unsigned(row, 5, TABLE)? != 0,
    };
    Ok((key(row, 0, TABLE)?, sequence))
}

/// The record as a whole, from `last_revision, compacted_revision, leader_term, incarnation, batch, restored_at, restored_revision`.
pub(crate) fn meta(row: &impl Columns) -> Result<Meta, EngineError> {
    const TABLE: &str = "meta";
    let restored = match row.text(5).map_err(reading)? {
        Some(at) => {
            let malformed = |_| EngineError::Malformed { table: TABLE, value: at.to_owned(), expected: "a time (RFC 3339)" };
            Some(Restored { at: at.parse().map_err(malformed)?, revision: revision(row, 6, TABLE)? })
        }
        None => None,
    };
    Ok(Meta {
        last: revision(row, 0, TABLE)?,
        compacted: revision(row, 1, TABLE)?,
        leader_term: unsigned(row, 2, TABLE)?,
        incarnation: text(row, 3, TABLE)?.to_owned(),
        batch: text(row, 4, TABLE)?.to_owned(),
        restored,
    })
}

/// A version of the trust root, from `version, document, signatures`.
pub(crate) fn root(row: &impl Columns) -> Result<RootDocument, EngineError> {
    const TABLE: &str = "roots";
    Ok(RootDocument { version: unsigned(row, 0, TABLE)?, document: bytes(row, 1, TABLE)?, signatures: bytes(row, 2, TABLE)? })
}

/// A step of the history, from `revision, position, kind, namespace, name, operation, before_uid, before_revision, before`.
pub(crate) fn step(row: &impl Columns) -> Result<HistoryRow, EngineError> {
    const TABLE: &str = "history";
    let key = key(row, 2, TABLE)?;
    let before = match row.text(8).map_err(reading)? {
        Some(before) => {
            let (uid, revision) = (text(row, 6, TABLE)?, revision(row, 7, TABLE)?);
            Some(Arc::new(Stored::from_json(&key, uid, revision, json(before))?))
        }
        None => None,
    };
    let position = unsigned(row, 1, TABLE)?;
    let malformed = |_| EngineError::Malformed { table: TABLE, value: position.to_string(), expected: "a place in a revision" };
    Ok(HistoryRow {
        revision: revision(row, 0, TABLE)?,
        position: u32::try_from(position).map_err(malformed)?,
        operation: operation(row, 5, TABLE)?,
        key,
        before,
    })
}

/// A step with the object after it, from the columns of [`step`] and `after_uid, after_revision, after`.
pub(crate) fn forward(row: &impl Columns) -> Result<Step, EngineError> {
    const TABLE: &str = "history";
    let step = step(row)?;
    let after = match row.text(11).map_err(reading)? {
        Some(after) => {
            let (uid, revision) = (text(row, 9, TABLE)?, revision(row, 10, TABLE)?);
            Some(Arc::new(Stored::from_json(&step.key, uid, revision, json(after))?))
        }
        None => None,
    };
    Ok(Step { step, after })
}

/// A Change, from `revision, id, statement, signatures, receipt, receipt_signature, author, message, time`.
pub(crate) fn change(row: &impl Columns) -> Result<Change, EngineError> {
    const TABLE: &str = "changes";
    let time = text(row, 8, TABLE)?;
    let malformed = |_| EngineError::Malformed { table: TABLE, value: time.to_owned(), expected: "a time (RFC 3339)" };
    Ok(Change {
        revision: revision(row, 0, TABLE)?,
        id: text(row, 1, TABLE)?.to_owned(),
        statement: bytes(row, 2, TABLE)?,
        signatures: bytes(row, 3, TABLE)?,
        receipt: bytes(row, 4, TABLE)?,
        receipt_signature: bytes(row, 5, TABLE)?,
        author: text(row, 6, TABLE)?.to_owned(),
        message: text(row, 7, TABLE)?.to_owned(),
        time: time.parse::<Timestamp>().map_err(malformed)?,
    })
}

/// An entry, from `revision, leaf_index, kind, namespace, name, sequence, operation, leaf, proof, object` after `first` others.
pub(crate) fn entry(row: &impl Columns, first: usize) -> Result<Entry, EngineError> {
    const TABLE: &str = "entries";
    let at = |offset: usize| first.saturating_add(offset);
    Ok(Entry {
        revision: revision(row, at(0), TABLE)?,
        index: unsigned(row, at(1), TABLE)?,
        key: key(row, at(2), TABLE)?,
        sequence: unsigned(row, at(5), TABLE)?,
        operation: operation(row, at(6), TABLE)?,
        leaf: bytes(row, at(7), TABLE)?,
        proof: bytes(row, at(8), TABLE)?,
        object: row.bytes(at(9)).map_err(reading)?,
    })
}
