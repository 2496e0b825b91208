//! A coordinator's API over a record of its own, on a port of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};
use stead_admission::{Admission, Caller, Environment, Write};
use stead_api::{Api, Fleet, Limits, Server, ServingKeys};
use stead_model::{Digest, GroupKind, Object, ObjectKey, Selector};
use stead_store::{Expect, OPERATIONS_PER_TRANSACTION_MAX, Op, Options, PostgresEngine, SqliteEngine, Store, Transaction};
use stead_trust::{Clock, Root, SignedRoot, Signer, SigningKey};
use tokio_util::sync::CancellationToken;

/// A fleet's coordinator, as far as the API goes.
pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) admission: Admission,
    pub(crate) api: Api,
    pub(crate) address: SocketAddr,
    pub(crate) plain_address: SocketAddr,
    pub(crate) owner: SigningKey,
    pub(crate) token: String,
    pub(crate) servers: Vec<tokio::task::JoinHandle<()>>,
    pub(crate) shutdown: CancellationToken,
}

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// `awaits` plays a record that was restored and waits for machines.
struct NoMachines {
    awaits: bool,
}

impl Fleet for NoMachines {
    fn ticket(&self, request: Value) -> BoxFuture<'_, Result<Value, String>> {
        Box::pin(async move { Ok(json!({"ticket": request})) })
    }

    fn plan(&self, _request: Value) -> BoxFuture<'_, Result<Value, String>> {
        Box::pin(async { Err("no machine is connected".to_owned()) })
    }

    fn status(&self) -> Value {
        Value::Null
    }

    fn pulse(&self, _selector: &Selector) -> Value {
        json!([])
    }

    fn warning(&self, names: &[ObjectKey]) -> Option<String> {
        let held = names.iter().find(|key| self.awaits && matches!(key.kind.kind(), "Profile" | "TrustRoot"))?;
        Some(format!("a machine may hold \"{held}\""))
    }

    fn metrics(&self) -> String {
        String::new()
    }

    fn machine_metrics(&self) -> String {
        String::new()
    }
}

/// What a test wants of its coordinator.
#[derive(Default)]
pub(crate) struct Wish {
    pub(crate) left_to_online: Vec<GroupKind>,
    pub(crate) limits: Limits,
    pub(crate) store: Options,
    /// Owners beside the first.
    pub(crate) others: Vec<SigningKey>,
    /// A record in PostgreSQL, which another coordinator may have founded.
    pub(crate) postgres: Option<String>,
    /// A record that waits for what machines hold.
    pub(crate) awaits: bool,
}

impl Wish {
    /// A coordinator whose root leaves our own kinds to its online key.
    pub(crate) fn everything_online() -> Self {
        let kinds = ["Profile", "Machine", "Enrollment"].map(|kind| GroupKind::new("stead.dev", kind));
        Self { left_to_online: kinds.to_vec(), ..Self::default() }
    }
}

