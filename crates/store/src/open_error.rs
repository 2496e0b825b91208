//! Why a record could not be opened, whatever engine holds it.

use crate::engine::EngineError;

/// Why a record could not be opened. `record` is a file's path, or a server and its database; no password is in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another coordinator has it.
    #[error("{record} is in use by another coordinator{}; stop it first, or give this one a record of its own", holder_text(.holder))]
    Locked {
        /// The record.
        record: String,
        /// Its process id, where it could be read.
        holder: Option<u32>,
    },
    /// A newer Stead made it.
    #[error("{record} has schema version {found}, and this version of Stead knows {supported} at most; run the newer version")]
    Newer {
        /// The record.
        record: String,
        /// Its version.
        found: i64,
        /// The newest one known.
        supported: i64,
    },
    /// It is something else.
    #[error("{record} is a database, but not a record of Stead's; give another one")]
    Foreign {
        /// The record.
        record: String,
    },
    /// It cannot hold every text.
    #[error("{record} has the encoding {encoding}, which cannot hold every name and text; make a database with ENCODING 'UTF8'")]
    Encoding {
        /// The record.
        record: String,
        /// The database's encoding.
        encoding: String,
    },
    /// A step that brings it up to date failed; it is as it was before that step.
    #[error("{record} could not be brought from schema version {from} to the next: {source}")]
    Migration {
        /// The record.
        record: String,
        /// The version it has.
        from: i64,
        /// What failed.
        source: sqlx::Error,
    },
    /// The file system refused.
    #[error("{record} could not be opened: {source}")]
    File {
        /// The file.
        record: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("{record} could not be opened: {source}")]
    Database {
        /// The record.
        record: String,
        /// What the database said.
        source: sqlx::Error,
    },
    /// It could be opened, and not be copied.
    #[error("{record} could not be copied to {to}: {source}")]
    Snapshot {
        /// The record.
        record: String,
        /// The new file.
        to: String,
        /// What the database said.
        source: sqlx::Error,
    },
    /// Its schema is of an older Stead, and may not be touched here.
    #[error(
        "{record} has schema version {found}, and this version of Stead reads {supported}; use the version that the coordinators run, \
         or start them with this one first"
    )]
    Older {
        /// The record.
        record: String,
        /// Its version.
        found: i64,
        /// The version that is read.
        supported: i64,
    },
    /// What the record says of itself cannot be read.
    #[error("{record} could not be opened: {source}")]
    Record {
        /// The record.
        record: String,
        /// What is wrong.
        source: Box<EngineError>,
    },
    /// The database's server is not there.
    #[error("{record} is away: {reason}")]
    Away {
        /// Where it should be.
        record: String,
        /// How it failed.
        reason: String,
    },
    /// What names the server cannot be read.
    #[error(
        "the name of the record's database cannot be read ({reason}); give it as postgres://USER@HOST:PORT/DATABASE, or as \
         postgres://USER@localhost/DATABASE?host=SOCKET-DIRECTORY"
    )]
    Url {
        /// What is wrong with it.
        reason: String,
    },
}

impl OpenError {
    /// Whether the database's server is not there, so that the same may succeed when it is back.
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

fn holder_text(holder: &Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(" (process {pid})"))
}
