//! Base backups: taken.

use crate::Say;
use crate::error::Error;
use crate::info::Backup;
use crate::stanza::Stanza;

/// What a base backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupKind {
    /// Everything.
    Full,
    /// What is new since the newest full one.
    Differential,
    /// What is new since the newest one of any kind.
    Incremental,
}

impl BackupKind {
    /// pgBackRest's word.
    const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Differential => "diff",
            Self::Incremental => "incr",
        }
    }
}

/// Takes one. The first is a full one, whatever is asked for: pgBackRest sees to it.
///
/// # Errors
///
/// [`Error`]; nothing of one that was not taken to its end counts as a backup.
pub async fn take(stanza: &Stanza, kind: BackupKind, say: Say<'_>) -> Result<Backup, Error> {
    say(&format!("a backup ({}) of {} into {} ...", kind.word(), stanza.data.display(), stanza.repo.display()));
    stanza.run("taking a backup", &[&format!("--type={}", kind.word()), "backup"]).await?;
    let info = stanza.info().await?;
    let newest = info.good().next_back().cloned();
    newest.ok_or_else(|| Error::NoBackup { stanza: stanza.name.clone(), says: info.status.message })
}
