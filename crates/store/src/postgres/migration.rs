//! The schema, as the steps that lead to it. A step is never changed once it has been released; a new one is added.

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};

use super::connection::{self, Server};
use crate::engine::EngineError;
use crate::open_error::OpenError;

/// Step n leads from schema version n to n + 1.
pub(super) const STEPS: &[&str] =
    &[include_str!("schema_1.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql"), include_str!("schema_4.sql")];

/// The newest schema version known.
pub(super) fn supported() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Coordinators that start at once bring the schema up to date one after the other: the number of the lock that sees to it.
pub(super) const LOCK: i64 = 0x0073_7465_6164_0001;

const OPENING: &str = "opening the record";

/// Brings a database up to date, each step in a transaction of its own.
pub(super) async fn run(server: &Server, steps: &[&'static str]) -> Result<(), OpenError> {
    let mut connection = server.connect(OPENING).await.map_err(|error| refused(server, error))?.connection;
    let outcome = bring_up_to_date(server, &mut connection, steps).await;
    // The lock goes with the session.
    connection::hang_up(connection).await;
    outcome
}

pub(super) fn refused(server: &Server, error: EngineError) -> OpenError {
    let record = server.place().to_owned();
    match error {
        EngineError::Away { reason, .. } => OpenError::Away { record, reason },
        EngineError::Database { source, .. } => OpenError::Database { record, source },
        other => OpenError::Record { record, source: Box::new(other) },
    }
}

async fn bring_up_to_date(server: &Server, connection: &mut PgConnection, steps: &[&'static str]) -> Result<(), OpenError> {
    let supported = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    check_encoding(server, connection).await?;
    if version(server, connection).await? == supported {
        return Ok(());
    }
    let failed = |source| refused(server, server.failed(OPENING, source));
    // However long a step may take, and whoever is before us.
    connection.execute("SET statement_timeout = 0; SET lock_timeout = 0").await.map_err(failed)?;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut *connection).await.map_err(failed)?;
    let found = version(server, connection).await?;
    if found > supported {
        return Err(OpenError::Newer { record: server.place().to_owned(), found, supported });
    }
    for (from, step) in (0_i64..).zip(steps) {
        if from >= found {
            let outcome = apply(connection, from, step).await;
            outcome.map_err(|source| OpenError::Migration { record: server.place().to_owned(), from, source })?;
        }
    }
    Ok(())
}

pub(super) async fn check_encoding(server: &Server, connection: &mut PgConnection) -> Result<(), OpenError> {
    let asked = sqlx::query_scalar("SHOW server_encoding").fetch_one(connection).await;
    let encoding: String = asked.map_err(|source| refused(server, server.failed(OPENING, source)))?;
    if encoding == "UTF8" { Ok(()) } else { Err(OpenError::Encoding { record: server.place().to_owned(), encoding }) }
}

/// Refuses a database that is not at the version which is read here, and changes nothing.
pub(super) async fn ensure_current(server: &Server) -> Result<(), OpenError> {
    let mut connection = server.connect(OPENING).await.map_err(|error| refused(server, error))?.connection;
    let found = version(server, &mut connection).await;
    connection::hang_up(connection).await;
    let (found, supported, record) = (found?, supported(), server.place().to_owned());
    match found {
        0 => Err(OpenError::Foreign { record }),
        _ if found < supported => Err(OpenError::Older { record, found, supported }),
        _ if found > supported => Err(OpenError::Newer { record, found, supported }),
        _ => Ok(()),
    }
}

/// The steps from a version on, in the transaction that somebody has begun.
pub(super) async fn apply_from(connection: &mut PgConnection, found: i64) -> Result<(), sqlx::Error> {
    for (from, step) in (0_i64..).zip(STEPS) {
        if from >= found {
            take(connection, from, step).await?;
        }
    }
    Ok(())
}

async fn apply(connection: &mut PgConnection, from: i64, step: &'static str) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    take(&mut transaction, from, step).await?;
    transaction.commit().await
}

async fn take(transaction: &mut PgConnection, from: i64, step: &'static str) -> Result<(), sqlx::Error> {
    // Where the schema was made by the database's owner, this one need not have the right to make any.
    let there: bool = sqlx::query_scalar("SELECT to_regnamespace('stead') IS NOT NULL").fetch_one(&mut *transaction).await?;
    if !there {
        transaction.execute("CREATE SCHEMA stead").await?;
    }
    transaction.execute(sqlx::raw_sql(step)).await?;
    let moved = sqlx::query("UPDATE stead.schema_version SET version = $1").bind(from.saturating_add(1));
    moved.execute(&mut *transaction).await?;
    Ok(())
}

/// The version of a database; 0 for one without a record.
pub(super) async fn version(server: &Server, connection: &mut PgConnection) -> Result<i64, OpenError> {
    let failed = |source| refused(server, server.failed(OPENING, source));
    let sql =
        "SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace('stead') AND relkind IN ('r', 'p', 'v', 'm')";
    let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut *connection).await.map_err(failed)?;
    if tables.is_empty() {
        return Ok(0);
    }
    if !tables.iter().any(|table| table == "schema_version") {
        return Err(OpenError::Foreign { record: format!("the schema stead of {}", server.place()) });
    }
    sqlx::query_scalar("SELECT version FROM stead.schema_version").fetch_one(connection).await.map_err(failed)
}
