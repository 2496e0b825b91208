//! Coordinators on a record that was restored, and machines that a test answers for, on a network in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use stead_admission::{Admission, Caller, Environment};
use stead_control::presence::Presence;
use stead_control::{Control, ReasonLabels};
use stead_model::{Digest, GivenBack, Machine, MachineStatus, Object, ObjectKey, Revision};
use stead_store::{Engine, Options, PostgresEngine, SqliteEngine, Store};
use stead_trust::{
    Authorship, Bundle, Clock, GiveBackAnswer, GiveBackAsk, HeldLine, Root, Salt, SignedReceipt, SignedRoot, Signer as _,
    SigningKey, StatementBuilder, Submission,
};
use stead_wire::{
    AgentConfig, AgentConnection, AgentEvent, AgentHandle, CoordinatorConfig, CoordinatorHandle, Held, Hello, Join,
    MemoryNetwork, MemoryOutbox, PeerAddress, PeerKey, UnixClock,
};
use tokio::sync::mpsc;

/// How long anything may take on a machine that is busy with a build.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(crate) fn peer(key: &SigningKey) -> PeerKey {
    key.machine_key().unwrap().to_string().parse().unwrap()
}

fn object(kind: &str, name: &str, spec: serde_json::Value) -> Object {
    let metadata = json!({"name": name});
    serde_json::from_value(json!({"apiVersion": "stead.dev/v1", "kind": kind, "metadata": metadata, "spec": spec})).unwrap()
}

pub(crate) fn profile(name: &str) -> Object {
    object("Profile", name, json!({"selector": {}, "files": [{"path": "/etc/motd", "content": "hello"}]}))
}

pub(crate) fn machine(name: &str, key: &SigningKey) -> Object {
    object("Machine", name, json!({"key": key.machine_key().unwrap().to_string()}))
}

/// A coordinator at work.
pub(crate) struct CoordinatorHere {
    pub(crate) control: Control,
    pub(crate) admission: Admission,
    pub(crate) address: PeerAddress,
    wire: CoordinatorHandle,
    at_work: tokio::task::JoinHandle<()>,
}

impl CoordinatorHere {
    async fn start<E: Engine>(engine: E, root: &SignedRoot, online: u8, network: &MemoryNetwork) -> Self {
        let store = Store::open(engine, Options::default()).await.unwrap();
        let admission = Admission::open(store, root.digest(), Arc::new(key(online)), environment()).unwrap();
        let control = Control::new(admission.clone(), b"pass");
        let here = peer(&key(online));
        let unix_clock: UnixClock = Arc::new(|| 0);
        let config = CoordinatorConfig::new(*root.digest().as_bytes(), unix_clock);
        let (wire, events) = stead_wire::Coordinator::spawn(Arc::new(network.endpoint(here)), config, control.gate());
        let address = PeerAddress { key: here, addresses: Vec::new(), relay: None };
        let presence =
            Presence { address: address.clone(), api: Vec::new(), authority: String::new(), token_mark: String::new() };
        let at_work = tokio::spawn(control.clone().run(wire.clone(), events, presence, true));
        Self { control, admission, address, wire, at_work }
    }

    /// Ends it in the middle of whatever it does, as a SIGKILL would: nothing more is decided, written or sent.
    pub(crate) fn kill(&self) {
        self.at_work.abort();
        self.wire.stop();
    }

    pub(crate) fn refused(&self, reason: &'static str) -> u64 {
        self.control.give_back_metrics().refused.get(&ReasonLabels { reason }).map_or(0, |number| number.get())
    }

