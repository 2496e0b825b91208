//! The processes of a fleet in one terminal: the coordinator, the agents, and the commands that an owner types.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use stead_trust::{Signer as _, SigningKey};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::commands::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::terminal::{Style, Terminal};

/// The coordinator, the agents, and where everything of theirs is.
pub(crate) struct Household {
    terminal: Terminal,
    program: PathBuf,
    folder: PathBuf,
    temporary: bool,
    machines: u32,
    coordinator: Option<Child>,
    agents: Vec<Child>,
}

/// What a command said, and how it ended.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

fn failed(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Config, format!("{what}: {error}"))
}

impl Household {
    pub(crate) fn open(context: &Context, folder: Option<&Path>, machines: u32) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| failed("this program cannot be found", error))?;
        let temporary = folder.is_none();
        let folder =
            folder.map_or_else(|| std::env::temp_dir().join(format!("stead-dev-{}", std::process::id())), Path::to_owned);
        crate::private_file::make_folder(&folder).map_err(|error| failed(&folder.display().to_string(), error))?;
        let folder = folder.canonicalize().map_err(|error| failed(&folder.display().to_string(), error))?;
        Ok(Self { terminal: context.terminal, program, folder, temporary, machines, coordinator: None, agents: Vec::new() })
    }

    /// A path in the household's folder.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.join(below)
    }

    pub(crate) const fn terminal(&self) -> Terminal {
        self.terminal
    }

    pub(crate) const fn machines(&self) -> u32 {
        self.machines
    }

    /// The machines' names.
    pub(crate) fn names(&self) -> Vec<String> {
        (1..=self.machines).map(|machine| format!("m{machine}")).collect()
    }

    /// The folder that plays a machine.
    pub(crate) fn root_of(&self, machine: u32) -> PathBuf {
        self.path(&format!("machines/m{machine}/root"))
    }

    /// Says something to whoever watches.
    pub(crate) fn say(&self, text: &str) {
        eprintln!("{text}");
    }

    /// An owner's SSH key in a file, made at the first start: what `ssh-keygen -t ed25519` makes.
    pub(crate) fn make_key(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        if path.exists() {
            return Ok(path);
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| failed("no random bytes", error))?;
        let key = SigningKey::from_seed(&seed);
        let text = key.to_openssh().map_err(|error| failed("the key cannot be written", error))?;
        crate::private_file::write(&path, text.as_bytes()).map_err(|error| failed(&path.display().to_string(), error))?;
        let public = path.with_extension("pub");
        std::fs::write(&public, format!("{} {name}\n", key.public_key()))
            .map_err(|error| failed(&public.display().to_string(), error))?;
        Ok(path)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STEAD_")) {
            command.env_remove(name);
        }
        command.env("HOME", self.path("home")).env_remove("KUBECONFIG").env_remove("SSH_AUTH_SOCK");
        command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_CACHE_HOME");
        command.kill_on_drop(true).stdin(Stdio::null());
        command
    }

    /// Types a command as the owner, shows it, and gives back what it said.
    pub(crate) async fn type_command(&self, arguments: &[&str]) -> Result<Said, Failure> {
        let home = format!("{}/", self.folder.display());
        let shown = arguments.join(" ").replace(&home, "");
        self.say(&self.terminal.on_stderr(Style::Strong, &format!("$ stead {shown}")));
        let said = self.run_quietly(arguments).await?;
        for line in said.out.lines().chain(said.error.lines()) {
            self.say(&format!("  {}", line.replace(&home, "")));
        }
        Ok(said)
    }

    pub(crate) async fn run_quietly(&self, arguments: &[&str]) -> Result<Said, Failure> {
        let output = self.command().args(arguments).output().await.map_err(|error| failed("the command cannot be run", error))?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Types a command that must succeed.
    pub(crate) async fn must(&self, arguments: &[&str]) -> Result<String, Failure> {
        let said = self.type_command(arguments).await?;
        if said.code == i32::from(ExitCode::Success.number()) {
            return Ok(said.out);
        }
        Err(Failure::internal(format!("`stead {}` ended with {}", arguments.join(" "), said.code)))
    }

    /// A long-running command of the owner's, with its output to read.
    pub(crate) fn follow(&self, arguments: &[&str]) -> Result<Child, Failure> {
        let mut command = self.command();
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map_err(|error| failed("the command cannot be run", error))
    }

    /// Founds the fleet (once), starts the coordinator and the machines, and lets them in.
    pub(crate) async fn start(&mut self) -> Result<(), Failure> {
        for below in ["home", "machines"] {
            crate::private_file::make_folder(&self.path(below)).map_err(|error| failed(below, error))?;
        }
        let owner = self.make_key("home/owner")?.display().to_string();
        let state = self.path("coordinator").display().to_string();
        let root = self.path("trust").display().to_string();
        let root_file = self.path("trust/root.json");
        if !root_file.exists() {
            self.say("A fleet begins with its owners' keys and its coordinator's.");
            let key = self.must(&["coordinator", "--state-dir", &state, "--print-key"]).await?;
            self.must(&["trust", "init", "--key", &owner, "--online", key.trim(), "--out", &root]).await?;
        }
        self.start_coordinator(&state, &root_file.display().to_string()).await?;
        let server = self.ready_value("api")?;
        let authority = self.ready_value("ca")?;
        self.must(&["login", "--server", &server, "--ca-file", &authority, "--key", &owner, "--no-kubeconfig"]).await?;
        self.start_agents(&owner).await
    }

    async fn start_coordinator(&mut self, state: &str, root_file: &str) -> Result<(), Failure> {
        let local = "127.0.0.1:0";
        let mut command = self.command();
        command.args(["coordinator", "--state-dir", state, "--trust-root", root_file]);
        command.args(["--listen", local, "--listen-machines", local, "--listen-relay", local]);
        let log = self.log("coordinator.log")?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| failed("the coordinator cannot be started", error))?;
        let mut lines =
            BufReader::new(child.stdout.take().ok_or_else(|| Failure::internal("the coordinator has no output"))?).lines();
        let ready = loop {
            match lines.next_line().await {
                Ok(Some(line)) if line.starts_with("ready ") => break line,
                Ok(Some(_)) => {}
                _ => {
                    let log = std::fs::read_to_string(self.path("coordinator.log")).unwrap_or_default();
                    return Err(Failure::internal(format!("the coordinator did not start:\n{log}")));
                }
            }
        };
        let path = self.path("ready");
        std::fs::write(&path, ready).map_err(|error| failed(&path.display().to_string(), error))?;
        self.coordinator = Some(child);
        Ok(())
    }

    fn log(&self, name: &str) -> Result<Stdio, Failure> {
        let path = self.path(name);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        Ok(Stdio::from(file.map_err(|error| failed(&path.display().to_string(), error))?))
    }

    /// A value of the coordinator's `ready` line.
    pub(crate) fn ready_value(&self, name: &str) -> Result<String, Failure> {
        let line = std::fs::read_to_string(self.path("ready")).map_err(|error| failed("ready", error))?;
        let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.map(str::to_owned).ok_or_else(|| Failure::internal(format!("the coordinator did not say its {name}")))
    }

    /// All machines but the last come with a delegation; the last one asks, and an owner approves it.
    async fn start_agents(&mut self, owner: &str) -> Result<(), Failure> {
        let count = self.machines.to_string();
        let known = self.run_quietly(&["get", "machines", "-o", "name"]).await?.out;
        let delegated = [
            "ticket",
            "create",
            "--key",
            owner,
            "--delegate",
            "--name-pattern",
            "m*",
            "--label",
            "role=web",
            "--machines",
            &count,
        ];
        let open = if self.machines > 1 { self.must(&delegated).await? } else { String::new() };
        let plain = self.must(&["ticket", "create", "--key", owner]).await?;
        for machine in 1..=self.machines {
            let last = machine == self.machines;
            self.start_agent(machine, if last { &plain } else { &open })?;
        }
        let last = format!("m{}", self.machines);
        if known.lines().any(|line| line.ends_with(&format!("/{last}"))) {
            return Ok(());
        }
        self.must(&["wait", "enrollments", "--for", "status.phase=Pending", "--timeout", "60s"]).await?;
        let waiting = self.run_quietly(&["get", "enrollments", "-o", "name"]).await?.out;
        let name = waiting.lines().next().and_then(|line| line.split('/').next_back()).unwrap_or_default().to_owned();
        self.must(&["approve", &name, "--name", &last, "--label", "role=web", "--key", owner, "-m", "let the last one in"])
            .await?;
        Ok(())
    }

    fn start_agent(&mut self, machine: u32, ticket: &str) -> Result<(), Failure> {
        let (root, state) = (self.root_of(machine), self.path(&format!("machines/m{machine}/state")));
        for folder in [&root, &state] {
            crate::private_file::make_folder(folder).map_err(|error| failed(&folder.display().to_string(), error))?;
        }
        let ticket_file = self.path(&format!("machines/m{machine}/ticket"));
        crate::private_file::write(&ticket_file, ticket.as_bytes())
            .map_err(|error| failed(&ticket_file.display().to_string(), error))?;
        let mut command = self.command();
        command.arg("agent").arg("--root").arg(&root).arg("--state-dir").arg(&state);
        command.arg("--join").arg(format!("@{}", ticket_file.display())).args(["--name", &format!("m{machine}")]);
        command.args(["--bind", "127.0.0.1:0", "--vitals-seconds", "5", "--observe-seconds", "5"]);
        let log = self.log(&format!("machines/m{machine}/agent.log"))?;
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        self.agents.push(child.map_err(|error| failed("an agent cannot be started", error))?);
        Ok(())
    }

    /// Says how to join in from another terminal.
    pub(crate) fn invite(&self) {
        self.say(&format!("\nFrom another terminal:  export HOME={}  and then  stead get machines", self.path("home").display()));
        self.say(&format!("The machines' files are in {}", self.path("machines").display()));
    }

    /// Stops everything, in order, and removes a temporary folder.
    pub(crate) async fn close(&mut self) {
        for child in self.agents.iter_mut().chain(&mut self.coordinator) {
            // One that has ended by itself cannot be stopped any more.
            let _ = child.start_kill();
            let _ = child.wait().await;
        }
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.folder)
        {
            self.say(&format!("{} could not be removed: {error}", self.folder.display()));
        }
    }
}
