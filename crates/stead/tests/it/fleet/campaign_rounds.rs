//! One round of the campaign: who is killed, at which moment, and what must hold afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{COORDINATOR, Fleet, file, until};
use crate::stead::{Ended, Home};

const MACHINES: [&str; 3] = ["m1", "m2", "m3"];
const PROFILES: [&str; 3] = ["p1", "p2", "p3"];
/// The widest pause between the moment that is waited for and the kill, in milliseconds: about what one change takes.
const PAUSE_MILLISECONDS_MAX: u64 = 250;
/// The same where a victim is starting: less than a start takes.
const STARTING_PAUSE_MILLISECONDS_MAX: u64 = 40;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Victim {
    Coordinator,
    Agent,
    Both,
}

impl Victim {
    pub(crate) const ALL: [Self; 3] = [Self::Coordinator, Self::Agent, Self::Both];
}

/// What was going on when the signal was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// A change was on its way to its acknowledgement.
    InFlight,
    /// A change was acknowledged that some machine had not applied.
    Converging,
    /// A victim was starting.
    Starting,
    /// Everything was as it should be.
    Quiet,
}

impl Moment {
    pub(crate) const ALL: [Self; 4] = [Self::InFlight, Self::Converging, Self::Starting, Self::Quiet];
}

/// What the stream of changes has come to.
#[derive(Default)]
struct Stream {
    /// Whether `stead apply` runs.
    in_flight: bool,
    /// The ids of acknowledged changes, with profile, sequence and number.
    acknowledged: Vec<(String, String, u64, u64)>,
    /// Applies that ended in another way, by exit code.
    failed: BTreeMap<i32, u64>,
    number: u64,
    /// Whether the next change waits.
    paused: bool,
}

impl Stream {
    fn begin(&mut self) -> Option<u64> {
        if self.paused {
            return None;
        }
        self.in_flight = true;
        self.number += 1;
        Some(self.number)
    }
}

struct Shared {
    stream: Mutex<Stream>,
    ended: AtomicBool,
}

impl Shared {
    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap()
    }
}

/// A fleet under fire.
pub(crate) struct Campaign {
    fleet: Fleet,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    random: u64,
    turn: Vec<(Victim, Moment)>,
    /// How often each agent had found its coordinator when it was last started to be killed again.
    started_connections: BTreeMap<String, usize>,
    /// The highest sequence of each object that each machine was seen with, on its disk and in its acknowledgements.
    held: BTreeMap<(String, String), u64>,
    acknowledged: BTreeMap<(String, String), u64>,
}

impl Campaign {
    pub(crate) fn start(seed: u64) -> Self {
        let fleet = Fleet::with_machines(&MACHINES);
        let shared = Arc::new(Shared { stream: Mutex::default(), ended: AtomicBool::new(false) });
        let writer = {
            let (shared, home) = (Arc::clone(&shared), Arc::clone(&fleet.home));
            std::thread::spawn(move || write(&shared, &home))
        };
        let (held, acknowledged) = (BTreeMap::new(), BTreeMap::new());
        Self {
            fleet,
            shared,
            writer: Some(writer),
            random: seed,
            turn: Vec::new(),
            started_connections: BTreeMap::new(),
            held,
            acknowledged,
        }
    }

    /// SplitMix64: the same seed, the same choices.
    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn next_fault(&mut self) -> (Victim, Moment) {
        if self.turn.is_empty() {
            self.turn = Victim::ALL.into_iter().flat_map(|victim| Moment::ALL.map(|moment| (victim, moment))).collect();
        }
        let choice = self.random(self.turn.len() as u64) as usize;
        self.turn.swap_remove(choice)
    }

    /// Kills somebody and looks at what is left. Says what really happened.
    pub(crate) fn round(&mut self, round: u32) -> (Victim, Moment) {
        let (victim, wanted) = self.next_fault();
        let agents = self.agents_of(victim);
        self.await_moment(wanted, victim, &agents);
        let moment = self.moment();
        let before: Vec<usize> = agents.iter().map(|agent| self.connections(agent)).collect();
        if victim != Victim::Agent {
            self.fleet.coordinator.as_mut().unwrap().kill();
        }
        for agent in &agents {
            self.fleet.agent(agent).kill();
        }
        let moment = if wanted == Moment::Starting && self.was_starting(victim, &agents, &before) { wanted } else { moment };
        println!("kills: {round}: {victim:?} {agents:?} while {moment:?} (aimed at {wanted:?})");
        for agent in &agents {
            self.check_memory(agent);
        }
        self.shared.stream().paused = false;
        if victim != Victim::Agent {
            self.fleet.start_coordinator();
            self.check_record();
        }
        for agent in agents {
            self.fleet.start_agent(&agent);
        }
        self.check_acknowledgements();
        (victim, moment)
    }

