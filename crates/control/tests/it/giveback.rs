//! Machines that lie about what they hold, and one whose papers are its own: over the wire, against a record that was restored.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use stead_admission::{Admission, Caller, Environment};
use stead_control::presence::Presence;
use stead_control::{Control, ReasonLabels};
use stead_model::{Digest, GivenBack, Machine, Object, ObjectKey, Revision};
use stead_store::{Engine as _, Options, SqliteEngine, Store};
use stead_trust::{
    Authorship, Bundle, Clock, Credential, GIVE_BACK_NAMES_MAX, GiveBackAnswer, GiveBackAsk, HeldLine, MachineMemory, Root, Salt,
    SignedReceipt, SignedRoot, Signer as _, SigningKey, StatementBuilder, Submission, judge,
};
use stead_wire::{
    AgentConfig, AgentConnection, AgentEvent, AgentHandle, Coordinator, CoordinatorConfig, Hello, Join, MemoryNetwork,
    MemoryOutbox, PeerAddress, PeerKey, UnixClock,
};
use tokio::sync::mpsc;

/// How long anything may take on a machine that is busy with a build.
const PATIENCE: Duration = Duration::from_secs(120);

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn peer(key: &SigningKey) -> PeerKey {
    key.machine_key().unwrap().to_string().parse().unwrap()
}

fn object(kind: &str, name: &str, spec: serde_json::Value) -> Object {
    let metadata = json!({"name": name});
    serde_json::from_value(json!({"apiVersion": "stead.dev/v1", "kind": kind, "metadata": metadata, "spec": spec})).unwrap()
}

fn profile(name: &str) -> Object {
    object("Profile", name, json!({"selector": {}, "files": [{"path": "/etc/motd", "content": "hello"}]}))
}

fn machine(name: &str, key: &SigningKey) -> Object {
    object("Machine", name, json!({"key": key.machine_key().unwrap().to_string()}))
}

/// A coordinator on a restored record, which knows the machine `m1`.
struct World {
    owner: SigningKey,
    online: SigningKey,
    root: SignedRoot,
    control: Control,
    admission: Admission,
    network: MemoryNetwork,
    address: PeerAddress,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let (owner, online) = (key(1), key(2));
        let root = Root::default_for(vec![owner.public_key().clone()], vec![online.public_key().clone()], Timestamp::now());
        let root = SignedRoot::sign(&root, &[&owner]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let engine = SqliteEngine::open(&folder.path().join("record.db")).await.unwrap();
        let incarnation = engine.meta().await.unwrap().incarnation;
        engine.begin_anew(&incarnation, Timestamp::now()).await.unwrap();
        let store = Store::open(engine, Options::default()).await.unwrap();
        let random = Arc::new(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap());
        let environment = Environment { clock: Arc::new(SystemClock), random };
        Admission::found(&store, &root, &environment).await.unwrap();
        let admission = Admission::open(store, root.digest(), Arc::new(key(2)), environment).unwrap();

        let control = Control::new(admission.clone(), b"pass");
        let network = MemoryNetwork::new();
        let here = peer(&online);
        let unix_clock: UnixClock = Arc::new(|| 0);
        let config = CoordinatorConfig::new(*root.digest().as_bytes(), unix_clock);
        let (handle, events) = Coordinator::spawn(Arc::new(network.endpoint(here)), config, control.gate());
        let address = PeerAddress { key: here, addresses: Vec::new(), relay: None };
        let presence =
            Presence { address: address.clone(), api: Vec::new(), authority: String::new(), token_mark: String::new() };
        let (says, presence) = tokio::sync::watch::channel(presence);
        drop(says);
        tokio::spawn(control.clone().run(handle, events, presence, true));
        let world = Self { owner, online, root, control, admission, network, address, _folder: folder };
        let enrolled = world.signed(&world.owner, &machine("m1", &key(4)), 1);
        let caller = Caller { name: "somebody".to_owned(), key: None };
        world.admission.submit(&caller, &enrolled, false).await.unwrap();
        let gate = world.control.gate();
        let member = async {
            while !stead_wire::Admission::is_member(&gate, &peer(&key(4))) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, member).await.unwrap();
        world
    }

    fn signed(&self, by: &SigningKey, object: &Object, sequence: u64) -> Submission {
        let (now, author) = (Timestamp::now(), Authorship::Person { author: by.public_key().clone() });
        let later = now + jiff::SignedDuration::from_hours(1);
        let id = self.admission.environment().new_id();
        let mut builder = StatementBuilder::new(self.root.digest(), &id, now, later, "a test", author);
        builder.put(object, sequence, Salt::from_bytes([7; 32])).unwrap();
        builder.build().unwrap().sign(&[by]).unwrap()
    }

    /// What a machine would hold of a change that some coordinator once admitted.
    fn held(&self, by: &SigningKey, object: &Object, sequence: u64) -> Bundle {
        let submission = self.signed(by, object, sequence);
        let (fleet, digest) = (self.root.digest(), submission.statement.digest());
        let receipt = SignedReceipt::sign(fleet, digest, Revision(7), Timestamp::now(), &self.online).unwrap();
        Bundle::assemble(&submission, &submission.tree(), &[0], &receipt).unwrap()
    }

    /// A machine that connects, and is answered for by a test.
    fn connect(&self, key: &SigningKey, delegated: Option<Bytes>) -> (AgentHandle, mpsc::Receiver<AgentEvent>) {
        let mut hello = Hello::new(*self.root.digest().as_bytes(), [9; 16]);
        hello.root_version = 1;
        let join = Join { pass: Bytes::from_static(b"another"), hostname: "m".to_owned(), delegated, facts: Bytes::new() };
        let config = AgentConfig {
            hello,
            join: Some(join),
            coordinators: vec![self.address.clone()],
            seed: 1,
            unix_clock: Arc::new(|| 0),
        };
        let transport = Arc::new(self.network.endpoint(peer(key)));
        AgentConnection::spawn(config, transport, Arc::new(MemoryOutbox::default()))
    }

