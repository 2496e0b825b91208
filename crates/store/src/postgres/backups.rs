//! What is remembered of backups, in a table beside the record: [`crate::backup_note`].

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};

use super::PostgresEngine;
use super::connection::{ANSWER_SECONDS_MAX, hang_up};
use crate::backup_note::{BackupNews, BackupNote, BackupNotes, BackupWay};
use crate::engine::EngineError;

const NOTING: &str = "noting a backup";

/// Made by whoever first has something to note: an older coordinator does not look at it.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS stead.backups (way text PRIMARY KEY, note text NOT NULL)";
const IS_THERE: &str = "SELECT to_regclass('stead.backups') IS NOT NULL";

impl PostgresEngine {
    /// Notes beside the record what has become known of its backups.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; also where the role may not make a table in the schema `stead`.
    pub async fn note_backup(&self, way: BackupWay, news: BackupNews) -> Result<(), EngineError> {
        self.ensure_open()?;
        let mut connection = self.server.connect(NOTING).await?.connection;
        let noted = self.server.within(ANSWER_SECONDS_MAX, NOTING, note(&mut connection, way, news)).await;
        hang_up(connection).await;
        noted
    }
}

async fn note(connection: &mut PgConnection, way: BackupWay, news: BackupNews) -> Result<(), sqlx::Error> {
    let there: bool = sqlx::query_scalar(IS_THERE).fetch_one(&mut *connection).await?;
    if !there {
        connection.execute(TABLE).await?;
    }
    let mut transaction = connection.begin().await?;
    let insert = sqlx::query("INSERT INTO stead.backups (way, note) VALUES ($1, '{}') ON CONFLICT (way) DO NOTHING");
    insert.bind(way.name()).execute(&mut *transaction).await?;
    let found = sqlx::query_scalar("SELECT note FROM stead.backups WHERE way = $1 FOR UPDATE");
    let found: String = found.bind(way.name()).fetch_one(&mut *transaction).await?;
    let noted: BackupNote = serde_json::from_str(&found).unwrap_or_default();
    let text = serde_json::to_string(&noted.with(news)).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let update = sqlx::query("UPDATE stead.backups SET note = $2 WHERE way = $1");
    update.bind(way.name()).bind(text).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// What is noted.
pub(super) async fn look(connection: &mut PgConnection) -> Result<BackupNotes, sqlx::Error> {
    let there: bool = sqlx::query_scalar(IS_THERE).fetch_one(&mut *connection).await?;
    if !there {
        return Ok(BackupNotes::new());
    }
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT way, note FROM stead.backups").fetch_all(connection).await?;
    let note = |(name, text): (String, String)| {
        let way = BackupWay::ALL.into_iter().find(|way| way.name() == name)?;
        Some((way, serde_json::from_str(&text).ok()?))
    };
    Ok(rows.into_iter().filter_map(note).collect())
}
