//! Whole profiles through the converger: order, conflicts, restarts.

use std::collections::BTreeSet;
use std::time::Duration;

use stead_agent::{Claim, Claimed, CommandDesired, FileDesired, ProfileClaims};
use stead_unit::{Goal, Handle, Report, Settings, UnitId, UnitState, WishSet, converge};
use tokio_util::sync::CancellationToken;

use super::bench::{Machine, directory, file, link};

fn claims(profile: &str, list: Vec<Claim>) -> ProfileClaims {
    let claims = list.into_iter().map(|claim| Claimed { claim, after: Vec::new() }).collect();
    ProfileClaims { profile: profile.into(), by: format!("Profile/{profile}@1"), claims }
}

fn start() -> (Handle, CancellationToken) {
    let (handle, driver) = converge(&Settings { observe_every: Duration::from_secs(60), jitter_seed: 1 });
    let stop = CancellationToken::new();
    tokio::spawn(driver.run(stop.clone()));
    (handle, stop)
}

async fn set(machine: &Machine, handle: &Handle, profiles: &[ProfileClaims]) {
    handle.set(WishSet::new(machine.workshop.wishes(profiles).wishes).unwrap()).await.unwrap();
}

async fn until(handle: &Handle, what: impl FnMut(&Report) -> bool) -> Report {
    handle.report().wait_for(what).await.unwrap().clone()
}

fn settled(count: usize) -> impl FnMut(&Report) -> bool {
    move |report| report.units.len() == count && report.is_settled()
}

fn state(report: &Report, id: &str) -> UnitState {
    report.units.get(&id.parse::<UnitId>().unwrap()).unwrap().state.clone()
}

#[tokio::test]
async fn a_profile_is_made_in_order_and_taken_back_without_a_trace() {
    let machine = Machine::new();
    machine.write("/motd", "original");
    let before = machine.snapshot();
    let (handle, _stop) = start();
    let start_it = CommandDesired {
        name: "web/start".into(),
        check: ["test", "-e", "started"].map(str::to_owned).to_vec(),
        run: ["sh", "-c", "cp srv/web/conf started"].map(str::to_owned).to_vec(),
        undo: Some(["rm", "started"].map(str::to_owned).to_vec()),
        timeout_seconds: 60,
        directory: None,
    };
    let mut web = claims(
        "web",
        vec![
            Claim::File(file("/srv/web/conf", "conf", 0o644)),
            Claim::Link(link("/srv/web/current", "conf")),
            Claim::Directory(directory("/srv/web", 0o755)),
            Claim::Directory(directory("/srv", 0o755)),
            Claim::File(file("/motd", "wished", 0o644)),
        ],
    );
    web.claims.push(Claimed { claim: Claim::Command(start_it), after: vec!["file:/srv/web/conf".parse().unwrap()] });
    set(&machine, &handle, &[web]).await;
    let report = until(&handle, settled(6)).await;
    assert!(report.units.values().all(|unit| unit.by == ["Profile/web@1"]));
    assert_eq!(machine.read("/started").unwrap(), "conf");
    assert_eq!(machine.read("/srv/web/current").unwrap(), "conf");
    set(&machine, &handle, &[]).await;
    until(&handle, |report| report.units.is_empty()).await;
    assert_eq!((machine.snapshot(), machine.saved_files()), (before, 0));
}

#[tokio::test]
async fn two_profiles_that_claim_one_path_leave_it_in_its_last_good_state() {
    let machine = Machine::new();
    let (handle, _stop) = start();
    let p = claims("p", vec![Claim::File(file("/motd", "of p", 0o644)), Claim::File(file("/p", "p", 0o644))]);
    let q = claims("q", vec![Claim::File(file("/motd", "of q", 0o644)), Claim::File(file("/q", "q", 0o644))]);
    set(&machine, &handle, std::slice::from_ref(&p)).await;
    until(&handle, settled(2)).await;
    let both = [p.clone(), q];
    assert_eq!(machine.workshop.wishes(&both).conflicts.len(), 2);
    set(&machine, &handle, &both).await;
    let q_is_there = |report: &Report| report.units.len() == 3 && state(report, "file:/q") == UnitState::Converged;
    let report = until(&handle, q_is_there).await;
    assert!(
        matches!(state(&report, "file:/motd"), UnitState::Conflict { reason } if reason.contains("profiles p and q both claim file:/motd"))
    );
    assert_eq!(report.units.get(&"file:/motd".parse::<UnitId>().unwrap()).unwrap().by, ["Profile/p@1", "Profile/q@1"]);
    assert_eq!(machine.read("/motd").unwrap(), "of p");
    set(&machine, &handle, &[both[1].clone()]).await;
    until(&handle, settled(2)).await;
    assert_eq!((machine.read("/motd").unwrap().as_str(), machine.read("/p")), ("of q", None));
    set(&machine, &handle, &[]).await;
    until(&handle, |report| report.units.is_empty()).await;
    assert!(machine.snapshot().is_empty());
}

