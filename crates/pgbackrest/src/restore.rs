//! The server put back to a moment. Each step can be done again, and nobody gets in until the record has begun anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use stead_model::{Revision, human_bytes};
use stead_store::{Engine as _, Meta, PostgresEngine};

use crate::Say;
use crate::check::TIMEOUT_SECONDS;
use crate::cluster::RecordAddress;
use crate::error::Error;
use crate::info::Info;
use crate::journal::{Journal, beside};
use crate::place;
use crate::server::{Control, PrivateServer, Privately};
use crate::stanza::Stanza;

/// A transaction that the log has after every moment that can be asked for: recovery stops at the first that is later. Then the segment
/// is ended, so that it gets into the archive.
const MARK: &str = "SELECT pg_current_xact_id()::text; SELECT pg_walfile_name(pg_switch_wal())";
/// Coordinators' sessions.
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stead'";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The moment; without one, that of the restore that is to be gone on with.
    pub at: Option<Timestamp>,
    /// Whether what is there is overwritten.
    pub delta: bool,
}

/// A restore for which everything was looked at, and nothing was touched yet, or which has begun before.
pub struct Restoring<'a> {
    stanza: &'a Stanza,
    record: RecordAddress<'a>,
    say: Say<'a>,
    journal: Journal,
    question: Option<String>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The moment that was restored.
    pub at: Timestamp,
    /// The revision that the record had then.
    pub had: Option<Revision>,
    /// The one from which it goes on.
    pub last: Revision,
    /// Where the data is that was there, and its bytes.
    pub aside: Option<(PathBuf, u64)>,
}

impl<'a> Restoring<'a> {
    /// Looks at everything that could stand in the way, before anything is touched; or finds one that has begun.
    ///
    /// # Errors
    ///
    /// [`Error`], where it cannot be: nothing was done.
    pub async fn prepare(stanza: &'a Stanza, record: RecordAddress<'a>, wanted: Wanted, say: Say<'a>) -> Result<Self, Error> {
        place::ensure_beside(stanza)?;
        if let Some(journal) = Journal::read(&stanza.data)? {
            let mut restoring = Self { stanza, record, say, journal, question: None };
            restoring.go_on(wanted)?;
            return Ok(restoring);
        }
        let Some(at) = wanted.at else { return Err(Error::NoMoment) };
        let info = stanza.info().await?;
        ensure_covered(stanza, &info, at, say).await?;
        let is_empty = place::is_empty(&stanza.data)?;
        let aside =
            (!wanted.delta && !is_empty).then(|| beside(&stanza.data, &format!("before-{}", at_in_name(Timestamp::now()))));
        match &aside {
            Some(aside) => place::ensure_can_move(stanza, &info, aside)?,
            None if !is_empty => place::ensure_can_overwrite(stanza)?,
            None => {}
        }
        let fresh = is_empty || aside.is_some();
        let tablespaces = if fresh { place::empty_tablespaces(stanza, &info, at).await? } else { Vec::new() };
        let question = question(stanza, is_empty, aside.as_deref());
        let options = place::server_options(stanza);
        let journal = Journal { at, aside, fresh, tablespaces, options, restored: false, incarnation: None };
        Ok(Self { stanza, record, say, journal, question: Some(question) })
    }

    /// What will be done to what is there, for whoever has to agree to it; nothing, where it has begun already.
    pub fn question(&self) -> Option<&str> {
        self.question.as_deref()
    }

    fn go_on(&mut self, wanted: Wanted) -> Result<(), Error> {
        let state = self.journal.state();
        let not_begun = self.journal.aside.as_ref().is_some_and(|aside| !aside.exists());
        if self.journal.fresh && !self.journal.restored && !not_begun && control(self.stanza).runs() {
            return Err(Error::AnotherServer { state, journal: Journal::path(&self.stanza.data) });
        }
        (self.say)(&format!("{state}; it goes on."));
        if let Some(at) = wanted.at.filter(|at| *at != self.journal.at) {
            if self.journal.incarnation.is_some() {
                return Err(Error::TooLate { state, at: self.journal.at });
            }
            self.journal.at = at;
            self.journal.restored = false;
        }
        Ok(())
    }

    /// Does it. Whatever ends it, the same command goes on.
    ///
    /// # Errors
    ///
    /// [`Error`], which says how far it is where that matters.
    pub async fn run(mut self) -> Result<Restored, Error> {
        self.journal.write(&self.stanza.data)?;
        self.files().await?;
        let meta = self.recover().await?;
        Journal::remove(&self.stanza.data)?;
        let aside = self.journal.aside.clone().map(|aside| {
            let bytes = place::bytes_of(&aside);
            (aside, bytes)
        });
        Ok(Restored { at: self.journal.at, had: meta.restored.map(|restored| restored.revision), last: meta.last, aside })
    }

