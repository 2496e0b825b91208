//! Base backups: taken, and listed.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::info::Backup;
use super::stanza::Stanza;
use crate::Outcome;
use crate::backup::{age, human_bytes};
use crate::cli::BackupType;
use crate::commands::Context;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{self, Format};

/// Takes one. The first is a full one, whatever is asked for: pgBackRest sees to it.
pub(crate) async fn take(context: &Context, stanza: &Stanza, kind: BackupType) -> Outcome {
    context.say(&format!("a backup ({}) of {} into {} ...", kind.word(), stanza.data.display(), stanza.repo.display()));
    stanza.run("taking a backup", &[&format!("--type={}", kind.word()), "backup"]).await?;
    let info = stanza.info().await?;
    let Some(newest) = info.good().next_back() else {
        return Err(Failure::internal("pgBackRest has taken a backup, and has none"));
    };
    let text = match context.settings.output() {
        Format::Json => output::json(&document(newest))?,
        Format::Yaml => output::yaml(&document(newest))?,
        Format::Name => format!("{}\n", newest.label),
        Format::Table | Format::Wide => {
            let (size, new) = (human_bytes(newest.info.size), human_bytes(newest.info.repository.delta));
            format!("{}: {}, {size}, of which {new} are new in the repository\n", newest.label, newest.kind)
        }
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

/// Every backup, newest first: for programs, and as the columns `taken, age, type, size, new, whole, backup`.
pub(crate) async fn list(stanza: &Stanza, now: Timestamp) -> Result<Vec<(Value, Vec<String>)>, Failure> {
    let info = stanza.info().await?;
    let columns = |backup: &Backup| {
        vec![
            backup.ended().to_string(),
            age(backup.ended(), now),
            backup.kind.clone(),
            human_bytes(backup.info.size),
            human_bytes(backup.info.repository.delta),
            if backup.error == Some(true) { "no: pages with wrong checksums" } else { "yes" }.to_owned(),
            backup.label.clone(),
        ]
    };
    Ok(info.backup.iter().rev().map(|backup| (document(backup), columns(backup))).collect())
}

fn document(backup: &Backup) -> Value {
    json!({
        "label": backup.label,
        "type": backup.kind,
        "takenAt": backup.ended(),
        "begunAt": Timestamp::from_second(backup.timestamp.start).unwrap_or(Timestamp::MIN),
        "bytes": backup.info.size,
        "newBytes": backup.info.repository.delta,
        "firstSegment": backup.archive.start,
        "lastSegment": backup.archive.stop,
        "whole": backup.error != Some(true),
    })
}
