//! A digest of everything in a record: what shows that two of them, on whatever engines, are the same.

use std::fmt;

use futures::StreamExt;
use futures::stream::{BoxStream, Fuse};
use sha2::{Digest as _, Sha256};
use stead_model::{ObjectKey, Revision};

use crate::engine::{Engine, EngineError, Reading};
use crate::rows::{Change, Entry, HistoryRow, Meta, Restored, RootDocument, Sequence};
use crate::stored::Stored;

/// Rows that are held at once while a record is read through.
const CHUNK_ROWS_MAX: usize = 1_000;
/// Bytes of them, more or less: a row more at most.
const CHUNK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The digest of one table's rows, in the order of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDigest {
    /// The table.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
    /// SHA-256 of them, each field with its length.
    pub sha256: [u8; 32],
}

/// The digest of a whole record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordDigest {
    /// One a table, always in the same order.
    pub tables: Vec<TableDigest>,
    /// SHA-256 of theirs.
    pub sha256: [u8; 32],
    /// The revision that it is of.
    pub revision: Revision,
}

impl fmt::Display for RecordDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("sha256:")?;
        self.sha256.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// Reads a record through, and makes the digest of what is in it. How an engine remembers its batches is no part of it.
///
/// # Errors
///
/// [`EngineError`] where it cannot be read.
pub async fn digest(engine: &dyn Engine) -> Result<RecordDigest, EngineError> {
    let mut reading = engine.reading().await?;
    let digest = digest_reading(reading.as_mut()).await?;
    reading.end().await;
    Ok(digest)
}

/// The digest of the record as one reading sees it.
///
/// # Errors
///
/// [`EngineError`] where it cannot be read.
pub async fn digest_reading(reading: &mut dyn Reading) -> Result<RecordDigest, EngineError> {
    let meta = reading.meta().await?;
    let mut tables = vec![of_meta(&meta)];
    tables.push(of_table("objects", reading.objects(), object).await?);
    tables.push(of_table("history", reading.history_after(Revision(0)), step).await?);
    tables.push(of_table("changes", reading.changes(), change).await?);
    tables.push(of_table("entries", reading.entries(), entry).await?);
    tables.push(of_table("sequences", reading.sequences_after(Revision(0)), sequence).await?);
    tables.push(of_roots(reading).await?);
    let mut all = Sha256::new();
    tables.iter().for_each(|table| all.update(table.sha256));
    Ok(RecordDigest { tables, sha256: all.finalize().into(), revision: meta.last })
}

/// Takes the fields of a row, one after the other.
#[derive(Default)]
struct Hasher(Sha256);

impl Hasher {
    fn field(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn absent(&mut self) {
        self.0.update(u64::MAX.to_be_bytes());
    }

    fn number(&mut self, number: u64) {
        self.field(&number.to_be_bytes());
    }

    fn key(&mut self, key: &ObjectKey) {
        for part in [key.kind.group(), key.kind.kind(), &key.namespace, &key.name] {
            self.field(part.as_bytes());
        }
    }

    fn table(self, table: &'static str, rows: u64) -> TableDigest {
        TableDigest { table, rows, sha256: self.0.finalize().into() }
    }
}

/// The next rows of a table, a bounded number of them; none at its end.
pub(crate) async fn next_chunk<T>(
    rows: &mut Fuse<BoxStream<'_, Result<T, EngineError>>>,
    size: impl Fn(&T) -> usize,
) -> Result<Vec<T>, EngineError> {
    let (mut chunk, mut bytes) = (Vec::new(), 0_usize);
    while chunk.len() < CHUNK_ROWS_MAX && bytes < CHUNK_BYTES_MAX {
        let Some(row) = rows.next().await else { break };
        let row = row?;
        bytes = bytes.saturating_add(size(&row));
        chunk.push(row);
    }
    Ok(chunk)
}

async fn of_table<T>(
    table: &'static str,
    mut rows: BoxStream<'_, Result<T, EngineError>>,
    add: fn(&mut Hasher, &T),
) -> Result<TableDigest, EngineError> {
    let (mut hasher, mut count) = (Hasher::default(), 0_u64);
    while let Some(row) = rows.next().await {
        add(&mut hasher, &row?);
        count = count.saturating_add(1);
    }
    Ok(hasher.table(table, count))
}

async fn of_roots(reading: &mut dyn Reading) -> Result<TableDigest, EngineError> {
    let mut hasher = Hasher::default();
    let roots = reading.roots_after(0).await?;
    for RootDocument { version, document, signatures } in &roots {
        hasher.number(*version);
        hasher.field(document);
        hasher.field(signatures);
    }
    Ok(hasher.table("roots", roots.len() as u64))
}

fn of_meta(meta: &Meta) -> TableDigest {
    let Meta { incarnation, last, compacted, leader_term, batch, restored } = meta;
    let mut hasher = Hasher::default();
    hasher.field(incarnation.as_bytes());
    for number in [last.0, compacted.0, *leader_term] {
        hasher.number(number);
    }
    hasher.field(batch.as_bytes());
    match restored {
        Some(Restored { at, revision }) => {
            hasher.field(at.to_string().as_bytes());
            hasher.number(revision.0);
        }
        None => hasher.absent(),
    }
    hasher.table("meta", 1)
}

fn object(hasher: &mut Hasher, stored: &Stored) {
    hasher.key(&stored.key());
    hasher.field(stored.uid().as_bytes());
    hasher.number(stored.revision().0);
    hasher.field(stored.json());
}

fn step(hasher: &mut Hasher, row: &HistoryRow) {
    let HistoryRow { revision, position, key, operation, before } = row;
    hasher.number(revision.0);
    hasher.number(u64::from(*position));
    hasher.key(key);
    hasher.field(operation.as_str().as_bytes());
    match before {
        Some(before) => object(hasher, before),
        None => hasher.absent(),
    }
}

fn change(hasher: &mut Hasher, change: &Change) {
    let Change { revision, id, statement, signatures, receipt, receipt_signature, author, message, time } = change;
    hasher.number(revision.0);
    let time = time.to_string();
    let (id, author, message) = (id.as_bytes(), author.as_bytes(), message.as_bytes());
    for field in [id, statement, signatures, receipt, receipt_signature, author, message, time.as_bytes()] {
        hasher.field(field);
    }
}

fn entry(hasher: &mut Hasher, entry: &Entry) {
    let Entry { revision, index, key, sequence, operation, leaf, proof, object } = entry;
    hasher.number(revision.0);
    hasher.number(*index);
    hasher.key(key);
    hasher.number(*sequence);
    hasher.field(operation.as_str().as_bytes());
    hasher.field(leaf);
    hasher.field(proof);
    match object {
        Some(object) => hasher.field(object),
        None => hasher.absent(),
    }
}

fn sequence(hasher: &mut Hasher, (key, sequence): &(ObjectKey, Sequence)) {
    let Sequence { sequence, revision, deleted } = sequence;
    hasher.key(key);
    hasher.number(*sequence);
    hasher.number(revision.0);
    hasher.number(u64::from(*deleted));
}