    /// Whether one of those that were started again had not come to be there when it was killed.
    fn was_starting(&mut self, victim: Victim, agents: &[String], connections: &[usize]) -> bool {
        let coordinator = victim != Victim::Agent && self.fleet.coordinator.as_mut().unwrap().line("ready ").is_none();
        let agent = |(agent, before): (&String, &usize)| *before == self.started_connections.get(agent).copied().unwrap_or(0);
        coordinator || agents.iter().zip(connections).any(agent)
    }

    /// How often an agent has found its coordinator.
    fn connections(&self, agent: &str) -> usize {
        self.fleet.log(agent).matches("connected coordinator").count()
    }

    fn agents_of(&mut self, victim: Victim) -> Vec<String> {
        let count = match victim {
            Victim::Coordinator => 0,
            Victim::Agent | Victim::Both => 1 + self.random(MACHINES.len() as u64),
        };
        let first = self.random(MACHINES.len() as u64);
        (0..count).map(|index| MACHINES[((first + index) % MACHINES.len() as u64) as usize].to_owned()).collect()
    }

    /// Waits for the moment, and a while that the seed chooses.
    fn await_moment(&mut self, wanted: Moment, victim: Victim, agents: &[String]) {
        let widest = if wanted == Moment::Starting { STARTING_PAUSE_MILLISECONDS_MAX } else { PAUSE_MILLISECONDS_MAX };
        let pause = Duration::from_millis(self.random(widest));
        match wanted {
            Moment::InFlight => {
                until("a change on its way", || self.shared.stream().in_flight.then_some(()));
                std::thread::sleep(pause);
            }
            Moment::Converging => {
                let before = self.shared.stream().acknowledged.len();
                until("an acknowledgement", || (self.shared.stream().acknowledged.len() > before).then_some(()));
                // The next change may not be on its way yet: this is between the word and the deed.
                self.shared.stream().paused = true;
                until("the stream pauses", || (!self.shared.stream().in_flight).then_some(()));
            }
            Moment::Starting => {
                // Killed once already, and again before it is there.
                if victim != Victim::Agent {
                    self.fleet.coordinator.as_mut().unwrap().kill();
                    self.fleet.spawn_coordinator(&COORDINATOR);
                }
                for agent in agents {
                    self.fleet.agent(agent).kill();
                    self.started_connections.insert(agent.clone(), self.connections(agent));
                    self.fleet.start_agent(agent);
                }
                std::thread::sleep(pause);
            }
            Moment::Quiet => {
                self.shared.stream().paused = true;
                until("the stream pauses", || (!self.shared.stream().in_flight).then_some(()));
                until("the machines have it all", || self.is_converged().then_some(()));
            }
        }
    }

    /// What is going on just now.
    fn moment(&self) -> Moment {
        if self.shared.stream().in_flight {
            Moment::InFlight
        } else if self.is_converged() {
            Moment::Quiet
        } else {
            Moment::Converging
        }
    }

    /// Whether every machine has at least what was acknowledged last of each profile.
    fn is_converged(&self) -> bool {
        let newest = self.newest_numbers();
        let has = |machine: &str, profile: &str, number: u64| {
            let text = self.fleet.file(machine, profile);
            text.and_then(|text| text.split_whitespace().next_back()?.parse().ok()).is_some_and(|found: u64| found >= number)
        };
        newest.iter().all(|(profile, number)| MACHINES.iter().all(|machine| has(machine, profile, *number)))
    }

    fn newest_numbers(&self) -> BTreeMap<String, u64> {
        let stream = self.shared.stream();
        stream.acknowledged.iter().map(|(_, profile, _, number)| (profile.clone(), *number)).collect()
    }

    /// Every change that was acknowledged is in the record.
    fn check_record(&self) {
        let acknowledged = self.shared.stream().acknowledged.clone();
        let changes = self.fleet.list("changes");
        let recorded: BTreeMap<&str, &Value> =
            changes.iter().filter_map(|change| Some((change["metadata"]["name"].as_str()?, change))).collect();
        for (id, profile, sequence, _) in &acknowledged {
            let change = recorded.get(id.as_str()).unwrap_or_else(|| panic!("change {id} was acknowledged and is lost"));
            let entry = &change["spec"]["entries"][0];
            assert_eq!((&entry["object"], &entry["sequence"]), (&json!(format!("Profile/{profile}")), &json!(sequence)), "{id}");
        }
    }

