//! One round: a fleet of its own, clients at work, faults; then everything that was told, held against the record.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::checker::{Violation, check};
use super::faults::{Fault, Striker};
use super::history::{Asked, History, Kind, Operation, Struck, Told, Watch};
use super::http::{LAST, Random, Shared};
use super::owner::Owner;
use super::pair::Pair;
use super::watcher::Watcher;
use super::worker::{Worker, end};

/// Clients that write and read.
const WORKERS: usize = 8;
/// Clients that watch each kind.
const WATCHERS_PER_KIND: usize = 2;
/// The number of the client that looks when all is over.
const LAST_CLIENT: usize = 90;

/// What came of a round.
pub(crate) struct Ended {
    pub(crate) operations: usize,
    pub(crate) acknowledged: u64,
    pub(crate) events: usize,
    pub(crate) struck: Vec<Struck>,
}

struct Clients {
    callers: Vec<JoinHandle<Vec<Operation>>>,
    watchers: Vec<JoinHandle<(Vec<Watch>, Vec<Operation>)>>,
}

/// Runs a round. The history of one that fails is kept in the folder.
pub(crate) fn run(seed: u64, folder: &Path) -> Ended {
    println!("history: seed {seed}: {:?}", Fault::of_round(seed));
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let mut pair = Pair::found();
    let shared = Arc::new(Shared::new(pair.bases(), pair.bearer()));
    let mut looker = Worker::new(Arc::clone(&shared), LAST_CLIENT, seed);
    looker.turn_to(0);
    let beginning = runtime.block_on(looker.list(Kind::Lease, Asked::Any, 0)).unwrap();
    let clients = start(&shared, &pair, seed);
    let random = Random::new(seed, u64::MAX - 1);
    let mut striker = Striker { pair: &mut pair, shared: &shared, random, started: Vec::new(), struck: Vec::new() };
    for fault in Fault::of_round(seed) {
        striker.strike(fault);
    }
    let Striker { started, struck, .. } = striker;
    end(&shared);
    let mut history = History { started, struck, ..History::default() };
    runtime.block_on(async {
        gather(clients, &mut history, &shared, &pair, looker, seed).await;
        look_back(&mut history, &shared, beginning).await;
    });
    let digest = pair.end();
    assert!(digest.contains("objects"), "{digest}");
    let violations = check(&history);
    if !violations.is_empty() {
        fail(seed, folder, &history, &pair, &violations);
    }
    let acknowledged = shared.acknowledged(0) + shared.acknowledged(1);
    let events = history.watches.iter().flat_map(|watch| &watch.told).filter(|told| matches!(told, Told::Event(_))).count();
    Ended { operations: history.operations.len(), acknowledged, events, struck: history.struck }
}

fn start(shared: &Arc<Shared>, pair: &Pair, seed: u64) -> Clients {
    let workers = (0..WORKERS).map(|number| tokio::spawn(Worker::new(Arc::clone(shared), number, seed).run()));
    let owner = Owner::new(Arc::clone(shared), WORKERS, seed, pair.fleet(), pair.owners_key());
    let callers = workers.chain([tokio::spawn(owner.run())]).collect();
    let numbers = WORKERS + 1..;
    let kinds = Kind::ALL.into_iter().flat_map(|kind| [kind; WATCHERS_PER_KIND]);
    let watcher = |(number, kind)| tokio::spawn(Watcher::new(Arc::clone(shared), number, kind, seed).run());
    Clients { callers, watchers: numbers.zip(kinds).map(watcher).collect() }
}

/// Waits for the callers, writes the last object of each kind, and waits until all who watch were told of it.
async fn gather(clients: Clients, history: &mut History, shared: &Arc<Shared>, pair: &Pair, mut looker: Worker, seed: u64) {
    for caller in clients.callers {
        history.operations.extend(caller.await.unwrap());
    }
    let mut owner = Owner::new(Arc::clone(shared), LAST_CLIENT + 1, seed, pair.fleet(), pair.owners_key());
    owner.insist(LAST).await;
    history.operations.extend(owner.into_operations());
    for kind in [Kind::Lease, Kind::Namespace] {
        looker.insist(kind, LAST).await;
    }
    let last = looker.newest();
    for (kind, coordinator) in [(Kind::Lease, 0), (Kind::Namespace, 0), (Kind::Lease, 1), (Kind::Namespace, 1)] {
        looker.turn_to(coordinator);
        looker.list(kind, Asked::NotOlderThan(last), 0).await;
    }
    history.operations.extend(looker.into_operations());
    for watcher in clients.watchers {
        let (watches, lists) = watcher.await.unwrap();
        history.watches.extend(watches);
        history.operations.extend(lists);
    }
}

/// What happened, as either coordinator tells it from the beginning: the first is believed, and the second held against it.
async fn look_back(history: &mut History, shared: &Arc<Shared>, beginning: u64) {
    for kind in Kind::ALL {
        let [believed, other] = [0, 1].map(|coordinator| {
            Watcher::new(Arc::clone(shared), LAST_CLIENT + 2 + coordinator, kind, 0).all(coordinator, beginning)
        });
        let (believed, other) = tokio::join!(believed, other);
        let events = believed.told.into_iter().filter_map(|told| match told {
            Told::Event(event) => Some(event),
            _ => None,
        });
        history.record.insert(kind, events.collect());
        history.watches.push(other);
    }
}

/// Keeps what there is to look at, and says where.
fn fail(seed: u64, folder: &Path, history: &History, pair: &Pair, violations: &[Violation]) -> ! {
    /// More of them say nothing more.
    const SHOWN_MAX: usize = 20;
    let kept = folder.join(format!("history-{seed}.jsonl"));
    history.keep(&kept);
    for index in [0, 1] {
        std::fs::write(folder.join(format!("history-{seed}-{index}.log")), pair.log(index)).unwrap();
    }
    std::fs::write(folder.join(format!("history-{seed}-postgres.log")), pair.postgres.log()).unwrap();
    for violation in violations.iter().take(SHOWN_MAX) {
        println!("history: {violation}");
    }
    panic!("seed {seed} breaks {} rules; the history and the logs are beside {}", violations.len(), kept.display());
}
