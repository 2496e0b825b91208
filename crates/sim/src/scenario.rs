//! A seed's story: a fleet, what its owner does, and everything that goes wrong, until it has to come to rest.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use stead_admission::Admission;
use stead_model::{Digest, GROUP, GroupKind, Object, ObjectKey};
use stead_store::{MemoryRecord, uuid};
use stead_trust::{Clock as _, Root, SignedRoot, Signer as _, SigningKey};
use stead_wire::{PeerAddress, Ticket};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::coordinator::{CoordinatorParty, PASS};
use crate::disk::{DiskFaults, FaultyDisk, Party};
use crate::host::ModelHost;
use crate::ledger::Ledger;
use crate::liar::Liar;
use crate::machine::MachineParty;
use crate::memory::MachineDisk;
use crate::net::{Net, Weather};
use crate::owner::{Answer, Owner, Wanted};
use crate::time::PartyClock;
use crate::trace::{Counts, Fault, Trace};
use crate::verdict::{missing, unconverged};

/// How long a fleet may take to come to rest once nothing goes wrong any more, in seconds: the longest pause of an agent that was
/// refused, and of a unit that failed, and some room.
const SETTLE_SECONDS: u64 = 1_800;
/// How often it is looked at meanwhile, in seconds.
const LOOK_SECONDS: u64 = 5;
/// How often a change that nobody can speak for is submitted again.
const SUBMITS_MAX: u32 = 3;
/// Profiles that the owner plays with.
const PROFILES: u64 = 3;
const ROLES: [&str; 3] = ["web", "db", "spare"];

/// What kind of story it is. Everything that is not said here comes from the seed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How many machines; none for as many as the seed says.
    pub machines: Option<usize>,
    /// How many coordinators; none for as many as the seed says.
    pub coordinators: Option<usize>,
    /// How long things go wrong, in seconds; none for as long as the seed says.
    pub seconds: Option<u64>,
    /// Whether to keep what happens as text.
    pub keep_lines: bool,
}

impl Plan {
    /// The story that the seed alone makes.
    pub const fn of(seed: u64) -> Self {
        Self { seed, machines: None, coordinators: None, seconds: None, keep_lines: false }
    }
}

/// How a story ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The digest of all that happened.
    pub digest: String,
    /// What must never be, and was; none where all is well.
    pub violations: Vec<String>,
    /// The faults that occurred.
    pub faults: Counts,
    /// How many changes were acknowledged.
    pub changes: usize,
    /// How long it took in virtual time.
    pub simulated: Duration,
    /// What happened, where it was kept.
    pub lines: Vec<String>,
}

/// Something that is done to the fleet.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Change,
    Crash { party: Party, silently: bool, down: Duration },
    Start(Party),
    Cut { machine: usize, coordinator: usize, lasts: Duration },
    Heal { machine: usize, coordinator: usize },
    Step { party: Option<Party>, seconds: i64 },
}

/// Plays the story of a seed. Runs on a runtime of its own, of one thread, whose clock is paused.
///
/// # Errors
///
/// In words, why it could not even begin.
pub fn play(plan: &Plan) -> Result<Outcome, String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().map_err(|error| error.to_string())?;
    runtime.block_on(async { Story::begin(plan).await?.run().await })
}

struct Story {
    chance: Chance,
    trace: Trace,
    net: Net,
    ledger: Ledger,
    owner: Owner,
    record: MemoryRecord,
    record_disk: Arc<FaultyDisk>,
    coordinators: Vec<CoordinatorParty>,
    machines: Vec<MachineParty>,
    liar: Option<usize>,
    kills: mpsc::UnboundedReceiver<Party>,
    deeds: std::collections::BTreeMap<(Instant, u64), Deed>,
    next_deed: u64,
    seconds: u64,
    start: Instant,
}

fn key_seed(chance: &mut Chance) -> [u8; 32] {
    let mut seed = [0; 32];
    chance.fill(&mut seed);
    seed
}