#[tokio::test]
async fn a_directory_shared_by_two_profiles_goes_with_the_last() {
    let machine = Machine::new();
    let (handle, _stop) = start();
    let [p, q] = ["p", "q"].map(|name| {
        claims(name, vec![Claim::Directory(directory("/srv", 0o755)), Claim::File(file(&format!("/srv/{name}"), name, 0o644))])
    });
    set(&machine, &handle, &[p, q.clone()]).await;
    until(&handle, settled(3)).await;
    set(&machine, &handle, &[q]).await;
    until(&handle, settled(2)).await;
    assert_eq!((machine.read("/srv/p"), machine.read("/srv/q").unwrap().as_str()), (None, "q"));
    set(&machine, &handle, &[]).await;
    until(&handle, |report| report.units.is_empty()).await;
    assert!(machine.snapshot().is_empty());
}

#[tokio::test]
async fn one_path_that_changes_its_kind_keeps_what_was_there_before_all() {
    let machine = Machine::new();
    machine.write("/thing", "original");
    let (handle, _stop) = start();
    set(&machine, &handle, &[claims("p", vec![Claim::File(file("/thing", "ours", 0o644))])]).await;
    until(&handle, settled(1)).await;
    set(&machine, &handle, &[claims("p", vec![Claim::Link(link("/thing", "ours"))])]).await;
    until(&handle, settled(1)).await;
    assert!(machine.at("/thing").is_symlink());
    set(&machine, &handle, &[]).await;
    until(&handle, |report| report.units.is_empty()).await;
    assert_eq!(machine.read("/thing").unwrap(), "original");
}

#[tokio::test]
async fn what_was_withdrawn_while_the_agent_was_down_is_taken_back_when_it_starts() {
    let mut machine = Machine::new();
    let before = machine.snapshot();
    let (handle, stop) = start();
    let stays = Claim::File(file("/stays", "x", 0o644));
    let goes = vec![Claim::Directory(directory("/srv", 0o755)), Claim::File(file("/srv/goes", "x", 0o644)), stays.clone()];
    set(&machine, &handle, &[claims("p", goes)]).await;
    until(&handle, settled(3)).await;
    stop.cancel();
    machine.restart();

    let (handle, _stop) = start();
    let mut wishes = machine.workshop.wishes(&[claims("p", vec![stays])]).wishes;
    let wished: BTreeSet<UnitId> = wishes.iter().map(|wish| wish.unit.id().clone()).collect();
    wishes.extend(machine.workshop.leftovers(&wished).unwrap().0);
    assert_eq!(wishes.iter().filter(|wish| wish.goal == Goal::Absent).count(), 2);
    handle.set(WishSet::new(wishes).unwrap()).await.unwrap();
    until(&handle, settled(1)).await;
    assert_eq!(machine.snapshot().len(), before.len() + 1);
}

#[tokio::test]
async fn a_missing_owner_fails_its_own_unit_and_no_other() {
    let machine = Machine::new();
    let (handle, _stop) = start();
    let orphan = FileDesired { owner: Some("nobody-here".into()), ..file("/orphan", "x", 0o644) };
    set(&machine, &handle, &[claims("p", vec![Claim::File(orphan), Claim::File(file("/good", "x", 0o644))])]).await;
    let both = |report: &Report| {
        report.units.len() == 2
            && matches!(state(report, "file:/orphan"), UnitState::Failed { reason, .. } if reason.contains("nobody-here"))
            && state(report, "file:/good") == UnitState::Converged
    };
    until(&handle, both).await;
    assert_eq!(machine.read("/orphan"), None);
}
