//! Backups with pgBackRest: set up on a server of its own, with the real programs.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use stead_peers::TempCluster;

use super::harness::{COORDINATOR, Fleet, file};
use crate::stead::{Ended, Home};

/// A server, and where its backups are.
pub(super) struct Backed {
    pub(super) cluster: TempCluster,
}

impl Backed {
    pub(super) fn new() -> Self {
        Self { cluster: TempCluster::start() }
    }

    /// Set up, with a record in it.
    pub(super) fn set_up(home: &Home) -> Self {
        let backed = Self::new();
        home.stead(&["store", "digest", "--store", &backed.cluster.url()]).ok();
        backed.setup(home, &["--restart"]).ok();
        backed
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.cluster.folder().join(name).display().to_string()
    }

    pub(super) fn stead(&self, home: &Home, words: &[&str]) -> Ended {
        let (url, config) = (self.cluster.url(), self.path("pgbackrest.conf"));
        home.stead(&[words, &["--store", &url, "--pgbackrest-config", &config]].concat())
    }

    pub(super) fn setup(&self, home: &Home, words: &[&str]) -> Ended {
        let repo = self.path("repo");
        self.stead(home, &[&["backup", "setup", "--repo", &repo, "--superuser", "stead"], words].concat())
    }

    pub(super) fn check(&self, home: &Home, words: &[&str]) -> Ended {
        self.stead(home, &[&["backup", "check"], words].concat())
    }

    /// pgBackRest itself, as an administrator would run it.
    pub(super) fn pgbackrest(&self, words: &[&str]) {
        let config = format!("--config={}", self.path("pgbackrest.conf"));
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups", "pgbackrest", &config, "--stanza=stead"]);
        let output = command.args(words).current_dir("/").output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    /// The first moment of the next second, by the database's clock: a backup that has just ended is of an earlier one then.
    pub(super) fn now(&self) -> String {
        self.cluster.sql("WITH waited AS MATERIALIZED (SELECT pg_sleep_until(date_trunc('second', clock_timestamp()) + interval '1 second')::text AS until) SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM waited WHERE until IS NOT NULL")
    }

    /// A file of the repository whose path has this in it, the largest.
    pub(super) fn in_repo(&self, part: &str) -> PathBuf {
        let (mut waiting, mut found) = (vec![self.cluster.folder().join("repo")], Vec::new());
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    waiting.push(entry.path());
                } else if kind.is_file() && entry.path().to_string_lossy().contains(part) {
                    found.push((entry.metadata().unwrap().len(), entry.path()));
                }
            }
        }
        found.into_iter().max().unwrap_or_else(|| panic!("no {part}")).1
    }
}

pub(super) fn flip(path: &Path) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[!byte[0]], middle).unwrap();
}

#[test]
fn setting_up_says_what_it_does_and_done_again_does_nothing() {
    let (home, backed) = (Home::new(), Backed::new());
    home.stead(&["store", "digest", "--store", &backed.cluster.url()]).ok();
    let none = backed.stead(&home, &["backup", "--physical"]).fails(3);
    assert!(none.contains("not set up here"), "{none}");

    let plan = backed.setup(&home, &["--dry-run"]);
    assert_eq!(plan.code, 7, "{plan:?}");
    for said in
        ["write pgBackRest's configuration", "set archive_mode to 'on', from 'off'", "repo1-path=", "take the first full backup"]
    {
        assert!(plan.stdout.contains(said), "{said}: {}", plan.stdout);
    }
    assert!(!Path::new(&backed.path("pgbackrest.conf")).exists());

    // Somebody else's archive stays.
    backed.cluster.sql("ALTER SYSTEM SET archive_command = 'cp %p /nowhere/%f'");
    let refused = backed.setup(&home, &["--restart"]).fails(4);
    assert!(refused.contains("'cp %p /nowhere/%f'") && refused.contains("--replace"), "{refused}");
    backed.cluster.sql("ALTER SYSTEM RESET archive_command");

    // The server is not restarted unasked.
    let waits = backed.setup(&home, &[]).fails(4);
    assert!(waits.contains("restarted, for archive_mode") && waits.contains("--restart"), "{waits}");
    assert_eq!(backed.cluster.sql("SHOW archive_mode"), "off");
    let done = backed.setup(&home, &["--restart"]).ok();
    assert!(done.contains("What to do next"), "{done}");
    assert_eq!(backed.cluster.sql("SHOW archive_mode"), "on");

    let started = backed.cluster.sql("SELECT pg_postmaster_start_time()");
    let again = backed.setup(&home, &["--restart"]).ok();
    assert_eq!(again, "Everything is set up; nothing was changed.\n");
    assert_eq!(backed.cluster.sql("SELECT pg_postmaster_start_time()"), started);
    let listed = backed.stead(&home, &["backup", "list", "-o", "json"]).ok();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["type"], "full");
    let incremental = backed.stead(&home, &["backup", "--type", "incr"]).ok();
    assert!(incremental.contains(": incr, "), "{incremental}");
}

