//! A machine's memory on a modelled disk: what `stead-agent` keeps in SQLite on a real machine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use imbl::OrdMap;
use stead_agent::{Keeper, MemoryStoreError, News, OUTBOX_ITEMS_MAX, Pushed};
use stead_model::{Digest, ObjectKey};
use stead_store::{Disk, DiskLog, LogFailure};
use stead_trust::{EntryRow, MachineMemory, MemoryRow, RootRow, StatementRow};
use stead_wire::{Outbox, OutboxError, OutboxItem};

use crate::disk::FaultyDisk;
use crate::ledger::Ledger;
use crate::trace::{Fault, Trace};

#[derive(Clone, Default)]
struct Tables {
    row: Option<MemoryRow>,
    roots: OrdMap<u64, RootRow>,
    statements: OrdMap<Digest, StatementRow>,
    entries: OrdMap<ObjectKey, EntryRow>,
    settings: OrdMap<String, String>,
    outbox: OrdMap<u64, Bytes>,
    last_event: u64,
}

impl Tables {
    fn take(&mut self, news: &News) -> Result<(), MemoryStoreError> {
        self.roots.extend(news.roots.iter().map(|root| (root.version, root.clone())));
        self.statements.extend(news.statements.iter().map(|statement| (statement.digest, statement.clone())));
        self.entries.extend(news.entries.iter().map(|entry| (entry.key.clone(), entry.clone())));
        if !news.entries.is_empty() {
            let named: std::collections::BTreeSet<Digest> = self.entries.values().map(|entry| entry.statement).collect();
            let statements = std::mem::take(&mut self.statements);
            self.statements = statements.into_iter().filter(|(digest, _)| named.contains(digest)).collect();
        }
        if news.row.is_some() {
            self.row.clone_from(&news.row);
        }
        if let Some(standing) = news.standing {
            self.settings.insert("standing".to_owned(), serde_json::to_string(&standing)?);
        }
        Ok(())
    }

    fn memory(&self) -> Result<Option<MachineMemory>, stead_trust::MemoryError> {
        let Some(row) = self.row.clone() else { return Ok(None) };
        let roots: Vec<RootRow> = self.roots.values().cloned().collect();
        let (statements, entries) = (self.statements.values().cloned().collect(), self.entries.values().cloned().collect());
        MachineMemory::load(row, &roots, statements, entries).map(Some)
    }
}

/// The disk of a machine, which outlives the agents that run on it.
pub struct MachineDisk {
    log: DiskLog<Tables>,
    name: String,
    ledger: Ledger,
    trace: Trace,
    live: Mutex<Tables>,
}

impl MachineDisk {
    /// An empty disk of a machine with this name.
    pub fn new(name: &str, disk: Arc<FaultyDisk>, ledger: Ledger, trace: Trace) -> Self {
        let log = DiskLog::new(disk as Arc<dyn Disk>, Tables::default());
        Self { log, name: name.to_owned(), ledger, trace, live: Mutex::default() }
    }

    /// The agent is dead, or the power is lost.
    pub fn crash(&self) {
        let before = self.live().clone();
        let (left, lost) = self.log.crash();
        // What was under way may have got there though nobody was told.
        let news: Vec<EntryRow> =
            left.entries.values().filter(|entry| before.entries.get(&entry.key) != Some(*entry)).cloned().collect();
        *self.live() = left.clone();
        if lost > 0 {
            self.trace.fault(Fault::FsyncLost);
            let entries: Vec<EntryRow> = left.entries.values().cloned().collect();
            self.ledger.fell_back(&self.name, &entries);
        } else {
            self.ledger.accepted(&self.name, &news);
        }
    }

    /// What the machine remembers.
    pub fn memory(&self) -> Option<MachineMemory> {
        match self.live().memory() {
            Ok(memory) => memory,
            Err(error) => {
                self.trace.violation(format!("{}: {error}", self.name));
                None
            }
        }
    }

    /// The newest event that waits for the coordinator.
    pub fn last_event_waiting(&self) -> Option<u64> {
        self.live().outbox.get_max().map(|(sequence, _)| *sequence)
    }

