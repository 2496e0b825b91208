//! `stead restore`: the record made again from a backup, in the place of the one that is there.

mod status;

pub(super) use status::restored_revision;

use std::path::Path;

use jiff::Timestamp;
use serde_json::json;
use stead_model::Digest;
use stead_store::{
    Engine as _, EngineError, Meta, PlaceError, PostgresEngine, PostgresPlace, Replacement, SqliteEngine, Standing, copy_reading,
    digest,
};

use super::question::Question;
use super::{Context, physical};
use crate::Outcome;
use crate::backup::{self, Found, KEYS, Progress, Rebuilt, Scratch};
use crate::cli::{RestoreArgs, RestoreCommand, RestoreOptions};
use crate::duration::whole_seconds;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::output::{self, Format};
use crate::private_file;
use crate::record::{Place, opening, without_password};

/// What became of the record.
struct Restored {
    /// The record as it is now.
    meta: Meta,
    /// Where it is.
    place: String,
    /// Where the one is that was there.
    aside: Option<String>,
}

pub(super) async fn run(context: &Context, args: RestoreArgs) -> Outcome {
    if let Some(RestoreCommand::Status) = args.command {
        return status::run(context).await;
    }
    let (options, now) = (args.options, Timestamp::now());
    let moment = options.at.map(|at| at.moment(now));
    let Some(from) = &options.from else { return physical::restore(context, &options, moment).await };
    let found = backup::choose(from, moment, |line| context.say(line))?;
    ensure_same_fleet(context, &found)?;
    introduce(context, &found, moment, now);
    let restoring = Restoring { context, found: &found, options: &options, now };
    let restored = match Place::of(&context.settings)? {
        Place::Sqlite(path) => restoring.in_file(&path).await?,
        Place::Postgres { url, password } => {
            restoring.in_database(&url, password.as_ref().map(|password| password.as_str())).await?
        }
    };
    let keys = restoring.keys()?;
    report(context, &found, &restored, &keys)?;
    Ok(ExitCode::Success)
}

/// A coordinator's state directory says whose it is.
fn ensure_same_fleet(context: &Context, found: &Found) -> Result<(), Failure> {
    let file = context.settings.state_dir().join("fleet");
    let said = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::new(FailureKind::Config, format!("{}: {error}", file.display()))),
    };
    let fleet: Digest = said.trim().parse().map_err(|error| Failure::of(FailureKind::Config, error))?;
    if fleet == found.manifest.fleet {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "{} is of the fleet {}, and {} says that this coordinator is of the fleet {fleet}",
        found.path.display(),
        found.manifest.fleet,
        file.display(),
    ))
    .hint("Nothing was restored. Give a backup of this fleet, or the state directory of the other one with --state-dir."))
}

/// Says which backup it is, and what it cannot have.
fn introduce(context: &Context, found: &Found, moment: Option<Timestamp>, now: Timestamp) {
    let taken = found.manifest.taken_at;
    context.say(&format!(
        "{}: revision {} of the fleet {}, taken at {}",
        found.path.display(),
        found.manifest.revision,
        found.manifest.fleet,
        whole_seconds(taken)
    ));
    let (moment, which) = moment.map_or((now, "now"), |moment| (moment, "the time that you gave"));
    context.say(&format!("What was written in the {} between it and {which} is not in it.", backup::age(taken, moment)));
}

struct Restoring<'a> {
    context: &'a Context,
    found: &'a Found,
    options: &'a RestoreOptions,
    now: Timestamp,
}

