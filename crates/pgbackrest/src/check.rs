//! `stead backup check`: whether the archive really works, and what of it is there.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use stead_model::{age, human_bytes};

use crate::cluster::Facts;
use crate::error::Error;
use crate::info::Info;
use crate::stanza::{Archived, Stanza};
use crate::wal::{Gap, Segment, gaps};

/// How long a segment may take into the repository, where nobody says how long.
pub const TIMEOUT_SECONDS: u64 = 60;
/// How old the newest backup may be, where nobody says how old: one a day, and one that was missed.
pub const AGE_SECONDS_MAX: u64 = 2 * 86_400;

/// What is still well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckLimits {
    /// How long a segment may take into the repository.
    pub patience: Duration,
    /// How old the newest backup may be.
    pub age_max: Duration,
}

/// What was looked at, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub whole: bool,
    /// What was seen of it, in a sentence.
    pub says: String,
}

impl Seen {
    pub(crate) fn new(name: &'static str, whole: bool, says: impl Into<String>) -> Self {
        Self { name, whole, says: says.into() }
    }
}

/// What the server says of its archive.
#[derive(Deserialize)]
struct Archiver {
    archived: u64,
    failed: u64,
    failing: bool,
    last_failed: Option<String>,
}

const ARCHIVER: &str = "SELECT json_build_object('archived', archived_count, 'failed', failed_count, 'last_failed', last_failed_wal, \
    'failing', coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL)) FROM pg_stat_archiver";

/// Looks at the archive, and at what is in the repository.
///
/// # Errors
///
/// [`Error`], where it cannot be looked at. What is not well is no error.
pub async fn check(stanza: &Stanza, limits: CheckLimits) -> Result<Vec<Seen>, Error> {
    let facts = stanza.door.facts().await?;
    let mut seen = vec![of_settings(stanza, &facts)];
    // Without an archive there is nothing to wait for.
    if seen.iter().all(|seen| seen.whole) {
        seen.push(of_segment(stanza, limits.patience).await?);
    }
    seen.push(of_archiver(stanza).await?);
    let info = stanza.info().await?;
    seen.push(of_newest(&info, Timestamp::now(), limits.age_max));
    let archived = stanza.archived(&info).await?;
    seen.push(of_gaps(&info, &archived, facts.wal_segment_bytes));
    seen.push(of_space(stanza, &info)?);
    Ok(seen)
}

fn of_settings(stanza: &Stanza, facts: &Facts) -> Seen {
    let ours = format!("--config={} --stanza={} archive-push", stanza.file.display(), stanza.name);
    if facts.archive_mode == "off" {
        return Seen::new("settings", false, "archive_mode is off: nothing is archived; run `stead backup setup --restart`");
    }
    if !facts.archive_library.is_empty() {
        return Seen::new(
            "settings",
            false,
            format!("archive_library is '{}': archive_command is not used", facts.archive_library),
        );
    }
    if !facts.archive_command.contains(&ours) {
        let says =
            format!("archive_command is '{}', and not that of this stanza; run `stead backup setup`", facts.archive_command);
        return Seen::new("settings", false, says);
    }
    Seen::new("settings", true, format!("archive_mode is {}, archive_command is that of the stanza", facts.archive_mode))
}

/// pgBackRest's own check ends a segment and waits until it is in the repository.
async fn of_segment(stanza: &Stanza, patience: Duration) -> Result<Seen, Error> {
    let timeout = format!("--archive-timeout={}", patience.as_secs().max(1));
    let said = crate::program::output(stanza.command(&[&timeout, "check"])).await?;
    Ok(match said {
        Ok(_) => Seen::new("archive", true, "a segment was ended, and got into the repository"),
        Err(said) => {
            let text: Vec<&str> = said.text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            Seen::new("archive", false, text.join(" "))
        }
    })
}

async fn of_archiver(stanza: &Stanza) -> Result<Seen, Error> {
    let text = stanza.door.sql("asking the server about its archive", ARCHIVER).await?;
    let archiver: Archiver =
        serde_json::from_str(&text).map_err(|error| Error::NotUnderstood { who: "the server", reason: error.to_string() })?;
    let Archiver { archived, failed, failing, last_failed } = archiver;
    let counted = format!("{archived} segments archived, {failed} failures");
    let last =
        last_failed.filter(|_| failing).map_or_else(String::new, |segment| format!("; the newest try failed, at {segment}"));
    Ok(Seen::new("archiver", !failing, counted + &last))
}

fn of_newest(info: &Info, now: Timestamp, age_max: Duration) -> Seen {
    let Some(newest) = info.good().next_back() else {
        return Seen::new("newest backup", false, format!("there is none ({})", info.status.message));
    };
    let old = now.duration_since(newest.ended());
    let whole = Duration::try_from(old).unwrap_or_default() <= age_max;
    Seen::new("newest backup", whole, format!("{}, {} old", newest.label, age(newest.ended(), now)))
}

/// What is missing since the beginning of the oldest backup, and of what each backup itself needs.
pub(crate) fn missing(info: &Info, archived: &[Archived], segment_bytes: u64) -> Vec<Gap> {
    let start = info.good().next().and_then(|oldest| oldest.archive.start.as_deref());
    let needed = start.and_then(|name| Segment::parse(name, segment_bytes));
    gaps(archived.iter().map(|file| file.name.as_str()), segment_bytes, needed)
}

fn of_gaps(info: &Info, archived: &[Archived], segment_bytes: u64) -> Seen {
    let missing = missing(info, archived, segment_bytes);
    if missing.is_empty() {
        let earliest = info.earliest().map_or_else(|| "no backup".to_owned(), |moment| moment.to_string());
        return Seen::new("log", true, format!("without a gap; the earliest moment is {earliest}"));
    }
    let named: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Seen::new("log", false, format!("missing: {}; take a new full backup", named.join(", ")))
}

fn of_space(stanza: &Stanza, info: &Info) -> Result<Seen, Error> {
    let disk = rustix::fs::statvfs(&stanza.repo).map_err(|error| Error::file("measure", &stanza.repo, error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // The largest: the next full one needs as much.
    let needed = info.good().map(|backup| backup.info.repository.delta).max().unwrap_or_default();
    let says = format!("{} free, the largest backup has {}", human_bytes(free), human_bytes(needed));
    Ok(Seen::new("space", free > needed, says))
}
