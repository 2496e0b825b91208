//! Backups that are not what they were, or not what was meant; folders without room; and whoever is killed in the middle.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use stead_model::{Digest, canonical};

use super::backups::{back_up, path_of, stead};
use super::harness::{Fleet, file};
use super::process::{self, how_long};
use crate::stead::Home;

/// Bytes that are flipped in the record's file, beside its first and last.
const FLIPS: usize = 12;
/// Kills of each command.
const KILLS: u32 = 12;

fn random_below(limit: u64) -> u64 {
    getrandom::u64().unwrap() % limit
}

fn flip(path: &Path, place: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[usize::try_from(place).unwrap()] ^= 1 << random_below(8);
    std::fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// What is done to a backup, and what is said of it.
type Damage<'a> = (Box<dyn Fn(&Path) + 'a>, &'a str);

#[test]
fn whatever_is_done_to_a_backup_is_found_and_named_and_nothing_is_restored_from_it() {
    let mut fleet = Fleet::found();
    fleet.apply("web", file("/motd", "one"));
    let backup = back_up(&fleet, &["--keys"]);
    fleet.coordinator.as_mut().unwrap().stop();
    let record = fleet.home.path(path_of(&backup)).join("record.db");
    let bytes = record.metadata().unwrap().len();
    let revision = format!("\"revision\": {}", backup["revision"]);
    let mut damages: Vec<Damage<'_>> = vec![
        (Box::new(|backup| std::fs::remove_file(backup.join("record.db")).unwrap()), "record.db is missing"),
        (Box::new(|backup| std::fs::remove_file(backup.join("backup.json")).unwrap()), "backup.json is missing"),
        (Box::new(|backup| std::fs::remove_file(backup.join("keys/join.pass")).unwrap()), "keys/join.pass is missing"),
        (Box::new(|backup| cut(&backup.join("record.db"))), "record.db has"),
        (Box::new(|backup| cut(&backup.join("backup.json"))), "backup.json is not what it was"),
        (Box::new(|backup| edit(&backup.join("backup.json"), "\n  ", "\n ")), "backup.json is not what it was"),
        (Box::new(|backup| std::fs::write(backup.join("record.db"), b"").unwrap()), "record.db has 0 bytes"),
        (Box::new(|backup| flip(&backup.join("keys/coordinator.key"), 100)), "keys/coordinator.key is not what it was"),
        (Box::new(|backup| edit(&backup.join("backup.json"), &revision, "\"revision\": 9")), "backup.json is not what it was"),
        (Box::new(|backup| edit(&backup.join("backup.json"), "backup/v1", "backup/v9")), "backup.json is of another form"),
    ];
    let places = [0, bytes - 1].into_iter().chain((0..FLIPS).map(|_| random_below(bytes)));
    for place in places {
        damages.push((Box::new(move |backup| flip(&backup.join("record.db"), place)), "record.db is not what it was"));
    }
    for (number, (damage, said)) in damages.iter().enumerate() {
        let folder = format!("damaged/{number}/stead-backup-x");
        std::fs::create_dir_all(fleet.home.path(&folder).parent().unwrap()).unwrap();
        fleet.home.run("cp", &["-a", path_of(&backup), &folder]);
        damage(&fleet.home.path(&folder));
        let found = stead(&fleet, &["backup", "verify", &folder]).fails(4);
        assert!(found.contains(said), "{number}: {said:?} is not in {found}");
        let refused = stead(&fleet, &["restore", "--from", &folder, "--yes"]).fails(4);
        assert!(refused.contains(said), "{number}: {said:?} is not in {refused}");
    }
    let names: Vec<String> = names(&fleet.home.path("coordinator"));
    assert!(names.iter().all(|name| !name.contains("restoring") && !name.contains("before")), "{names:?}");
    let listed = stead(&fleet, &["backup", "list", "damaged/0"]).ok();
    assert!(listed.contains("no: record.db is missing"), "{listed}");
    let passed_over = stead(&fleet, &["restore", "--from", "damaged/0", "--yes"]).fails(3);
    assert!(passed_over.contains("is passed over") && passed_over.contains("no whole backup"), "{passed_over}");
    stead(&fleet, &["backup", "verify"]).ok();
    fleet.start_coordinator();
    assert_eq!(fleet.get("profile/web")["spec"]["files"][0]["content"], "one");
}