impl Restoring<'_> {
    async fn in_file(&self, record: &Path) -> Result<Restored, Failure> {
        if let Some(folder) = record.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            crate::private_file::make_folder(folder)
                .map_err(|error| Failure::new(FailureKind::Config, format!("{}: {error}", folder.display())))?;
        }
        let replacement = Replacement::begin(record).map_err(opening)?;
        let suffix = self.free_suffix(&replacement);
        if replacement.replaces() {
            self.ask(&format!("The record {} will be {}.", record.display(), replacement.aside(&suffix).display()))?;
        }
        let made = self.make(replacement.new_record()).await;
        let meta = match made {
            Ok((engine, meta)) => {
                engine.close().await;
                meta
            }
            Err(failure) => {
                let cleared = replacement.give_up();
                return Err(cleared.err().map_or_else(|| failure, |error| Failure::of(FailureKind::Internal, error)));
            }
        };
        let aside = replacement.finish(&suffix).await.map_err(|error| {
            Failure::of(FailureKind::Config, error)
                .hint("The record is as it was. See that nothing has it open (a backup, the sqlite3 shell), and begin again.")
        })?;
        Ok(Restored { meta, place: record.display().to_string(), aside: aside.map(|aside| aside.display().to_string()) })
    }

    /// The moment, and a number where that is taken: two may follow each other within a second.
    fn free_suffix(&self, replacement: &Replacement) -> String {
        let moment = backup::moment_in_name(self.now);
        let numbered = (2_u32..).map(|number| format!("{moment}-{number}"));
        let mut names = std::iter::once(moment.clone()).chain(numbered);
        names.find(|name| replacement.aside(name).symlink_metadata().is_err()).unwrap_or(moment)
    }

    async fn in_database(&self, url: &str, password: Option<&str>) -> Result<Restored, Failure> {
        let place = PostgresPlace::open(url, password).await.map_err(opening)?;
        let wrong = |error: PlaceError| not_put(error, url);
        let shown = without_password(url);
        // Lower case, so that nobody has to quote it.
        let aside = format!("stead_before_{}", backup::moment_in_name(self.now).to_lowercase());
        let replaces = matches!(place.standing().await.map_err(wrong)?, Standing::Record { .. });
        if replaces {
            self.ask(&format!("The record in the schema stead of {shown} will be in the schema {aside}."))?;
        }
        let scratch = Scratch::new()
            .map_err(|error| Failure::user(format!("there is no scratch place: {error}")).hint("TMPDIR names another folder."))?;
        let (engine, meta) = self.make(&scratch.record()).await?;
        let put = self.put(&engine, &place, replaces.then_some(aside.as_str())).await;
        let same = match put {
            Ok(()) => is_same(&engine, url, password).await,
            Err(failure) => Err(failure.map_or_else(wrong, |error| Failure::of(FailureKind::Config, error))),
        };
        engine.close().await;
        same?;
        Ok(Restored { meta, place: shown, aside: replaces.then(|| format!("schema {aside}")) })
    }

    /// In one transaction with moving aside what is there.
    async fn put(
        &self,
        engine: &SqliteEngine,
        place: &PostgresPlace,
        aside: Option<&str>,
    ) -> Result<(), Result<EngineError, PlaceError>> {
        let progress = Progress::new(self.context.terminal);
        let mut reading = engine.reading().await.map_err(Ok)?;
        let import = place.import(aside).await.map_err(Err)?;
        copy_reading(reading.as_mut(), import, &mut progress.of_copy()).await.map_err(Ok)?;
        reading.end().await;
        Ok(())
    }

    /// Makes the record again, compares it with all that the backup says of it, and lets it begin anew.
    async fn make(&self, at: &Path) -> Result<(SqliteEngine, Meta), Failure> {
        let progress = Progress::new(self.context.terminal);
        let Rebuilt { engine, .. } = backup::rebuild(self.found, at, &progress).await?;
        match engine.begin_anew(&self.found.manifest.incarnation, self.now).await {
            Ok(meta) => Ok((engine, meta)),
            Err(error) => {
                engine.close().await;
                Err(Failure::of(FailureKind::Config, error))
            }
        }
    }

    fn ask(&self, what: &str) -> Result<(), Failure> {
        if !self.options.yes {
            self.context.say(what);
        }
        let question = Question {
            text: "Restore?",
            whether: "whether the record that is there may be moved aside",
            nothing: "nothing was restored",
        };
        question.ask(self.options.yes)
    }

    /// Puts the backup's keys into the state directory, where they are wanted and none are there; says what there is to know of each.
    fn keys(&self) -> Result<Vec<String>, Failure> {
        let state_dir = self.context.settings.state_dir();
        let mut told = Vec::new();
        if !self.options.keys {
            if self.found.manifest.has_keys() && !state_dir.join("coordinator.key").exists() {
                told.push(format!(
                    "The backup has the coordinator's keys, and {} has none: copy what is in {} there.",
                    state_dir.display(),
                    self.found.path.join(KEYS).display()
                ));
            }
            return Ok(told);
        }
        let failed = |path: &Path, error: std::io::Error| Failure::user(format!("{}: {error}", path.display()));
        for file in &self.found.manifest.files {
            let Ok(name) = Path::new(&file.path).strip_prefix(KEYS) else { continue };
            let (from, to) = (self.found.path.join(&file.path), state_dir.join(name));
            let bytes = std::fs::read(&from).map_err(|error| failed(&from, error))?;
            match std::fs::read(&to) {
                Ok(there) if there == bytes => {}
                Ok(_) => told.push(format!("{} is another one than in the backup, and stays.", to.display())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    private_file::write(&to, &bytes).map_err(|error| Failure::of(FailureKind::User, error))?;
                    told.push(format!("{} is that of the backup.", to.display()));
                }
                Err(error) => return Err(failed(&to, error)),
            }
        }
        if told.is_empty() && !self.found.manifest.has_keys() {
            told.push("The backup has no keys.".to_owned());
        }
        Ok(told)
    }
}

