//! `stead backup`, `stead backup list` and `stead backup verify`.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value};
use stead_store::{BackupNews, BackupWay, Engine as _, PostgresEngine, PostgresPlace, Standing, copy_reading, digest};

use super::{Context, physical};
use crate::Outcome;
use crate::aligned::aligned;
use crate::backup::{self, Found, Listed, Manifest, Progress, Rebuilt, Scratch, human_bytes};
use crate::cli::{BackupArgs, BackupCommand, BackupListArgs, BackupTakeArgs, BackupVerifyArgs};
use crate::duration::whole_seconds;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::output::{self, Format};
use crate::record::{Place, opening, without_password};

pub(super) async fn run(context: &Context, args: BackupArgs) -> Outcome {
    match args.command {
        None => take(context, &args.take).await,
        Some(BackupCommand::Setup(args)) => physical::setup(context, args).await,
        Some(BackupCommand::Check(args)) => physical::check(context, &args).await,
        Some(BackupCommand::List(args)) => list(context, &args).await,
        Some(BackupCommand::Verify(args)) => verify(context, &args).await,
    }
}

async fn take(context: &Context, args: &BackupTakeArgs) -> Outcome {
    let (place, state_dir) = (Place::of(&context.settings)?, context.settings.state_dir());
    // Who names a folder means a portable one.
    let portable = args.to.is_some() || args.keep.is_some() || args.keys;
    if (!portable || args.way.physical)
        && let Some(stanza) = physical::choose(&place, &args.way)?
    {
        return physical::take(context, &stanza, &place, args.kind).await;
    }
    let to = backup::folder_of(args.to.as_deref(), &context.settings);
    // A folder that somebody named may be a disk that is not mounted; the one in the state directory is ours.
    if args.to.is_none() && state_dir.is_dir() {
        crate::private_file::make_folder(&to)
            .map_err(|error| Failure::new(FailureKind::Config, format!("{}: {error}", to.display())))?;
    }
    let progress = Progress::new(context.terminal);
    let taken = backup::take(&place, &to, args.keys.then_some(state_dir.as_path()), &progress).await?;
    drop(progress);
    if !args.keys {
        context.say(
            "The coordinator's keys are not in it (--keys takes them along): without its key no machine believes a new coordinator.",
        );
    }
    for gone in args.keep.map_or_else(|| Ok(Vec::new()), |keep| backup::prune(&taken, keep))? {
        context.say(&format!("Removed {}.", gone.display()));
    }
    let (path, manifest) = (&taken.path, &taken.manifest);
    remember(context, &place, BackupWay::Portable, BackupNews::Newest(Some((manifest.taken_at, manifest.bytes())))).await;
    let text = match context.settings.output() {
        Format::Json => output::json(&document(path, Some(manifest), &[])?)?,
        Format::Yaml => output::yaml(&document(path, Some(manifest), &[])?)?,
        Format::Name => format!("{}\n", path.display()),
        Format::Table | Format::Wide => {
            format!("{}: revision {}, {}\n", path.display(), manifest.revision, human_bytes(manifest.bytes()))
        }
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

/// What a program is told of a backup: its manifest, where it is, and more.
fn document(path: &Path, manifest: Option<&Manifest>, more: &[(&str, Value)]) -> Result<Value, Failure> {
    let said = manifest.map(Manifest::to_value).transpose().map_err(|error| Failure::internal(error.to_string()))?;
    let mut members = match said {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    members.insert("path".to_owned(), path.to_string_lossy().into());
    members.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Ok(Value::Object(members))
}

async fn list(context: &Context, args: &BackupListArgs) -> Outcome {
    let now = Timestamp::now();
    let format = context.settings.output();
    let physical = match physical::choose(&Place::of(&context.settings)?, &args.way)? {
        Some(stanza) if args.folder.is_none() => physical::list(&stanza, now).await?,
        _ => Vec::new(),
    };
    let folder = backup::folder_of(args.folder.as_deref(), &context.settings);
    // Where pgBackRest has them, there need not be a folder as well.
    let none = args.way.physical || (!physical.is_empty() && args.folder.is_none() && !folder.exists());
    let listed = if none { Vec::new() } else { backup::list(&folder)? };
    let text = match format {
        Format::Json | Format::Yaml => {
            let items = listed.iter().map(|listed| {
                let flaw = listed.flaw.as_ref().map(|flaw| ("flaw", Value::String(flaw.to_string())));
                let more: Vec<_> = std::iter::once(("whole", Value::Bool(flaw.is_none()))).chain(flaw).collect();
                document(&listed.path, listed.manifest.as_ref(), &more)
            });
            let physical = physical.iter().map(|(value, _)| Ok(value.clone()));
            let items = Value::Array(physical.chain(items).collect::<Result<_, Failure>>()?);
            if format == Format::Json { output::json(&items)? } else { output::yaml(&items)? }
        }
        Format::Name => {
            let physical = physical.iter().filter_map(|(_, columns)| columns.last().cloned());
            let names = physical.chain(listed.iter().map(|listed| listed.path.display().to_string()));
            names.map(|name| name + "\n").collect()
        }
        Format::Table | Format::Wide => {
            let mut text = String::new();
            if !physical.is_empty() {
                let rows = physical.into_iter().map(|(_, columns)| columns).collect();
                text = aligned(&["taken", "age", "type", "size", "new", "whole", "pgbackrest"], rows);
            }
            if !listed.is_empty() || text.is_empty() {
                let rows = listed.iter().map(|listed| row(listed, now)).collect();
                let portable = aligned(&["taken", "age", "revision", "size", "fleet", "keys", "whole", "backup"], rows);
                text.push_str(if text.is_empty() { "" } else { "\n" });
                text.push_str(&portable);
            }
            text
        }
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

fn row(listed: &Listed, now: Timestamp) -> Vec<String> {
    let whole = listed.flaw.as_ref().map_or_else(|| "yes".to_owned(), |flaw| format!("no: {flaw}"));
    let name = listed.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(manifest) = &listed.manifest else {
        return [vec!["-".to_owned(); 6], vec![whole, name]].concat();
    };
    vec![
        whole_seconds(manifest.taken_at).to_string(),
        backup::age(manifest.taken_at, now),
        manifest.revision.to_string(),
        human_bytes(manifest.bytes()),
        manifest.fleet.short(),
        if manifest.has_keys() { "yes" } else { "no" }.to_owned(),
        whole,
        name,
    ]
}

async fn verify(context: &Context, args: &BackupVerifyArgs) -> Outcome {
    let place = Place::of(&context.settings)?;
    if ((args.backup.is_none() && args.into.is_none()) || args.way.physical)
        && let Some(stanza) = physical::choose(&place, &args.way)?
    {
        return physical::verify(context, &stanza, &place).await;
    }
    let from = backup::folder_of(args.backup.as_deref(), &context.settings);
    let found = backup::choose(&from, None, |line| context.say(line))?;
    let verified = verify_portable(context, args, &found).await;
    if is_of_this_record(context, &place, &found).await {
        let news = match &verified {
            Ok(_) => Some(BackupNews::Whole(Timestamp::now())),
            Err(failure) => (failure.kind() == FailureKind::Refused).then_some(BackupNews::Damaged),
        };
        if let Some(news) = news {
            remember(context, &place, BackupWay::Portable, news).await;
        }
    }
    verified
}

async fn verify_portable(context: &Context, args: &BackupVerifyArgs, found: &Found) -> Outcome {
    let scratch = Scratch::new()
        .map_err(|error| Failure::user(format!("there is no scratch place: {error}")).hint("TMPDIR names another folder."))?;
    let progress = Progress::new(context.terminal);
    let rebuilt = backup::rebuild(found, &scratch.record(), &progress).await?;
    let put = match &args.into {
        Some(into) => into_database(context, &rebuilt, into, &progress).await,
        None => Ok(()),
    };
    rebuilt.engine.close().await;
    put?;
    drop((progress, scratch));
    print_verified(context, found, &rebuilt, args.into.as_deref())?;
    Ok(ExitCode::Success)
}

/// Notes something for the coordinators' metrics. A backup is as good without.
pub(super) async fn remember(context: &Context, place: &Place, way: BackupWay, news: BackupNews) {
    if let Err(failure) = place.note_backup(way, news).await {
        context.say(&format!("The coordinators' metrics do not tell of this: it cannot be noted: {}", failure.sentence()));
    }
}

/// Whether a backup is one of the record that the settings name: somebody else's says nothing of that.
async fn is_of_this_record(context: &Context, place: &Place, found: &Found) -> bool {
    if let Ok(fleet) = std::fs::read_to_string(context.settings.state_dir().join("fleet")) {
        return fleet.trim() == found.manifest.fleet.to_string();
    }
    let Ok((url, password)) = place.postgres() else { return false };
    let Ok(engine) = PostgresEngine::open_reading(url, password).await else { return false };
    let meta = engine.meta().await;
    engine.close().await;
    meta.is_ok_and(|meta| meta.incarnation == found.manifest.incarnation)
}

/// The same record in PostgreSQL, read through there, and taken out again.
async fn into_database(context: &Context, rebuilt: &Rebuilt, named: &str, progress: &Progress) -> Result<(), Failure> {
    let place = Place::parse(named, true, context.settings.store_password_file().as_deref())?;
    let Place::Postgres { url, password } = &place else {
        return Err(Failure::user(format!("{named} is no PostgreSQL database; without --into a SQLite file is used anyway")));
    };
    let password = password.as_ref().map(|password| password.as_str());
    let database = PostgresPlace::open(url.as_str(), password).await.map_err(opening)?;
    let failed = |error: stead_store::EngineError| Failure::of(FailureKind::Config, error);
    let wrong = |error: stead_store::PlaceError| Failure::of(FailureKind::Config, error);
    if database.standing().await.map_err(wrong)? != Standing::Nothing {
        return Err(Failure::user(format!("there is a schema stead in {} already, and it stays", without_password(named))).hint(
            "Give a database for this alone, such as `CREATE DATABASE scratch OWNER stead ENCODING 'UTF8' TEMPLATE template0`.",
        ));
    }
    // One with an incarnation of its own, so that nothing else is ever taken for it.
    let before = rebuilt.engine.meta().await.map_err(failed)?.incarnation;
    let incarnation = rebuilt.engine.begin_anew(&before, Timestamp::now()).await.map_err(failed)?.incarnation;
    let mut reading = rebuilt.engine.reading().await.map_err(failed)?;
    let import = database.import(None).await.map_err(wrong)?;
    copy_reading(reading.as_mut(), import, &mut progress.of_copy()).await.map_err(failed)?;
    reading.end().await;
    let compared = compare(rebuilt, url.as_str(), password).await;
    let erased = database.erase(&incarnation).await.map_err(wrong);
    compared?;
    erased.map(drop)
}

async fn compare(rebuilt: &Rebuilt, url: &str, password: Option<&str>) -> Result<(), Failure> {
    let failed = |error: stead_store::EngineError| Failure::of(FailureKind::Config, error);
    let engine = PostgresEngine::open_reading(url, password).await.map_err(opening)?;
    let there = digest(&engine).await;
    engine.close().await;
    let (there, here) = (there.map_err(failed)?, digest(&rebuilt.engine).await.map_err(failed)?);
    if there == here {
        return Ok(());
    }
    Err(Failure::refused(format!("in PostgreSQL the record is another one: its digest is {there}, and in SQLite {here}"))
        .hint("Do not restore it there, and report this."))
}

fn print_verified(context: &Context, found: &Found, rebuilt: &Rebuilt, into: Option<&str>) -> Result<(), Failure> {
    let (path, manifest) = (&found.path, &found.manifest);
    let text = match context.settings.output() {
        format @ (Format::Json | Format::Yaml) => {
            let more = [("verified", Value::Bool(true)), ("digestsCompared", Value::Bool(rebuilt.compared))];
            let value = document(path, Some(manifest), &more)?;
            if format == Format::Json { output::json(&value)? } else { output::yaml(&value)? }
        }
        Format::Name => format!("{}\n", path.display()),
        Format::Table | Format::Wide => {
            let age = backup::age(manifest.taken_at, Timestamp::now());
            let mut text = format!(
                "{} can be restored: revision {}, taken at {} ({age} ago)\n",
                path.display(),
                manifest.revision,
                whole_seconds(manifest.taken_at),
            );
            let newest = rebuilt.chain.newest().version;
            let digests = if rebuilt.compared {
                format!("every table has its digest; all of them {}", manifest.digest)
            } else {
                "not compared: the schema has gone on since it was taken".to_owned()
            };
            let rows = [
                ("files", format!("{}, each with its size and SHA-256", manifest.files.len())),
                ("database", "SQLite finds nothing wrong".to_owned()),
                ("digests", digests),
                ("trust root", format!("verified from fleet {} to version {newest}", manifest.fleet)),
            ];
            let mut rows: Vec<Vec<String>> = rows.into_iter().map(|(what, said)| vec![format!("  {what}"), said]).collect();
            rows.extend(into.map(|into| vec!["  into".to_owned(), format!("{}: the same digest there", without_password(into))]));
            text.push_str(&aligned(&[], rows));
            text
        }
    };
    context.print(&text)
}
