//! Admin, coordinator and agent killed at random moments, alone and together, while changes are signed with and without a coordinator
//! and machines have trouble to tell of: what was promised arrives, once and in order, and every event is taken once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::harness::{Fleet, PATIENCE, file, until};
use super::process::Process;

/// The rounds of a full campaign.
const ROUNDS_FULL: u32 = 150;
/// The rounds where nothing says how many.
const ROUNDS_DEFAULT: u32 = 15;
/// The seed where nothing says which.
const SEED_DEFAULT: u64 = 0xde11;
const MACHINES: [&str; 2] = ["m1", "m2"];
const PROFILES: [&str; 2] = ["p1", "p2"];
/// The widest pause between the beginning of a command and the kill, in milliseconds: about what one takes.
const PAUSE_MILLISECONDS_MAX: u64 = 300;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    /// `stead apply`, while it signs, sends or waits.
    Admin,
    /// `stead outbox send`, while it sends.
    Sender,
    Coordinator,
    Agent,
    /// All of them at once.
    All,
}

impl Victim {
    const ALL: [Self; 5] = [Self::Admin, Self::Sender, Self::Coordinator, Self::Agent, Self::All];
}

/// What a machine's outbox and the record say of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    /// The last number that its outbox gave.
    sequence: u64,
    /// How often the record says that something happened on it.
    counted: u64,
}

struct Campaign {
    fleet: Fleet,
    random: u64,
    turn: Vec<Victim>,
    number: u64,
    /// The numbers that were promised: admitted, or said to wait.
    promised: Vec<u64>,
    began: BTreeMap<&'static str, Told>,
    counts: BTreeMap<String, u32>,
}

impl Campaign {
    fn start(seed: u64) -> Self {
        let mut fleet = Fleet::with_machines(&MACHINES);
        for profile in PROFILES {
            fleet.apply_and_wait(profile, file(&format!("/{profile}"), "change 0"));
        }
        let mut began = BTreeMap::new();
        for machine in MACHINES {
            until("what has happened is told", || (waiting(&fleet, machine) == 0).then_some(()));
            began.insert(machine, told(&mut fleet, machine));
        }
        let (turn, promised, counts) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { fleet, random: seed, turn, number: 0, promised, began, counts }
    }

    /// SplitMix64: the same seed, the same choices.
    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn next_victim(&mut self) -> Victim {
        if self.turn.is_empty() {
            self.turn = Victim::ALL.to_vec();
        }
        let at = usize::try_from(self.random(self.turn.len() as u64)).unwrap();
        self.turn.swap_remove(at)
    }

    fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    fn stead(&self, words: &[&str]) -> Process {
        let mut command = self.fleet.home.command(env!("CARGO_BIN_EXE_stead"));
        command.args(words).stdout(std::process::Stdio::null()).stderr(self.fleet.log_file("admin"));
        Process::spawn(&mut command)
    }

    /// Signs a change of its own number, to be killed or to end by itself.
    fn sign(&mut self) -> (Process, u64) {
        self.number += 1;
        let number = self.number;
        let profile = PROFILES[usize::try_from(number).unwrap() % PROFILES.len()];
        let content = format!("change {number}");
        let manifest = self.fleet.manifest(profile, file(&format!("/{profile}"), &content));
        (self.stead(&["apply", "-f", &manifest, "-m", &content]), number)
    }

    /// Waits for a change that nobody kills, and writes down what was promised.
    fn finish(&mut self, mut process: Process, number: u64) {
        let code = process.wait().code();
        match code {
            Some(0 | 9) => self.promised.push(number),
            // Others came between: an earlier one of ours, whose admission nobody heard of. It was told, and nothing was kept.
            Some(5 | 8) => {}
            other => panic!("change {number} ended with {other:?}:\n{}", self.fleet.log("admin")),
        }
        self.count(match code {
            Some(0) => "changes admitted",
            Some(9) => "changes that were said to wait",
            _ => "changes refused, with nothing promised",
        });
    }

    fn round(&mut self, round: u32) {
        let victim = self.next_victim();
        let agent = MACHINES[usize::try_from(self.random(MACHINES.len() as u64)).unwrap()];
        self.trouble(agent);
        // Half of the time the coordinator is away already: then the change is signed for later.
        let away = self.random(2) == 0;
        if away {
            self.fleet.coordinator.as_mut().unwrap().kill();
            self.count("rounds that began without a coordinator");
        }
        let (mut apply, number) = self.sign();
        let mut sender = (victim == Victim::Sender || victim == Victim::All).then(|| self.stead(&["outbox", "send"]));
        std::thread::sleep(Duration::from_millis(self.random(PAUSE_MILLISECONDS_MAX)));
        if matches!(victim, Victim::Coordinator | Victim::All) {
            self.fleet.coordinator.as_mut().unwrap().kill();
        }
        if matches!(victim, Victim::Agent | Victim::All) {
            self.fleet.agent(agent).kill();
        }
        if let Some(sender) = &mut sender {
            self.kill(sender, "outbox send");
        }
        if matches!(victim, Victim::Admin | Victim::All) {
            self.kill(&mut apply, "apply");
            apply.wait();
        } else {
            self.finish(apply, number);
        }
        println!("delivery: {round}: {victim:?}{}", if away { ", the coordinator away" } else { "" });
        self.count(format!("{victim:?}"));
        if matches!(victim, Victim::Agent | Victim::All) {
            self.fleet.start_agent(agent);
        }
        if away || matches!(victim, Victim::Coordinator | Victim::All) {
            self.fleet.coordinator.as_mut().unwrap().kill();
            self.fleet.start_coordinator();
        }
    }

