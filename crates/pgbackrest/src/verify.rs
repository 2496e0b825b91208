//! `stead backup verify`: everything in the repository is read, and the record is restored beside the server to a point in the log at
//! which it is known what it was.

use std::time::Duration;

use jiff::Timestamp;
use stead_store::{Engine as _, PostgresEngine, RecordDigest, digest};

use crate::Say;
use crate::check::{Seen, TIMEOUT_SECONDS, missing};
use crate::cluster::RecordAddress;
use crate::error::Error;
use crate::info::{Backup, Info};
use crate::scratch::ScratchCluster;
use crate::server::{PrivateServer, Privately};
use crate::stanza::Stanza;

/// What the scratch server is told beside the usual: nothing of it has to survive, and nothing of it is archived.
const SCRATCH_SETTINGS: [&str; 6] = [
    "archive_mode=off",
    "archive_command=",
    "shared_preload_libraries=",
    "shared_buffers=32MB",
    "fsync=off",
    "max_wal_senders=0",
];

/// Reads the repository, and restores its newest backup beside the server; says which that is, and what was seen.
///
/// # Errors
///
/// [`Error`], where it cannot be tried. What is not whole is no error.
pub async fn verify(stanza: &Stanza, record: RecordAddress<'_>, say: Say<'_>) -> Result<(Backup, Vec<Seen>), Error> {
    let info = stanza.info().await?;
    let Some(newest) = info.good().next_back().cloned() else {
        return Err(Error::NoBackup { stanza: stanza.name.clone(), says: info.status.message });
    };
    let facts = stanza.door.facts().await?;
    say("reading the repository ...");
    let mut seen = vec![of_repository(stanza).await?, of_log(stanza, &info, facts.wal_segment_bytes).await?];
    if seen.iter().all(|seen| seen.whole) {
        say(&format!("restoring {} beside the server ...", newest.label));
        seen.push(Trial { stanza, record }.run().await?);
    }
    Ok((newest, seen))
}

/// pgBackRest reads every file and compares its SHA-1. Its exit code says nothing of what it finds: its words do.
async fn of_repository(stanza: &Stanza) -> Result<Seen, Error> {
    let words = ["--output=text", "--verbose", "verify"];
    let text = crate::program::step("reading the repository", stanza.command_saying("detail", &words)).await?;
    let files = text.lines().filter_map(|line| {
        let (before, named) = line.split_once('\'')?;
        let bad = ["invalid", "missing", "unable"].iter().any(|word| before.contains(word));
        bad.then(|| {
            format!("{} {}", before.rsplit_once(": ").map_or(before, |(_, said)| said).trim(), named.trim_end_matches('\''))
        })
    });
    let files: Vec<String> = files.collect();
    let backups = text.lines().map(str::trim).filter(|line| line.starts_with("backup: ") && !line.contains("status: valid"));
    let backups: Vec<String> = backups.map(str::to_owned).collect();
    let whole = text.lines().any(|line| line.trim() == "status: ok") && files.is_empty() && backups.is_empty();
    if whole {
        return Ok(Seen::new("repository", true, "every file has its checksum"));
    }
    let mut said: Vec<String> = files.into_iter().chain(backups).collect();
    said.dedup();
    Ok(Seen::new("repository", false, if said.is_empty() { text.trim().to_owned() } else { said.join("; ") }))
}

async fn of_log(stanza: &Stanza, info: &Info, segment_bytes: u64) -> Result<Seen, Error> {
    let missing = missing(info, &stanza.archived(info).await?, segment_bytes);
    if missing.is_empty() {
        return Ok(Seen::new("log", true, "without a gap since the oldest backup"));
    }
    let named: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Ok(Seen::new("log", false, format!("missing: {}", named.join(", "))))
}

struct Trial<'a> {
    stanza: &'a Stanza,
    record: RecordAddress<'a>,
}

impl Trial<'_> {
    async fn run(&self) -> Result<Seen, Error> {
        let Stanza { data, door, .. } = self.stanza;
        self.stanza.await_orphans().await?;
        let scratch = ScratchCluster::make(data, &door.user).await?;
        let point = format!("stead-verify-{}-{}", std::process::id(), Timestamp::now().as_microsecond());
        let live = self.mark(&point).await?;
        let target = format!("--target={point}");
        let path = format!("--pg1-path={}", scratch.folder.join("data").display());
        let tablespaces = format!("--tablespace-map-all={}", scratch.folder.join("tablespaces").display());
        let words = [
            path.as_str(),
            "--no-delta",
            &tablespaces,
            "--type=name",
            &target,
            "--target-action=promote",
            "--archive-mode=off",
            "restore",
        ];
        self.stanza.run("restoring the newest backup beside the server", &words).await?;
        let found = self.read(&scratch).await?;
        Ok(compare(&live, &found))
    }

    /// The record as it is at a restore point in the log, which is then brought into the repository.
    async fn mark(&self, point: &str) -> Result<RecordDigest, Error> {
        let door = &self.stanza.door;
        let engine = PostgresEngine::open_offline(self.record.url, self.record.password).await?;
        let sql = format!("SELECT pg_walfile_name(pg_create_restore_point('{point}'))");
        let marked = engine.digest_at(door.sql("making a restore point", &sql)).await;
        engine.close().await;
        let (digest, segment) = marked?;
        let segment = segment?;
        door.sql("ending the log's segment", "SELECT pg_switch_wal()").await?;
        self.stanza.await_segment(&segment, Duration::from_secs(TIMEOUT_SECONDS)).await?;
        Ok(digest)
    }

    async fn read(&self, scratch: &ScratchCluster) -> Result<RecordDigest, Error> {
        let Stanza { door, programs, .. } = self.stanza;
        let (data, folder) = (scratch.folder.join("data"), scratch.folder.join("private"));
        let config = scratch.folder.join("scratch.conf");
        std::fs::write(&config, "").map_err(|error| Error::file("write", &config, error))?;
        door.user.give(&config)?;
        let mut settings: Vec<String> = SCRATCH_SETTINGS.iter().map(|setting| (*setting).to_owned()).collect();
        settings.push(format!("config_file={}", config.display()));
        let server = PrivateServer::start(Privately {
            user: &door.user,
            superuser: &door.superuser,
            programs,
            data: &data,
            folder: &folder,
            port: door.port,
            settings,
        })
        .await?;
        let engine = PostgresEngine::open_elsewhere(self.record.url, &folder, door.port).await?;
        let found = digest(&engine).await;
        engine.close().await;
        server.stop().await?;
        Ok(found?)
    }
}

fn compare(live: &RecordDigest, found: &RecordDigest) -> Seen {
    if live == found {
        return Seen::new("restored", true, format!("revision {}, with the digest of the live record: {found}", found.revision));
    }
    let other: Vec<&str> =
        live.tables.iter().zip(&found.tables).filter(|(live, found)| live != found).map(|(live, _)| live.table).collect();
    let says = format!(
        "other than the live record at the same point: {} (revision {} and {})",
        other.join(", "),
        found.revision,
        live.revision
    );
    Seen::new("restored", false, says)
}
