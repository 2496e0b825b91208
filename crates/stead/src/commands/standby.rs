//! `stead standby`: servers that follow the record's PostgreSQL server, watched and promoted.

mod programs;
mod scram;
mod setup;
mod switchover;

use std::time::Duration;

use serde_json::{Value, json};
use stead_store::{Engine as _, HeldRecord, PostgresEngine, PostgresServers, ServerReport, ServerState};

use self::programs::Programs;
use self::switchover::Switchover;
use super::Context;
use crate::Outcome;
use crate::aligned::aligned;
use crate::cli::{StandbyCommand, StandbyPromoteArgs};
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::output::{self, Format};
use crate::record::Place;

/// A standby that is further behind than this is said to lag: a minute of a busy record.
const LAG_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// A slot without a standby that holds more than this of the log is said to fill the disk.
const HELD_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How long nobody is let write to an old primary after the promotion, in milliseconds: coordinators look twice a second whether
/// another server was promoted.
const HELD_MILLISECONDS: u64 = 2_000;
/// How long a promotion may take, in seconds: the standby replays what it has received first.
const PROMOTION_SECONDS_MAX: u32 = 60;

pub(super) async fn run(context: &Context, command: StandbyCommand) -> Outcome {
    match command {
        StandbyCommand::Setup(args) => setup::run(context, &args).await,
        StandbyCommand::Status => status(context).await,
        StandbyCommand::Promote(args) => promote(context, &args).await,
    }
}

async fn status(context: &Context) -> Outcome {
    let reports = Place::of(&context.settings)?.servers()?.survey().await;
    let warnings = warnings(&reports);
    let text = match context.settings.output() {
        format @ (Format::Json | Format::Yaml) => {
            let servers: Vec<Value> = reports.iter().map(server_value).collect();
            let value = json!({"servers": servers, "healthy": warnings.is_empty(), "warnings": warnings});
            if format == Format::Json { output::json(&value)? } else { output::yaml(&value)? }
        }
        _ => render(&reports, &warnings),
    };
    context.print(&text)?;
    Ok(if warnings.is_empty() { ExitCode::Success } else { ExitCode::Refused })
}

fn server_value(report: &ServerReport) -> Value {
    let state = match &report.state {
        Err(reason) => return json!({"server": report.host, "role": "away", "reason": reason}),
        Ok(state) => state,
    };
    let replicas: Vec<Value> = state
        .replicas
        .iter()
        .map(|replica| {
            json!({"name": replica.name, "address": replica.address, "state": replica.state, "sync": replica.sync,
                   "lagBytes": replica.lag_bytes, "lagSeconds": replica.lag_seconds})
        })
        .collect();
    let slots: Vec<Value> =
        state.slots.iter().map(|slot| json!({"name": slot.name, "active": slot.active, "heldBytes": slot.held_bytes})).collect();
    json!({"server": report.host, "role": role(state), "timeline": state.timeline, "position": state.position,
           "replayed": state.replayed, "receives": state.receives, "seesAll": state.sees_all,
           "synchronousStandbyNames": state.synchronous_names, "standbys": replicas, "slots": slots})
}

const fn role(state: &ServerState) -> &'static str {
    if state.standby { "standby" } else { "primary" }
}

