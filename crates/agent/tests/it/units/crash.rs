//! Killed at every step: each operation cut short after every single change of the disk, done again, done twice, undone, undone twice.

use std::os::unix::fs::symlink;

use stead_agent::Place;
use stead_unit::Ending;

use super::bench::{Machine, directory, file, link};

/// More changes of the disk than any operation here makes.
const CHANGES_MAX: usize = 100;

/// Puts the machine in its first state.
type Setup = fn(&Machine);

async fn converged<P: Place>(machine: &Machine, wish: &P) {
    assert_eq!(machine.apply(wish).await.ending, Ending::Converged);
    let again = machine.apply(wish).await;
    assert_eq!((again.ending, again.done), (Ending::Converged, Vec::new()), "done twice");
}

async fn gone<P: Place>(machine: &Machine, wish: &P) {
    assert_eq!(machine.remove(wish).await.ending, Ending::Gone);
    let again = machine.remove(wish).await;
    assert_eq!((again.ending, again.done), (Ending::Gone, Vec::new()), "undone twice");
}

/// Cuts short the doing, at every point, then does it and undoes it; and undoes it right away.
async fn killed_while_doing<P: Place>(setup: Setup, first: Option<&P>, wish: &P) {
    for changes in 0..CHANGES_MAX {
        let mut finished = false;
        for do_it_after in [true, false] {
            let mut machine = Machine::new();
            setup(&machine);
            let original = machine.snapshot();
            if let Some(first) = first {
                converged(&machine, first).await;
            }
            let before = machine.snapshot();
            machine.kill_after(changes);
            let ending = machine.apply(wish).await.ending;
            finished = ending == Ending::Converged;
            assert!(finished || machine.was_killed(), "{changes}: {ending:?}");
            let is_draft = |path: &std::path::Path| path.file_name().unwrap().to_string_lossy().starts_with(".stead-");
            let at_path: Vec<_> = machine.snapshot().into_iter().filter(|(path, _)| !is_draft(path)).collect();
            machine.restart();
            if do_it_after {
                converged(&machine, wish).await;
                let after: Vec<_> = machine.snapshot().into_iter().collect();
                let old: Vec<_> = before.into_iter().collect();
                // An attribute of a directory is the one thing that can't be changed in one step together with another.
                let in_between = P::KIND == "directory" && old.len() == after.len();
                assert!(at_path == old || at_path == after || in_between, "{changes}: half a thing: {at_path:?}");
            }
            gone(&machine, wish).await;
            assert_eq!(machine.snapshot(), original, "{changes}, {do_it_after}");
            assert_eq!(machine.saved_files(), 0, "{changes}, {do_it_after}");
        }
        if finished {
            assert!(changes > 3, "it was cut short at some points");
            return;
        }
    }
    panic!("it never came to its end");
}

/// Cuts short the undoing, at every point, then undoes it; and wishes for it again right away, and undoes that.
async fn killed_while_undoing<P: Place>(setup: Setup, wish: &P) {
    for changes in 0..CHANGES_MAX {
        let mut finished = false;
        for wish_again in [true, false] {
            let mut machine = Machine::new();
            setup(&machine);
            let original = machine.snapshot();
            converged(&machine, wish).await;
            machine.kill_after(changes);
            let ending = machine.remove(wish).await.ending;
            finished = ending == Ending::Gone;
            assert!(finished || machine.was_killed(), "{changes}: {ending:?}");
            machine.restart();
            if wish_again {
                converged(&machine, wish).await;
            }
            gone(&machine, wish).await;
            assert_eq!(machine.snapshot(), original, "{changes}, {wish_again}");
            assert_eq!(machine.saved_files(), 0, "{changes}, {wish_again}");
        }
        if finished {
            assert!(changes > 1, "it was cut short at some points");
            return;
        }
    }
    panic!("it never came to its end");
}

const SETUPS: [Setup; 3] =
    [|_| {}, |machine| machine.write("/thing", "old"), |machine| symlink("nowhere", machine.at("/thing")).unwrap()];

#[tokio::test]
async fn a_file() {
    let wish = file("/thing", "new", 0o4750);
    for setup in SETUPS {
        killed_while_doing(setup, None, &wish).await;
        killed_while_doing(setup, Some(&file("/thing", "earlier", 0o600)), &wish).await;
        killed_while_undoing(setup, &wish).await;
    }
}

#[tokio::test]
async fn a_link() {
    let wish = link("/thing", "new");
    for setup in SETUPS {
        killed_while_doing(setup, None, &wish).await;
        killed_while_doing(setup, Some(&link("/thing", "earlier")), &wish).await;
        killed_while_undoing(setup, &wish).await;
    }
}

#[tokio::test]
async fn a_directory() {
    let wish = directory("/thing", 0o2711);
    let setups: [Setup; 2] = [
        |_| {},
        |machine| {
            std::fs::create_dir(machine.at("/thing")).unwrap();
            machine.write("/thing/inside", "x");
        },
    ];
    for setup in setups {
        killed_while_doing(setup, None, &wish).await;
        killed_while_doing(setup, Some(&directory("/thing", 0o700)), &wish).await;
        killed_while_undoing(setup, &wish).await;
    }
}
