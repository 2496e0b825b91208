//! A fleet in a folder: founded, started, stopped and asked as its owner would.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::process::Process;
use crate::stead::{Ended, Home};

/// How long anything may take on a machine that is busy with a build.
pub(crate) const PATIENCE: &str = "240s";
const PATIENCE_SECONDS: u64 = 240;
/// The words that start the coordinator.
pub(crate) const COORDINATOR: [&str; 3] = ["coordinator", "--state-dir", "coordinator"];

/// Where the coordinator listens, the same after a restart.
struct Ports {
    api: u16,
    machines: u16,
    relay: u16,
}

/// A coordinator and its machines.
pub(crate) struct Fleet {
    pub(crate) home: Arc<Home>,
    ports: Ports,
    pub(crate) coordinator: Option<Process>,
    pub(crate) agents: BTreeMap<String, Process>,
    ticket: String,
    /// What the coordinator said when it was there.
    ready: String,
}

impl Fleet {
    /// A fleet without machines, whose owner has the key `.ssh/id_ed25519`.
    pub(crate) fn found() -> Self {
        Self::found_in(Home::new(), &COORDINATOR)
    }

    /// The same in a home where something was made ready, with other words for the coordinator.
    pub(crate) fn found_in(home: Home, coordinator: &[&str]) -> Self {
        home.keygen(".ssh/id_ed25519", "");
        let key = home.stead(&[coordinator, &["--print-key"]].concat()).ok();
        home.stead(&["trust", "init", "--online", key.trim(), "--out", "trust"]).ok();
        Self::on_root(home, coordinator)
    }

    /// Makes the owner's key, and a trust root that names the keys of two coordinators, which keep their state in these directories.
    pub(crate) fn trust_two(home: &Home, states: [&str; 2]) {
        home.keygen(".ssh/id_ed25519", "");
        let keys = states.map(|state| home.stead(&["coordinator", "--state-dir", state, "--print-key"]).ok());
        home.stead(&["trust", "init", "--online", keys[0].trim(), "--online", keys[1].trim(), "--out", "trust"]).ok();
    }

    /// The same on a trust root that is there already.
    pub(crate) fn on_root(home: Home, coordinator: &[&str]) -> Self {
        let mut fleet = Self {
            home: Arc::new(home),
            ports: Ports::free(),
            coordinator: None,
            agents: BTreeMap::new(),
            ticket: String::new(),
            ready: String::new(),
        };
        fleet.start_coordinator_with(coordinator);
        let words = ["login", "--server", &fleet.server(), "--ca-file", "coordinator/tls/authority.crt"];
        fleet.home.stead(&words).ok();
        fleet
    }

    /// A fleet with machines of these names, each with the label `role=web`, all of them there.
    pub(crate) fn with_machines(names: &[&str]) -> Self {
        let mut fleet = Self::found();
        for name in names {
            fleet.join(name);
        }
        fleet
    }

