//! Backups with pgBackRest, as the operator asks for them and reads of them.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use stead_model::{age, human_bytes};
use stead_pgbackrest::{
    AGE_SECONDS_MAX, Backup, CheckLimits, Error, Planned, RecordAddress, Restored, Restoring, Seen, SetUp, Sort, Stanza,
    StanzaName, Step, TIMEOUT_SECONDS, Wanted, Wish,
};
use stead_store::{BackupNews, BackupWay};

use super::Context;
use super::backup::remember;
use super::question::Question;
use crate::Outcome;
use crate::aligned::aligned;
use crate::cli::{BackupCheckArgs, BackupSetupArgs, BackupType, RestoreOptions, StanzaFlags, WayFlags};
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::output::{self, Format};
use crate::record::Place;

/// As it reaches the operator.
fn failed(error: Error) -> Failure {
    let kind = match error.sort() {
        Sort::Asked => FailureKind::User,
        Sort::Missing => FailureKind::NotFound,
        Sort::Refused => FailureKind::Refused,
        Sort::Away => FailureKind::Unreachable,
        Sort::Internal => FailureKind::Internal,
        Sort::Host => FailureKind::Config,
    };
    let hints = error.hints();
    hints.into_iter().fold(Failure::of(kind, error), Failure::hint)
}

fn name(flags: &StanzaFlags) -> StanzaName {
    StanzaName { file: flags.pgbackrest_config.clone(), stanza: flags.stanza.clone() }
}

/// The record's URL, where it is in PostgreSQL.
fn address(place: &Place) -> Result<RecordAddress<'_>, Failure> {
    match place {
        Place::Postgres { url, password } => {
            Ok(RecordAddress { url, password: password.as_ref().map(|password| password.as_str()) })
        }
        Place::Sqlite(path) => {
            Err(Failure::user(format!("the record is the file {}: pgBackRest is for PostgreSQL", path.display()))
                .hint("Name the record with --store postgres://…; `stead backup` alone takes a backup of a file."))
        }
    }
}

/// The stanza that a command is meant for: none where nothing was set up here, or the portable way is asked for.
pub(super) fn choose(place: &Place, way: &WayFlags) -> Result<Option<Stanza>, Failure> {
    if way.physical {
        address(place)?;
        return Stanza::get(&name(&way.stanza)).map(Some).map_err(failed);
    }
    match place {
        Place::Postgres { .. } if !way.portable => Stanza::find(&name(&way.stanza)).map_err(failed),
        _ => Ok(None),
    }
}

pub(super) async fn setup(context: &Context, args: BackupSetupArgs) -> Outcome {
    if args.check {
        let limits =
            CheckLimits { patience: Duration::from_secs(TIMEOUT_SECONDS), age_max: Duration::from_secs(AGE_SECONDS_MAX) };
        return check_with(context, &name(&args.stanza), limits).await;
    }
    let place = Place::of(&context.settings)?;
    let record = address(&place)?;
    let wish = Wish {
        name: name(&args.stanza),
        repo: args.repo,
        retention_full: args.retention_full,
        retention_diff: args.retention_diff,
        process_max: args.process_max,
        cipher_pass_file: args.cipher_pass_file,
        superuser: args.superuser,
        restart: args.restart,
        replace: args.replace,
    };
    if args.dry_run {
        let planned = stead_pgbackrest::plan_setup(record, &wish).await.map_err(failed)?;
        return tell(context, &planned, &wish);
    }
    let SetUp { stanza, steps_done } = stead_pgbackrest::setup(record, &wish, &|line| context.say(line)).await.map_err(failed)?;
    let info = stanza.info().await.map_err(failed)?;
    note_newest(context, &place, info.good().next_back()).await;
    if steps_done == 0 {
        context.print("Everything is set up; nothing was changed.\n")?;
        return Ok(ExitCode::Success);
    }
    context.print(&format!(
        "Set up: backups and archive are in {}.\n\nWhat to do next:\n\
         1. Let it run by itself, such as from cron: `stead backup --type full` every week, `stead backup --type diff` every day.\n\
         2. Watch it: `stead backup check` ends with 0 while everything is whole.\n\
         3. Prove it from time to time: `stead backup verify`.\n",
        stanza.repo().display()
    ))?;
    Ok(ExitCode::Success)
}

fn tell(context: &Context, planned: &Planned, wish: &Wish) -> Outcome {
    if planned.steps.is_empty() {
        context.print("Everything is set up; nothing would be changed.\n")?;
        return Ok(ExitCode::Success);
    }
    let mut text = "This would be done:\n".to_owned();
    for step in &planned.steps {
        text.push_str(&format!("- {step}\n"));
        match step {
            Step::Write { .. } => {
                text.push_str(&format!("  in {}:\n", wish.name.file.display()));
                planned.configuration.lines().for_each(|line| text.push_str(&format!("    {line}\n")));
            }
            Step::Restart { .. } if !wish.restart => text.push_str("  with --restart; without it, only up to here\n"),
            _ => {}
        }
    }
    context.print(&text)?;
    Ok(ExitCode::Changed)
}

pub(super) async fn check(context: &Context, args: &BackupCheckArgs) -> Outcome {
    let limits = CheckLimits { patience: args.timeout.to_duration(), age_max: args.max_age.to_duration() };
    check_with(context, &name(&args.stanza), limits).await
}

async fn check_with(context: &Context, name: &StanzaName, limits: CheckLimits) -> Outcome {
    let stanza = Stanza::get(name).map_err(failed)?;
    let seen = stead_pgbackrest::check(&stanza, limits).await.map_err(failed)?;
    let place = Place::of(&context.settings)?;
    if place.is_shared() {
        let info = stanza.info().await.map_err(failed)?;
        note_newest(context, &place, info.good().next_back()).await;
    }
    print_seen(context, &seen)
}