    /// A dead machine's memory: no sequence went back. A copy is read, so that the next start finds what the killed one left.
    fn check_memory(&mut self, machine: &str) {
        let copy = format!("{machine}.memory");
        self.fleet.home.run("sh", &["-ec", &format!("rm -rf {copy}; mkdir {copy}; cp {machine}/state/memory.db* {copy}/")]);
        let query =
            "SELECT json_extract(key, '$.kind'), json_extract(key, '$.name'), json_extract(row, '$.sequence') FROM entries";
        let rows = self.fleet.home.run("sqlite3", &["-separator", " ", &format!("{copy}/memory.db"), query]);
        assert!(!rows.is_empty(), "{machine} has forgotten everything");
        for row in rows.lines() {
            let (object, sequence) = row.rsplit_once(' ').unwrap();
            let held = self.held.entry((machine.to_owned(), object.to_owned())).or_default();
            let sequence: u64 = sequence.parse().unwrap();
            assert!(sequence >= *held, "{machine} went back with {object} from {held} to {sequence}");
            *held = sequence;
        }
        let known = self.held.keys().filter(|(name, _)| name == machine).count();
        assert_eq!(rows.lines().count(), known, "{machine} has forgotten something: {rows}");
    }

    /// What machines said of themselves never goes back either.
    fn check_acknowledgements(&mut self) {
        for machine in self.fleet.list("machines") {
            let name = machine["metadata"]["name"].as_str().unwrap().to_owned();
            for word in machine["status"]["acknowledgements"].as_array().into_iter().flatten() {
                let (object, sequence) = (word["object"].as_str().unwrap(), word["sequence"].as_u64().unwrap());
                let seen = self.acknowledged.entry((name.clone(), object.to_owned())).or_default();
                assert!(sequence >= *seen, "{name} went back with {object} from {seen} to {sequence}");
                *seen = sequence;
            }
        }
    }

    /// The killing stops: a last change of each profile, and every machine must have it. Gives how many changes were acknowledged.
    pub(crate) fn finish(mut self) -> usize {
        self.stop_writing();
        let failed = std::mem::take(&mut self.shared.stream().failed);
        println!("kills: changes that were not acknowledged, by exit code: {failed:?}");
        let last: Vec<(&str, u64)> = PROFILES
            .iter()
            .map(|profile| (*profile, self.fleet.apply(profile, file(&format!("/{profile}"), "the last one"))))
            .collect();
        for (profile, sequence) in last {
            self.fleet.wait_converged(profile, sequence);
        }
        for machine in MACHINES {
            self.fleet.wait(&format!("machine/{machine}"), "condition=Ready");
            self.fleet.wait(&format!("machine/{machine}"), "condition=Converged");
            for profile in PROFILES {
                assert_eq!(self.fleet.file(machine, profile).as_deref(), Some("the last one"), "{machine}: {profile}");
            }
            self.fleet.agent(machine).stop();
            self.check_memory(machine);
        }
        self.check_record();
        self.check_acknowledgements();
        let acknowledged = self.shared.stream().acknowledged.len();
        assert!(acknowledged > 0, "no change was acknowledged");
        acknowledged
    }

    fn stop_writing(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(writer) = self.writer.take() {
            writer.join().unwrap();
        }
    }
}

impl Drop for Campaign {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(writer) = self.writer.take() {
            // A campaign that failed has said why already.
            let _ = writer.join();
        }
    }
}

/// The owner: one change after the other, whatever becomes of them.
fn write(shared: &Shared, home: &Home) {
    while !shared.ended.load(Ordering::SeqCst) {
        let Some(number) = shared.stream().begin() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        let profile = PROFILES[(number % PROFILES.len() as u64) as usize];
        let ended = apply(home, profile, number);
        let mut stream = shared.stream();
        if ended.code == 0 {
            let change: Value = serde_json::from_str(&ended.stdout).unwrap();
            let id = change["metadata"]["name"].as_str().unwrap().to_owned();
            let sequence = change["spec"]["entries"][0]["sequence"].as_u64().unwrap();
            stream.acknowledged.push((id, profile.to_owned(), sequence, number));
        } else {
            // A coordinator that is away, and nothing else, stops an owner.
            assert_eq!(ended.code, 8, "{ended:?}");
            *stream.failed.entry(ended.code).or_default() += 1;
        }
        stream.in_flight = false;
    }
}

fn apply(home: &Home, profile: &str, number: u64) -> Ended {
    let content = format!("change {number}");
    let manifest = json!({
        "apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": profile},
        "spec": {"selector": {}, "files": [{"path": format!("/{profile}"), "content": content}]},
    });
    home.write("stream.json", &manifest.to_string());
    home.stead(&["apply", "-f", "stream.json", "-o", "json", "-m", &content, "--no-outbox"])
}
