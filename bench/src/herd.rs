//! Many real agents against one coordinator: the memory and the time that it takes for them, how soon a change is everywhere, and how
//! soon all are back when it was killed.
//!
//! The agents are the product's own, some hundred in a process, each with its own key, endpoint, memory and folder; they keep their state
//! in memory (tmpfs), because ten thousand disks are not at hand. They share the two cores with the coordinator, so what they spend is
//! in every figure.

use crate::author::profile;
use crate::failure::BenchError;
use crate::ground::{Coordinator, Ground, MACHINES_PATH, ROLE};
use crate::http::{Http, Watch};
use crate::sample::Samples;
use crate::{child, process};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stead_agent::{AgentMetrics, AgentOptions, Told};
use stead_trust::SigningKey;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

/// Agents in one process: a process may have 65,530 maps and as many open files as the system gives, and each agent needs some.
const AGENTS_PER_PROCESS: usize = 500;
/// Agents of one process that start at once; the coordinator lets them in as they come.
const STARTING_AT_ONCE: usize = 32;
/// After this long a fleet that is not there counts as never there.
const FLEET_LIMIT: Duration = Duration::from_secs(1_800);
/// How long a change may take to be everywhere.
const APPLIED_LIMIT: Duration = Duration::from_secs(300);
/// How long the fleet is left alone before the coordinator is looked at.
const SETTLE: Duration = Duration::from_secs(60);
/// How long it is looked at: the period of vitals, so that each machine's are in it once.
const IDLE: Duration = Duration::from_secs(60);
/// How often a process of agents says how many of them are connected.
const TELL: Duration = Duration::from_millis(250);
/// Ticks of a second in proc(5).
const TICKS_PER_SECOND: f64 = 100.0;

/// Changes of one file that 1,000 machines apply.
pub(crate) fn thousand() -> Result<Vec<Samples>, BenchError> {
    process::runtime()?.block_on(async {
        let mut herd = Herd::gather(1_000).await?;
        let applied = herd.changes(5, 100).await?;
        herd.end().await?;
        Ok(vec![applied])
    })
}

/// 10,000 machines: memory and time of the coordinator when nothing happens, changes, and how soon all are back after a SIGKILL.
pub(crate) fn ten_thousand() -> Result<Vec<Samples>, BenchError> {
    process::runtime()?.block_on(async {
        let mut herd = Herd::gather(10_000).await?;
        tokio::time::sleep(SETTLE).await;
        let (pid, start, before) = (herd.coordinator.pid()?, Instant::now(), cpu_seconds(herd.coordinator.pid()?)?);
        tokio::time::sleep(IDLE).await;
        let spent = (cpu_seconds(pid)? - before) / start.elapsed().as_secs_f64() * 100.0;
        let resident = child::resident_kib(&PathBuf::from(format!("/proc/{pid}/status")))? / 1024.0;
        let applied = herd.changes(1, 20).await?;
        let back = herd.kill_and_return().await?;
        herd.end().await?;
        let one = |value| Samples { values: vec![value], ..Samples::default() };
        Ok(vec![one(resident), one(spent), applied, one(back)])
    })
}

/// A coordinator and its agents.
struct Herd {
    ground: Ground,
    coordinator: Coordinator,
    http: Http,
    watch: Watch,
    agents: Agents,
    /// Where the agents keep their state.
    _folder: TempDir,
    sequence: u64,
}

impl Herd {
    async fn gather(count: usize) -> Result<Self, BenchError> {
        process::allow_open_files()?;
        let ground = Ground::found().await?;
        let coordinator = ground.coordinator().await?;
        let author = ground.author(&coordinator)?;
        let http = Http::log_in(coordinator.value("plain")?, &author).await?;
        let ticket = ground.ticket_for(&coordinator, count).await?;
        let folder =
            tempfile::tempdir_in("/dev/shm").map_err(|source| BenchError::File { path: PathBuf::from("/dev/shm"), source })?;
        let file = folder.path().join("ticket");
        std::fs::write(&file, ticket).map_err(|source| BenchError::File { path: file.clone(), source })?;
        let mut agents = Agents::start(folder.path(), count)?;
        let start = Instant::now();
        agents.until("all of them to join", |now| now.connected == count).await?;
        eprintln!("{count} agents have joined after {:.0} s", start.elapsed().as_secs_f64());
        let watch = http.watch(MACHINES_PATH).await?;
        Ok(Self { ground, coordinator, http, watch, agents, _folder: folder, sequence: 0 })
    }