    fn kill(&mut self, process: &mut Process, what: &str) {
        let running = process.is_running();
        process.kill();
        if running {
            self.count(format!("{what} killed before it ended"));
        }
    }

    /// A machine's file turns into a folder, or is itself again: the machine tells of either.
    fn trouble(&mut self, machine: &str) {
        let path = self.fleet.root_of(machine).join(PROFILES[0]);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        } else {
            // What the agent writes just now may be there again in between.
            let _ = std::fs::remove_file(&path);
            let _ = std::fs::create_dir_all(path.join("in the way"));
        }
    }

    /// The killing stops: what waits is sent, what was overtaken is signed again, and all that was promised is there, once.
    fn end(mut self) {
        for machine in MACHINES {
            let path = self.fleet.root_of(machine).join(PROFILES[0]);
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            }
        }
        loop {
            let sent = self.fleet.stead(&["outbox", "send", "--wait", "--timeout", PATIENCE]);
            if sent.code == 0 {
                break;
            }
            assert_eq!(sent.code, 5, "{sent:#?}");
            let list: Value = serde_json::from_str(&self.fleet.stead(&["outbox", "list", "-o", "json"]).ok()).unwrap();
            let id = list["items"][0]["change"].as_str().unwrap().to_owned();
            let signed = self.fleet.stead(&["outbox", "sign", &id, "--force"]);
            if signed.code == 2 && signed.stderr.contains("nothing is left") {
                // A later one of ours that arrived before says the same already.
                self.fleet.stead(&["outbox", "drop", &id]).ok();
            }
            self.count("changes signed again by their author");
        }
        self.check_changes();
        for machine in MACHINES {
            until("what has happened is told", || (waiting(&self.fleet, machine) == 0).then_some(()));
            let (began, now) = (self.began[machine], told(&mut self.fleet, machine));
            let (pushed, counted) = (now.sequence - began.sequence, now.counted - began.counted);
            assert_eq!(pushed, counted, "{machine}: {pushed} events went into its outbox, and the record counts {counted}");
            println!("delivery: {machine}: {pushed} events, each taken once");
        }
        for (what, count) in &self.counts {
            println!("delivery: {what}: {count}");
        }
        let never: Vec<Victim> =
            Victim::ALL.into_iter().filter(|victim| !self.counts.contains_key(&format!("{victim:?}"))).collect();
        assert!(never.is_empty(), "faults that never occurred: {never:?}");
    }

    fn check_changes(&self) {
        let mut found: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
        for change in self.fleet.list("changes") {
            let number = change["spec"]["message"].as_str().and_then(|text| text.strip_prefix("change ")?.parse().ok());
            if let Some(number) = number {
                found.entry(number).or_default().push(change);
            }
        }
        for (number, changes) in &found {
            assert_eq!(changes.len(), 1, "change {number} arrived more than once: {changes:#?}");
        }
        for number in &self.promised {
            assert!(found.contains_key(number), "change {number} was promised, and is lost");
        }
        println!("delivery: {} changes promised, {} on record, each once", self.promised.len(), found.len());
    }
}

/// A copy of a machine's memory, so that what a killed agent left stays as it is.
fn memory(fleet: &Fleet, machine: &str, query: &str) -> u64 {
    let copy = format!("{machine}.copy");
    fleet.home.run("sh", &["-ec", &format!("rm -rf {copy}; mkdir {copy}; cp {machine}/state/memory.db* {copy}/")]);
    fleet.home.run("sqlite3", &[&format!("{copy}/memory.db"), query]).trim().parse().unwrap()
}

fn waiting(fleet: &Fleet, machine: &str) -> u64 {
    memory(fleet, machine, "SELECT count(*) FROM outbox")
}

/// Looked at while the agent is stopped: what it tells afterwards is of its next start.
fn told(fleet: &mut Fleet, machine: &'static str) -> Told {
    fleet.agent(machine).stop();
    let left = waiting(fleet, machine);
    let sequence = memory(fleet, machine, "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'");
    let events = fleet.list("events");
    let own = events.iter().filter(|event| event["involvedObject"]["name"] == machine && event["source"]["component"] == "agent");
    let counted: u64 = own.filter_map(|event| event["count"].as_u64()).sum();
    fleet.start_agent(machine);
    Told { sequence: sequence - left, counted }
}

#[test]
fn campaign_delivery() {
    let seed = std::env::var("STEAD_CAMPAIGN_SEED").map_or(SEED_DEFAULT, |seed| seed.parse().unwrap());
    let rounds = crate::share::of("delivery", ROUNDS_FULL, ROUNDS_DEFAULT);
    println!("delivery: seed {seed}");
    let mut campaign = Campaign::start(seed);
    for round in 0..rounds {
        campaign.round(round);
    }
    println!("delivery: ran {rounds}/{ROUNDS_FULL}");
    campaign.end();
}
