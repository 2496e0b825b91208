//! Disks that are full or read-only: real ones, in a mount namespace of their own.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use stead_agent::{Host, PlaceUnit, Saved, Workshop};
use stead_unit::{AnyUnit, Ending, Goal, Handle, Report, Settings, UnitState, Wish, WishSet, converge};
use tokio_util::sync::CancellationToken;

use super::bench::{Machine, file};

fn wish(unit: Arc<dyn AnyUnit>) -> Wish {
    Wish { unit, goal: Goal::Present, by: Vec::new(), after: Vec::new() }
}

fn start(units: Vec<Arc<dyn AnyUnit>>) -> (Handle, WishSet) {
    let (handle, driver) = converge(&Settings { observe_every: Duration::from_secs(1), jitter_seed: 1 });
    tokio::spawn(driver.run(CancellationToken::new()));
    (handle, WishSet::new(units.into_iter().map(wish)).unwrap())
}

fn state<'a>(report: &'a Report, subject: &str) -> Option<&'a UnitState> {
    report.units.iter().find(|(id, _)| id.subject() == subject).map(|(_, unit)| &unit.state)
}

fn failed_with(report: &Report, subject: &str, words: &str) -> bool {
    matches!(state(report, subject), Some(UnitState::Failed { reason, .. }) if reason.contains(words))
}

/// Runs a test of this binary again in a mount namespace of its own, where it may mount. False where that is not allowed.
fn in_a_namespace(test: &str) -> bool {
    let namespace = ["--mount", "--map-root-user", "--user"];
    let flags: &[&str] = if super::bench::is_root() { &["--mount"] } else { &namespace };
    let allowed = Command::new("unshare").args(flags).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return false;
    }
    let this = std::env::current_exe().unwrap();
    let output =
        Command::new("unshare").args(flags).arg(this).args(["--exact", test, "--ignored", "--nocapture"]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}

#[test]
fn a_full_disk_fails_what_does_not_fit_and_nothing_else() {
    if !in_a_namespace("units::disk::inside_a_full_disk") {
        eprintln!("no mount namespaces here: only the disk that is full by injection was tested");
    }
}

#[test]
fn a_read_only_disk_fails_what_is_on_it_and_nothing_else() {
    if !in_a_namespace("units::disk::inside_a_read_only_disk") {
        eprintln!("no mount namespaces here: only the disk that is full by injection was tested");
    }
}

fn mount(arguments: &[&str], at: &Path) {
    let status = Command::new("mount").args(arguments).arg(at).status().unwrap();
    assert!(status.success(), "mount {arguments:?}");
}

#[tokio::test]
#[ignore = "run by a_full_disk_fails_what_does_not_fit_and_nothing_else, in a mount namespace"]
async fn inside_a_full_disk() {
    let machine = Machine::new();
    std::fs::create_dir(machine.at("/data")).unwrap();
    mount(&["-t", "tmpfs", "-o", "size=256k", "tmpfs"], &machine.at("/data"));
    machine.write("/data/large", "what was there");
    let large = "x".repeat(1 << 20);
    let wishes = vec![machine.unit(file("/data/large", &large, 0o644)), machine.unit(file("/data/small", "fits", 0o644))];
    let (handle, wishes) = start(wishes);
    handle.set(wishes).await.unwrap();
    let mut report = handle.report();
    let both = |report: &Report| {
        failed_with(report, "/data/large", "No space left on device")
            && state(report, "/data/small") == Some(&UnitState::Converged)
    };
    report.wait_for(both).await.unwrap();
    assert_eq!(machine.read("/data/large").unwrap(), "what was there");
    assert_eq!(std::fs::read_dir(machine.at("/data")).unwrap().count(), 2, "no draft stays");
    mount(&["-o", "remount,size=8m"], &machine.at("/data"));
    report.wait_for(Report::is_settled).await.unwrap();
    assert_eq!(machine.read("/data/large").unwrap(), large);
    handle.set(WishSet::default()).await.unwrap();
    report.wait_for(|report| report.units.is_empty()).await.unwrap();
    assert_eq!(machine.read("/data/large").unwrap(), "what was there");
}

#[tokio::test]
#[ignore = "run by a_read_only_disk_fails_what_is_on_it_and_nothing_else, in a mount namespace"]
async fn inside_a_read_only_disk() {
    let machine = Machine::new();
    std::fs::create_dir(machine.at("/data")).unwrap();
    mount(&["-t", "tmpfs", "tmpfs"], &machine.at("/data"));
    machine.write("/data/file", "what was there");
    mount(&["-o", "remount,ro"], &machine.at("/data"));
    let (handle, wishes) =
        start(vec![machine.unit(file("/data/file", "ours", 0o644)), machine.unit(file("/elsewhere", "ours", 0o644))]);
    handle.set(wishes).await.unwrap();
    let mut report = handle.report();
    let both = |report: &Report| {
        failed_with(report, "/data/file", "Read-only file system") && state(report, "/elsewhere") == Some(&UnitState::Converged)
    };
    report.wait_for(both).await.unwrap();
    mount(&["-o", "remount,rw"], &machine.at("/data"));
    report.wait_for(Report::is_settled).await.unwrap();
    assert_eq!(machine.read("/data/file").unwrap(), "ours");
}

/// Fails every change of one path as a full disk would.
#[derive(Debug)]
struct Full(&'static str);

impl stead_agent::Gate for Full {
    fn pass(&self, act: &'static str, path: &str) -> std::io::Result<()> {
        let full = act == "write" && path.contains(self.0);
        if full { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_disk_full_by_injection_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("large"), "what was there").unwrap();
    let host = Arc::new(Host::open_with(&root, Arc::new(Full("/large"))).unwrap());
    let saved = Arc::new(Saved::open(&folder.path().join("saved")).unwrap());
    let unit = PlaceUnit::new(file("/large", "ours", 0o644), Arc::new(Workshop { host, saved }));
    let ending = unit.run(stead_unit::Direction::Apply, CancellationToken::new()).await.ending;
    assert!(matches!(ending, Ending::Failed { .. }));
    assert_eq!(std::fs::read_to_string(root.join("large")).unwrap(), "what was there");
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 1, "no draft stays");
    assert_eq!(unit.run(stead_unit::Direction::Remove, CancellationToken::new()).await.ending, Ending::Gone);
}

#[tokio::test]
async fn a_full_state_directory_stops_the_change_before_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("motd"), "what was there").unwrap();
    let host = Arc::new(Host::open(&root).unwrap());
    let saved = Arc::new(Saved::open_with(&folder.path().join("saved"), Arc::new(Full("/saved"))).unwrap());
    let unit = PlaceUnit::new(file("/motd", "ours", 0o644), Arc::new(Workshop { host, saved }));
    let ending = unit.run(stead_unit::Direction::Apply, CancellationToken::new()).await.ending;
    assert!(matches!(&ending, Ending::Failed { reason } if reason.contains("state directory")), "{ending:?}");
    assert_eq!(std::fs::read_to_string(root.join("motd")).unwrap(), "what was there");
}
