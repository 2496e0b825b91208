//! Restores where it is hard: Debian's clusters, a disk that is lost, tablespaces, data that is overwritten, whoever is killed in the
//! middle, another user than root, and several servers in one URL.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use stead_peers::DebianServer;

use super::pgbackrest::Backed;
use super::process::{self, how_long};
use crate::stead::{Ended, Home};

/// Kills of each command.
const KILLS: u32 = 3;

/// A cluster with backups, in which a mark was one thing at a moment and another one since.
fn marked_twice(home: &Home) -> (Backed, String) {
    let backed = Backed::set_up(home);
    mark(&backed, "one");
    let moment = backed.now();
    mark(&backed, "two");
    (backed, moment)
}

/// Something in the record's database that tells which moment it is of.
fn mark(backed: &Backed, what: &str) {
    backed
        .cluster
        .sql(&format!("CREATE TABLE IF NOT EXISTS mark (what text); DELETE FROM mark; INSERT INTO mark VALUES ('{what}')"));
}

fn marked(backed: &Backed) -> String {
    backed.cluster.sql("SELECT what FROM mark")
}

/// Whether nothing was begun: the server runs on, and no restore is noted.
fn is_untouched(backed: &Backed, started: &str) -> bool {
    backed.cluster.sql("SELECT pg_postmaster_start_time()") == started && !Path::new(&backed.path("data.stead-restore")).exists()
}

fn names_beside(folder: &Path, part: &str) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(part)).collect()
}