    /// Milliseconds from just before each Change is posted until the last machine has acknowledged it.
    async fn changes(&mut self, warmup: usize, count: usize) -> Result<Samples, BenchError> {
        let author = self.ground.author(&self.coordinator)?;
        let mut samples = Samples { warmup, percentile: 99, ..Samples::default() };
        for round in 0..warmup + count {
            self.sequence += 1;
            let content = format!("{}\n", self.sequence);
            let body = author.change(&profile(crate::applied::PROFILE, ROLE, &content), self.sequence)?;
            let start = Instant::now();
            self.http.submit(body).await?;
            everywhere(&mut self.watch, self.sequence, self.agents.count).await?;
            if round >= warmup {
                samples.values.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        Ok(samples)
    }

    /// Seconds from the coordinator's SIGKILL until every machine has its session again.
    async fn kill_and_return(&mut self) -> Result<f64, BenchError> {
        let before = self.agents.heard();
        let start = Instant::now();
        self.coordinator.kill_in_place().await?;
        // Started again at once, as a service manager does; the agents notice by themselves.
        self.coordinator = self.ground.coordinator_again(&self.coordinator).await?;
        let count = self.agents.count;
        let back = |now: Heard| {
            now.connected == count && now.least > before.least && now.connections >= before.connections + count as u64
        };
        self.agents.until("all of them to be back", back).await?;
        Ok(start.elapsed().as_secs_f64())
    }

    async fn end(mut self) -> Result<(), BenchError> {
        self.agents.end().await?;
        self.coordinator.kill().await
    }
}

/// Waits until so many machines have acknowledged a sequence of the profile.
async fn everywhere(watch: &mut Watch, sequence: u64, count: usize) -> Result<(), BenchError> {
    #[derive(Deserialize)]
    struct Event {
        object: Machine,
    }
    #[derive(Deserialize)]
    struct Machine {
        metadata: Metadata,
        status: Option<Status>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
    }
    #[derive(Deserialize)]
    struct Status {
        #[serde(default)]
        acknowledgements: Vec<Word>,
    }
    #[derive(Deserialize)]
    struct Word {
        object: String,
        sequence: u64,
        outcome: String,
    }
    let mut names = BTreeSet::new();
    let reading = async {
        while names.len() < count {
            let line = watch.next().await?;
            let event: Event = serde_json::from_slice(&line).map_err(BenchError::step("reading a watch"))?;
            let words = event.object.status.map(|status| status.acknowledgements).unwrap_or_default();
            let own = |word: &&Word| word.object.ends_with(crate::applied::PROFILE) && word.sequence == sequence;
            match words.iter().find(own).map(|word| word.outcome.as_str()) {
                None => {}
                Some("Applied") => drop(names.insert(event.object.metadata.name)),
                Some(other) => {
                    return Err(BenchError::Answer { program: event.object.metadata.name, answer: other.to_owned() });
                }
            }
        }
        Ok(())
    };
    let late = |_| BenchError::step("waiting for acknowledgements")(format!("not all of {count} in {APPLIED_LIMIT:?}"));
    tokio::time::timeout(APPLIED_LIMIT, reading).await.map_err(late)?
}

/// What processes say of their agents.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    /// Agents that have a session.
    connected: usize,
    /// Sessions that they have had, all together.
    connections: u64,
    /// Those of the agent that has had the fewest.
    least: u64,
}

impl Heard {
    fn of(told: &[tokio::sync::watch::Receiver<Told>]) -> Self {
        let each = || told.iter().map(|told| told.borrow().connections);
        Self {
            connected: told.iter().filter(|told| told.borrow().connected).count(),
            connections: each().sum(),
            least: each().min().unwrap_or_default(),
        }
    }

    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let heard = Self {
            connected: words.next()?.parse().ok()?,
            connections: words.next()?.parse().ok()?,
            least: words.next()?.parse().ok()?,
        };
        Some(heard)
    }
}

/// Processes of agents.
struct Agents {
    processes: Vec<Process>,
    count: usize,
}

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    heard: Heard,
}

impl Agents {
    fn start(folder: &Path, count: usize) -> Result<Self, BenchError> {
        let failed = |source| BenchError::Program { program: "agents".to_owned(), source };
        let own = std::env::current_exe().map_err(failed)?;
        let mut processes = Vec::new();
        for first in (0..count).step_by(AGENTS_PER_PROCESS) {
            let mut command = Command::new(&own);
            command.args([child::FIRST_WORD, "agents", &first.to_string(), &AGENTS_PER_PROCESS.min(count - first).to_string()]);
            command.arg(folder).kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
            let mut process = command.spawn().map_err(failed)?;
            let output = process.stdout.take().ok_or_else(|| BenchError::step("starting agents")("they have no output"))?;
            let lines = BufReader::new(output).lines();
            processes.push(Process { child: process, lines, heard: Heard::default() });
        }
        Ok(Self { processes, count })
    }

