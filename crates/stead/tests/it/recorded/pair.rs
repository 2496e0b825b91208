//! Two coordinators as processes, each with a way of its own to the one PostgreSQL.

use std::fs::File;

use stead_model::Digest;
use stead_peers::{PostgresProxy, TempPostgres};
use stead_trust::SigningKey;

use crate::fleet::harness::{Fleet, free_port};
use crate::fleet::process::Process;
use crate::stead::Home;

/// Their names, which are those of their state directories.
const NAMES: [&str; 2] = ["first", "second"];

/// A coordinator, whether it runs or not.
pub(crate) struct Place {
    name: &'static str,
    /// Where it listens: the API, and the API without TLS.
    ports: [u16; 2],
    pub(crate) way: PostgresProxy,
    pub(crate) process: Option<Process>,
}

pub(crate) struct Pair {
    pub(crate) home: Home,
    pub(crate) postgres: TempPostgres,
    pub(crate) places: [Place; 2],
}

impl Pair {
    /// Founds a fleet and starts both. Within a Tokio runtime, on a thread that outlives it: the server ends with the thread.
    pub(crate) fn found() -> Self {
        let (home, postgres) = (Home::new(), TempPostgres::start());
        Fleet::trust_two(&home, NAMES);
        let places = NAMES.map(|name| {
            let way = PostgresProxy::new(postgres.socket_folder());
            Place { name, ports: [free_port(), free_port()], way, process: None }
        });
        let mut pair = Self { home, postgres, places };
        for index in [0, 1] {
            pair.start(index);
        }
        let server = format!("https://127.0.0.1:{}", pair.places[0].ports[0]);
        pair.home.stead(&["login", "--server", &server, "--ca-file", "first/tls/authority.crt"]).ok();
        pair
    }

    /// Starts a coordinator, and waits until it is there.
    pub(crate) fn start(&mut self, index: usize) {
        self.spawn(index);
        self.await_ready(index);
    }

    /// Starts a coordinator.
    pub(crate) fn spawn(&mut self, index: usize) {
        let place = &mut self.places[index];
        let url = place.way.url(&self.postgres.url());
        let [api, plain] = place.ports.map(|port| format!("127.0.0.1:{port}"));
        let mut command = self.home.command(env!("CARGO_BIN_EXE_stead"));
        command.args(["coordinator", "--state-dir", place.name, "--store", &url, "--trust-root", "trust/root.json"]);
        command.args(["--listen", &api, "--listen-plain", &plain, "--listen-machines", "127.0.0.1:0", "--no-relay"]);
        let log = File::options().create(true).append(true).open(self.home.path(&format!("{}.log", place.name))).unwrap();
        command.env("STEAD_LOG_LEVEL", "info").stderr(log);
        place.process = Some(Process::spawn(&mut command));
    }

    /// Waits until a coordinator that was started is there.
    pub(crate) fn await_ready(&mut self, index: usize) {
        let ready = self.places[index].process.as_mut().unwrap().line("ready ");
        assert!(ready.is_some(), "the {} coordinator did not start:\n{}", NAMES[index], self.log(index));
    }

    pub(crate) fn process(&mut self, index: usize) -> &mut Process {
        self.places[index].process.as_mut().unwrap()
    }

    /// Where the APIs are.
    pub(crate) fn bases(&self) -> [String; 2] {
        [0, 1].map(|index: usize| format!("http://127.0.0.1:{}", self.places[index].ports[1]))
    }

    /// What the owner logs in with; either coordinator takes it.
    pub(crate) fn bearer(&self) -> String {
        let credential = self.home.stead(&["credential"]).ok();
        let credential: serde_json::Value = serde_json::from_str(&credential).unwrap();
        credential["status"]["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn fleet(&self) -> Digest {
        self.home.read("first/fleet").trim().parse().unwrap()
    }

    pub(crate) fn owners_key(&self) -> SigningKey {
        SigningKey::from_openssh(&self.home.read(".ssh/id_ed25519"), None).unwrap()
    }

    /// What a coordinator logged.
    pub(crate) fn log(&self, index: usize) -> String {
        std::fs::read_to_string(self.home.path(&format!("{}.log", NAMES[index]))).unwrap_or_default()
    }

    /// Stops both, and says what the record comes to.
    pub(crate) fn end(&mut self) -> String {
        for index in [0, 1] {
            assert!(self.process(index).stop().success(), "{}", self.log(index));
        }
        self.home.stead(&["store", "digest", "--store", &self.postgres.url()]).ok()
    }
}