impl Story {
    async fn begin(plan: &Plan) -> Result<Self, String> {
        let mut chance = Chance::new(plan.seed);
        let (trace, clock) = (Trace::new(plan.keep_lines), PartyClock::new());
        let net = Net::new(chance.fork(), trace.clone());
        let (kill, kills) = mpsc::unbounded_channel();
        let coordinators = plan.coordinators.unwrap_or(if chance.permille(350) { 2 } else { 1 });
        let machine_count = plan.machines.unwrap_or_else(|| usize::try_from(chance.between(2, 5)).unwrap_or(2));
        let record_disk = Arc::new(FaultyDisk::new(Party::Coordinator(0), trace.clone(), chance.fork(), kill.clone()));
        let mut uids = chance.fork();
        let uids = std::sync::Mutex::new(uids.fork());
        let new_uid = move || {
            let mut bytes = [0; 16];
            uids.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fill(&mut bytes);
            uuid(bytes)
        };
        let record = MemoryRecord::on(Arc::clone(&record_disk) as Arc<_>, Arc::new(new_uid));
        let ledger = Ledger::new(record.clone(), trace.clone());
        let (owner_seed, seeds) = (key_seed(&mut chance), (0..coordinators).map(|_| key_seed(&mut chance)).collect::<Vec<_>>());
        let owner_key = SigningKey::from_seed(&owner_seed);
        let online = seeds.iter().map(|seed| SigningKey::from_seed(seed).public_key().clone()).collect();
        let root = Root::default_for(vec![owner_key.public_key().clone()], online, clock.now());
        let root = SignedRoot::sign(&root, &[&owner_key]).map_err(|error| error.to_string())?;
        let fleet = root.digest();
        let parties = (0..).zip(seeds).map(|(number, seed)| {
            let world = (net.clone(), clock.another(), chance.fork(), trace.clone());
            CoordinatorParty::new(number, seed, fleet, record.clone(), coordinators == 1, world)
        });
        let parties: Vec<CoordinatorParty> = parties.collect();
        let owner = Owner::new(owner_seed, fleet, clock.another(), chance.fork(), ledger.clone(), trace.clone());
        let addresses: Vec<PeerAddress> = parties.iter().map(CoordinatorParty::address).collect();
        let machines = (0..machine_count)
            .map(|number| machine(number, &mut chance, fleet, &addresses, (&net, &clock, &ledger, &trace), &kill))
            .collect();
        let seconds = plan.seconds.unwrap_or_else(|| chance.between(40, 150));
        let mut story = Self {
            chance,
            trace,
            net,
            ledger,
            owner,
            record,
            record_disk,
            coordinators: parties,
            machines,
            liar: None,
            kills,
            deeds: std::collections::BTreeMap::new(),
            next_deed: 0,
            seconds,
            start: Instant::now(),
        };
        story.found(&root).await?;
        Ok(story)
    }

    /// The record gets its root, everybody starts, and the owner lets the machines in.
    async fn found(&mut self, root: &SignedRoot) -> Result<(), String> {
        let Some(first) = self.coordinators.first() else { return Err("there is no coordinator".to_owned()) };
        let store = first.store(Arc::new(self.record.engine())).await?;
        Admission::found(&store, root, &first.environment()).await.map_err(|error| error.to_string())?;
        store.close().await;
        for coordinator in &mut self.coordinators {
            coordinator.start().await?;
        }
        let wanted: Vec<Wanted> = (0..self.machines.len()).map(|number| self.machine_object(number)).collect();
        if let Some(submitting) = self.submitting(&wanted) {
            submitting.await;
        }
        for machine in &mut self.machines {
            machine.start().await;
        }
        Ok(())
    }

    async fn run(mut self) -> Result<Outcome, String> {
        self.brew();
        self.worst().await;
        self.calm().await;
        let settled = self.settle().await;
        self.trace.note(format_args!("at rest: {settled}"));
        let changes = self.ledger.to_be_there().len();
        Ok(Outcome {
            digest: self.trace.digest(),
            violations: self.trace.violations(),
            faults: self.trace.counts(),
            changes,
            simulated: self.start.elapsed(),
            lines: self.trace.lines(),
        })
    }