    /// What was last heard of all.
    fn heard(&self) -> Heard {
        let each = || self.processes.iter().map(|process| process.heard);
        Heard {
            connected: each().map(|heard| heard.connected).sum(),
            connections: each().map(|heard| heard.connections).sum(),
            least: each().map(|heard| heard.least).min().unwrap_or_default(),
        }
    }

    /// Listens to the processes until something is so.
    async fn until(&mut self, what: &str, is_so: impl Fn(Heard) -> bool) -> Result<(), BenchError> {
        let start = Instant::now();
        while !is_so(self.heard()) {
            if start.elapsed() > FLEET_LIMIT {
                let reason = format!("waited for {what}; heard {:?} of {}", self.heard(), self.count);
                return Err(BenchError::step("listening to agents")(reason));
            }
            for process in &mut self.processes {
                let line = process.lines.next_line().await.map_err(BenchError::step("listening to agents"))?;
                let line = line.ok_or_else(|| BenchError::step("listening to agents")("a process of theirs has ended"))?;
                process.heard = Heard::read(&line).ok_or_else(|| BenchError::step("listening to agents")(line))?;
            }
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), BenchError> {
        for process in &mut self.processes {
            process.child.kill().await.map_err(BenchError::step("ending agents"))?;
        }
        Ok(())
    }
}

/// One process of agents: it runs them until it is killed, and prints again and again how many are connected.
pub(crate) fn agents(first: usize, count: usize, folder: &Path) -> Result<(), BenchError> {
    process::allow_open_files()?;
    let file = folder.join("ticket");
    let ticket = std::fs::read_to_string(&file).map_err(|source| BenchError::File { path: file, source })?;
    let ticket: stead_wire::Ticket = ticket.trim().parse().map_err(BenchError::step("reading the ticket"))?;
    process::runtime()?.block_on(async {
        let places = Arc::new(tokio::sync::Semaphore::new(STARTING_AT_ONCE));
        let mut told = Vec::with_capacity(count);
        for number in first..first + count {
            let (tell, heard) = tokio::sync::watch::channel(Told::default());
            told.push(heard.clone());
            let options = options(&folder.join(format!("m{number}")), number, ticket.clone(), tell)?;
            let places = Arc::clone(&places);
            tokio::spawn(async move {
                let mut heard = heard;
                let Ok(place) = places.acquire_owned().await else { return };
                tokio::spawn(async move {
                    // The place is free for the next one when this one is in, or is no more.
                    let _ = heard.wait_for(|told| told.connected).await;
                    drop(place);
                });
                if let Err(error) = stead_agent::run(options, CancellationToken::new()).await {
                    eprintln!("m{number}: {error}");
                }
            });
        }
        let mut ticks = tokio::time::interval(TELL);
        loop {
            ticks.tick().await;
            let Heard { connected, connections, least } = Heard::of(&told);
            println!("{connected} {connections} {least}");
        }
    })
}

fn options(
    folder: &Path,
    number: usize,
    ticket: stead_wire::Ticket,
    told: tokio::sync::watch::Sender<Told>,
) -> Result<AgentOptions, BenchError> {
    let (root, state_dir) = (folder.join("root"), folder.join("state"));
    std::fs::create_dir_all(&root).map_err(|source| BenchError::File { path: root.clone(), source })?;
    Ok(AgentOptions {
        root,
        state_dir,
        key: SigningKey::from_seed(&crate::author::random()?),
        ticket: Some(ticket),
        name: Some(format!("m{number}")),
        bind: vec![std::net::SocketAddr::from(([127, 0, 0, 1], 0))],
        relay_only: false,
        vitals_period: Duration::from_secs(60),
        // As by default: a herd that is away for longer is no measurement.
        vitals_kept_period: Duration::from_secs(900),
        observe_period: Duration::from_secs(300),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        told,
        metrics: Arc::new(AgentMetrics::new()),
    })
}

/// CPU time of a process so far, as proc(5) has it in `stat`.
fn cpu_seconds(pid: u32) -> Result<f64, BenchError> {
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    let text = std::fs::read_to_string(&path).map_err(|source| BenchError::File { path, source })?;
    // The name of the program is in brackets and may hold anything; what follows is numbers, of which the 12th and 13th are meant.
    let numbers = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = numbers.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS_PER_SECOND)
}
