//! Standbys that are promoted in a hurry: by force, by their data directory, as Debian's cluster, and without the newest batches.

use serde_json::Value;
use stead_peers::{DebianCluster, ServerPlace, Shutdown, TempPostgres};

use super::harness::{COORDINATOR, Fleet, file, until};
use super::process::Process;
use super::standby::{both, set_up};
use crate::stead::Home;

/// A role that owns the record, and may promote nothing.
const PLAIN: &str = "CREATE ROLE plain LOGIN; CREATE SCHEMA stead AUTHORIZATION plain";

fn words(url: &str) -> Vec<&str> {
    [&COORDINATOR[..], &["--store", url]].concat()
}

fn content(fleet: &Fleet) -> Value {
    fleet.get("profile/web")["spec"]["files"][0]["content"].clone()
}

/// Somebody promotes the standby although the primary goes on: the coordinator goes over to it, and never comes back, not even when it
/// is started again while the old primary alone is there.
#[test]
fn after_a_promotion_by_force_the_old_primary_is_never_followed_again() {
    let primary = TempPostgres::start();
    let place = ServerPlace::empty();
    let home = Home::new();
    primary.run_sql(PLAIN);
    set_up(&home, &place, &primary.url(), &[]).ok();
    let both = both(&primary, &place).replace("//stead@", "//plain@");
    let mut fleet = Fleet::found_in(home, &words(&both));
    fleet.apply("web", file("/motd", "one"));

    let promote = |words: &[&str]| fleet.stead(&[&["standby", "promote", "--store", &both], words].concat());
    assert!(promote(&[]).fails(4).contains("still takes writes"));
    let refused = promote(&["--force"]).fails(2);
    assert!(refused.contains("GRANT EXECUTE ON FUNCTION pg_promote") && refused.contains("--data-dir"), "{refused}");
    let data_dir = place.data_folder().display().to_string();
    let promoted = promote(&["--force", "--data-dir", &data_dir]);
    assert!(promoted.code == 0 && promoted.stderr.contains("the record begins anew"), "{promoted:?}");
    until("a write", || (fleet.apply_with("web", file("/motd", "two"), &[]).code == 0).then_some(()));
    let two = "SELECT count(*) FROM stead.objects WHERE name = 'web' AND json LIKE '%two%'";
    assert_eq!(place.sql(two), "1", "it is written to the new primary");
    let status = fleet.stead(&["standby", "status", "--store", &both]);
    assert!(status.code == 4 && status.stdout.contains("is an old primary (timeline 1"), "{status:?}");

    fleet.coordinator.as_mut().unwrap().stop();
    place.stop();
    fleet.spawn_coordinator(&words(&both));
    let said = until("it waits", || {
        let log = fleet.log("coordinator");
        log.lines().find(|line| line.contains("waiting for the record's database")).map(str::to_owned)
    });
    for part in ["is an old primary: it is on timeline 1, and the record is on timeline 2", "stead standby setup --replace"] {
        assert!(said.contains(part), "{part:?}: {said}");
    }
    assert!(said.contains("coordinator/record.followed"), "{said}");
    place.start_again();
    assert!(fleet.coordinator.as_mut().unwrap().line("ready ").is_some(), "{}", fleet.log("coordinator"));
    assert_eq!(content(&fleet), "two");
}