fn render(reports: &[ServerReport], warnings: &[String]) -> String {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let rows = reports.iter().map(|report| match &report.state {
        Err(reason) => vec![report.host.clone(), "away".to_owned(), "-".to_owned(), reason.clone()],
        Ok(state) => {
            let what = match (state.standby, state.receives) {
                (true, true) => "receives".to_owned(),
                (true, false) => "receives nothing".to_owned(),
                (false, _) => format!("{} connected", state.replicas.len()),
            };
            vec![report.host.clone(), role(state).to_owned(), state.timeline.to_string(), what]
        }
    });
    let mut text = aligned(&["server", "role", "timeline", "standbys"], rows.collect());
    let (mut replicas, mut slots) = (Vec::new(), Vec::new());
    for state in reports.iter().filter_map(|report| report.state.as_ref().ok()) {
        replicas.extend(state.replicas.iter().map(|replica| {
            let seconds = replica.lag_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}"));
            let words = [&replica.name, &replica.address, &replica.state, &replica.sync]
                .map(|word| if word.is_empty() { "-".to_owned() } else { word.clone() });
            words.into_iter().chain([number(replica.lag_bytes), seconds]).collect()
        }));
        slots.extend(
            state
                .slots
                .iter()
                .map(|slot| vec![slot.name.clone(), if slot.active { "yes" } else { "no" }.to_owned(), number(slot.held_bytes)]),
        );
    }
    if !replicas.is_empty() {
        text.push_str(&format!("\n{}", aligned(&["standby", "from", "state", "sync", "lag bytes", "lag seconds"], replicas)));
    }
    if !slots.is_empty() {
        text.push_str(&format!("\n{}", aligned(&["slot", "active", "holds bytes"], slots)));
    }
    for warning in warnings {
        text.push_str(&format!("\nWarning: {warning}"));
    }
    if warnings.is_empty() { text } else { text + "\n" }
}

/// What an operator has to look at.
fn warnings(reports: &[ServerReport]) -> Vec<String> {
    let mut warnings = Vec::new();
    let states = || reports.iter().filter_map(|report| Some((report.host.as_str(), report.state.as_ref().ok()?)));
    let primaries: Vec<_> = states().filter(|(_, state)| !state.standby).collect();
    let newest = states().map(|(_, state)| state.timeline).max().unwrap_or_default();
    for report in reports {
        if let Err(reason) = &report.state {
            warnings.push(format!("{} does not answer: {reason}", report.host));
        }
    }
    if primaries.is_empty() {
        warnings.push("no server takes writes; `stead standby promote` makes a standby the primary".to_owned());
    }
    for (host, state) in &primaries {
        if state.timeline < newest || primaries.len() > 1 && primaries.iter().any(|(_, other)| other.timeline > state.timeline) {
            warnings.push(format!(
                "{host} is an old primary (timeline {}, the newest is {newest}); rebuild it with `stead standby setup --replace`",
                state.timeline
            ));
            continue;
        }
        if state.replicas.is_empty() {
            warnings.push(format!("nobody streams from {host}"));
        }
        if !state.sees_all {
            warnings.push(format!("the role may not see how standbys of {host} do; let it: GRANT pg_monitor TO its role"));
        }
        for replica in state.replicas.iter().filter(|replica| replica.lag_bytes.is_some_and(|lag| lag > LAG_BYTES_MAX)) {
            warnings.push(format!("{} is {} bytes behind {host}", replica.name, replica.lag_bytes.unwrap_or_default()));
        }
        for slot in state.slots.iter().filter(|slot| !slot.active) {
            let held = slot.held_bytes.unwrap_or_default();
            let full = if held > HELD_BYTES_MAX { ": the disk fills" } else { "" };
            warnings.push(format!(
                "the slot {} of {host} has no standby and holds {held} bytes of log{full}; bring the standby back, or drop the slot",
                slot.name
            ));
        }
    }
    for (host, _) in states().filter(|(_, state)| state.standby && !state.receives) {
        warnings.push(format!("{host} receives nothing from a primary"));
    }
    warnings
}

