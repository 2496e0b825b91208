//! The server put back to a moment. Each step can be done again, and nobody gets in until the record has begun anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use stead_store::{Engine as _, Meta, PostgresEngine};

use super::check::TIMEOUT_SECONDS;
use super::cluster::postgres;
use super::info::Info;
use super::journal::{Journal, beside};
use super::program::file_failure;
use super::server::{Control, PrivateServer, Privately};
use super::stanza::Stanza;
use crate::Outcome;
use crate::backup::{human_bytes, moment_in_name};
use crate::commands::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::record::{Place, opening};

/// A transaction that the log has after every moment that can be asked for: recovery stops at the first that is later. Then the segment
/// is ended, so that it gets into the archive.
const MARK: &str = "SELECT pg_current_xact_id()::text; SELECT pg_walfile_name(pg_switch_wal())";
/// Coordinators' sessions.
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stead'";

/// The pause before it is looked again whether an earlier one's workers have ended.
const LOOK_AGAIN_MILLISECONDS: u64 = 100;

/// What is asked for.
pub(crate) struct Wanted {
    /// The moment; without one, that of the restore that is to be gone on with.
    pub(crate) at: Option<Timestamp>,
    /// Whether what is there is overwritten.
    pub(crate) delta: bool,
}

pub(crate) async fn restore(
    context: &Context,
    stanza: &Stanza,
    place: &Place,
    wanted: Wanted,
    ask: impl FnOnce(&str) -> Result<(), Failure>,
) -> Outcome {
    let (url, _) = postgres(place)?;
    let restoring = Restoring { context, stanza, url };
    let mut journal = match Journal::read(&stanza.data)? {
        Some(journal) => restoring.go_on(journal, &wanted)?,
        None => restoring.begin(&wanted, ask).await?,
    };
    restoring.files(&mut journal).await?;
    let meta = restoring.recover(&mut journal).await?;
    Journal::remove(&stanza.data)?;
    restoring.report(&journal, &meta)?;
    Ok(ExitCode::Success)
}

struct Restoring<'a> {
    context: &'a Context,
    stanza: &'a Stanza,
    url: &'a str,
}