/// Debian's own cluster becomes the standby, started as Debian starts it, and is promoted by its data directory.
#[test]
fn a_cluster_of_debians_becomes_a_standby_and_is_promoted() {
    let mut primary = TempPostgres::start();
    let cluster = DebianCluster::create();
    let mut home = Home::new();
    let (variable, folder) = cluster.variable();
    home.set(variable, &folder);
    primary.run_sql(PLAIN);
    let both = format!("{},{}", primary.url(), cluster.folder().display()).replace("//stead@", "//plain@");
    let digest = home.stead(&["store", "digest", "--store", &primary.url().replace("//stead@", "//plain@")]).ok();

    let (url, data_dir) = (primary.url(), cluster.data_folder().display().to_string());
    let setup = ["standby", "setup", "--primary", &url, "--data-dir", &data_dir];
    assert!(home.stead(&setup).fails(4).contains("is not empty"));
    home.stead(&[&setup[..], &["--replace"]].concat()).ok();
    assert_eq!(cluster.status(), "online,recovery");
    let status = home.stead(&["standby", "status", "--store", &both]);
    assert!(status.stdout.contains("1 connected"), "{status:?}");

    primary.stop(Shutdown::Killed);
    let promote = ["standby", "promote", "--store", &both];
    assert!(home.stead(&promote).fails(2).contains("--data-dir"));
    let promoted = home.stead(&[&promote[..], &["--data-dir", &data_dir]].concat());
    assert!(promoted.code == 0 && promoted.stderr.contains("the record begins anew"), "{promoted:?}");
    assert_eq!(cluster.status(), "online");
    let after = home.stead(&["store", "digest", "--store", &both]).ok();
    let objects = |digest: &str| digest.lines().find(|line| line.starts_with("objects")).unwrap().to_owned();
    assert_eq!(objects(&after), objects(&digest));
}

/// The newest batches reached no standby: the record begins anew without them, whoever watches is told, and machines give back what
/// they hold.
#[test]
fn what_a_promoted_standby_lacks_is_given_back_by_machines() {
    let mut primary = TempPostgres::start();
    let place = ServerPlace::empty();
    let home = Home::new();
    set_up(&home, &place, &primary.url(), &[]).ok();
    let both = both(&primary, &place);
    let mut fleet = Fleet::found_in(home, &words(&both));
    for name in ["m1", "m2"] {
        fleet.join(name);
    }
    fleet.apply_and_wait("web", file("/motd", "one"));
    let mut watching = fleet.home.command(env!("CARGO_BIN_EXE_stead"));
    let _watching = Process::spawn(watching.args(["watch", "profiles", "-o", "json"]).stdout(fleet.log_file("watch")));
    until("somebody watches", || fleet.log("watch").contains("one").then_some(()));
    let on_standby = "SELECT count(*) FROM stead.objects WHERE name IN ('web', 'lost') AND json ~ 'one|two|lost'";
    until("the standby has it", || (place.sql(on_standby) == "1").then_some(()));

    primary.pause_senders();
    fleet.apply_and_wait("web", file("/motd", "two"));
    fleet.apply_and_wait("lost", file("/lost", "lost"));
    until("the watcher has it", || fleet.log("watch").contains("/lost").then_some(()));
    primary.stop(Shutdown::Killed);
    assert_eq!(place.sql(on_standby), "1", "the tail is on the old primary alone");
    let promoted = fleet.stead(&["standby", "promote", "--store", &both]);
    assert!(promoted.code == 0 && promoted.stderr.contains("the record begins anew"), "{promoted:?}");

    let report = until("what the machines gave back", || {
        let report: Value = serde_json::from_str(&fleet.stead(&["restore", "status", "-o", "json"]).stdout).ok()?;
        (report["machines"]["givenBack"] == 2).then_some(report)
    });
    assert_eq!(report["toSign"], serde_json::json!([]), "{report:#}");
    assert_eq!(content(&fleet), "two");
    assert_eq!(fleet.get("profile/lost")["spec"]["files"][0]["content"], "lost");
    let log = fleet.stead(&["log"]).ok();
    assert_eq!(log.matches("Profile/web").count(), 2, "{log}");
    // What is signed from now on follows what came back; the watcher goes on, and nothing was taken away meanwhile.
    assert_eq!(fleet.apply("web", file("/motd", "three")), 3);
    fleet.wait_converged("web", 3);
    for name in ["m1", "m2"] {
        assert_eq!(fleet.file(name, "/motd").as_deref(), Some("three"), "{name}");
        assert_eq!(fleet.file(name, "/lost").as_deref(), Some("lost"), "{name}");
    }
    until("the watcher has it, too", || fleet.log("watch").contains("three").then_some(()));
}