/// Reads both through.
async fn is_same(engine: &SqliteEngine, url: &str, password: Option<&str>) -> Result<(), Failure> {
    let failed = |error: EngineError| Failure::of(FailureKind::Config, error);
    let there = PostgresEngine::open_reading(url, password).await.map_err(opening)?;
    let found = digest(&there).await;
    there.close().await;
    let (found, expected) = (found.map_err(failed)?, digest(engine).await.map_err(failed)?);
    if found == expected {
        return Ok(());
    }
    Err(Failure::internal(format!("the record in PostgreSQL is not the one that was put there ({found} and {expected})"))
        .hint("Start no coordinator on it, and report this."))
}

fn not_put(error: PlaceError, url: &str) -> Failure {
    let owner = "As the database's owner: ALTER SCHEMA stead RENAME TO stead_before; CREATE SCHEMA stead AUTHORIZATION";
    // A URL may name several servers, which no other parser takes; what stands before the first of these is the role.
    let role = url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).map_or("", |(role, _)| role);
    let role = role.split([':', '/']).next().filter(|role| !role.is_empty()).unwrap_or("ROLE");
    let hint = match &error {
        PlaceError::NotMoved { .. } => Some(format!("{owner} {role}; and then again.")),
        PlaceError::Open(stead_store::OpenError::Foreign { .. }) => Some(
            "Give an empty database, such as `CREATE DATABASE fleet OWNER stead ENCODING 'UTF8' TEMPLATE template0`.".to_owned(),
        ),
        _ => None,
    };
    let kind = match &error {
        PlaceError::Engine(error) if error.is_away() => FailureKind::Unreachable,
        _ => FailureKind::Config,
    };
    hint.into_iter().fold(Failure::of(kind, error), Failure::hint)
}

fn report(context: &Context, found: &Found, restored: &Restored, keys: &[String]) -> Result<(), Failure> {
    let Restored { meta, place, aside } = restored;
    keys.iter().for_each(|line| context.say(line));
    match context.settings.output() {
        format @ (Format::Json | Format::Yaml) => {
            let value = json!({
                "backup": found.path.to_string_lossy(),
                "takenAt": found.manifest.taken_at,
                "fleet": found.manifest.fleet,
                "store": place,
                "movedAside": aside,
                "backupRevision": found.manifest.revision,
                "revision": meta.last.0,
                "incarnation": meta.incarnation,
            });
            return context.print(&if format == Format::Json { output::json(&value)? } else { output::yaml(&value)? });
        }
        Format::Name => return context.print(&format!("{place}\n")),
        Format::Table | Format::Wide => {}
    }
    let mut text =
        format!("Restored: {place} has what revision {} had, and goes on at revision {}.\n", found.manifest.revision, meta.last);
    if let Some(aside) = aside {
        text.push_str(&format!("The record that was there is now {aside}; remove it when nobody needs it any more.\n"));
    }
    text.push_str(
        "\nWhat to do next:\n\
         1. Start the coordinators again, as they were started before.\n\
         2. Let the machines come. What owners signed after this backup, and a machine has, it gives back by itself:\n   \
            `stead restore status` shows what came back and what is still missing. Until then, a change that\n   \
            you sign may meet what only a machine knows of, and has to be signed again: where it can wait, let it.\n\
         3. Sign again what no machine had. kubectl and every other client list again by themselves.\n",
    );
    context.print(&text)
}