impl Restoring<'_> {
    fn control(&self) -> Control<'_> {
        let Stanza { data, server_config, programs, door, .. } = self.stanza;
        Control { user: &door.user, data, server_config, programs }
    }

    fn go_on(&self, mut journal: Journal, wanted: &Wanted) -> Result<Journal, Failure> {
        let state = journal.state();
        self.context.say(&format!("{state}; it goes on."));
        if let Some(at) = wanted.at.filter(|at| *at != journal.at) {
            if journal.incarnation.is_some() {
                return Err(Failure::refused(format!(
                    "{state}, and the record is beginning anew: another moment comes too late"
                ))
                .hint(format!("Finish it first: stead restore --at {}", journal.at)));
            }
            journal.at = at;
            journal.restored = false;
            journal.write(&self.stanza.data)?;
        }
        Ok(journal)
    }

    /// Looks at everything that could stand in the way, before anything is touched.
    async fn begin(&self, wanted: &Wanted, ask: impl FnOnce(&str) -> Result<(), Failure>) -> Result<Journal, Failure> {
        let Some(at) = wanted.at else {
            return Err(Failure::user("no moment is given, and no restore has to be gone on with").hint("Give --at TIME."));
        };
        let Stanza { data, door, programs, .. } = self.stanza;
        let info = self.stanza.info().await?;
        self.ensure_covered(&info, at).await?;
        let aside = (!wanted.delta).then(|| beside(data, &format!("before-{}", moment_in_name(Timestamp::now()))));
        let bytes = bytes_of(data);
        match &aside {
            Some(aside) => {
                self.ensure_can_move(&info)?;
                if aside.exists() {
                    return Err(
                        Failure::refused(format!("{} is there already", aside.display())).hint("Nothing was done. Try again.")
                    );
                }
                ask(&format!(
                    "The server will be stopped. The data that is there ({}) will be in {}.",
                    human_bytes(bytes),
                    aside.display()
                ))?;
            }
            None => ask(&format!(
                "The server will be stopped. What is in {} ({}) will be overwritten: nothing of it is kept but what the repository has.",
                data.display(),
                human_bytes(bytes)
            ))?,
        }
        let default = format!("{} \"-D\" \"{}\"\n", programs.join("postgres").display(), data.display());
        let options = std::fs::read_to_string(data.join("postmaster.opts")).unwrap_or(default);
        let journal = Journal { at, aside, options, restored: false, incarnation: None };
        journal.write(data)?;
        door.user.check()?;
        Ok(journal)
    }

    /// Whether the moment is in what the archive covers. A server that runs is first made to archive all that it has.
    async fn ensure_covered(&self, info: &Info, at: Timestamp) -> Result<(), Failure> {
        let door = &self.stanza.door;
        let Some(earliest) = info.earliest() else {
            return Err(
                Failure::new(FailureKind::NotFound, "there is no backup to begin with").hint("`stead backup check` says more.")
            );
        };
        let latest = if self.control().runs() {
            let sessions = door.sql("asking who is connected", SESSIONS).await?;
            if sessions != "0" {
                return Err(Failure::refused(format!("{sessions} sessions of coordinators are connected to the database"))
                    .hint("Nothing was done. Stop the coordinators first."));
            }
            let now = Timestamp::now();
            if at <= now {
                let said = door.sql("ending the log's segment", MARK).await?;
                let segment = said.lines().last().unwrap_or_default().trim().to_owned();
                self.context.say(&format!("waiting until {segment} is in the repository ..."));
                self.stanza.await_segment(&segment, Duration::from_secs(TIMEOUT_SECONDS)).await?;
            }
            now
        } else {
            let archived = self.stanza.archived(info).await?;
            let newest = archived.iter().map(|file| file.time).max().unwrap_or_default();
            Timestamp::from_second(newest).unwrap_or(earliest)
        };
        if at < earliest || at > latest {
            return Err(Failure::user(format!(
                "{at} cannot be restored: the archive has the moments from {earliest} to {latest}"
            ))
            .hint("Nothing was done."));
        }
        Ok(())
    }

    fn ensure_can_move(&self, info: &Info) -> Result<(), Failure> {
        let data = &self.stanza.data;
        let failed = |error: rustix::io::Errno| Failure::internal(format!("{}: {error}", data.display()));
        let disk = rustix::fs::statvfs(data).map_err(failed)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let needed = info.good().map(|backup| backup.info.size).max().unwrap_or_default();
        if free < needed {
            return Err(Failure::refused(format!(
                "the data that is there cannot be kept: {} are free beside it, and the backup has {}",
                human_bytes(free),
                human_bytes(needed)
            ))
            .hint("Nothing was done. Make room, or overwrite what is there with --delta."));
        }
        if std::fs::read_dir(data.join("pg_tblspc")).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Failure::refused("the server has tablespaces in other places, which are not moved aside")
                .hint("Nothing was done. Overwrite what is there with --delta, after a copy of it where it may be needed."));
        }
        Ok(())
    }

    /// Stops the server, moves its data aside, and puts the backup's files there.
    async fn files(&self, journal: &mut Journal) -> Result<(), Failure> {
        let data = &self.stanza.data;
        self.context.say("stopping the server ...");
        self.control().stop().await?;
        if journal.restored {
            return Ok(());
        }
        if let Some(aside) = &journal.aside {
            if !aside.exists() {
                std::fs::rename(data, aside).map_err(|error| {
                    file_failure("move aside", data, &error)
                        .hint("The server is stopped, and its data is where it was. Where that is a disk of its own, overwrite it with --delta.")
                })?;
            }
            self.await_orphans().await?;
            // What one that was killed has left is no place to begin with; what was there before is aside.
            if data.exists() {
                std::fs::remove_dir_all(data).map_err(|error| file_failure("remove", data, &error))?;
            }
            self.stanza.door.user.make_folder(data, 0o700)?;
        }
        self.context.say("putting the backup's files there ...");
        let target = format!("--target={}", journal.at.strftime("%Y-%m-%d %H:%M:%S%.6f+00"));
        let words = ["--type=time", &target, "--target-action=promote", "restore"];
        self.stanza
            .run("putting the backup's files there", &words)
            .await
            .map_err(|failure| failure.hint(format!("{}. Done again, it goes on.", journal.state())))?;
        journal.restored = true;
        journal.write(data)
    }

    /// A worker of a pgBackRest that was killed writes its file to the end before it sees that.
    async fn await_orphans(&self) -> Result<(), Failure> {
        let config = format!("--config={}", self.stanza.file.display());
        let limit = tokio::time::Instant::now() + Duration::from_secs(TIMEOUT_SECONDS);
        loop {
            let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
            let mut words = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
            let is_ours = |words: Vec<u8>| {
                let words = String::from_utf8_lossy(&words).into_owned();
                words.split('\0').any(|word| word == config) && words.split('\0').any(|word| word == "restore:local")
            };
            if !words.any(is_ours) {
                return Ok(());
            }
            if tokio::time::Instant::now() >= limit {
                return Err(
                    Failure::refused("pgBackRest's workers of an earlier restore are still at work").hint("Wait for their end.")
                );
            }
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MILLISECONDS)).await;
        }
    }

    /// Lets the server read the log up to the moment where nobody else gets in, and the record begin anew; then starts it for all.
    async fn recover(&self, journal: &mut Journal) -> Result<Meta, Failure> {
        let Stanza { data, door, programs, server_config, .. } = self.stanza;
        self.context.say(&format!("reading the log up to {} ...", journal.at));
        let folder = beside(data, "stead-private");
        let server = PrivateServer::start(Privately {
            user: &door.user,
            superuser: &door.superuser,
            programs,
            data,
            folder: &folder,
            port: door.port,
            settings: vec![format!("config_file={}", server_config.display())],
        })
        .await
        .map_err(|failure| {
            failure.hint(format!("{}. Done again with another moment, it begins with the files.", journal.state()))
        })?;
        let engine = PostgresEngine::open_elsewhere(self.url, &folder, door.port).await.map_err(opening)?;
        let failed = |error| Failure::of(FailureKind::Config, error);
        let incarnation = match &journal.incarnation {
            Some(incarnation) => incarnation.clone(),
            None => {
                let incarnation = engine.meta().await.map_err(failed)?.incarnation;
                journal.incarnation = Some(incarnation.clone());
                journal.write(data)?;
                incarnation
            }
        };
        let meta = engine.begin_anew(&incarnation, Timestamp::now()).await.map_err(failed)?;
        engine.close().await;
        server.stop().await?;
        std::fs::remove_dir_all(&folder).map_err(|error| file_failure("remove", &folder, &error))?;
        self.context.say("starting the server ...");
        let options = data.join("postmaster.opts");
        std::fs::write(&options, &journal.options).map_err(|error| file_failure("write", &options, &error))?;
        door.user.give(&options)?;
        self.control().start().await?;
        Ok(meta)
    }

    fn report(&self, journal: &Journal, meta: &Meta) -> Result<(), Failure> {
        let had = meta.restored.map_or_else(String::new, |restored| format!(" (revision {})", restored.revision));
        let mut text =
            format!("Restored: the record is as it was at {}{had}, and goes on at revision {}.\n", journal.at, meta.last);
        if let Some(aside) = &journal.aside {
            let bytes = human_bytes(bytes_of(aside));
            text.push_str(&format!(
                "The data that was there ({bytes}) is in {}; remove it when nobody needs it.\n",
                aside.display()
            ));
        }
        text.push_str(
            "\nWhat to do next:\n\
             1. Start the coordinators again, as they were started before.\n\
             2. Take a full backup: `stead backup --type full`.\n\
             3. Let the machines come. What owners signed after that moment, and a machine has, it gives back by itself:\n   \
                `stead restore status` shows what came back and what is still missing.\n\
             4. Sign again what no machine had. kubectl and every other client list again by themselves.\n",
        );
        self.context.print(&text)
    }
}

/// What a folder takes, as far as it can be read.
fn bytes_of(folder: &Path) -> u64 {
    let mut waiting: Vec<PathBuf> = vec![folder.to_owned()];
    let mut bytes = 0_u64;
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => waiting.push(entry.path()),
                Ok(metadata) => bytes = bytes.saturating_add(metadata.len()),
                // It has gone meanwhile.
                Err(_) => {}
            }
        }
    }
    bytes
}
