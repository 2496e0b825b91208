//! A disk that is full for the coordinator: writes say so, reads go on, and it recovers.

use std::path::PathBuf;

use super::harness::{COORDINATOR, Fleet, file, until};
use super::process::Process;

/// The disk: room for the record, and little more.
const DISK: &str = "size=24m";

/// Starts the coordinator on a small disk of its own, in a mount namespace that ends with it. Gives the disk as the others see it.
fn start(fleet: &mut Fleet) -> PathBuf {
    fleet.coordinator.as_mut().unwrap().stop();
    let plain = fleet.coordinator_command(&COORDINATOR);
    let script = format!(
        "cp -a coordinator kept && mount -t tmpfs -o {DISK},mode=0700 stead-test coordinator && cp -a kept/. coordinator && exec \"$@\""
    );
    let mut command = fleet.home.command("unshare");
    command.args(["--mount", "sh", "-ec", &script, "sh"]).arg(plain.get_program()).args(plain.get_args());
    command.env("STEAD_LOG_LEVEL", "info").stderr(fleet.log_file("coordinator"));
    let mut coordinator = Process::spawn(&mut command);
    assert!(coordinator.line("ready ").is_some(), "{}", fleet.log("coordinator"));
    let disk = format!("/proc/{}/root{}", coordinator.id(), fleet.home.arg("coordinator"));
    fleet.coordinator = Some(coordinator);
    disk.into()
}

/// Fills the disk to the last byte.
fn fill(path: &std::path::Path) {
    use std::io::Write as _;
    let mut filler = std::fs::File::create(path).unwrap();
    let block = vec![0; 4096];
    while filler.write_all(&block).is_ok() {}
}

#[test]
fn a_full_disk_refuses_writes_and_keeps_reads_and_recovers() {
    let mut fleet = Fleet::with_machines(&["m1"]);
    fleet.apply_and_wait("web", file("/motd", "before"));
    let disk = start(&mut fleet);
    fleet.apply_and_wait("web", file("/motd", "with room"));

    fill(&disk.join("filler"));
    // Larger than whatever room the log has left in it.
    let content = "x".repeat(900_000);
    let refused = fleet.apply_with("large", file("/large", &content), &[]);
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.stderr.contains("full"), "{refused:?}");
    assert_eq!(fleet.get("profile/web")["spec"]["files"][0]["content"], "with room");
    assert_eq!(fleet.stead(&["get", "profile/large"]).code, 3);
    assert!(fleet.list("machines").len() == 1 && fleet.coordinator.as_mut().unwrap().is_running());

    // What a machine says meanwhile is written when there is room again.
    let blocked = fleet.root_of("m1").join("motd");
    std::fs::remove_file(&blocked).unwrap();
    std::fs::create_dir_all(blocked.join("in the way")).unwrap();
    until("the machine's trouble", || fleet.log("m1").contains("UnitFailed").then_some(()));
    let lost = fleet.log("coordinator").matches("could not be written").count();
    until("the coordinator cannot write it down", || {
        (fleet.log("coordinator").matches("could not be written").count() > lost).then_some(())
    });
    let told = |fleet: &Fleet| fleet.list("events").iter().any(|event| event["reason"] == "UnitFailed");
    assert!(!told(&fleet));
    std::fs::remove_file(disk.join("filler")).unwrap();
    until("the machine's trouble in the record", || told(&fleet).then_some(()));
    std::fs::remove_dir_all(&blocked).unwrap();

    let sequence = fleet.apply("web", file("/motd", "after"));
    fleet.wait_converged("web", sequence);
    assert_eq!(fleet.file("m1", "/motd").as_deref(), Some("after"));
    fleet.apply_and_wait("large", file("/large", &content));
    until("the large file", || fleet.file("m1", "/large").filter(|found| *found == content));
}