    /// Stops the server, moves its data aside, and puts the backup's files there.
    async fn files(&mut self) -> Result<(), Error> {
        let data = &self.stanza.data;
        (self.say)("stopping the server ...");
        control(self.stanza).stop().await?;
        if self.journal.restored {
            return Ok(());
        }
        self.stanza.await_orphans().await?;
        if let Some(aside) = self.journal.aside.as_ref().filter(|aside| !aside.exists()) {
            place::move_aside(data, aside)?;
        } else if self.journal.fresh {
            // What one that was killed has left is no place to begin with; what was there before is aside.
            for folder in std::iter::once(data).chain(&self.journal.tablespaces) {
                place::clear(folder)?;
            }
        }
        if self.journal.fresh {
            place::make(self.stanza)?;
        }
        (self.say)("putting the backup's files there ...");
        let target = format!("--target={}", self.journal.at.strftime("%Y-%m-%d %H:%M:%S%.6f+00"));
        let words = ["--type=time", &target, "--target-action=promote", "restore"];
        self.stanza
            .run("putting the backup's files there", &words)
            .await
            .map_err(|error| error.hint(format!("{}. Done again, it goes on.", self.journal.state())))?;
        self.journal.restored = true;
        self.journal.write(data)
    }

    /// Lets the server read the log up to the moment where nobody else gets in, and the record begin anew; then starts it for all.
    async fn recover(&mut self) -> Result<Meta, Error> {
        let Stanza { data, door, programs, server_config, .. } = self.stanza;
        (self.say)(&format!("reading the log up to {} ...", self.journal.at));
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
        .map_err(|error| {
            error.hint(format!("{}. Done again with another moment, it begins with the files.", self.journal.state()))
        })?;
        let engine = PostgresEngine::open_elsewhere(self.record.url, &folder, door.port).await?;
        let incarnation = match &self.journal.incarnation {
            Some(incarnation) => incarnation.clone(),
            None => {
                let incarnation = engine.meta().await?.incarnation;
                self.journal.incarnation = Some(incarnation.clone());
                self.journal.write(data)?;
                incarnation
            }
        };
        let meta = engine.begin_anew(&incarnation, Timestamp::now()).await?;
        engine.close().await;
        server.stop().await?;
        std::fs::remove_dir_all(&folder).map_err(|error| Error::file("remove", &folder, error))?;
        (self.say)("starting the server ...");
        let options = data.join("postmaster.opts");
        std::fs::write(&options, &self.journal.options).map_err(|error| Error::file("write", &options, error))?;
        door.user.give(&options)?;
        control(self.stanza).start().await?;
        Ok(meta)
    }
}

fn control(stanza: &Stanza) -> Control<'_> {
    let Stanza { data, server_config, programs, door, .. } = stanza;
    Control { user: &door.user, data, server_config, programs }
}

/// Whether the moment is in what the archive covers. A server that runs is first made to archive all that it has.
async fn ensure_covered(stanza: &Stanza, info: &Info, at: Timestamp, say: Say<'_>) -> Result<(), Error> {
    let door = &stanza.door;
    let Some(earliest) = info.earliest() else {
        return Err(Error::NoBackup { stanza: stanza.name.clone(), says: info.status.message.clone() });
    };
    let latest = if control(stanza).runs() {
        let sessions = door.sql("asking who is connected", SESSIONS).await?;
        if sessions != "0" {
            return Err(Error::Connected { sessions });
        }
        let now = Timestamp::now();
        if at <= now {
            let said = door.sql("ending the log's segment", MARK).await?;
            let segment = said.lines().last().unwrap_or_default().trim().to_owned();
            say(&format!("waiting until {segment} is in the repository ..."));
            stanza.await_segment(&segment, Duration::from_secs(TIMEOUT_SECONDS)).await?;
        }
        now
    } else {
        let archived = stanza.archived(info).await?;
        // Told by the second: what is in the file was written before the next one.
        let newest = archived.iter().map(|file| file.time).max().unwrap_or_default().saturating_add(1);
        Timestamp::from_second(newest).unwrap_or(earliest)
    };
    if at < earliest || at > latest {
        return Err(Error::NotCovered { at, earliest, latest });
    }
    Ok(())
}

/// What will be done to what is there.
fn question(stanza: &Stanza, is_empty: bool, aside: Option<&Path>) -> String {
    let data = stanza.data.display();
    if is_empty {
        return format!("Nothing is in {data}: the backup's files will be put there.");
    }
    let bytes = human_bytes(place::bytes_of(&stanza.data));
    match aside {
        Some(aside) => {
            format!("The server will be stopped. The data that is there ({bytes}) will be in {}.", aside.display())
        }
        None => format!(
            "The server will be stopped. What is in {data} ({bytes}) will be overwritten: nothing of it is kept but what the repository has."
        ),
    }
}

/// A moment in a file's name.
fn at_in_name(moment: Timestamp) -> String {
    moment.strftime("%Y%m%dT%H%M%SZ").to_string()
}