    /// What goes wrong in this seed, and how badly; each kind in about half of them.
    fn brew(&mut self) {
        let chance = &mut self.chance;
        let mut some = |most: u64| if chance.permille(500) { chance.between(1, most) } else { 0 };
        let weather = Weather {
            latency_least: 1,
            latency_most: 5_u64.saturating_add(some(300)),
            drop: some(200),
            delay: some(60),
            duplicate: some(100),
        };
        let record = DiskFaults { slow: some(40), lies: some(60) / 2, fails: some(30), full: some(60), kills: some(15) };
        let of_machine = DiskFaults { slow: some(60), lies: some(60) / 2, fails: some(60), full: some(120), kills: some(30) };
        let failing = some(400);
        let lies = some(10) > 5;
        let counts = (some(14), some(10), some(8), some(6).saturating_add(4));
        self.net.set_weather(weather);
        self.record_disk.set(record);
        for machine in &self.machines {
            machine.faults.set(of_machine);
            machine.host.set_failing(failing);
        }
        if lies {
            self.lie();
        }
        self.trace.note(format_args!("{weather:?} {record:?} {of_machine:?} {failing} {lies} {counts:?}"));
        let (crashes, cuts, steps, changes) = counts;
        for _ in 0..crashes {
            let party = self.somebody();
            let (silently, down) = (self.chance.permille(500), self.chance.between(0, 25_000));
            self.sometime(Deed::Crash { party, silently, down: Duration::from_millis(down) });
        }
        for _ in 0..cuts {
            let machine = self.number(self.machines.len());
            let coordinator = self.number(self.coordinators.len());
            let lasts = Duration::from_millis(self.chance.between(100, 40_000));
            self.sometime(Deed::Cut { machine, coordinator, lasts });
        }
        for _ in 0..steps {
            let party = if self.chance.permille(250) { None } else { Some(self.somebody()) };
            let seconds = i64::try_from(self.chance.between(0, 7_200)).unwrap_or(0).saturating_sub(3_600);
            self.sometime(Deed::Step { party, seconds });
        }
        for _ in 0..changes {
            self.sometime(Deed::Change);
        }
    }

    /// From now on one coordinator lies.
    fn lie(&mut self) {
        let number = self.number(self.coordinators.len());
        let Some(coordinator) = self.coordinators.get(number) else { return };
        let (key, fleet) = coordinator.identity();
        let liar = Liar::new(key, self.owner.key(), fleet, coordinator.environment(), self.chance.fork(), self.trace.clone());
        self.net.set_liar(coordinator.peer(), Some(Arc::new(liar)));
        self.liar = Some(number);
        // Those who came while it was honest come again.
        self.sometime(Deed::Crash { party: Party::Coordinator(number), silently: false, down: Duration::from_millis(100) });
    }

    fn number(&mut self, below: usize) -> usize {
        usize::try_from(self.chance.below(below as u64)).unwrap_or(0)
    }

    fn somebody(&mut self) -> Party {
        if self.chance.permille(350) {
            Party::Coordinator(self.number(self.coordinators.len()))
        } else {
            Party::Machine(self.number(self.machines.len()))
        }
    }

    fn sometime(&mut self, deed: Deed) {
        let milliseconds = self.chance.below(self.seconds.saturating_mul(1_000));
        self.after(Duration::from_millis(milliseconds), deed);
    }

    fn after(&mut self, pause: Duration, deed: Deed) {
        let number = self.next_deed;
        self.next_deed = number.saturating_add(1);
        self.deeds.insert((Instant::now() + pause, number), deed);
    }

    /// Does what the seed says, until that is over.
    async fn worst(&mut self) {
        let end = Instant::now() + Duration::from_secs(self.seconds);
        loop {
            let next = self.deeds.keys().next().map_or(end, |(at, _)| (*at).min(end));
            tokio::select! {
                biased;
                party = self.kills.recv() => {
                    if let Some(party) = party {
                        self.killed_in_write(party).await;
                    }
                }
                () = tokio::time::sleep_until(next) => {
                    if next >= end {
                        return;
                    }
                    if let Some((_, deed)) = self.deeds.pop_first() {
                        self.carry_out(deed).await;
                    }
                }
            }
        }
    }

    /// A write on the record's disk kills the coordinator that has the record in its process; of several, the server, and nobody else.
    async fn killed_in_write(&mut self, party: Party) {
        if matches!(party, Party::Coordinator(_)) && self.coordinators.len() > 1 {
            let lost = self.record.crash();
            self.note_lost(lost).await;
            return;
        }
        let down = Duration::from_millis(self.chance.between(0, 10_000));
        self.carry_out(Deed::Crash { party, silently: false, down }).await;
    }

    async fn carry_out(&mut self, deed: Deed) {
        self.trace.note(format_args!("{deed:?}"));
        match deed {
            Deed::Change => self.change(),
            Deed::Crash { party: Party::Machine(number), silently, down } => {
                if let Some(machine) = self.machines.get_mut(number).filter(|machine| machine.is_running()) {
                    self.trace.fault(Fault::CrashAgent);
                    machine.kill(silently);
                    self.after(down, Deed::Start(Party::Machine(number)));
                }
            }
            Deed::Crash { party: Party::Coordinator(number), silently, down } => {
                if let Some(coordinator) = self.coordinators.get_mut(number).filter(|coordinator| coordinator.is_running()) {
                    self.trace.fault(Fault::CrashCoordinator);
                    let lost = coordinator.kill(silently).await;
                    self.note_lost(lost).await;
                    self.after(down, Deed::Start(Party::Coordinator(number)));
                }
            }
            Deed::Start(party) => self.start_party(party).await,
            Deed::Cut { machine, coordinator, lasts } => {
                if let (Some(one), Some(other)) = (self.machines.get(machine), self.coordinators.get(coordinator)) {
                    self.net.cut(one.peer(), other.peer());
                    self.after(lasts, Deed::Heal { machine, coordinator });
                }
            }
            Deed::Heal { machine, coordinator } => {
                if let (Some(one), Some(other)) = (self.machines.get(machine), self.coordinators.get(coordinator)) {
                    self.net.heal(one.peer(), other.peer());
                }
            }
            Deed::Step { party, seconds } => {
                self.trace.fault(Fault::ClockStep);
                if let Some(clock) = self.clock(party) {
                    clock.step(seconds);
                }
            }
        }
    }

