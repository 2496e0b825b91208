//! A stand-in for the coordinator: the endpoints that the command line asks, over plain HTTP, with `trust` behind them.
//!
//! The real one is asked by the end-to-end tests; this one shows what the command line sends and how it takes each answer.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};
use stead_model::Digest;
use stead_trust::{Leaf, Root, SignedLogin, SignedRoot, Signer as _, SigningKey, Submission, UserPresence};

const NONCE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What the stand-in holds.
#[derive(Default)]
pub(crate) struct Record {
    /// Objects by their path.
    pub(crate) objects: BTreeMap<String, Value>,
    /// Sequences by `Kind/name`.
    pub(crate) sequences: BTreeMap<String, u64>,
    /// Every request: method and path.
    pub(crate) requests: Vec<String>,
    /// The changes that were taken.
    pub(crate) submissions: Vec<Submission>,
    /// Another change that comes in just before a submission: object's path and the object.
    pub(crate) intruder: Option<(String, Value)>,
    /// Lines that each watch sends before it ends.
    pub(crate) watch: Vec<Value>,
    /// Objects that come, one after each watch of their kind that was refused.
    pub(crate) arrivals: Vec<(String, Value)>,
    /// What machines answer to a request for plans.
    pub(crate) plans: Value,
}

/// A stand-in that listens.
pub(crate) struct StandIn {
    pub(crate) url: String,
    pub(crate) record: Arc<Mutex<Record>>,
    pub(crate) fleet: Digest,
}

struct Server {
    record: Arc<Mutex<Record>>,
    root: SignedRoot,
    online: SigningKey,
}

impl StandIn {
    /// Starts one for the fleet of a root file.
    pub(crate) fn start(root_file: &std::path::Path, online_key_file: &std::path::Path) -> Self {
        let root: SignedRoot = serde_json::from_slice(&std::fs::read(root_file).unwrap()).unwrap();
        let online = SigningKey::from_openssh(&std::fs::read_to_string(online_key_file).unwrap(), None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let record = Arc::new(Mutex::new(Record::default()));
        let fleet = root.digest();
        let server = Arc::new(Server { record: record.clone(), root, online });
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream.unwrap()));
            }
        });
        Self { url, record, fleet }
    }

    /// Whether a request was made, by its beginning.
    pub(crate) fn was_asked(&self, request: &str) -> bool {
        self.record.lock().unwrap().requests.iter().any(|made| made.starts_with(request))
    }
}