async fn promote(context: &Context, args: &StandbyPromoteArgs) -> Outcome {
    let place = Place::of(&context.settings)?;
    let servers = place.servers()?;
    let mut reports = servers.survey().await;
    let number = chosen(&reports, args.standby.as_deref())?;
    let old = settle_primary(context, args, &servers, &reports, number).await?;
    let Some(host) = reports.get_mut(number).map(|report| std::mem::take(&mut report.host)) else {
        return Err(Failure::internal("the standby is gone from the list"));
    };
    context.say(&format!("promoting {host} ..."));
    match &args.data_dir {
        Some(data_dir) => {
            let programs = Programs::find(args.bin_dir.as_deref(), major(&reports), None)?;
            let seconds = PROMOTION_SECONDS_MAX.to_string();
            programs
                .for_owner_of(data_dir)?
                .run("pg_ctl", &["promote", "-w", "-t", &seconds, "-D", &data_dir.to_string_lossy()])?;
        }
        None => match servers.promote(number, PROMOTION_SECONDS_MAX).await {
            Ok(true) => {}
            Ok(false) => {
                return Err(Failure::new(
                    FailureKind::Timeout,
                    format!("{host} does not take writes after {PROMOTION_SECONDS_MAX} s; it goes on trying: see its log"),
                ));
            }
            Err(error) => {
                return Err(Failure::of(FailureKind::Config, error).hint(
                    "The role needs the right: GRANT EXECUTE ON FUNCTION pg_promote TO it; or give --data-dir DIR on the standby's \
                     machine, as root or as PostgreSQL's user.",
                ));
            }
        },
    }
    let engine = engine(&place).await?;
    if matches!(old, OldPrimary::Stopped) {
        context.say("Nothing was lost: the standby had received all that the old primary wrote.");
    } else {
        let anew = async {
            let found = engine.meta().await?;
            engine.begin_anew(&found.incarnation, jiff::Timestamp::now()).await
        };
        let meta = anew.await.map_err(|error| Failure::of(FailureKind::Config, error))?;
        context.say(&format!(
            "Whether the newest batches arrived cannot be proven: the record begins anew at revision {}. Machines take the whole \
             state, and give back what it lacks.",
            meta.last
        ));
    }
    engine.close().await;
    if let OldPrimary::GoesOn(Some(held)) = old {
        tokio::time::sleep(Duration::from_millis(HELD_MILLISECONDS)).await;
        drop(held);
    }
    context.say("Coordinators whose --store names this server follow by themselves.");
    context
        .say("Rebuild the old primary as a standby, on its machine: stead standby setup --replace --primary URL --data-dir DIR");
    context.print(&format!("{host}\n"))?;
    Ok(ExitCode::Success)
}

/// What has become of the primary when the standby is promoted.
enum OldPrimary {
    /// It was stopped in good order, and the standby has its last word.
    Stopped,
    /// It is not seen.
    Away,
    /// It takes writes; those of coordinators are held off.
    GoesOn(Option<HeldRecord>),
}

async fn settle_primary(
    context: &Context,
    args: &StandbyPromoteArgs,
    servers: &PostgresServers,
    reports: &[ServerReport],
    standby: usize,
) -> Result<OldPrimary, Failure> {
    let Some(primary) = primary(reports) else { return Ok(OldPrimary::Away) };
    if args.switchover {
        let data_dir = args.primary_data_dir.clone().ok_or_else(|| Failure::user("--switchover needs --primary-data-dir"))?;
        let programs = Programs::find(args.bin_dir.as_deref(), major(reports), None)?.for_owner_of(&data_dir)?;
        Switchover { context, servers, reports, primary, standby, programs, data_dir }.run().await?;
        return Ok(OldPrimary::Stopped);
    }
    if args.force {
        return Ok(OldPrimary::GoesOn(hold(context, servers, primary).await));
    }
    let host = reports.get(primary).map_or("", |report| &report.host);
    Err(Failure::refused(format!("{host} still takes writes: two primaries would part")).hint(
        "Stop it first; or --switchover --primary-data-dir DIR on its machine stops it in good order; or --force, which loses what it is \
         given from now on.",
    ))
}

/// Keeps coordinators from writing to a primary that goes on, until they have noticed the newer one.
async fn hold(context: &Context, servers: &PostgresServers, primary: usize) -> Option<HeldRecord> {
    match servers.hold(primary).await {
        Ok(held) => Some(held),
        Err(error) => {
            context.say(&format!("Warning: what is written to the old primary until coordinators notice is lost: {error}"));
            None
        }
    }
}