#[test]
fn a_broken_archive_is_found() {
    let home = Home::new();
    let backed = Backed::set_up(&home);
    let whole = backed.check(&home, &[]).ok();
    assert!(whole.contains("got into the repository") && !whole.contains("BAD"), "{whole}");

    let ours = backed.cluster.sql("SHOW archive_command");
    // As ours in every word but what becomes of the segment.
    backed.cluster.sql(&format!("ALTER SYSTEM SET archive_command = 'false {}'", ours.replace('\'', "''")));
    backed.cluster.sql("SELECT pg_reload_conf()");
    let broken = backed.check(&home, &["--timeout", "2s", "-o", "json"]);
    assert_eq!(broken.code, 4, "{broken:?}");
    let said: serde_json::Value = serde_json::from_str(&broken.stdout).unwrap();
    let archive = said["checks"].as_array().unwrap().iter().find(|check| check["check"] == "archive").unwrap();
    assert!(said["whole"] == false && archive["whole"] == false, "{said:#}");

    backed.cluster.sql("ALTER SYSTEM SET archive_command = 'true'");
    backed.cluster.sql("SELECT pg_reload_conf()");
    let other = backed.check(&home, &[]);
    assert!(other.code == 4 && other.stdout.contains("archive_command is 'true'"), "{other:?}");
}

#[test]
fn a_backup_is_proved_and_damage_is_named() {
    let home = Home::new();
    let backed = Backed::set_up(&home);
    let proved = backed.stead(&home, &["backup", "verify"]);
    assert!(proved.code == 0 && proved.stdout.contains("with the digest of the live record"), "{proved:?}");
    assert!(!backed.cluster.folder().join("data.stead-verify").exists());

    let bundle = backed.in_repo("/bundle/");
    flip(&bundle);
    let damaged = backed.stead(&home, &["backup", "verify"]);
    assert!(damaged.code == 4 && damaged.stdout.contains("invalid checksum"), "{damaged:?}");
    flip(&bundle);
    backed.stead(&home, &["backup", "verify"]).ok();

    // One in the middle of those that are there: each check ends one.
    backed.check(&home, &[]).ok();
    let archived = backed.cluster.sql("SELECT last_archived_wal FROM pg_stat_archiver");
    backed.check(&home, &[]).ok();
    let segment = backed.in_repo(&format!("{archived}-"));
    std::fs::remove_file(segment).unwrap();
    let gap = backed.stead(&home, &["backup", "verify"]);
    assert!(gap.code == 4 && gap.stdout.contains(&format!("missing: {archived}")), "{gap:?}");
    let gap = backed.check(&home, &[]);
    assert!(gap.code == 4 && gap.stdout.contains(&archived), "{gap:?}");
}

#[test]
fn a_record_is_put_back_to_a_moment() {
    let home = Home::new();
    let backed = Backed::set_up(&home);
    let url = backed.cluster.url();
    let mut words = COORDINATOR.to_vec();
    words.extend(["--store", &url]);
    let mut fleet = Fleet::found_in(home, &words);
    fleet.apply("web", file("/motd", "one"));
    let before = backed.cluster.sql("SELECT incarnation FROM stead.meta");
    let moment = backed.now();
    fleet.apply("web", file("/motd", "two"));
    fleet.apply("db", file("/motd", "db"));

    let restore = ["restore", "--at", &moment, "--yes"];
    let busy = backed.stead(&fleet.home, &restore).fails(4);
    assert!(busy.contains("Stop the coordinators first"), "{busy}");
    fleet.coordinator.as_mut().unwrap().stop();
    let early = backed.stead(&fleet.home, &["restore", "--at", "2020-01-01", "--yes"]).fails(2);
    assert!(early.contains("the archive has the moments from"), "{early}");
    let late = backed.stead(&fleet.home, &["restore", "--at", "2999-01-01", "--yes"]).fails(2);
    assert!(late.contains("the archive has the moments from"), "{late}");

    let said = backed.stead(&fleet.home, &restore);
    assert!(said.code == 0 && said.stdout.contains("What to do next"), "{said:?}");
    assert_ne!(backed.cluster.sql("SELECT incarnation FROM stead.meta"), before);
    assert_eq!(backed.cluster.sql("SELECT count(*) FROM stead.meta WHERE restored_revision IS NOT NULL"), "1");
    let beside: Vec<String> = std::fs::read_dir(backed.cluster.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("data."))
        .collect();
    assert!(beside.iter().any(|name| name.starts_with("data.before-")), "{beside:?}");
    assert!(!beside.iter().any(|name| name.contains("restore") || name.contains("private")), "{beside:?}");

    fleet.start_coordinator_with(&words);
    assert_eq!(fleet.get("profile/web")["spec"]["files"][0]["content"], "one");
    assert_eq!(fleet.stead(&["get", "profile", "db"]).code, 3);
    fleet.apply("web", file("/motd", "three"));
    backed.stead(&fleet.home, &["backup", "--type", "full"]).ok();
}