    /// A new agent's memory on it.
    pub fn open(self: &Arc<Self>) -> ModelMemory {
        ModelMemory { disk: Arc::clone(self), alive: Arc::new(AtomicBool::new(true)), writing: Arc::default() }
    }

    fn live(&self) -> MutexGuard<'_, Tables> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one agent holds of its memory. It is of no use to anybody once the agent is dead.
#[derive(Clone)]
pub struct ModelMemory {
    disk: Arc<MachineDisk>,
    alive: Arc<AtomicBool>,
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl ModelMemory {
    /// The agent is dead: what is left of it waits for ever.
    pub fn kill(&self) {
        self.alive.store(false, Ordering::Relaxed);
    }

    async fn living(&self) {
        if !self.alive.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    async fn change(
        &self,
        change: impl FnOnce(&mut Tables) -> Result<(), MemoryStoreError> + Send,
    ) -> Result<(), MemoryStoreError> {
        let _alone = self.writing.lock().await;
        self.living().await;
        let before = self.disk.live().clone();
        let mut next = before.clone();
        change(&mut next)?;
        let written = self.disk.log.write(next.clone()).await;
        self.living().await;
        let failed = |reason| Err(MemoryStoreError::Modelled { doing: "writing it", reason });
        let outcome = match written {
            Ok(()) => Ok(()),
            Err(LogFailure::Full) => return failed("the disk is full"),
            // As a database does it that cannot say whether it has committed: what is there is looked at again.
            Err(LogFailure::Unsure) if self.disk.log.settle().is_some() => Ok(()),
            Err(LogFailure::Unsure) => return failed("the disk failed"),
        };
        let news: Vec<EntryRow> =
            next.entries.values().filter(|entry| before.entries.get(&entry.key) != Some(*entry)).cloned().collect();
        *self.disk.live() = next;
        self.disk.ledger.accepted(&self.disk.name, &news);
        outcome
    }
}

impl Keeper for ModelMemory {
    async fn load(&self) -> Result<Option<MachineMemory>, MemoryStoreError> {
        self.living().await;
        Ok(self.disk.memory())
    }

    async fn write(&self, news: &News) -> Result<(), MemoryStoreError> {
        self.change(|tables| tables.take(news)).await
    }

    async fn setting_text(&self, name: &str) -> Result<Option<String>, MemoryStoreError> {
        self.living().await;
        Ok(self.disk.live().settings.get(name).cloned())
    }

    async fn set_setting_text(&self, name: &str, value: String) -> Result<(), MemoryStoreError> {
        self.change(|tables| {
            tables.settings.insert(name.to_owned(), value);
            Ok(())
        })
        .await
    }

    async fn push_event(&self, body: &[u8], _reason: &str, _time: jiff::Timestamp) -> Result<Pushed, MemoryStoreError> {
        let mut pushed = Pushed::Full;
        self.change(|tables| {
            if (tables.outbox.len() as u64) < OUTBOX_ITEMS_MAX {
                tables.last_event = tables.last_event.saturating_add(1);
                tables.outbox.insert(tables.last_event, Bytes::copy_from_slice(body));
                pushed = Pushed::Kept;
            }
            Ok(())
        })
        .await?;
        Ok(pushed)
    }

    async fn make_room(&self) -> Result<(), MemoryStoreError> {
        self.living().await;
        Ok(())
    }

    async fn close(&self) {}
}

impl Outbox for ModelMemory {
    async fn pending(&self, after: u64, limit: usize) -> Result<Vec<OutboxItem>, OutboxError> {
        self.living().await;
        let live = self.disk.live();
        let items = live.outbox.range(after.saturating_add(1)..).take(limit);
        Ok(items.map(|(sequence, body)| OutboxItem { sequence: *sequence, body: body.clone() }).collect())
    }

    async fn taken(&self, sequence: u64) -> Result<(), OutboxError> {
        self.disk.trace.note(format_args!("{} has its events taken up to {sequence}", self.disk.name));
        self.disk.ledger.told_taken(&self.disk.name, sequence).await;
        let gone = self.change(|tables| {
            tables.outbox = tables.outbox.split(&sequence).1;
            Ok(())
        });
        // They stay, and are sent once more after a restart.
        let _ = gone.await;
        Ok(())
    }
}