    fn refused(&self, reason: &'static str) -> u64 {
        self.control.give_back_metrics().refused.get(&ReasonLabels { reason }).map_or(0, |number| number.get())
    }

    async fn given_back(&self, name: &str) -> GivenBack {
        let key = ObjectKey::new(machine("x", &key(4)).group_kind(), "", name);
        let store = self.admission.store();
        loop {
            let revision = store.revision();
            let found = store.snapshot().get(&key).and_then(|stored| stored.to_object().unwrap().to_typed::<Machine>().ok());
            if let Some(given) = found.and_then(|machine| machine.status?.given_back) {
                return given;
            }
            store.past(revision).await.unwrap();
        }
    }
}

/// Answers every question for what is held, until the connection ends.
fn answering(
    (handle, mut events): (AgentHandle, mpsc::Receiver<AgentEvent>),
    answer: impl Fn(GiveBackAsk) -> Vec<u8> + Send + 'static,
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

fn held_line(name: &str, sequence: u64) -> HeldLine {
    HeldLine { key: profile(name).key(), sequence, statement: [3; 32] }
}

fn list(lines: Vec<HeldLine>, more: bool) -> Vec<u8> {
    GiveBackAnswer::Held { root_version: 1, lines, more }.to_bytes().unwrap()
}

fn whole(documents: &[Vec<u8>]) -> Vec<u8> {
    let bytes = postcard::to_stdvec(documents).unwrap();
    let digest = *Digest::of(&bytes).as_bytes();
    GiveBackAnswer::Part { total: bytes.len() as u64, digest, bytes }.to_bytes().unwrap()
}

#[tokio::test]
async fn what_owners_did_not_sign_stays_out_is_counted_and_is_listed() {
    let world = World::start().await;
    let forged = world.held(&key(99), &profile("forged"), 9).to_bytes().unwrap();
    let honest = world.held(&world.owner, &profile("honest"), 4).to_bytes().unwrap();
    let rogue = answering(world.connect(&key(4), None), move |ask| match ask {
        // The list goes on for ever with the same names.
        GiveBackAsk::Held { .. } => list(vec![held_line("forged", 9), held_line("honest", 4)], true),
        GiveBackAsk::Roots { .. } => whole(&[]),
        GiveBackAsk::Bundles { keys, .. } => {
            assert!(keys.len() <= GIVE_BACK_NAMES_MAX);
            whole(&[forged.clone(), b"no bundle".to_vec(), honest.clone()][..keys.len().min(3)])
        }
    });
    let given = tokio::time::timeout(PATIENCE, world.given_back("m1")).await.unwrap();
    assert_eq!(world.admission.store().snapshot().get(&profile("forged").key()).map(|_| ()), None);
    let reasons: Vec<_> = given.not_taken.iter().map(|one| one.reason.as_str()).collect();
    assert!(reasons.contains(&"Role") && world.refused("Role") > 0, "{given:#?}");
    assert!(given.not_taken.iter().any(|one| one.object == "Profile/forged"), "{given:#?}");
    rogue.close().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_does_not_know_the_question_is_left_alone() {
    let world = World::start().await;
    let old = answering(world.connect(&key(4), None), |_| br#"{"error": "the request is not well-formed"}"#.to_vec());
    let counted = async {
        while world.control.give_back_metrics().too_old.get() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.unwrap();
    old.close().await.unwrap();
}

#[tokio::test]
async fn a_machine_that_the_record_does_not_know_comes_in_by_its_own_papers_only() {
    let world = World::start().await;
    let papers = |by: &SigningKey, key: &SigningKey| {
        let bundle = world.held(by, &machine("late", key), 1).to_bytes().unwrap();
        Bytes::from(Credential { roots: Vec::new(), bundle }.to_bytes().unwrap())
    };
    // Signed by nobody that counts; of another machine.
    for (index, papers) in [papers(&key(99), &key(5)), papers(&world.owner, &key(6))].into_iter().enumerate() {
        let (handle, mut events) = world.connect(&key(5), Some(papers));
        let refused = async { while !matches!(events.recv().await, Some(AgentEvent::Refused { .. })) {} };
        tokio::time::timeout(PATIENCE, refused).await.unwrap();
        assert_eq!(world.control.give_back_metrics().strangers_refused.get(), index as u64 + 1);
        handle.close().await.unwrap();
    }
    // What an agent keeps ready itself.
    let mut memory =
        MachineMemory::join(&world.root.digest(), 1, key(5).machine_key().unwrap(), std::slice::from_ref(&world.root)).unwrap();
    let bundle = world.held(&world.owner, &machine("late", &key(5)), 3);
    let accepted = judge(&memory, &bundle).unwrap();
    memory.accept(&bundle, &accepted);
    let papers = Bytes::from(Credential::of(&memory).unwrap().to_bytes().unwrap());
    let agent = answering(world.connect(&key(5), Some(papers)), move |ask| ask.answer(&memory).to_bytes().unwrap());
    let given = tokio::time::timeout(PATIENCE, world.given_back("late")).await.unwrap();
    assert_eq!((given.objects, given.not_taken.len()), (0, 0), "it gave its own object when it came in");
    assert_eq!(world.control.give_back_metrics().strangers_let_in.get(), 1);
    agent.close().await.unwrap();
}