    fn clock(&self, party: Option<Party>) -> Option<&PartyClock> {
        match party {
            None => Some(&self.owner.clock),
            Some(Party::Machine(number)) => self.machines.get(number).map(|machine| &machine.clock),
            Some(Party::Coordinator(number)) => self.coordinators.get(number).map(|coordinator| &coordinator.clock),
        }
    }

    async fn start_party(&mut self, party: Party) {
        match party {
            Party::Machine(number) => {
                if let Some(machine) = self.machines.get_mut(number) {
                    machine.start().await;
                }
            }
            Party::Coordinator(number) => {
                if let Some(coordinator) = self.coordinators.get_mut(number)
                    && let Err(error) = coordinator.start().await
                {
                    self.trace.note(format_args!("coordinator {number} does not start: {error}"));
                    self.after(Duration::from_secs(1), Deed::Start(party));
                }
            }
        }
    }

    /// A lying disk made the record lose what it had acknowledged: nobody is held to that.
    async fn note_lost(&mut self, lost: usize) {
        if lost > 0 {
            self.trace.fault(Fault::FsyncLost);
            let meta = stead_store::Engine::meta(&self.record.engine()).await;
            self.ledger.lose(meta.map(|meta| meta.last).unwrap_or_default());
        }
    }

    /// The owner signs something, and submits it to somebody.
    fn change(&mut self) {
        let what = self.chance.below(10);
        let wanted = match what {
            0..=5 => vec![self.profile()],
            6 => vec![self.profile(), self.profile()],
            7 => vec![Wanted::Delete(self.profile_key())],
            _ => {
                let number = self.number(self.machines.len());
                vec![self.machine_object(number)]
            }
        };
        let mut names = std::collections::BTreeSet::new();
        let wanted: Vec<Wanted> = wanted.into_iter().filter(|want| names.insert(format!("{:?}", want.key()))).collect();
        self.submit(&wanted);
    }

    fn submit(&mut self, wanted: &[Wanted]) {
        if let Some(submitting) = self.submitting(wanted) {
            tokio::spawn(submitting);
        }
    }

