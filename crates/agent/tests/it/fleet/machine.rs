//! A machine in a temporary folder, kept by a real agent in this process.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use stead_agent::{AgentError, AgentOptions, MemoryStore};
use stead_model::{Object, ObjectKey};
use stead_trust::{MachineMemory, SigningKey};
use stead_wire::Ticket;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Long enough for a busy machine; nothing is judged by it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a file is looked at where nothing tells of it.
const LOOK: Duration = Duration::from_millis(20);

/// Everything below a root: type, mode, owner, and content or target.
type Files = BTreeMap<PathBuf, String>;

pub(crate) struct Machine {
    pub(crate) folder: TempDir,
    seed: u8,
    running: Option<(CancellationToken, JoinHandle<Result<(), AgentError>>)>,
}

impl Machine {
    pub(crate) fn new(seed: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for below in ["root", "state"] {
            std::fs::create_dir(folder.path().join(below)).unwrap();
        }
        Self { folder, seed, running: None }
    }

    pub(crate) fn key(&self) -> SigningKey {
        super::key(self.seed)
    }

    /// The Machine object that means this machine.
    pub(crate) fn object(&self, name: &str, labels: Value) -> Object {
        super::object("Machine", name, labels, json!({"key": self.key().machine_key().unwrap().to_string()}))
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A path below the machine's root.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, content: &str, mode: u32) {
        std::fs::write(self.at(path), content).unwrap();
        std::fs::set_permissions(self.at(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.at(path)).ok()
    }

    pub(crate) fn options(&self, ticket: Option<Ticket>) -> AgentOptions {
        AgentOptions {
            root: self.at("/"),
            state_dir: self.state_dir(),
            key: self.key(),
            ticket,
            name: None,
            bind: vec!["127.0.0.1:0".parse().unwrap()],
            relay_only: false,
            vitals_period: Duration::from_secs(1),
            vitals_kept_period: Duration::from_secs(1),
            observe_period: Duration::from_millis(200),
            version: "test".to_owned(),
            told: tokio::sync::watch::Sender::default(),
            metrics: std::sync::Arc::default(),
        }
    }

    pub(crate) fn start(&mut self, ticket: Option<Ticket>) {
        assert!(self.running.is_none(), "it runs");
        let stop = CancellationToken::new();
        let task = tokio::spawn(stead_agent::run(self.options(ticket), stop.clone()));
        self.running = Some((stop, task));
    }

    pub(crate) async fn stop(&mut self) -> Result<(), AgentError> {
        let (stop, task) = self.running.take().expect("it does not run");
        stop.cancel();
        task.await.unwrap()
    }

    /// Starts an agent that cannot work, and says why.
    pub(crate) async fn refused_start(&self, ticket: Option<Ticket>) -> AgentError {
        let started = tokio::time::timeout(PATIENCE, stead_agent::run(self.options(ticket), CancellationToken::new()));
        started.await.expect("it runs").expect_err("it ran")
    }

    /// The files, but for those with these paths.
    pub(crate) fn files_but(&self, left_out: &[&str]) -> Files {
        let mut found = Files::new();
        walk(&self.at("/"), &mut found);
        for path in left_out {
            found.remove(&self.at(path));
        }
        found
    }

    pub(crate) fn files(&self) -> Files {
        self.files_but(&[])
    }

    /// What is on disk of the machine's memory, read from a copy: the agent has the file locked.
    pub(crate) async fn memory(&self) -> MachineMemory {
        for _ in 0..10 {
            let copy = tempfile::tempdir().unwrap();
            for name in ["memory.db", "memory.db-wal"] {
                if self.state_dir().join(name).exists() {
                    std::fs::copy(self.state_dir().join(name), copy.path().join(name)).unwrap();
                }
            }
            // A copy made in the middle of a write is made again.
            let Ok(store) = MemoryStore::open(&copy.path().join("memory.db")).await else { continue };
            let loaded = store.load().await;
            store.close().await;
            if let Ok(Some(memory)) = loaded {
                return memory;
            }
        }
        panic!("the memory cannot be read");
    }

    /// The sequence of every name that the machine holds, and its root version.
    pub(crate) async fn holds(&self) -> (u64, BTreeMap<ObjectKey, u64>) {
        let memory = self.memory().await;
        (memory.roots().newest().version, memory.entries().map(|(key, held)| (key.clone(), held.sequence)).collect())
    }

    /// Looks until it is so, where nothing tells of it.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(self) {
                tokio::time::sleep(LOOK).await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain for {what}: {:#?}", self.files());
    }
}

fn walk(folder: &Path, found: &mut Files) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let seen = path.symlink_metadata().unwrap();
        let (mode, uid, gid) = (seen.permissions().mode(), seen.uid(), seen.gid());
        let what = if seen.is_symlink() {
            format!("link to {}", std::fs::read_link(&path).unwrap().display())
        } else if seen.is_dir() {
            walk(&path, found);
            format!("directory {mode:o} {uid}:{gid}")
        } else {
            format!("file {mode:o} {uid}:{gid} {}", String::from_utf8_lossy(&std::fs::read(&path).unwrap()))
        };
        found.insert(path, what);
    }
}
