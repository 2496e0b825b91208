//! A client that writes and reads: one call after the other, at one coordinator until that fails it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::history::{Asked, Call, Fields, Key, Kind, Operation, Outcome, Version, Write, after, own_label};
use super::http::{Answer, Random, Shared, collection, manifest, revision, version};

/// The names that all clients write: few, so that they meet.
const NAMES: [&str; 4] = ["h-a", "h-b", "h-c", "h-d"];
/// The longest pause between two calls, in milliseconds.
const PAUSE_MILLISECONDS_MAX: u64 = 12;
/// The pause after a call that failed, in milliseconds.
const FAILED_MILLISECONDS: u64 = 30;

pub(crate) struct Worker {
    shared: Arc<Shared>,
    number: usize,
    coordinator: usize,
    random: Random,
    /// What it was last shown of each object.
    known: BTreeMap<Key, Version>,
    /// The newest revision that it was shown.
    newest: u64,
    operations: Vec<Operation>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, number: usize, seed: u64) -> Self {
        let random = Random::new(seed, number as u64);
        Self { shared, number, coordinator: number % 2, random, known: BTreeMap::new(), newest: 0, operations: Vec::new() }
    }

    /// Works until the round ends, and gives back what it did.
    pub(crate) async fn run(mut self) -> Vec<Operation> {
        while !self.shared.has_ended() {
            let kind = self.random.pick(&[Kind::Lease, Kind::Lease, Kind::Namespace]);
            match self.random.below(100) {
                0..50 => self.write_some(kind).await,
                50..75 => self.get_some().await,
                _ => self.list_some().await,
            }
            let failed = matches!(
                self.operations.last().map(|operation| &operation.outcome),
                Some(Outcome::Unknown { .. } | Outcome::Refused { code: 0 | 503, .. })
            );
            if failed || self.random.percent(2) {
                self.coordinator = 1 - self.coordinator;
            }
            let pause = if failed { FAILED_MILLISECONDS } else { self.random.below(PAUSE_MILLISECONDS_MAX) };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.operations
    }

    /// The newest revision that it was shown.
    pub(crate) const fn newest(&self) -> u64 {
        self.newest
    }

    /// What it has done.
    pub(crate) fn into_operations(self) -> Vec<Operation> {
        self.operations
    }

    async fn write_some(&mut self, kind: Kind) {
        let name = self.random.pick(&NAMES);
        let known = self.known.get(&(kind, name.to_owned())).map(|version| version.revision);
        let write = match (known, self.random.below(100)) {
            (Some(on), 0..35) => Write::Put { on: Some(on) },
            (Some(_), 35..45) | (None, 0..5) => Write::Put { on: None },
            (Some(_), 45..65) | (None, 5..10) => Write::Patch,
            (Some(_), 65..82) | (None, 10..30) => Write::Apply,
            (Some(on), 82..90) => Write::Delete { on: Some(on) },
            (Some(_), 90..95) | (None, 30..35) => Write::Delete { on: None },
            _ => Write::Create,
        };
        self.write(kind, name, write).await;
    }

    /// Writes, and notes what it was told.
    pub(crate) async fn write(&mut self, kind: Kind, name: &str, write: Write) {
        let token = self.shared.token();
        let begun = self.shared.now();
        let answer = self.send(kind, name, &write, &token).await;
        let outcome = answer.outcome(|value| match write {
            Write::Delete { .. } => Outcome::Deleted { uid: value["details"]["uid"].as_str().unwrap_or_default().to_owned() },
            _ => Outcome::Written(version(kind, value).unwrap()),
        });
        let key = (kind, name.to_owned());
        match &outcome {
            Outcome::Written(object) => {
                self.newest = self.newest.max(object.revision);
                self.known.insert(key, object.clone());
            }
            Outcome::Deleted { .. } | Outcome::Refused { code: 404, .. } => {
                self.known.remove(&key);
            }
            _ => {}
        }
        if matches!(outcome, Outcome::Written(_) | Outcome::Deleted { .. }) {
            self.shared.note_acknowledged(self.coordinator);
        }
        self.note(begun, Call::Write { kind, name: name.to_owned(), write, token }, outcome);
    }

    async fn send(&self, kind: Kind, name: &str, write: &Write, token: &str) -> Answer {
        let path = format!("{}/{name}", collection(kind));
        let own: Fields = [(own_label(write, self.number), token.to_owned())].into();
        let (shared, at) = (&self.shared, self.coordinator);
        match write {
            Write::Create | Write::Put { .. } | Write::Signed => {
                let fields = after(kind, write, self.number, token, None).unwrap();
                let mut object = manifest(kind, name, &fields);
                if let Write::Put { on: Some(on) } = write {
                    object["metadata"]["resourceVersion"] = on.to_string().into();
                }
                let (method, path) =
                    if *write == Write::Create { (Method::POST, collection(kind)) } else { (Method::PUT, path.as_str()) };
                shared.send(at, method, path, "application/json", &object).await
            }
            Write::Patch => {
                let patch = json!({"metadata": {"labels": own}});
                shared.send(at, Method::PATCH, &path, "application/merge-patch+json", &patch).await
            }
            Write::Apply => {
                let path = format!("{path}?fieldManager=apply-{}&force=true", self.number);
                let wish = manifest(kind, name, &own);
                shared.send(at, Method::PATCH, &path, "application/apply-patch+yaml", &wish).await
            }
            Write::Delete { on } => {
                let preconditions = on.map(|on| json!({"resourceVersion": on.to_string()}));
                let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
                shared.send(at, Method::DELETE, &path, "application/json", &body).await
            }
        }
    }

    async fn get_some(&mut self) {
        let kind = self.random.pick(&Kind::ALL);
        let name = self.random.pick(&NAMES);
        let since = self.random.percent(40).then_some(self.newest).filter(|newest| *newest > 0);
        let begun = self.shared.now();
        let query = since.map_or_else(String::new, |since| format!("?resourceVersion={since}"));
        let answer = self.shared.get(self.coordinator, &format!("{}/{name}{query}", collection(kind))).await;
        let outcome = match answer {
            Answer::Came(404, _) => Outcome::Missing,
            answer => answer.outcome(|value| Outcome::Found(version(kind, value).unwrap())),
        };
        let key = (kind, name.to_owned());
        match &outcome {
            Outcome::Found(object) => {
                self.newest = self.newest.max(object.revision);
                self.known.insert(key, object.clone());
            }
            Outcome::Missing => {
                self.known.remove(&key);
            }
            _ => {}
        }
        self.note(begun, Call::Get { kind, name: name.to_owned(), since }, outcome);
    }

    async fn list_some(&mut self) {
        let kind = self.random.pick(&Kind::ALL);
        let asked = match self.random.below(10) {
            0..3 if self.newest > 0 => Asked::NotOlderThan(self.newest),
            3..5 if self.newest > 0 => Asked::Exact(self.newest),
            _ => Asked::Any,
        };
        let limit = self.random.pick(&[0, 0, 1, 2, 500]);
        self.list(kind, asked, limit).await;
    }

    /// Lists, and notes what it was told; gives back the revision of the list.
    pub(crate) async fn list(&mut self, kind: Kind, asked: Asked, limit: usize) -> Option<u64> {
        let begun = self.shared.now();
        let first = match asked {
            Asked::Any => String::new(),
            Asked::NotOlderThan(revision) => format!("&resourceVersion={revision}&resourceVersionMatch=NotOlderThan"),
            Asked::Exact(revision) => format!("&resourceVersion={revision}&resourceVersionMatch=Exact"),
        };
        let (mut pages, mut objects, mut query) = (Vec::new(), Vec::new(), first);
        let mut at = self.coordinator;
        let outcome = loop {
            let answer = self.shared.get(at, &format!("{}?limit={limit}{query}", collection(kind))).await;
            let mut next = String::new();
            let outcome = answer.outcome(|list| {
                pages.push(revision(list));
                objects.extend(list["items"].as_array().into_iter().flatten().filter_map(|object| version(kind, object)));
                list["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut next);
                Outcome::Listed { pages: pages.clone(), objects: objects.clone() }
            });
            if next.is_empty() {
                break outcome;
            }
            query = format!("&continue={next}");
            if self.random.percent(20) {
                at = 1 - at;
            }
        };
        let revision = pages.last().copied().filter(|_| matches!(outcome, Outcome::Listed { .. }));
        if let Some(revision) = revision {
            self.newest = self.newest.max(revision);
            self.known.retain(|key, _| key.0 != kind);
            self.known.extend(objects.into_iter().map(|object| ((kind, object.name.clone()), object)));
        }
        self.note(begun, Call::List { kind, asked, limit }, outcome);
        revision
    }

    fn note(&mut self, begun: u64, call: Call, outcome: Outcome) {
        let ended = self.shared.now();
        self.operations.push(Operation { client: self.number, coordinator: self.coordinator, begun, ended, call, outcome });
    }

    /// Turns to a coordinator.
    pub(crate) fn turn_to(&mut self, coordinator: usize) {
        self.coordinator = coordinator;
    }

    /// Writes until it is acknowledged.
    pub(crate) async fn insist(&mut self, kind: Kind, name: &str) {
        loop {
            self.write(kind, name, Write::Create).await;
            match &self.operations.last().unwrap().outcome {
                // What was not known has been written after all.
                Outcome::Written(_) | Outcome::Refused { code: 409, .. } => return,
                _ => tokio::time::sleep(Duration::from_millis(FAILED_MILLISECONDS)).await,
            }
        }
    }
}

/// Tells the clients to end.
pub(crate) fn end(shared: &Shared) {
    shared.ended.store(true, Ordering::SeqCst);
}

/// A body that was sent, for those who sign it themselves.
pub(crate) fn object_of(kind: Kind, name: &str, token: &str, client: usize) -> Value {
    manifest(kind, name, &after(kind, &Write::Signed, client, token, None).unwrap())
}
