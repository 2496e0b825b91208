//! Backups of a fleet that is at work, and the fleet made again from one of them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use stead_peers::TempPostgres;

use super::harness::{COORDINATOR, Fleet, file, until};
use super::kubectl::Kubectl;
use crate::stead::Home;

const STATE: [&str; 2] = ["--state-dir", "coordinator"];

/// Types a command about the coordinator's record.
pub(super) fn stead(fleet: &Fleet, words: &[&str]) -> crate::stead::Ended {
    fleet.stead(&[words, &STATE].concat())
}

/// Takes a backup, and gives what it says of itself.
pub(super) fn back_up(fleet: &Fleet, words: &[&str]) -> Value {
    serde_json::from_str(&stead(fleet, &[&["backup", "-o", "json"], words].concat()).ok()).unwrap()
}

pub(super) fn path_of(backup: &Value) -> &str {
    backup["path"].as_str().unwrap()
}

/// Changes in the background, one after the other, until it is let go of.
struct Writing {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writing {
    fn start(fleet: &Fleet) -> Self {
        let (stop, written): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let (home, ending, count) = (Arc::clone(&fleet.home), Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            for number in 0_u64.. {
                if ending.load(Ordering::SeqCst) {
                    return;
                }
                let spec = json!({"selector": {}, "files": [{"path": "/busy", "content": number.to_string()}]});
                let profile =
                    json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": "busy"}, "spec": spec});
                home.write("busy.json", &profile.to_string());
                home.stead(&["apply", "-f", "busy.json"]).ok();
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { stop, written, thread: Some(thread) }
    }

    /// Waits until so much more was written.
    fn wait(&self, more: u64) {
        let until_there = self.written.load(Ordering::SeqCst) + more;
        until("writes", || (self.written.load(Ordering::SeqCst) >= until_there).then_some(()));
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn revision_of(fleet: &Fleet, object: &str) -> String {
    fleet.get(object)["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

/// A watch of profiles from a revision on, as far as it comes.
fn watch_from(fleet: &Fleet, revision: &str) -> String {
    let path = format!("/apis/stead.dev/v1/profiles?watch=true&resourceVersion={revision}&timeoutSeconds=5");
    Kubectl::newest(fleet).text(&["get", "--raw", &path])
}

/// What must be true of a fleet that came back from a backup which knew `kept` and not `lost`.
fn came_back(fleet: &Fleet, old_revision: &str) {
    assert_eq!(fleet.get("profile/kept")["spec"]["files"][0]["content"], "before");
    assert_eq!(fleet.stead(&["get", "profile/lost"]).code, 3, "it is of after the backup");
    let kubectl = Kubectl::newest(fleet);
    kubectl.run(&["get", "profiles", "kept"], &["kept"]);
    let watched = watch_from(fleet, old_revision);
    assert!(watched.contains("410") || watched.contains("Expired"), "an old watch is told to list again: {watched}");
    fleet.apply("new", file("/new", "after"));
    let newest: u64 = revision_of(fleet, "profile/new").parse().unwrap();
    assert!(newest > 1 << 40, "a revision that nobody has seen: {newest}");
}

#[test]
fn a_fleet_is_backed_up_while_it_writes_and_comes_back() {
    let mut fleet = Fleet::with_machines(&["m1"]);
    fleet.apply_and_wait("kept", file("/kept", "before"));
    let writing = Writing::start(&fleet);
    writing.wait(1);
    let first = back_up(&fleet, &[]);
    writing.wait(2);
    let second = back_up(&fleet, &["--keys"]);
    writing.wait(1);
    writing.end();
    assert!(second["revision"].as_u64() > first["revision"].as_u64(), "{first} {second}");

    let listed = stead(&fleet, &["backup", "list"]).ok();
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines.len() == 3 && lines[1].contains(path_of(&second).rsplit('/').next().unwrap()), "{listed}");
    for backup in [&first, &second] {
        let verified = stead(&fleet, &["backup", "verify", path_of(backup)]).ok();
        assert!(verified.contains("can be restored") && verified.contains("verified from fleet sha256:"), "{verified}");
    }
    modes_are_private(&fleet.home.path(path_of(&second)));

    fleet.apply_and_wait("lost", file("/lost", "on the machine"));
    let old_revision = revision_of(&fleet, "profile/lost");
    let busy = stead(&fleet, &["restore", "--from", "coordinator/backups", "--yes"]).fails(2);
    assert!(busy.contains("in use by another coordinator (process"), "{busy}");
    fleet.coordinator.as_mut().unwrap().kill();
    let asked = stead(&fleet, &["restore", "--from", "coordinator/backups"]).fails(2);
    assert!(asked.contains("record.db.before-") && asked.contains("--yes"), "{asked}");
    let restored = stead(&fleet, &["restore", "--from", "coordinator/backups", "--yes"]);
    assert!(restored.stderr.contains(path_of(&second)), "{restored:?}");
    let text = restored.ok();
    assert!(text.contains("stead restore status") && text.contains("record.db.before-"), "{text}");

    fleet.start_coordinator();
    came_back(&fleet, &old_revision);
    // The machine has come back by itself, keeps what it has, and takes what is new.
    fleet.wait("machine/m1", "condition=Ready");
    fleet.apply_and_wait("newer", file("/newer", "after"));
    assert_eq!(fleet.file("m1", "/newer").as_deref(), Some("after"));
    assert_eq!(fleet.file("m1", "/new").as_deref(), Some("after"));
    for kept in ["/kept", "/lost", "/busy"] {
        assert!(fleet.file("m1", kept).is_some(), "{kept}");
    }
}

fn modes_are_private(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(folder).unwrap() {
        let (path, metadata) = (entry.as_ref().unwrap().path(), entry.as_ref().unwrap().metadata().unwrap());
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, expected, "{}", path.display());
        if metadata.is_dir() {
            modes_are_private(&path);
        }
    }
}

fn sessions(server: &TempPostgres) -> String {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stead'";
    let output = server.psql().args(["-Atc", count]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_record_in_postgres_is_backed_up_and_restored_there_and_into_a_file() {
    let server = TempPostgres::start();
    let url = server.url();
    let words = [&COORDINATOR[..], &["--store", &url]].concat();
    let mut fleet = Fleet::found_in(Home::new(), &words);
    fleet.apply("kept", file("/kept", "before"));
    let on = ["--store", &url];
    let writing = Writing::start(&fleet);
    writing.wait(1);
    std::fs::create_dir(fleet.home.path("backups")).unwrap();
    let backup = back_up(&fleet, &[&["--to", "backups"][..], &on].concat());
    writing.wait(1);
    writing.end();
    let scratch = server.database("scratch");
    for _ in ["once", "and again: it was left empty"] {
        let verified = stead(&fleet, &["backup", "verify", "backups", "--into", &scratch]).ok();
        assert!(verified.contains("the same digest there"), "{verified}");
    }
    let refused = stead(&fleet, &["backup", "verify", "backups", "--into", &url]).fails(2);
    assert!(refused.contains("there is a schema stead in"), "{refused}");

    fleet.apply("lost", file("/lost", "after"));
    let old_revision = revision_of(&fleet, "profile/lost");
    let restore = [&["restore", "--from", "backups"][..], &on].concat();
    let busy = stead(&fleet, &[&restore[..], &["--yes"]].concat()).fails(2);
    assert!(busy.contains("stop the coordinators first"), "{busy}");
    fleet.coordinator.as_mut().unwrap().kill();
    until("the coordinator's sessions have ended", || (sessions(&server) == "0").then_some(()));
    let asked = stead(&fleet, &restore).fails(2);
    assert!(asked.contains("will be in the schema stead_before_"), "{asked}");
    let restored = stead(&fleet, &[&restore[..], &["--yes"]].concat()).ok();
    assert!(restored.contains("is now schema stead_before_"), "{restored}");
    fleet.start_coordinator_with(&words);
    came_back(&fleet, &old_revision);
    fleet.coordinator.as_mut().unwrap().kill();

    // The same backup into a file: nothing is there, and nobody is asked.
    let into = ["restore", "--from", path_of(&backup), "--store", "other.db", "-o", "json"];
    let restored: Value = serde_json::from_str(&stead(&fleet, &into).ok()).unwrap();
    assert_eq!((&restored["movedAside"], &restored["backupRevision"]), (&Value::Null, &backup["revision"]));
    fleet.start_coordinator_with(&[&COORDINATOR[..], &["--store", "other.db"]].concat());
    came_back(&fleet, &old_revision);
}

/// On a new machine, with nothing but the backup.
#[test]
fn a_lost_coordinator_comes_back_with_its_keys() {
    let mut fleet = Fleet::with_machines(&["m1"]);
    fleet.apply_and_wait("kept", file("/kept", "before"));
    std::fs::create_dir(fleet.home.path("elsewhere")).unwrap();
    let with = stead(&fleet, &["backup", "--to", "elsewhere", "--keys"]);
    assert!(!with.stderr.contains("not in it"), "{with:?}");
    with.ok();
    fleet.coordinator.as_mut().unwrap().kill();
    std::fs::remove_dir_all(fleet.home.path("coordinator")).unwrap();

    let restored = stead(&fleet, &["restore", "--from", "elsewhere", "--keys"]);
    assert!(restored.stderr.contains("coordinator.key is that of the backup"), "{restored:?}");
    restored.ok();
    modes_are_private(&fleet.home.path("coordinator"));
    fleet.start_coordinator();
    fleet.wait("machine/m1", "condition=Ready");
    fleet.apply_and_wait("new", file("/new", "after"));
    assert_eq!(fleet.file("m1", "/new").as_deref(), Some("after"));
}
