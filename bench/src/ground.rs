//! A fleet of the product's own processes: a coordinator, and agents in folders that play machines.

use crate::author::{Author, random};
use crate::failure::BenchError;
use crate::http::Http;
use crate::{binary, process};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use stead_model::Digest;
use stead_trust::SigningKey;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The role that the agents have, by a label.
pub(crate) const ROLE: &str = "web";
/// Machines that a ticket lets in, where nobody says how many.
const MACHINES: usize = 16;
/// How long a process may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// The path of all machines.
pub(crate) const MACHINES_PATH: &str = "/apis/stead.dev/v1/machines";

/// A folder with an owner's key, a coordinator's key, and the trust root that names both.
pub(crate) struct Ground {
    folder: TempDir,
    program: PathBuf,
    seed: [u8; 32],
}

/// A running coordinator. It is killed when this is dropped.
pub(crate) struct Coordinator {
    child: Child,
    ready: String,
}

impl Ground {
    /// Founds a fleet: nothing runs yet.
    pub(crate) async fn found() -> Result<Self, BenchError> {
        let ground = Self { folder: process::folder_on_disk()?, program: binary::path()?, seed: random()? };
        for below in ["home", "machines"] {
            let path = ground.path(below);
            std::fs::create_dir(&path).map_err(|source| BenchError::File { path, source })?;
        }
        let key = SigningKey::from_seed(&ground.seed);
        let text = key.to_openssh().map_err(BenchError::step("writing the owner's key"))?;
        write_private(&ground.path("home/owner"), text.as_bytes())?;
        let online = ground.run(&["coordinator", "--state-dir", &ground.word("coordinator"), "--print-key"]).await?;
        let owner = ground.word("home/owner");
        ground.run(&["trust", "init", "--key", &owner, "--online", online.trim(), "--out", &ground.word("trust")]).await?;
        Ok(ground)
    }

