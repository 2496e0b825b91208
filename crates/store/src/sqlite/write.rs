//! A batch into SQLite: one transaction, and a few statements with many rows each, since every statement crosses a thread.

use futures::FutureExt;
use sqlx::query_builder::{QueryBuilder, Separated};
use sqlx::sqlite::{Sqlite, SqliteConnection};
use stead_model::{ObjectKey, Revision};

use super::SqliteEngine;
use super::read::{one_revision, signed};
use crate::engine::EngineError;
use crate::rows::{Batch, Operation};

/// Rows of one statement; ten columns of them stay below SQLite's 32,766 parameters.
const ROWS_PER_STATEMENT: usize = 128;

impl SqliteEngine {
    pub(super) async fn commit_batch(&self, batch: &Batch) -> Result<(), EngineError> {
        const DOING: &str = "committing a batch";
        // What the closure borrows would have to outlive every connection, so the statements are made ready first.
        let statements = statements(batch);
        let (base, last) = (batch.base, batch.last);
        self.write(DOING, move |connection| {
            async move {
                execute(connection, DOING, "BEGIN IMMEDIATE").await?;
                move_on(connection, base, last).await?;
                for (mut statement, persistent) in statements {
                    let query = statement.build().persistent(persistent);
                    query.execute(&mut *connection).await.map_err(|source| EngineError::Database { doing: DOING, source })?;
                }
                execute(connection, DOING, "COMMIT").await
            }
            .boxed()
        })
        .await
    }

    pub(super) async fn compact_through(&self, through: Revision) -> Result<(), EngineError> {
        const DOING: &str = "forgetting old history";
        self.write(DOING, move |connection| {
            async move {
                execute(connection, DOING, "BEGIN IMMEDIATE").await?;
                for sql in
                    ["DELETE FROM history WHERE revision <= ?", "UPDATE meta SET compacted_revision = max(compacted_revision, ?)"]
                {
                    let query = sqlx::query(sql).bind(signed(through.0));
                    query.execute(&mut *connection).await.map_err(|source| EngineError::Database { doing: DOING, source })?;
                }
                execute(connection, DOING, "COMMIT").await
            }
            .boxed()
        })
        .await
    }
}

async fn execute(connection: &mut SqliteConnection, doing: &'static str, sql: &'static str) -> Result<(), EngineError> {
    let done = sqlx::query(sql).execute(connection).await;
    done.map(|_| ()).map_err(|source| EngineError::Database { doing, source })
}

/// Moves the record to its new revision, unless somebody else has moved it.
async fn move_on(connection: &mut SqliteConnection, base: Revision, last: Revision) -> Result<(), EngineError> {
    let failed = |source| EngineError::Database { doing: "committing a batch", source };
    let moved = sqlx::query("UPDATE meta SET last_revision = ? WHERE last_revision = ?")
        .bind(signed(last.0))
        .bind(signed(base.0))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    if moved.rows_affected() == 1 {
        return Ok(());
    }
    let found = sqlx::query("SELECT last_revision FROM meta").fetch_one(connection).await.map_err(failed)?;
    Err(EngineError::Moved { expected: base, found: one_revision(&found)? })
}

type Statement = (QueryBuilder<Sqlite>, bool);

fn statements(batch: &Batch) -> Vec<Statement> {
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
