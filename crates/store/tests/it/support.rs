//! A record in a temporary place, and short ways to say what tests do with it.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use stead_model::{GroupKind, Object, ObjectKey, Revision};
use stead_peers::{PostgresProxy, TempPostgres};
use stead_store::{
    CommitError, Committed, Engine, MemoryRecord, Op, Operation, Options, PostgresEngine, SealedChange, SignedChange,
    SignedEntry, SqliteEngine, Store, Transaction, random_source,
};
use tempfile::TempDir;

pub(crate) mod flaky;

/// A record that outlives the stores which open it.
pub(crate) struct Record {
    folder: TempDir,
    /// The server, where the record is in PostgreSQL.
    pub(crate) postgres: Option<TempPostgres>,
    url: String,
    memory: Option<MemoryRecord>,
}

impl Record {
    pub(crate) fn sqlite() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), postgres: None, url: String::new(), memory: None }
    }

    pub(crate) fn postgres() -> Self {
        let postgres = TempPostgres::start();
        let url = postgres.url();
        Self { postgres: Some(postgres), url, ..Self::sqlite() }
    }

    pub(crate) fn memory() -> Self {
        Self { memory: Some(MemoryRecord::new(random_source())), ..Self::sqlite() }
    }

    /// Another, empty record on the same server, if there is one.
    pub(crate) fn beside(&self, name: &str) -> Self {
        if self.memory.is_some() {
            return Self::memory();
        }
        let url = self.postgres.as_ref().map_or_else(String::new, |postgres| postgres.database(name));
        Self { url, ..Self::sqlite() }
    }

    /// Where a record in SQLite is.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("record.db")
    }

    /// Where a record in PostgreSQL is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A store whose way to the server leads through a proxy.
    pub(crate) async fn open_through(&self, proxy: &PostgresProxy) -> Store {
        let engine = PostgresEngine::open(&proxy.url(&self.url)).await.unwrap();
        Store::open(engine, Options::default()).await.unwrap()
    }

    /// How another process is told where it is.
    pub(crate) fn place(&self) -> String {
        if self.url.is_empty() { self.path().display().to_string() } else { self.url.clone() }
    }

    pub(crate) async fn engine(&self) -> Arc<dyn Engine> {
        if let Some(memory) = &self.memory {
            return Arc::new(memory.engine());
        }
        if self.url.is_empty() {
            Arc::new(SqliteEngine::open(&self.path()).await.unwrap())
        } else {
            Arc::new(PostgresEngine::open(&self.url).await.unwrap())
        }
    }

    /// As a command opens it that is no coordinator.
    pub(crate) async fn engine_offline(&self) -> Arc<dyn Engine> {
        if self.url.is_empty() {
            self.engine().await
        } else {
            Arc::new(PostgresEngine::open_offline(&self.url, None).await.unwrap())
        }
    }

    pub(crate) async fn open(&self) -> Store {
        self.open_with(Options::default()).await
    }

    pub(crate) async fn open_with(&self, options: Options) -> Store {
        Store::open_on(self.engine().await, options).await.unwrap()
    }

    /// Does something to the record behind every coordinator's back.
    pub(crate) async fn execute(&self, sql: &'static str) {
        if self.url.is_empty() {
            let mut shell = SqliteConnection::connect(&format!("sqlite://{}", self.path().display())).await.unwrap();
            sqlx::query(sql).execute(&mut shell).await.unwrap();
        } else {
            let mut shell = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query("SET search_path = stead").execute(&mut shell).await.unwrap();
            sqlx::query(sql).execute(&mut shell).await.unwrap();
        }
    }
}

/// Runs each of a module's tests on a new record of every engine; `threads` are those of its runtime.
macro_rules! on_every_engine {
    ($threads:literal: $($test:ident),+ $(,)?) => {
        crate::support::on_every_database!($threads: $($test),+);
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = $threads)]
            async fn $test() {
                super::$test(crate::support::Record::memory()).await;
            })+
        }
    };
    ($($test:ident),+ $(,)?) => {
        crate::support::on_every_engine!(1: $($test),+);
    };
}
pub(crate) use on_every_engine;

/// The same for the engines that have a database: where a test kills a process, or works on the record behind the engine's back.
macro_rules! on_every_database {
    ($threads:literal: $($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = $threads)]
            async fn $test() {
                super::$test(crate::support::Record::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = $threads)]
            async fn $test() {
                super::$test(crate::support::Record::postgres()).await;
            })+
        }
    };
    ($($test:ident),+ $(,)?) => {
        crate::support::on_every_database!(1: $($test),+);
    };
}
pub(crate) use on_every_database;

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
        entering: stead_store::Entering::Anew,
        seal: Box::new(seal),
    };
    Transaction { change: Some(change), ..Transaction::unsigned(time(0), ops) }
}