/// Changes the record of a copy of a backup, and makes the manifest fit it again, as far as it can be known without Stead.
fn forge(fleet: &Fleet, backup: &Value, name: &str, sql: &str, edit: impl FnOnce(&mut Value)) -> String {
    let folder = format!("forged/stead-backup-{name}");
    std::fs::create_dir_all(fleet.home.path("forged")).unwrap();
    fleet.home.run("cp", &["-a", path_of(backup), &folder]);
    let path = fleet.home.path(&folder);
    fleet.home.run("sqlite3", &[path.join("record.db").to_str().unwrap(), sql]);
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(path.join("backup.json")).unwrap()).unwrap();
    let bytes = std::fs::read(path.join("record.db")).unwrap();
    manifest["files"][0]["bytes"] = bytes.len().into();
    manifest["files"][0]["sha256"] = Digest::of(&bytes).to_string().into();
    edit(&mut manifest);
    manifest.as_object_mut().unwrap().remove("checksum");
    let checksum = Digest::of(&canonical::to_vec(&manifest).unwrap()).to_string();
    manifest["checksum"] = checksum.into();
    std::fs::write(path.join("backup.json"), serde_json::to_string_pretty(&manifest).unwrap() + "\n").unwrap();
    folder
}

#[test]
fn a_record_that_is_not_the_one_that_was_backed_up_is_found_behind_a_manifest_that_fits() {
    let fleet = Fleet::found();
    fleet.apply("web", file("/motd", "one"));
    let backup = back_up(&fleet, &[]);
    let page = "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET rootpage = 3 WHERE name = 'entries_by_object'";
    let index = "PRAGMA writable_schema = 1; DELETE FROM sqlite_schema WHERE name = 'entries_by_object'";
    let cases: [(&str, &str, &str); 5] = [
        ("object", "UPDATE objects SET json = replace(json, 'one', 'two') WHERE name = 'web'", "the table objects has"),
        ("gone", "DELETE FROM entries WHERE name = 'web'", "the table entries has"),
        ("revision", "UPDATE meta SET last_revision = last_revision + 1", "and backup.json says"),
        ("page", page, "malformed"),
        ("index", index, "SQLite finds it damaged"),
    ];
    for (name, sql, said) in cases {
        let folder = forge(&fleet, &backup, name, sql, |_| {});
        let found = stead(&fleet, &["backup", "verify", &folder]).fails(4);
        assert!(found.contains(said), "{name}: {said:?} is not in {found}");
    }
    // Whoever can write the digests, too, cannot sign for the owners.
    let alter = "UPDATE roots SET document = CAST(replace(CAST(document AS TEXT), '\"threshold\":1', '\"threshold\":0') AS BLOB)";
    let digest = |fleet: &Fleet, folder: &str, manifest: &mut Value| {
        let path = format!("{folder}/copy.db");
        fleet.home.run("cp", &[&format!("{folder}/record.db"), &path]);
        let digest: Value =
            serde_json::from_str(&fleet.stead(&["store", "digest", "-o", "json", "--store", &path]).ok()).unwrap();
        manifest["digest"] = digest["digest"].clone();
        for (number, table) in digest["tables"].as_array().unwrap().iter().enumerate() {
            manifest["tables"][number]["sha256"] = format!("sha256:{}", table["sha256"].as_str().unwrap()).into();
        }
    };
    let folder = forge(&fleet, &backup, "root", alter, |manifest| digest(&fleet, "forged/stead-backup-root", manifest));
    let found = stead(&fleet, &["backup", "verify", &folder]).fails(4);
    assert!(found.contains("the trust root"), "{found}");
}

/// Taken by a Stead of before, and by one of after.
#[test]
fn a_backup_of_an_older_schema_is_brought_up_to_date_and_one_of_a_newer_is_refused() {
    let mut fleet = Fleet::found();
    fleet.apply("web", file("/motd", "one"));
    let backup = back_up(&fleet, &[]);
    let older = "DROP INDEX history_by_before; ALTER TABLE meta DROP COLUMN restored_at; ALTER TABLE meta DROP COLUMN restored_revision; \
                 UPDATE schema_version SET version = 2";
    let older = forge(&fleet, &backup, "older", older, |manifest| manifest["schemaVersion"] = 2.into());
    let verified = stead(&fleet, &["backup", "verify", &older]).ok();
    assert!(verified.contains("not compared: the schema has gone on since"), "{verified}");
    let newer = "UPDATE schema_version SET version = 999";
    let newer = forge(&fleet, &backup, "newer", newer, |manifest| manifest["schemaVersion"] = 999.into());
    let refused = stead(&fleet, &["backup", "verify", &newer]).fails(4);
    assert!(refused.contains("run the newer version"), "{refused}");
    fleet.apply("web", file("/motd", "two"));
    fleet.coordinator.as_mut().unwrap().stop();
    stead(&fleet, &["restore", "--from", &older, "--yes"]).ok();
    fleet.start_coordinator();
    assert_eq!(fleet.get("profile/web")["spec"]["files"][0]["content"], "one");
}

