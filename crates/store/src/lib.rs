//! The record: what a fleet should be and is, who said so, and a view of it in memory.
//!
//! # Goals
//!
//! - Nothing acknowledged is lost: [`Store::commit`] returns when the transaction is on disk.
//! - Every committed transaction has the next [`Revision`](stead_model::Revision). No watcher misses one or sees two out of order.
//! - Every read is served from memory, from a [`Snapshot`] that never changes, and goes on when the database does not.
//!
//! # Non-goals
//!
//! It knows no kind by name, looks into nothing that is signed, speaks no HTTP and decides nothing about machines. What a
//! transaction may change, and who may ask for it, is the business of the floors above.
//!
//! # How the pieces interact
//!
//! An [`Engine`] keeps the rows; [`SqliteEngine`] is one, and [`MemoryEngine`] one for simulations, with a disk that is a model. A [`Store`] loads them into a view made of persistent maps, and starts
//! the one writer. A [`Transaction`] waits in its queue; the writer takes all that wait, evaluates each on the record as those
//! before it leave it, hands the batch to the engine for one fsync, and then moves the view, tells the watchers, and answers.
//! A [`Watcher`] is a place in a run of events that all watchers share; what has fallen out of that, it reads from the engine's history.
//!
//! ```
//! use stead_model::Object;
//! use stead_store::{Op, Options, SqliteEngine, Store, Transaction};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let folder = std::env::temp_dir().join(format!("stead-store-doc-{}", std::process::id()));
//! std::fs::create_dir_all(&folder)?;
//! let store = Store::open(SqliteEngine::open(&folder.join("record.db")).await?, Options::default()).await?;
//!
//! let mut lease = Object { api_version: "coordination.k8s.io/v1".into(), kind: "Lease".into(), ..Object::default() };
//! lease.metadata.name = "leader".into();
//! let key = lease.key();
//! let committed = store.commit(Transaction::unsigned(jiff::Timestamp::now(), vec![Op::create(lease)])).await?;
//! assert_eq!(store.snapshot().get(&key).map(|stored| stored.revision()), Some(committed.revision));
//!
//! store.close().await;
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backup_note;
mod clock;
mod columns;
mod copy;
mod digest;
mod engine;
mod evaluate;
mod follow;
mod history;
mod load;
mod memory;
mod open_error;
mod postgres;
mod retained;
mod rewind;
mod ring;
mod rows;
mod sqlite;
mod store;
mod stored;
mod transaction;
mod uid;
mod view;
mod watch;
mod writer;

pub use backup_note::{BackupNews, BackupNote, BackupNotes, BackupWay, note_backup};
pub use clock::system_time;
pub use copy::{CopyError, CopyProgress, copy, copy_reading};
pub use digest::{RecordDigest, TableDigest, digest, digest_reading};
pub use engine::{CommitFailure, Engine, EngineError, Import, Moved, Reading, Turn};
pub use history::{HISTORY_PAGE_BYTES_MAX, HISTORY_PAGE_STEPS_MAX, HISTORY_PAGES_AT_ONCE_MAX};
pub use memory::{Disk, DiskLog, LogFailure, MemoryEngine, MemoryRecord, SoundDisk, WriteEnd, Written};
pub use open_error::OpenError;
pub use postgres::{
    Archive, HeldRecord, PlaceError, PostgresEngine, PostgresPlace, PostgresServer, PostgresServers, Replica, Replication,
    ReplicationSlot, ServerReport, ServerState, Standing, each_server, split_authority,
};
pub use retained::{
    RETAINED_REPLACED_BYTES_MAX, RETAINED_SECONDS_MAX, RETAINED_SNAPSHOTS_MAX, REWOUND_SNAPSHOTS_MAX, SnapshotExpired,
};
pub use ring::EventKind;
pub use rows::{
    Asked, AskedKind, Batch, Change, ChangeReference, Entry, HistoryRow, Mark, Meta, Operation, Place, Restored, RootDocument,
    Sequence, Settled, Step, Steps, StepsWanted,
};
pub use sqlite::{
    ReplaceError, Replacement, SnapshotError, SqliteEngine, SqliteFile, schema_version, seal, snapshot_engine, snapshot_file,
};
pub use store::{Options, RING_BYTES_MAX, RING_EVENTS_MAX, Retention, Store};
pub use stored::{MalformedObject, Stored};
pub use transaction::{
    Anew, CommitError, Committed, Entering, Expect, OBJECT_BYTES_MAX, OPERATIONS_PER_TRANSACTION_MAX, Op, Outcome, Seal,
    SealedChange, SignedChange, SignedEntry, TRANSACTION_BYTES_MAX, Transaction,
};
pub use uid::{random_source, uuid};
pub use view::{Cursor, FieldFilter, List, Page, Snapshot};
pub use watch::{WatchError, WatchEvent, WatchFields, WatchGroup, WatchScope, Watcher};
pub use writer::{BATCH_OPERATIONS_MAX, BATCH_TRANSACTIONS_MAX, QUEUE_TRANSACTIONS_MAX, TimeSource, UidSource};