    pub(crate) fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.api)
    }

    /// Where the relay listens.
    pub(crate) fn relay(&self) -> String {
        format!("127.0.0.1:{}", self.ports.relay)
    }

    /// A value of what the coordinator said when it was there.
    pub(crate) fn ready_value(&self, name: &str) -> String {
        let value = self.ready.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {name}: {}", self.ready)).to_owned()
    }

    pub(crate) fn start_coordinator(&mut self) {
        self.start_coordinator_with(&COORDINATOR);
    }

    pub(crate) fn start_coordinator_with(&mut self, words: &[&str]) {
        self.spawn_coordinator(words);
        let ready = self.coordinator.as_mut().unwrap().line("ready ");
        self.ready = ready.unwrap_or_else(|| panic!("the coordinator did not start:\n{}", self.log("coordinator")));
    }

    /// Starts it without waiting until it is there.
    pub(crate) fn spawn_coordinator(&mut self, words: &[&str]) {
        let mut command = self.coordinator_command(words);
        self.coordinator = Some(Process::spawn(&mut command));
    }

    /// A coordinator on this fleet's ports, ready to be run.
    pub(crate) fn coordinator_command(&self, words: &[&str]) -> Command {
        let mut command = self.home.command(env!("CARGO_BIN_EXE_stead"));
        command.args(words).args(["--trust-root", "trust/root.json"]);
        let Ports { api, machines, relay } = self.ports;
        for (flag, port) in [("--listen", api), ("--listen-machines", machines), ("--listen-relay", relay)] {
            command.args([flag, &format!("127.0.0.1:{port}")]);
        }
        command.env("STEAD_LOG_LEVEL", "info").stderr(self.log_file("coordinator"));
        command
    }

    /// A second coordinator on the same record, on ports that the system chooses.
    pub(crate) fn start_second(&self, url: &str) -> Process {
        let mut command = self.home.command(env!("CARGO_BIN_EXE_stead"));
        command.args(["coordinator", "--state-dir", "second", "--store", url, "--trust-root", "trust/root.json"]);
        for flag in ["--listen", "--listen-machines", "--listen-relay"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        command.env("STEAD_LOG_LEVEL", "info").stderr(self.log_file("second"));
        let mut second = Process::spawn(&mut command);
        assert!(second.line("ready ").is_some(), "{}", self.log("second"));
        second
    }

    pub(crate) fn log_file(&self, name: &str) -> File {
        File::options().create(true).append(true).open(self.home.path(&format!("{name}.log"))).unwrap()
    }

    /// What a process logged.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Lets a machine in with an owner's delegation, and waits until it is a member.
    pub(crate) fn join(&mut self, name: &str) {
        if self.ticket.is_empty() {
            let words = ["ticket", "create", "--delegate", "--label", "role=web", "--machines", "50"];
            self.ticket = self.home.stead(&words).ok();
        }
        self.home.write(&format!("{name}.ticket"), &self.ticket);
        self.start_agent_with(name, &["--join", &format!("@{name}.ticket"), "--name", name]);
        self.wait(&format!("machine/{name}"), "condition=Ready");
        self.wait(&format!("machine/{name}"), "condition=Converged");
    }

    /// The next machine joins with a new ticket.
    pub(crate) fn forget_ticket(&mut self) {
        self.ticket.clear();
    }

    /// Starts the agent of a machine that is a member.
    pub(crate) fn start_agent(&mut self, name: &str) {
        self.start_agent_with(name, &[]);
    }

    /// The same with more words.
    pub(crate) fn start_agent_with(&mut self, name: &str, words: &[&str]) {
        let state = format!("{name}/state");
        let process = self.agent_process(name, &[&["--state-dir", &state], words].concat());
        self.agents.insert(name.to_owned(), process);
    }

    /// An agent on a machine's root.
    pub(crate) fn agent_process(&self, name: &str, words: &[&str]) -> Process {
        std::fs::create_dir_all(self.root_of(name)).unwrap();
        let mut command = self.home.command(env!("CARGO_BIN_EXE_stead"));
        command.args(["agent", "--root", &format!("{name}/root"), "--bind", "127.0.0.1:0"]).args(words);
        if !words.contains(&"--vitals-seconds") {
            command.args(["--vitals-seconds", "5"]);
        }
        command.args(["--observe-seconds", "5"]);
        command.env("STEAD_LOG_LEVEL", "info").stdout(Stdio::null()).stderr(self.log_file(name));
        Process::spawn(&mut command)
    }

    /// The folder that plays a machine.
    pub(crate) fn root_of(&self, name: &str) -> PathBuf {
        self.home.path(&format!("{name}/root"))
    }

    /// A file of a machine, where it has it.
    pub(crate) fn file(&self, name: &str, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root_of(name).join(path.trim_start_matches('/'))).ok()
    }

    pub(crate) fn agent(&mut self, name: &str) -> &mut Process {
        self.agents.get_mut(name).unwrap()
    }

    /// Types a command as the owner.
    pub(crate) fn stead(&self, words: &[&str]) -> Ended {
        self.home.stead(words)
    }

    /// An object as the record has it.
    pub(crate) fn get(&self, object: &str) -> Value {
        serde_json::from_str(&self.stead(&["get", object, "-o", "json"]).ok()).unwrap()
    }

    /// The objects of a kind, whatever kind of list the command prints.
    pub(crate) fn list(&self, kind: &str) -> Vec<Value> {
        let value: Value = serde_json::from_str(&self.stead(&["get", kind, "-o", "json"]).ok()).unwrap();
        match value {
            Value::Array(items) => items,
            mut list => match list["items"].take() {
                Value::Array(items) => items,
                _ => vec![list],
            },
        }
    }

    /// Waits until something is true of an object.
    #[track_caller]
    pub(crate) fn wait(&self, object: &str, what: &str) {
        let ended = self.stead(&["wait", object, "--for", what, "--timeout", PATIENCE]);
        if ended.code != 0 {
            let shown = self.stead(&["get", object, "-o", "yaml"]).stdout;
            let logs: String = std::iter::once("coordinator")
                .chain(self.agents.keys().map(String::as_str))
                .map(|name| tail(&self.log(name)))
                .collect();
            panic!("{object} is not {what}: {ended:#?}\n{shown}\n{logs}");
        }
    }

    /// Signs a profile for every machine, and gives the sequence of its name.
    pub(crate) fn apply(&self, name: &str, spec: Value) -> u64 {
        let change: Value = serde_json::from_str(&self.apply_with(name, spec, &["-o", "json"]).ok()).unwrap();
        change["spec"]["entries"][0]["sequence"].as_u64().unwrap_or_else(|| panic!("{change:#}"))
    }

    /// The same with more words, however it ends.
    pub(crate) fn apply_with(&self, name: &str, spec: Value, words: &[&str]) -> Ended {
        let manifest = self.manifest(name, spec);
        self.stead(&[&["apply", "-f", &manifest], words].concat())
    }

    /// Writes a manifest of a profile for every machine.
    pub(crate) fn manifest(&self, name: &str, mut spec: Value) -> String {
        spec["selector"] = json!({});
        let profile = json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": name}, "spec": spec});
        let path = format!("{name}.json");
        self.home.write(&path, &profile.to_string());
        path
    }

    /// Signs a profile, and waits until every machine that it means has acknowledged it.
    pub(crate) fn apply_and_wait(&self, name: &str, spec: Value) {
        let sequence = self.apply(name, spec);
        self.wait_converged(name, sequence);
    }

    pub(crate) fn wait_converged(&self, name: &str, sequence: u64) {
        let profile = format!("profile/{name}");
        self.wait(&profile, &format!("status.sequence={sequence}"));
        self.wait(&profile, "condition=Converged");
    }
}

/// One file with a content.
pub(crate) fn file(path: &str, content: &str) -> Value {
    json!({"files": [{"path": path, "content": content}]})
}

/// Waits for what no command can await, such as a file or a process of a machine.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + Duration::from_secs(PATIENCE_SECONDS);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < limit, "{what}: not within {PATIENCE_SECONDS} s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    format!("---\n{}\n", lines[lines.len().saturating_sub(30)..].join("\n"))
}

impl Ports {
    /// Three ports that nobody has now, below those that the system gives away by itself.
    fn free() -> Self {
        let [api, machines, relay] = [(); 3].map(|()| free_port());
        Self { api, machines, relay }
    }
}

pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    loop {
        let port = FIRST + u16::try_from(getrandom::u32().unwrap() % u32::from(COUNT)).unwrap();
        let address = ("127.0.0.1", port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}