/// A backup is no cure for a record that somebody altered; and the ones before stay.
#[test]
fn a_record_whose_trust_root_does_not_verify_is_not_backed_up() {
    let mut fleet = Fleet::found();
    back_up(&fleet, &[]);
    fleet.coordinator.as_mut().unwrap().stop();
    let alter = "UPDATE roots SET document = CAST(replace(CAST(document AS TEXT), '\"version\":1', '\"version\":2') AS BLOB)";
    fleet.home.run("sqlite3", &["coordinator/record.db", alter]);
    let refused = stead(&fleet, &["backup", "--keep", "1"]).fails(4);
    assert!(refused.contains("the trust root does not verify"), "{refused}");
    assert_eq!(names(&fleet.home.path("coordinator/backups")).len(), 2, "the lock, and the one before");
}

#[test]
fn the_newest_before_a_moment_is_taken_and_the_oldest_go() {
    let mut fleet = Fleet::found();
    let mut taken = Vec::new();
    for content in ["one", "two", "three"] {
        fleet.apply("web", file("/motd", content));
        taken.push(back_up(&fleet, &[]));
    }
    fleet.coordinator.as_mut().unwrap().stop();
    let at = |number: usize| taken[number]["takenAt"].as_str().unwrap();
    let none = stead(&fleet, &["restore", "--from", "coordinator/backups", "--at", "2026-01-01"]).fails(3);
    assert!(none.contains("at 2026-01-01T00:00:00Z or before") && none.matches(": taken at").count() == 3, "{none}");
    for (number, content) in [(1, "two"), (0, "one"), (2, "three")] {
        let restored = stead(&fleet, &["restore", "--from", "coordinator/backups", "--at", at(number), "--yes"]);
        assert!(restored.stderr.contains(path_of(&taken[number])) && restored.stderr.contains("the time that you gave"));
        restored.ok();
        fleet.start_coordinator();
        assert_eq!(fleet.get("profile/web")["spec"]["files"][0]["content"], content);
        fleet.coordinator.as_mut().unwrap().stop();
    }
    let aside = names(&fleet.home.path("coordinator")).into_iter().filter(|name| name.starts_with("record.db.before-"));
    assert_eq!(aside.count(), 3, "each has a name of its own, however fast they follow");
    let kept = stead(&fleet, &["backup", "--keep", "2"]);
    assert_eq!(kept.stderr.matches("Removed").count(), 2, "{kept:?}");
    kept.ok();
    let left: Vec<Value> = serde_json::from_str(&stead(&fleet, &["backup", "list", "-o", "json"]).ok()).unwrap();
    let left: Vec<u64> = left.iter().map(|backup| backup["revision"].as_u64().unwrap()).collect();
    assert_eq!(left.len(), 2);
    assert!(left[0] > 1 << 40 && Some(left[1]) == taken[2]["revision"].as_u64(), "{left:?}");
}

#[test]
fn another_fleets_backup_is_refused() {
    let fleet = Fleet::found();
    let backup = back_up(&fleet, &[]);
    let mut other = Fleet::found();
    other.coordinator.as_mut().unwrap().stop();
    let from = fleet.home.arg(path_of(&backup));
    let refused = stead(&other, &["restore", "--from", &from, "--yes"]).fails(4);
    assert!(refused.contains("is of the fleet") && refused.contains("coordinator/fleet"), "{refused}");
    other.start_coordinator();
}

