//! A coordinator, machines, and their owner, each in a namespace.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lab::Space;
use crate::fleet::process::Process;
use crate::stead::{Ended, Home};

/// How long anything may take on a machine that is busy with a build.
const PATIENCE: Duration = Duration::from_secs(120);
/// The program that is tried.
const STEAD: &str = env!("CARGO_BIN_EXE_stead");

/// A coordinator and its machines.
pub(crate) struct Party {
    pub(crate) home: Home,
    /// Where the coordinator is, and its owner beside it.
    pub(crate) here: Space,
    coordinator: Option<Process>,
    agents: BTreeMap<String, Process>,
    others: Vec<Process>,
    written: u32,
}

impl Party {
    /// A fleet whose coordinator is in `here`, started with more words.
    pub(crate) fn found(here: &Space, words: &[&str]) -> Self {
        let mut party = Self::prepared(here);
        party.start_coordinator(words);
        party.login();
        party
    }

    /// A fleet whose coordinator has a key and a trust root, and does not run yet.
    pub(crate) fn prepared(here: &Space) -> Self {
        let home = Home::new();
        home.keygen(".ssh/id_ed25519", "");
        let key = home.stead(&["coordinator", "--state-dir", "coordinator", "--print-key"]).ok();
        home.stead(&["trust", "init", "--online", key.trim(), "--out", "trust"]).ok();
        Self { home, here: here.clone(), coordinator: None, agents: BTreeMap::new(), others: Vec::new(), written: 0 }
    }

    pub(crate) fn login(&self) {
        self.stead(&["login", "--server", "https://127.0.0.1:6443", "--ca-file", "coordinator/tls/authority.crt"]).ok();
    }

    /// Starts the coordinator, and gives what it said when it was there.
    pub(crate) fn start_coordinator(&mut self, words: &[&str]) -> String {
        let mut command = self.here.command(&self.home, STEAD);
        command.args(["coordinator", "--state-dir", "coordinator", "--trust-root", "trust/root.json"]).args(words);
        command.env("STEAD_LOG_LEVEL", "info,stead_wire=debug").stderr(self.log_file("coordinator"));
        let mut process = Process::spawn(&mut command);
        let ready = process.line("ready ");
        self.coordinator = Some(process);
        ready.unwrap_or_else(|| panic!("the coordinator did not start:\n{}", self.log("coordinator")))
    }

    pub(crate) fn stop_coordinator(&mut self) {
        self.coordinator.take().unwrap().stop();
    }

    /// Starts a program of this fleet that is neither, and gives the line with which it says that it is there.
    pub(crate) fn start_other(&mut self, space: &Space, name: &str, words: &[&str]) -> (usize, String) {
        let mut command = space.command(&self.home, STEAD);
        command.args(words).env("STEAD_LOG_LEVEL", "info").stderr(self.log_file(name));
        let mut process = Process::spawn(&mut command);
        let ready = process.line("ready ").unwrap_or_else(|| panic!("{name} did not start:\n{}", self.log(name)));
        self.others.push(process);
        (self.others.len() - 1, ready)
    }

    pub(crate) fn stop_other(&mut self, index: usize) -> Option<i32> {
        self.others[index].stop().code()
    }

    /// Lets a machine join that is in a namespace, and waits until it is a member.
    pub(crate) fn join(&mut self, space: &Space, name: &str) {
        self.start_joining(space, name, &[]);
        self.wait(&format!("machine/{name}"), "condition=Ready");
    }

    /// The same without waiting.
    pub(crate) fn start_joining(&mut self, space: &Space, name: &str, words: &[&str]) {
        let ticket = self.stead(&["ticket", "create", "--delegate", "--machines", "9"]).ok();
        self.home.write(&format!("{name}.ticket"), &ticket);
        let ticket = format!("@{name}.ticket");
        self.start_agent(space, name, &[&["--join", &ticket, "--name", name], words].concat());
    }

