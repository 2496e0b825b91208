//! What file, directory and link do with what they find, and with what people do meanwhile.

use std::os::unix::fs::{PermissionsExt, symlink};

use stead_agent::{FileDesired, Host, HostPath};
use stead_unit::{Direction, Ending, Planned};

use super::bench::{Machine, directory, file, link, path};

fn reason(ending: Ending) -> String {
    match ending {
        Ending::Failed { reason } | Ending::Kept { reason } => reason,
        other => panic!("{other:?} has no reason"),
    }
}

#[tokio::test]
async fn a_drift_by_hand_is_corrected_while_the_wish_stands() {
    let machine = Machine::new();
    machine.write("/motd", "original");
    let wish = file("/motd", "wished", 0o644);
    machine.apply(&wish).await;
    machine.write("/motd", "by hand");
    let corrected = machine.apply(&wish).await;
    assert_eq!((corrected.ending, corrected.done.len()), (Ending::Converged, 1));
    assert_eq!(machine.read("/motd").unwrap(), "wished");
    machine.remove(&wish).await;
    assert_eq!(machine.read("/motd").unwrap(), "original", "what was there before all this, not what drifted");
}

#[tokio::test]
async fn what_a_person_changed_is_kept_told_after_a_restart_too_and_saved_by_the_next_wish() {
    let mut machine = Machine::new();
    machine.write("/motd", "original");
    let wish = file("/motd", "wished", 0o644);
    machine.apply(&wish).await;
    machine.write("/motd", "by hand");
    assert!(reason(machine.remove(&wish).await.ending).contains("changed by hand"));
    machine.restart();
    assert!(reason(machine.remove(&wish).await.ending).contains("changed by hand"));
    assert_eq!(machine.read("/motd").unwrap(), "by hand");

    assert_eq!(machine.apply(&wish).await.ending, Ending::Converged);
    assert_eq!(machine.remove(&wish).await.ending, Ending::Gone);
    assert_eq!(machine.read("/motd").unwrap(), "by hand");
    assert_eq!(machine.saved_files(), 0);
}

#[tokio::test]
async fn a_mode_changed_by_hand_is_a_change_by_hand() {
    let machine = Machine::new();
    let wish = file("/motd", "wished", 0o644);
    machine.apply(&wish).await;
    std::fs::set_permissions(machine.at("/motd"), std::fs::Permissions::from_mode(0o600)).unwrap();
    reason(machine.remove(&wish).await.ending);
    assert!(machine.at("/motd").exists());
}

#[tokio::test]
async fn what_a_person_removed_stays_removed() {
    let machine = Machine::new();
    machine.write("/motd", "original");
    let wish = file("/motd", "wished", 0o644);
    machine.apply(&wish).await;
    std::fs::remove_file(machine.at("/motd")).unwrap();
    assert_eq!(machine.remove(&wish).await.ending, Ending::Gone);
    assert_eq!((machine.read("/motd"), machine.saved_files()), (None, 0));
}

#[tokio::test]
async fn a_directory_with_something_in_it_is_kept() {
    let machine = Machine::new();
    let wish = directory("/srv", 0o755);
    machine.apply(&wish).await;
    machine.write("/srv/theirs", "x");
    assert!(reason(machine.remove(&wish).await.ending).contains("something in it"));
    assert_eq!(machine.read("/srv/theirs").unwrap(), "x");
}

#[tokio::test]
async fn what_is_not_replaced_is_told() {
    let machine = Machine::new();
    std::fs::create_dir(machine.at("/srv")).unwrap();
    machine.write("/file", "x");
    symlink("srv", machine.at("/link")).unwrap();
    let told = [
        reason(machine.apply(&file("/srv", "x", 0o644)).await.ending),
        reason(machine.apply(&link("/srv", "x")).await.ending),
        reason(machine.apply(&directory("/file", 0o755)).await.ending),
        reason(machine.apply(&directory("/link", 0o755)).await.ending),
    ];
    for told in told {
        assert!(told.contains("which is not replaced"), "{told}");
    }
    let told = reason(machine.apply(&file("/no/such/folder", "x", 0o644)).await.ending);
    assert!(told.contains("there is no directory /no/such for /no/such/folder"), "{told}");
    let told = reason(machine.apply(&file("/file/below", "x", 0o644)).await.ending);
    assert!(told.contains("Not a directory"), "{told}");
    assert_eq!(machine.saved_files(), 0, "nothing was done");
}