impl Fixture {
    pub(crate) async fn start(wish: Wish) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let owner = SigningKey::from_seed(&[1; 32]);
        let online = SigningKey::from_seed(&[2; 32]);
        let clock = Arc::new(SystemClock);
        let random = Arc::new(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap());
        let environment = Environment { clock, random };
        let owners = std::iter::once(&owner).chain(&wish.others).map(|key| key.public_key().clone()).collect();
        let mut root = Root::default_for(owners, vec![online.public_key().clone()], Timestamp::now());
        root.online.kinds.extend(wish.left_to_online);
        let first = SignedRoot::sign(&root, &[&owner]).unwrap();
        let store = match &wish.postgres {
            Some(url) => Store::open(PostgresEngine::open(url).await.unwrap(), wish.store).await.unwrap(),
            None => {
                let engine = SqliteEngine::open(&directory.path().join("record.sqlite")).await.unwrap();
                Store::open(engine, wish.store).await.unwrap()
            }
        };
        let fleet = match store.snapshot().root(1) {
            Some(root) => Digest::of(&root.document),
            None => {
                Admission::found(&store, &first, &environment).await.unwrap();
                first.digest()
            }
        };
        let admission = Admission::open(store, fleet, Arc::new(online), environment).unwrap();
        let caller = Caller { name: "coordinator".to_owned(), key: None };
        admission
            .write(&caller, "the first namespace", vec![Write::Put { object: namespace("default"), expect: Expect::Any }], false)
            .await
            .unwrap();
        let keys = ServingKeys::open(&directory.path().join("keys"), &[]).unwrap();
        let shutdown = CancellationToken::new();
        let api = Api::new(admission.clone(), Arc::new(NoMachines { awaits: wish.awaits }), wish.limits, shutdown.clone());
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), Some(keys.tls()), api.clone()).await.unwrap();
        let plain = Server::bind("127.0.0.1:0".parse().unwrap(), None, api.clone()).await.unwrap();
        let (address, plain_address) = (server.local_address(), plain.local_address());
        let servers = vec![tokio::spawn(server.run()), tokio::spawn(plain.run())];
        let (token, _) = api.issue_token(owner.public_key()).unwrap();
        let fixture = Self { directory, admission, api, address, plain_address, owner, token, servers, shutdown };
        std::fs::write(fixture.kubeconfig(), fixture.kubeconfig_text()).unwrap();
        fixture
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.path().join("keys/authority.crt")
    }

    fn kubeconfig_text(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": format!("https://{}", self.address), "certificate-authority": self.authority()}}],
            "users": [{"name": "it", "user": {"token": self.token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": "default"}}],
        })
        .to_string()
    }

    /// Sends a request over TLS with the owner's token.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Reply {
        let authority = reqwest::Certificate::from_pem(&std::fs::read(self.authority()).unwrap()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([authority]).build().unwrap();
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = client.request(method, format!("https://{}{path}", self.address)).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body).send().await.unwrap();
        let (code, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        Reply { code, headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// A client over plain HTTP with kept-alive connections, and the token of an owner.
    pub(crate) fn client(&self, owner: &SigningKey) -> Client {
        let (token, _) = self.api.issue_token(owner.public_key()).unwrap();
        Client { client: reqwest::Client::new(), server: format!("http://{}", self.plain_address), token }
    }

    /// Writes many leases at once; each has a holder of its own.
    pub(crate) async fn write_leases(&self, names: impl IntoIterator<Item = String>) {
        let put = |name: String| Write::Put { object: lease_of(&name), expect: Expect::Any };
        let writes: Vec<Write> = names.into_iter().map(put).collect();
        let caller = Caller { name: "writer".to_owned(), key: None };
        for part in writes.chunks(2_000) {
            self.admission.write(&caller, "", part.to_vec(), false).await.unwrap();
        }
    }

    /// Puts very many such leases straight into the record.
    pub(crate) async fn import_leases(&self, names: impl IntoIterator<Item = String>) {
        let example = [lease_of("even-0"), lease_of("odd-1")];
        let mut ops = names.into_iter().map(|name| {
            let odd = name.bytes().last().is_some_and(|digit| digit % 2 == 1);
            let mut lease = example[usize::from(odd)].clone();
            lease.fields.insert("spec".to_owned(), json!({"holderIdentity": name}));
            lease.metadata.name = name;
            Op::create(lease)
        });
        loop {
            let part: Vec<Op> = ops.by_ref().take(OPERATIONS_PER_TRANSACTION_MAX).collect();
            if part.is_empty() {
                return;
            }
            self.admission.store().commit(Transaction::unsigned(Timestamp::now(), part)).await.unwrap();
        }
    }

    /// Writes leases with so much padding each.
    pub(crate) async fn write_padded_leases(&self, count: usize, padding: &str) {
        let put = |number: usize| {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {},
                "metadata": {"name": format!("padded-{number}"), "namespace": "default", "annotations": {"padding": padding}},
            });
            Write::Put { object: serde_json::from_value(lease).unwrap(), expect: Expect::Any }
        };
        let caller = Caller { name: "writer".to_owned(), key: None };
        for number in (0..count).step_by(500) {
            let writes = (number..count.min(number + 500)).map(put).collect();
            self.admission.write(&caller, "", writes, false).await.unwrap();
        }
    }

    /// Submits a manifest as a Change that the owner signed.
    pub(crate) async fn submit_signed(&self, manifest: &Value, sequence: u64) {
        let object: Object = serde_json::from_value(manifest.clone()).unwrap();
        let author = stead_trust::Authorship::Person { author: self.owner.public_key().clone() };
        let (now, id) = (Timestamp::now(), self.admission.environment().new_id());
        let until = now + jiff::SignedDuration::from_hours(1);
        let fleet = self.admission.fleet();
        let mut builder = stead_trust::StatementBuilder::new(fleet, &id, now, until, "a test", author);
        builder.put(&object, sequence, stead_trust::Salt::from_bytes([7; 32])).unwrap();
        let submission = builder.build().unwrap().sign(&[&self.owner]).unwrap();
        let caller = Caller { name: "owner".to_owned(), key: None };
        self.admission.submit(&caller, &submission, false).await.unwrap();
    }

    /// Writes a lease: the quickest write there is.
    pub(crate) async fn write_lease(&self, name: &str, transitions: i64) {
        let object: Object = serde_json::from_value(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": "default"},
            "spec": {"leaseTransitions": transitions},
        }))
        .unwrap();
        let caller = Caller { name: "writer".to_owned(), key: None };
        self.admission.write(&caller, "", vec![Write::Put { object, expect: Expect::Any }], false).await.unwrap();
    }
}

/// One client of the plain port.
#[derive(Clone)]
pub(crate) struct Client {
    client: reqwest::Client,
    server: String,
    token: String,
}

impl Client {
    /// Starts a request; its body is still to come.
    pub(crate) async fn get(&self, path: &str, accept: &str) -> reqwest::Response {
        let request = self.client.get(format!("{}{path}", self.server)).bearer_auth(&self.token).header("accept", accept);
        request.send().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path, "application/json").await;
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Fails the test with the whole answer where the code is another one.
    #[track_caller]
    pub(crate) fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.text);
        self.json()
    }
}

/// A lease with a holder and a label of its own.
fn lease_of(name: &str) -> Object {
    let half = if name.ends_with(['0', '2', '4', '6', '8']) { "even" } else { "odd" };
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "default", "labels": {"half": half}},
        "spec": {"holderIdentity": name},
    });
    serde_json::from_value(lease).unwrap()
}

pub(crate) fn namespace(name: &str) -> Object {
    serde_json::from_value(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).unwrap()
}

pub(crate) fn profile(name: &str) -> Value {
    json!({
        "apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": name, "labels": {"role": "web"}},
        "spec": {"selector": {"matchLabels": {"role": "web"}}, "files": [{"path": "/etc/motd", "content": "hello\n"}]},
    })
}
