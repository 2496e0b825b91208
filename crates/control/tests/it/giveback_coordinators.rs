//! Two coordinators on one restored record: each takes what its own machines hold, nothing is taken twice, and what one began and did
//! not live to end the other ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stead_peers::TempPostgres;
use stead_trust::GiveBackAsk;
use tokio::sync::Notify;

use crate::world::{Holdings, World, answering, key, peer};

/// What every machine holds, and what each holds alone.
const SHARED: usize = 60;
const OWN: usize = 20;

fn names(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    let prefix = prefix.to_owned();
    (0..count).map(move |number| format!("{prefix}-{number:03}"))
}

fn imported(world: &World) -> u64 {
    world.coordinators.iter().map(|coordinator| coordinator.control.give_back_metrics().imported.get()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_takes_from_its_own_machines_and_nothing_is_taken_twice() {
    let server = TempPostgres::start();
    let machines = [("m1".to_owned(), key(4)), ("m2".to_owned(), key(5))];
    let world = World::on_postgres(&server.url(), &machines).await;
    world.admitted(&[peer(&key(4)), peer(&key(5))]).await;
    let shared = Holdings::new(&world, names("shared", SHARED), 1_000);
    let mut agents = Vec::new();
    let mut all = shared.clone();
    for (index, (name, key)) in machines.iter().enumerate() {
        let held = shared.and(&Holdings::new(&world, names(name, OWN), 1_000));
        all = all.and(&held);
        agents.push(answering(world.connect_with(&[index], key, None, held.hello()), move |ask| held.answer(ask)));
    }
    for (coordinator, (name, _)) in world.coordinators.iter().zip(&machines) {
        coordinator.given_back(name).await;
        coordinator.until(|here| here.control.give_back_metrics().answered.get() >= 1).await;
    }
    assert_eq!(imported(&world), (SHARED + 2 * OWN) as u64, "what both hold was taken once");
    for coordinator in &world.coordinators {
        coordinator.until(|here| all.keys().all(|key| here.sequence(key) == Some(4))).await;
        coordinator.until(|here| here.control.machines_not_yet() == 0).await;
        assert_eq!(coordinator.control.warning(&[all.keys().next().unwrap().clone()]), None);
    }
    for agent in agents {
        agent.close().await.unwrap();
    }
}

/// The one that asks is killed at the second question for bundles, with the first ones in the record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_began_the_other_ends_when_it_is_killed() {
    const PROFILES: usize = 160;
    let server = TempPostgres::start();
    let world = World::on_postgres(&server.url(), &[("m1".to_owned(), key(4))]).await;
    world.admitted(&[peer(&key(4))]).await;
    let held = Holdings::new(&world, names("p", PROFILES), 1_000);
    let (questions, middle) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (answers, reached, count) = (held.clone(), Arc::clone(&middle), Arc::clone(&questions));
    let connection = world.connect_with(&[0, 1], &key(4), None, held.hello());
    let agent = answering(connection, move |ask| {
        if matches!(ask, GiveBackAsk::Bundles { .. }) && count.fetch_add(1, Ordering::SeqCst) == 1 {
            reached.notify_one();
        }
        answers.answer(ask)
    });
    tokio::time::timeout(crate::world::PATIENCE, middle.notified()).await.unwrap();
    // The machine chose which of the two it connects to.
    let asks = |index: &usize| world.coordinators[*index].control.give_back_metrics().asked.get() > 0;
    let index = (0..2).find(asks).unwrap();
    let (first, second) = (&world.coordinators[index], &world.coordinators[1 - index]);
    first.kill();
    let before = first.control.give_back_metrics().imported.get();
    assert!(before > 0 && before < PROFILES as u64, "{before} of {PROFILES}: it was not killed in the middle");
    let asked = questions.load(Ordering::SeqCst);

    let given = second.given_back("m1").await;
    assert!(held.keys().all(|key| second.sequence(key) == Some(4)), "{given:?}");
    // At most the one that was being written when it was killed was not counted by anybody.
    let taken = imported(&world);
    assert!((PROFILES as u64 - 1..=PROFILES as u64).contains(&taken), "{taken} of {PROFILES} were taken");
    assert!(second.control.give_back_metrics().given.get() < PROFILES as u64, "the first ones were not asked for again");
    assert!(questions.load(Ordering::SeqCst) > asked && given.not_taken.is_empty(), "{given:?}");
    second.until(|here| here.control.machines_not_yet() == 0).await;
    agent.close().await.unwrap();
}