    /// What the record says of a machine, once it is so.
    pub(crate) async fn status(&self, name: &str, so: impl Fn(&MachineStatus) -> bool) -> MachineStatus {
        let key = ObjectKey::new(machine("x", &key(4)).group_kind(), "", name);
        let store = self.admission.store();
        let look = async {
            loop {
                let revision = store.revision();
                let found = store.snapshot().get(&key).and_then(|stored| stored.to_object().unwrap().to_typed::<Machine>().ok());
                if let Some(status) = found.and_then(|machine| machine.status).filter(|status| so(status)) {
                    return status;
                }
                store.past(revision).await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap()
    }

    /// What a machine gave back, once it is all.
    pub(crate) async fn given_back(&self, name: &str) -> GivenBack {
        let whole = |status: &MachineStatus| status.given_back.as_ref().is_some_and(|given| given.unfinished.is_none());
        self.status(name, whole).await.given_back.unwrap()
    }

    pub(crate) fn sequence(&self, key: &ObjectKey) -> Option<u64> {
        self.admission.store().snapshot().sequence(key).map(|sequence| sequence.sequence)
    }

    /// Waits until something is true of the coordinator.
    pub(crate) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let so = async {
            while !is_so(self) {
                // What is counted cannot be awaited.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, so).await.unwrap();
    }
}

/// A fleet whose record was restored.
pub(crate) struct World {
    pub(crate) owner: SigningKey,
    pub(crate) root: SignedRoot,
    pub(crate) network: MemoryNetwork,
    pub(crate) coordinators: Vec<CoordinatorHere>,
    _folder: tempfile::TempDir,
}

fn environment() -> Environment {
    Environment { clock: Arc::new(SystemClock), random: Arc::new(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap()) }
}

impl World {
    /// One coordinator, whose record knows the machine `m1`.
    pub(crate) async fn start() -> Self {
        let world = Self::of(&[("m1".to_owned(), key(4))]).await;
        world.admitted(&[peer(&key(4))]).await;
        world
    }

    /// One coordinator, whose record knows some machines.
    pub(crate) async fn of(machines: &[(String, SigningKey)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.db");
        let open = async || SqliteEngine::open(&path).await.unwrap();
        let (owner, root) = founded(&open, machines).await;
        let network = MemoryNetwork::new();
        let coordinators = vec![CoordinatorHere::start(open().await, &root, 2, &network).await];
        Self { owner, root, network, coordinators, _folder: folder }
    }

    /// Two coordinators on a record in PostgreSQL, which knows some machines.
    pub(crate) async fn on_postgres(url: &str, machines: &[(String, SigningKey)]) -> Self {
        let open = async || PostgresEngine::open(url).await.unwrap();
        let (owner, root) = founded(&open, machines).await;
        let (network, mut coordinators) = (MemoryNetwork::new(), Vec::new());
        for online in [2, 3] {
            coordinators.push(CoordinatorHere::start(open().await, &root, online, &network).await);
        }
        Self { owner, root, network, coordinators, _folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn first(&self) -> &CoordinatorHere {
        &self.coordinators[0]
    }

    /// Waits until machines are members everywhere.
    pub(crate) async fn admitted(&self, peers: &[PeerKey]) {
        for coordinator in &self.coordinators {
            let gate = coordinator.control.gate();
            coordinator.until(|_| peers.iter().all(|peer| stead_wire::Admission::is_member(&gate, peer))).await;
        }
    }

    /// What a machine would hold of a change that some coordinator once admitted.
    pub(crate) fn held(&self, by: &SigningKey, object: &Object, sequence: u64) -> Bundle {
        let submission = signed(&self.root, by, std::slice::from_ref(object), sequence);
        let (fleet, digest) = (self.root.digest(), submission.statement.digest());
        let receipt = SignedReceipt::sign(fleet, digest, Revision(7), Timestamp::now(), &key(2)).unwrap();
        Bundle::assemble(&submission, &submission.tree(), &[0], &receipt).unwrap()
    }

    /// A machine that connects, and is answered for by a test. It knows these coordinators, and says that it holds so much.
    pub(crate) fn connect_with(
        &self,
        which: &[usize],
        key: &SigningKey,
        delegated: Option<Bytes>,
        held: Vec<Held>,
    ) -> (AgentHandle, mpsc::Receiver<AgentEvent>) {
        let mut hello = Hello::new(*self.root.digest().as_bytes(), [9; 16]);
        (hello.root_version, hello.held) = (1, held);
        let join = Join { pass: Bytes::from_static(b"another"), hostname: "m".to_owned(), delegated, facts: Bytes::new() };
        let config = AgentConfig {
            hello,
            join: Some(join),
            coordinators: which.iter().map(|index| self.coordinators[*index].address.clone()).collect(),
            seed: 1,
            unix_clock: Arc::new(|| 0),
        };
        let transport = Arc::new(self.network.endpoint(peer(key)));
        AgentConnection::spawn(config, transport, Arc::new(MemoryOutbox::default()))
    }

    pub(crate) fn connect(&self, key: &SigningKey, delegated: Option<Bytes>) -> (AgentHandle, mpsc::Receiver<AgentEvent>) {
        self.connect_with(&[0], key, delegated, Vec::new())
    }
}

/// Founds a fleet of two coordinators, puts machines into its record, and lets that begin anew, as a restore does.
async fn founded<E: Engine>(open: &impl AsyncFn() -> E, machines: &[(String, SigningKey)]) -> (SigningKey, SignedRoot) {
    let owner = key(1);
    let online = [2, 3].map(|seed| key(seed).public_key().clone()).to_vec();
    let root = Root::default_for(vec![owner.public_key().clone()], online, Timestamp::now());
    let root = SignedRoot::sign(&root, &[&owner]).unwrap();
    let store = Store::open(open().await, Options::default()).await.unwrap();
    Admission::found(&store, &root, &environment()).await.unwrap();
    let admission = Admission::open(store, root.digest(), Arc::new(key(2)), environment()).unwrap();
    let objects: Vec<Object> = machines.iter().map(|(name, key)| machine(name, key)).collect();
    let caller = Caller { name: "somebody".to_owned(), key: None };
    for objects in objects.chunks(1_000) {
        admission.submit(&caller, &signed(&root, &owner, objects, 1), false).await.unwrap();
    }
    admission.store().close().await;
    let engine = open().await;
    let incarnation = engine.meta().await.unwrap().incarnation;
    engine.begin_anew(&incarnation, Timestamp::now()).await.unwrap();
    engine.close().await;
    (owner, root)
}

fn signed(root: &SignedRoot, by: &SigningKey, objects: &[Object], sequence: u64) -> Submission {
    let (now, author) = (Timestamp::now(), Authorship::Person { author: by.public_key().clone() });
    let later = now + jiff::SignedDuration::from_hours(1);
    let id = environment().new_id();
    let mut builder = StatementBuilder::new(root.digest(), &id, now, later, "a test", author);
    for object in objects {
        builder.put(object, sequence, Salt::from_bytes([7; 32])).unwrap();
    }
    builder.build().unwrap().sign(&[by]).unwrap()
}

/// Answers every question for what is held, until the connection ends.
pub(crate) fn answering(
    (handle, mut events): (AgentHandle, mpsc::Receiver<AgentEvent>),
    mut answer: impl FnMut(GiveBackAsk) -> Vec<u8> + Send + 'static,
) -> AgentHandle {
    let kept = handle.clone();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let AgentEvent::Plan { id, body } = event {
                let ask = GiveBackAsk::from_bytes(&body).unwrap();
                handle.answer_plan(id, Bytes::from(answer(ask))).await.unwrap();
            }
        }
    });
    kept
}

pub(crate) fn held_line(name: &str, sequence: u64) -> HeldLine {
    HeldLine { key: profile(name).key(), sequence, statement: [3; 32] }
}

pub(crate) fn list(lines: Vec<HeldLine>, more: bool) -> Vec<u8> {
    GiveBackAnswer::Held { root_version: 1, lines, more }.to_bytes().unwrap()
}

pub(crate) fn whole(documents: &[Vec<u8>]) -> Vec<u8> {
    let bytes = postcard::to_stdvec(documents).unwrap();
    let digest = *Digest::of(&bytes).as_bytes();
    GiveBackAnswer::Part { total: bytes.len() as u64, digest, bytes }.to_bytes().unwrap()
}

/// What a machine holds: profiles, each out of a change of its own, told of in pages.
#[derive(Clone)]
pub(crate) struct Holdings {
    pub(crate) bundles: Arc<std::collections::BTreeMap<ObjectKey, Vec<u8>>>,
    page_lines: usize,
}

impl Holdings {
    pub(crate) fn new(world: &World, names: impl IntoIterator<Item = String>, page_lines: usize) -> Self {
        let bundle = |name: String| {
            let profile = profile(&name);
            (profile.key(), world.held(&world.owner, &profile, 4).to_bytes().unwrap())
        };
        Self { bundles: Arc::new(names.into_iter().map(bundle).collect()), page_lines }
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        let all = self.bundles.iter().chain(other.bundles.iter()).map(|(key, bundle)| (key.clone(), bundle.clone()));
        Self { bundles: Arc::new(all.collect()), page_lines: self.page_lines }
    }

    /// What a machine says of it when it comes.
    pub(crate) fn hello(&self) -> Vec<Held> {
        let held =
            |key: &ObjectKey| Held { kind: key.kind.to_string(), namespace: String::new(), name: key.name.clone(), sequence: 4 };
        self.bundles.keys().map(held).collect()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.bundles.keys()
    }

    pub(crate) fn answer(&self, ask: GiveBackAsk) -> Vec<u8> {
        match ask {
            GiveBackAsk::Held { after } => {
                let after = |key: &&ObjectKey| after.as_ref().is_none_or(|after| *key > after);
                let digest = |key: &ObjectKey| *Digest::of(&Bundle::from_bytes(&self.bundles[key]).unwrap().statement).as_bytes();
                let rest: Vec<&ObjectKey> = self.bundles.keys().filter(after).collect();
                let page = rest.iter().take(self.page_lines);
                let line = |key: &&ObjectKey| HeldLine { key: (*key).clone(), sequence: 4, statement: digest(key) };
                list(page.map(line).collect(), rest.len() > self.page_lines)
            }
            GiveBackAsk::Roots { .. } => whole(&[]),
            GiveBackAsk::Bundles { keys, .. } => {
                whole(&keys.iter().map(|key| self.bundles.get(key).cloned().unwrap_or_default()).collect::<Vec<_>>())
            }
        }
    }
}