/// A backup into a disk of its own, in a mount namespace that ends with it.
fn onto(fleet: &Fleet, mount: &str) -> String {
    let script = format!(
        "mkdir -p disk && mount -t tmpfs {mount} stead-test disk && {} backup --to disk --state-dir coordinator; code=$?; echo left: $(ls -A disk) >&2; exit $code",
        env!("CARGO_BIN_EXE_stead")
    );
    let output = fleet.home.command("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

#[test]
fn a_folder_that_will_not_do_is_named() {
    let fleet = Fleet::found();
    let missing = stead(&fleet, &["backup", "--to", "not/there"]).fails(2);
    assert!(missing.contains("not/there") && missing.contains("Is its disk mounted?"), "{missing}");
    fleet.home.write("letter", "Dear backup");
    let no_folder = stead(&fleet, &["backup", "--to", "letter"]).fails(2);
    assert!(no_folder.contains("no backup can be put into letter"), "{no_folder}");
    let read_only = onto(&fleet, "-o ro,size=1m");
    assert!(read_only.contains("no backup can be put into disk") && read_only.contains("Read-only"), "{read_only}");
    let full = onto(&fleet, "-o size=32k");
    assert!(full.contains("has no room for this backup"), "{full}");
    assert!(full.ends_with("left: .stead-backup.lock\n"), "{full}");
    let home = Home::new();
    let nothing = home.stead(&["backup", "--state-dir", "nobody", "--to", "."]).fails(2);
    assert!(nothing.contains("nobody/record.db cannot be read") && nothing.contains("--state-dir"), "{nothing}");
    let none = home.stead(&["backup", "list", "nowhere"]).fails(2);
    assert!(none.contains("the folder of backups nowhere cannot be read"), "{none}");
}

fn names(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Kills a command somewhere within the time that it takes.
fn kill_within(fleet: &Fleet, words: &[&str], takes: Duration) {
    let mut command = fleet.home.command(env!("CARGO_BIN_EXE_stead"));
    process::kill_within(command.args(words).args(["--state-dir", "coordinator"]), takes);
}

#[test]
fn killed_at_any_moment_a_backup_is_whole_or_not_there() {
    let fleet = Fleet::found();
    fleet.apply("web", file("/motd", &"x".repeat(200_000)));
    std::fs::create_dir(fleet.home.path("backups")).unwrap();
    let words = ["backup", "--to", "backups"];
    let takes = how_long(|| drop(stead(&fleet, &words).ok()));
    for _ in 0..KILLS {
        kill_within(&fleet, &words, takes);
        let listed: Vec<Value> = serde_json::from_str(&fleet.stead(&["backup", "list", "backups", "-o", "json"]).ok()).unwrap();
        assert!(listed.iter().all(|backup| backup["whole"] == true), "{listed:#?}");
        fleet.stead(&["backup", "verify", "backups"]).ok();
    }
    fleet.apply("web", file("/motd", "one more"));
    stead(&fleet, &words).ok();
    let left = names(&fleet.home.path("backups"));
    assert!(left.iter().all(|name| !name.contains("partial")), "the next one clears up: {left:?}");
}

#[test]
fn killed_at_any_moment_a_restore_leaves_one_record_or_the_other_in_place() {
    let mut fleet = Fleet::found();
    fleet.apply("web", file("/motd", &"x".repeat(200_000)));
    let backup = back_up(&fleet, &[]);
    fleet.apply("web", file("/motd", "later"));
    fleet.coordinator.as_mut().unwrap().kill();
    let kept: PathBuf = fleet.home.path("kept");
    fleet.home.run("cp", &["-a", "coordinator", "kept"]);
    let revision = |fleet: &Fleet| {
        let digest: Value = serde_json::from_str(&stead(fleet, &["store", "digest", "-o", "json"]).ok()).unwrap();
        digest["revision"].as_u64().unwrap()
    };
    let words = ["restore", "--from", path_of(&backup), "--yes"];
    let takes = how_long(|| drop(stead(&fleet, &words).ok()));
    let new = revision(&fleet);
    let put_back = |fleet: &Fleet| {
        std::fs::remove_dir_all(fleet.home.path("coordinator")).unwrap();
        fleet.home.run("cp", &["-a", kept.to_str().unwrap(), "coordinator"]);
    };
    put_back(&fleet);
    let old = revision(&fleet);
    assert!(new > old);
    for _ in 0..KILLS {
        put_back(&fleet);
        kill_within(&fleet, &words, takes);
        let found = revision(&fleet);
        assert!(found == old || found == new, "{found} is neither {old} nor {new}");
        stead(&fleet, &words).ok();
        assert_eq!(revision(&fleet), new);
        let left = names(&fleet.home.path("coordinator"));
        assert!(left.iter().all(|name| !name.contains("restoring")), "{left:?}");
    }
    fleet.start_coordinator();
    assert_eq!(fleet.get("profile/web")["spec"]["files"][0]["content"].as_str().map(str::len), Some(200_000));
}
