//! The fleet's owner: signs Changes of profiles, one after the other, and sends them to either coordinator.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use stead_model::{Digest, Object};
use stead_trust::{Authorship, Salt, Signer as _, SigningKey, StatementBuilder};
use ulid::Ulid;

use super::history::{Call, Kind, Operation, Outcome, Write};
use super::http::{Answer, Random, Shared, revision};
use super::worker::object_of;

/// The names that the owner writes.
const NAMES: [&str; 2] = ["h-a", "h-b"];
/// The longest pause between two Changes, in milliseconds.
const PAUSE_MILLISECONDS_MAX: u64 = 120;
/// For how long a Change may be admitted, in minutes.
const ADMIT_WITHIN_MINUTES: i64 = 10;

pub(crate) struct Owner {
    shared: Arc<Shared>,
    number: usize,
    coordinator: usize,
    random: Random,
    fleet: Digest,
    key: SigningKey,
    operations: Vec<Operation>,
}

impl Owner {
    pub(crate) fn new(shared: Arc<Shared>, number: usize, seed: u64, fleet: Digest, key: SigningKey) -> Self {
        let random = Random::new(seed, number as u64);
        Self { shared, number, coordinator: 0, random, fleet, key, operations: Vec::new() }
    }

    /// Signs until the round ends.
    pub(crate) async fn run(mut self) -> Vec<Operation> {
        while !self.shared.has_ended() {
            // Of one object, or of two at once.
            let names = self.random.pick(&[&NAMES[..1], &NAMES[1..], &NAMES[..]]);
            self.change(names).await;
            tokio::time::sleep(Duration::from_millis(self.random.below(PAUSE_MILLISECONDS_MAX))).await;
        }
        self.operations
    }

    /// Signs until it is acknowledged.
    pub(crate) async fn insist(&mut self, name: &str) {
        while !matches!(self.change(&[name]).await, Outcome::Admitted { .. }) {}
    }

    pub(crate) fn into_operations(self) -> Vec<Operation> {
        self.operations
    }

    /// Signs one on top of the sequences that the coordinator names, and turns to the other one where it fails.
    async fn change(&mut self, names: &[&str]) -> Outcome {
        let Some(sequences) = self.sequences(names).await else {
            self.coordinator = 1 - self.coordinator;
            tokio::time::sleep(Duration::from_millis(PAUSE_MILLISECONDS_MAX)).await;
            return Outcome::Missing;
        };
        let tokens: Vec<String> = names.iter().map(|_| self.shared.token()).collect();
        let object = |(name, token): (&&str, &String)| object_of(Kind::Profile, name, token, self.number);
        let objects = names.iter().zip(&tokens).map(object).map(|object| serde_json::from_value(object).unwrap());
        let signed = self.sign(objects.zip(sequences));
        let begun = self.shared.now();
        let path = "/apis/stead.dev/v1/changes";
        let answer = self.shared.send(self.coordinator, Method::POST, path, "application/json", &signed).await;
        let outcome = answer.outcome(|change| Outcome::Admitted { revision: revision(change) });
        let (client, coordinator, ended) = (self.number, self.coordinator, self.shared.now());
        self.operations.extend(names.iter().zip(tokens).map(|(name, token)| {
            let call = Call::Write { kind: Kind::Profile, name: (*name).to_owned(), write: Write::Signed, token };
            Operation { client, coordinator, begun, ended, call, outcome: outcome.clone() }
        }));
        match outcome {
            Outcome::Admitted { .. } => self.shared.note_acknowledged(self.coordinator),
            _ => self.coordinator = 1 - self.coordinator,
        }
        outcome
    }

    /// How far the Changes of these names have come.
    async fn sequences(&self, names: &[&str]) -> Option<Vec<u64>> {
        let question: Value =
            names.iter().map(|name| json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "name": name})).collect();
        match self.shared.send(self.coordinator, Method::POST, "/stead/v1/sequences", "application/json", &question).await {
            Answer::Came(200, answer) => answer.as_array()?.iter().map(|name| name["sequence"].as_u64()).collect(),
            _ => None,
        }
    }

    fn sign(&self, objects: impl Iterator<Item = (Object, u64)>) -> Value {
        let now = Timestamp::now();
        let before = now + SignedDuration::from_mins(ADMIT_WITHIN_MINUTES);
        let authorship = Authorship::Person { author: self.key.public_key().clone() };
        let mut random = [0; 32];
        getrandom::fill(&mut random).unwrap();
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap();
        let id = Ulid::from_parts(milliseconds, u128::from_be_bytes(random[..16].try_into().unwrap())).to_string();
        let mut builder = StatementBuilder::new(self.fleet, &id, now, before, "a change of the history", authorship);
        for (object, sequence) in objects {
            builder.put(&object, sequence + 1, Salt::from_bytes(random)).unwrap();
        }
        let signed = builder.build().unwrap().sign(&[&self.key]).unwrap();
        serde_json::to_value(signed).unwrap()
    }
}