/// Runs a statement as the system user of Debian's clusters, over the socket of the port in the URL.
fn over_socket(url: &str, sql: &str) -> String {
    let port = url.rsplit_once(':').unwrap().1.split('/').next().unwrap();
    let mut psql = Command::new("setpriv");
    psql.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups", "psql", "-qAtX", "-p", port, "-c", sql]);
    let output = psql.current_dir("/").output().unwrap();
    assert!(output.status.success(), "{sql}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Made by apt's `postgresql-common`, configured in /etc, stopped and started by `pg_ctlcluster`, and entered with a password.
#[test]
fn a_cluster_of_debian_is_set_up_backed_up_and_restored_also_when_its_disk_is_lost() {
    let (home, cluster) = (Home::new(), DebianServer::start("open sesame"));
    home.write("password", "open sesame\n");
    let (url, config, repo) =
        (cluster.url(), cluster.folder().join("pgbackrest.conf"), cluster.folder().join("repo").display().to_string());
    let config = config.display().to_string();
    let stead = |words: &[&str]| {
        let record = ["--store", &url, "--store-password-file", "password", "--pgbackrest-config", &config];
        // Its socket is not where Debian has it, so that nobody else's is in the way.
        home.stead(&[words, &record].concat())
    };
    home.stead(&["store", "digest", "--store", &url, "--store-password-file", "password"]).ok();
    let nowhere = stead(&["backup", "setup", "--repo", &repo]).fails(2);
    assert!(nowhere.contains("no socket for port") && nowhere.contains("?host=FOLDER"), "{nowhere}");
    // Debian's programs look for a server at the socket that is configured now.
    cluster.control("stop");
    let settings = cluster.config_folder().join("postgresql.conf");
    let text = std::fs::read_to_string(&settings).unwrap();
    let folder = cluster.folder().display().to_string();
    let line = text.lines().find(|line| line.starts_with("unix_socket_directories") && line.contains(&folder)).unwrap();
    std::fs::write(&settings, text.replace(line, "unix_socket_directories = '/var/run/postgresql'")).unwrap();
    cluster.control("start");
    let socket = |sql: &str| over_socket(&url, sql);
    let done = stead(&["backup", "setup", "--repo", &repo, "--restart"]).ok();
    assert!(done.contains("What to do next") && cluster.is_online(), "{done}");
    assert_eq!(socket("SHOW archive_mode"), "on");
    assert_eq!(stead(&["backup", "setup", "--repo", &repo, "--restart"]).ok(), "Everything is set up; nothing was changed.\n");
    let proved = stead(&["backup", "verify"]);
    assert!(proved.code == 0 && proved.stdout.contains("with the digest of the live record"), "{proved:?}");

    socket("CREATE TABLE mark AS SELECT 'one' AS what");
    // A backup that has just ended is of an earlier second then.
    socket("SELECT pg_sleep(1.1)");
    let moment = socket("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
    socket("UPDATE mark SET what = 'two'");
    stead(&["restore", "--at", &moment, "--yes"]).ok();
    assert!(cluster.is_online());
    assert_eq!(socket("SELECT what FROM mark"), "one");

    stead(&["backup", "--type", "full"]).ok();
    stead(&["backup", "check"]).ok();
    let moment = stead(&["backup", "list", "-o", "json"]).ok();
    let moment: serde_json::Value = serde_json::from_str(&moment).unwrap();
    let moment: jiff::Timestamp = moment[0]["takenAt"].as_str().unwrap().parse().unwrap();
    let moment = (moment + jiff::SignedDuration::from_secs(1)).to_string();
    // After that moment, so that the archive has something later.
    socket("SELECT pg_sleep(1); CREATE TABLE later ()");
    stead(&["backup", "check"]).ok();
    cluster.control("stop");
    std::fs::remove_dir_all(cluster.folder().join("data")).unwrap();
    // The configuration is in no backup of the data.
    let etc = cluster.config_folder().join("postgresql.conf");
    let kept = cluster.config_folder().join("kept.conf");
    std::fs::rename(&etc, &kept).unwrap();
    let lost = stead(&["restore", "--at", &moment, "--yes"]).fails(4);
    assert!(lost.contains(&etc.display().to_string()) && lost.contains("no backup has it"), "{lost}");
    assert!(!cluster.folder().join("data").exists() && names_beside(cluster.folder(), "data.stead-restore").is_empty());
    std::fs::rename(&kept, &etc).unwrap();
    let restored = stead(&["restore", "--at", &moment, "--yes"]);
    assert!(restored.code == 0 && restored.stderr.contains("Nothing is in"), "{restored:?}");
    assert!(cluster.is_online());
    assert_eq!(socket("SELECT what FROM mark"), "one");
    assert_eq!(names_beside(cluster.folder(), "data.before").len(), 1, "the one from before the first restore");
}

/// The disk has gone with everything on it, and there is no server to ask.
#[test]
fn a_lost_disk_is_restored_onto_with_no_server_to_ask() {
    let home = Home::new();
    let (backed, moment) = marked_twice(&home);
    backed.check(&home, &[]).ok();
    backed.cluster.pg_ctl(&["stop", "-m", "immediate"]);
    let data = backed.cluster.folder().join("data");
    // A new disk is root's, and has what a file system puts there.
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir_all(data.join("lost+found")).unwrap();
    let late = backed.stead(&home, &["restore", "--at", "2999-01-01", "--yes"]).fails(2);
    assert!(late.contains("the archive has the moments from"), "{late}");
    let restored = backed.stead(&home, &["restore", "--at", &moment, "--yes"]);
    assert!(restored.code == 0 && restored.stderr.contains("Nothing is in"), "{restored:?}");
    assert!(!restored.stdout.contains("The data that was there"), "{restored:?}");
    assert_eq!(marked(&backed), "one");
    assert!(names_beside(backed.cluster.folder(), "data.before").is_empty());
    backed.stead(&home, &["backup", "--type", "full"]).ok();
    let proved = backed.stead(&home, &["backup", "verify"]);
    assert_eq!(proved.code, 0, "{proved:?}");
}

#[test]
fn tablespaces_are_proved_and_overwritten_in_place_and_else_refused_before_anything_is_touched() {
    let home = Home::new();
    let backed = Backed::set_up(&home);
    let folder = backed.cluster.folder().join("space");
    std::fs::create_dir(&folder).unwrap();
    let output = Command::new("chown").arg("postgres:").arg(&folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    backed.cluster.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", folder.display()));
    backed.cluster.sql("CREATE TABLE mark (what text) TABLESPACE space");
    mark(&backed, "one");
    backed.stead(&home, &["backup", "--type", "full"]).ok();
    let proved = backed.stead(&home, &["backup", "verify"]);
    assert_eq!(proved.code, 0, "{proved:?}");
    assert_eq!(marked(&backed), "one");
    let moment = backed.now();
    mark(&backed, "two");

    let started = backed.cluster.sql("SELECT pg_postmaster_start_time()");
    let refused = backed.stead(&home, &["restore", "--at", &moment, "--yes"]).fails(4);
    assert!(refused.contains("tablespaces") && refused.contains("--delta") && refused.contains("Nothing was done"), "{refused}");
    assert!(is_untouched(&backed, &started));

    let stray = backed.cluster.folder().join("data/stray");
    std::fs::write(&stray, "not the server's").unwrap();
    let restored = backed.stead(&home, &["restore", "--at", &moment, "--delta", "--yes"]);
    assert!(restored.code == 0 && restored.stderr.contains("will be overwritten"), "{restored:?}");
    assert_eq!(marked(&backed), "one");
    assert!(!stray.exists(), "what is in no backup goes");
    assert!(names_beside(backed.cluster.folder(), "data.before").is_empty());

    // The disk with the data is lost, and the one with the tablespace is not: nobody knows whose files these are.
    backed.stead(&home, &["backup", "--type", "full"]).ok();
    let moment = backed.now();
    mark(&backed, "three");
    backed.check(&home, &[]).ok();
    backed.cluster.pg_ctl(&["stop", "-m", "immediate"]);
    std::fs::remove_dir_all(backed.cluster.folder().join("data")).unwrap();
    let refused = backed.stead(&home, &["restore", "--at", &moment, "--yes"]).fails(4);
    assert!(refused.contains("space has files in it") && refused.contains("Move what is in it"), "{refused}");
    assert!(!backed.cluster.folder().join("data").exists() && !Path::new(&backed.path("data.stead-restore")).exists());
    std::fs::rename(&folder, backed.cluster.folder().join("old-space")).unwrap();
    backed.stead(&home, &["restore", "--at", &moment, "--yes"]).ok();
    assert_eq!(marked(&backed), "one");
    assert!(std::fs::read_dir(&folder).unwrap().next().is_some(), "the tablespace is where it was");
}

#[test]
fn what_is_no_servers_data_is_not_overwritten() {
    let home = Home::new();
    let (backed, moment) = marked_twice(&home);
    backed.check(&home, &[]).ok();
    backed.cluster.pg_ctl(&["stop", "-m", "fast"]);
    let data = backed.cluster.folder().join("data");
    std::fs::rename(data.join("PG_VERSION"), data.join("PG_VERSION.old")).unwrap();
    let refused = backed.stead(&home, &["restore", "--at", &moment, "--delta", "--yes"]).fails(4);
    assert!(refused.contains("no PG_VERSION") && refused.contains("Without --delta"), "{refused}");
    assert!(data.join("PG_VERSION.old").exists() && names_beside(backed.cluster.folder(), "data.before").is_empty());
    backed.stead(&home, &["restore", "--at", &moment, "--yes"]).ok();
    assert_eq!(marked(&backed), "one");

    // A restore that was given up, and somebody's own server in its place.
    let journal = backed.cluster.folder().join("data.stead-restore");
    let aside = names_beside(backed.cluster.folder(), "data.before").pop().unwrap();
    let text = serde_json::json!({"at": moment, "aside": backed.path(&aside), "fresh": true, "tablespaces": [], "options": "", "restored": false, "incarnation": null});
    std::fs::write(&journal, text.to_string()).unwrap();
    let refused = backed.stead(&home, &["restore", "--yes"]).fails(4);
    assert!(refused.contains("yet a server runs there") && refused.contains("data.stead-restore"), "{refused}");
    assert_eq!(marked(&backed), "one");
}

/// Kills a command of the database's host somewhere within the time that it takes.
fn kill_within(backed: &Backed, home: &Home, words: &[&str], takes: Duration) {
    let mut command = home.command(env!("CARGO_BIN_EXE_stead"));
    command.args(words).args(["--store", &backed.cluster.url(), "--pgbackrest-config", &backed.path("pgbackrest.conf")]);
    process::kill_within(&mut command, takes);
}

#[test]
fn killed_at_any_moment_a_restore_goes_on_and_keeps_what_was_there() {
    let home = Home::new();
    let (backed, moment) = marked_twice(&home);
    let words = ["restore", "--at", &moment, "--yes"];
    let mut aside = 0;
    let takes = how_long(|| drop(backed.stead(&home, &words).ok()));
    for round in 0..KILLS {
        let names = names_beside(backed.cluster.folder(), "data.before");
        assert!(names.len() > aside, "{names:?}");
        aside = names.len();
        // Another course of events, which is to be gone as well; restored with and without what is there.
        mark(&backed, &format!("round {round}"));
        backed.stead(&home, &["backup", "--type", "full"]).ok();
        mark(&backed, &format!("kept {round}"));
        let moment = backed.now();
        mark(&backed, "three");
        let words = ["restore", "--at", &moment, "--yes"];
        kill_within(&backed, &home, &words, takes);
        kill_within(&backed, &home, &words, takes);
        let last = backed.stead(&home, &words);
        assert_eq!(last.code, 0, "{last:#?}");
        assert_eq!(marked(&backed), format!("kept {round}"));
        let left: Vec<String> = names_beside(backed.cluster.folder(), "data.stead-");
        assert!(left.iter().all(|name| name.ends_with("-log") || name.ends_with("-lock")), "{left:?}");
    }
    backed.stead(&home, &["backup", "--type", "full"]).ok();
    let proved = backed.stead(&home, &["backup", "verify"]);
    assert_eq!(proved.code, 0, "{proved:?}");
}

#[test]
fn killed_at_any_moment_a_proof_leaves_the_server_alone_and_the_next_one_clears_up() {
    let home = Home::new();
    let backed = Backed::set_up(&home);
    mark(&backed, "one");
    let started = backed.cluster.sql("SELECT pg_postmaster_start_time()");
    let words = ["backup", "verify"];
    let takes = how_long(|| drop(backed.stead(&home, &words).ok()));
    for _ in 0..KILLS {
        kill_within(&backed, &home, &words, takes);
        assert!(is_untouched(&backed, &started));
        let next = backed.stead(&home, &words);
        assert_eq!(next.code, 0, "{next:#?}");
        assert!(names_beside(backed.cluster.folder(), "data.stead-verify").iter().all(|name| name.ends_with("-lock")));
    }
    assert_eq!(marked(&backed), "one");
}

/// `stead` as another user, in a folder of the server's.
fn stead_as(backed: &Backed, user: &str, words: &[&str]) -> Ended {
    let (url, config) = (backed.cluster.url(), backed.path("pgbackrest.conf"));
    let mut command = Command::new("setpriv");
    let group = if user == "nobody" { "nogroup" } else { user };
    command.args(["--reuid", user, "--regid", group, "--clear-groups", env!("CARGO_BIN_EXE_stead")]).args(words);
    command.args(["--store", &url, "--pgbackrest-config", &config]);
    command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("HOME", backed.cluster.folder());
    Ended::of(command.current_dir(backed.cluster.folder()).stdin(Stdio::null()).output().unwrap())
}

#[test]
fn the_databases_own_user_may_do_all_of_it_and_another_is_told_whom_to_ask() {
    let (home, backed) = (Home::new(), Backed::new());
    home.stead(&["store", "digest", "--store", &backed.cluster.url()]).ok();
    let repo = backed.path("repo");
    let setup = ["backup", "setup", "--repo", &repo, "--superuser", "stead", "--restart"];
    let other = stead_as(&backed, "nobody", &setup).fails(2);
    assert!(other.contains("belongs to the user postgres") && other.contains("Run it as root, or as postgres"), "{other}");
    stead_as(&backed, "postgres", &setup).ok();
    stead_as(&backed, "postgres", &["backup", "--type", "full"]).ok();
    stead_as(&backed, "postgres", &["backup", "check"]).ok();
    stead_as(&backed, "postgres", &["backup", "verify"]).ok();
    mark(&backed, "one");
    let moment = backed.now();
    mark(&backed, "two");
    for words in [
        &["backup"][..],
        &["backup", "list"],
        &["backup", "check"],
        &["backup", "verify"],
        &["restore", "--at", &moment, "--yes"],
    ] {
        let other = stead_as(&backed, "nobody", words).fails(2);
        assert!(
            other.contains("pgbackrest.conf") && other.contains("as root, or as the database's system user"),
            "{words:?}: {other}"
        );
    }
    stead_as(&backed, "postgres", &["restore", "--at", &moment, "--yes"]).ok();
    assert_eq!(marked(&backed), "one");
    // What one of them has made is the other's as well.
    let check = backed.check(&home, &[]);
    assert_eq!(check.code, 0, "{check:?}");
}

#[test]
fn of_several_servers_in_one_url_the_one_is_set_up_that_takes_writes() {
    let (home, backed) = (Home::new(), Backed::new());
    let folder = backed.cluster.folder().display().to_string();
    let gone = backed.path("gone");
    let both = format!("postgres://stead@localhost/stead?host={gone},{folder}");
    home.stead(&["store", "digest", "--store", &both]).ok();
    let (config, repo) = (backed.path("pgbackrest.conf"), backed.path("repo"));
    let flags = ["--store", &both, "--pgbackrest-config", &config];
    let setup = ["backup", "setup", "--repo", &repo, "--superuser", "stead", "--restart"];
    home.stead(&[&setup[..], &flags].concat()).ok();
    home.stead(&[&["backup", "check"][..], &flags].concat()).ok();
    home.stead(&[&["backup", "verify"][..], &flags].concat()).ok();
    mark(&backed, "one");
    let moment = backed.now();
    mark(&backed, "two");
    home.stead(&[&["restore", "--at", &moment, "--yes"][..], &flags].concat()).ok();
    assert_eq!(marked(&backed), "one");
}
