//! The schema, as the steps that lead to it. A step is never changed once it has been released; a new one is added.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Executor};

use crate::open_error::OpenError;

/// Step n leads from schema version n to n + 1.
pub(super) const STEPS: &[&str] =
    &[include_str!("schema_1.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql"), include_str!("schema_4.sql")];

/// The newest schema version known.
pub(super) fn supported() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Brings a database up to date, each step in a transaction of its own.
pub(super) async fn run(connection: &mut SqliteConnection, record: &str, steps: &[&'static str]) -> Result<(), OpenError> {
    let supported = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    let found = version(connection, record).await?;
    if found > supported {
        return Err(OpenError::Newer { record: record.to_owned(), found, supported });
    }
    for (from, step) in (0_i64..).zip(steps) {
        if from >= found {
            apply(connection, from, step).await.map_err(|source| OpenError::Migration {
                record: record.to_owned(),
                from,
                source,
            })?;
        }
    }
    Ok(())
}

async fn apply(connection: &mut SqliteConnection, from: i64, step: &'static str) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    transaction.execute(sqlx::raw_sql(step)).await?;
    sqlx::query("UPDATE schema_version SET version = ?").bind(from.saturating_add(1)).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// The version of a database; 0 for an empty one.
pub(super) async fn version(connection: &mut SqliteConnection, record: &str) -> Result<i64, OpenError> {
    let database = |source| OpenError::Database { record: record.to_owned(), source };
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut *connection)
        .await
        .map_err(database)?;
    if tables.is_empty() {
        return Ok(0);
    }
    if !tables.iter().any(|table| table == "schema_version") {
        return Err(OpenError::Foreign { record: record.to_owned() });
    }
    sqlx::query_scalar("SELECT version FROM schema_version").fetch_one(connection).await.map_err(database)
}
