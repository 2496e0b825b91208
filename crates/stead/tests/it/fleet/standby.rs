//! A streaming standby: set up, watched, and promoted when the primary is lost, with coordinators and machines that follow.

use serde_json::Value;
use stead_peers::{ServerPlace, Shutdown, TempPostgres};

use super::harness::{Fleet, file, until};
use crate::stead::{Ended, Home};

/// What a server of the test's own is told by `--set`: a socket in a folder, and no TCP.
fn own_settings(folder: &str) -> [String; 3] {
    [format!("unix_socket_directories={folder}"), "listen_addresses=".to_owned(), "fsync=off".to_owned()]
}

/// Makes a standby in a place, with more words.
pub(super) fn set_up(home: &Home, place: &ServerPlace, primary: &str, words: &[&str]) -> Ended {
    let settings = own_settings(&place.path().display().to_string());
    let data_dir = place.data_folder().display().to_string();
    let mut all = vec!["standby", "setup", "--primary", primary, "--data-dir", &data_dir];
    settings.iter().for_each(|setting| all.extend(["--set", setting]));
    home.stead(&[&all[..], words].concat())
}

/// Both servers in one URL.
pub(super) fn both(primary: &TempPostgres, place: &ServerPlace) -> String {
    format!("{},{}", primary.url(), place.path().display())
}

#[test]
fn a_standby_is_set_up_watched_and_promoted_and_everybody_follows() {
    let mut primary = TempPostgres::start();
    let place = ServerPlace::empty();
    let folder = place.path().display().to_string();
    let data_dir = place.data_folder().display().to_string();
    let home = Home::new();
    let settings = own_settings(&folder);
    let mut setup = vec!["standby", "setup", "--primary"];
    let url = primary.url();
    setup.extend([url.as_str(), "--data-dir", &data_dir, "--write-hba"]);
    settings.iter().for_each(|setting| setup.extend(["--set", setting]));
    let plan = home.stead(&[&setup[..], &["--dry-run"]].concat()).ok();
    assert!(plan.contains("pg_basebackup -R -X stream -S stead_standby"), "{plan}");
    assert!(!place.data_folder().exists(), "a plan does nothing");
    home.stead(&setup).ok();
    let both = format!("postgres://stead@localhost/stead?host={},{folder}", primary.socket_folder().display());
    // Once more does no harm.
    let again = home.stead(&setup);
    assert!(again.code == 0 && again.stderr.contains("is a copy of the primary already"), "{again:?}");

    let status: Value = serde_json::from_str(&home.stead(&["standby", "status", "--store", &both, "-o", "json"]).ok()).unwrap();
    assert_eq!((&status["servers"][0]["role"], &status["servers"][1]["role"]), (&"primary".into(), &"standby".into()));
    assert_eq!(status["servers"][0]["standbys"][0]["state"], "streaming", "{status:#}");

    Fleet::trust_two(&home, ["coordinator", "second"]);
    let words = ["coordinator", "--state-dir", "coordinator", "--store", &both];
    let mut fleet = Fleet::on_root(home, &words);
    let mut other = fleet.start_second(&both);
    for name in ["m1", "m2"] {
        fleet.join(name);
    }
    fleet.apply_and_wait("web", file("/motd", "one"));
    let early = fleet.stead(&["standby", "promote", "--store", &both]);
    assert!(early.code == 4 && early.stderr.contains("still takes writes"), "{early:?}");
    let replayed = |fleet: &Fleet| {
        let status: Value =
            serde_json::from_str(&fleet.stead(&["standby", "status", "--store", &both, "-o", "json"]).stdout).unwrap();
        (status["servers"][0]["standbys"][0]["lagBytes"] == 0).then_some(())
    };
    until("the standby has it all", || replayed(&fleet));

    primary.stop(Shutdown::Killed);
    let lost = fleet.stead(&["standby", "status", "--store", &both]);
    assert!(lost.code == 4 && lost.stdout.contains("no server takes writes"), "{lost:?}");
    let promoted = fleet.stead(&["standby", "promote", "--store", &both]);
    assert!(promoted.code == 0 && promoted.stderr.contains("the record begins anew"), "{promoted:?}");
    until("the coordinators write again", || (fleet.apply_with("web", file("/motd", "two"), &[]).code == 0).then_some(()));
    for name in ["m1", "m2"] {
        until("a machine converges", || (fleet.file(name, "/motd").as_deref() == Some("two")).then_some(()));
    }
    assert!(other.stop().success());
}

/// Who switches over on purpose loses nothing, and the record goes on as it is; the old primary's place is taken by a standby.
#[test]
fn a_switch_over_loses_nothing_and_the_old_primary_is_rebuilt() {
    let primary = TempPostgres::start();
    let (place, rebuilt) = (ServerPlace::empty(), ServerPlace::empty());
    let home = Home::new();
    let socket = |folder: &std::path::Path| format!("postgres://stead@localhost/stead?host={}", folder.display());
    set_up(&home, &place, &primary.url(), &["--synchronous"]).ok();
    let both = both(&primary, &place);
    let digest = home.stead(&["store", "digest", "--store", &both]).ok();
    let status = home.stead(&["standby", "status", "--store", &both]).ok();
    assert!(status.contains("sync"), "{status}");

    let old = primary.data_folder().display().to_string();
    let switch_over =
        |data_dir: &str| home.stead(&["standby", "promote", "--store", &both, "--switchover", "--primary-data-dir", data_dir]);
    // A standby that does not get what is written now would not get the rest either: the primary goes on.
    primary.pause_senders();
    let refused = switch_over(&old).fails(4);
    assert!(refused.contains("has not caught up") && refused.contains("Nothing was stopped"), "{refused}");
    primary.resume_senders();
    let refused = switch_over(&place.data_folder().display().to_string()).fails(4);
    assert!(refused.contains("is not where") && refused.contains("nothing was stopped"), "{refused}");
    primary.run_sql("CREATE TABLE goes_on (number INT)");

    let switched = switch_over(&old);
    assert!(switched.code == 0 && switched.stderr.contains("Nothing was lost"), "{switched:?}");
    assert_eq!(home.stead(&["store", "digest", "--store", &both]).ok(), digest, "it is the same record");
    assert_eq!(place.sql("SELECT count(*) FROM goes_on"), "0");

    std::fs::create_dir(rebuilt.data_folder()).unwrap();
    std::fs::write(rebuilt.data_folder().join("theirs"), "something").unwrap();
    let new = socket(place.path());
    let refused = set_up(&home, &rebuilt, &new, &[]).fails(4);
    assert!(refused.contains("is not empty"), "{refused}");
    set_up(&home, &rebuilt, &new, &["--replace"]).ok();
    let status = home.stead(&["standby", "status", "--store", &format!("{new},{}", rebuilt.path().display())]);
    assert_eq!(status.code, 0, "{status:?}");

    // One that receives nothing is not switched to either.
    rebuilt.sql("ALTER SYSTEM SET primary_conninfo = ''");
    rebuilt.sql("SELECT pg_reload_conf()");
    until("it receives nothing", || (rebuilt.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0").then_some(()));
    let data_dir = place.data_folder().display().to_string();
    let words = ["standby", "promote", "--switchover", "--primary-data-dir", &data_dir, "--store"];
    let refused = home.stead(&[&words[..], &[&format!("{new},{}", rebuilt.path().display())]].concat()).fails(4);
    assert!(refused.contains("receives nothing from"), "{refused}");
    assert_eq!(place.sql("SELECT pg_is_in_recovery()"), "f", "the primary goes on");
}
