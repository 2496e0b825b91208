//! A record in a temporary place, and short ways to say what tests do with it.

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};
use stead_model::{GroupKind, Object, ObjectKey, Revision};
use stead_store::{
    CommitError, Committed, Op, Operation, Options, SealedChange, SignedChange, SignedEntry, SqliteEngine, Store, Transaction,
};
use tempfile::TempDir;

pub(crate) mod flaky;

/// A record that outlives the stores which open it.
pub(crate) struct Record {
    folder: TempDir,
}

impl Record {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("record.db")
    }

    pub(crate) async fn engine(&self) -> SqliteEngine {
        SqliteEngine::open(&self.path()).await.unwrap()
    }

    pub(crate) async fn open(&self) -> Store {
        self.open_with(Options::default()).await
    }

    pub(crate) async fn open_with(&self, options: Options) -> Store {
        Store::open(self.engine().await, options).await.unwrap()
    }
}

pub(crate) fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(crate) fn widget_kind() -> GroupKind {
    GroupKind::new("test.example", "Widget")
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new(widget_kind(), "", name)
}

pub(crate) fn widget(name: &str, spec: Value) -> Object {
    let object = json!({"apiVersion": "test.example/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(object).unwrap()
}

pub(crate) fn labelled(name: &str, spec: Value, labels: &[(&str, &str)]) -> Object {
    let mut object = widget(name, spec);
    object.metadata.labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    object
}

pub(crate) async fn commit(store: &Store, ops: Vec<Op>) -> Result<Committed, CommitError> {
    store.commit(Transaction::unsigned(time(0), ops)).await
}

pub(crate) async fn put(store: &Store, object: Object) -> Revision {
    commit(store, vec![Op::put(object)]).await.unwrap().revision
}

pub(crate) fn object(store: &Store, name: &str) -> Option<Object> {
    store.snapshot().get(&key(name)).map(|stored| stored.to_object().unwrap())
}

pub(crate) fn entry(name: &str, sequence: u64, operation: Operation) -> SignedEntry {
    SignedEntry {
        key: key(name),
        index: 0,
        sequence,
        operation,
        leaf: format!("leaf {name} {sequence}").into_bytes(),
        proof: vec![1, 2, 3],
        object: (operation == Operation::Put).then(|| b"as sent".to_vec()),
    }
}

/// A Change whose receipt names its revision.
pub(crate) fn signed(id: &str, entries: Vec<SignedEntry>, ops: Vec<Op>) -> Transaction {
    let seal =
        |revision: Revision| Ok(SealedChange { receipt: format!("receipt {revision}").into_bytes(), receipt_signature: vec![9] });
    let entries = (0..).zip(entries).map(|(index, entry)| SignedEntry { index, ..entry }).collect();
    let change = SignedChange {
        id: id.to_owned(),
        statement: format!("statement {id}").into_bytes(),
        signatures: vec![7, 7],
        author: "ssh-ed25519 AAAA".to_owned(),
        message: "because".to_owned(),
        entries,
        seal: Box::new(seal),
    };
    Transaction { time: time(0), ops, change: Some(change), root: None }
}