#[tokio::test]
async fn owners_are_looked_up_in_the_machines_own_tables() {
    let machine = Machine::new();
    std::fs::create_dir(machine.at("/etc")).unwrap();
    let me = rustix::process::geteuid().as_raw();
    let my_group = rustix::process::getegid().as_raw();
    machine.write("/etc/passwd", &format!("root:x:0:0::/:/bin/sh\nweb:x:{me}:1::/:/bin/sh\n"));
    machine.write("/etc/group", &format!("www:x:{my_group}:\n"));
    let wish = |owner: &str, group: &str| FileDesired {
        owner: Some(owner.into()),
        group: Some(group.into()),
        ..file("/motd", "x", 0o644)
    };
    assert_eq!(machine.apply(&wish("web", "www")).await.ending, Ending::Converged);
    let told = reason(machine.apply(&wish("nobody-here", "www")).await.ending);
    assert!(told.contains("there is no user \"nobody-here\" in /etc/passwd"), "{told}");
    let told = reason(machine.apply(&wish("web", "none")).await.ending);
    assert!(told.contains("there is no group \"none\" in /etc/group"), "{told}");
    assert_eq!(machine.remove(&wish("nobody-here", "www")).await.ending, Ending::Gone, "going away needs no owner");
}

#[tokio::test]
async fn a_plan_says_sizes_and_digests_and_never_contents_and_changes_nothing() {
    let machine = Machine::new();
    machine.write("/motd", "the old secret");
    let before = machine.snapshot();
    let unit = machine.unit(file("/motd", "the new secret", 0o640));
    let Planned::Steps(steps) = unit.plan(Direction::Apply).await else { panic!("it can be planned") };
    let words = steps.first().unwrap().words();
    assert!(words.starts_with("write /motd (14 bytes, sha256:"), "{words}");
    assert!(!words.contains("secret"));
    assert_eq!(machine.snapshot(), before);
    assert_eq!(machine.saved_files(), 0);
}

#[tokio::test]
async fn saved_content_that_was_altered_is_not_put_back() {
    let machine = Machine::new();
    machine.write("/motd", "original");
    let wish = file("/motd", "wished", 0o644);
    machine.apply(&wish).await;
    for entry in std::fs::read_dir(machine.folder.path().join("saved")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().unwrap() == "content" {
            std::fs::write(path, "altered!").unwrap();
        }
    }
    let told = reason(machine.remove(&wish).await.ending);
    assert!(told.contains("it is not put back"), "{told}");
    assert_eq!(machine.read("/motd").unwrap(), "wished");
}

#[tokio::test]
async fn a_damaged_record_stops_its_unit_and_says_so() {
    let machine = Machine::new();
    let (good, bad) = (file("/good", "x", 0o644), file("/bad", "x", 0o644));
    machine.apply(&bad).await;
    for entry in std::fs::read_dir(machine.folder.path().join("saved")).unwrap() {
        std::fs::write(entry.unwrap().path(), "{").unwrap();
    }
    let told = reason(machine.remove(&bad).await.ending);
    assert!(told.contains("is damaged"), "{told}");
    assert_eq!(machine.apply(&good).await.ending, Ending::Converged);
    let (found, faults) = machine.workshop.saved.list().unwrap();
    assert_eq!((found.len(), faults.len()), (1, 1));
}

#[tokio::test]
async fn a_file_too_large_to_be_saved_is_not_replaced() {
    let machine = Machine::new();
    let huge = std::fs::File::create(machine.at("/data")).unwrap();
    huge.set_len((1 << 30) + 1).unwrap();
    let told = reason(machine.apply(&file("/data", "x", 0o644)).await.ending);
    assert!(told.contains("a file of 1073741825 bytes"), "{told}");
}

#[test]
fn the_root_of_a_whole_machine_follows_its_links() {
    let machine = Machine::new();
    std::fs::create_dir(machine.at("/real")).unwrap();
    symlink(machine.at("/real"), machine.at("/absolute")).unwrap();
    let through = machine.at("/absolute/thing");
    let host = Host::open(std::path::Path::new("/")).unwrap();
    let at = HostPath::parse(through.to_str().unwrap()).unwrap();
    assert!(host.folder_of(&at).unwrap().is_some());
    assert!(host.folder_of(&path("/no/such/thing")).unwrap().is_none());
}
