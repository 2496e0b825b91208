//! What the modelled disk takes away, and what it may not.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use stead_model::Object;

use super::*;
use crate::{CommitError, Op, Options, Store, Transaction, random_source};

/// A disk that does as it is told, and then keeps its word.
#[derive(Default)]
struct Told {
    writes: StdMutex<VecDeque<Written>>,
    survivors: AtomicU64,
}

impl Told {
    fn next(&self, end: WriteEnd) {
        self.writes.lock().unwrap().push_back(Written { takes: Duration::ZERO, end });
    }
}

impl Disk for Told {
    fn write(&self) -> Written {
        self.writes.lock().unwrap().pop_front().unwrap_or(SoundDisk.write())
    }

    fn survivors(&self, _unsafe_records: usize) -> usize {
        usize::try_from(self.survivors.load(Ordering::Relaxed)).unwrap()
    }
}

async fn create(store: &Store, name: &str) -> Result<Revision, CommitError> {
    let mut object = Object { api_version: "v1".into(), kind: "Namespace".into(), ..Object::default() };
    object.metadata.name = name.into();
    let transaction = Transaction::unsigned(Timestamp::UNIX_EPOCH, vec![Op::create(object)]);
    store.commit(transaction).await.map(|committed| committed.revision)
}

async fn open(record: &MemoryRecord) -> Store {
    Store::open(record.engine(), Options::default()).await.unwrap()
}

#[tokio::test]
async fn a_crash_takes_only_what_the_disk_did_not_have() {
    let disk = Arc::new(Told::default());
    let record = MemoryRecord::on(Arc::clone(&disk) as Arc<dyn Disk>, random_source());
    let store = open(&record).await;
    create(&store, "a").await.unwrap();
    assert_eq!(record.crash(), 0, "a disk that keeps its word loses nothing");
    assert_eq!(open(&record).await.revision(), Revision(1));
    // Three lies, of which the disk happens to have one by the time the power goes.
    disk.survivors.store(1, Ordering::Relaxed);
    let store = open(&record).await;
    for name in ["b", "c", "d"] {
        disk.next(WriteEnd::Lied);
        create(&store, name).await.unwrap();
    }
    assert_eq!(record.crash(), 2);
    assert_eq!(open(&record).await.revision(), Revision(2));
    // What follows a lie with an fsync that holds makes the lie true.
    let store = open(&record).await;
    disk.next(WriteEnd::Lied);
    create(&store, "e").await.unwrap();
    create(&store, "f").await.unwrap();
    disk.survivors.store(0, Ordering::Relaxed);
    assert_eq!(record.crash(), 0);
    assert_eq!(open(&record).await.revision(), Revision(4));
}

#[tokio::test]
async fn a_full_disk_refuses_and_a_failed_fsync_is_found_out_about() {
    let disk = Arc::new(Told::default());
    let record = MemoryRecord::on(Arc::clone(&disk) as Arc<dyn Disk>, random_source());
    let store = open(&record).await;
    disk.next(WriteEnd::Full);
    assert!(create(&store, "a").await.is_err());
    assert_eq!(store.revision(), Revision(0));
    disk.next(WriteEnd::Failed);
    assert!(create(&store, "a").await.is_err(), "it did not get there, and that is known");
    disk.survivors.store(1, Ordering::Relaxed);
    disk.next(WriteEnd::Failed);
    assert_eq!(create(&store, "a").await.unwrap(), Revision(1), "it did get there");
    assert_eq!(record.crash(), 0);
    assert_eq!(open(&record).await.revision(), Revision(1));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_dies_in_the_middle_may_have_written() {
    for (survivors, expected) in [(0, Revision(0)), (1, Revision(1))] {
        let disk = Arc::new(Told::default());
        disk.survivors.store(survivors, Ordering::Relaxed);
        let record = MemoryRecord::on(Arc::clone(&disk) as Arc<dyn Disk>, random_source());
        disk.writes.lock().unwrap().push_back(Written { takes: Duration::from_secs(60), end: WriteEnd::Synced });
        let engine = record.engine();
        let mut batch = crate::Batch { last: Revision(1), token: "t".into(), ..crate::Batch::default() };
        batch.term = 0;
        let turn = engine.turn().await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(1), turn.commit(&batch)).await.is_err());
        assert_eq!(engine.meta().await.unwrap().last, Revision(0), "nobody sees what is not acknowledged");
        assert_eq!(record.crash(), 0);
        assert_eq!(engine.meta().await.unwrap().last, expected);
    }
}
