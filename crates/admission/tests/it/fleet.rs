//! A fleet for tests: an owner, a coordinator's key, a record in a folder.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use stead_admission::{Admission, Caller, Environment};
use stead_model::{Object, ObjectKey, registry};
use stead_store::{Options, SqliteEngine, Store};
use stead_trust::{Authorship, Clock, Root, Salt, SignedRoot, Signer, SigningKey, StatementBuilder, Submission};
use tempfile::TempDir;

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        now()
    }
}

pub(crate) fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

pub(crate) struct Fleet {
    pub(crate) admission: Admission,
    pub(crate) owner: SigningKey,
    pub(crate) root: SignedRoot,
    pub(crate) _folder: Option<TempDir>,
}

pub(crate) fn caller() -> Caller {
    Caller { name: "somebody".to_owned(), key: None }
}

pub(crate) fn online() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

pub(crate) fn environment() -> Environment {
    Environment { clock: Arc::new(Still), random: Arc::new(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap()) }
}

impl Fleet {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = SqliteEngine::open(&folder.path().join("record.db")).await.unwrap();
        let fleet = Self { _folder: Some(folder), ..Self::on(Store::open(engine, Options::default()).await.unwrap()).await };
        fleet.put_online(object("Namespace", "default", Value::Null)).await;
        fleet
    }

    /// A fleet without a namespace, founded on a record.
    pub(crate) async fn on(store: Store) -> Self {
        let (owner, online) = (SigningKey::from_seed(&[1; 32]), online());
        let root = Root::default_for(vec![owner.public_key().clone()], vec![online.public_key().clone()], now());
        let root = SignedRoot::sign(&root, &[&owner]).unwrap();
        Admission::found(&store, &root, &environment()).await.unwrap();
        let admission = Admission::open(store, root.digest(), Arc::new(online), environment()).unwrap();
        Self { admission, owner, root, _folder: None }
    }

    pub(crate) async fn put_online(&self, object: Object) {
        let write = stead_admission::Write::Put { object, expect: stead_store::Expect::Absent };
        self.admission.write(&caller(), "", vec![write], false).await.unwrap();
    }

    /// A Change of one object, signed by some key, for a sequence.
    pub(crate) fn signed(&self, key: &SigningKey, object: &Object, sequence: u64) -> Submission {
        let author = Authorship::Person { author: key.public_key().clone() };
        let later = now() + jiff::SignedDuration::from_hours(1);
        let id = self.admission.environment().new_id();
        let mut builder = StatementBuilder::new(self.admission.fleet(), &id, now(), later, "a test", author);
        builder.put(object, sequence, Salt::from_bytes([7; 32])).unwrap();
        builder.build().unwrap().sign(&[key]).unwrap()
    }

    pub(crate) fn stored(&self, key: &ObjectKey) -> Option<Object> {
        self.admission.store().snapshot().get(key).map(|stored| stored.to_object().unwrap())
    }
}

pub(crate) fn object(kind: &str, name: &str, spec: Value) -> Object {
    let info = registry().by_word(kind).unwrap();
    let mut value = json!({"apiVersion": info.api_version(), "kind": info.kind, "metadata": {"name": name}});
    if !spec.is_null() {
        value["spec"] = spec;
    }
    info.parse(value).unwrap()
}

pub(crate) fn profile(content: &str) -> Object {
    object("Profile", "web", json!({"selector": {}, "files": [{"path": "/etc/motd", "content": content}]}))
}