    /// A path in the folder.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn word(&self, below: &str) -> String {
        self.path(below).display().to_string()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STEAD_")) {
            command.env_remove(name);
        }
        command.env("HOME", self.path("home")).env_remove("XDG_CONFIG_HOME").env_remove("XDG_CACHE_HOME");
        command.env_remove("SSH_AUTH_SOCK").env_remove("KUBECONFIG").kill_on_drop(true).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end, and gives back what it printed.
    pub(crate) async fn run(&self, words: &[&str]) -> Result<String, BenchError> {
        let output = self.command().args(words).output().await.map_err(failed)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let program = format!("stead {}", words.join(" "));
        Err(BenchError::Answer { program, answer: String::from_utf8_lossy(&output.stderr).into_owned() })
    }

    /// Starts the coordinator on its state directory, and waits until it says that it is ready.
    pub(crate) async fn coordinator(&self) -> Result<Coordinator, BenchError> {
        self.coordinator_with(&[]).await
    }

    /// The same with its record in a database.
    pub(crate) async fn coordinator_on(&self, store: &str) -> Result<Coordinator, BenchError> {
        self.coordinator_with(&["--store", store]).await
    }

    /// Starts it again after it was killed, where it was.
    pub(crate) async fn coordinator_again(&self, killed: &Coordinator) -> Result<Coordinator, BenchError> {
        let place = |name| killed.value(name).map(|value| value.trim_start_matches("http://").trim_end_matches('/').to_owned());
        self.coordinator_at(&place("plain")?, &place("machines")?, &place("relay")?, &[]).await
    }

    async fn coordinator_with(&self, words: &[&str]) -> Result<Coordinator, BenchError> {
        let local = "127.0.0.1:0";
        self.coordinator_at(local, local, local, words).await
    }

    async fn coordinator_at(&self, plain: &str, machines: &str, relay: &str, words: &[&str]) -> Result<Coordinator, BenchError> {
        let local = "127.0.0.1:0";
        let (state, root) = (self.word("coordinator"), self.word("trust/root.json"));
        let mut command = self.command();
        command.args(["coordinator", "--state-dir", &state, "--trust-root", &root, "--listen", local, "--listen-plain", plain]);
        command.args(["--listen-machines", machines, "--listen-relay", relay]);
        command.args(words);
        let mut child = command.stdout(Stdio::piped()).stderr(self.log("coordinator.log")?).spawn().map_err(failed)?;
        let output = child.stdout.take().ok_or_else(|| BenchError::step("starting a coordinator")("it has no output"))?;
        let mut lines = BufReader::new(output).lines();
        loop {
            match tokio::time::timeout(READY_LIMIT, lines.next_line()).await {
                Ok(Ok(Some(ready))) if ready.starts_with("ready ") => return Ok(Coordinator { child, ready }),
                Ok(Ok(Some(_))) => {}
                _ => {
                    let reason = std::fs::read_to_string(self.path("coordinator.log")).unwrap_or_default();
                    return Err(BenchError::Step { doing: "starting a coordinator", reason });
                }
            }
        }
    }

    /// The owner, as somebody who signs in this process.
    pub(crate) fn author(&self, coordinator: &Coordinator) -> Result<Author, BenchError> {
        let fleet: Digest = coordinator.value("fleet")?.parse().map_err(BenchError::step("reading the fleet's id"))?;
        Ok(Author { key: SigningKey::from_seed(&self.seed), fleet })
    }

    /// A ticket that lets machines in by itself.
    pub(crate) async fn ticket(&self, coordinator: &Coordinator) -> Result<String, BenchError> {
        self.ticket_for(coordinator, MACHINES).await
    }

    /// The same for so many machines.
    pub(crate) async fn ticket_for(&self, coordinator: &Coordinator, machines: usize) -> Result<String, BenchError> {
        let (server, authority, owner) = (coordinator.value("api")?, coordinator.value("ca")?, self.word("home/owner"));
        self.run(&["login", "--server", server, "--ca-file", authority, "--key", &owner, "--no-kubeconfig"]).await?;
        let (role, machines) = (format!("role={ROLE}"), machines.to_string());
        let words = [
            "ticket",
            "create",
            "--key",
            &owner,
            "--delegate",
            "--name-pattern",
            "m*",
            "--machines",
            &machines,
            "--label",
            &role,
        ];
        self.run(&words).await
    }

    /// Starts an agent with everything at its default, and waits until the coordinator knows it by its name.
    pub(crate) async fn agent(&self, name: &str, ticket: &str, http: &Http) -> Result<Child, BenchError> {
        let root = self.path(&format!("machines/{name}/root"));
        std::fs::create_dir_all(&root).map_err(|source| BenchError::File { path: root.clone(), source })?;
        let ticket_file = self.path(&format!("machines/{name}/ticket"));
        write_private(&ticket_file, ticket.as_bytes())?;
        let mut command = self.command();
        command.arg("agent").arg("--root").arg(&root).arg("--state-dir").arg(self.path(&format!("machines/{name}/state")));
        command.arg("--join").arg(format!("@{}", ticket_file.display())).args(["--name", name, "--bind", "127.0.0.1:0"]);
        let log = self.log(&format!("machines/{name}/agent.log"))?;
        let child = command.stdout(Stdio::null()).stderr(log).spawn().map_err(failed)?;
        let (start, path) = (Instant::now(), format!("{MACHINES_PATH}/{name}"));
        while start.elapsed() < READY_LIMIT {
            let machine = http.json(&path, "application/json").await;
            if machine.is_ok_and(|machine| machine.pointer("/status/facts").is_some_and(Value::is_object)) {
                return Ok(child);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let reason = std::fs::read_to_string(self.path(&format!("machines/{name}/agent.log"))).unwrap_or_default();
        Err(BenchError::Step { doing: "letting an agent join", reason })
    }

    fn log(&self, name: &str) -> Result<Stdio, BenchError> {
        let path = self.path(name);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        file.map(Stdio::from).map_err(|source| BenchError::File { path, source })
    }
}

impl Coordinator {
    /// A value of its `ready` line.
    pub(crate) fn value(&self, name: &str) -> Result<&str, BenchError> {
        let value = self.ready.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.ok_or_else(|| BenchError::Answer { program: "the coordinator".to_owned(), answer: self.ready.clone() })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<u32, BenchError> {
        self.child.id().ok_or_else(|| BenchError::step("looking at the coordinator")("it has ended"))
    }

    /// Ends it at once; where it was is still known.
    pub(crate) async fn kill_in_place(&mut self) -> Result<(), BenchError> {
        self.child.kill().await.map_err(failed)
    }

    /// Ends it at once.
    pub(crate) async fn kill(mut self) -> Result<(), BenchError> {
        self.child.kill().await.map_err(failed)
    }
}

fn failed(source: std::io::Error) -> BenchError {
    BenchError::Program { program: "stead".to_owned(), source }
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), BenchError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |source| BenchError::File { path: path.to_owned(), source };
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)
}
