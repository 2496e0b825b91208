//! When a coordinator does not start: two on one record, and a record of a later version.

use std::process::{Command, Output};

use super::harness::{COORDINATOR, Fleet, file};

fn refused(mut command: Command) -> String {
    let output: Output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    error
}

/// Another coordinator on the same state directory.
fn another(fleet: &Fleet) -> Command {
    let mut command = fleet.home.command(env!("CARGO_BIN_EXE_stead"));
    let local = "127.0.0.1:0";
    command.args(COORDINATOR).args(["--listen", local, "--listen-machines", local, "--listen-relay", local]);
    command
}

#[test]
fn one_record_has_one_coordinator_and_no_older_one() {
    let mut fleet = Fleet::found();
    let pid = fleet.coordinator.as_ref().unwrap().id();
    let error = refused(another(&fleet));
    assert!(error.contains(&format!("in use by another coordinator (process {pid})")), "{error}");
    // The first one goes on.
    fleet.apply("web", file("/motd", "one"));

    fleet.coordinator.as_mut().unwrap().stop();
    let record = ["coordinator/record.db", "SELECT version FROM schema_version"];
    let version: u64 = fleet.home.run("sqlite3", &record).trim().parse().unwrap();
    fleet.home.run("sqlite3", &["coordinator/record.db", "UPDATE schema_version SET version = 999"]);
    let error = refused(another(&fleet));
    assert!(error.contains("schema version 999") && error.contains("run the newer version"), "{error}");
    // It was not touched: brought back, it is whole.
    let back = format!("UPDATE schema_version SET version = {version}");
    fleet.home.run("sqlite3", &["coordinator/record.db", &back]);
    fleet.start_coordinator();
    assert_eq!(fleet.get("profile/web")["spec"]["files"][0]["content"], "one");
}