    pub(crate) fn start_agent(&mut self, space: &Space, name: &str, words: &[&str]) {
        std::fs::create_dir_all(self.home.path(&format!("{name}/root"))).unwrap();
        let mut command = space.command(&self.home, STEAD);
        let state = format!("{name}/state");
        command.args(["agent", "--root", &format!("{name}/root"), "--state-dir", &state, "--vitals-seconds", "1"]).args(words);
        command.env("STEAD_LOG_LEVEL", "info").stdout(Stdio::null()).stderr(self.log_file(name));
        self.agents.insert(name.to_owned(), Process::spawn(&mut command));
    }

    pub(crate) fn stop_agent(&mut self, name: &str) {
        self.agents.remove(name).unwrap().stop();
    }

    fn log_file(&self, name: &str) -> File {
        File::options().create(true).append(true).open(self.home.path(&format!("{name}.log"))).unwrap()
    }

    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Types a command as the owner, beside the coordinator.
    pub(crate) fn stead(&self, words: &[&str]) -> Ended {
        let mut command: Command = self.here.command(&self.home, STEAD);
        Ended::of(command.args(words).output().unwrap())
    }

    #[track_caller]
    pub(crate) fn wait(&self, object: &str, what: &str) {
        let ended = self.stead(&["wait", object, "--for", what, "--timeout", &format!("{}s", PATIENCE.as_secs())]);
        if ended.code != 0 {
            panic!("{object} is not {what}: {ended:#?}\n{}", self.logs());
        }
    }

    fn logs(&self) -> String {
        let names = std::iter::once("coordinator").chain(self.agents.keys().map(String::as_str));
        names.map(|name| format!("--- {name}\n{}\n", tail(&self.log(name)))).collect()
    }

    /// Signs a file for every machine, and waits until each of these has it. Gives how long that took.
    #[track_caller]
    pub(crate) fn send(&mut self, machines: &[&str]) -> Duration {
        let begin = self.sign();
        for machine in machines {
            self.arrived(machine);
        }
        begin.elapsed()
    }

    /// Signs a file for every machine, and says when.
    pub(crate) fn sign(&mut self) -> Instant {
        self.written += 1;
        let content = self.written.to_string();
        let spec = json!({"selector": {}, "files": [{"path": "/written", "content": content}]});
        let profile = json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": "written"}, "spec": spec});
        self.home.write("written.json", &profile.to_string());
        self.stead(&["apply", "-f", "written.json"]).ok();
        Instant::now()
    }

    /// Waits until a machine has what was signed last.
    #[track_caller]
    pub(crate) fn arrived(&self, machine: &str) {
        let (path, wanted) = (self.home.path(&format!("{machine}/root/written")), self.written.to_string());
        self.until(&format!("{machine} has what was signed"), || {
            std::fs::read_to_string(&path).is_ok_and(|content| content == wanted).then_some(())
        });
    }

    /// Waits until something is found.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < limit, "{what}: not within {PATIENCE:?}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What `stead machine path` says.
    pub(crate) fn path(&self, machine: &str) -> Value {
        serde_json::from_str(&self.stead(&["machine", "path", machine, "-o", "json"]).ok()).unwrap()
    }

    /// Waits until both sides use a path of one kind, and gives what is told of it.
    #[track_caller]
    pub(crate) fn until_path(&self, machine: &str, kind: &str) -> Value {
        self.until(&format!("{machine} uses a path that is {kind}"), || {
            let path = self.path(machine);
            let uses = |side: &str| path[side]["kind"] == kind;
            (uses("coordinatorSide") && uses("machineSide")).then_some(path)
        })
    }

    /// Waits until a process has said something, after so many bytes of its log.
    #[track_caller]
    pub(crate) fn until_said(&self, name: &str, words: &str, after: usize) {
        self.until(&format!("{name} says {words:?}"), || {
            self.log(name).get(after..).is_some_and(|log| log.contains(words)).then_some(())
        });
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
