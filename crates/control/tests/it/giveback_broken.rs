//! Connections that break while a machine gives back what it holds, and machines that turn to rubbish in the middle.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stead_trust::{GIVE_BACK_PREFIX, GiveBackAsk};

use crate::world::{Holdings, World, answering, key, peer, profile};

/// Profiles, and lines of one page: several pages, and several questions for one of them.
const PROFILES: usize = 100;
const PAGE_LINES: usize = 70;

fn names(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    let prefix = prefix.to_owned();
    (0..count).map(move |number| format!("{prefix}-{number:03}"))
}

/// Asked for everything with the connection cut at one question. Gives how many questions there were.
async fn cut_at(cut: usize) -> usize {
    let world = World::start().await;
    let holdings = Holdings::new(&world, names("p", PROFILES), PAGE_LINES);
    let (asked, network, held) = (Arc::new(AtomicUsize::new(0)), world.network.clone(), holdings.clone());
    let count = Arc::clone(&asked);
    let agent = answering(world.connect(&key(4), None), move |ask| {
        if count.fetch_add(1, Ordering::SeqCst) == cut {
            network.cut(peer(&key(4)));
        }
        held.answer(ask)
    });
    let first = world.first();
    let given = first.given_back("m1").await;
    // What came before the connection broke is in the record, is not taken twice, and is counted once.
    assert_eq!((given.objects, given.not_taken.len(), given.omitted), (PROFILES as u64, 0, 0), "cut at {cut}: {given:?}");
    assert_eq!(first.control.give_back_metrics().imported.get(), PROFILES as u64, "cut at {cut}");
    assert!(holdings.keys().all(|key| first.sequence(key) == Some(4)), "cut at {cut}");
    first.until(|first| first.control.machines_not_yet() == 0).await;
    agent.close().await.unwrap();
    asked.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_at_any_question_loses_nothing() {
    let questions = cut_at(usize::MAX).await;
    assert!(questions >= 5, "{questions} questions are no pages");
    for cut in 0..questions {
        cut_at(cut).await;
    }
}

/// The first half of what it holds is good; after that it is rubbish, of each kind.
#[tokio::test]
async fn a_machine_that_turns_to_rubbish_keeps_nobody_out_and_is_shown() {
    let rubbish: [(&str, Vec<u8>); 3] = [
        ("cannot be read", [GIVE_BACK_PREFIX, &[0xff; 40]].concat()),
        ("does not fit the question", crate::world::list(Vec::new(), false)),
        ("too old", b"rubbish".to_vec()),
    ];
    for (said, rubbish) in rubbish {
        let machines = [("m1".to_owned(), key(4)), ("m2".to_owned(), key(5))];
        let world = World::of(&machines).await;
        world.admitted(&[peer(&key(4)), peer(&key(5))]).await;
        let (lying, honest) =
            (Holdings::new(&world, names("p", PROFILES), PAGE_LINES), Holdings::new(&world, names("q", PROFILES), PAGE_LINES));
        let (half, mut asked) = (lying.clone(), BTreeSet::new());
        let liar = answering(world.connect(&key(4), None), move |ask| match &ask {
            GiveBackAsk::Bundles { keys, .. } => {
                asked.extend(keys.iter().cloned());
                if asked.len() > PROFILES / 2 { rubbish.clone() } else { half.answer(ask) }
            }
            _ => half.answer(ask),
        });
        let held = honest.clone();
        let other = answering(world.connect(&key(5), None), move |ask| held.answer(ask));
        let first = world.first();
        assert_eq!(first.given_back("m2").await.objects, PROFILES as u64);
        assert!(honest.keys().all(|key| first.sequence(key) == Some(4)));
        let told = |why: &Option<String>| why.as_ref().is_some_and(|why| why.contains(said));
        let broken = first.status("m1", |status| status.given_back.as_ref().is_some_and(|given| told(&given.unfinished))).await;
        let given = broken.given_back.unwrap();
        // What it gave before is good, whoever gave it.
        assert!(given.objects > 0 && given.objects < PROFILES as u64, "{given:?}");
        let taken = lying.keys().filter(|key| first.sequence(key) == Some(4)).count();
        assert_eq!(taken as u64, given.objects, "{said}");
        // The record goes on waiting for the rest, and whoever writes is told.
        first.until(|first| first.control.machines_not_yet() == 1).await;
        let warning = first.control.warning(&[profile("p-000").key()]).unwrap();
        assert!(warning.contains("1 machine") && warning.contains("stead restore status"), "{warning}");
        for agent in [liar, other] {
            agent.close().await.unwrap();
        }
    }
}
