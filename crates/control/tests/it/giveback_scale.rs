//! Many machines that all come at once to a restored record: a few are asked at a time, each once, and what all of them hold is asked
//! for as if one did.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use stead_control::GIVE_BACKS_AT_ONCE_MAX;
use stead_trust::{GiveBackAsk, SigningKey};

use crate::world::{Holdings, World, answering, peer};

/// What is asked for by hand instead: `STEAD_GIVE_BACK_MACHINES=10000 STEAD_GIVE_BACK_PROFILES=200`.
fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
}

fn machine_key(number: usize) -> SigningKey {
    let mut seed = [200; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    SigningKey::from_seed(&seed)
}

/// The most questions that were being answered at once.
#[derive(Default)]
struct Counts {
    questions: AtomicUsize,
    bundles: AtomicUsize,
}

/// Kibibytes that this process has in memory.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_machines_that_come_at_once_are_asked_a_few_at_a_time_and_once() {
    let (count, profiles) = (number("STEAD_GIVE_BACK_MACHINES", 300), number("STEAD_GIVE_BACK_PROFILES", 70));
    let machines: Vec<(String, SigningKey)> = (0..count).map(|number| (format!("m{number:05}"), machine_key(number))).collect();
    let world = World::of(&machines).await;
    world.admitted(&machines.iter().map(|(_, key)| peer(key)).collect::<Vec<_>>()).await;
    let (first, begun, before_kib) = (world.first(), Instant::now(), resident_kib());
    first.until(|first| first.control.machines_not_yet() == count as u64).await;
    let held = Holdings::new(&world, (0..profiles).map(|number| format!("p{number:04}")), 1_000);
    let counts = Arc::new(Counts::default());
    let connect = |(_, key): &(String, SigningKey)| {
        let (held, counts) = (held.clone(), Arc::clone(&counts));
        answering(world.connect_with(&[0], key, None, held.hello()), move |ask| {
            counts.questions.fetch_add(1, Ordering::SeqCst);
            if matches!(ask, GiveBackAsk::Bundles { .. }) {
                counts.bundles.fetch_add(1, Ordering::SeqCst);
            }
            held.answer(ask)
        })
    };
    let agents: Vec<_> = machines.iter().map(connect).collect();
    first.until(|first| first.control.machines_not_yet() == 0).await;
    let metrics = first.control.give_back_metrics();
    let (questions, bundles) = (counts.questions.load(Ordering::SeqCst), counts.bundles.load(Ordering::SeqCst));
    println!(
        "{count} machines, {profiles} profiles: {:.1} s, {} KiB more, {questions} questions, {bundles} of them for bundles, {} states sent",
        begun.elapsed().as_secs_f64(),
        resident_kib().saturating_sub(before_kib),
        first.control.metrics().states_sent.get(),
    );
    assert_eq!((metrics.asked.get(), metrics.answered.get(), metrics.broken.get()), (count as u64, count as u64, 0));
    assert_eq!(metrics.imported.get(), profiles as u64);
    assert!(held.keys().all(|key| first.sequence(key) == Some(4)));
    // Every machine says once what it holds. Only those that are asked while the first of them gives it are asked for it, too.
    let pages = profiles.div_ceil(stead_trust::GIVE_BACK_NAMES_MAX);
    assert!(bundles <= pages * GIVE_BACKS_AT_ONCE_MAX, "{bundles} questions for bundles");
    assert_eq!(questions - bundles, count, "one page each");
    for agent in agents {
        agent.close().await.unwrap();
    }
}