async fn engine(place: &Place) -> Result<PostgresEngine, Failure> {
    let (url, password) = place.postgres()?;
    PostgresEngine::open_offline(url, password).await.map_err(|error| {
        let kind = if error.is_away() { FailureKind::Unreachable } else { FailureKind::Config };
        Failure::of(kind, error)
    })
}

/// The primary; where an old one runs as well, the newer.
fn primary(reports: &[ServerReport]) -> Option<usize> {
    let states = reports.iter().enumerate().filter_map(|(number, report)| Some((number, report.state.as_ref().ok()?)));
    states.filter(|(_, state)| !state.standby).max_by_key(|(_, state)| state.timeline).map(|(number, _)| number)
}

fn major(reports: &[ServerReport]) -> Option<u32> {
    reports.iter().find_map(|report| Some(report.state.as_ref().ok()?.major))
}

/// Which standby is promoted.
fn chosen(reports: &[ServerReport], named: Option<&str>) -> Result<usize, Failure> {
    let standbys = reports.iter().enumerate().filter_map(|(number, report)| {
        let state = report.state.as_ref().ok().filter(|state| state.standby)?;
        named.is_none_or(|named| named == report.host).then_some((number, (state.timeline, state.position)))
    });
    standbys.max_by_key(|(_, position)| *position).map(|(number, _)| number).ok_or_else(|| {
        let said = reports.iter().map(|report| match &report.state {
            Ok(state) => format!("{}: {}", report.host, role(state)),
            Err(reason) => format!("{}: {reason}", report.host),
        });
        Failure::refused(format!("there is no standby to promote ({})", said.collect::<Vec<_>>().join("; ")))
            .hint("Name all servers in --store: postgres://stead@db1,db2/fleet")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(standby: bool, timeline: u32, position: u64) -> ServerState {
        ServerState {
            standby,
            timeline,
            system: 1,
            position,
            replayed: position,
            replayed_seconds_ago: None,
            receives: true,
            sees_all: true,
            synchronous_names: String::new(),
            major: 15,
            replicas: if standby { Vec::new() } else { vec![stead_store::Replica::default()] },
            slots: Vec::new(),
        }
    }

    fn report(host: &str, state: Result<ServerState, &str>) -> ServerReport {
        ServerReport { host: host.to_owned(), state: state.map_err(str::to_owned) }
    }

    #[test]
    fn the_standby_that_received_most_is_promoted_unless_one_is_named() {
        let reports =
            [report("a", Ok(state(false, 1, 9))), report("b", Ok(state(true, 1, 5))), report("c", Ok(state(true, 1, 7)))];
        assert_eq!(chosen(&reports, None).unwrap(), 2);
        assert_eq!(chosen(&reports, Some("b")).unwrap(), 1);
        for (named, reports) in [(Some("a"), &reports[..]), (None, &reports[..1]), (None, &[report("d", Err("gone"))])] {
            assert!(chosen(reports, named).is_err());
        }
    }

    #[test]
    fn what_is_not_well_is_said() {
        let well = [report("a", Ok(state(false, 2, 9))), report("b", Ok(state(true, 2, 9)))];
        assert_eq!(warnings(&well), Vec::<String>::new());
        let lonely = ServerState { replicas: Vec::new(), sees_all: false, ..state(false, 2, 9) };
        let cases = [
            (
                vec![report("a", Err("gone")), report("b", Ok(state(true, 2, 9)))],
                "a does not answer: gone\nno server takes writes",
            ),
            (vec![report("a", Ok(state(false, 1, 9))), report("b", Ok(state(false, 2, 9)))], "a is an old primary (timeline 1"),
            (vec![report("a", Ok(lonely))], "nobody streams from a\nthe role may not see"),
        ];
        for (reports, expected) in cases {
            let said = warnings(&reports);
            for (line, expected) in said.iter().zip(expected.lines()) {
                assert!(line.starts_with(expected), "{said:?}");
            }
            assert!(!said.is_empty());
        }
    }
}
