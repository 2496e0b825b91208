//! Commands: checked, run, undone, killed.

use std::sync::Arc;
use std::time::Duration;

use stead_agent::{CommandDesired, CommandUnit};
use stead_unit::{AnyUnit, Direction, Ending, Finished, Goal, Settings, Wish, WishSet, converge};
use tokio_util::sync::CancellationToken;

use super::bench::{Machine, path};

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

fn command(check: &str, run: &str) -> CommandDesired {
    CommandDesired {
        name: "web/test".into(),
        check: shell(check),
        run: shell(run),
        undo: None,
        timeout_seconds: 60,
        directory: None,
    }
}

fn unit(machine: &Machine, wish: &CommandDesired) -> Arc<dyn AnyUnit> {
    Arc::new(CommandUnit::new(wish.clone(), Arc::clone(&machine.workshop)))
}

async fn go(machine: &Machine, wish: &CommandDesired, direction: Direction) -> Finished {
    unit(machine, wish).run(direction, CancellationToken::new()).await
}

async fn failure(machine: &Machine, wish: &CommandDesired) -> String {
    match go(machine, wish, Direction::Apply).await.ending {
        Ending::Failed { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_is_run_where_its_check_fails_and_undone_when_it_goes() {
    let mut machine = Machine::new();
    let wish = CommandDesired { undo: Some(shell("rm done")), ..command("test -e done", "echo . >> done") };
    for _ in 0..2 {
        assert_eq!(go(&machine, &wish, Direction::Apply).await.ending, Ending::Converged);
        assert_eq!(machine.read("/done").unwrap(), ".\n", "once");
    }
    machine.restart();
    let (leftovers, faults) = machine.workshop.leftovers(&std::collections::BTreeSet::new()).unwrap();
    assert!(faults.is_empty());
    let leftover = Arc::clone(&leftovers.first().unwrap().unit);
    assert_eq!(leftover.run(Direction::Remove, CancellationToken::new()).await.ending, Ending::Gone);
    assert_eq!((machine.read("/done"), machine.saved_files()), (None, 0));
    assert_eq!(go(&machine, &wish, Direction::Remove).await.done, Vec::new(), "undone once");
}

#[tokio::test]
async fn what_was_never_run_is_not_undone() {
    let machine = Machine::new();
    let wish = CommandDesired { undo: Some(shell("touch undone")), ..command("true", "touch run") };
    assert_eq!(go(&machine, &wish, Direction::Apply).await.ending, Ending::Converged);
    assert_eq!(go(&machine, &wish, Direction::Remove).await.ending, Ending::Gone);
    assert!(machine.snapshot().is_empty());
}

#[tokio::test]
async fn what_failed_half_way_is_undone_and_a_newer_undo_counts() {
    let machine = Machine::new();
    let wish = CommandDesired { undo: Some(shell("rm half")), ..command("test -e whole", "touch half; exit 1") };
    failure(&machine, &wish).await;
    assert_eq!(go(&machine, &wish, Direction::Remove).await.ending, Ending::Gone);
    assert!(machine.snapshot().is_empty());

    let first = CommandDesired { undo: Some(shell("false")), ..command("test -e done", "touch done") };
    go(&machine, &first, Direction::Apply).await;
    let second = CommandDesired { undo: Some(shell("rm done")), ..first };
    assert_eq!(go(&machine, &second, Direction::Apply).await.ending, Ending::Converged);
    assert_eq!(go(&machine, &second, Direction::Remove).await.ending, Ending::Gone);
    assert!(machine.snapshot().is_empty());
}

#[tokio::test]
async fn a_failure_says_how_it_ended_and_what_it_said_last() {
    let machine = Machine::new();
    let cases = [
        ("false", "echo to stdout; echo to stderr >&2; exit 3", vec!["exit status: 3", "to stdout", "to stderr"]),
        ("echo not yet; false", "true", vec!["there is still to do", "The check's last output was: not yet"]),
        ("false", "kill -9 $$", vec!["signal: 9"]),
    ];
    for (check, run, words) in cases {
        let told = failure(&machine, &command(check, run)).await;
        for word in words {
            assert!(told.contains(word), "{told}");
        }
    }
    let missing = CommandDesired { check: vec!["/no/such/program".into()], ..command("", "true") };
    assert!(failure(&machine, &missing).await.contains("could not start /no/such/program"));
    let nowhere = CommandDesired { directory: Some(path("/no/such")), ..command("true", "true") };
    assert!(failure(&machine, &nowhere).await.contains("No such file"));
    let endless = failure(&machine, &command("false", "yes loud | head -c 1000000; exit 1")).await;
    assert!(endless.contains("loud") && endless.len() < 4096, "{}", endless.len());
}

#[tokio::test]
async fn a_wish_with_a_broken_check_can_go_away() {
    let machine = Machine::new();
    let wish = CommandDesired { check: vec!["/no/such/program".into()], ..command("", "true") };
    assert_eq!(go(&machine, &wish, Direction::Remove).await.ending, Ending::Gone);
}

#[tokio::test]
async fn it_runs_in_the_root_with_a_clean_environment() {
    let machine = Machine::new();
    std::fs::create_dir(machine.at("/srv")).unwrap();
    go(&machine, &command("test -e env", "pwd > where; env > env"), Direction::Apply).await;
    let root = machine.root().canonicalize().unwrap();
    assert_eq!(machine.read("/where").unwrap().trim(), root.to_str().unwrap());
    let environment = machine.read("/env").unwrap();
    let mut names: Vec<_> = environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LANG", "PATH", "STEAD_ROOT"]);
    let inside = CommandDesired { directory: Some(path("/srv")), ..command("test -e here", "touch here") };
    assert_eq!(go(&machine, &inside, Direction::Apply).await.ending, Ending::Converged);
    assert!(machine.at("/srv/here").exists());
}

#[tokio::test]
async fn it_is_killed_at_its_limit_with_everything_it_started() {
    let machine = Machine::new();
    let wish = CommandDesired { timeout_seconds: 1, ..command("false", "sleep 1000 & echo $! $$ > pids; echo waiting; wait") };
    let told = failure(&machine, &wish).await;
    assert!(told.contains("killed after 1 seconds") && told.contains("waiting"), "{told}");
    all_dead(&machine).await;
}

#[tokio::test]
async fn what_a_command_leaves_running_does_not_hold_it_up() {
    let machine = Machine::new();
    // The first still holds the command's output open.
    let wish = command("test -e done", "sleep 20 & echo $! > pids; touch done");
    assert_eq!(go(&machine, &wish, Direction::Apply).await.ending, Ending::Converged);
    assert!(alive(&machine), "it ended by itself, so what it left is not killed");
    let left = machine.read("/pids").unwrap();
    std::process::Command::new("kill").arg(left.trim()).status().unwrap();
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_at_once_when_its_wish_is_withdrawn() {
    let machine = Machine::new();
    for wish in [
        command("false", "sleep 1000 & echo $! $$ > pids; echo > up; wait"),
        command("sleep 1000 & echo $! $$ > pids; echo > up; wait", "true"),
    ] {
        std::process::Command::new("mkfifo").arg(machine.at("/up")).status().unwrap();
        let (handle, driver) = converge(&Settings { observe_every: Duration::from_secs(60), jitter_seed: 1 });
        let stop = CancellationToken::new();
        let running = tokio::spawn(driver.run(stop.clone()));
        let wish = Wish { unit: unit(&machine, &wish), goal: Goal::Present, by: Vec::new(), after: Vec::new() };
        handle.set(WishSet::new([wish]).unwrap()).await.unwrap();
        let up = machine.at("/up");
        tokio::task::spawn_blocking(move || std::fs::read(up)).await.unwrap().unwrap();
        assert!(alive(&machine));
        handle.set(WishSet::default()).await.unwrap();
        handle.report().wait_for(|report| report.units.is_empty()).await.unwrap();
        all_dead(&machine).await;
        stop.cancel();
        running.await.unwrap();
        std::fs::remove_file(machine.at("/up")).unwrap();
    }
}

fn alive(machine: &Machine) -> bool {
    let pids = machine.read("/pids").unwrap();
    pids.split_whitespace().any(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name in parentheses comes the state; a zombie has been killed and only waits to be counted.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    })
}

/// A killed process is gone when the kernel has got round to it.
async fn all_dead(machine: &Machine) {
    while alive(machine) {
        tokio::task::yield_now().await;
    }
}
