//! Trouble with disks and owners: what cannot be done fails with its reason, the rest goes on, and nothing is lost.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::fleet::{Machine, Seen, World, file, has_word, profile, root_bytes};

/// Runs a test of this binary again in a mount namespace of its own. False where that is not allowed.
fn in_a_namespace(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    let flags: &[&str] = if root { &["--mount"] } else { &["--mount", "--map-root-user", "--user"] };
    let allowed = Command::new("unshare").args(flags).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("no mount namespaces here: {test} was not run");
        return false;
    }
    let this = std::env::current_exe().unwrap();
    let output =
        Command::new("unshare").args(flags).arg(this).args(["--exact", test, "--ignored", "--nocapture"]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}

fn mount(arguments: &[&str], at: &Path) {
    let status = Command::new("mount").args(arguments).arg(at).status().unwrap();
    assert!(status.success(), "mount {arguments:?}");
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut filler = std::fs::File::create(path).unwrap();
    while filler.write_all(&[b'x'; 4096]).is_ok() {}
}

fn reason(seen: &Seen) -> Option<&str> {
    let found = seen.status.conditions.iter().find(|condition| condition.kind == "Converged")?;
    Some(found.reason.as_str())
}

#[test]
fn a_full_state_directory_holds_a_change_up_and_loses_nothing() {
    in_a_namespace("trouble::inside_a_full_state_directory");
}

#[test]
fn a_read_only_disk_fails_its_own_units() {
    in_a_namespace("trouble::inside_a_read_only_disk");
}

#[tokio::test]
#[ignore = "run by a_full_state_directory_holds_a_change_up_and_loses_nothing, in a mount namespace"]
async fn inside_a_full_state_directory() {
    let machine = Machine::new(40);
    mount(&["-t", "tmpfs", "-o", "size=4m", "tmpfs"], &machine.state_dir());
    let mut world = World::start_with(machine).await;
    world.serve(&file("web-1", "/motd", "small"), 1).await;
    world.acknowledged("Profile/web-1", 1, "Applied").await;
    let files = world.machine.files();

    let filler = world.machine.state_dir().join("filler");
    fill(&filler);
    let large = world.fleet.put(&file("web-1", "/motd", &"large ".repeat(50_000)), 2);
    world.centre.send(vec![large.clone()]).await;
    world.centre.until("the trouble", |seen| reason(seen) == Some("MemoryFails")).await;
    let second = world.fleet.put(&file("web-2", "/second", "second"), 1);
    world.centre.send(vec![second.clone()]).await;
    let vitals = world.centre.seen.status.vitals.clone();
    world.centre.until("a beat later", |seen| seen.status.vitals != vitals).await;
    assert_eq!(world.machine.files(), files, "nothing is carried out before it is remembered");
    let words = |seen: &Seen| {
        has_word(&seen.status, "Profile/web-1", 2, "Applied") || has_word(&seen.status, "Profile/web-2", 1, "Applied")
    };
    assert!(!words(&world.centre.seen), "nothing is acknowledged before it is remembered");

    std::fs::remove_file(&filler).unwrap();
    world
        .centre
        .until("the end of the trouble", |seen| seen.told("MemoryFails", "make room") && seen.told("MemoryWorks", "again"))
        .await;
    world.acknowledged("Profile/web-1", 2, "Applied").await;
    // It asks for what it missed.
    let hello = world.centre.joins(2).await;
    assert!(hello.held.iter().all(|held| held.name != "web-2"), "{hello:?}");
    world.centre.full(vec![root_bytes(&world.fleet.first)], vec![large, second]).await;
    world.acknowledged("Profile/web-2", 1, "Applied").await;
    assert_eq!(world.machine.read("/motd").unwrap().len(), 300_000);
    assert_eq!(reason(&world.centre.seen), Some("AsSigned"));
    let held = world.machine.holds().await.1;
    assert_eq!(held.into_values().collect::<Vec<_>>(), [1, 2, 1]);
    world.stop().await;
}

#[tokio::test]
#[ignore = "run by a_read_only_disk_fails_its_own_units, in a mount namespace"]
async fn inside_a_read_only_disk() {
    let mut world = World::start().await;
    let data = world.machine.at("/data");
    std::fs::create_dir(&data).unwrap();
    mount(&["-t", "tmpfs", "-o", "ro", "tmpfs"], &data);
    world
        .serve(
            &profile(
                "web-1",
                json!({
                    "selector": {},
                    "files": [{"path": "/data/file", "content": "here"}, {"path": "/elsewhere", "content": "here"}],
                    "directories": [{"path": "/data/directory"}]
                }),
            ),
            1,
        )
        .await;
    world.acknowledged("Profile/web-1", 1, "Failed").await;
    let told = |seen: &Seen| {
        seen.told("UnitFailed", "file:/data/file: ")
            && seen.told("UnitFailed", "Read-only file system")
            && seen.told("UnitFailed", "directory:/data/directory: ")
    };
    world.centre.until("its reasons", told).await;
    world.machine.until("the others go on", |machine| machine.read("/elsewhere").as_deref() == Some("here")).await;
    mount(&["-o", "remount,rw"], &data);
    world.acknowledged("Profile/web-1", 1, "Applied").await;
    assert_eq!(world.machine.read("/data/file").as_deref(), Some("here"));
    world.centre.until("its recovery", |seen| seen.told("UnitRecovered", "/data/file")).await;
    world.stop().await;
}

#[tokio::test]
async fn a_missing_owner_fails_its_own_unit() {
    let mut world = World::start().await;
    let spec = |owner: &str| {
        json!({"selector": {}, "files": [
            {"path": "/owned", "content": "here", "owner": owner}, {"path": "/elsewhere", "content": "here"}
        ]})
    };
    world.serve(&profile("web-1", spec("nobody-of-that-name")), 1).await;
    world.acknowledged("Profile/web-1", 1, "Failed").await;
    world.centre.until("its reason", |seen| seen.told("UnitFailed", "nobody-of-that-name")).await;
    world.machine.until("the others go on", |machine| machine.read("/elsewhere").as_deref() == Some("here")).await;
    assert_eq!(world.machine.read("/owned"), None);
    let own = rustix::process::geteuid().as_raw().to_string();
    world.serve(&profile("web-1", spec(&own)), 2).await;
    world.acknowledged("Profile/web-1", 2, "Applied").await;
    assert_eq!(world.machine.read("/owned").as_deref(), Some("here"));
    world.stop().await;
}