impl Server {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or_default() == 0 {
            return;
        }
        let mut words = first.split_whitespace();
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let (mut length, mut token) = (0, false);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            length = line.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap());
            token |= line == "authorization: bearer a-token";
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        self.record.lock().unwrap().requests.push(format!("{method} {target}"));
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let open = path == "/stead/v1/login" || path == "/stead/v1/fleet";
        let (code, text) =
            if open || token { self.answer(&method, path, query, &body) } else { status(401, "Unauthorized", "Unauthorized") };
        let head = format!("HTTP/1.1 {code} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
        // The client may have gone already, which is its right.
        let _ = (&stream).write_all((head + &text).as_bytes());
    }

    fn answer(&self, method: &str, path: &str, query: &str, body: &[u8]) -> (u16, String) {
        match (method, path) {
            ("GET", "/stead/v1/login") => {
                let value = json!({"fleet": self.root.digest(), "coordinator": self.online.public_key(), "nonce": NONCE, "time": Timestamp::now()});
                (200, value.to_string())
            }
            ("POST", "/stead/v1/login") => self.login(body),
            ("GET", "/stead/v1/fleet") => {
                let value = json!({"fleet": self.root.digest(), "coordinator": self.online.public_key(), "roots": [self.root]});
                (200, value.to_string())
            }
            ("GET", "/stead/v1/status") => (200, json!({"coordinators": []}).to_string()),
            ("POST", "/stead/v1/sequences") => self.sequences(body),
            ("POST", "/stead/v1/plan") => (200, self.record.lock().unwrap().plans.to_string()),
            ("POST", "/apis/stead.dev/v1/changes") => self.submit(query, body),
            ("GET", "/apis/stead.dev/v1/changes") if query.contains("watch=true") => {
                let mut record = self.record.lock().unwrap();
                let arrived = record.arrivals.pop();
                record.objects.extend(arrived);
                status(405, "MethodNotAllowed", "changes are not watched")
            }
            ("GET", _) if query.contains("watch=true") => {
                let lines = self.record.lock().unwrap().watch.clone();
                (200, lines.iter().map(|line| format!("{line}\n")).collect())
            }
            ("GET", _) => self.read(path),
            _ => status(405, "MethodNotAllowed", "no"),
        }
    }

    fn login(&self, body: &[u8]) -> (u16, String) {
        let signed: SignedLogin = serde_json::from_slice(body).unwrap();
        let coordinator = self.online.public_key();
        let verified = signed.verify(&self.root.digest(), coordinator, NONCE, Timestamp::now(), UserPresence::Required);
        let root = self.root_document();
        match verified {
            Ok(key) if root.is_persons_key(&key) => {
                let until = Timestamp::now().checked_add(jiff::SignedDuration::from_secs(3_600)).unwrap();
                (200, json!({"token": "a-token", "expirationTimestamp": until}).to_string())
            }
            Ok(key) => status(401, "Unauthorized", &format!("the trust root names no owner with the key {}", key.fingerprint())),
            Err(error) => status(401, "Unauthorized", &error.to_string()),
        }
    }

    fn root_document(&self) -> Root {
        let chain = stead_trust::RootChain::verify(&self.root.digest(), std::slice::from_ref(&self.root)).unwrap();
        chain.newest().clone()
    }

    fn sequences(&self, body: &[u8]) -> (u16, String) {
        let names: Vec<Value> = serde_json::from_slice(body).unwrap();
        let record = self.record.lock().unwrap();
        let text = |name: &Value, member: &str| name[member].as_str().unwrap().to_owned();
        let of =
            |name: &Value| record.sequences.get(&format!("{}/{}", text(name, "kind"), text(name, "name"))).copied().unwrap_or(0);
        let answers: Vec<Value> =
            names.iter().map(|name| json!({"name": name["name"], "sequence": of(name), "deleted": false})).collect();
        (200, Value::Array(answers).to_string())
    }

    fn submit(&self, query: &str, body: &[u8]) -> (u16, String) {
        let submission: Submission = serde_json::from_slice(body).unwrap();
        let verified = submission.statement.verify(UserPresence::Required).unwrap();
        assert_eq!(verified.statement.fleet, self.root.digest());
        assert_eq!(verified.statement.entries_root, submission.tree().root());
        let mut record = self.record.lock().unwrap();
        if let Some((path, object)) = record.intruder.take() {
            let key = format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
            *record.sequences.entry(key).or_default() += 1;
            record.objects.insert(path, object);
        }
        let leaves: Vec<Leaf> = submission.entries.iter().map(|entry| Leaf::from_bytes(&entry.leaf).unwrap()).collect();
        for leaf in &leaves {
            let expected = record.sequences.get(&leaf.key().to_string()).copied().unwrap_or(0) + 1;
            if leaf.sequence != expected {
                let cause = json!({"reason": "NeedsSigning", "field": "", "message": format!("{} is at {expected}", leaf.key())});
                let body = json!({"kind": "Status", "code": 409, "reason": "Conflict", "message": "a sequence was taken", "details": {"causes": [cause]}});
                return (409, body.to_string());
            }
        }
        let name = verified.statement.id.to_ascii_lowercase();
        if query == "dryRun=All" {
            return (200, json!({"kind": "Status", "status": "Success", "metadata": {}}).to_string());
        }
        for leaf in leaves {
            record.sequences.insert(leaf.key().to_string(), leaf.sequence);
        }
        record.submissions.push(submission);
        (201, json!({"apiVersion": "stead.dev/v1", "kind": "Change", "metadata": {"name": name}}).to_string())
    }

    fn read(&self, path: &str) -> (u16, String) {
        let record = self.record.lock().unwrap();
        if let Some(object) = record.objects.get(path) {
            return (200, object.to_string());
        }
        let plural = path.rsplit('/').next().unwrap();
        if stead_model::registry().iter().any(|info| info.plural == plural) {
            let below = |(at, _): &(&String, &Value)| at.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
            let items: Vec<&Value> = record.objects.iter().filter(below).map(|(_, object)| object).collect();
            return (200, json!({"kind": "List", "metadata": {"resourceVersion": "7"}, "items": items}).to_string());
        }
        status(404, "NotFound", &format!("{path} not found"))
    }
}

fn status(code: u16, reason: &str, message: &str) -> (u16, String) {
    let value = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message});
    (code, value.to_string())
}