    /// Signs a change as a coordinator sees the record now, and goes on submitting it until somebody answers.
    fn submitting(&mut self, wanted: &[Wanted]) -> Option<impl Future<Output = ()> + Send + 'static> {
        let there: Vec<_> = self.coordinators.iter().filter_map(CoordinatorParty::admission).collect();
        let (mut admission, mut dead) = self.chance.pick(&there).cloned()?;
        let submission = match self.owner.sign(&admission, wanted) {
            Ok(submission) => submission,
            Err(error) => {
                self.trace.note(format_args!("not signed: {error}"));
                return None;
            }
        };
        let (owner, mut chance) = (self.owner.clone(), self.chance.fork());
        Some(async move {
            for _ in 0..SUBMITS_MAX {
                if owner.submit(&admission, &dead, &submission).await != Answer::Unknown {
                    return;
                }
                // The same again, to whoever is there: it must not be admitted twice.
                tokio::time::sleep(Duration::from_secs(2)).await;
                if let Some(other) = chance.pick(&there).cloned() {
                    (admission, dead) = other;
                }
            }
        })
    }

    fn profile_key(&mut self) -> ObjectKey {
        ObjectKey::new(GroupKind::new(GROUP, "Profile"), "", &format!("profile-{}", self.chance.below(PROFILES)))
    }

    fn profile(&mut self) -> Wanted {
        let key = self.profile_key();
        let files = self.chance.between(0, 3);
        let file =
            |number: u64, content: u64| json!({"path": format!("/{}/{number}", key.name), "content": format!("{content:x}")});
        let files: Vec<_> = (0..files).map(|number| file(number, self.chance.draw())).collect();
        let role = self.chance.pick(&ROLES).copied().unwrap_or_default();
        let selector = if self.chance.permille(500) { json!({}) } else { json!({"matchLabels": {"role": role}}) };
        let spec = json!({"selector": selector, "files": files});
        Wanted::Put(object("Profile", &key.name, &json!({}), &spec))
    }

    fn machine_object(&mut self, number: usize) -> Wanted {
        let role = self.chance.pick(&ROLES).copied().unwrap_or_default();
        let Some(machine) = self.machines.get(number) else { return Wanted::Delete(self.profile_key()) };
        let spec = json!({"key": machine.peer().to_string()});
        Wanted::Put(object("Machine", &machine.name, &json!({"role": role}), &spec))
    }

    /// Nothing goes wrong any more.
    async fn calm(&mut self) {
        self.trace.note(format_args!("calm"));
        self.net.set_weather(Weather::CALM);
        self.record_disk.set(DiskFaults::default());
        for machine in &self.machines {
            machine.faults.set(DiskFaults::default());
            machine.host.set_failing(0);
            machine.clock.step(0);
            for coordinator in &self.coordinators {
                self.net.heal(machine.peer(), coordinator.peer());
            }
        }
        self.owner.clock.step(0);
        for coordinator in &self.coordinators {
            coordinator.clock.step(0);
        }
        if let Some(number) = self.liar.take() {
            if let Some(coordinator) = self.coordinators.get(number) {
                self.net.set_liar(coordinator.peer(), None);
            }
            // It is found out, and an honest one takes its place.
            self.carry_out(Deed::Crash { party: Party::Coordinator(number), silently: false, down: Duration::ZERO }).await;
        }
        while let Ok(party) = self.kills.try_recv() {
            self.killed_in_write(party).await;
        }
        self.deeds.clear();
        self.start_all().await;
    }

    async fn start_all(&mut self) {
        for number in 0..self.coordinators.len() {
            self.start_party(Party::Coordinator(number)).await;
        }
        for number in 0..self.machines.len() {
            if let Some(machine) = self.machines.get_mut(number).filter(|machine| machine.has_ended()) {
                machine.kill(false);
            }
            self.start_party(Party::Machine(number)).await;
        }
    }

    /// Waits until the fleet is as its record says, or for too long. What then is not as it should be is a violation.
    async fn settle(&mut self) -> bool {
        let mut left = Vec::new();
        for _ in 0..SETTLE_SECONDS.div_euclid(LOOK_SECONDS) {
            tokio::time::sleep(Duration::from_secs(LOOK_SECONDS)).await;
            self.start_all().await;
            left.clear();
            for coordinator in &self.coordinators {
                match coordinator.admission() {
                    Some((admission, _)) => {
                        left.extend(unconverged(&admission.store().snapshot(), &self.machines, &self.ledger));
                    }
                    None => left.push(format!("{} does not run", coordinator.name)),
                }
            }
            if left.is_empty() {
                break;
            }
        }
        for (admission, _) in self.coordinators.iter().filter_map(CoordinatorParty::admission) {
            left.extend(missing(admission.store(), &self.ledger).await);
        }
        let settled = left.is_empty();
        left.into_iter().for_each(|what| self.trace.violation(what));
        settled
    }
}

fn object(kind: &str, name: &str, labels: &serde_json::Value, spec: &serde_json::Value) -> Object {
    let value = json!({
        "apiVersion": "stead.dev/v1", "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec,
    });
    // It has the shape of an object as it is written here.
    serde_json::from_value(value).unwrap_or_default()
}

fn machine(
    number: usize,
    chance: &mut Chance,
    fleet: Digest,
    coordinators: &[PeerAddress],
    (net, clock, ledger, trace): (&Net, &PartyClock, &Ledger, &Trace),
    kill: &mpsc::UnboundedSender<Party>,
) -> MachineParty {
    let name = format!("machine-{number}");
    let faults = Arc::new(FaultyDisk::new(Party::Machine(number), trace.clone(), chance.fork(), kill.clone()));
    let disk = Arc::new(MachineDisk::new(&name, Arc::clone(&faults), ledger.clone(), trace.clone()));
    let host = Arc::new(ModelHost::new(&name, chance.fork(), ledger.clone(), trace.clone()));
    let ticket = Ticket {
        fleet: *fleet.as_bytes(),
        root_version: 1,
        coordinators: coordinators.to_vec(),
        pass: Bytes::from_static(PASS),
        delegation: None,
    };
    let world = (net.clone(), clock.another(), chance.fork(), trace.clone());
    MachineParty::new(&name, key_seed(chance), ticket, (faults, disk, host), world)
}
