//! Ways out of the root, all of which are closed.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use stead_unit::Ending;

use super::bench::{Machine, directory, file, link};

fn outside(machine: &Machine) -> std::path::PathBuf {
    let outside = machine.folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "theirs").unwrap();
    outside
}

fn untouched(machine: &Machine) -> bool {
    let outside = machine.folder.path().join("outside");
    std::fs::read_to_string(outside.join("secret")).unwrap() == "theirs" && std::fs::read_dir(outside).unwrap().count() == 1
}

fn is_refused(ending: &Ending) -> bool {
    matches!(ending, Ending::Failed { reason } if reason.contains("leads outside this machine's root"))
}

#[tokio::test]
async fn links_that_lead_out_are_refused_on_the_way() {
    let machine = Machine::new();
    let outside = outside(&machine);
    std::fs::create_dir(machine.at("/inside")).unwrap();
    symlink(&outside, machine.at("/absolute")).unwrap();
    symlink("../outside", machine.at("/relative")).unwrap();
    symlink("..", machine.at("/parent")).unwrap();
    symlink("absolute", machine.at("/twice")).unwrap();
    symlink("../../outside", machine.at("/inside/deep")).unwrap();
    symlink("/proc/self/root", machine.at("/magic")).unwrap();
    let ways = [
        "/absolute/new",
        "/absolute/secret",
        "/relative/secret",
        "/parent/outside/secret",
        "/twice/secret",
        "/inside/deep/secret",
        "/magic/tmp/secret",
    ];
    for way in ways {
        for ending in [
            machine.apply(&file(way, "ours", 0o644)).await.ending,
            machine.apply(&directory(way, 0o755)).await.ending,
            machine.apply(&link(way, "x")).await.ending,
            machine.remove(&file(way, "ours", 0o644)).await.ending,
        ] {
            assert!(is_refused(&ending), "{way}: {ending:?}");
        }
    }
    assert!(untouched(&machine));
}

#[tokio::test]
async fn links_that_stay_inside_are_followed_on_the_way() {
    let machine = Machine::new();
    std::fs::create_dir_all(machine.at("/var/real")).unwrap();
    symlink("../var/real", machine.at("/var/run")).unwrap();
    assert_eq!(machine.apply(&file("/var/run/thing", "ours", 0o644)).await.ending, Ending::Converged);
    assert_eq!(machine.read("/var/real/thing").unwrap(), "ours");
}

#[tokio::test]
async fn a_link_at_the_path_itself_is_replaced_and_put_back_and_never_followed() {
    let machine = Machine::new();
    let outside = outside(&machine);
    symlink(outside.join("secret"), machine.at("/motd")).unwrap();
    let wish = file("/motd", "ours", 0o644);
    assert_eq!(machine.apply(&wish).await.ending, Ending::Converged);
    assert!(!machine.at("/motd").is_symlink());
    assert_eq!(machine.remove(&wish).await.ending, Ending::Gone);
    assert_eq!(std::fs::read_link(machine.at("/motd")).unwrap(), outside.join("secret"));
    assert!(untouched(&machine));
}

#[tokio::test]
async fn a_link_swapped_in_later_is_refused_too() {
    let machine = Machine::new();
    let outside = outside(&machine);
    std::fs::create_dir(machine.at("/srv")).unwrap();
    let wish = file("/srv/secret", "ours", 0o644);
    assert_eq!(machine.apply(&wish).await.ending, Ending::Converged);
    std::fs::rename(machine.at("/srv"), machine.at("/old")).unwrap();
    symlink(&outside, machine.at("/srv")).unwrap();
    assert!(is_refused(&machine.apply(&wish).await.ending));
    assert!(is_refused(&machine.remove(&wish).await.ending));
    assert!(untouched(&machine));
}

#[tokio::test]
async fn links_swapped_in_all_the_time_never_let_anything_out() {
    let machine = Machine::new();
    let outside = outside(&machine);
    std::fs::create_dir(machine.at("/srv")).unwrap();
    symlink(&outside, machine.at("/swap")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = {
        let (stop, srv, swap) = (Arc::clone(&stop), machine.at("/srv"), machine.at("/swap"));
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                renameat_with(CWD, &srv, CWD, &swap, RenameFlags::EXCHANGE).unwrap();
            }
        })
    };
    let mut endings = Vec::new();
    for round in 0..300 {
        let wish = file("/srv/secret", &format!("ours {round}"), 0o644);
        endings.push(machine.apply(&wish).await.ending);
        endings.push(machine.remove(&wish).await.ending);
    }
    stop.store(true, Ordering::SeqCst);
    swapper.join().unwrap();
    assert!(untouched(&machine));
    assert!(endings.iter().any(is_refused), "the link was met");
}
