//! What an operator is told of archive and backups before he asks: the coordinator's metrics, and `stead status`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::backups::back_up;
use super::harness::{COORDINATOR, Fleet, file, until};
use super::observed::{coordinators_address, get};
use super::pgbackrest::{Backed, flip};
use crate::stead::Home;

/// The values of the metrics whose names begin so.
fn metrics(fleet: &Fleet, begins: &str) -> BTreeMap<String, f64> {
    let text = get(&coordinators_address(fleet), "/metrics").unwrap();
    let lines = text.lines().filter(|line| line.starts_with(begins)).filter_map(|line| line.rsplit_once(' '));
    lines.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

fn metric(fleet: &Fleet, name: &str) -> f64 {
    *metrics(fleet, name).get(name).unwrap_or_else(|| panic!("no {name}"))
}

fn status(fleet: &Fleet) -> Value {
    serde_json::from_str(&fleet.stead(&["status", "-o", "json"]).ok()).unwrap()
}

fn seconds_now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn a_coordinator_tells_that_archiving_fails_and_which_backup_is_the_newest() {
    let mut home = Home::new();
    home.set("STEAD_LISTEN_METRICS", "127.0.0.1:0");
    let backed = Backed::set_up(&home);
    let url = backed.cluster.url();
    let mut words = COORDINATOR.to_vec();
    words.extend(["--store", &url]);
    let fleet = Fleet::found_in(home, &words);
    let is = |name: &str, expected: f64| (metric(&fleet, name) == expected).then_some(());
    until("the archive is seen", || is("stead_store_archive_on", 1.0));
    assert_eq!(metric(&fleet, "stead_store_archive_failing"), 0.0);
    assert!(metric(&fleet, "stead_store_archive_last_time_seconds") > seconds_now() - 86_400.0);
    let taken = metric(&fleet, "stead_backup_taken_time_seconds{way=\"pgbackrest\"}");
    assert!(taken > seconds_now() - 86_400.0 && metric(&fleet, "stead_backup_taken_time_seconds{way=\"portable\"}") == 0.0);
    assert!(metric(&fleet, "stead_backup_taken_bytes{way=\"pgbackrest\"}") > 1e6);

    // A real archive_command that fails.
    let ours = backed.cluster.sql("SHOW archive_command").replace('\'', "''");
    backed.cluster.sql(&format!("ALTER SYSTEM SET archive_command = 'false {ours}'"));
    backed.cluster.sql("SELECT pg_reload_conf()");
    let failures = metric(&fleet, "stead_store_archive_failures_total");
    fleet.apply("web", file("/motd", "one"));
    backed.cluster.sql("SELECT pg_switch_wal()");
    until("archiving fails", || is("stead_store_archive_failing", 1.0));
    until("the failures are counted", || (metric(&fleet, "stead_store_archive_failures_total") > failures).then_some(()));
    assert!(metric(&fleet, "stead_store_archive_lag_bytes") > 4.0 * 1024.0 * 1024.0, "a segment is not archived");
    assert!(metric(&fleet, "stead_store_archive_last_failure_time_seconds") >= taken);
    let shown = fleet.stead(&["status"]).ok();
    assert!(shown.contains("Archive:") && shown.contains("FAILING") && status(&fleet)["archive"]["failing"] == true, "{shown}");
    backed.cluster.sql(&format!("ALTER SYSTEM SET archive_command = '{ours}'"));
    backed.cluster.sql("SELECT pg_reload_conf()");
    until("archiving goes on", || is("stead_store_archive_failing", 0.0));

    // What was found of a backup, whoever looked.
    assert_eq!(metric(&fleet, "stead_backup_verified_time_seconds{way=\"pgbackrest\"}"), 0.0);
    backed.stead(&fleet.home, &["backup", "verify"]).ok();
    let verified = "stead_backup_verified_time_seconds{way=\"pgbackrest\"}";
    until("it was proved", || (metric(&fleet, verified) >= taken).then_some(()));
    flip(&backed.in_repo("/bundle/"));
    assert_eq!(backed.stead(&fleet.home, &["backup", "verify"]).code, 4);
    until("it is damaged", || is("stead_backup_damaged{way=\"pgbackrest\"}", 1.0));
    assert!(metric(&fleet, verified) >= taken);
    backed.stead(&fleet.home, &["backup", "--type", "full"]).ok();
    let newer = "stead_backup_taken_time_seconds{way=\"pgbackrest\"}";
    until("there is a newer one", || (metric(&fleet, newer) > taken).then_some(()));
    // One that pgBackRest has taken without us is told by the next check.
    let told = metric(&fleet, newer);
    backed.pgbackrest(&["--type=full", "backup"]);
    backed.check(&fleet.home, &[]);
    until("there is one of pgBackRest's own", || (metric(&fleet, newer) > told).then_some(()));
    // A portable one of the same record.
    fleet.stead(&["backup", "--portable", "--to", ".", "--store", &url]).ok();
    until("a portable one", || (metric(&fleet, "stead_backup_taken_time_seconds{way=\"portable\"}") >= told).then_some(()));
}

#[test]
fn of_a_record_in_a_file_it_is_told_too() {
    let mut home = Home::new();
    home.set("STEAD_LISTEN_METRICS", "127.0.0.1:0");
    let fleet = Fleet::found_in(home, &COORDINATOR);
    fleet.apply("web", file("/motd", "one"));
    let taken = "stead_backup_taken_time_seconds{way=\"portable\"}";
    assert_eq!((metric(&fleet, taken), metric(&fleet, "stead_store_archive_on")), (0.0, 0.0));
    assert!(!fleet.stead(&["status"]).ok().contains("Backups:"));
    let backup = back_up(&fleet, &[]);
    let noted = metric(&fleet, taken);
    let said: f64 = backup["takenAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second() as f64;
    assert_eq!(noted, said);
    assert_eq!(metric(&fleet, "stead_backup_verified_time_seconds{way=\"portable\"}"), 0.0);
    fleet.stead(&["backup", "verify", "--state-dir", "coordinator"]).ok();
    assert!(metric(&fleet, "stead_backup_verified_time_seconds{way=\"portable\"}") >= noted);
    let shown = fleet.stead(&["status"]).ok();
    assert!(shown.contains("Backups:") && shown.contains("portable") && shown.contains("verified"), "{shown}");
    assert!(status(&fleet)["backups"]["portable"]["bytes"].as_u64() > Some(0));

    let record = fleet.home.path(backup["path"].as_str().unwrap()).join("record.db");
    flip(&record);
    assert_eq!(fleet.stead(&["backup", "verify", "--state-dir", "coordinator"]).code, 4);
    assert_eq!(metric(&fleet, "stead_backup_damaged{way=\"portable\"}"), 1.0);
    flip(&record);
    fleet.stead(&["backup", "verify", "--state-dir", "coordinator"]).ok();
    assert_eq!(metric(&fleet, "stead_backup_damaged{way=\"portable\"}"), 0.0);

    // Somebody else's backup says nothing of this record.
    let other = Fleet::found();
    let foreign = back_up(&other, &[]);
    let foreign = other.home.arg(foreign["path"].as_str().unwrap());
    flip(&std::path::Path::new(&foreign).join("record.db"));
    assert_eq!(fleet.stead(&["backup", "verify", &foreign, "--state-dir", "coordinator"]).code, 4);
    assert_eq!(metric(&fleet, "stead_backup_damaged{way=\"portable\"}"), 0.0);
}