pub(super) async fn verify(context: &Context, stanza: &Stanza, place: &Place) -> Outcome {
    let verified = stead_pgbackrest::verify(stanza, address(place)?, &|line| context.say(line)).await;
    let (newest, seen) = verified.map_err(failed)?;
    note_newest(context, place, Some(&newest)).await;
    let whole = seen.iter().all(|seen| seen.whole);
    let news = if whole { BackupNews::Whole(Timestamp::now()) } else { BackupNews::Damaged };
    remember(context, place, BackupWay::Pgbackrest, news).await;
    print_seen(context, &seen)
}

/// Prints what was seen; the exit code says whether all of it is whole.
fn print_seen(context: &Context, seen: &[Seen]) -> Outcome {
    let whole = seen.iter().all(|seen| seen.whole);
    let text = match context.settings.output() {
        format @ (Format::Json | Format::Yaml) => {
            let checks: Vec<_> =
                seen.iter().map(|seen| json!({"check": seen.name, "whole": seen.whole, "says": seen.says})).collect();
            let value = json!({"whole": whole, "checks": checks});
            if format == Format::Json { output::json(&value)? } else { output::yaml(&value)? }
        }
        Format::Name => format!("{}\n", if whole { "whole" } else { "not whole" }),
        Format::Table | Format::Wide => {
            let word = |whole: bool| if whole { "ok" } else { "BAD" }.to_owned();
            aligned(&[], seen.iter().map(|seen| vec![word(seen.whole), seen.name.to_owned(), seen.says.clone()]).collect())
        }
    };
    context.print(&text)?;
    Ok(if whole { ExitCode::Success } else { ExitCode::Refused })
}

/// What is the newest good backup: also one that pgBackRest has taken by itself.
async fn note_newest(context: &Context, place: &Place, newest: Option<&Backup>) {
    let newest = newest.map(|newest| (newest.ended(), newest.info.size));
    remember(context, place, BackupWay::Pgbackrest, BackupNews::Newest(newest)).await;
}

pub(super) async fn take(context: &Context, stanza: &Stanza, place: &Place, kind: BackupType) -> Outcome {
    let taken = stead_pgbackrest::take(stanza, kind.kind(), &|line| context.say(line)).await.map_err(failed)?;
    note_newest(context, place, Some(&taken)).await;
    let text = match context.settings.output() {
        Format::Json => output::json(&document(&taken))?,
        Format::Yaml => output::yaml(&document(&taken))?,
        Format::Name => format!("{}\n", taken.label),
        Format::Table | Format::Wide => {
            let (size, new) = (human_bytes(taken.info.size), human_bytes(taken.info.repository.delta));
            format!("{}: {}, {size}, of which {new} are new in the repository\n", taken.label, taken.kind)
        }
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

/// Every backup, newest first: for programs, and as the columns `taken, age, type, size, new, whole, backup`.
pub(super) async fn list(stanza: &Stanza, now: Timestamp) -> Result<Vec<(Value, Vec<String>)>, Failure> {
    let info = stanza.info().await.map_err(failed)?;
    let columns = |backup: &Backup| {
        vec![
            backup.ended().to_string(),
            age(backup.ended(), now).to_string(),
            backup.kind.clone(),
            human_bytes(backup.info.size),
            human_bytes(backup.info.repository.delta),
            if backup.is_whole() { "yes" } else { "no: pages with wrong checksums" }.to_owned(),
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
        "begunAt": backup.begun(),
        "bytes": backup.info.size,
        "newBytes": backup.info.repository.delta,
        "firstSegment": backup.archive.start,
        "lastSegment": backup.archive.stop,
        "whole": backup.is_whole(),
    })
}

/// On the database's host, with what pgBackRest has.
pub(super) async fn restore(context: &Context, options: &RestoreOptions, at: Option<Timestamp>) -> Outcome {
    let place = Place::of(&context.settings)?;
    if let Place::Sqlite(path) = &place {
        let message = format!("no backup is named, of which the record {} could be made again", path.display());
        return Err(Failure::user(message)
            .hint("Name one with --from BACKUP, or a folder of them; `stead backup list` shows what there is."));
    }
    let stanza =
        Stanza::get(&name(&options.stanza)).map_err(|error| failed(error).hint("A portable backup is named with --from."))?;
    let say = |line: &str| context.say(line);
    let wanted = Wanted { at, delta: options.delta };
    let restoring = Restoring::prepare(&stanza, address(&place)?, wanted, &say).await.map_err(failed)?;
    if let Some(what) = restoring.question() {
        context.say(what);
        let question = Question {
            text: "Restore?",
            whether: "whether the server may be stopped, and its data replaced",
            nothing: "nothing was restored",
        };
        question.ask(options.yes)?;
    }
    report(context, &restoring.run().await.map_err(failed)?)
}

fn report(context: &Context, restored: &Restored) -> Outcome {
    let Restored { at, had, last, aside } = restored;
    let had = had.map_or_else(String::new, |revision| format!(" (revision {revision})"));
    let mut text = format!("Restored: the record is as it was at {at}{had}, and goes on at revision {last}.\n");
    if let Some((aside, bytes)) = aside {
        text.push_str(&format!(
            "The data that was there ({}) is in {}; remove it when nobody needs it.\n",
            human_bytes(*bytes),
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
    context.print(&text)?;
    Ok(ExitCode::Success)
}
